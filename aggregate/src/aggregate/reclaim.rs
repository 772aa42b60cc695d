//! Space given back: what deleted snapshots alone had, and filesets that were hidden.
//!
//! A step is one record with a bounded number of frees: it says what is freed and that it was, in one, so a crash
//! resumes behind it and frees nothing twice. It knows where to go on from the system tree alone.
//!
//! A span of dead blocks is free when none of its snapshots is kept: of those that a deleted snapshot was the last to
//! have, the ones that no kept snapshot before it had. The piece of a list that says so must be in two roots before its
//! blocks are freed: a recovery from the older one, whose trees may still have them, would free them too.
//!
//! Behind the last snapshot of a branch that its fileset has left there is no list that says what died: there the tree
//! itself is walked. The key it is to go on from stands in the record that has the frees.

mod branches;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use baton_types::{Error, FilesetId, Kind, Result};

use super::Aggregate;
use super::branching::let_go;
use super::fileset::{Reserve, State};
use super::need::Need;
use super::snapshots::put_deleted;
use crate::aggregate::FilesetCell;
use crate::engine::{Engine, Patience, blank};
use crate::fileset::{STEP_ITEMS_MAX, catalog};
use crate::format::{
    BLOCK_BYTES, Base, DeadChunk, FilesetKind, Key, KeyKind, Lsn, Record, RecordKind, Snapshot, Walk, owned,
};
use crate::snapshot::{self, Line, branches};
use crate::space::Purpose;
use crate::transaction::{Operation, Transaction, Usage};
use crate::tree::{Stop, reach};

/// Snapshots of a hidden fileset that one record deletes at most.
const SNAPSHOTS_AT_ONCE: usize = 64;

/// Below so much room nothing is put off: 256 MiB.
const ROOM_BLOCKS: u64 = 1 << 16;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reclaimed {
    /// So many blocks were freed, perhaps none; there may be more.
    Blocks(u64),
    /// What is left waits for a checkpoint.
    Later,
    /// There is nothing to give back.
    Nothing,
}

impl Reclaimed {
    /// How long whoever gives back `rate` bytes a second rests after this step; 0 is as fast as it goes.
    fn rest(self, rate: u64) -> Duration {
        match (self, rate) {
            (Reclaimed::Blocks(blocks), 1..) => {
                Duration::from_secs_f64(blocks as f64 * BLOCK_BYTES as f64 / rate as f64)
            }
            (..) => Duration::ZERO,
        }
    }
}

impl Aggregate {
    /// How many bytes a second the threads of the aggregate give back, about; 0: as many as they can.
    pub fn set_reclaim_rate(&self, rate: u64) {
        self.engine.reclaim_rate.store(rate, Ordering::Relaxed);
    }

    /// How long to rest after a step that came to `reclaimed`, so that programs get the disk; not while they need the room.
    pub(super) fn rest_after(&self, reclaimed: Reclaimed) -> Duration {
        match self.engine.has_headroom(Purpose::Growth, ROOM_BLOCKS) {
            true => reclaimed.rest(self.engine.reclaim_rate.load(Ordering::Relaxed)),
            false => Duration::ZERO,
        }
    }

    /// Gives back a piece of what nobody can reach any more, about a thousand extents at most. To be called again as
    /// long as it says that there is more, as fast as its caller likes.
    ///
    /// # Errors
    /// As [`Aggregate::wait`]; `NoSpace`; damage.
    pub fn reclaim(&self) -> Result<Reclaimed> {
        let engine = &self.engine;
        if !engine.has_garbage.swap(false, Ordering::AcqRel) {
            return Ok(Reclaimed::Nothing);
        }
        let reclaimed = engine.reclaim();
        if !matches!(reclaimed, Ok(Reclaimed::Nothing)) {
            engine.has_garbage.store(true, Ordering::Release);
        }
        reclaimed
    }
}

