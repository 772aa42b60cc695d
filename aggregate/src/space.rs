//! Segments, reserves and frees: which block may be written.
//!
//! An epoch writes only in segments that it reserved, from the look after the record that says so (I2, R4). Their
//! bitmaps are in memory and, by value, in each root; the space tree holds the closed segments only. So writing the
//! space tree changes nothing that it has written.
//!
//! | a block is | since | until |
//! |---|---|---|
//! | free in an open segment | its reserve had its look, or its free was promoted | it is taken |
//! | taken | a transaction or a checkpoint took it | it is recorded, or given back |
//! | recorded | its record was appended, or its node belongs to a root being made | a record or a merge frees it |
//! | pending | it was freed in generation g | root g+2 had its look: then it is free again |
//!
//! A root holds what was recorded up to its lsn and what its own trees use: the `rooted` bitmap, taken over at the
//! freeze, and marked by the checkpoint's own nodes since.

#[cfg(any(test, feature = "testing"))]
pub(crate) mod census;
mod further;
mod pick;
mod promises;
mod rebuild;
mod reserve;
mod runs;
mod states;
mod tally;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use baton_types::{Epoch, Error, Kind, Result};

pub use pick::Purpose;
pub(crate) use promises::room_for;
pub(crate) use rebuild::Facts;
use reserve::Maturing;
pub use runs::Runs;
pub(crate) use runs::split_by_segment;
pub(crate) use states::{ROOM_IN_ALL, Room, closed_state, index_key};
pub(crate) use tally::Tally;

use crate::format::{Bitmap, Block, Geometry, OpenSegment, Segment, SegmentClass, SegmentPhase};
use crate::live::LiveTree;
use crate::nodes::Nodes;
use crate::transaction::Run;
use crate::tree::{Pinned, Stop};

/// Open segments of one epoch at most: their bitmaps are in every root, which is 64 KiB.
const OPEN_MAX: usize = 96;

/// The space of an aggregate, as its owner sees it. Behind one lock.
pub struct Space {
    geometry: Geometry,
    epoch: Epoch,
    /// This epoch's, where blocks are taken.
    open: BTreeMap<Segment, Open>,
    /// Reserved, and not usable before the look that follows their record.
    maturing: VecDeque<Maturing>,
    /// Of older epochs, since the last takeover: they go to the space tree with the first checkpoint.
    inherited: BTreeMap<Segment, Inherited>,
    /// What is known of all others.
    pub(crate) tree: LiveTree,
    /// Owners that blocks gained less those that gave them up, since the last freeze.
    balance: Tally,
    /// The same before it, as far as the space tree was not told yet.
    settling: Tally,
    /// Some blocks may have several owners.
    has_further: bool,
    /// Freed before: in the generation of the next root, and in the one before.
    pending: [Runs; 2],
    /// Segments from here on were never used.
    high_water: Segment,
    /// The same at the freeze. Those reserved since are known by their records, and if these are lost, unused.
    rooted_high_water: Segment,
    /// Free blocks of closed segments, and how many of these are wholly free.
    room: Room,
    /// Log segments that hold nothing any root needs.
    log_pool: Vec<Segment>,
    /// Blocks promised to files, which nobody else may fill; and as many as the newest root says.
    promised: [u64; 2],
    /// Segments reserved last, for nodes and for data: the next reserve is twice as large.
    last_reserve: [u32; 2],
}

/// An open segment.
struct Open {
    class: SegmentClass,
    taken: Bitmap,
    recorded: Bitmap,
    rooted: Bitmap,
    /// Takes no more, so that it can be closed.
    is_closing: bool,
}

/// A segment that an older epoch may still write to.
pub(crate) struct Inherited {
    /// Whose it was.
    pub epoch: Epoch,
    /// What it held.
    pub class: SegmentClass,
    /// What history refers to.
    pub bitmap: Bitmap,
}

/// Where a block lies within its segment.
fn place(geometry: &Geometry, run: Run) -> (Segment, Range<u32>) {
    let start = geometry.index_in_segment(run.block);
    (geometry.segment_of(run.block), start..start + u32::from(run.count))
}

impl Space {
    /// The space of an epoch that has reserved nothing yet.
    pub fn new(geometry: Geometry, epoch: Epoch, tree: LiveTree, high_water: Segment) -> Space {
        Space {
            geometry,
            epoch,
            open: BTreeMap::new(),
            maturing: VecDeque::new(),
            inherited: BTreeMap::new(),
            tree,
            balance: Tally::default(),
            settling: Tally::default(),
            has_further: false,
            pending: [Runs::default(), Runs::default()],
            high_water,
            rooted_high_water: high_water,
            room: Room::default(),
            log_pool: Vec::new(),
            promised: [0, 0],
            last_reserve: [1, 1],
        }
    }

