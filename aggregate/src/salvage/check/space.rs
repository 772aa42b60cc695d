//! Space: what bitmaps, the space tree and the index of room say, against what was found to be used.

use std::collections::{BTreeMap, BTreeSet};

use baton_types::{Epoch, Error, Kind, Result};

use super::super::finding::Fault;
use super::super::items::{self, ALL};
use super::super::mend::Mend;
use super::{Check, Whole};
use crate::format::{
    Bitmap, Block, Further, Geometry, Key, KeyKind, Segment, SegmentClass, SegmentPhase, SegmentState,
};
use crate::space::{ROOM_IN_ALL, Room, Tally, index_key};
use crate::transaction::Run;

/// What the space tree says.
#[derive(Default)]
struct Said {
    states: BTreeMap<Segment, SegmentState>,
    index: BTreeSet<Key>,
    quarantine: BTreeSet<(Epoch, Segment)>,
    room: Room,
    /// Of blocks: owners beside the first.
    further: Tally,
}

/// Compares everything that is said of segments with what was found.
pub(super) fn check(check: &mut Check<'_>, whole: &Whole) -> Result<()> {
    let mut said = Said::default();
    let (findings, patient) = (&mut check.findings, check.patient);
    let space = &whole.replayed.space;
    let read = items::each(&space.tree, &patient.nodes, ALL, |key, value| {
        if let Err(error) = said.item(key, &value, patient.geometry()) {
            let on = format!("space tree, {:?} {}", key.kind, key.object);
            findings.mendable(Fault::Segment, on, error.reason, Mend::Space);
        }
        Ok(())
    });
    if read.is_err() {
        // Said of its node already; nothing can be compared with what is not known.
        return Ok(());
    }
    states(check, &said, space.high_water());
    room(check, &said);

    // A root's bitmaps go before what the space tree, which may be older, says.
    let mut bitmaps: BTreeMap<Segment, (Option<SegmentClass>, &Bitmap)> = BTreeMap::new();
    for (segment, state) in &said.states {
        if state.phase == SegmentPhase::Open && !space.inherited().contains_key(segment) {
            let reason = "it is somebody's reserve, and no root knows whose";
            let on = format!("segment {segment}");
            check.findings.mendable(Fault::Segment, on, reason, Mend::Space);
        }
        bitmaps.insert(*segment, (None, &state.bitmap));
    }
    for (segment, inherited) in space.inherited() {
        bitmaps.insert(*segment, (Some(inherited.class), &inherited.bitmap));
    }
    blocks(check, &bitmaps);
    owners(check, &said.further);
    check.said = Some(said.states);
    Ok(())
}

impl Said {
    fn item(&mut self, key: Key, value: &[u8], geometry: &Geometry) -> Result<()> {
        let damaged = |reason: &str| Error::new(Kind::Damaged, "space tree").because(reason);
        let segment = |number: u64| {
            let segment = u32::try_from(number).map(Segment).ok();
            segment
                .filter(|segment| geometry.has_segment(*segment))
                .ok_or_else(|| damaged("there is no such segment"))
        };
        match key.kind {
            KeyKind::SegmentState => {
                let (segment, state) = (segment(key.object)?, SegmentState::decode(value)?);
                if state.bitmap.as_bytes().len() != geometry.bitmap_bytes() {
                    return Err(damaged("its bitmap is not of this aggregate's segments"));
                }
                self.states.insert(segment, state);
            }
            KeyKind::Room if key == ROOM_IN_ALL => self.room = Room::decode(value)?,
            KeyKind::Room => {
                self.index.insert(key);
            }
            KeyKind::Quarantine => {
                self.quarantine.insert((Epoch(key.object), segment(key.sub)?));
            }
            KeyKind::Further => {
                let further = Further::decode(value)?;
                let (first, count) = (Block(key.sub), u64::from(further.count));
                let last = Block(key.sub.saturating_add(count - 1));
                if [first, last].iter().any(|block| !geometry.has_blocks(*block, 1)) {
                    return Err(damaged("its blocks lie in no segment"));
                }
                self.further.add(first, count, further.owners.into());
            }
            _ => return Err(damaged("such an item has no place here")),
        }
        Ok(())
    }
}

/// Each state fits itself, the high-water mark and the quarantine.
fn states(check: &mut Check<'_>, said: &Said, high_water: Segment) {
    let findings = &mut check.findings;
    for (segment, state) in &said.states {
        let on = format!("segment {segment}");
        if *segment >= high_water {
            let reason = format!("the root says that none from {high_water} on was used");
            findings.mendable(Fault::Segment, &on, reason, Mend::Space);
        }
        if (state.phase == SegmentPhase::Free) != state.class.is_none()
            || (state.phase == SegmentPhase::Free && state.bitmap.used() > 0)
        {
            findings.mendable(Fault::Segment, &on, "it is free and in use at once", Mend::Space);
        }
        if (state.phase == SegmentPhase::Quarantined) != said.quarantine.contains(&(state.epoch, *segment)) {
            let reason = "its state and the list of the quarantine differ";
            findings.mendable(Fault::Segment, on, reason, Mend::Space);
        }
    }
    for (epoch, segment) in &said.quarantine {
        if !said.states.contains_key(segment) {
            let reason = format!("quarantine of epoch {epoch} alone knows it");
            findings.mendable(Fault::Segment, format!("segment {segment}"), reason, Mend::Space);
        }
    }
}

