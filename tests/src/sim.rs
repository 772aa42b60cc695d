//! One seed, one history: cores under a scheduler that owns time, network, disks and crashes.
//!
//! Everything that could differ between two runs is drawn from a [`Seed`]: when a message arrives, which write
//! survives a power cut, who crashes. So a number is a whole history: [`runner`] tries thousands of them, and one
//! that ends in a [`Violation`] can be looked at again as often as needed.
//!
//! [`Sim`] drives any [`Simulated`] core that sends, appends and waits. What is not of that shape (a state machine
//! under an agreed list, a real library under its own runtime) is built from the same parts: [`Agenda`],
//! [`Network`], [`Disk`], [`NodeClock`], [`Trace`]. Deliberately absent: real time, threads, sockets.

mod agenda;
pub mod arbiter;
mod clock;
mod disk;
mod driver;
pub mod entropy;
mod fault;
pub mod fldb;
pub mod fldb_state;
mod network;
mod panics;
pub mod pieces;
pub mod registry;
pub mod runner;
mod seed;
pub mod session;
mod simulated;
pub mod store;
pub mod toy;
mod trace;

pub use agenda::Agenda;
pub use clock::NodeClock;
pub use disk::Disk;
pub use driver::{Node, Sim, State};
pub use fault::{Affliction, Fault, Targets};
pub use network::Network;
pub use panics::{caught, swallowed};
pub use seed::Seed;
pub use simulated::{Input, Output, Simulated};
pub use trace::{Trace, Violation, keep_lines};
