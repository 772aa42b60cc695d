//! A record: one transaction's results. Replaying it twice does no harm.

use bytes::Bytes;

use baton_types::FilesetId;

use crate::format::{Block, KEY_BYTES, Key, Lsn};

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
    /// By kind; the class of the segments in `Reserve` and `Extend`, else 0.
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
    /// The record that made them; 0: the very record that frees them.
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
    /// A snapshot is taken here.
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
}