impl Engine {
    fn reclaim(self: &Arc<Engine>) -> Result<Reclaimed> {
        let (hidden, waiting) = self.retrying(|pinned| {
            let system = self.system.lock();
            let view = system.view(&self.nodes, pinned);
            let mut waiting = Vec::new();
            for item in view.scan(Key::cursor(FilesetId(0)), Key::cursor(FilesetId(u64::MAX))) {
                waiting.push(FilesetId(item?.0.sub));
            }
            let hidden = catalog::list_hidden(&view, 0, usize::MAX)?.entries;
            Ok((hidden, waiting))
        })?;
        let mut result = Reclaimed::Nothing;
        let filesets = hidden.into_iter().map(|entry| entry.fileset);
        for id in filesets {
            match self.take_apart(id)? {
                Reclaimed::Nothing => {}
                Reclaimed::Later => result = Reclaimed::Later,
                blocks => return Ok(blocks),
            }
        }
        for id in waiting {
            match self.reclaim_snapshots(id)? {
                Reclaimed::Nothing => {}
                Reclaimed::Later => result = Reclaimed::Later,
                blocks => return Ok(blocks),
            }
        }
        Ok(result)
    }

    /// A step for the snapshots of one fileset.
    fn reclaim_snapshots(&self, id: FilesetId) -> Result<Reclaimed> {
        // Once these are so, they stay so.
        let generation = self.generation.load(Ordering::Acquire);
        let rooted = Lsn(self.rooted.load(Ordering::Acquire));
        let head = Record {
            fileset: id,
            ..blank(RecordKind::Snapshot)
        };
        // In memory for as long as this goes on: what is taken back, all who use them are to see.
        let cells = self.related(id)?;
        let mut walk = None;
        let stepped = self.change_own(head, |transaction| {
            let mut step = Step {
                now: self.log.last().next(),
                transaction,
                generation,
                rooted,
                left: STEP_ITEMS_MAX,
                blocks: 0,
                is_short: false,
                waits: false,
                walk: None,
                ended: Vec::new(),
            };
            step.snapshots(id)?;
            walk = step.walk;
            let result = match (step.is_short, step.waits, step.left < STEP_ITEMS_MAX) {
                (false, true, false) => Reclaimed::Later,
                (false, false, false) if walk.is_none() => {
                    step.transaction.delete(Key::cursor(id));
                    Reclaimed::Nothing
                }
                (..) => Reclaimed::Blocks(step.blocks),
            };
            for (record, base) in step.ended {
                cells.iter().filter(|cell| cell.id == id).for_each(|cell| {
                    cell.state.lock().snapshots.line.forget_base(record);
                });
                self.held_no_more(&cells, &base, record);
            }
            Ok(result)
        })?;
        match walk {
            Some((snapshot, walk)) => self.walk_on(id, snapshot, walk),
            None => Ok(stepped),
        }
    }

    /// A step of taking a hidden fileset apart: first its snapshots go, then its tree, item by item, then itself, once
    /// nobody goes on from one of its snapshots any more.
    fn take_apart(self: &Arc<Engine>, id: FilesetId) -> Result<Reclaimed> {
        let cell = self.fileset(id)?;
        if cell.state.lock().snapshots.line.newest() > Lsn(0) {
            return self.delete_snapshots(&cell);
        }
        match self.delete_items(&cell)? {
            Reclaimed::Nothing => {}
            reclaimed => return Ok(reclaimed),
        }
        // A recovery from a root that has nodes of it must find it, to give them back.
        let emptied = *cell.state.lock().emptied.get_or_insert(self.log.last());
        if self.settled() < emptied {
            return Ok(Reclaimed::Later);
        }
        match self.leave_base(&cell)? {
            Reclaimed::Nothing => self.remove(&cell),
            reclaimed => Ok(reclaimed),
        }
    }

