//! An extent: up to 64 blocks of a file that lie together. One of a single block has the very shape of a pointer.

use baton_types::Result;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::pointer::{block_bytes, block_of};
use crate::format::reader::Reader;
use crate::format::{Block, Checksum, Lsn};

/// Where in the value the birth stands: it is filled in when the record that carries it gets its number.
pub const EXTENT_BIRTH_AT: usize = 8;
/// Blocks in one extent at most.
pub const EXTENT_BLOCKS_MAX: u8 = 64;

/// Blocks of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// [`Extent::SHARED`], or 0; four bits.
    pub flags: u8,
    /// Each checksum covers 2 to this many bytes; 12 today.
    pub unit_shift: u8,
    /// The first block.
    pub block: Block,
    /// How many, 1 to 64.
    pub count: u8,
    /// The record that made them; 0 in a record means that very record.
    pub birth: Lsn,
    /// One for each unit.
    pub checksums: Vec<Checksum>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    block: [u8; 6],
    count: u8,
    /// Low half: the unit's shift less 12. High half: the flags.
    unit_and_flags: u8,
    birth: U64,
}

const _: () = assert!(std::mem::offset_of!(Layout, birth) == EXTENT_BIRTH_AT);

const WHAT: &str = "extent";
const BLOCK_SHIFT: u8 = 12;
/// A unit is no larger than the largest extent.
const UNIT_SHIFT_MAX: u8 = 18;

impl Extent {
    /// Its blocks are not its own: [`Shared`](super::Shared) items say in how many places they are.
    pub const SHARED: u8 = 1;

    /// True if its blocks are in other places, too, or were.
    pub fn is_shared(&self) -> bool {
        self.flags & Extent::SHARED != 0
    }

    /// Blocks that share a checksum.
    pub fn unit_blocks(&self) -> u8 {
        1 << (self.unit_shift - BLOCK_SHIFT)
    }

    /// Units in `count` blocks.
    fn units(count: u8, unit_shift: u8) -> usize {
        (usize::from(count) << BLOCK_SHIFT).div_ceil(1 << unit_shift)
    }

    /// As it lies on the disk.
    pub fn encode(&self) -> Vec<u8> {
        assert!(
            (BLOCK_SHIFT..=UNIT_SHIFT_MAX).contains(&self.unit_shift)
                && (1..=EXTENT_BLOCKS_MAX).contains(&self.count)
                && self.checksums.len() == Extent::units(self.count, self.unit_shift),
            "an extent of {} blocks with {} checksums",
            self.count,
            self.checksums.len()
        );
        let layout = Layout {
            block: block_bytes(self.block),
            count: self.count,
            unit_and_flags: (self.unit_shift - BLOCK_SHIFT) | self.flags << 4,
            birth: U64::new(self.birth.0),
        };
        let checksums = self.checksums.iter().flat_map(|checksum| checksum.0);
        layout.as_bytes().iter().copied().chain(checksums).collect()
    }

    /// The extent in these bytes.
    ///
    /// # Errors
    /// `Damaged`, or `Version` if it has flags.
    pub fn decode(bytes: &[u8]) -> Result<Extent> {
        let mut reader = Reader::new(WHAT, bytes);
        let layout: &Layout = reader.layout()?;
        let (flags, unit_shift) = (layout.unit_and_flags >> 4, BLOCK_SHIFT + (layout.unit_and_flags & 15));
        if flags & !Extent::SHARED != 0 {
            return Err(reader.newer(format!("its flags are {flags:#x}")));
        }
        let block = block_of(layout.block);
        let count = layout.count;
        if unit_shift > UNIT_SHIFT_MAX || !(1..=EXTENT_BLOCKS_MAX).contains(&count) || block == Block(0) {
            return Err(reader.damaged(format!("{count} blocks from {block} in units of 2^{unit_shift} bytes")));
        }
        let checksums = reader.take(Extent::units(count, unit_shift) * size_of::<Checksum>())?;
        reader.end()?;
        Ok(Extent {
            flags,
            unit_shift,
            block,
            count,
            birth: Lsn(layout.birth.get()),
            checksums: checksums.as_chunks().0.iter().copied().map(Checksum).collect(),
        })
    }
}
