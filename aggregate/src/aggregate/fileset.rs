//! A fileset in service: its layers and tree behind one short lock, and the life of a change.
//!
//! Admission first, for that may wait. Then, under the fileset's lock and the history's: the operation makes its
//! transaction, the record is appended, and what it puts is visible, all in one. Nothing waits for a disk there.

use std::sync::Arc;

use baton_types::{Error, FilesetId, Kind, Result};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::need::Need;
use crate::engine::{Engine, Patience, blank, would_wait};
use crate::fileset::{Names, Object};
use crate::format::{FilesetHeader, FilesetKind, KeyKind, Lsn, Record, RecordKind, SegmentClass, is_taken_back, owned};
use crate::live::LiveTree;
use crate::session::{Running, Turn};
use crate::snapshot::{Dead, Snapshots};
use crate::space::Purpose;
use crate::transaction::{Change, Operation, Owners, Reply, Room, Run, Transaction, Usage};
use crate::tree::{Cut, Pinned, Stop, View};

/// A fileset in service, or one of its [snapshots](Fileset::at).
#[derive(Clone)]
pub struct Fileset {
    pub(super) engine: Arc<Engine>,
    pub(super) cell: Arc<FilesetCell>,
    pub(super) patience: Patience,
    /// Which moment of it is read; `None` for now.
    pub(super) snapshot: Option<Lsn>,
    pub(super) standing: Standing,
}

/// What the changes made by way of a [`Fileset`] are to those that are said again after a takeover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has anything to say again.
    Fresh,
    /// They are new, and others may still say again what was accepted: the last room is left to these (I5).
    Yielding,
    /// They were accepted before.
    Accepted,
}

/// One fileset's state, which its users share.
pub(crate) struct FilesetCell {
    pub id: FilesetId,
    pub state: Mutex<State>,
    /// Taken by changes together, and alone by who goes back to a snapshot: nothing changes meanwhile. Before all locks.
    pub door: RwLock<()>,
}

/// What changes under the lock.
pub(crate) struct State {
    pub header: FilesetHeader,
    pub tree: LiveTree,
    pub snapshots: Snapshots,
    pub usage: Usage,
    /// Vnodes from here on were given to no session.
    pub next_vnode: u64,
    /// The next checkpoint knows of it.
    pub is_changed: bool,
    /// Nodes that the next checkpoint leaves out of its tree, in the order of their keys.
    pub cuts: Vec<Cut>,
    /// It was deleted, and no checkpoint is to speak of it.
    pub is_gone: bool,
    /// It was seen to be deleted and empty, nodes and all: no later record is about what it held.
    pub emptied: Option<Lsn>,
}

/// What became of a change.
#[derive(Debug)]
pub struct Done<T> {
    /// Its place in history: wait for it, and it is durable.
    pub lsn: Lsn,
    /// Changes of its session that came before it and are not durable: the last one of each other stream.
    pub after: Vec<(u16, u32)>,
    /// The operation's own answer, the first one if it was done before; or what it was refused with.
    pub answer: Result<T>,
}

/// What has its place in history: that, its reply, and what came before it.
pub(super) type Placed = (Lsn, Reply, Vec<(u16, u32)>);

/// Blocks of this epoch's open segments.
pub(crate) struct Reserve<'a>(pub &'a Engine);

impl Room for Reserve<'_> {
    fn take(&self, blocks: u32) -> Result<Vec<Run>, Stop> {
        let taken = self.0.space.lock().take(SegmentClass::Data, blocks);
        taken.ok_or(Stop::Room(blocks))
    }

    fn give_back(&self, run: Run) {
        self.0.space.lock().give_back(run);
    }
}

impl Fileset {
    pub(crate) fn new(engine: Arc<Engine>, cell: Arc<FilesetCell>) -> Fileset {
        let patience = Patience::Wait;
        Fileset {
            engine,
            cell,
            patience,
            snapshot: None,
            standing: Standing::Fresh,
        }
    }

    /// The same, for one who may not wait. Whatever is asked of it ends with `Wait` where a node, data or room must
    /// be seen to first; then nothing was done, and the [patient](Fileset::patient) one will do it.
    #[must_use]
    pub fn impatient(&self) -> Fileset {
        Fileset {
            patience: Patience::None,
            ..self.clone()
        }
    }