    fn delete_snapshots(&self, cell: &FilesetCell) -> Result<Reclaimed> {
        let head = Record {
            fileset: cell.id,
            ..blank(RecordKind::Snapshot)
        };
        let line = cell.state.lock().snapshots.line.clone();
        let gone: Vec<(Lsn, Snapshot)> = line
            .shown()
            .take(SNAPSHOTS_AT_ONCE)
            .map(|(at, snapshot)| (at, snapshot.clone()))
            .collect();
        self.change_own(head, |transaction| {
            let at = self.log.last().next();
            for (lsn, snapshot) in &gone {
                put_deleted(transaction, (cell.id, *lsn), snapshot, at);
            }
            let mut header = catalog::header(transaction, cell.id)?;
            // Nobody changes a hidden fileset or its snapshots, and no freeze comes before the record.
            let mut state = cell.state.lock();
            for (lsn, _) in &gone {
                state.snapshots.forget(*lsn, at);
                state.tree.forget_moment(*lsn);
            }
            header.newest_snapshot = state.snapshots.line.newest();
            transaction.put(Key::fileset_header(cell.id), header.encode());
            state.header = header;
            Ok(Reclaimed::Blocks(0))
        })
    }

    /// Deletes items of a hidden fileset; `Nothing` when it has none.
    fn delete_items(self: &Arc<Engine>, cell: &Arc<FilesetCell>) -> Result<Reclaimed> {
        match self.delete_between(cell, Key::FIRST, Key::LAST) {
            Ok(Some(blocks)) => Ok(Reclaimed::Blocks(blocks)),
            Ok(None) => {
                // Its nodes go with the checkpoint that sees it so.
                let tree = &cell.state.lock().tree;
                Ok(match tree.is_clean() && tree.root.is_none() {
                    true => Reclaimed::Nothing,
                    false => Reclaimed::Later,
                })
            }
            Err(error) if error.kind == Kind::Damaged => self.delete_readable(cell, &error),
            Err(error) => Err(error),
        }
    }

    /// Deletes items of a hidden fileset where its tree can be read; `Nothing` when only damage is left of it.
    fn delete_readable(self: &Arc<Engine>, cell: &Arc<FilesetCell>, error: &Error) -> Result<Reclaimed> {
        self.leave_taken(cell.id, error)?;
        let (root, mut from) = (cell.state.lock().tree.root, Some(Key::FIRST));
        while let Some(first) = from {
            let (is_readable, until) = reach(&self.nodes, root, first)?;
            let last = until.map_or(Some(Key::LAST), Key::before);
            if let Some(last) = last.filter(|_| is_readable)
                && let Some(blocks) = self.delete_between(cell, first, last)?
            {
                return Ok(Reclaimed::Blocks(blocks));
            }
            from = until;
        }
        Ok(match cell.state.lock().tree.is_clean() {
            true => Reclaimed::Nothing,
            false => Reclaimed::Later,
        })
    }

    /// Damage stands in the way of giving space back: what is below it stays taken, and the rest does not. The log says
    /// so once for a fileset, not at each step.
    ///
    /// # Errors
    /// `WrongEpoch`: only the owner may believe what it reads.
    fn leave_taken(&self, fileset: FilesetId, error: &Error) -> Result<()> {
        self.fence.look()?;
        if self.left_taken.lock().insert(fileset) {
            let aggregate = &self.label.name;
            tracing::warn!(%aggregate, %fileset, %error, "what is below damage is not given back");
        }
        Ok(())
    }

