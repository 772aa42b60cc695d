//! What lies on the disk, byte by byte: each structure once, each decoder total.
//!
//! Values are little-endian, keys big-endian. A decoder gives a value or an error, whatever the bytes:
//! `Damaged` for what contradicts itself, `Version` for what only a newer Baton can know. It never panics,
//! and allocates no more than the input's own size class. The bytes are drawn in `docs/aggregate.md`.

mod attributes;
mod batch;
mod bitmap;
mod checksum;
mod geometry;
mod item;
mod key;
mod label;
mod place;
mod pointer;
mod reader;
mod record;
mod root;
#[cfg(any(test, feature = "testing"))]
pub mod sample;
mod sealed;
mod slot;
#[cfg(test)]
mod tests;

pub use attributes::Attributes;
pub use batch::{Batch, BatchHeader};
pub use bitmap::Bitmap;
pub use checksum::Checksum;
pub use geometry::{Geometry, RootPlace};
pub use item::{
    Base, ClientState, DeadChunk, EXTENT_BIRTH_AT, EXTENT_BLOCKS_MAX, Extent, FileKind, FilesetEntry, FilesetHeader,
    FilesetKind, FilesetUsage, Further, HashKey, Held, MODE_TYPE, MountPoint, NAME_HASH_FIRST, NameEntry, Orphan,
    Parting, Pending, SegmentPhase, SegmentState, SessionHeader, Shared, Snapshot, VnodeRange, Walk, XattrEntry,
    decode_holders, encode_holders, is_taken_back, name_hash, number_of, owned,
};
pub use key::{KEY_BYTES, Key, KeyKind, PIECES_MAX};
pub use label::{Features, Label};
pub use place::{BLOCK_BYTES, Block, Lsn, Segment, SegmentClass};
pub use pointer::{POINTER_BYTES, Pointer};
pub use record::{Free, ITEM_BYTES_MAX, RESULT_BYTES_MAX, Record, RecordKind, VALUE_BYTES_MAX};
pub use root::{History, Inherited, OpenSegment, Piece, Root, RootKind, RootName};
pub use slot::{Slot, SlotState};
