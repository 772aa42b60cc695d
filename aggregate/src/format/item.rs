//! The values of items, each kind once.

mod extent;
mod name;
mod segment;
mod session;
mod system;
mod xattr;

pub use extent::{EXTENT_BIRTH_AT, EXTENT_BLOCKS_MAX, Extent};
pub use name::{FileKind, HashKey, MountPoint, NameEntry, name_hash};
pub use segment::{Pending, SegmentPhase, SegmentState};
pub use session::{ClientState, SessionHeader, VnodeRange};
pub use system::{FilesetHeader, FilesetKind, FilesetUsage};
pub use xattr::{XattrEntry, XattrValue};
