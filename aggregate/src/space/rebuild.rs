//! The record of space, made anew from what was found to be used: for an aggregate that contradicts itself.
//!
//! It is conservative in what may be taken: what anything refers to is used, and so is what was said to be, what waits to
//! be free goes on waiting, and who may still write somewhere keeps that to himself. The nodes of the old space tree wait
//! to be free like those that a merge replaced.

use std::collections::{BTreeMap, BTreeSet};

use super::{Inherited, Space, Tally, closed_state, place};
use crate::format::{Bitmap, Block, Segment, SegmentClass, SegmentPhase, SegmentState};
use crate::live::LiveTree;
use crate::transaction::Run;

/// What is known of an aggregate's blocks.
pub(crate) struct Facts<'a> {
    /// What trees refer to, and what waits to be free.
    pub reached: BTreeMap<Segment, &'a Bitmap>,
    /// The same of what waits to be free.
    pub pending: BTreeMap<Segment, &'a Bitmap>,
    /// The same of what deleted snapshots alone have.
    pub dead: BTreeMap<Segment, &'a Bitmap>,
    /// How many further owners blocks have.
    pub further: &'a Tally,
    /// What the old space tree says of segments, if it could be read.
    pub said: Option<&'a BTreeMap<Segment, SegmentState>>,
    /// Its nodes.
    pub nodes: &'a [Run],
}

impl Space {
    /// The same space as the facts have it, with nothing in nodes.
    pub(crate) fn rebuilt(self, facts: &Facts<'_>) -> Space {
        let mut space = Space::new(self.geometry, self.epoch, LiveTree::default(), self.high_water);
        (space.pending, space.promised) = (self.pending, self.promised);
        // What was given up since the freeze is no root's yet; whoever found the facts knows what of it is free.
        let mut given_up = self.settling;
        given_up.append(self.balance);
        let blocks = given_up.iter().filter(|(.., by)| *by < 0);
        for block in blocks.flat_map(|(start, end, _)| start..end).map(Block) {
            let (segment, range) = place(&space.geometry, Run { block, count: 1 });
            if facts
                .pending
                .get(&segment)
                .is_some_and(|pending| pending.is_used(range.start))
            {
                space.balance.add(block, 1, -1);
            }
        }
        for (start, end, owners) in facts.further.iter() {
            space.has_further = true;
            space.put_further(&(start..end), u32::try_from(owners).unwrap_or(u32::MAX));
        }
        for (segment, bitmap) in facts.reached.iter().chain(&facts.dead) {
            let first = space.geometry.first_block(*segment).0;
            for index in (0..bitmap.len()).filter(|index| bitmap.is_used(*index)) {
                space.keep(Block(first + u64::from(index)));
            }
        }
        for run in facts.nodes {
            space.free_of_merge(*run);
        }
        let said = facts.said.into_iter().flat_map(BTreeMap::keys);
        let below = space.geometry.segments_from(space.geometry.first_segment());
        let below = below.take_while(|segment| *segment < self.high_water);
        let referred = facts
            .reached
            .keys()
            .chain(facts.pending.keys())
            .chain(facts.dead.keys());
        let all: BTreeSet<Segment> = said.chain(referred).copied().chain(below).collect();
        let mut inherited = self.inherited;
        for segment in all {
            space.rise_to(segment);
            let old = facts.said.and_then(|said| said.get(&segment));
            match inherited.remove(&segment) {
                // No bitmap speaks of a log's blocks.
                Some(log) if log.class == SegmentClass::Log => space.inherit(segment, log),
                Some(open) => {
                    let bitmap = space.used(facts, segment, Some(&open.bitmap));
                    space.inherit(segment, Inherited { bitmap, ..open });
                }
                None => {
                    let bitmap = space.used(facts, segment, old.map(|old| &old.bitmap));
                    let state = space.state_of(old, bitmap);
                    space.set_state(segment, None, &state);
                }
            }
        }
        // Those that hold nothing yet.
        for (segment, untouched) in inherited {
            space.inherit(segment, untouched);
        }
        space
    }

    /// A block that something refers to does not wait to be free.
    fn keep(&mut self, block: Block) {
        for runs in &mut self.pending {
            runs.remove(block, 1);
        }
        self.balance.clear(block, 1);
    }

    /// What of a segment is used, or waits to be free; `said` was, until now.
    fn used(&self, facts: &Facts<'_>, segment: Segment, said: Option<&Bitmap>) -> Bitmap {
        let mut used = Bitmap::free(self.geometry.segment_blocks());
        let is_in = |bitmap: Option<&&Bitmap>, index| bitmap.is_some_and(|bitmap| bitmap.is_used(index));
        for index in 0..used.len() {
            let all = [&facts.reached, &facts.pending, &facts.dead];
            let is_referred = all.iter().any(|some| is_in(some.get(&segment), index));
            let was_used = said.is_some_and(|said| index < said.len() && said.is_used(index));
            if is_referred || was_used {
                used.take(index);
            }
        }
        used
    }

    /// A segment that no root names: closed, unless somebody may still write to it.
    fn state_of(&self, old: Option<&SegmentState>, bitmap: Bitmap) -> SegmentState {
        let Some(old) = old else {
            return closed_state(SegmentClass::Data, self.epoch, bitmap);
        };
        let class = old.class.unwrap_or(SegmentClass::Data);
        match old.phase {
            SegmentPhase::Free | SegmentPhase::Closed => closed_state(class, old.epoch, bitmap),
            SegmentPhase::Open | SegmentPhase::Log | SegmentPhase::Quarantined => SegmentState {
                phase: SegmentPhase::Quarantined,
                class: Some(class),
                epoch: old.epoch,
                bitmap,
            },
        }
    }
}