/// The index of room holds just what the states say, and the sum is its sum.
fn room(check: &mut Check<'_>, said: &Said) {
    let (mut index, mut room) = (BTreeSet::new(), Room::default());
    for (segment, state) in &said.states {
        if let Some(key) = index_key(*segment, state) {
            index.insert(key);
            room.blocks += Room::of(state).blocks;
            room.segments += Room::of(state).segments;
        }
    }
    for key in index.symmetric_difference(&said.index) {
        let on = format!("segment {}", key.sub);
        let reason = "its state and the index of room differ";
        check.findings.mendable(Fault::Segment, on, reason, Mend::Space);
    }
    if room != said.room {
        let reason = format!(
            "it says {} blocks and {} whole segments, and they have {} and {}",
            said.room.blocks, said.room.segments, room.blocks, room.segments
        );
        let on = "index of room";
        check.findings.mendable(Fault::Segment, on, reason, Mend::Space);
    }
}

/// Each block is used just if something refers to it.
fn blocks(check: &mut Check<'_>, bitmaps: &BTreeMap<Segment, (Option<SegmentClass>, &Bitmap)>) {
    let used = check.blocks.segments.keys().copied();
    let all: BTreeSet<Segment> = used.chain(bitmaps.keys().copied()).collect();
    let (first_block, count) = {
        let geometry = *check.patient.geometry();
        (
            move |segment| geometry.first_block(segment).0,
            geometry.segment_blocks(),
        )
    };
    let nothing = Bitmap::free(count);
    for segment in all {
        let (class, bitmap) = bitmaps.get(&segment).copied().unwrap_or((None, &nothing));
        let by = check.blocks.segments.get(&segment);
        let refers = |index| {
            by.is_some_and(|by| {
                [&by.reached, &by.dead, &by.pending]
                    .iter()
                    .any(|some| some.is_used(index))
            })
        };
        let list = |wrong: &dyn Fn(u32) -> bool| -> Vec<u32> { (0..count).filter(|index| wrong(*index)).collect() };
        let taken = list(&|index| refers(index) && !bitmap.is_used(index));
        let leaked = list(&|index| !refers(index) && bitmap.is_used(index));
        let on = |blocks: &[u32]| {
            let first = first_block(segment) + u64::from(blocks[0]);
            format!("segment {segment}, block {first} and {} more", blocks.len() - 1)
        };
        if !taken.is_empty() {
            // What the space tree says of a log can be wrong; what roots and records say of theirs cannot.
            let (reason, mend) = match class {
                Some(SegmentClass::Log) => ("they are in use, in a segment of the log", Mend::Refuse),
                Some(SegmentClass::Node | SegmentClass::Data) | None => {
                    ("they are in use, and said to be free", Mend::Space)
                }
            };
            check.findings.mendable(Fault::Block, on(&taken), reason, mend);
        }
        if !leaked.is_empty() && check.is_whole {
            let runs = runs(Block(first_block(segment)), &leaked);
            let reason = "they are said to be used, and nothing refers to them";
            check
                .findings
                .mendable(Fault::Leak, on(&leaked), reason, Mend::Leak(runs));
        }
    }
}

/// Each block has as many owners as the space tree says. Where not all could be read, there may be more: those that are
/// said stay.
fn owners(check: &mut Check<'_>, said: &Tally) {
    let geometry = *check.patient.geometry();
    let mut off = check.blocks.further.clone();
    for (start, end, owners) in said.iter() {
        off.add(Block(start), end - start, -owners);
    }
    for (start, end, by) in off.iter() {
        let on = format!("blocks {start} and {} on", end - start);
        if by < 0 && !check.is_whole {
            check.blocks.further.add(Block(start), end - start, -by);
        } else if by < 0 {
            let reason = format!("they are said to have {} owners that are not there", -by);
            check.findings.mendable(Fault::Block, on, reason, Mend::Space);
        } else {
            let is_shared = |block: u64| {
                let segment = check.blocks.segments.get(&geometry.segment_of(Block(block)));
                segment.is_some_and(|of| of.shared.is_used(geometry.index_in_segment(Block(block))))
            };
            // Who takes a block back has it as shared; all others claim to have made it.
            let mend = match (start..end).all(is_shared) {
                true => Mend::Space,
                false => Mend::Refuse,
            };
            let reason = format!("they have {by} owners more than it is said");
            check.findings.mendable(Fault::Block, on, reason, mend);
        }
    }
}

/// The blocks at these places of the segment that begins at `first`, side by side in runs.
fn runs(first: Block, indices: &[u32]) -> Vec<Run> {
    let side_by_side = indices.chunk_by(|one, next| one + 1 == *next);
    side_by_side
        .map(|indices| Run {
            block: Block(first.0 + u64::from(indices[0])),
            count: indices.len() as u16,
        })
        .collect()
}
