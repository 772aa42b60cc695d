//! The values of items, each kind once.

mod branch;
mod extent;
mod further;
mod name;
mod orphan;
mod parting;
mod segment;
mod session;
mod shared;
mod snapshot;
mod system;
mod xattr;

pub use branch::{Base, Held, Walk};
pub use extent::{EXTENT_BIRTH_AT, EXTENT_BLOCKS_MAX, Extent};
pub use further::Further;
pub use name::{FileKind, HashKey, MODE_TYPE, MountPoint, NAME_HASH_FIRST, NameEntry, name_hash};
pub use orphan::Orphan;
pub use parting::Parting;
pub use segment::{Pending, SegmentPhase, SegmentState};
pub use session::{ClientState, SessionHeader, VnodeRange, decode_holders, encode_holders};
pub use shared::{Shared, is_taken_back, owned};
pub use snapshot::{DeadChunk, Snapshot, number_of};
pub use system::{FilesetEntry, FilesetHeader, FilesetKind, FilesetUsage};
pub use xattr::XattrEntry;
