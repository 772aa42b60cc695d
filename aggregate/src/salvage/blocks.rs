//! Which block is what: each is free, reachable, pending or log, and nothing twice.
//!
//! The snapshots of a fileset share blocks with each other and with it. Their trees are read from the oldest on: what is
//! not younger than the snapshot before, that one has too, and what is younger nobody has. Where a fileset goes on from a
//! snapshot, that one is the one before.
//!
//! What was copied from a snapshot has several owners. They are counted, and each but one of them, or of those that a
//! deleted snapshot had, is an item of shared blocks.

use std::collections::BTreeMap;

use crate::format::{Bitmap, Geometry, Lsn, Segment};
use crate::space::Tally;
use crate::transaction::Run;

/// What refers to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// A pointer or an extent of a tree, which made it.
    Tree,
    /// An item of shared blocks, which may have taken it back.
    Shared,
    /// Nobody but deleted snapshots.
    Dead,
    /// A list of frees.
    Pending,
}

/// The blocks of one segment.
pub(super) struct Use {
    /// Of trees.
    pub reached: Bitmap,
    /// Of those, which have an owner that made them.
    made: Bitmap,
    /// Of those, which are shared.
    pub shared: Bitmap,
    /// Of deleted snapshots alone.
    pub dead: Bitmap,
    pub pending: Bitmap,
}

impl Use {
    /// Of a segment with so many blocks, nothing.
    fn none(blocks: u32) -> Use {
        let free = || Bitmap::free(blocks);
        Use {
            reached: free(),
            made: free(),
            shared: free(),
            dead: free(),
            pending: free(),
        }
    }
}

/// Blocks of several segments.
pub(super) type Set = BTreeMap<Segment, Bitmap>;

/// The trees of one branch of a fileset, one after the other.
#[derive(Default)]
struct Line {
    /// The snapshot that was read before, and what it has.
    before: Option<(Lsn, Set)>,
    /// What the tree that is being read has.
    own: Set,
    /// What of that the snapshot before had not, or had by another owner.
    born: Set,
    /// What the branch still has of the snapshot that it goes on from: where that dies is in no list of the branch.
    base: Set,
    /// False once a tree could not be read: who has what of the older blocks is not known.
    is_known: bool,
}

/// All blocks that anything refers to. Segments that nothing refers to take no memory.
pub(super) struct Blocks {
    geometry: Geometry,
    pub segments: BTreeMap<Segment, Use>,
    /// How many owners each block has beside the first.
    pub further: Tally,
    line: Option<Line>,
    /// What snapshots have that filesets go on from; of those that were read, it is known.
    bases: BTreeMap<Lsn, Option<Set>>,
}

impl Blocks {
    pub fn new(geometry: Geometry) -> Blocks {
        Blocks {
            geometry,
            segments: BTreeMap::new(),
            further: Tally::default(),
            line: None,
            bases: BTreeMap::new(),
        }
    }

    /// Filesets go on from the snapshot `at`: what it has is to be kept in mind.
    pub fn remember(&mut self, at: Lsn) {
        self.bases.insert(at, None);
    }

    /// What is reached from here on is of the trees of one branch of a fileset. What was born up to the first of `base`
    /// the snapshot that is the second has.
    pub fn begin_line(&mut self, base: Option<(Lsn, Lsn)>) {
        let mut is_known = true;
        let before = base.map(|(floor, snapshot)| {
            let set = self.bases.get(&snapshot).cloned();
            is_known = set != Some(None);
            (floor, set.flatten().unwrap_or_default())
        });
        self.line = Some(Line {
            is_known,
            base: before.as_ref().map(|(_, set)| set.clone()).unwrap_or_default(),
            before,
            own: Set::new(),
            born: Set::new(),
        });
    }

    /// The tree that is being read cannot be read as a whole.
    pub fn lose_line(&mut self) {
        if let Some(line) = &mut self.line {
            line.is_known = false;
        }
    }

