//! Where things lie, given the sizes that the label fixes, and how far the device has grown since.

use baton_types::limits::EPOCH_SLOTS;
use baton_types::{Epoch, Error, Kind, Result};

use crate::format::{BLOCK_BYTES, Block, Segment};

/// The sizes that fix where everything lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Of the device, in whole blocks: as in the label, or grown since.
    pub device_bytes: u64,
    /// Of the device when the aggregate was made: the second copy of the label is its last block for ever.
    pub birth_bytes: u64,
    /// Of a segment: a power of two, 64 KiB to 4 MiB.
    pub segment_bytes: u32,
    /// Of a node at most: a power of two, 4 KiB to 64 KiB.
    pub node_bytes: u32,
}

/// One of the two places of a root in its epoch's head; they are written in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RootPlace {
    /// The first.
    A,
    /// The second.
    B,
}

impl RootPlace {
    /// Both.
    pub const BOTH: [RootPlace; 2] = [RootPlace::A, RootPlace::B];

    /// Where the root with this number in its epoch lies; the seal, number 0, lies in both.
    pub fn of(seq: u64) -> RootPlace {
        RootPlace::BOTH[(seq % 2) as usize]
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> RootPlace {
        match self {
            RootPlace::A => RootPlace::B,
            RootPlace::B => RootPlace::A,
        }
    }
}

const BLOCK: u64 = BLOCK_BYTES as u64;

impl Geometry {
    /// Slots, and heads: the ring of epochs.
    pub const RING: usize = EPOCH_SLOTS as usize;
    /// Where the slots begin, each in a block of its own.
    pub const SLOTS_AT: u64 = BLOCK;
    /// Where the heads begin.
    pub const HEADS_AT: u64 = 64 << 10;
    /// Two roots.
    pub const HEAD_BYTES: u64 = 2 * Geometry::ROOT_BYTES_MAX as u64;
    /// A root at most.
    pub const ROOT_BYTES_MAX: usize = 64 << 10;
    /// Segments that an aggregate has at least: fewer leave no room beside the log and the reserves.
    pub const SEGMENTS_MIN: u32 = 128;
    /// A batch at most, and no more than a segment.
    pub const BATCH_BYTES_MAX: usize = 1 << 20;
    const SEGMENT_BYTES: std::ops::RangeInclusive<u32> = 64 << 10..=4 << 20;
    const NODE_BYTES: std::ops::RangeInclusive<u32> = BLOCK_BYTES as u32..=64 << 10;
    /// Below this a segment has 1 MiB: a small aggregate still needs enough of them.
    const LARGE_BYTES: u64 = 8 << 30;
    const NODE_BYTES_USUAL: u32 = 8 << 10;

    /// The geometry of a device of this size, as `newaggr` chooses it.
    ///
    /// # Errors
    /// As [`Geometry::new`].
    pub fn usual(device_bytes: u64) -> Result<Geometry> {
        let segment_bytes = if device_bytes < Self::LARGE_BYTES {
            1 << 20
        } else {
            4 << 20
        };
        Geometry::new(device_bytes, segment_bytes, Self::NODE_BYTES_USUAL)
    }

    /// A geometry with these sizes; the device's is cut to whole blocks.
    ///
    /// # Errors
    /// `Invalid` if a size is none that a label may have, `NoSpace` if there are too few segments.
    pub fn new(device_bytes: u64, segment_bytes: u32, node_bytes: u32) -> Result<Geometry> {
        let sound =
            |bytes: u32, range: std::ops::RangeInclusive<u32>| bytes.is_power_of_two() && range.contains(&bytes);
        if !sound(segment_bytes, Self::SEGMENT_BYTES) {
            return Err(invalid(format!(
                "segments of {segment_bytes} bytes: not a power of two from 64 KiB to 4 MiB"
            )));
        }
        if !sound(node_bytes, Self::NODE_BYTES) {
            return Err(invalid(format!(
                "nodes of {node_bytes} bytes: not a power of two from 4 KiB to 64 KiB"
            )));
        }
        let device_bytes = device_bytes / BLOCK * BLOCK;
        let segments = device_bytes.saturating_sub(BLOCK) / u64::from(segment_bytes);
        if segments > u64::from(u32::MAX) || device_bytes / BLOCK >= Block::END.0 {
            return Err(invalid(format!(
                "a device of {device_bytes} bytes: more than addresses reach"
            )));
        }
        let geometry = Geometry {
            device_bytes,
            birth_bytes: device_bytes,
            segment_bytes,
            node_bytes,
        };
        let needed = u64::from(geometry.first_segment().0 + Self::SEGMENTS_MIN);
        if segments < needed {
            let bytes = needed * u64::from(segment_bytes) + BLOCK;
            return Err(Error::new(Kind::NoSpace, "device")
                .because(format!("{device_bytes} bytes are too few for an aggregate"))
                .remedy(format!("give it at least {bytes} bytes")));
        }
        Ok(geometry)
    }

