//! Blocks with several owners: whoever copies from a snapshot makes the live tree one more of blocks that it had no more.
//!
//! An *owner* is an item of a tree, from its birth up to its death, with all snapshots in between: an extent, or an item
//! of shared blocks. Its death, lists and walks are its own affair; when nobody has it any more, the block is given up,
//! and that is not to say that it is free. What counts is the sum:
//!
//! ```text
//! further owners, as the space tree says  +  gained since  -  given up since  =  further owners now; -1: free
//! ```
//!
//! The changes since a freeze are gathered in memory, by records and by their replay alike, and a checkpoint adds them to
//! what the space tree says before it writes it. So no change ever reads what it says.

use std::ops::Range;

use baton_types::{Error, Kind};

use super::Space;
use super::tally::Tally;
use crate::format::{Block, Further, Key, Lsn};
use crate::nodes::Nodes;
use crate::transaction::Run;
use crate::tree::{Pinned, Stop, View};

/// Some blocks, and how many further owners they have.
pub(super) type Part = (Range<u64>, u32);

impl Space {
    /// A record makes a tree one more owner of `run`.
    pub fn own(&mut self, run: Run) {
        self.has_further = true;
        self.balance.add(run.block, run.count.into(), 1);
    }

    /// True if some blocks may have several owners.
    pub(crate) fn has_further(&self) -> bool {
        self.has_further
    }

    /// Finds out whether some have.
    pub(crate) fn read_further(&mut self, nodes: &Nodes, pinned: &Pinned) -> Result<(), Stop> {
        let view = self.tree.view(nodes, pinned);
        let mut said = view.scan(Key::further(Block(0)), Key::further(Block(u64::MAX)));
        let gained = |tally: &Tally| tally.iter().any(|(.., by)| by > 0);
        self.has_further = said.next().transpose()?.is_some() || gained(&self.settling) || gained(&self.balance);
        Ok(())
    }

    /// Tells the space tree of a piece of what changed before the freeze; false when there is none left.
    ///
    /// # Errors
    /// A miss; `Damaged` if more owners gave blocks up than they had.
    pub(crate) fn settle(&mut self, nodes: &Nodes, pinned: &Pinned) -> Result<bool, Stop> {
        if !self.has_further {
            for (start, end, by) in std::mem::take(&mut self.settling).iter() {
                if by != -1 {
                    return Err(given_up_twice(start).into());
                }
                self.pending[0].insert(Block(start), end - start);
            }
            return Ok(false);
        }
        let Some((start, end, by)) = self.settling.iter().next() else {
            self.read_further(nodes, pinned)?;
            return Ok(false);
        };
        let found = overlapping(&self.tree.view(nodes, pinned), start..end)?;
        let (mut at, mut parts) = (start, Vec::new());
        for (range, owners) in &found {
            if at < range.start {
                parts.push((at..range.start, 0));
            }
            parts.push((range.start.max(start)..range.end.min(end), *owners));
            at = range.end;
        }
        if at < end {
            parts.push((at..end, 0));
        }
        let mut left: Vec<Part> = Vec::new();
        for (range, owners) in &found {
            left.extend((range.start < start).then_some((range.start..start, *owners)));
            left.extend((range.end > end).then_some((end..range.end, *owners)));
        }
        let mut free = Vec::new();
        for (range, owners) in parts {
            match i64::from(owners) + by {
                -1 => free.push(range),
                0 => {}
                owners => {
                    let owners = u32::try_from(owners).map_err(|_| given_up_twice(range.start))?;
                    left.push((range, owners));
                }
            }
        }
        // From here on nothing fails.
        for range in free {
            self.pending[0].insert(Block(range.start), range.end - range.start);
        }
        for (range, _) in found {
            self.tree.active.insert(Key::further(Block(range.start)), None, Lsn(0));
        }
        for (range, owners) in left {
            self.put_further(&range, owners);
        }
        self.settling.clear(Block(start), end - start);
        Ok(true)
    }

    /// How many of the blocks of `run` nobody has but one owner.
    ///
    /// # Errors
    /// A miss; damage.
    pub(crate) fn solely_owned(&self, run: Run, nodes: &Nodes, pinned: &Pinned) -> Result<u64, Stop> {
        if !self.has_further {
            return Ok(run.count.into());
        }
        let (start, end) = (run.block.0, run.block.0 + u64::from(run.count));
        let mut tally = Tally::default();
        for (range, owners) in overlapping(&self.tree.view(nodes, pinned), start..end)? {
            tally.add(Block(range.start), range.end - range.start, owners.into());
        }
        let often = |block: &Block| tally.of(*block) + self.settling.of(*block) + self.balance.of(*block);
        Ok(run.blocks().filter(|block| often(block) <= 0).count() as u64)
    }

    /// Says how many further owners blocks have, in a space tree that says nothing of them.
    pub(super) fn put_further(&mut self, range: &Range<u64>, owners: u32) {
        let mut at = range.start;
        while at < range.end {
            let count = u32::try_from(range.end - at).unwrap_or(u32::MAX);
            let further = Further { count, owners };
            let value = Some(further.encode().into());
            self.tree.active.insert(Key::further(Block(at)), value, Lsn(0));
            at += u64::from(count);
        }
    }
}

/// What a space tree says of the blocks of `range`: whole runs, of which the first and the last may go beyond it.
pub(super) fn overlapping(view: &View<'_>, range: Range<u64>) -> Result<Vec<Part>, Stop> {
    let mut found: Vec<Part> = Vec::new();
    let first = view.last_at_or_before(Key::further(Block(range.start)))?;
    let rest = view.scan(
        Key::further(Block(range.start.saturating_add(1))),
        Key::further(Block(range.end - 1)),
    );
    for item in first.map(Ok).into_iter().chain(rest) {
        let (key, value) = item?;
        let further = Further::decode(&value)?;
        let run = key.sub..key.sub.saturating_add(further.count.into());
        if found.last().is_some_and(|(before, _)| before.end > run.start) {
            let reason = format!("further owners of block {} are said twice", key.sub);
            return Err(Error::new(Kind::Damaged, "space tree").because(reason).into());
        }
        if run.end > range.start {
            found.push((run, further.owners));
        }
    }
    Ok(found)
}

fn given_up_twice(block: u64) -> Error {
    Error::new(Kind::Damaged, "space").because(format!("more owners gave up block {block} than it had"))
}
