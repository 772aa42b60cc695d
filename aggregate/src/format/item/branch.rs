//! Branches: where a fileset goes on from a snapshot, and what a branch leaves when its last snapshot goes.

use baton_types::{FilesetId, Result};
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::reader::Reader;
use crate::format::{KEY_BYTES, Key, Lsn};

/// What a fileset goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// Whose snapshot.
    pub origin: FilesetId,
    /// Which.
    pub snapshot: Lsn,
    /// The lowest vnode number that no session was given, when it began to.
    pub next_vnode: u64,
}

/// Who goes on from a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which fileset.
    pub fileset: FilesetId,
    /// From which snapshot.
    pub snapshot: Lsn,
}

/// How far the tree of a deleted snapshot was taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// What was born up to here others have.
    pub floor: Lsn,
    /// What lies before this key is given back.
    pub from: Key,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct BaseLayout {
    origin: U64,
    snapshot: U64,
    next_vnode: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct HeldLayout {
    fileset: U64,
    snapshot: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct WalkLayout {
    floor: U64,
    from: [u8; KEY_BYTES],
}

impl Base {
    /// As it lies on the disk.
    pub fn encode(&self) -> Vec<u8> {
        let layout = BaseLayout {
            origin: U64::new(self.origin.0),
            snapshot: U64::new(self.snapshot.0),
            next_vnode: U64::new(self.next_vnode),
        };
        layout.as_bytes().to_vec()
    }

    /// The base in these bytes.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn decode(bytes: &[u8]) -> Result<Base> {
        let mut reader = Reader::new("base", bytes);
        let layout: &BaseLayout = reader.layout()?;
        reader.end()?;
        Ok(Base {
            origin: FilesetId(layout.origin.get()),
            snapshot: Lsn(layout.snapshot.get()),
            next_vnode: layout.next_vnode.get(),
        })
    }
}

impl Held {
    /// As it lies on the disk.
    pub fn encode(&self) -> Vec<u8> {
        let layout = HeldLayout {
            fileset: U64::new(self.fileset.0),
            snapshot: U64::new(self.snapshot.0),
        };
        layout.as_bytes().to_vec()
    }

    /// Who it is, in these bytes.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn decode(bytes: &[u8]) -> Result<Held> {
        let mut reader = Reader::new("holder of a snapshot", bytes);
        let layout: &HeldLayout = reader.layout()?;
        reader.end()?;
        Ok(Held {
            fileset: FilesetId(layout.fileset.get()),
            snapshot: Lsn(layout.snapshot.get()),
        })
    }
}

impl Walk {
    /// As it lies on the disk.
    pub fn encode(&self) -> Vec<u8> {
        let layout = WalkLayout {
            floor: U64::new(self.floor.0),
            from: self.from.encode(),
        };
        layout.as_bytes().to_vec()
    }

    /// The walk in these bytes.
    ///
    /// # Errors
    /// `Damaged`; `Version` for a key that only a newer Baton knows.
    pub fn decode(bytes: &[u8]) -> Result<Walk> {
        let mut reader = Reader::new("walk", bytes);
        let layout: &WalkLayout = reader.layout()?;
        reader.end()?;
        Ok(Walk {
            floor: Lsn(layout.floor.get()),
            from: Key::decode(&layout.from)?,
        })
    }
}
