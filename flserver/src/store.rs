//! What a member of the location database must never forget: its log, its marks, its snapshot.
//!
//! [`LogStore`] takes bytes and gives bytes and knows nothing of Raft's types. It keeps three promises: a batch
//! is there whole or not at all; what [`LogStore::commit`] returned from is there after a power cut; and what
//! cannot be proven to be what was written is an error, never an answer (I11). `suite` checks them for every
//! implementation, power cuts included.
//!
//! [`RedbStore`] is the one that daemons use, `MemoryStore` its double for simulations. Why redb lies beneath:
//!
//! | | under simulated power cuts | brings | besides |
//! |---|---|---|---|
//! | **redb 4** | loses nothing: `suite` cuts the power below it, through its own `StorageBackend` | 2 crates, pure Rust | one writer, and readers that never wait for it: what a log needs, and no threads of its own |
//! | fjall 3 | lost nothing either | 42 crates | a log-structured tree, made for many random writes, which a log never sees |
//! | sled 0.34 | lost every key that it had called flushed | | good enough for a cache, not for a vote |
//! | a file of our own | ours to prove | nothing | one sync a commit instead of two, but torn tails, reuse of space and repair would all be ours |
//!
//! Absent on purpose: grouping (the caller fills a batch), threads, and any reading of the bytes.

use std::ops::Range;

use baton_types::Result;

mod marks;
#[cfg(any(test, feature = "testing"))]
mod memory;
#[cfg(any(test, feature = "testing"))]
mod power;
mod redb;
#[cfg(any(test, feature = "testing"))]
pub mod suite;
#[cfg(test)]
mod tests;

pub use self::redb::RedbStore;
pub use marks::Marks;
#[cfg(any(test, feature = "testing"))]
pub use memory::{Contents, Lie, MemoryDisk, MemoryStore};
#[cfg(any(test, feature = "testing"))]
pub use power::{PowerDisk, PowerFile};

/// The durable half of a Raft member. One writer; readers run beside it and never wait for it.
///
/// After a failed `commit` or `save_snapshot` nobody knows what the disk holds, so the store refuses everything
/// until it is opened again. A batch that breaks the rules of [`Marks`] is refused with
/// [`Kind::Invalid`](baton_types::Kind::Invalid); it changes nothing and the store goes on.
pub trait LogStore: Send + Sync + 'static {
    /// Vote, committed and purge marks, and which indexes are present.
    ///
    /// # Errors
    /// `Damaged` if they do not verify; what reading the device can fail with.
    fn marks(&self) -> Result<Marks>;

    /// The entries present in `range`, in order and without a hole, ending before the one with which their bytes
    /// would pass `bytes_max`; the first one is given whatever its size.
    ///
    /// # Errors
    /// `Damaged` if an entry is missing or does not verify; what reading the device can fail with.
    fn entries(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<(u64, Vec<u8>)>>;

    /// All of `batch` or nothing of it; durable on return.
    ///
    /// # Errors
    /// `Invalid` if the batch would leave a hole or undo a purge; `NoSpace`, `Io`, `Damaged` from the device.
    fn commit(&self, batch: &Batch) -> Result<()>;

    /// Replaces the kept snapshot; durable on return. A commit that runs beside it does not wait for it.
    ///
    /// # Errors
    /// `NoSpace`, `Io`, `Damaged` from the device.
    fn save_snapshot(&self, snapshot: &Snapshot) -> Result<()>;

    /// The snapshot saved last, `None` if there never was one.
    ///
    /// # Errors
    /// `Damaged` if it does not verify; what reading the device can fail with.
    fn load_snapshot(&self) -> Result<Option<Snapshot>>;
}

/// One change of the store, done in the order of its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Forget this index and all after it.
    pub truncate_from: Option<u64>,
    /// Entries that go on where the log ends, one index after the other.
    pub append: Vec<(u64, Vec<u8>)>,
    /// Forget this index and all before it, and remember the bytes as the purge mark. May lie beyond the end
    /// of the log (a snapshot came from another member): the log then is empty and goes on behind it.
    pub purge_through: Option<(u64, Vec<u8>)>,
    /// The new vote.
    pub vote: Option<Vec<u8>>,
    /// The new committed mark.
    pub committed: Option<Vec<u8>>,
}

/// The state at some index: what describes it, and itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// What Raft must know of it.
    pub meta: Vec<u8>,
    /// The state machine, in its own encoding.
    pub data: Vec<u8>,
}
