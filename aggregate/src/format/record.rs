//! A record: one transaction's results. Replaying it twice does no harm.

use bytes::{Bytes, BytesMut};

use baton_types::{Error, FilesetId, Kind, Result};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::pointer::{block_bytes, block_of};
use crate::format::reader::{Reader, zeros};
use crate::format::{Block, EXTENT_BIRTH_AT, KEY_BYTES, Key, KeyKind, Lsn};

/// An item at most, key included: two fit the smallest node.
pub const ITEM_BYTES_MAX: usize = 2_000;
/// A value at most.
pub const VALUE_BYTES_MAX: usize = ITEM_BYTES_MAX - KEY_BYTES;
/// The result of an operation at most: a reply repeated must be whole, and thousands are kept.
pub const RESULT_BYTES_MAX: usize = 160;

/// One transaction: whose request it was, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: RecordKind,
    /// By kind; the class of the segments in `Reserve` and `Extend`, [`Record::TAKEN`] or [`Record::BACK`] in
    /// `Snapshot`, else 0.
    pub flags: u16,
    /// The fileset it changes; 0 for none.
    pub fileset: FilesetId,
    /// The session that asked; 0 for none.
    pub session: u64,
    /// Its stream.
    pub stream: u16,
    /// Its number there.
    pub sequence: u32,
    /// Bytes that the fileset uses after it.
    pub usage_bytes: u64,
    /// Files that the fileset has after it.
    pub usage_files: u64,
    /// Blocks promised to its files, after it.
    pub usage_promised: u64,
    /// What was answered; in `Reserve` and `Extend` the segments, u32 each.
    pub result: Bytes,
    /// Items put, or deleted.
    pub items: Vec<(Key, Option<Bytes>)>,
    /// Blocks that nothing refers to any more.
    pub frees: Vec<Free>,
}

/// Blocks that a record or a merge no longer refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Free {
    /// The first.
    pub block: Block,
    /// How many.
    pub count: u16,
    /// The record that made them; 0: the very record that frees them. In a `Snapshot`, the one that had them last.
    pub birth: Lsn,
}

/// What a record is. An unknown kind is an error, never the end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// An operation on a fileset; its items go to that fileset's tree.
    Op = 1,
    /// Who exists; items of the system tree.
    Client = 2,
    /// Sessions and their vnode ranges; items of the system tree.
    Session = 3,
    /// What is held where; items of the system tree.
    Holds = 4,
    /// A snapshot is taken here, deleted, or some of its space given back; items of the system tree.
    Snapshot = 5,
    /// A fileset is made, changed or hidden; items of the system tree.
    Fileset = 6,
    /// A step of background work on a fileset; items of its tree.
    Step = 7,
    /// Segments for nodes and data.
    Reserve = 8,
    /// Segments for the log.
    Extend = 9,
    /// An old epoch is proven gone.
    Proof = 10,
}

impl RecordKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [RecordKind; 10] = [
        RecordKind::Op,
        RecordKind::Client,
        RecordKind::Session,
        RecordKind::Holds,
        RecordKind::Snapshot,
        RecordKind::Fileset,
        RecordKind::Step,
        RecordKind::Reserve,
        RecordKind::Extend,
        RecordKind::Proof,
    ];

    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<RecordKind> {
        RecordKind::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Its result at most: where segments are listed they fill whatever a length can say.
    fn result_bytes_max(self) -> usize {
        match self {
            RecordKind::Reserve | RecordKind::Extend => usize::from(u16::MAX),
            RecordKind::Op
            | RecordKind::Client
            | RecordKind::Session
            | RecordKind::Holds
            | RecordKind::Snapshot
            | RecordKind::Fileset
            | RecordKind::Step
            | RecordKind::Proof => RESULT_BYTES_MAX,
        }
    }
}

/// The first bytes of a record; then its result, its items, its frees.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    bytes: U32,
    version: u8,
    kind: u8,
    flags: U16,
    fileset: U64,
    session: U64,
    sequence: U32,
    stream: U16,
    result: U16,
    items: U16,
    frees: U16,
    usage_bytes: U64,
    usage_files: U64,
    usage_promised: U64,
    zero: [u8; 4],
}

