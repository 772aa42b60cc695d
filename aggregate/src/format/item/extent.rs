//! An extent: up to 64 blocks of a file that lie together. One of a single block has the very shape of a pointer.

use crate::format::{Block, Checksum, Lsn};

/// Where in the value the birth stands: it is filled in when the record that carries it gets its number.
pub const EXTENT_BIRTH_AT: usize = 8;
/// Blocks in one extent at most.
pub const EXTENT_BLOCKS_MAX: u8 = 64;

/// Blocks of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Compressed, encrypted: none is known yet, so 0; four bits.
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