    /// Deletes items of a hidden fileset from one key to another: how many blocks that frees, if there were any items.
    fn delete_between(self: &Arc<Engine>, cell: &Arc<FilesetCell>, first: Key, last: Key) -> Result<Option<u64>> {
        self.admit(Need::UPKEEP.purpose, 0, Patience::Wait)?;
        self.retrying(|pinned| {
            let room = Reserve(self);
            let operation = Operation::default();
            let _history = self.history.read();
            let mut state = cell.state.lock();
            let view = state.tree.view(&self.nodes, pinned);
            let items = view.scan(first, last).take(STEP_ITEMS_MAX);
            let items = items.collect::<Result<Vec<_>, Stop>>()?;
            if items.is_empty() {
                return Ok(None);
            }
            let mut transaction = Transaction::new(view, &operation, state.usage, &room);
            let mut blocks = 0;
            for (key, value) in items {
                if let Some(owned) = owned(key, &value)? {
                    transaction.free(owned.block, owned.count, owned.birth);
                    blocks += u64::from(owned.count);
                }
                transaction.delete(key);
            }
            let head = Record {
                fileset: cell.id,
                usage_bytes: state.usage.bytes,
                usage_files: state.usage.files,
                usage_promised: state.usage.promised,
                ..blank(RecordKind::Step)
            };
            let change = transaction.finish();
            let State { tree, snapshots, .. } = &mut *state;
            self.append(head, change, tree, Some(snapshots))?;
            self.note_change(cell, &mut state);
            Ok(Some(blocks))
        })
    }

    /// The fileset is empty, and nothing of it is left but what the list says.
    fn remove(&self, cell: &Arc<FilesetCell>) -> Result<Reclaimed> {
        let id = cell.id;
        let cells = self.related(id)?;
        let line = cell.state.lock().snapshots.line.clone();
        let removed = self.change_own(blank(RecordKind::Fileset), |transaction| {
            let is_hidden = catalog::header(transaction, id)?.kind == FilesetKind::Deleting;
            if !is_hidden || snapshot::of(transaction, id).next().transpose()?.is_some() {
                // It is on the list of those that have space to give back, or others go on from it.
                return Ok(Reclaimed::Nothing);
            }
            // Branches that it left are empty too, and need no more what they went on from.
            let now = self.log.last().next();
            for (record, base) in line.bases() {
                if transaction.get(Key::held(base.origin, record))?.is_some() {
                    let_go(transaction, base, (record, now))?;
                }
            }
            catalog::remove(transaction, id)?;
            for (record, base) in line.bases() {
                self.held_no_more(&cells, base, record);
            }
            let mut state = cell.state.lock();
            state.is_gone = true;
            let promised = std::mem::take(&mut state.usage.promised);
            self.space.lock().promise(promised, 0);
            Ok(Reclaimed::Blocks(0))
        });
        match removed {
            // Another step was faster.
            Err(error) if error.kind == Kind::NotFound => Ok(Reclaimed::Nothing),
            Ok(Reclaimed::Nothing) => Ok(Reclaimed::Nothing),
            removed => {
                self.filesets.lock().remove(id);
                removed
            }
        }
    }

