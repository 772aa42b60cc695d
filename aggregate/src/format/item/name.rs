//! Names: what a directory's entry says, and the hash that gives it its place.

use std::hash::Hasher;

use baton_types::{FilesetId, Vnode};
use siphasher::sip::SipHasher24;

/// The secret under which a fileset's names are hashed, so that nobody can flood one hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey(pub [u8; 16]);

/// The hash of a name: `SipHash` 2-4 with the top bit clear, as it is the directory's cookie too.
pub fn name_hash(key: &HashKey, name: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_key(&key.0);
    hasher.write(name);
    hasher.finish() & (u64::MAX >> 1)
}

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey")
    }
}

/// One name in a directory. The item holds all names of one hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameEntry {
    /// The file it leads to.
    pub vnode: Vnode,
    /// That file's `unique`.
    pub unique: u64,
    /// What the file is.
    pub kind: FileKind,
    /// 1 to 255 bytes.
    pub name: Vec<u8>,
}

/// What a vnode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FileKind {
    /// A regular file.
    Regular = 1,
    /// A directory.
    Directory = 2,
    /// A symbolic link.
    Symlink = 3,
    /// A place where another fileset shows.
    MountPoint = 4,
    /// A named pipe.
    Fifo = 5,
    /// A socket.
    Socket = 6,
    /// A character device.
    Character = 7,
    /// A block device.
    BlockDevice = 8,
}

/// Where a mount point leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountPoint {
    /// To the fileset, or to a read-only copy of it.
    Regular(FilesetId),
    /// To the fileset itself.
    ReadWrite(FilesetId),
}
