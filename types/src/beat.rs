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
    /// Machines with clients that it serves.
    pub clients: u32,
    /// Every server that is attached to an aggregate of its own, as it answers this one.
    pub buddies: Vec<Buddy>,
}

/// A server, seen from another one that can take over from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buddy {
    /// Who was asked.
    pub server: ServerId,
    /// What came of it, at whichever of its addresses answers best.
    pub found: Found,
    /// The sign of life in its last answer.
    pub sign: Option<Sign>,
}

/// How a server answers when it is asked whether it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    /// Not at all.
    Silent,
    /// Its host says that nobody listens.
    Refused,
    /// So late that it is of no use.
    Slow,
    /// In time.
    Answers,
}

/// What a server says of itself to whoever asks: as much of its newest beat as shows that it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// Which run of it.
    pub incarnation: Incarnation,
    /// Of the beat.
    pub sequence: u64,
    /// How long ago the slowest part of it last made progress.
    pub gate_micros: u64,
}

/// What a client says of a file server. It is suspicion and no more: nobody is dead because clients say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Of whom.
    pub server: ServerId,
    /// It answered just now; else it should have and did not.
    pub is_good: bool,
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
