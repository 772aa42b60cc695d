//! Snapshots, and the blocks that only snapshots still have.

use baton_types::{FileName, FilesetId, Result, Timestamp};
use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::name::name_len;
use crate::format::pointer::{block_bytes, block_of};
use crate::format::reader::{Reader, zeros};
use crate::format::{Block, Lsn, VALUE_BYTES_MAX};

/// A moment of a fileset. The key says when: it has what records before that number came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// In the order in which its fileset's were taken: rises, and is never used again.
    pub serial: u32,
    /// Its name; the last it had, once it was deleted.
    pub name: FileName,
    /// When it was taken.
    pub taken: Timestamp,
    /// Bytes that the fileset used then.
    pub bytes: u64,
    /// Files that it had.
    pub files: u64,
    /// All records before this one were appended when it was deleted; 0 while it is kept. What it alone had is given
    /// back after that, and then the item goes.
    pub deleted: Lsn,
}

/// The number in ids of the snapshot that is the `serial`-th of its fileset.
pub fn number_of(serial: u32) -> u16 {
    (serial % u32::from(FilesetId::SNAPSHOT_NUMBERS)) as u16
}

/// Followed by the name.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    name_len: u8,
    zero: [u8; 3],
    serial: U32,
    taken: I64,
    bytes: U64,
    files: U64,
    deleted: U64,
}

impl Snapshot {
    /// Its number in ids: no other snapshot that is kept of its fileset has it.
    pub fn number(&self) -> u16 {
        number_of(self.serial)
    }

    /// True until it is deleted.
    pub fn is_kept(&self) -> bool {
        self.deleted == Lsn(0)
    }

    /// As it lies on the disk.
    pub fn encode(&self) -> Vec<u8> {
        let name = self.name.as_bytes();
        let layout = Layout {
            name_len: name_len(name),
            zero: [0; 3],
            serial: U32::new(self.serial),
            taken: I64::new(self.taken.0),
            bytes: U64::new(self.bytes),
            files: U64::new(self.files),
            deleted: U64::new(self.deleted.0),
        };
        [layout.as_bytes(), name].concat()
    }

    /// The snapshot in these bytes.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn decode(bytes: &[u8]) -> Result<Snapshot> {
        let mut reader = Reader::new("snapshot", bytes);
        let layout: &Layout = reader.layout()?;
        zeros("snapshot", &layout.zero)?;
        let name = FileName::parse(reader.take(usize::from(layout.name_len))?);
        let name = name.map_err(|error| reader.damaged(error.to_string()))?;
        if layout.serial.get() == 0 {
            return Err(reader.damaged("it has no number"));
        }
        let snapshot = Snapshot {
            serial: layout.serial.get(),
            name,
            taken: Timestamp(layout.taken.get()),
            bytes: layout.bytes.get(),
            files: layout.files.get(),
            deleted: Lsn(layout.deleted.get()),
        };
        reader.end()?;
        Ok(snapshot)
    }
}

/// Some of the blocks that a snapshot was the last to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadChunk {
    /// The checkpoint that wrote it.
    pub generation: u64,
    /// First blocks and counts, each within one segment.
    pub runs: Vec<(Block, u16)>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RunLayout {
    block: [u8; 6],
    count: zerocopy::little_endian::U16,
}

impl DeadChunk {
    /// Runs at most.
    pub const RUNS_MAX: usize = (VALUE_BYTES_MAX - 8) / size_of::<RunLayout>();

    /// As it lies on the disk.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.generation.to_le_bytes().to_vec();
        for (block, count) in &self.runs {
            let layout = RunLayout {
                block: block_bytes(*block),
                count: (*count).into(),
            };
            bytes.extend(layout.as_bytes());
        }
        bytes
    }

    /// The chunk in these bytes.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn decode(bytes: &[u8]) -> Result<DeadChunk> {
        let mut reader = Reader::new("dead blocks", bytes);
        let generation = reader.u64()?;
        let mut runs = Vec::with_capacity(reader.len() / size_of::<RunLayout>());
        loop {
            let layout: &RunLayout = reader.layout()?;
            let (block, count) = (block_of(layout.block), layout.count.get());
            if block == Block(0) || count == 0 {
                return Err(reader.damaged("it has a run without blocks"));
            }
            runs.push((block, count));
            if reader.is_empty() {
                return Ok(DeadChunk { generation, runs });
            }
        }
    }
}
