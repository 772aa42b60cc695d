//! Which block is what: each is free, reachable, pending or log, and nothing twice.

use std::collections::BTreeMap;

use crate::format::{Bitmap, Geometry, Segment};
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

/// All blocks that anything refers to. Segments that nothing refers to take no memory.
pub(super) struct Blocks {
    geometry: Geometry,
    pub segments: BTreeMap<Segment, Use>,
}

impl Blocks {
    pub fn new(geometry: Geometry) -> Blocks {
        Blocks {
            geometry,
            segments: BTreeMap::new(),
        }
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
