//! What the space tree says of segments, and the index that finds room.
//!
//! An item for each segment that was ever used; one in the index for each that is closed and has room, by how full it
//! is, so that the emptiest are found first; and how many blocks that is in all, under the index's own first key.

use baton_types::{Epoch, Error, Kind, Result};

use super::Space;
use crate::format::{Bitmap, Key, KeyKind, Lsn, Segment, SegmentClass, SegmentPhase, SegmentState};
use crate::nodes::Nodes;
use crate::tree::{Pinned, Stop};

/// Where the sum over all segments lies: no class has this number.
pub(crate) const ROOM_IN_ALL: Key = Key::new(0, KeyKind::Room, 0);
/// Degrees of fullness in the index.
const EIGHTHS: u64 = 8;

/// Free blocks in closed segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// All of them.
    pub blocks: u64,
    /// Segments that are wholly free.
    pub segments: u64,
}

impl Room {
    fn encode(self) -> Vec<u8> {
        [self.blocks.to_le_bytes(), self.segments.to_le_bytes()].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Room> {
        let number = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        match (number(0), number(8), bytes.len()) {
            (Some(blocks), Some(segments), 16) => Ok(Room { blocks, segments }),
            _ => Err(Error::new(Kind::Damaged, "space tree").because("the sum of the room is not two numbers")),
        }
    }

    pub(crate) fn of(state: &SegmentState) -> Room {
        Room {
            blocks: u64::from(state.bitmap.room()),
            segments: u64::from(state.phase == SegmentPhase::Free),
        }
    }
}

/// A segment whose blocks in use are these, and to which nobody writes.
pub(crate) fn closed_state(class: SegmentClass, epoch: Epoch, bitmap: Bitmap) -> SegmentState {
    let (phase, class) = match bitmap.used() {
        0 => (SegmentPhase::Free, None),
        _ => (SegmentPhase::Closed, Some(class)),
    };
    SegmentState {
        phase,
        class,
        epoch,
        bitmap,
    }
}

/// Where the index has a segment, if it has it: by class, then the emptiest first.
pub(crate) fn index_key(segment: Segment, state: &SegmentState) -> Option<Key> {
    let (room, all) = (state.bitmap.room(), state.bitmap.len());
    let class = match state.phase {
        SegmentPhase::Free => 0,
        SegmentPhase::Closed => state.class.map_or(0, |class| class as u64),
        SegmentPhase::Open | SegmentPhase::Log | SegmentPhase::Quarantined => return None,
    };
    let fullness = EIGHTHS - u64::from(room) * EIGHTHS / u64::from(all.max(1));
    (room > 0).then(|| Key::new(class * 16 + fullness + 1, KeyKind::Room, u64::from(segment.0)))
}

/// The keys of the index for one class, by fullness, emptiest first. Other kinds lie between two degrees.
pub(super) fn index_of(class: u64) -> impl Iterator<Item = (Key, Key)> {
    let at = move |fullness, sub| Key::new(class * 16 + fullness + 1, KeyKind::Room, sub);
    (0..=EIGHTHS).map(move |fullness| (at(fullness, 0), at(fullness, u64::MAX)))
}

impl Space {
    /// What the space tree says of a segment; nothing of one that was never used.
    pub(crate) fn state(&self, segment: Segment, nodes: &Nodes, pinned: &Pinned) -> Result<Option<SegmentState>, Stop> {
        let Some(bytes) = self.tree.view(nodes, pinned).get(Key::segment(segment))? else {
            return Ok(None);
        };
        let state = SegmentState::decode(&bytes)?;
        if state.bitmap.len() != self.geometry.segment_blocks() {
            let reason = format!("segment {segment} has a bitmap of {} blocks", state.bitmap.len());
            return Err(Error::new(Kind::Damaged, "space tree").because(reason).into());
        }
        Ok(Some(state))
    }

    /// Takes over the sum that the space tree holds.
    pub(crate) fn read_room(&mut self, nodes: &Nodes, pinned: &Pinned) -> Result<(), Stop> {
        if let Some(bytes) = self.tree.view(nodes, pinned).get(ROOM_IN_ALL)? {
            self.room = Room::decode(&bytes)?;
        }
        Ok(())
    }

    /// A root or a record says that the inherited `segment` is in use, whatever the space tree, which may be older, says
    /// of room or of a quarantine.
    pub(crate) fn withdraw(&mut self, segment: Segment, nodes: &Nodes, pinned: &Pinned) -> Result<(), Stop> {
        let Some(inherited) = self.inherited.get(&segment) else {
            return Ok(());
        };
        let (class, epoch) = (Some(inherited.class), inherited.epoch);
        let phase = match inherited.class {
            SegmentClass::Log => SegmentPhase::Log,
            SegmentClass::Node | SegmentClass::Data => SegmentPhase::Open,
        };
        if let Some(old) = self.state(segment, nodes, pinned)?
            && !matches!(old.phase, SegmentPhase::Open | SegmentPhase::Log)
        {
            let bitmap = old.bitmap.clone();
            let new = SegmentState {
                phase,
                class,
                epoch,
                bitmap,
            };
            self.set_state(segment, Some(&old), &new);
        }
        Ok(())
    }

    /// What `epoch`, which is proven to have nothing in flight (R5), left in quarantine may be taken again.
    pub(crate) fn lift_quarantine(&mut self, epoch: Epoch, nodes: &Nodes, pinned: &Pinned) -> Result<(), Stop> {
        for segment in self.quarantined(epoch, nodes, pinned)? {
            if let Some(old) = self.state(segment, nodes, pinned)? {
                let class = old.class.unwrap_or(SegmentClass::Log);
                let new = closed_state(class, epoch, old.bitmap.clone());
                self.set_state(segment, Some(&old), &new);
            }
        }
        Ok(())
    }

    /// The segments in the quarantine of an epoch.
    fn quarantined(&self, epoch: Epoch, nodes: &Nodes, pinned: &Pinned) -> Result<Vec<Segment>, Stop> {
        let (first, last) = (Segment(0), Segment(u32::MAX));
        let view = self.tree.view(nodes, pinned);
        let items = view.scan(Key::quarantine(epoch, first), Key::quarantine(epoch, last));
        items.map(|item| Ok(Segment(item?.0.sub as u32))).collect()
    }

    /// Says anew what a segment is; `old` is what the space tree said.
    pub(crate) fn set_state(&mut self, segment: Segment, old: Option<&SegmentState>, new: &SegmentState) {
        let mut put = |key, value: Option<Vec<u8>>| self.tree.active.insert(key, value.map(Into::into), Lsn(0));
        if let Some(old) = old
            && let Some(key) = index_key(segment, old)
        {
            put(key, None);
            // The sum comes from the disk, and so does the state: that they agree is for salvage to say.
            self.room.blocks = self.room.blocks.saturating_sub(Room::of(old).blocks);
            self.room.segments = self.room.segments.saturating_sub(Room::of(old).segments);
        }
        if let Some(old) = old
            && old.phase == SegmentPhase::Quarantined
        {
            put(Key::quarantine(old.epoch, segment), None);
        }
        if let Some(key) = index_key(segment, new) {
            put(key, Some(Vec::new()));
            self.room.blocks += Room::of(new).blocks;
            self.room.segments += Room::of(new).segments;
        }
        if new.phase == SegmentPhase::Quarantined {
            put(Key::quarantine(new.epoch, segment), Some(Vec::new()));
        }
        put(Key::segment(segment), Some(new.encode()));
        put(ROOM_IN_ALL, Some(self.room.encode()));
    }
}