    /// The same aggregate when its device has this size, cut to whole blocks.
    ///
    /// # Errors
    /// `Invalid` if it is smaller than at birth, or larger than addresses reach.
    pub fn on(&self, device_bytes: u64) -> Result<Geometry> {
        if device_bytes < self.birth_bytes {
            return Err(invalid(format!(
                "a device of {device_bytes} bytes, where the aggregate was made on {}",
                self.birth_bytes
            )));
        }
        let birth_bytes = self.birth_bytes;
        let grown = Geometry::new(device_bytes, self.segment_bytes, self.node_bytes)?;
        Ok(Geometry { birth_bytes, ..grown })
    }

    /// The least size at which there is a segment more.
    pub fn next_larger(&self) -> u64 {
        let end = self.end_segment();
        // Behind the end of the birth lies the label's second copy, in a segment of which nothing else is used.
        let more = if end == self.label_segment() { 2 } else { 1 };
        (u64::from(end.0) + more) * u64::from(self.segment_bytes) + BLOCK
    }

    /// Blocks in a segment.
    pub fn segment_blocks(&self) -> u32 {
        self.segment_bytes / BLOCK_BYTES as u32
    }

    /// The bitmap of a segment.
    pub fn bitmap_bytes(&self) -> usize {
        self.segment_blocks() as usize / 8
    }

    /// The first segment that can be reserved: those before hold label, slots and heads.
    pub fn first_segment(&self) -> Segment {
        let fixed = Self::HEADS_AT + Self::RING as u64 * Self::HEAD_BYTES;
        Segment(fixed.div_ceil(u64::from(self.segment_bytes)) as u32)
    }

    /// The first number that is no segment: the last block is kept, where it holds the label's second copy and after.
    pub fn end_segment(&self) -> Segment {
        Segment(((self.device_bytes - BLOCK) / u64::from(self.segment_bytes)) as u32)
    }

    /// Where the second copy of the label lies: no segment, however far the device grows.
    fn label_segment(&self) -> Segment {
        Segment(((self.birth_bytes - BLOCK) / u64::from(self.segment_bytes)) as u32)
    }

    /// Segments that can be reserved.
    pub fn segment_count(&self) -> u32 {
        self.count_from(self.first_segment())
    }

    /// Those from this number on.
    pub fn count_from(&self, first: Segment) -> u32 {
        let has_label = (first..self.end_segment()).contains(&self.label_segment());
        self.end_segment().0.saturating_sub(first.0) - u32::from(has_label)
    }

    /// Those from this number on, in order.
    pub fn segments_from(&self, first: Segment) -> impl Iterator<Item = Segment> + use<> {
        let label = self.label_segment();
        (first.0..self.end_segment().0)
            .map(Segment)
            .filter(move |segment| *segment != label)
    }

    /// True for a segment that can be reserved.
    pub fn has_segment(&self, segment: Segment) -> bool {
        (self.first_segment()..self.end_segment()).contains(&segment) && segment != self.label_segment()
    }

    /// True if all of these blocks lie in one segment that can be reserved.
    pub fn has_blocks(&self, first: Block, count: u64) -> bool {
        let blocks = u64::from(self.segment_blocks());
        let segment = first.0 / blocks;
        let is_there = u32::try_from(segment).is_ok_and(|segment| self.has_segment(Segment(segment)));
        is_there && count > 0 && count <= blocks - first.0 % blocks
    }

    /// The segment a block lies in.
    ///
    /// # Panics
    /// For a block beyond every segment: see [`Geometry::has_blocks`].
    pub fn segment_of(&self, block: Block) -> Segment {
        let segment = block.0 / u64::from(self.segment_blocks());
        assert!(
            segment < u64::from(self.end_segment().0),
            "block {block} lies in no segment"
        );
        Segment(segment as u32)
    }

    /// The place of a block within its segment.
    pub fn index_in_segment(&self, block: Block) -> u32 {
        (block.0 % u64::from(self.segment_blocks())) as u32
    }

    /// The first block of a segment.
    pub fn first_block(&self, segment: Segment) -> Block {
        Block(u64::from(segment.0) * u64::from(self.segment_blocks()))
    }

    /// The first byte of a segment.
    pub fn segment_offset(&self, segment: Segment) -> u64 {
        u64::from(segment.0) * u64::from(self.segment_bytes)
    }

    /// A batch at most.
    pub fn batch_bytes_max(&self) -> usize {
        Self::BATCH_BYTES_MAX.min(self.segment_bytes as usize)
    }

    /// Where the two copies of the label lie.
    pub fn label_offsets(&self) -> [u64; 2] {
        [0, self.birth_bytes - BLOCK]
    }

    /// The place of an epoch in the ring.
    pub fn ring_index(epoch: Epoch) -> usize {
        (epoch.0 % Self::RING as u64) as usize
    }

    /// Where the slot with this place in the ring lies.
    pub fn slot_offset(index: usize) -> u64 {
        Self::SLOTS_AT + index as u64 * BLOCK
    }

    /// Where a root of the head with this place in the ring lies.
    pub fn root_offset(index: usize, place: RootPlace) -> u64 {
        let head = Self::HEADS_AT + index as u64 * Self::HEAD_BYTES;
        match place {
            RootPlace::A => head,
            RootPlace::B => head + Self::ROOT_BYTES_MAX as u64,
        }
    }
}

fn invalid(reason: String) -> Error {
    Error::new(Kind::Invalid, "geometry").because(reason)
}