    /// True if all trees of the branch could be read so far, and what it goes on from.
    pub fn knows_line(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.is_known)
    }

    /// The tree of the snapshot `at` was read: gives the blocks that the one before had and it has not, except for the
    /// base's, and those that it has and the one before had not. What it took back counts as both.
    pub fn end_tree(&mut self, at: Lsn) -> (Set, Set) {
        let Some(line) = &mut self.line else {
            return (Set::new(), Set::new());
        };
        let own = std::mem::take(&mut line.own);
        let before = line.before.take().map_or_else(Set::new, |(_, before)| before);
        let born = std::mem::take(&mut line.born);
        let gone = minus(&before, &minus(&own, &born));
        let died = minus(&gone, &line.base);
        line.base = minus(&line.base, &gone);
        if let Some(base) = self.bases.get_mut(&at).filter(|_| line.is_known) {
            *base = Some(own.clone());
        }
        line.before = Some((at, own));
        (died, born)
    }

    /// All trees of the fileset were read.
    pub fn end_line(&mut self) {
        self.line = None;
    }

    /// A tree refers to `run`, which was born at `birth`: true if none did before; or what is wrong with that.
    pub fn reach(&mut self, run: Run, birth: Lsn, by: By) -> Result<bool, &'static str> {
        let Some(mut line) = self.line.take() else {
            return self.refer(run, by).map(|()| true);
        };
        let reached = self.reach_in(&mut line, run, birth, by);
        self.line = Some(line);
        reached
    }

    fn reach_in(&mut self, line: &mut Line, run: Run, birth: Lsn, by: By) -> Result<bool, &'static str> {
        let is_older = line.before.as_ref().is_some_and(|(before, _)| birth <= *before);
        if !is_older {
            // Whatever has it already, the snapshot before included, is another's.
            self.refer(run, by)?;
        } else if !self.geometry.has_blocks(run.block, run.count.into()) {
            return Err("they lie in no segment, or in two");
        }
        let segment = self.geometry.segment_of(run.block);
        let free = || Bitmap::free(self.geometry.segment_blocks());
        let own = line.own.entry(segment).or_insert_with(free);
        let mut born = (!is_older).then(|| line.born.entry(segment).or_insert_with(free));
        let before = line.before.as_ref().and_then(|(_, before)| before.get(&segment));
        let first = self.geometry.index_in_segment(run.block);
        for index in first..first + u32::from(run.count) {
            if !own.take(index) {
                return Err("something else of the same tree refers to them too");
            }
            if let Some(born) = &mut born {
                born.take(index);
            }
            if is_older && line.is_known && !before.is_some_and(|before| before.is_used(index)) {
                return Err("they are older than the snapshot before, which has not got them");
            }
        }
        if is_older && !line.is_known {
            // That one may not have been read so far.
            self.keep(run);
        }
        Ok(!is_older || !line.is_known)
    }

    /// Something refers to `run`, whatever else does.
    fn keep(&mut self, run: Run) {
        let first = self.geometry.index_in_segment(run.block);
        let blocks = self.geometry.segment_blocks();
        let segment = self.segments.entry(self.geometry.segment_of(run.block));
        let segment = segment.or_insert_with(|| Use::none(blocks));
        for index in first..first + u32::from(run.count) {
            segment.reached.take(index);
        }
    }

    /// Something refers to `run`, which lies in one segment; says what is wrong with that.
    pub fn refer(&mut self, run: Run, by: By) -> Result<(), &'static str> {
        if !self.geometry.has_blocks(run.block, run.count.into()) {
            return Err("they lie in no segment, or in two");
        }
        let first = self.geometry.index_in_segment(run.block);
        let blocks = self.geometry.segment_blocks();
        let segment = self.segments.entry(self.geometry.segment_of(run.block));
        let segment = segment.or_insert_with(|| Use::none(blocks));
        let mut wrong = Ok(());
        for (index, block) in (first..first + u32::from(run.count)).zip(run.blocks()) {
            let is_owned = segment.reached.is_used(index) || segment.dead.is_used(index);
            if match by {
                By::Pending => is_owned,
                By::Tree | By::Shared | By::Dead => segment.pending.is_used(index),
            } {
                wrong = Err("they are in use and freed at once");
            }
            let is_first = match by {
                By::Tree => segment.made.take(index),
                By::Pending => segment.pending.take(index),
                By::Shared | By::Dead => true,
            };
            if !is_first {
                wrong = Err("something else refers to them too");
            }
            match by {
                By::Pending => continue,
                By::Dead => segment.dead.take(index),
                By::Tree => segment.reached.take(index),
                By::Shared => segment.shared.take(index) | segment.reached.take(index),
            };
            if is_owned {
                self.further.add(block, 1, 1);
            }
        }
        wrong
    }
}

/// What one set has and another has not.
pub(super) fn minus(set: &Set, other: &Set) -> Set {
    let mut left = Set::new();
    for (segment, bitmap) in set {
        let other = other.get(segment);
        let mut rest = Bitmap::free(bitmap.len());
        for index in 0..bitmap.len() {
            if bitmap.is_used(index) && !other.is_some_and(|other| other.is_used(index)) {
                rest.take(index);
            }
        }
        if rest.used() > 0 {
            left.insert(*segment, rest);
        }
    }
    left
}
