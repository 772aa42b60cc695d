//! Names: what a directory's entry says, and the hash that gives it its place.

use std::hash::Hasher;

use baton_types::{FilesetId, Vnode};
use siphasher::sip::SipHasher24;

/// The secret under which a fileset's names are hashed, so that nobody can flood one hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey(pub [u8; 16]);

/// Hashes below are left to what is no entry: the start of a listing, `.` and `..`.
pub const NAME_HASH_FIRST: u64 = 16;

/// The hash of a name: `SipHash` 2-4 with the top bit clear, as it is the directory's cookie too.
pub fn name_hash(key: &HashKey, name: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_key(&key.0);
    hasher.write(name);
    (hasher.finish() & (u64::MAX >> 1)).max(NAME_HASH_FIRST)
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

/// The bits of a mode that say what a file is.
pub const MODE_TYPE: u32 = 0o170_000;

impl FileKind {
    /// Every kind.
    pub const ALL: [FileKind; 8] = [
        FileKind::Regular,
        FileKind::Directory,
        FileKind::Symlink,
        FileKind::MountPoint,
        FileKind::Fifo,
        FileKind::Socket,
        FileKind::Character,
        FileKind::BlockDevice,
    ];

    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<FileKind> {
        FileKind::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// What the type bits of a mode say. Linux's own numbers, and one that it has no use for: a door.
    pub fn mode(self) -> u32 {
        match self {
            FileKind::Regular => 0o100_000,
            FileKind::Directory => 0o040_000,
            FileKind::Symlink => 0o120_000,
            FileKind::MountPoint => 0o150_000,
            FileKind::Fifo => 0o010_000,
            FileKind::Socket => 0o140_000,
            FileKind::Character => 0o020_000,
            FileKind::BlockDevice => 0o060_000,
        }
    }

    /// The kind that a mode speaks of.
    pub fn from_mode(mode: u32) -> Option<FileKind> {
        FileKind::ALL.into_iter().find(|kind| kind.mode() == mode & MODE_TYPE)
    }
}

/// Where a mount point leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountPoint {
    /// To the fileset, or to a read-only copy of it.
    Regular(FilesetId),
    /// To the fileset itself.
    ReadWrite(FilesetId),
}
