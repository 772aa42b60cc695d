//! A batch: the records of one group commit, and its link to the batch before.

use baton_types::{AggregateId, Epoch};

use crate::format::{Checksum, Lsn};

/// The first 128 bytes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Whose log it is.
    pub aggregate: AggregateId,
    /// The epoch that wrote it.
    pub epoch: Epoch,
    /// Its first record.
    pub first: Lsn,
    /// Records up to this one, with their data, were flushed when the batch was built.
    pub settled: Lsn,
    /// How many records follow.
    pub count: u32,
    /// Its length in whole blocks, header and padding included.
    pub bytes: u32,
    /// The checksum of the batch before.
    pub previous: Checksum,
    /// The checksum of this one, all its bytes but these.
    pub checksum: Checksum,
}
