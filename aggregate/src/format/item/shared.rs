//! Blocks that several places of a fileset's files have. The key says from which block on.

use baton_types::Result;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::extent::{EXTENT_BIRTH_AT, Extent};
use crate::format::reader::{Reader, zeros};
use crate::format::{Block, Free, Key, KeyKind, Lsn};

/// A run of blocks, and in how many places it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Blocks, side by side.
    pub count: u16,
    /// Extents that have them.
    pub places: u32,
    /// The record that made them, or from which on the tree has them again; 0 in a record means that very record.
    pub birth: Lsn,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    count: U16,
    zero: [u8; 2],
    places: U32,
    birth: U64,
}

// It is filled in as an extent's is.
const _: () = assert!(std::mem::offset_of!(Layout, birth) == EXTENT_BIRTH_AT);

const WHAT: &str = "shared blocks";

impl Shared {
    /// As it lies on the disk.
    pub fn encode(&self) -> Vec<u8> {
        let layout = Layout {
            count: U16::new(self.count),
            zero: [0; 2],
            places: U32::new(self.places),
            birth: U64::new(self.birth.0),
        };
        layout.as_bytes().to_vec()
    }

    /// The run in these bytes.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn decode(bytes: &[u8]) -> Result<Shared> {
        let mut reader = Reader::new(WHAT, bytes);
        let layout: &Layout = reader.layout()?;
        zeros(WHAT, &layout.zero)?;
        let shared = Shared {
            count: layout.count.get(),
            places: layout.places.get(),
            birth: Lsn(layout.birth.get()),
        };
        if shared.count == 0 || shared.places == 0 {
            return Err(reader.damaged(format!("{} blocks in {} places", shared.count, shared.places)));
        }
        reader.end()?;
        Ok(shared)
    }
}

/// The blocks that an item of a fileset owns: those of an extent, unless they are shared, and those that are.
///
/// # Errors
/// `Damaged`, or `Version`.
pub fn owned(key: Key, value: &[u8]) -> Result<Option<Free>> {
    let (block, count, birth) = match key.kind {
        KeyKind::Extent => match Extent::decode(value)? {
            extent if extent.is_shared() => return Ok(None),
            extent => (extent.block, extent.count.into(), extent.birth),
        },
        KeyKind::Shared => {
            let shared = Shared::decode(value)?;
            (Block(key.sub), shared.count, shared.birth)
        }
        _ => return Ok(None),
    };
    Ok(Some(Free { block, count, birth }))
}

/// True if an item that the record `lsn` puts has blocks again that the tree had not: it is one more owner of them. What
/// a record makes is not shared before a later one copies it.
pub fn is_taken_back(key: Key, owned: &Free, lsn: Lsn) -> bool {
    key.kind == KeyKind::Shared && owned.birth == lsn
}
