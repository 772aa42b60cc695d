//! Shared blocks: in how many places each is, and is said to be.

use std::collections::BTreeMap;

use super::super::super::blocks::By;
use super::super::super::finding::Fault;
use super::super::super::mend::{Change, Mend};
use super::{Files, Whose};
use crate::format::{Block, EXTENT_BLOCKS_MAX, Lsn, Shared};
use crate::transaction::Run;

/// What was found so far.
#[derive(Default)]
pub(super) struct Places {
    /// From each block on, as far as that changes there: in how many places it is; in how many it is said to be.
    changes: BTreeMap<u64, (i64, i64)>,
    /// Extents of shared blocks, by the first one: how many blocks at most, and their birth.
    extents: BTreeMap<u64, (u16, Lsn)>,
}

impl Places {
    /// An item says so of the blocks in `run`.
    pub fn say(&mut self, run: Run, shared: &Shared) {
        let places = i64::from(shared.places);
        self.changes.entry(run.block.0).or_default().1 += places;
        self.changes.entry(run.block.0 + u64::from(run.count)).or_default().1 -= places;
    }

    /// An extent has the blocks in `run`, which were born at `birth`.
    pub fn find(&mut self, run: Run, birth: Lsn) {
        self.changes.entry(run.block.0).or_default().0 += 1;
        self.changes.entry(run.block.0 + u64::from(run.count)).or_default().0 -= 1;
        let extent = self.extents.entry(run.block.0).or_insert((run.count, birth));
        extent.0 = extent.0.max(run.count);
    }

    /// When a block of extents was born.
    fn birth(&self, block: u64) -> Option<Lsn> {
        let first = block.saturating_sub(u64::from(EXTENT_BLOCKS_MAX));
        let mut extents = self.extents.range(first..=block).rev();
        let found = extents.find(|(first, (count, _))| block - **first < u64::from(*count));
        found.map(|(_, (_, birth))| *birth)
    }

    /// Runs of which it is wrong: in how many places they are, in how many they are said to be, their birth.
    fn wrong(&self) -> Vec<(Run, (i64, i64), Lsn)> {
        let (mut now, mut wrong) = ((0, 0), Vec::new());
        let ends = self.changes.keys().skip(1);
        for ((first, change), end) in self.changes.iter().zip(ends) {
            now = (now.0 + change.0, now.1 + change.1);
            if now.0 != now.1 {
                let run = Run {
                    block: Block(*first),
                    count: (end - first) as u16,
                };
                wrong.push((run, now, self.birth(*first).unwrap_or_default()));
            }
        }
        wrong
    }
}

impl Files<'_, '_> {
    /// Shared blocks are in as many places as it is said.
    pub(super) fn compare_places(&mut self) {
        let Whose::Live(id) = self.whose else {
            if let Some((run, (found, said), _)) = self.places.wrong().first() {
                let reason = reason(*run, *found, *said);
                self.check.findings.fault(Fault::Block, self.name, reason);
            }
            return;
        };
        for (run, (found, said), birth) in self.places.wrong() {
            // Those that no item owns any more are the extents' still.
            let reached = match said {
                0 => self.check.blocks.reach(run, birth, By::Shared).map(drop),
                _ => Ok(()),
            };
            let mend = match (reached, u32::try_from(found)) {
                (Ok(()), Ok(places)) => Mend::Fileset(id, Change::Places(run, birth, places)),
                _ => Mend::Refuse,
            };
            let reason = reason(run, found, said);
            self.check.findings.mendable(Fault::Block, self.name, reason, mend);
        }
    }
}

fn reason(run: Run, found: i64, said: i64) -> String {
    format!(
        "shared blocks {} and {} on are said to be in {said} places, and are in {found}",
        run.block, run.count
    )
}