    /// Takes `blocks` blocks of `class`, in as few runs as can be; `None` if the open segments have not that many.
    pub fn take(&mut self, class: SegmentClass, blocks: u32) -> Option<Vec<Run>> {
        let of_class = self
            .open
            .iter_mut()
            .filter(|(_, open)| open.class == class && !open.is_closing && open.taken.room() > 0);
        let (mut runs, mut left) = (Vec::new(), blocks);
        for (segment, open) in of_class {
            let first = self.geometry.first_block(*segment).0;
            while left > 0 {
                let Some(range) = open.taken.run_of(left).or_else(|| open.taken.first_run(left)) else {
                    break;
                };
                left -= range.len() as u32;
                runs.push(Run {
                    block: Block(first + u64::from(range.start)),
                    count: range.len() as u16,
                });
                open.taken.take_range(range);
            }
        }
        if left > 0 {
            runs.into_iter().for_each(|run| self.give_back(run));
            return None;
        }
        Some(runs)
    }

    /// Takes the blocks of one node, side by side, for the root being made.
    pub fn take_node(&mut self, blocks: u8) -> Option<Block> {
        let of_class = self
            .open
            .iter_mut()
            .filter(|(_, open)| open.class == SegmentClass::Node && !open.is_closing && open.taken.room() > 0);
        for (segment, open) in of_class {
            let Some(range) = open.taken.run_of(blocks.into()) else {
                continue;
            };
            open.taken.take_range(range.clone());
            open.recorded.take_range(range.clone());
            open.rooted.take_range(range.clone());
            return Some(Block(self.geometry.first_block(*segment).0 + u64::from(range.start)));
        }
        None
    }

    /// What was taken and will not be recorded.
    pub fn give_back(&mut self, run: Run) {
        let (segment, range) = place(&self.geometry, run);
        if let Some(open) = self.open.get_mut(&segment) {
            open.taken.give_range(range);
        }
    }

    /// The record that refers to `run` has its place in history.
    pub fn record(&mut self, run: Run) {
        let (segment, range) = place(&self.geometry, run);
        let open = self.open.get_mut(&segment);
        let open = open.expect("blocks are taken in open segments, which stay open until they are recorded");
        assert!(open.recorded.take_range(range), "{run:?} was recorded already");
    }

    /// One of those who own `run` has it no more. Without [further owners](further), it is free.
    pub fn free(&mut self, run: Run) {
        self.balance.add(run.block, run.count.into(), -1);
    }

    /// A node of the root before is not in the one being made.
    pub fn free_of_merge(&mut self, run: Run) {
        self.pending[0].insert(run.block, run.count.into());
    }

    /// The root that was to be made without this node is not made.
    pub fn keep_after_all(&mut self, run: Run) {
        self.pending[0].remove(run.block, run.count.into());
    }

    /// Marks what a record of older history refers to, and takes it off the pending lists.
    pub(crate) fn replay_put(&mut self, run: Run) {
        let (segment, range) = place(&self.geometry, run);
        if let Some(inherited) = self.inherited.get_mut(&segment) {
            inherited.bitmap.take_range(range);
        }
        for runs in &mut self.pending {
            runs.remove(run.block, run.count.into());
        }
    }

    /// No block of `segment` waits to be free.
    pub(crate) fn forget_frees(&mut self, segment: Segment) {
        let (first, count) = (self.geometry.first_block(segment), self.geometry.segment_blocks());
        for runs in &mut self.pending {
            runs.remove(first, count.into());
        }
        self.balance.clear(first, count.into());
    }

    /// A segment of an older epoch: what it reserved, or its log.
    pub(crate) fn inherit(&mut self, segment: Segment, inherited: Inherited) {
        self.rise_to(segment);
        self.inherited.insert(segment, inherited);
    }

    /// True if an older epoch had this segment when it was last heard of.
    pub(crate) fn is_inherited(&self, segment: Segment) -> bool {
        self.inherited.contains_key(&segment)
    }

    /// All of them.
    pub(crate) fn inherited_segments(&self) -> Vec<Segment> {
        self.inherited.keys().copied().collect()
    }

    /// What older epochs had, by segment.
    pub(crate) fn inherited(&self) -> &BTreeMap<Segment, Inherited> {
        &self.inherited
    }

