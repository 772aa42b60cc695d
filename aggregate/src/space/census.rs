//! Whose every segment is, and what is pending: what tests hold each step against.

use std::collections::BTreeMap;

use super::further::overlapping;
use super::states::{ROOM_IN_ALL, index_key};
use super::{Runs, Space, Tally};
use crate::format::{Bitmap, Block, Key, KeyKind, Segment, SegmentClass, SegmentPhase, SegmentState};
use crate::nodes::Nodes;
use crate::tree::{Pinned, Stop};

/// What a segment is to its aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// This epoch writes blocks to it, or soon will.
    Open,
    /// Some of its blocks may be in use; nobody writes to it.
    Closed,
    /// Log of this epoch.
    Log,
    /// An older epoch may still write to it.
    Quarantined,
}

/// Where each segment stands, and its blocks in use.
pub(crate) type Standings = BTreeMap<Segment, (Standing, Bitmap)>;

impl Space {
    /// How many further owners each block has, with all that changed since the newest root; -1 of those that are free.
    ///
    /// # Errors
    /// A miss; damage.
    pub(crate) fn further(&self, nodes: &Nodes, pinned: &Pinned) -> Result<Tally, Stop> {
        let mut tally = Tally::default();
        for (range, owners) in overlapping(&self.tree.view(nodes, pinned), 0..u64::MAX)? {
            tally.add(Block(range.start), range.end - range.start, owners.into());
        }
        tally.append(self.settling.clone());
        tally.append(self.balance.clone());
        Ok(tally)
    }

    /// Every segment below the high-water mark that is not `log`, with the blocks in use; or what contradicts itself.
    pub(crate) fn standings(
        &self,
        log: &[Segment],
        nodes: &Nodes,
        pinned: &Pinned,
    ) -> Result<Result<Standings, String>, Stop> {
        let states = self.states(nodes, pinned)?;
        let mut standings = BTreeMap::new();
        let mut twice = None;
        let mut say = |segment: Segment, standing, bitmap: &Bitmap| {
            if let Some(before) = standings.insert(segment, (standing, bitmap.clone())) {
                twice = Some(format!("segment {segment} is {standing:?} and {before:?}"));
            }
        };
        let unused = Bitmap::free(self.geometry.segment_blocks());
        for (segment, open) in &self.open {
            say(*segment, Standing::Open, &open.taken);
        }
        for maturing in &self.maturing {
            let standing = match maturing.class {
                SegmentClass::Log => Standing::Log,
                SegmentClass::Node | SegmentClass::Data => Standing::Open,
            };
            let mut segments = maturing.segments.iter();
            segments
                .by_ref()
                .for_each(|(segment, bitmap)| say(*segment, standing, bitmap));
        }
        for (segment, inherited) in &self.inherited {
            say(*segment, Standing::Quarantined, &inherited.bitmap);
        }
        for segment in self.log_pool.iter().chain(log) {
            say(*segment, Standing::Log, &unused);
        }
        if let Some(twice) = twice {
            return Ok(Err(twice));
        }
        let ever_used = self.geometry.segments_from(self.geometry.first_segment());
        for segment in ever_used.take_while(|segment| *segment < self.high_water) {
            let state = states.get(&segment);
            let is_offered = state.is_some_and(|state| index_key(segment, state).is_some());
            match (standings.get(&segment), state) {
                (Some((standing, _)), _) if is_offered => {
                    return Ok(Err(format!("segment {segment} is {standing:?}, and offered as room")));
                }
                (Some(_), _) => {}
                (None, None) => return Ok(Err(format!("segment {segment} is nobody's"))),
                (None, Some(state)) => {
                    let standing = match state.phase {
                        SegmentPhase::Free | SegmentPhase::Closed => Standing::Closed,
                        SegmentPhase::Quarantined => Standing::Quarantined,
                        SegmentPhase::Open | SegmentPhase::Log => {
                            return Ok(Err(format!("segment {segment} is {:?} to nobody", state.phase)));
                        }
                    };
                    standings.insert(segment, (standing, state.bitmap.clone()));
                }
            }
        }
        Ok(self.check_index(&states, nodes, pinned)?.map(|()| standings))
    }

    fn states(&self, nodes: &Nodes, pinned: &Pinned) -> Result<BTreeMap<Segment, SegmentState>, Stop> {
        let (first, last) = (Key::segment(Segment(0)), Key::segment(Segment(u32::MAX)));
        let items = self.tree.view(nodes, pinned).scan(first, last);
        // Room lies between the objects of segments.
        let states = items.filter(|item| item.as_ref().map_or(true, |(key, _)| key.kind == KeyKind::SegmentState));
        states
            .map(|item| {
                let (key, value) = item?;
                Ok((Segment(key.object as u32), SegmentState::decode(&value)?))
            })
            .collect()
    }

    /// The index and the sum say what the states say.
    fn check_index(
        &self,
        states: &BTreeMap<Segment, SegmentState>,
        nodes: &Nodes,
        pinned: &Pinned,
    ) -> Result<Result<(), String>, Stop> {
        let expected: Vec<Key> = states
            .iter()
            .filter_map(|(segment, state)| index_key(*segment, state))
            .collect();
        let mut found = Vec::new();
        for item in self.tree.view(nodes, pinned).scan(Key::FIRST, Key::LAST) {
            let (key, _) = item?;
            if key.kind == KeyKind::Room && key != ROOM_IN_ALL {
                found.push(key);
            }
        }
        let mut expected = expected;
        expected.sort();
        let offered = states
            .iter()
            .filter(|(segment, state)| index_key(**segment, state).is_some());
        let (blocks, segments) = offered.fold((0, 0), |(blocks, segments), (_, state)| {
            let is_free = state.phase == SegmentPhase::Free;
            (blocks + u64::from(state.bitmap.room()), segments + u64::from(is_free))
        });
        let room = (self.room.blocks, self.room.segments);
        if expected != found {
            return Ok(Err(format!(
                "the index of room has {found:?}, and states make it {expected:?}"
            )));
        }
        if room != (blocks, segments) {
            return Ok(Err(format!(
                "room of {room:?}, and states make it {:?}",
                (blocks, segments)
            )));
        }
        Ok(Ok(()))
    }

    /// What waits to be free, and blocks that are taken and not recorded. What was given up since the freeze is another
    /// [account](Space::further).
    pub(crate) fn waiting(&self) -> (Vec<Runs>, u32) {
        let runs = self.pending.to_vec();
        let in_flight = self.open.values().map(|open| open.taken.used() - open.recorded.used());
        (runs, in_flight.sum())
    }
}
