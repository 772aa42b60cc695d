//! Snapshots of a fileset: taken, listed, read, deleted.
//!
//! Taking one is a record and a new layer, whatever the fileset holds: what was there stays where it is. The record is
//! in the log when the call returns, and durable when its place in history is. A [`Fileset`] at a snapshot is read as
//! the live one is, by the same functions; it never changes.
//!
//! ```text
//! let taken = fileset.take_snapshot(&operation, &name, Namesake::Refuse)?;   // Done<Lsn>: wait for taken.lsn
//! let then = fileset.at(taken.answer?)?;                                     // a Fileset: readdir, file::read …
//! fileset.delete_snapshot(&operation, id)?;                                  // its space comes back by and by
//! ```
//!
//! Lock order: history, the system tree, the fileset.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use baton_types::limits::SNAPSHOTS_PER_FILESET_MAX;
use baton_types::{Error, FileName, FilesetId, Kind, Result, Timestamp};
use bytes::Bytes;

use super::fileset::{Done, Fileset, Placed, Reserve, State};
use super::need::Need;
use crate::engine::{Engine, Patience, would_wait};
use crate::fileset::catalog;
use crate::format::{DeadChunk, FilesetHeader, Key, KeyKind, Lsn, Pointer, Record, RecordKind, Snapshot, number_of};
use crate::session::Running;
use crate::snapshot::{self, Line, branches};
use crate::transaction::{Operation, Reply, Run, Transaction, Usage};
use crate::tree::{Pinned, Stop, View, take_apart};

/// A snapshot, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Which: the place in history before which all is in it.
    pub id: Lsn,
    /// Its number in ids.
    pub number: u16,
    /// Its name.
    pub name: FileName,
    /// When it was taken.
    pub taken: Timestamp,
    /// What the fileset held then.
    pub usage: Usage,
}

/// What to do if a snapshot of the same name is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namesake {
    /// Keep that one, and take none.
    Refuse,
    /// Delete it in the same moment: there is always one of the name, and never two.
    Replace,
}

/// A change to a fileset's snapshots, before its record is appended.
struct Planned {
    header: FilesetHeader,
    taken: Option<(Lsn, Snapshot)>,
    deleted: Option<Lsn>,
}

impl Fileset {
    /// Takes a snapshot of the fileset at this moment, named `name` and dated with the operation's time; answers with
    /// its id. Done once, however often the operation is asked for.
    ///
    /// # Errors
    /// As [`Fileset::change`]. The operation itself may be refused as `Exists`, as `Unsupported` by an aggregate that was
    /// made before there were snapshots, as `ReadOnly` at a snapshot.
    pub fn take_snapshot(&self, operation: &Operation, name: &FileName, namesake: Namesake) -> Result<Done<Lsn>> {
        let done = self.decide(operation, Need::GROWTH, |turn, pinned, _| {
            self.try_take((turn, pinned), operation, (name, namesake))
        })?;
        Ok(id_in(done))
    }

