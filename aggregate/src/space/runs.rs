//! A set of blocks, kept as runs.

use std::collections::BTreeMap;

use crate::format::{Block, Geometry};
use crate::transaction::Run;

/// Disjoint runs of blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// First block to the one behind the last.
    ends: BTreeMap<u64, u64>,
}

impl Runs {
    /// True without any block.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds blocks; those that are in it already stay in it.
    pub fn insert(&mut self, block: Block, count: u64) {
        let (mut start, mut end) = (block.0, block.0 + count);
        if let Some((before, before_end)) = self.ends.range(..=start).next_back()
            && *before_end >= start
        {
            (start, end) = (*before, end.max(*before_end));
        }
        while let Some((at, at_end)) = self.ends.range(start..=end).next().map(|(at, end)| (*at, *end)) {
            end = end.max(at_end);
            self.ends.remove(&at);
        }
        self.ends.insert(start, end);
    }

    /// Takes blocks out; those that are not in it do no harm.
    pub fn remove(&mut self, block: Block, count: u64) {
        let (start, end) = (block.0, block.0 + count);
        while let Some((at, at_end)) = self.ends.range(..end).next_back().map(|(at, end)| (*at, *end)) {
            if at_end <= start {
                break;
            }
            self.ends.remove(&at);
            if at_end > end {
                self.ends.insert(end, at_end);
            }
            if at < start {
                self.ends.insert(at, start);
                break;
            }
        }
    }

    /// Adds all of `other`.
    pub fn append(&mut self, other: Runs) {
        if self.is_empty() {
            *self = other;
            return;
        }
        for (start, end) in other.ends {
            self.insert(Block(start), end - start);
        }
    }

    /// The runs in order, none longer than a record can say.
    pub fn iter(&self) -> impl Iterator<Item = Run> + '_ {
        self.ends.iter().flat_map(|(start, end)| {
            (*start..*end).step_by(usize::from(u16::MAX)).map(move |at| Run {
                block: Block(at),
                count: u16::try_from(end - at).unwrap_or(u16::MAX),
            })
        })
    }
}

/// Runs, cut where one segment ends and the next begins.
pub(crate) fn split_by_segment(geometry: &Geometry, runs: &Runs) -> Vec<Run> {
    let mut split = Vec::new();
    for run in runs.iter() {
        let (mut block, end) = (run.block.0, run.block.0 + u64::from(run.count));
        while block < end {
            let segment = geometry.segment_of(Block(block));
            let next = geometry.first_block(segment).0 + u64::from(geometry.segment_blocks());
            let upto = end.min(next);
            split.push(Run {
                block: Block(block),
                count: (upto - block) as u16,
            });
            block = upto;
        }
    }
    split
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn prop_runs_equal_a_set(steps in proptest::collection::vec((any::<bool>(), 0..100u64, 1..30u64), 0..60)) {
            let (mut runs, mut model) = (Runs::default(), BTreeSet::new());
            for (insert, start, count) in steps {
                if insert {
                    runs.insert(Block(start), count);
                    model.extend(start..start + count);
                } else {
                    runs.remove(Block(start), count);
                    model.retain(|block| !(start..start + count).contains(block));
                }
                let blocks: Vec<u64> = runs.iter().flat_map(|run| run.blocks().map(|block| block.0)).collect();
                prop_assert_eq!(&blocks, &model.iter().copied().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_run_is_never_longer_than_a_record_can_say() {
        let mut runs = Runs::default();
        runs.insert(Block(7), 200_000);
        assert_eq!(runs.iter().map(|run| u64::from(run.count)).sum::<u64>(), 200_000);
    }
}
