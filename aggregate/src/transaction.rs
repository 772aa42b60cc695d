//! A change being made to one fileset: what it read, what it puts and deletes, and the room it took.
//!
//! An operation is a function over a [`Transaction`]. It sees the fileset's tree with its own puts on top, and
//! nothing it does is seen by anybody before the whole is appended to the log: one record, one place in history. An
//! operation that needs a node which is not in memory ends with [`Stop::Miss`]; the node is fetched without any lock
//! and the operation starts again from nothing. So it must not keep anything outside of the transaction.

mod reply;
#[cfg(any(test, feature = "testing"))]
pub mod scratch;

use baton_types::{AggregateId, Result, Timestamp, Vnode};
use bytes::Bytes;

use crate::format::{Block, Free, Key, Lsn, Pointer};
use crate::snapshot::{Fate, Line};
use crate::tree::{Layer, Scan, Stop, View};
pub use reply::Reply;

/// A session's number in its aggregate; 0 is the store's own work, which nobody sends twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl SessionId {
    /// The session that the record `lsn` opens: a number that no other record of this aggregate gives, and hardly one
    /// of another aggregate, for a server tells the sessions of all its aggregates apart by their numbers.
    pub(crate) fn at(aggregate: AggregateId, lsn: Lsn) -> SessionId {
        SessionId(base(aggregate).wrapping_add(lsn.0))
    }

    /// The record that opened it.
    pub(crate) fn opened_by(self, aggregate: AggregateId) -> Lsn {
        Lsn(self.0.wrapping_sub(base(aggregate)))
    }
}

fn base(aggregate: AggregateId) -> u64 {
    aggregate.0.as_u64_pair().0
}

/// Whose request it is, and what its replay must repeat (I6).
#[derive(Clone, Copy, Debug, Default)]
pub struct Operation {
    /// The client's session.
    pub session: SessionId,
    /// 0 is the ordered one.
    pub stream: u16,
    /// Counts the operations of a stream from 1.
    pub sequence: u32,
    /// The client has every reply of stream 0 up to this one.
    pub seen: u32,
    /// The vnode that it makes, if it makes one.
    pub vnode: Option<Vnode>,
    /// What the new FID carries besides.
    pub unique: u64,
    /// When it was first done.
    pub time: Timestamp,
    /// Owner of what it makes.
    pub uid: u32,
    /// Group of what it makes.
    pub gid: u32,
}

/// What a fileset holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of its blocks and inline data.
    pub bytes: u64,
    /// Objects of every kind, orphans included.
    pub files: u64,
    /// Blocks promised to its files beside those bytes.
    pub promised: u64,
}

/// Adjacent blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first.
    pub block: Block,
    /// How many.
    pub count: u16,
}

impl Run {
    /// The blocks, one by one.
    pub fn blocks(self) -> impl Iterator<Item = Block> {
        (self.block.0..self.block.0 + u64::from(self.count)).map(Block)
    }
}

/// Where a transaction takes its blocks from: the reserve, or a test's own supply.
pub trait Room {
    /// Takes `blocks` blocks for data, in as few runs as can be.
    ///
    /// # Errors
    /// `NoSpace`; [`Stop::Room`] when more must be reserved first.
    fn take(&self, blocks: u32) -> Result<Vec<Run>, Stop>;
    /// Gives back what was taken and never recorded.
    fn give_back(&self, run: Run);
}

/// A snapshot of the fileset, seen by a change that takes something of it back.
#[derive(Clone, Copy)]
pub(crate) struct Past<'a> {
    pub view: View<'a>,
    /// The fileset comes from it; else it went back from it.
    pub is_behind: bool,
}

/// How many owners a block may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// What one gives up is free.
    One,
    /// Perhaps it is not.
    Several,
}

/// A change being made.
pub struct Transaction<'a> {
    view: View<'a>,
    operation: &'a Operation,
    room: &'a dyn Room,
    began: Lsn,
    /// A snapshot of the fileset that it copies from.
    past: Option<Past<'a>>,
    /// Nobody else may take a block any more: the snapshots of the fileset say which of those that it frees are free.
    only_promised: Option<(Line, Owners)>,
    change: Change,
}

/// What a transaction comes to: the contents of one record, and the data that goes with it.
#[derive(Default)]
pub struct Change {
    /// By key: the new value, or that it is gone.
    pub items: Layer,
    /// Blocks that nothing of this fileset refers to any more.
    pub frees: Vec<Free>,
    /// After it.
    pub usage: Usage,
    /// Data that goes to its blocks in parallel with the record.
    pub writes: Vec<(Block, Bytes)>,
    /// Blocks that it took.
    pub runs: Vec<Run>,
}

