//! Beats: what a file server says of itself to every member of the location database, several times a second.

use crate::{AggregateId, Epoch, Incarnation, ServerId};

/// One beat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Whose.
    pub server: ServerId,
    /// Of which run.
    pub incarnation: Incarnation,
    /// Counts up within the run: what comes late or twice is no sign of life.
    pub sequence: u64,
    /// How long ago the slowest part of it last made progress: a heart may beat on in a body that is dead.
    pub gate_micros: u64,
    /// Every aggregate that it is attached to, as its own port shows it.
    pub ports: Vec<Port>,
}

/// An aggregate, seen through one server's own port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Which.
    pub aggregate: AggregateId,
    /// The next grant must be above this: the newest epoch in its slots, or more where the ring has no free place.
    pub newest: Epoch,
    /// The count in the newest slot, which its owner writes on: the disk's own witness that the owner runs.
    pub disk_beat: u64,
    /// Whether the port is good.
    pub state: PortState,
}

/// Whether a server reaches a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// Its label and slots were read just now.
    Good,
    /// An I/O of its own does not end, or ended with an error.
    Stalled,
    /// Its label or slots cannot be read.
    Unreadable,
}
