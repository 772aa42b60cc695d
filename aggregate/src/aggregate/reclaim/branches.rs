//! What is left of branches: trees behind their last snapshots, and what they went on from.

use std::collections::BTreeSet;
use std::sync::Arc;

use baton_types::{FilesetId, Kind, Result};

use super::super::branching::let_go;
use super::{Reclaimed, Step};
use crate::aggregate::FilesetCell;
use crate::engine::{Engine, blank};
use crate::fileset::STEP_ITEMS_MAX;
use crate::format::{Base, DeadChunk, Key, KeyKind, Lsn, Pointer, Record, RecordKind, Walk};
use crate::snapshot::{self, Branch, Tip};
use crate::tree::{Stop, take_apart};

impl Engine {
    /// A piece of the tree of a snapshot that was the last of its branch.
    pub(super) fn walk_on(&self, id: FilesetId, snapshot: Lsn, walk: Walk) -> Result<Reclaimed> {
        let key = Key::snapshot_tree(id, snapshot);
        let root = self.retrying(|pinned| {
            let system = self.system.lock();
            let bytes = system.view(&self.nodes, pinned).get(key)?;
            Ok(bytes.map(|bytes| Pointer::decode(&bytes)).transpose()?)
        })?;
        let apart = take_apart(&self.nodes, root, (walk.floor, walk.from), STEP_ITEMS_MAX)?;
        if let Some(error) = &apart.damage {
            self.leave_taken(id, error)?;
        }
        let head = Record {
            fileset: id,
            ..blank(RecordKind::Snapshot)
        };
        self.change_own(head, |transaction| {
            if transaction.get(Key::walk(snapshot))?.as_deref() != Some(&walk.encode()) {
                // Another step was faster.
                return Ok(Reclaimed::Blocks(0));
            }
            for run in &apart.runs {
                transaction.free(run.block, run.count, snapshot);
            }
            match apart.next {
                Some(from) => transaction.put(Key::walk(snapshot), Walk { from, ..walk }.encode()),
                None => {
                    transaction.delete(Key::walk(snapshot));
                    transaction.delete(Key::snapshot(id, snapshot));
                    transaction.delete(key);
                }
            }
            Ok(Reclaimed::Blocks(
                apart.runs.iter().map(|run| u64::from(run.count)).sum(),
            ))
        })
    }

    /// A fileset and those that it went on from, as far as they are there still: one that nobody held any more may be gone
    /// before those that had left it.
    pub(super) fn related(&self, id: FilesetId) -> Result<Vec<Arc<FilesetCell>>> {
        let own = self.fileset(id)?;
        let line = own.state.lock().snapshots.line.clone();
        let origins: BTreeSet<FilesetId> = line.bases().map(|(_, base)| base.origin).collect();
        let others = origins.into_iter().filter(|origin| *origin != id);
        let found = others.map(|origin| match self.fileset(origin) {
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            found => found.map(Some),
        });
        let mut cells: Vec<_> = found.filter_map(Result::transpose).collect::<Result<_>>()?;
        cells.push(own);
        Ok(cells)
    }

    /// Whoever went on from `base` with `record` does so no more.
    pub(super) fn held_no_more(&self, cells: &[Arc<FilesetCell>], base: &Base, record: Lsn) {
        for cell in cells.iter().filter(|cell| cell.id == base.origin) {
            cell.state.lock().snapshots.line.let_go(record);
        }
    }

    /// An empty fileset does not need any more what it went on from last.
    pub(super) fn leave_base(&self, cell: &Arc<FilesetCell>) -> Result<Reclaimed> {
        let id = cell.id;
        let cells = self.related(id)?;
        let line = cell.state.lock().snapshots.line.clone();
        let Some((record, base)) = line.bases().next_back() else {
            return Ok(Reclaimed::Nothing);
        };
        let head = Record {
            fileset: id,
            ..blank(RecordKind::Snapshot)
        };
        self.change_own(head, |transaction| {
            let snapshots = snapshot::of(transaction, id).collect::<Result<Vec<_>, Stop>>()?;
            let is_needed = snapshots.iter().any(|(at, _)| *at >= record);
            // Others may hold snapshots of the last branch, and these share with its base.
            if is_needed || transaction.get(Key::held(base.origin, record))?.is_none() {
                return Ok(Reclaimed::Nothing);
            }
            if transaction.get(Key::fileset_usage(id))?.is_none() {
                // No merge has seen it: its tree is still that of its base.
                self.note_change(cell, &mut cell.state.lock());
                return Ok(Reclaimed::Later);
            }
            let_go(transaction, base, (record, self.log.last().next()))?;
            self.held_no_more(&cells, base, record);
            Ok(Reclaimed::Blocks(0))
        })
    }
}

impl Step<'_, '_> {
    /// What is left behind the last snapshot of a branch that is kept: first the lists, then the tree. The walk says
    /// from the beginning which snapshot that was: it has what the lists say died after it, deleted meanwhile or not.
    pub(super) fn end(&mut self, id: FilesetId, branch: &Branch, tip: Tip) -> Result<(), Stop> {
        let walk = match self.transaction.get(Key::walk(tip.snapshot))? {
            Some(walk) => Walk::decode(&walk)?,
            None => {
                let (floor, from) = (tip.floor, Key::FIRST);
                let walk = Walk { floor, from };
                self.transaction.put(Key::walk(tip.snapshot), walk.encode());
                self.left = self.left.saturating_sub(1);
                walk
            }
        };
        if walk.from == Key::FIRST && !self.lists_behind(id, branch, walk.floor)? {
            return Ok(());
        }
        self.walk = self.walk.or(Some((tip.snapshot, walk)));
        Ok(())
    }

    /// Frees what the lists say that nobody has behind `floor`, and drops the others; true if there are none left.
    pub(super) fn lists_behind(&mut self, id: FilesetId, branch: &Branch, floor: Lsn) -> Result<bool, Stop> {
        let serial = branch.serial_of(floor);
        let Some((last, _)) = branch.snapshots.last() else {
            return Ok(true);
        };
        for (at, snapshot) in branch.snapshots.iter().filter(|(at, _)| *at >= floor) {
            if *at > floor && self.rooted < snapshot.deleted {
                self.waits = true;
                return Ok(false);
            }
            if !self.free_after(serial, *at)? || !self.drop_upto(serial, *at)? {
                return Ok(false);
            }
            if *at > floor && at < last {
                self.forget(id, *at);
            }
        }
        Ok(true)
    }

    /// Drops the lists of what snapshots with numbers up to `serial` had up to `last`; true if there are none left.
    pub(super) fn drop_upto(&mut self, serial: u32, last: Lsn) -> Result<bool, Stop> {
        let end = Key::new(
            last.0,
            KeyKind::DeadChunk,
            u64::from(serial) << 32 | u64::from(u32::MAX),
        );
        let chunks = self.transaction.scan(Key::dead_chunk(last, 0), end);
        for item in chunks.take(self.left + 1).collect::<Result<Vec<_>, Stop>>()? {
            let (key, value) = item;
            if DeadChunk::decode(&value)?.generation >= self.generation {
                self.waits = true;
                return Ok(false);
            }
            if self.left <= 1 {
                self.is_short = true;
                return Ok(false);
            }
            self.left -= 1;
            self.transaction.delete(key);
        }
        Ok(true)
    }
}
