//! The session protocol: the client's core and the server's, under a network that delays, doubles, reorders between
//! connections and cuts, under restarts that lose what was not flushed, zombies, and clients that stand still.
//!
//! Clients change things freely and in order, read, ask for durability and give up waiting. Servers answer changes at
//! once and flush later; a power cut keeps some of the rest. A server that stands still is replaced, wakes up, and goes
//! on as if it were owner until it looks.
//!
//! | file | is |
//! |---|---|
//! | `session/store.rs` | a server's state and its disk |
//! | `session/world.rs` | connections, and what a server does with what arrives |
//! | `session/mount.rs` | a client: its core, its program, and what the oracles hear of it |

mod mount;
mod store;
#[cfg(test)]
mod tests;
mod world;

use super::{Trace, Violation};
use world::{Habit, World};

/// One history.
///
/// # Errors
/// What an oracle found; clients that do not come to an end long after the last fault.
pub fn history(seed: u64) -> Result<Trace, Violation> {
    World::new(seed, Habit::Sound).run()
}
