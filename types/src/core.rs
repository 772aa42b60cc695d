//! The shape of every protocol core: a value that takes an event and returns what is to be done.
//!
//! A core knows no clock, socket, disk or thread. A driver carries its actions out: the real one in a
//! daemon, the seeded one in the simulation. That is what lets a failure be replayed from a number.

use crate::Time;

/// A protocol without I/O.
pub trait Core {
    /// Everything that can happen to it.
    type Event;
    /// Everything it can ask for.
    type Action;

    /// Takes `event` at `now`, this node's own clock, and says what is to be done, in order.
    fn step(&mut self, now: Time, event: Self::Event) -> Vec<Self::Action>;
}