    /// From here on it is `epoch` that reserves.
    pub(crate) fn begin(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// The lists that a root holds: of its own generation, and of the one before.
    pub(crate) fn set_pending(&mut self, pending: [Runs; 2]) {
        self.pending = pending;
    }

    /// What the root being made has to say of frees.
    pub(crate) fn pending(&self) -> &[Runs; 2] {
        &self.pending
    }

    /// Blocks outside of everybody's reserve and log, as far as they are there for `purpose`.
    pub fn available(&self, purpose: Purpose) -> u64 {
        let in_segment = u64::from(self.geometry.segment_blocks());
        let parts = self
            .room
            .blocks
            .saturating_sub(self.room.segments.saturating_mul(in_segment));
        let all = parts + self.whole_segments(purpose) * in_segment;
        match purpose {
            Purpose::Growth | Purpose::Yielding => all.saturating_sub(room_for(self.promised[0])),
            Purpose::Promised | Purpose::Upkeep => all,
        }
    }

    /// At the freeze: what is recorded now belongs to the root, and what was freed until now to its generation, once it
    /// is [settled](Space::settle) what is free.
    pub fn freeze(&mut self) {
        let balance = std::mem::take(&mut self.balance);
        self.settling.append(balance);
        self.rooted_high_water = self.high_water;
        let crowded = self.open.len() > OPEN_MAX;
        for open in self.open.values_mut() {
            open.rooted = open.recorded.clone();
            open.is_closing |= crowded || open.taken.room() == 0;
        }
    }

    /// Segments in which nothing is in flight and nothing will be taken: from here on they are the space tree's.
    pub(crate) fn close(&mut self) -> Vec<(Segment, SegmentClass, Bitmap)> {
        let settled = |open: &Open| open.is_closing && open.taken == open.rooted && open.recorded == open.rooted;
        let closing = self.open.extract_if(.., |_, open| settled(open));
        closing
            .map(|(segment, open)| (segment, open.class, open.rooted))
            .collect()
    }

    /// The open segments, as the root being made has to say them, and those that are being reserved: the space tree says
    /// already that they are taken, and if their record is lost nobody else would know of them.
    pub(crate) fn rooted(&self) -> Vec<OpenSegment> {
        let open = self.open.iter();
        let open = open.map(|(segment, open)| (*segment, open.class, &open.rooted));
        let maturing = self
            .maturing
            .iter()
            .filter(|maturing| maturing.class != SegmentClass::Log);
        let maturing = maturing.flat_map(|maturing| {
            let segments = maturing.segments.iter();
            segments.map(|(segment, bitmap)| (*segment, maturing.class, bitmap))
        });
        let all = open.chain(maturing).map(|(segment, class, bitmap)| OpenSegment {
            segment,
            class,
            bitmap: bitmap.clone(),
        });
        all.collect()
    }

    /// The first checkpoint of an epoch tells the space tree of what it inherited.
    pub(crate) fn bequeath(&mut self) -> BTreeMap<Segment, Inherited> {
        std::mem::take(&mut self.inherited)
    }

    /// The root had its look: what waited two generations may be [released](Space::release).
    pub(crate) fn promote(&mut self) -> BTreeMap<Segment, Vec<Range<u32>>> {
        let young = std::mem::take(&mut self.pending[0]);
        let old = std::mem::replace(&mut self.pending[1], young);
        let mut released: BTreeMap<Segment, Vec<_>> = BTreeMap::new();
        for run in split_by_segment(&self.geometry, &old) {
            let (segment, range) = place(&self.geometry, run);
            released.entry(segment).or_default().push(range);
        }
        released
    }

    /// Gives blocks back that waited long enough.
    ///
    /// # Errors
    /// A miss; `Damaged` if the space tree does not know the segment.
    pub(crate) fn release(
        &mut self,
        segment: Segment,
        ranges: &[Range<u32>],
        nodes: &Nodes,
        pinned: &Pinned,
    ) -> Result<(), Stop> {
        let give = |bitmap: &mut Bitmap| {
            let were_used = ranges.iter().all(|range| bitmap.give_range(range.clone()));
            were_used.then_some(()).ok_or_else(|| freed_twice(segment))
        };
        if let Some(open) = self.open.get_mut(&segment) {
            for bitmap in [&mut open.taken, &mut open.recorded, &mut open.rooted] {
                give(bitmap)?;
            }
            return Ok(());
        }
        let maturing = self.maturing.iter_mut().flat_map(|maturing| &mut maturing.segments);
        if let Some((_, bitmap)) = maturing.into_iter().find(|(maturing, _)| *maturing == segment) {
            give(bitmap)?;
            return Ok(());
        }
        if let Some(inherited) = self.inherited.get_mut(&segment) {
            return Ok(give(&mut inherited.bitmap)?);
        }
        let Some(old) = self.state(segment, nodes, pinned)? else {
            let reason = format!("segment {segment} has frees, and the space tree does not know it");
            return Err(Error::new(Kind::Damaged, "space tree").because(reason).into());
        };
        let mut new = old.clone();
        give(&mut new.bitmap)?;
        if new.phase == SegmentPhase::Closed && new.bitmap.used() == 0 {
            (new.phase, new.class) = (SegmentPhase::Free, None);
        }
        self.set_state(segment, Some(&old), &new);
        Ok(())
    }

    /// Where segments that were never used begin.
    pub(crate) fn high_water(&self) -> Segment {
        self.high_water
    }

    /// The same, as the root being made has to say it.
    pub(crate) fn rooted_high_water(&self) -> Segment {
        self.rooted_high_water
    }

    /// Log segments that may be written again, by this epoch.
    pub(crate) fn log_pool(&mut self) -> &mut Vec<Segment> {
        &mut self.log_pool
    }
}

fn freed_twice(segment: Segment) -> Error {
    Error::new(Kind::Damaged, "space").because(format!("blocks of segment {segment} were freed twice"))
}

/// The aggregate is full; what to do about it.
pub(crate) fn no_space() -> Error {
    Error::new(Kind::NoSpace, "aggregate")
        .because("no free block is left outside of what is kept for deletes")
        .remedy("delete files or filesets, or move one elsewhere: fts move")
}

#[cfg(test)]
mod tests;