    /// A change to the system tree by the store itself, if `make` puts, deletes or frees anything.
    fn change_own(
        &self,
        head: Record,
        mut make: impl FnMut(&mut Transaction<'_>) -> Result<Reclaimed, Stop>,
    ) -> Result<Reclaimed> {
        self.admit(Need::UPKEEP.purpose, 0, Patience::Wait)?;
        self.retrying(|pinned| {
            let room = Reserve(self);
            let operation = Operation::default();
            let _history = self.history.read();
            let mut system = self.system.lock();
            let view = system.view(&self.nodes, pinned);
            let mut transaction = Transaction::new(view, &operation, Usage::default(), &room);
            let made = make(&mut transaction)?;
            let change = transaction.finish();
            if !change.items.is_empty() {
                self.append(head.clone(), change, &mut system, None)?;
            }
            Ok(made)
        })
    }
}

/// One step for the snapshots of a fileset.
struct Step<'a, 'b> {
    transaction: &'a mut Transaction<'b>,
    /// Of the newest root, and up to which record its trees go.
    generation: u64,
    rooted: Lsn,
    /// Runs that may still be freed.
    left: usize,
    blocks: u64,
    /// There is more than a step may do.
    is_short: bool,
    /// Something waits for a checkpoint.
    waits: bool,
    /// No later record than the one that this step becomes.
    now: Lsn,
    /// The last snapshot of a branch, whose tree is to be walked.
    walk: Option<(Lsn, Walk)>,
    /// Branches of which nothing is left: the records they began with, and what they went on from.
    ended: Vec<(Lsn, Base)>,
}

impl Step<'_, '_> {
    fn snapshots(&mut self, id: FilesetId) -> Result<(), Stop> {
        let line = Line::read(self.transaction, id)?;
        let all = snapshot::of(self.transaction, id).collect::<Result<Vec<_>, Stop>>()?;
        for branch in branches(&line, all) {
            let mut before = 0;
            for (at, snapshot) in branch.between(&line) {
                if line.keeps(*at) {
                    before = snapshot.serial;
                } else if self.free_after(before, *at)? && self.rooted >= snapshot.deleted {
                    let first = Key::dead_chunk(*at, 0);
                    let rest = self.transaction.scan(first, last_chunk(*at)).next().transpose()?;
                    // What is left, older snapshots have: then this one goes after them.
                    if rest.is_none() {
                        self.forget(id, *at);
                    }
                } else {
                    self.waits |= self.rooted < snapshot.deleted;
                }
                if self.is_short {
                    return Ok(());
                }
            }
            match (branch.tip(&line), &branch.base) {
                (Some(tip), _) => self.end(id, &branch, tip)?,
                (None, Some(base)) if branch.left.is_some() && branch.snapshots.is_empty() => {
                    self.left = self.left.saturating_sub(1);
                    self.transaction.delete(Key::base(id, branch.began));
                    let_go(self.transaction, base, (branch.began, self.now))?;
                    self.ended.push((branch.began, *base));
                }
                (None, _) => {}
            }
            if self.is_short {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Nothing is left of a snapshot.
    fn forget(&mut self, id: FilesetId, at: Lsn) {
        self.left = self.left.saturating_sub(1);
        self.transaction.delete(Key::snapshot(id, at));
        self.transaction.delete(Key::snapshot_tree(id, at));
    }

    /// Frees what snapshots with numbers above `before` up to `last` had; true if nothing of it is left.
    fn free_after(&mut self, before: u32, last: Lsn) -> Result<bool, Stop> {
        let chunks = self
            .transaction
            .scan(Key::dead_chunk(last, before + 1), last_chunk(last));
        let chunks = chunks.take(STEP_ITEMS_MAX / DeadChunk::RUNS_MAX + 2);
        let chunks = chunks.collect::<Result<Vec<_>, Stop>>()?;
        for (key, value) in chunks {
            let chunk = DeadChunk::decode(&value)?;
            if chunk.generation >= self.generation {
                self.waits = true;
                return Ok(false);
            }
            if chunk.runs.len() >= self.left {
                self.is_short = true;
                return Ok(false);
            }
            self.left -= chunk.runs.len();
            for (block, count) in chunk.runs {
                self.transaction.free(block, count, last);
                self.blocks += u64::from(count);
            }
            self.transaction.delete(key);
        }
        let rest = self
            .transaction
            .scan(Key::dead_chunk(last, before + 1), last_chunk(last));
        Ok(rest.take(1).next().transpose()?.is_none())
    }
}

fn last_chunk(last: Lsn) -> Key {
    Key::new(last.0, KeyKind::DeadChunk, u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_gives_back_rests_for_as_long_as_its_rate_says() {
        let step = Reclaimed::Blocks(256);
        assert_eq!(step.rest(1 << 20), Duration::from_secs(1));
        assert_eq!(step.rest(8 << 20), Duration::from_millis(125));
        assert_eq!(step.rest(0), Duration::ZERO);
        assert_eq!(Reclaimed::Blocks(0).rest(1), Duration::ZERO);
        assert_eq!(Reclaimed::Later.rest(1), Duration::ZERO);
    }
}
