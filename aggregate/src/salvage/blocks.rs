//! Which block is what: each is free, reachable, pending or log, and nothing twice.
//!
//! The snapshots of a fileset share blocks with each other and with it. Their trees are read from the oldest on: what is
//! not younger than the snapshot before, that one has too, and what is younger nobody has. Where a fileset goes on from a
//! snapshot, that one is the one before.

use std::collections::BTreeMap;

use crate::format::{Bitmap, Geometry, Lsn, Segment};
use crate::transaction::Run;

/// What refers to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// A tree.
    Tree,
    /// A list of frees.
    Pending,
}

/// The blocks of one segment.
pub(super) struct Use {
    pub reached: Bitmap,
    pub pending: Bitmap,
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
    /// What the snapshot has that the branch goes on from: where that dies is in no list of the branch.
    base: Set,
}

/// All blocks that anything refers to. Segments that nothing refers to take no memory.
pub(super) struct Blocks {
    geometry: Geometry,
    pub segments: BTreeMap<Segment, Use>,
    line: Option<Line>,
    /// What snapshots have that filesets go on from; of those that were read, it is known.
    bases: BTreeMap<Lsn, Option<Set>>,
}

impl Blocks {
    pub fn new(geometry: Geometry) -> Blocks {
        Blocks {
            geometry,
            segments: BTreeMap::new(),
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
        let before = base.map(|(floor, snapshot)| {
            let set = self.bases.get(&snapshot).cloned().flatten();
            (floor, set.unwrap_or_default())
        });
        self.line = Some(Line {
            base: before.as_ref().map(|(_, set)| set.clone()).unwrap_or_default(),
            before,
            own: Set::new(),
        });
    }

    /// The tree of the snapshot `at` was read: gives the blocks that the one before had and it has not, except for the
    /// base's, and those that it has and the one before had not.
    pub fn end_tree(&mut self, at: Lsn) -> (Set, Set) {
        let Some(line) = &mut self.line else {
            return (Set::new(), Set::new());
        };
        let own = std::mem::take(&mut line.own);
        let before = line.before.take().map_or_else(Set::new, |(_, before)| before);
        let (died, born) = (minus(&minus(&before, &own), &line.base), minus(&own, &before));
        if let Some(base) = self.bases.get_mut(&at) {
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
    pub fn reach(&mut self, run: Run, birth: Lsn) -> Result<bool, &'static str> {
        let Some(mut line) = self.line.take() else {
            return self.refer(run, By::Tree).map(|()| true);
        };
        let reached = self.reach_in(&mut line, run, birth);
        self.line = Some(line);
        reached
    }

    fn reach_in(&mut self, line: &mut Line, run: Run, birth: Lsn) -> Result<bool, &'static str> {
        let is_older = line.before.as_ref().is_some_and(|(before, _)| birth <= *before);
        if !is_older {
            // Whatever has it already, the snapshot before included, is another's.
            self.refer(run, By::Tree)?;
        } else if !self.geometry.has_blocks(run.block, run.count.into()) {
            return Err("they lie in no segment, or in two");
        }
        let segment = self.geometry.segment_of(run.block);
        let free = || Bitmap::free(self.geometry.segment_blocks());
        let own = line.own.entry(segment).or_insert_with(free);
        let before = line.before.as_ref().and_then(|(_, before)| before.get(&segment));
        let first = self.geometry.index_in_segment(run.block);
        for index in first..first + u32::from(run.count) {
            if !own.take(index) {
                return Err("something else of the same tree refers to them too");
            }
            if is_older && !before.is_some_and(|before| before.is_used(index)) {
                return Err("they are older than the snapshot before, which has not got them");
            }
        }
        Ok(!is_older)
    }

    /// Something refers to `run`, which lies in one segment; says what is wrong with that.
    pub fn refer(&mut self, run: Run, by: By) -> Result<(), &'static str> {
        if !self.geometry.has_blocks(run.block, run.count.into()) {
            return Err("they lie in no segment, or in two");
        }
        let blocks = self.geometry.segment_blocks();
        let segment = self.segments.entry(self.geometry.segment_of(run.block));
        let segment = segment.or_insert_with(|| Use {
            reached: Bitmap::free(blocks),
            pending: Bitmap::free(blocks),
        });
        let first = self.geometry.index_in_segment(run.block);
        let (own, other) = match by {
            By::Tree => (&mut segment.reached, &segment.pending),
            By::Pending => (&mut segment.pending, &segment.reached),
        };
        let mut wrong = Ok(());
        for index in first..first + u32::from(run.count) {
            if other.is_used(index) {
                wrong = Err("they are in use and freed at once");
            }
            if !own.take(index) {
                wrong = Err("something else refers to them too");
            }
        }
        wrong
    }
}

/// What one set has and another has not.
fn minus(set: &Set, other: &Set) -> Set {
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