/// The first bytes of an item; then its value.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ItemLayout {
    op: u8,
    key: [u8; KEY_BYTES],
    value: U16,
}

/// Blocks freed.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct FreeLayout {
    block: [u8; 6],
    count: U16,
    birth: U64,
}

const WHAT: &str = "record";
const VERSION: u8 = 1;
const PUT: u8 = 1;
const DELETE: u8 = 2;

impl Record {
    /// The flag of a `Snapshot` that takes one: the last that it puts.
    pub const TAKEN: u16 = 1;
    /// The flag of a `Snapshot` by which the fileset goes back to an older one.
    pub const BACK: u16 = 2;

    /// What every record begins with.
    pub const HEADER_BYTES: usize = size_of::<Layout>();

    /// A record of this kind that does nothing yet.
    pub fn new(kind: RecordKind, fileset: FilesetId) -> Record {
        Record {
            kind,
            flags: 0,
            fileset,
            session: 0,
            stream: 0,
            sequence: 0,
            usage_bytes: 0,
            usage_files: 0,
            usage_promised: 0,
            result: Bytes::new(),
            items: Vec::new(),
            frees: Vec::new(),
        }
    }

    /// The first item that no record may hold: merges alone put it, or it is not for records to delete.
    pub fn of_merges(&self) -> Option<Key> {
        let is_forbidden = |(key, value): &&(Key, Option<Bytes>)| {
            let is_deleted = value.is_none() && key.kind.is_deleted_by_records();
            key.kind.is_of_merges() && !is_deleted
        };
        self.items.iter().find(is_forbidden).map(|(key, _)| *key)
    }

    /// It has its number: what was born with this very record carried none yet.
    pub fn born(&mut self, lsn: Lsn) {
        for (key, value) in &mut self.items {
            if let (KeyKind::Extent | KeyKind::Shared, Some(value)) = (key.kind, value) {
                item_born(value, lsn);
            }
        }
        for free in self.frees.iter_mut().filter(|free| free.birth == Lsn(0)) {
            free.birth = lsn;
        }
    }

    /// Its length on the disk.
    pub fn encoded_len(&self) -> usize {
        let value = |(_, value): &(Key, Option<Bytes>)| size_of::<ItemLayout>() + value.as_ref().map_or(0, Bytes::len);
        Record::HEADER_BYTES
            + self.result.len()
            + self.items.iter().map(value).sum::<usize>()
            + self.frees.len() * size_of::<FreeLayout>()
    }

    /// Appends it to `bytes`.
    ///
    /// # Errors
    /// `Limit`, nothing appended, if it holds more than a record can.
    pub fn encode(&self, bytes: &mut Vec<u8>) -> Result<()> {
        let most = usize::from(u16::MAX);
        let values = self
            .items
            .iter()
            .filter_map(|(_, value)| value.as_ref())
            .map(Bytes::len);
        if self.result.len() > self.kind.result_bytes_max()
            || self.items.len().max(self.frees.len()) > most
            || values.max().is_some_and(|len| len > VALUE_BYTES_MAX)
        {
            return Err(Error::new(Kind::Limit, WHAT).because("it holds more than a record can"));
        }
        let layout = Layout {
            bytes: U32::new(self.encoded_len() as u32),
            version: VERSION,
            kind: self.kind as u8,
            flags: U16::new(self.flags),
            fileset: U64::new(self.fileset.0),
            session: U64::new(self.session),
            sequence: U32::new(self.sequence),
            stream: U16::new(self.stream),
            result: U16::new(self.result.len() as u16),
            items: U16::new(self.items.len() as u16),
            frees: U16::new(self.frees.len() as u16),
            usage_bytes: U64::new(self.usage_bytes),
            usage_files: U64::new(self.usage_files),
            usage_promised: U64::new(self.usage_promised),
            zero: [0; 4],
        };
        bytes.extend(layout.as_bytes());
        bytes.extend(&self.result);
        for (key, value) in &self.items {
            let item = ItemLayout {
                op: if value.is_some() { PUT } else { DELETE },
                key: key.encode(),
                value: U16::new(value.as_ref().map_or(0, Bytes::len) as u16),
            };
            bytes.extend(item.as_bytes());
            if let Some(value) = value {
                bytes.extend_from_slice(value);
            }
        }
        for free in &self.frees {
            let free = FreeLayout {
                block: block_bytes(free.block),
                count: U16::new(free.count),
                birth: U64::new(free.birth.0),
            };
            bytes.extend(free.as_bytes());
        }
        Ok(())
    }

