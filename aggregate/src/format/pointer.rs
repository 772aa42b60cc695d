//! A pointer: where something lies, when it was made, and what its bytes must hash to.

use baton_types::Result;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::reader::{Reader, damaged, newer};
use crate::format::{BLOCK_BYTES, Block, Checksum, Lsn};

/// A pointer on the disk.
pub const POINTER_BYTES: usize = 32;
const WHAT: &str = "pointer";

/// Leads to `blocks` blocks that never change while it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pointer {
    /// The first block.
    pub block: Block,
    /// How many, 1 or more.
    pub blocks: u8,
    /// [`Pointer::LOST`], or 0: compression and encryption are not known yet.
    pub flags: u8,
    /// For a node: the newest record of the layer whose merge wrote it.
    pub birth: Lsn,
    /// Over exactly the blocks.
    pub checksum: Checksum,
}

/// A pointer's bytes; all zero for none.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    block: [u8; 6],
    blocks: u8,
    flags: u8,
    birth: U64,
    checksum: [u8; 16],
}

impl Pointer {
    /// In `flags`: the node did not verify when changes to it were to be merged, and it is given up, with them and all
    /// that is below. Its blocks stay taken, and whatever a device says of them later is not believed.
    pub const LOST: u8 = 1;

    /// True if what it leads to is given up.
    pub fn is_lost(&self) -> bool {
        self.flags & Pointer::LOST != 0
    }

    /// The same, given up.
    pub fn lost(self) -> Pointer {
        Pointer {
            flags: self.flags | Pointer::LOST,
            ..self
        }
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        usize::from(self.blocks) * BLOCK_BYTES
    }

    /// Never: a pointer leads to something.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// As it lies on the disk.
    pub fn encode(&self) -> [u8; POINTER_BYTES] {
        zerocopy::transmute!(Layout {
            block: block_bytes(self.block),
            blocks: self.blocks,
            flags: self.flags,
            birth: U64::new(self.birth.0),
            checksum: self.checksum.0,
        })
    }

    /// As it lies on the disk; zeros for none.
    pub fn encode_option(pointer: Option<Pointer>) -> [u8; POINTER_BYTES] {
        pointer.map_or([0; POINTER_BYTES], |pointer| pointer.encode())
    }

    /// The pointer in these 32 bytes.
    ///
    /// # Errors
    /// `Damaged` if they are none, `Version` if it has flags.
    pub fn decode(bytes: &[u8]) -> Result<Pointer> {
        Pointer::decode_option(bytes)?.ok_or_else(|| damaged(WHAT, "it leads nowhere"))
    }

    /// The pointer in these 32 bytes, or none.
    ///
    /// # Errors
    /// `Damaged` if they are neither, `Version` if it has flags.
    pub fn decode_option(bytes: &[u8]) -> Result<Option<Pointer>> {
        let mut reader = Reader::new(WHAT, bytes);
        let layout: &Layout = reader.layout()?;
        reader.end()?;
        if layout.as_bytes() == [0; POINTER_BYTES] {
            return Ok(None);
        }
        let pointer = Pointer {
            block: block_of(layout.block),
            blocks: layout.blocks,
            flags: layout.flags,
            birth: Lsn(layout.birth.get()),
            checksum: Checksum(layout.checksum),
        };
        if pointer.block == Block(0) || pointer.blocks == 0 {
            return Err(damaged(WHAT, "it leads nowhere"));
        }
        if pointer.flags & !Pointer::LOST != 0 {
            return Err(newer(WHAT, format!("its flags are {:#x}", pointer.flags)));
        }
        Ok(Some(pointer))
    }
}

/// A block number in its 48 bits.
pub(crate) fn block_bytes(block: Block) -> [u8; 6] {
    assert!(block < Block::END, "block {block} has more than 48 bits");
    let [a, b, c, d, e, f, _, _] = block.0.to_le_bytes();
    [a, b, c, d, e, f]
}

/// The block number in 48 bits.
pub(crate) fn block_of(bytes: [u8; 6]) -> Block {
    let [a, b, c, d, e, f] = bytes;
    Block(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
}