impl<'a> Transaction<'a> {
    /// Nothing changed yet.
    pub fn new(view: View<'a>, operation: &'a Operation, usage: Usage, room: &'a dyn Room) -> Transaction<'a> {
        Transaction {
            view,
            operation,
            room,
            began: Lsn(0),
            past: None,
            only_promised: None,
            change: Change {
                usage,
                ..Change::default()
            },
        }
    }

    /// The same in a branch that began with the record `began`.
    #[must_use]
    pub(crate) fn since(self, began: Lsn) -> Transaction<'a> {
        let mut transaction = self;
        transaction.began = began;
        transaction
    }

    /// The same, by one who looks at a snapshot too.
    #[must_use]
    pub(crate) fn seeing(self, past: Option<Past<'a>>) -> Transaction<'a> {
        let mut transaction = self;
        transaction.past = past;
        transaction
    }

    /// The snapshot that it looks at.
    pub(crate) fn past(&self) -> Option<Past<'a>> {
        self.past
    }

    /// The version of data that had the version `old`: none that it had in another branch of the fileset, where each
    /// change was a record before this branch began.
    pub fn next_version(&self, old: u64) -> u64 {
        old.max(self.began.0).wrapping_add(1)
    }

    /// The branch of the fileset that this is a change of, as its files' promises name it.
    pub(crate) fn branch(&self) -> u32 {
        self.began.0 as u32
    }

    /// From here on it may take only what a file was promised, in a fileset with the snapshots of `line`.
    pub(crate) fn only_promised(&mut self, line: Line, owners: Owners) {
        self.only_promised = Some((line, owners));
    }

    /// Blocks that it may take, where a file was promised so many: those, and as many as it makes free.
    pub(crate) fn may_take(&self, promised: u64) -> u64 {
        let Some((line, owners)) = &self.only_promised else {
            return u64::MAX;
        };
        let is_free = |free: &&Free| *owners == Owners::One && line.fate(free.birth, Lsn(u64::MAX)) == Fate::Free;
        let frees = self.change.frees.iter().filter(is_free);
        promised + frees.map(|free| u64::from(free.count)).sum::<u64>()
    }

    /// Whose it is.
    pub fn operation(&self) -> &'a Operation {
        self.operation
    }

    /// When it was first done: a replay keeps the time.
    pub fn time(&self) -> Timestamp {
        self.operation.time
    }

    /// The value of `key`, its own puts included.
    ///
    /// # Errors
    /// A miss; damage.
    pub fn get(&self, key: Key) -> Result<Option<Bytes>, Stop> {
        match self.change.items.get(key) {
            Some(own) => Ok(own.cloned()),
            None => self.view.get(key),
        }
    }

    /// The items from `from` to `to`, both included, in order, its own puts included.
    pub fn scan(&self, from: Key, to: Key) -> Scan<'_> {
        self.view.scan_under(&self.change.items, from, to)
    }

    /// The greatest item of `key`'s object and kind that is not after `key`.
    ///
    /// # Errors
    /// A miss; damage.
    pub fn last_at_or_before(&self, key: Key) -> Result<Option<(Key, Bytes)>, Stop> {
        self.view.last_at_or_before_under(&self.change.items, key)
    }

    /// A unit of a file's data, as it was before this change.
    ///
    /// # Errors
    /// [`Stop::Data`] if it is not in memory.
    pub fn data(&self, pointer: &Pointer) -> Result<Bytes, Stop> {
        self.view.data(pointer)
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, key: Key, value: impl Into<Bytes>) {
        self.change.items.insert(key, Some(value.into()), Lsn(0));
    }

    /// Deletes `key`; no harm if it is not there.
    pub fn delete(&mut self, key: Key) {
        self.change.items.insert(key, None, Lsn(0));
    }

    /// Gives up blocks that an item referred to. A `birth` of 0 says that they are of this very change.
    pub fn free(&mut self, block: Block, count: u16, birth: Lsn) {
        self.change.frees.push(Free { block, count, birth });
    }

    /// What the fileset holds after this change.
    pub fn usage(&mut self) -> &mut Usage {
        &mut self.change.usage
    }

    /// Takes blocks for data.
    ///
    /// # Errors
    /// `NoSpace`, or that more room must be reserved first.
    pub fn allocate(&mut self, blocks: u32) -> Result<Vec<Run>, Stop> {
        let runs = self.room.take(blocks)?;
        self.change.runs.extend(&runs);
        Ok(runs)
    }

    /// Writes `bytes` to `block` and those behind it, which this change allocated: with the group, beside the record.
    pub fn write(&mut self, block: Block, bytes: impl Into<Bytes>) {
        self.change.writes.push((block, bytes.into()));
    }

    /// What it comes to. From here on the blocks it took are its taker's.
    pub fn finish(mut self) -> Change {
        std::mem::take(&mut self.change)
    }
}

impl Drop for Transaction<'_> {
    /// A transaction that does not happen keeps no blocks.
    fn drop(&mut self) {
        for run in self.change.runs.drain(..) {
            self.room.give_back(run);
        }
    }
}
