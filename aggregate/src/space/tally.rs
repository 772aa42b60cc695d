//! A number for each block, kept as runs of equal ones.

use std::collections::BTreeMap;

use crate::format::Block;

/// How often something is so of each block; of most of them 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// First block to the one behind the last, and how often.
    runs: BTreeMap<u64, (u64, i64)>,
}

impl Tally {
    /// True if it is 0 of all.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Of these blocks, once more or less for each of `by`.
    pub fn add(&mut self, block: Block, count: u64, by: i64) {
        self.change(block, count, |before| before + by);
    }

    /// Of these blocks, 0.
    pub fn clear(&mut self, block: Block, count: u64) {
        self.change(block, count, |_| 0);
    }

    /// Adds all of `other`.
    pub fn append(&mut self, other: Tally) {
        if self.is_empty() {
            *self = other;
            return;
        }
        for (start, end, by) in other.iter() {
            self.add(Block(start), end - start, by);
        }
    }

    /// How often it is so of one block.
    pub fn of(&self, block: Block) -> i64 {
        let before = self.runs.range(..=block.0).next_back();
        before.map_or(0, |(_, (end, often))| if *end > block.0 { *often } else { 0 })
    }

    /// The runs in order: the first block, the one behind the last, and how often it is so of them.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64, i64)> + '_ {
        self.runs.iter().map(|(start, (end, often))| (*start, *end, *often))
    }

    fn change(&mut self, block: Block, count: u64, by: impl Fn(i64) -> i64) {
        let (start, end) = (block.0, block.0 + count);
        self.cut(start);
        self.cut(end);
        let (mut at, mut changed) = (start, Vec::new());
        for (run, (run_end, often)) in self.runs.extract_if(start..end, |_, _| true) {
            if at < run {
                changed.push((at, run, by(0)));
            }
            changed.push((run, run_end, by(often)));
            at = run_end;
        }
        if at < end {
            changed.push((at, end, by(0)));
        }
        for (start, end, often) in changed.into_iter().filter(|(.., often)| *often != 0) {
            self.runs.insert(start, (end, often));
            self.join(start);
        }
        self.join(end);
    }

    /// A run begins at `block`, or none has it and the one before.
    fn cut(&mut self, block: u64) {
        if let Some((_, run)) = self.runs.range_mut(..block).next_back()
            && run.0 > block
        {
            let rest = std::mem::replace(&mut run.0, block);
            let often = run.1;
            self.runs.insert(block, (rest, often));
        }
    }

    /// The run at `block` goes on with the one before, if they are alike.
    fn join(&mut self, block: u64) {
        let Some((end, often)) = self.runs.get(&block).copied() else {
            return;
        };
        if let Some((_, before)) = self.runs.range_mut(..block).next_back()
            && *before == (block, often)
        {
            before.0 = end;
            self.runs.remove(&block);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn prop_tally_equals_numbers_by_themselves(
            steps in proptest::collection::vec((0..4_u8, 0..60_u64, 1..20_u64), 0..60)
        ) {
            let (mut tally, mut model) = (Tally::default(), [0_i64; 80]);
            for (what, start, count) in steps {
                let own = &mut model[start as usize..(start + count) as usize];
                match what {
                    0 => {
                        tally.clear(Block(start), count);
                        own.fill(0);
                    }
                    what => {
                        let by = if what == 1 { -1 } else { 1 };
                        tally.add(Block(start), count, by);
                        own.iter_mut().for_each(|often| *often += by);
                    }
                }
                for (block, often) in (0..).zip(&model) {
                    prop_assert_eq!(tally.of(Block(block)), *often);
                }
                let runs: Vec<_> = tally.iter().collect();
                prop_assert!(runs.iter().all(|(start, end, often)| start < end && *often != 0));
                prop_assert!(runs.windows(2).all(|two| two[0].1 <= two[1].0 && two[0] != (two[0].0, two[1].0, two[1].2)));
            }
        }
    }
}
