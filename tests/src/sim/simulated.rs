//! `Simulated`: what a core has to say about itself to be driven by a seed.
//!
//! The world of a simulation knows messages, records and delays. A core has events and actions of its own; the
//! two functions here are the whole of its adapter, as a daemon has one for sockets and disks.

use std::fmt::Debug;

use baton_types::{Core, Time};

use super::Seed;

/// What a simulated world tells a core.
#[derive(Clone, Debug)]
pub enum Input<M, R> {
    /// A life begins, with what the disk kept of the last.
    Start {
        /// Every record that survived, in the order of writing.
        records: Vec<R>,
    },
    /// A delay asked for by [`Output::WakeIn`] is over.
    Tick,
    /// A message arrived.
    Received {
        /// The node that sent it.
        from: usize,
        /// What it says.
        body: M,
    },
    /// The first `upto` records are durable. A later number may come before an earlier one: the greatest counts.
    Synced {
        /// How many.
        upto: usize,
    },
    /// A sync failed. Nothing more becomes durable in this life, and what was not may be there in the next.
    DiskFailed,
}

/// What a core asks of the simulated world.
#[derive(Clone, Debug)]
pub enum Output<M, R> {
    /// Send a message, which may be lost, late or doubled.
    Send {
        /// The node it is for.
        to: usize,
        /// What it says.
        body: M,
    },
    /// Write a record and sync it; [`Input::Synced`] follows.
    Append {
        /// What to write.
        record: R,
    },
    /// Give up the records from `count` on, which were found torn at the start.
    DropTail {
        /// How many stay.
        count: usize,
    },
    /// Tick after this time of the node's own clock.
    WakeIn(Time),
}

/// A core that the simulation can drive: how its events and actions correspond to the world's.
pub trait Simulated: Core<Event: Debug, Action: Debug> {
    /// What nodes say to one another.
    type Message: Clone + Debug;
    /// What a node keeps.
    type Record: Clone + Debug;

    /// The core's event for what the world says.
    fn event(input: Input<Self::Message, Self::Record>) -> Self::Event;

    /// What the core's action asks of the world.
    fn output(action: Self::Action) -> Output<Self::Message, Self::Record>;

    /// What a power cut in the middle of its write leaves of `record`; `None` if all or nothing.
    fn torn(_record: &Self::Record, _seed: &mut Seed) -> Option<Self::Record> {
        None
    }
}
