//! What the system tree says of a fileset.

use baton_types::{FilesetId, FilesetName, Timestamp};

use crate::format::{HashKey, Lsn};

/// A fileset, without what merges write: its tree and its usage have items of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesetHeader {
    /// What it is.
    pub kind: FilesetKind,
    /// Its name in this aggregate.
    pub name: FilesetName,
    /// The secret of its names' hashes.
    pub hash_key: HashKey,
    /// When it was made.
    pub created: Timestamp,
    /// Most bytes; 0 for no limit.
    pub quota_bytes: u64,
    /// Most files; 0 for no limit.
    pub quota_files: u64,
    /// Its newest snapshot; 0 for none.
    pub newest_snapshot: Lsn,
    /// The fileset it was cloned from; 0 for none.
    pub origin: u64,
    /// Its list of dead blocks; 0 for none.
    pub dead_list: u64,
    /// Its version: what a replica compares.
    pub version: u64,
}

/// What a fileset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FilesetKind {
    /// The one that is written.
    ReadWrite = 1,
    /// A copy of another site's.
    Replica = 2,
    /// Hidden, and being taken apart.
    Deleting = 3,
}

/// One fileset in the list of names. The item holds all of one hash; hidden ones stand behind all others, in items
/// whose sub has the top bit set over their id, so that the work of taking them apart finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesetEntry {
    /// Which.
    pub fileset: FilesetId,
    /// Its name, or the last it had.
    pub name: FilesetName,
}

/// What a fileset uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilesetUsage {
    /// Bytes.
    pub bytes: u64,
    /// Files, directories among them.
    pub files: u64,
    /// The lowest vnode number that no session was given.
    pub next_vnode: u64,
}
