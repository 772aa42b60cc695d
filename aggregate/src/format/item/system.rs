//! What the system tree says of a fileset.

use baton_types::{FilesetId, FilesetName, Result, Timestamp};
use zerocopy::little_endian::{I64, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::name::{all, name_len};
use crate::format::reader::{Reader, zeros};
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
    /// How many snapshots were ever taken of it: the last number given to one.
    pub snapshots_taken: u64,
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
    /// Blocks promised to its files.
    pub promised: u64,
}

/// Followed by the name.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct HeaderLayout {
    kind: u8,
    name_len: u8,
    zero: [u8; 6],
    hash_key: [u8; 16],
    created: I64,
    quota_bytes: U64,
    quota_files: U64,
    newest_snapshot: U64,
    origin: U64,
    snapshots_taken: U64,
    version: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct UsageLayout {
    bytes: U64,
    files: U64,
    next_vnode: U64,
}

impl FilesetHeader {
    /// As it lies on the disk.
    pub fn encode(&self) -> Vec<u8> {
        let name = self.name.as_str().as_bytes();
        let layout = HeaderLayout {
            kind: self.kind as u8,
            name_len: name_len(name),
            zero: [0; 6],
            hash_key: self.hash_key.0,
            created: I64::new(self.created.0),
            quota_bytes: U64::new(self.quota_bytes),
            quota_files: U64::new(self.quota_files),
            newest_snapshot: U64::new(self.newest_snapshot.0),
            origin: U64::new(self.origin),
            snapshots_taken: U64::new(self.snapshots_taken),
            version: U64::new(self.version),
        };
        [layout.as_bytes(), name].concat()
    }

    /// The fileset in these bytes.
    ///
    /// # Errors
    /// `Damaged`, or `Version` if it is of an unknown kind.
    pub fn decode(bytes: &[u8]) -> Result<FilesetHeader> {
        let mut reader = Reader::new("fileset", bytes);
        let layout: &HeaderLayout = reader.layout()?;
        zeros("fileset", &layout.zero)?;
        let kind = match layout.kind {
            1 => FilesetKind::ReadWrite,
            2 => FilesetKind::Replica,
            3 => FilesetKind::Deleting,
            kind => return Err(reader.newer(format!("its kind is {kind}"))),
        };
        let header = FilesetHeader {
            kind,
            name: fileset_name(&mut reader, layout.name_len)?,
            hash_key: HashKey(layout.hash_key),
            created: Timestamp(layout.created.get()),
            quota_bytes: layout.quota_bytes.get(),
            quota_files: layout.quota_files.get(),
            newest_snapshot: Lsn(layout.newest_snapshot.get()),
            origin: layout.origin.get(),
            snapshots_taken: layout.snapshots_taken.get(),
            version: layout.version.get(),
        };
        reader.end()?;
        Ok(header)
    }
}

fn fileset_name(reader: &mut Reader<'_>, len: u8) -> Result<FilesetName> {
    let name = reader.take(usize::from(len))?;
    let name = std::str::from_utf8(name).map_err(|_| reader.damaged("its name is no text"))?;
    FilesetName::parse(name).map_err(|error| reader.damaged(error.to_string()))
}

impl FilesetEntry {
    /// The value of an item with these entries.
    pub fn encode_all(entries: &[FilesetEntry]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in entries {
            let name = entry.name.as_str().as_bytes();
            bytes.extend(entry.fileset.0.to_le_bytes());
            bytes.push(name_len(name));
            bytes.extend(name);
        }
        bytes
    }

    /// The entries in this value: one or more.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<FilesetEntry>> {
        all("fileset name", bytes, |reader| {
            let fileset = FilesetId(reader.u64()?);
            let len = reader.u8()?;
            let name = fileset_name(reader, len)?;
            Ok(FilesetEntry { fileset, name })
        })
    }
}

impl FilesetUsage {
    /// As it lies on the disk.
    pub fn encode(&self) -> Vec<u8> {
        let layout = UsageLayout {
            bytes: U64::new(self.bytes),
            files: U64::new(self.files),
            next_vnode: U64::new(self.next_vnode),
        };
        let promised = (self.promised > 0).then(|| self.promised.to_le_bytes());
        [layout.as_bytes(), promised.as_ref().map_or(&[], |bytes| &bytes[..])].concat()
    }

    /// The usage in these bytes.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn decode(bytes: &[u8]) -> Result<FilesetUsage> {
        let mut reader = Reader::new("usage", bytes);
        let layout: &UsageLayout = reader.layout()?;
        // Where nothing is promised nothing is said.
        let promised = match bytes.len() > size_of::<UsageLayout>() {
            true => u64::from_le_bytes(reader.array()?),
            false => 0,
        };
        reader.end()?;
        Ok(FilesetUsage {
            bytes: layout.bytes.get(),
            files: layout.files.get(),
            next_vnode: layout.next_vnode.get(),
            promised,
        })
    }
}
