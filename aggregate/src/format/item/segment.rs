//! What the space tree says of a segment, and a list of pending frees of its blocks.

use baton_types::Epoch;

use crate::format::{Bitmap, Lsn, SegmentClass};

/// A segment, as the space tree knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentState {
    /// How it stands.
    pub phase: SegmentPhase,
    /// What it is used for; `None` while free.
    pub class: Option<SegmentClass>,
    /// The epoch that reserved it last.
    pub epoch: Epoch,
    /// Blocks in use.
    pub bitmap: Bitmap,
}

/// How a segment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SegmentPhase {
    /// Nothing is in it.
    Free = 0,
    /// Some epoch's reserve: the bitmap that counts is in a root.
    Open = 1,
    /// Written, and left to itself.
    Closed = 2,
    /// Part of the log.
    Log = 3,
    /// An older epoch may still write to it.
    Quarantined = 4,
}

/// A pending free; the key says the first block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// How many blocks.
    pub count: u16,
    /// The record that made them.
    pub birth: Lsn,
}
