//! Sessions between parts, and the client of the location database.

pub mod config;
pub mod control;
pub mod daemon;
mod dial;
mod doubt;
pub mod fldb;
mod follow;
pub mod local;
mod locate;
pub mod renewal;
pub mod session;
pub mod sessions;
pub mod wire;

pub use dial::{Caller, Connection, Dialer, Failures, Target};
pub use fldb::{FldbClient, Identity};
pub use follow::{Follower, News};
pub use locate::{Locator, Owner};

#[cfg(test)]
mod testing;