    /// One try at taking a snapshot.
    pub(super) fn try_take(
        &self,
        (turn, pinned): (&Running<'_>, &Pinned),
        operation: &Operation,
        (name, namesake): (&FileName, Namesake),
    ) -> Result<Placed, Stop> {
        self.plan(turn, pinned, |state, header, at| {
            self.take(state, header, at, (operation, name, namesake))
        })
    }

    /// Deletes a snapshot: nobody sees it from here on, and what it alone had is given back by
    /// [`reclaim`](super::Aggregate::reclaim).
    ///
    /// # Errors
    /// As [`Fileset::change`]. The operation itself may be refused as `NotFound`, as `ReadOnly` at a snapshot.
    pub fn delete_snapshot(&self, operation: &Operation, id: Lsn) -> Result<Done<()>> {
        let done = self.decide(operation, Need::UPKEEP, |turn, pinned, _| {
            self.plan(turn, pinned, |state, header, _| {
                state.snapshots.line.get(id).ok_or_else(|| self.missing(id))?;
                Ok(Planned {
                    header,
                    taken: None,
                    deleted: Some(id),
                })
            })
        })?;
        Ok(Done {
            lsn: done.lsn,
            after: done.after,
            answer: done.answer.map(drop),
        })
    }

    /// The snapshots of the fileset, oldest first.
    pub fn snapshots(&self) -> Vec<SnapshotInfo> {
        let state = self.cell.state.lock();
        state.snapshots.line.shown().map(SnapshotInfo::of).collect()
    }

    /// The snapshot with this number in ids.
    pub fn snapshot_numbered(&self, number: u16) -> Option<SnapshotInfo> {
        self.find_snapshot(|snapshot| snapshot.number() == number)
    }

    /// The snapshot of this name.
    pub fn snapshot_named(&self, name: &[u8]) -> Option<SnapshotInfo> {
        self.find_snapshot(|snapshot| snapshot.name.as_bytes() == name)
    }

    /// Waits until what was seen of the snapshots before this call is durable, of `one` of them or of all: who is shown a
    /// snapshot may rely on it, and on its number, whatever becomes of this owner.
    ///
    /// # Errors
    /// What keeps that from ever being so; `Wait` for one who may not.
    pub fn until_snapshots_last(&self, one: Option<Lsn>) -> Result<()> {
        let record = {
            let snapshots = &self.cell.state.lock().snapshots;
            match one {
                Some(id) => snapshots.fresh.get(&id).copied().unwrap_or_default(),
                None => snapshots.changed,
            }
        };
        if record <= self.engine.log.durable() {
            return Ok(());
        }
        match self.patience() {
            Patience::None => Err(would_wait("snapshot")),
            Patience::Wait => self.engine.wait(record),
        }
    }

    fn find_snapshot(&self, is_it: impl Fn(&Snapshot) -> bool) -> Option<SnapshotInfo> {
        let state = self.cell.state.lock();
        let found = state.snapshots.line.shown().find(|(_, snapshot)| is_it(snapshot));
        found.map(SnapshotInfo::of)
    }

    /// The fileset as it was at a snapshot, for the same operations that read the live one. What it answers is of that
    /// moment for as long as the snapshot is kept; after that it is `Stale`. FIDs are those of the live fileset.
    ///
    /// # Errors
    /// `NotFound`; damage; `Wait` for one who may not.
    pub fn at(&self, id: Lsn) -> Result<Fileset> {
        self.engine.attempt(self.patience(), |pinned| {
            let system = self.engine.system.lock();
            let mut state = self.cell.state.lock();
            state.snapshots.line.get(id).ok_or_else(|| self.missing(id))?;
            let view = system.view(&self.engine.nodes, pinned);
            state.root_at(&view, (self.cell.id, id)).map(drop)
        })?;
        Ok(Fileset {
            snapshot: Some(id),
            ..self.clone()
        })
    }

    /// Which snapshot this is; `None` for the live fileset.
    pub fn snapshot(&self) -> Option<Lsn> {
        self.snapshot
    }

    /// Blocks that deleting a snapshot would give back, as far as a checkpoint has seen them: what it has and neither
    /// the fileset nor another snapshot does. The rest of what it holds is shared.
    ///
    /// # Errors
    /// `NotFound`; damage.
    pub fn unique_blocks(&self, id: Lsn) -> Result<u64> {
        let (mut runs, walk) = self.engine.attempt(self.patience(), |pinned| {
            let system = self.engine.system.lock();
            let state = self.cell.state.lock();
            let line = &state.snapshots.line;
            line.get(id).ok_or_else(|| self.missing(id))?;
            if line.is_held(id) {
                return Ok((Vec::new(), None));
            }
            let view = system.view(&self.engine.nodes, pinned);
            let all = snapshot::of(&view, self.cell.id).collect::<Result<Vec<_>, Stop>>()?;
            match branches(line, all)
                .iter()
                .find_map(|branch| branch.floor_if_last(line, id))
            {
                Some(floor) => {
                    let root = view.get(Key::snapshot_tree(self.cell.id, id))?;
                    let root = root.map(|bytes| Pointer::decode(&bytes)).transpose()?;
                    Ok((Vec::new(), Some((root, floor))))
                }
                None => Ok((self.listed_of(id, (line, &state), &view)?, None)),
            }
        })?;
        if let Some((root, floor)) = walk {
            let apart = take_apart(&self.engine.nodes, root, (floor, Key::FIRST), usize::MAX)?.whole()?;
            runs = apart.runs;
        }
        // Others may have some of them. Each is looked up by itself: nobody waits for all of it, and no miss begins anew.
        let sole = |run: &Run| {
            let attempt = |pinned: &Pinned| self.engine.solely_owned(*run, pinned);
            self.engine.attempt(self.patience(), attempt)
        };
        runs.iter().map(sole).sum()
    }

    /// Blocks that the lists say only the snapshot `id` has.
    fn listed_of(&self, id: Lsn, (line, state): (&Line, &State), view: &View<'_>) -> Result<Vec<Run>, Stop> {
        let own = line.get(id).ok_or_else(|| self.missing(id))?.serial;
        let firsts = line.serial_before(id) + 1..=own;
        let until = line.after(id).unwrap_or(Lsn(u64::MAX));
        let mut found = Vec::new();
        for item in snapshot::of(view, self.cell.id) {
            let (last, _) = item?;
            if last < id || last >= until {
                continue;
            }
            let first = Key::dead_chunk(last, *firsts.start());
            let end = Key::new(last.0, KeyKind::DeadChunk, u64::from(own) << 32 | u64::from(u32::MAX));
            for item in view.scan(first, end) {
                let chunk = DeadChunk::decode(&item?.1)?;
                let runs = chunk.runs.into_iter();
                found.extend(runs.map(|(block, count)| Run { block, count }));
            }
        }
        let unwritten = state.snapshots.frozen.iter().map(|dead| &**dead);
        for (span, runs) in unwritten.chain([&state.snapshots.dead]).flat_map(|dead| dead.iter()) {
            if firsts.contains(&span.first) && (id..until).contains(&span.last) {
                found.extend(runs.iter());
            }
        }
        Ok(found)
    }

    /// One try at a change that `plan` decides on, seeing the header and where history is.
    fn plan(
        &self,
        turn: &Running<'_>,
        pinned: &Pinned,
        plan: impl FnOnce(&State, FilesetHeader, Lsn) -> Result<Planned, Stop>,
    ) -> Result<Placed, Stop> {
        let (engine, id) = (&self.engine, self.cell.id);
        let room = Reserve(engine);
        let _history = engine.history.read();
        let mut system = engine.system.lock();
        let mut state = self.cell.state.lock();
        state.check(id)?;
        // No record of this fileset has this number or a later one, and every other snapshot was taken before it.
        let at = engine.log.last().next();
        let view = system.view(&engine.nodes, pinned);
        let mut transaction = Transaction::new(view, turn.operation(), Usage::default(), &room);
        let header = catalog::header(&transaction, id)?;
        let planned = plan(&state, header, at)?;
        let header = planned.put(&mut transaction, &state, (id, at));
        let reply = Reply::Done(at.0.to_le_bytes().to_vec().into());
        let result = Bytes::from(reply.encode());
        let head = Record {
            kind: RecordKind::Snapshot,
            flags: if planned.taken.is_some() { Record::TAKEN } else { 0 },
            result: result.clone(),
            ..self.head(turn.operation(), state.usage)
        };
        let lsn = engine.append(head, transaction.finish(), &mut system, None)?;
        state.header = header;
        state.snapshots.changed = lsn;
        if let Some(deleted) = planned.deleted {
            state.snapshots.forget(deleted, at);
            state.tree.forget_moment(deleted);
            engine.has_garbage.store(true, Ordering::Release);
        }
        if let Some((at, snapshot)) = planned.taken {
            state.tree.take_moment(at);
            state.snapshots.line.insert(at, snapshot);
            let durable = engine.log.durable();
            state.snapshots.fresh.retain(|_, record| *record > durable);
            state.snapshots.fresh.insert(at, lsn);
        }
        engine.note_change(&self.cell, &mut state);
        let after = turn.ran(lsn, result, engine.log.durable());
        Ok((lsn, reply, after))
    }

    fn take(
        &self,
        state: &State,
        header: FilesetHeader,
        at: Lsn,
        (operation, name, namesake): (&Operation, &FileName, Namesake),
    ) -> Result<Planned, Stop> {
        let on = |kind| Error::new(kind, format!("snapshot '{name}' of fileset {}", self.cell.id));
        if !self.engine.label.features.has_snapshots() {
            return Err(on(Kind::Unsupported)
                .because("its aggregate was made before there were snapshots")
                .remedy("move the fileset to a newer aggregate: fts move")
                .into());
        }
        let mut line = state.snapshots.line.shown();
        let old = line.find(|(_, snapshot)| snapshot.name == *name).map(|(at, _)| at);
        if let (Some(_), Namesake::Refuse) = (old, namesake) {
            return Err(on(Kind::Exists).into());
        }
        let kept: BTreeSet<u16> = state.snapshots.line.iter().map(|(_, kept)| kept.number()).collect();
        if old.is_none() && kept.len() >= SNAPSHOTS_PER_FILESET_MAX {
            return Err(on(Kind::Limit)
                .because(format!("{SNAPSHOTS_PER_FILESET_MAX} snapshots of it are kept"))
                .remedy("delete some: fts snapshot delete")
                .into());
        }
        let taken = u32::try_from(header.snapshots_taken).unwrap_or(u32::MAX);
        let serial = (taken.saturating_add(1)..u32::MAX).find(|serial| !kept.contains(&number_of(*serial)));
        let serial =
            serial.ok_or_else(|| on(Kind::Limit).because("all numbers for snapshots of this fileset are used up"))?;
        let snapshot = Snapshot {
            serial,
            name: name.clone(),
            taken: operation.time,
            bytes: state.usage.bytes,
            files: state.usage.files,
            deleted: Lsn(0),
        };
        Ok(Planned {
            header,
            taken: Some((at, snapshot)),
            deleted: old,
        })
    }

    pub(super) fn missing(&self, id: Lsn) -> Error {
        Error::new(Kind::NotFound, format!("snapshot {id} of fileset {}", self.cell.id))
    }
}

impl Engine {
    /// How many of these blocks nobody else has.
    fn solely_owned(&self, run: Run, pinned: &Pinned) -> Result<u64, Stop> {
        self.space.lock().solely_owned(run, &self.nodes, pinned)
    }
}

impl State {
    /// Where the nodes of the snapshot `at` begin; nothing yet, while it is made of layers.
    ///
    /// # Errors
    /// A miss; damage.
    pub(super) fn root_at(
        &mut self,
        system: &View<'_>,
        (id, at): (FilesetId, Lsn),
    ) -> Result<Option<Option<Pointer>>, Stop> {
        if self.tree.moments.iter().any(|moment| moment.snapshot == at) {
            return Ok(None);
        }
        if let Some(root) = self.snapshots.roots.get(&at) {
            return Ok(Some(*root));
        }
        let root = system.get(Key::snapshot_tree(id, at))?;
        let root = root.map(|bytes| Pointer::decode(&bytes)).transpose()?;
        if self.snapshots.line.get(at).is_some() {
            self.snapshots.roots.insert(at, root);
        }
        Ok(Some(root))
    }
}

impl SnapshotInfo {
    fn of((id, snapshot): (Lsn, &Snapshot)) -> SnapshotInfo {
        SnapshotInfo {
            id,
            number: snapshot.number(),
            name: snapshot.name.clone(),
            taken: snapshot.taken,
            usage: Usage {
                bytes: snapshot.bytes,
                files: snapshot.files,
                promised: 0,
            },
        }
    }
}

impl Planned {
    /// What the record says; gives the header after it.
    fn put(&self, transaction: &mut Transaction<'_>, state: &State, (id, at): (FilesetId, Lsn)) -> FilesetHeader {
        let mut header = self.header.clone();
        let line = &state.snapshots.line;
        if let Some((deleted, old)) = self.deleted.and_then(|deleted| Some((deleted, line.get(deleted)?))) {
            put_deleted(transaction, (id, deleted), old, at);
            let mut left = line.shown().rev().map(|(at, _)| at).filter(|at| *at != deleted);
            header.newest_snapshot = left.next().unwrap_or_default();
        }
        if let Some((taken, snapshot)) = &self.taken {
            transaction.put(Key::snapshot(id, *taken), snapshot.encode());
            header.newest_snapshot = *taken;
            header.snapshots_taken = snapshot.serial.into();
        }
        transaction.put(Key::fileset_header(id), header.encode());
        header
    }
}

/// Says that a snapshot is kept no longer, and that there is space to give back.
pub(super) fn put_deleted(
    transaction: &mut Transaction<'_>,
    (id, snapshot): (FilesetId, Lsn),
    old: &Snapshot,
    at: Lsn,
) {
    let deleted = Snapshot {
        deleted: at,
        ..old.clone()
    };
    transaction.put(Key::snapshot(id, snapshot), deleted.encode());
    transaction.put(Key::cursor(id), Bytes::new());
}

/// What was done, with the id of a snapshot as its answer.
pub(super) fn id_in(done: Done<Bytes>) -> Done<Lsn> {
    Done {
        lsn: done.lsn,
        after: done.after,
        answer: done.answer.and_then(|answer| id_of(&answer)),
    }
}

fn id_of(answer: &[u8]) -> Result<Lsn> {
    let number = <[u8; 8]>::try_from(answer);
    let number = number.map_err(|_| Error::new(Kind::Damaged, "answer of a snapshot").because("it is no number"))?;
    Ok(Lsn(u64::from_le_bytes(number)))
}