    /// The record that these bytes are, no more and no fewer; its values are slices of them.
    ///
    /// # Errors
    /// `Damaged`; `Version` for a kind or version that only a newer Baton knows.
    pub fn decode(bytes: &Bytes) -> Result<Record> {
        let mut reader = Reader::new(WHAT, bytes);
        let layout: &Layout = reader.layout()?;
        if layout.version != VERSION {
            return Err(reader.newer(format!("its version is {}", layout.version)));
        }
        let kind =
            RecordKind::from_number(layout.kind).ok_or_else(|| reader.newer(format!("its kind is {}", layout.kind)))?;
        zeros(WHAT, &layout.zero)?;
        if layout.bytes.get() as usize != bytes.len() {
            return Err(reader.damaged(format!("it says {} bytes, and has {}", layout.bytes, bytes.len())));
        }
        let result = reader.take(usize::from(layout.result.get()))?;
        if result.len() > kind.result_bytes_max() {
            return Err(reader.damaged(format!("a result of {} bytes", result.len())));
        }
        let [items, frees] = [layout.items, layout.frees].map(|count| usize::from(count.get()));
        reader.holds(items, size_of::<ItemLayout>())?;
        let record = Record {
            kind,
            flags: layout.flags.get(),
            fileset: FilesetId(layout.fileset.get()),
            session: layout.session.get(),
            stream: layout.stream.get(),
            sequence: layout.sequence.get(),
            usage_bytes: layout.usage_bytes.get(),
            usage_files: layout.usage_files.get(),
            usage_promised: layout.usage_promised.get(),
            result: bytes.slice_ref(result),
            items: (0..items).map(|_| item(&mut reader, bytes)).collect::<Result<_>>()?,
            frees: {
                reader.holds(frees, size_of::<FreeLayout>())?;
                (0..frees).map(|_| free(&mut reader)).collect::<Result<_>>()?
            },
        };
        reader.end()?;
        Ok(record)
    }
}

fn item_born(value: &mut Bytes, lsn: Lsn) {
    let birth = EXTENT_BIRTH_AT..EXTENT_BIRTH_AT + 8;
    if value.get(birth.clone()) == Some(&[0; 8]) {
        // Mostly nobody else has it, and it is not copied.
        let mut born = BytesMut::from(std::mem::take(value));
        born[birth].copy_from_slice(&lsn.0.to_le_bytes());
        *value = born.freeze();
    }
}

fn item(reader: &mut Reader<'_>, whole: &Bytes) -> Result<(Key, Option<Bytes>)> {
    let layout: &ItemLayout = reader.layout()?;
    let key = Key::decode(&layout.key)?;
    let value = reader.take(usize::from(layout.value.get()))?;
    match (layout.op, value.len()) {
        (PUT, 0..=VALUE_BYTES_MAX) => Ok((key, Some(whole.slice_ref(value)))),
        (DELETE, 0) => Ok((key, None)),
        (op, len) => Err(reader.damaged(format!("an item with {len} bytes and the operation {op}"))),
    }
}

fn free(reader: &mut Reader<'_>) -> Result<Free> {
    let layout: &FreeLayout = reader.layout()?;
    let free = Free {
        block: block_of(layout.block),
        count: layout.count.get(),
        birth: Lsn(layout.birth.get()),
    };
    match (free.block, free.count) {
        (Block(0), _) | (_, 0) => Err(reader.damaged("it frees nothing")),
        _ => Ok(free),
    }
}
