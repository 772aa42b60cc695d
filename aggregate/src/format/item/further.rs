//! Blocks that have several owners in the aggregate. The key says from which block on.

use baton_types::Result;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::reader::Reader;

/// A run of blocks, and how many owners it has beside the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Further {
    /// Blocks, side by side.
    pub count: u32,
    /// Owners beside one.
    pub owners: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    count: U32,
    owners: U32,
}

const WHAT: &str = "further owners";

impl Further {
    /// As it lies on the disk.
    pub fn encode(&self) -> Vec<u8> {
        let layout = Layout {
            count: U32::new(self.count),
            owners: U32::new(self.owners),
        };
        layout.as_bytes().to_vec()
    }

    /// The run in these bytes.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn decode(bytes: &[u8]) -> Result<Further> {
        let mut reader = Reader::new(WHAT, bytes);
        let layout: &Layout = reader.layout()?;
        let further = Further {
            count: layout.count.get(),
            owners: layout.owners.get(),
        };
        if further.count == 0 || further.owners == 0 {
            return Err(reader.damaged(format!("{} blocks with {}", further.count, further.owners)));
        }
        reader.end()?;
        Ok(further)
    }
}
