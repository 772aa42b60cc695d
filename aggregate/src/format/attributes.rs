//! A vnode's attributes: 112 bytes, in every tree the most frequent value.

use baton_types::{Timestamp, Vnode};

/// What `stat` tells, and a little more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Type ([`FileKind::mode`](crate::format::FileKind::mode)) and permission bits, as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names it has.
    pub links: u32,
    /// In bytes.
    pub size: u64,
    /// Blocks of 4 KiB that its extents take.
    pub blocks: u64,
    /// Rises with every change of its bytes or entries.
    pub data_version: u64,
    /// Drawn by the creator: without it nobody opens anything.
    pub unique: u64,
    /// Last access, as far as somebody set it.
    pub accessed: Timestamp,
    /// Last change of its bytes or entries.
    pub modified: Timestamp,
    /// Last change of anything.
    pub changed: Timestamp,
    /// When it was made.
    pub created: Timestamp,
    /// Of a directory the one it is in; of the root, and of what has no directory of its own, `None`.
    pub parent: Option<Vnode>,
    /// Of a device node its number.
    pub device: u64,
    /// Its ACL; 0 means the mode bits.
    pub acl: u32,
    /// None is known yet, so 0.
    pub flags: u32,
}
