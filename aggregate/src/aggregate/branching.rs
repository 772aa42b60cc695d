//! A fileset goes on from a snapshot: back to one of its own, or a new fileset from another's.
//!
//! Nothing is copied and nothing walked: the tree of the snapshot is the one to go on with, and the snapshot keeps what
//! it has for as long as somebody goes on from it, deleted or not. What the fileset was before is the newest snapshot's,
//! taken for that; the others stay as they are, older and newer ones.
//!
//! A record says so, and no record says what a tree is. So the snapshots must be in the trees of both roots that a
//! recovery may begin with, and nothing may have changed since the one taken last: then whoever replays the record finds
//! nothing of the fileset in the log before it. So changes wait outside while a fileset goes back.

use std::sync::atomic::Ordering;

use baton_types::{Error, FileName, FilesetId, Kind, Result};
use bytes::Bytes;

use super::fileset::{Done, Fileset, Placed, Reserve, State};
use super::need::Need;
use super::snapshots::{Namesake, id_in};
use crate::engine::{Engine, Patience, blank, would_wait};
use crate::fileset::catalog;
use crate::format::{Base, FilesetHeader, Held, Key, Lsn, Pointer, Record, RecordKind, Snapshot};
use crate::live::LiveTree;
use crate::session::Running;
use crate::transaction::{Operation, Reply, SessionId, Transaction, Usage};
use crate::tree::{Pinned, Stop};

/// How often a checkpoint that is being made is waited for.
const TRIES_MAX: usize = 16;

impl Fileset {
    /// Goes back to the snapshot `id`. What is there now is kept as a snapshot named `present`, whose id is the answer;
    /// an older one of that name goes. All other snapshots stay. Changes wait meanwhile, for two checkpoints.
    ///
    /// # Errors
    /// `NotFound`; `Exists` if the snapshot itself is named `present`; `Busy` if checkpoints fail; `Unsupported` by an
    /// aggregate that was made before filesets could; as [`Fileset::change`]. The operation itself may be refused as
    /// [taking one](Fileset::take_snapshot) may.
    pub fn roll_back(&self, operation: &Operation, id: Lsn, present: &FileName) -> Result<Done<Lsn>> {
        self.may_branch()?;
        let _alone = self.cell.door.write();
        {
            let state = self.cell.state.lock();
            let to = state.snapshots.line.get(id).ok_or_else(|| self.missing(id))?;
            if to.name == *present {
                // It would make way for the present.
                let error = Error::new(Kind::Exists, format!("snapshot '{present}' of fileset {}", self.id()));
                return Err(error.because("this is the one to go back to"));
            }
        }
        let own = Operation {
            session: SessionId::default(),
            ..*operation
        };
        let taken = self.decide_inside(&own, Need::GROWTH, |turn, pinned, _| {
            self.try_take((turn, pinned), &own, (present, Namesake::Replace))
        })?;
        let present = id_in(taken).answer?;
        for _ in 0..TRIES_MAX {
            self.engine.settle(present)?;
            let done = self.decide_inside(operation, Need::UPKEEP, |turn, pinned, _| {
                self.go_back(turn, pinned, (id, present))
            });
            match done {
                // A checkpoint is being made, or one failed.
                Err(error) if error.kind == Kind::Wait => self.engine.checkpoint()?,
                done => return done.map(id_in),
            }
        }
        Err(Error::new(Kind::Busy, format!("fileset {}", self.id()))
            .because("checkpoints come one after the other")
            .remedy("try again when less is written to its aggregate"))
    }

    /// Makes the fileset `clone`, which begins as this one was at the snapshot `id`; name and quota are its header's.
    /// Both live on by themselves from then on.
    ///
    /// # Errors
    /// `NotFound`; `Exists` if there is a fileset with this id or name; `Unsupported` by an aggregate that was made
    /// before filesets could; `ReadOnly` at a snapshot; `NoSpace`; damage.
    pub fn make_clone(&self, operation: &Operation, id: Lsn, clone: FilesetId, header: &FilesetHeader) -> Result<Lsn> {
        self.may_branch()?;
        let engine = &self.engine;
        engine.settle(id)?;
        engine.admit(Need::GROWTH.purpose, 0, Patience::Wait)?;
        engine.retrying(|pinned| {
            let room = Reserve(engine);
            let _history = engine.history.read();
            let mut system = engine.system.lock();
            let mut state = self.cell.state.lock();
            state.check(self.id())?;
            state.snapshots.line.get(id).ok_or_else(|| self.missing(id))?;
            let at = engine.log.last().next();
            let view = system.view(&engine.nodes, pinned);
            let mut transaction = Transaction::new(view, operation, Usage::default(), &room);
            let header = FilesetHeader {
                origin: self.id().0,
                // Its names lie where the origin's do.
                hash_key: state.header.hash_key,
                newest_snapshot: Lsn(0),
                snapshots_taken: 0,
                ..header.clone()
            };
            catalog::create(&mut transaction, clone, &header)?;
            self.put_base(&mut transaction, (clone, at), id, &state);
            let head = blank(RecordKind::Fileset);
            let lsn = engine.append(head, transaction.finish(), &mut system, None)?;
            state.snapshots.line.hold(at, id);
            Ok(lsn)
        })
    }

