//! A pointer: where something lies, when it was made, and what its bytes must hash to.

use crate::format::{Block, Checksum, Lsn};

/// A pointer on the disk.
pub const POINTER_BYTES: usize = 32;

/// Leads to `blocks` blocks that never change while it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pointer {
    /// The first block.
    pub block: Block,
    /// How many, 1 or more.
    pub blocks: u8,
    /// Compressed, encrypted: none is known yet, so 0.
    pub flags: u8,
    /// For a node: the newest record of the layer whose merge wrote it.
    pub birth: Lsn,
    /// Over exactly the blocks.
    pub checksum: Checksum,
}