    /// The same, for one who may wait.
    #[must_use]
    pub fn patient(&self) -> Fileset {
        Fileset {
            patience: Patience::Wait,
            ..self.clone()
        }
    }

    /// The same, for changes of another standing.
    #[must_use]
    pub fn standing(&self, standing: Standing) -> Fileset {
        Fileset {
            standing,
            ..self.clone()
        }
    }

    /// Whether it keeps its callers waiting.
    pub(crate) fn patience(&self) -> Patience {
        self.patience
    }

    /// What it is served by.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Its id.
    pub fn id(&self) -> FilesetId {
        self.cell.id
    }

    /// What it holds now; a snapshot, what it held then.
    pub fn usage(&self) -> Usage {
        let state = self.cell.state.lock();
        let snapshot = self.snapshot.and_then(|at| state.snapshots.line.get(at));
        snapshot.map_or(state.usage, |snapshot| Usage {
            bytes: snapshot.bytes,
            files: snapshot.files,
            promised: 0,
        })
    }

    /// What the location of its names depends on, and its limits.
    pub fn header(&self) -> FilesetHeader {
        self.cell.state.lock().header.clone()
    }

    /// Looks at the tree.
    ///
    /// # Errors
    /// The look's own; damage.
    pub fn read<T>(&self, mut look: impl FnMut(&View<'_>) -> Result<T, Stop>) -> Result<T> {
        self.engine.attempt(self.patience, |pinned| {
            let state = self.cell.state.lock();
            match self.snapshot {
                None => look(&state.tree.view(&self.engine.nodes, pinned)),
                Some(at) => look(&state.view_at(self.cell.id, at, &self.engine.nodes, pinned)?),
            }
        })
    }

    /// Does `operation` once, however often it is asked for: `make` is run again when a node was missing, and not at
    /// all if the operation was done before.
    ///
    /// # Errors
    /// What keeps it from being decided: `Io`, `Damaged`, `SessionLost`, `Limit` while its stream is at work, `Wait`.
    /// What the operation itself is refused with is an answer, and kept as one.
    pub fn change(
        &self,
        operation: &Operation,
        need: Need,
        make: impl FnMut(&mut Transaction<'_>) -> Result<Reply, Stop>,
    ) -> Result<Done<Bytes>> {
        self.change_seeing(None, operation, need, make)
    }

    /// The same by one who looks at a snapshot of the fileset too, which somebody has [opened](Fileset::at).
    ///
    /// # Errors
    /// As [`Fileset::change`]. The operation itself may be refused as `Stale` if the snapshot was deleted.
    pub(crate) fn change_seeing(
        &self,
        past: Option<Lsn>,
        operation: &Operation,
        need: Need,
        mut make: impl FnMut(&mut Transaction<'_>) -> Result<Reply, Stop>,
    ) -> Result<Done<Bytes>> {
        self.decide(operation, need, |turn, pinned, purpose| {
            self.try_change((turn, past), (pinned, purpose), &mut make)
        })
    }

    /// Does `operation` by what `attempt` gives a place in history; `attempt` is run again when a node was missing.
    pub(super) fn decide(
        &self,
        operation: &Operation,
        need: Need,
        attempt: impl FnMut(&Running<'_>, &Pinned, Purpose) -> Result<Placed, Stop>,
    ) -> Result<Done<Bytes>> {
        let _inside = match self.patience {
            Patience::Wait => self.cell.door.read(),
            Patience::None => self.cell.door.try_read().ok_or_else(|| would_wait("fileset"))?,
        };
        self.decide_inside(operation, need, attempt)
    }

    /// The same for who holds the door.
    pub(super) fn decide_inside(
        &self,
        operation: &Operation,
        need: Need,
        mut attempt: impl FnMut(&Running<'_>, &Pinned, Purpose) -> Result<Placed, Stop>,
    ) -> Result<Done<Bytes>> {
        if let Some(at) = self.snapshot {
            let error = Error::new(Kind::ReadOnly, format!("snapshot {at} of fileset {}", self.cell.id));
            return Ok(Done {
                lsn: self.engine.log.durable(),
                after: Vec::new(),
                answer: Err(error.because("a snapshot never changes")),
            });
        }
        let turn = match self.engine.sessions.begin(&self.engine, operation, self.patience)? {
            Turn::Before { lsn, reply, after } => {
                return Ok(Done {
                    lsn,
                    after,
                    answer: self.answer(reply),
                });
            }
            Turn::Now(turn) => turn,
        };
        let changed = turn
            .may_make(&self.engine, self.cell.id, self.patience)
            .and_then(|()| self.admitted(need, |pinned, purpose| attempt(&turn, pinned, purpose)));
        match changed {
            Ok((lsn, reply, after)) => Ok(Done {
                lsn,
                after,
                answer: self.answer(reply),
            }),
            Err(error) if is_undecided(error.kind) => Err(error),
            Err(refused) => Ok(Done {
                lsn: self.refuse(&turn, refused.kind)?,
                after: Vec::new(),
                answer: Err(refused),
            }),
        }
    }

    /// Does one of the [operations](crate::fileset) that answer with an object.
    ///
    /// # Errors
    /// As [`Fileset::change`].
    pub fn operate(
        &self,
        operation: &Operation,
        need: Need,
        make: impl FnMut(&mut Transaction<'_>, &Names) -> Result<Object, Stop>,
    ) -> Result<Done<Object>> {
        self.operate_seeing(None, operation, need, make)
    }

    /// The same by one who looks at a [snapshot](Fileset::change_seeing) too.
    ///
    /// # Errors
    /// As [`Fileset::change_seeing`].
    pub(crate) fn operate_seeing(
        &self,
        past: Option<Lsn>,
        operation: &Operation,
        need: Need,
        mut make: impl FnMut(&mut Transaction<'_>, &Names) -> Result<Object, Stop>,
    ) -> Result<Done<Object>> {
        let names = self.names();
        let done = self.change_seeing(past, operation, need, |transaction| {
            Ok(make(transaction, &names)?.reply())
        })?;
        Ok(Done {
            lsn: done.lsn,
            after: done.after,
            answer: done.answer.and_then(|answer| Object::decode(&answer)),
        })
    }

    /// How its names are hashed.
    pub fn names(&self) -> Names {
        Names::new(self.cell.state.lock().header.hash_key)
    }

    /// One try, under the locks.
    fn try_change(
        &self,
        (turn, past): (&Running<'_>, Option<Lsn>),
        (pinned, purpose): (&Pinned, Purpose),
        make: &mut impl FnMut(&mut Transaction<'_>) -> Result<Reply, Stop>,
    ) -> Result<Placed, Stop> {
        let operation = turn.operation();
        let room = Reserve(&self.engine);
        let _history = self.engine.history.read();
        let mut state = self.cell.state.lock();
        state.check(self.cell.id)?;
        let view = state.tree.view(&self.engine.nodes, pinned);
        let began = state.snapshots.line.began(Lsn(u64::MAX));
        let past = past.map(|at| state.past(self.cell.id, at, &self.engine.nodes, pinned));
        let transaction = Transaction::new(view, operation, state.usage, &room).since(began);
        let mut transaction = transaction.seeing(past.transpose()?);
        if purpose == Purpose::Promised {
            let owners = match self.engine.space.lock().has_further() {
                true => Owners::Several,
                false => Owners::One,
            };
            transaction.only_promised(state.snapshots.line.clone(), owners);
        }
        let reply = make(&mut transaction)?;
        state.allow(self.standing, operation, *transaction.usage())?;
        let (before, usage) = (state.usage, *transaction.usage());
        self.engine.promise(self.filling(), before.promised, usage.promised)?;
        let change = transaction.finish();
        let result = Bytes::from(reply.encode());
        let head = Record {
            result: result.clone(),
            ..self.head(operation, usage)
        };
        let State { tree, snapshots, .. } = &mut *state;
        let appended = self.engine.append(head, change, tree, Some(snapshots));
        let lsn = appended.inspect_err(|_| self.engine.space.lock().promise(usage.promised, before.promised))?;
        state.usage = usage;
        self.engine.note_change(&self.cell, &mut state);
        let after = turn.ran(lsn, result, self.engine.log.durable());
        Ok((lsn, reply, after))
    }

    /// A refusal has its place in history too: who asks again is refused again.
    fn refuse(&self, turn: &Running<'_>, kind: Kind) -> Result<Lsn> {
        let operation = turn.operation();
        if operation.session.0 == 0 {
            return Ok(self.engine.log.last());
        }
        let result = Bytes::from(Reply::Refused(kind).encode());
        let _history = self.engine.history.read();
        let state = self.cell.state.lock();
        let mut record = Record {
            result: result.clone(),
            ..self.head(operation, state.usage)
        };
        let lsn = self.engine.log.append(&mut record, Vec::new())?;
        turn.ran(lsn, result, self.engine.log.durable());
        Ok(lsn)
    }

    pub(super) fn head(&self, operation: &Operation, usage: Usage) -> Record {
        Record {
            fileset: self.cell.id,
            session: operation.session.0,
            stream: operation.stream,
            sequence: operation.sequence,
            usage_bytes: usage.bytes,
            usage_files: usage.files,
            usage_promised: usage.promised,
            ..blank(RecordKind::Op)
        }
    }

    fn answer(&self, reply: Reply) -> Result<Bytes> {
        match reply {
            Reply::Done(answer) => Ok(answer),
            Reply::Refused(_) => reply.into_result(&format!("fileset {}", self.cell.id)),
        }
    }
}

impl Engine {
    /// Gives a change its place in history, and makes it visible. The caller holds the history and the tree. What it
    /// frees, `snapshots` may still have; without them, nobody has.
    ///
    /// # Errors
    /// `TooBig` if no batch holds its record; then nothing happened.
    pub(crate) fn append(
        &self,
        head: Record,
        change: Change,
        tree: &mut LiveTree,
        mut snapshots: Option<&mut Snapshots>,
    ) -> Result<Lsn> {
        let mut record = Record {
            items: change.items.into_items(),
            frees: change.frees,
            ..head
        };
        self.nodes.pin(&change.writes);
        let blocks: Vec<_> = change.writes.iter().map(|(block, _)| *block).collect();
        let mut space = self.space.lock();
        let appended = self.log.append(&mut record, change.writes);
        let lsn = appended.inspect_err(|_| {
            self.nodes.unpin(blocks);
            change.runs.iter().for_each(|run| space.give_back(*run));
        })?;
        change.runs.iter().for_each(|run| space.record(*run));
        for (key, value) in &record.items {
            if let (KeyKind::Shared, Some(value)) = (key.kind, value)
                && let Ok(Some(owned)) = owned(*key, value)
                && is_taken_back(*key, &owned, lsn)
            {
                let (block, count) = (owned.block, owned.count);
                space.own(Run { block, count });
            }
        }
        for free in &record.frees {
            let (block, count) = (free.block, free.count);
            let run = Run { block, count };
            let outlives = snapshots.as_mut().is_some_and(|line| line.outlive(run, free.birth));
            if !outlives {
                space.free(run);
            }
        }
        drop(space);
        for (key, value) in record.items {
            tree.active.insert(key, value, lsn);
        }
        Ok(lsn)
    }

    /// The next checkpoint is to know of `cell`, whose state the caller holds.
    pub(crate) fn note_change(&self, cell: &Arc<FilesetCell>, state: &mut State) {
        if !std::mem::replace(&mut state.is_changed, true) {
            self.changed.lock().push(cell.clone());
        }
    }
}

/// Nothing was decided: the same operation may be tried again, here or by the next owner.
fn is_undecided(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Io | Kind::Damaged | Kind::SessionLost | Kind::WrongEpoch | Kind::Detached | Kind::TimedOut | Kind::Wait
    )
}

impl State {
    /// What the log came to when it was replayed.
    pub(super) fn adopt(&mut self, mut tree: LiveTree, dead: Dead) {
        let line = &self.snapshots.line;
        tree.moments.retain(|moment| line.get(moment.snapshot).is_some());
        self.tree = LiveTree {
            root: self.tree.root,
            ..tree
        };
        self.snapshots.dead = dead;
    }

    /// Refuses what is being taken apart.
    pub(crate) fn check(&self, id: FilesetId) -> Result<()> {
        match self.header.kind {
            FilesetKind::Deleting => Err(Error::new(Kind::NotFound, format!("fileset {id}"))),
            FilesetKind::ReadWrite | FilesetKind::Replica => Ok(()),
        }
    }
}
