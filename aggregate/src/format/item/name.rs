//! Names: what a directory's entry says, and the hash that gives it its place.

use std::hash::Hasher;

use baton_types::{FileName, FilesetId, Result, Vnode};
use siphasher::sip::SipHasher24;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::reader::Reader;

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
    /// Every kind, in the order of their numbers.
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

/// Followed by the name.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    vnode: U64,
    unique: U64,
    kind: u8,
    name_len: u8,
}

impl NameEntry {
    /// The value of an item with these entries.
    ///
    /// # Panics
    /// If a name is longer than 255 bytes: names are parsed before they come here.
    pub fn encode_all(entries: &[NameEntry]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in entries {
            let layout = Layout {
                vnode: U64::new(entry.vnode.number()),
                unique: U64::new(entry.unique),
                kind: entry.kind as u8,
                name_len: name_len(&entry.name),
            };
            bytes.extend(layout.as_bytes());
            bytes.extend(&entry.name);
        }
        bytes
    }

    /// The entries in this value: one or more.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<NameEntry>> {
        all("directory entry", bytes, |reader| {
            let layout: &Layout = reader.layout()?;
            let name = reader.take(usize::from(layout.name_len))?;
            let kind = FileKind::from_number(layout.kind);
            Ok(NameEntry {
                vnode: Vnode::new(layout.vnode.get()).map_err(|error| reader.damaged(error.to_string()))?,
                unique: layout.unique.get(),
                kind: kind.ok_or_else(|| reader.newer(format!("its kind is {}", layout.kind)))?,
                name: FileName::parse(name)
                    .map_err(|error| reader.damaged(error.to_string()))?
                    .as_bytes()
                    .to_vec(),
            })
        })
    }
}

/// The length of a name in its byte.
pub(super) fn name_len(name: &[u8]) -> u8 {
    u8::try_from(name.len()).expect("names are parsed before they are written, and have 255 bytes at most")
}

/// A list to the end of `bytes`, with at least one entry.
pub(super) fn all<'a, T>(
    what: &'static str,
    bytes: &'a [u8],
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut reader = Reader::new(what, bytes);
    let mut list = Vec::new();
    loop {
        list.push(read(&mut reader)?);
        if reader.is_empty() {
            return Ok(list);
        }
    }
}

impl MountPoint {
    /// As it lies on the disk.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, fileset) = match self {
            MountPoint::Regular(fileset) => (1, fileset),
            MountPoint::ReadWrite(fileset) => (2, fileset),
        };
        [&[kind][..], &fileset.0.to_le_bytes()].concat()
    }

    /// The mount point in these bytes.
    ///
    /// # Errors
    /// `Damaged`, or `Version` if it is of an unknown kind.
    pub fn decode(bytes: &[u8]) -> Result<MountPoint> {
        let mut reader = Reader::new("mount point", bytes);
        let (kind, fileset) = (reader.u8()?, FilesetId(reader.u64()?));
        let mount_point = match kind {
            1 => MountPoint::Regular(fileset),
            2 => MountPoint::ReadWrite(fileset),
            _ => return Err(reader.newer(format!("its kind is {kind}"))),
        };
        reader.end()?;
        Ok(mount_point)
    }
}