    /// One try at going back, under the locks. `Wait` if the fileset is not what it was at `present`.
    fn go_back(&self, turn: &Running<'_>, pinned: &Pinned, (to, present): (Lsn, Lsn)) -> Result<Placed, Stop> {
        let (engine, id) = (&self.engine, self.cell.id);
        // What a checkpoint that is being made finds it must leave.
        let Some(_roots) = engine.checkpoints.try_lock() else {
            return Err(would_wait("checkpoint").into());
        };
        let room = Reserve(engine);
        let _history = engine.history.read();
        let mut system = engine.system.lock();
        let mut state = self.cell.state.lock();
        state.check(id)?;
        let at = engine.log.last().next();
        let view = system.view(&engine.nodes, pinned);
        let root = |snapshot| -> Result<Option<Pointer>, Stop> {
            let pointer = view.get(Key::snapshot_tree(id, snapshot))?;
            Ok(pointer.map(|bytes| Pointer::decode(&bytes)).transpose()?)
        };
        let (there, here) = (root(to)?, root(present)?);
        let is_present = state.tree.is_clean() && state.tree.root == here && state.snapshots.line.newest() == present;
        if !is_present || engine.settled() < present {
            return Err(would_wait("fileset").into());
        }
        let snapshot = state.snapshots.line.get(to).ok_or_else(|| self.missing(to))?;
        let usage = Usage {
            bytes: snapshot.bytes,
            files: snapshot.files,
            promised: 0,
        };
        let mut transaction = Transaction::new(view, turn.operation(), usage, &room);
        let base = self.put_base(&mut transaction, (id, at), to, &state);
        transaction.delete(Key::fileset_tree(id));
        transaction.delete(Key::fileset_usage(id));
        let reply = Reply::Done(present.0.to_le_bytes().to_vec().into());
        let result = Bytes::from(reply.encode());
        let head = Record {
            kind: RecordKind::Snapshot,
            flags: Record::BACK,
            result: result.clone(),
            ..self.head(turn.operation(), usage)
        };
        let lsn = engine.append(head, transaction.finish(), &mut system, None)?;
        state.snapshots.line.go_on(at, base);
        state.snapshots.line.hold(at, to);
        state.tree = LiveTree::at(there);
        engine.space.lock().promise(state.usage.promised, 0);
        state.usage = usage;
        engine.note_change(&self.cell, &mut state);
        let after = turn.ran(lsn, result, engine.log.durable());
        Ok((lsn, reply, after))
    }

    /// Says that `fileset` goes on from the snapshot `id` of this one, whose state is `state`, from a record on.
    fn put_base(
        &self,
        transaction: &mut Transaction<'_>,
        (fileset, record): (FilesetId, Lsn),
        id: Lsn,
        state: &State,
    ) -> Base {
        let base = Base {
            origin: self.id(),
            snapshot: id,
            next_vnode: state.next_vnode,
        };
        let held = Held { fileset, snapshot: id };
        transaction.put(Key::base(fileset, record), base.encode());
        transaction.put(Key::held(base.origin, record), held.encode());
        base
    }

    /// Where the branch began that this is on; 0 if the fileset had not gone on from a snapshot. To whoever compares
    /// versions of data, what was not changed since has this one: its own may come again in another branch.
    pub fn began(&self) -> Lsn {
        let end = self.snapshot.unwrap_or(Lsn(u64::MAX));
        self.cell.state.lock().snapshots.line.began(end)
    }

    fn may_branch(&self) -> Result<()> {
        let on = |kind| Error::new(kind, format!("fileset {}", self.id()));
        if self.snapshot.is_some() {
            return Err(on(Kind::ReadOnly).because("this is a snapshot of it"));
        }
        match self.engine.label.features.has_clones() {
            true => Ok(()),
            false => Err(on(Kind::Unsupported)
                .because("its aggregate was made before filesets could go on from snapshots")
                .remedy("move the fileset to a newer aggregate: fts move")),
        }
    }
}

impl Engine {
    /// Both roots that a recovery may begin with have all records up to here in their trees.
    pub(super) fn settled(&self) -> Lsn {
        Lsn(self.settled.load(Ordering::Acquire))
    }

    /// Makes checkpoints until the snapshot taken at `at` is in the trees of both roots.
    fn settle(&self, at: Lsn) -> Result<()> {
        while self.settled() < at {
            self.checkpoint()?;
        }
        Ok(())
    }
}

/// Takes back that `fileset` goes on from `base` since `record`: a snapshot that was deleted meanwhile goes now, after
/// all records before `now`.
///
/// # Errors
/// A miss; damage.
pub(super) fn let_go(transaction: &mut Transaction<'_>, base: &Base, (record, now): (Lsn, Lsn)) -> Result<(), Stop> {
    transaction.delete(Key::held(base.origin, record));
    if let Some(value) = transaction.get(Key::snapshot(base.origin, base.snapshot))? {
        let snapshot = Snapshot::decode(&value)?;
        if !snapshot.is_kept() {
            super::snapshots::put_deleted(transaction, (base.origin, base.snapshot), &snapshot, now);
        }
    }
    Ok(())
}
