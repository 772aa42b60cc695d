//! `store-fence`, `store-owners`: the real fence, alone and under the whole store, against the adversary of the models in `tests/models`.
//!
//! Two servers are granted one aggregate, rightly or wrongly, over and over. Each grant is a run of its own on its
//! own thread, and the seed says at every operation of the device who goes on: so a grant is acted upon late, an
//! owner stands still in the middle of a write and wakes up outrun, a dead one's writes land when they like. One
//! root rots, one slot tears. What the servers keep is no more than a list of numbers, each in a block of its own:
//! enough to see one lost, brought back or written over. `store-owners` keeps them in a fileset of the whole store instead.
//!
//! | file | is |
//! |---|---|
//! | `fence/ledger.rs` | what a server does with an aggregate: the list, its log, its checkpoints |
//! | `fence/life.rs` | one run of a server, from its grant to its end |
//! | `fence/whole.rs` | the same with the whole store |
//! | `fence/habit.rs` | rules left out on purpose, which the oracles must find |
//! | `fence/adversary.rs` | who goes on, who dies, what rots, who is granted what |
//! | `fence/world.rs` | what was told to whom, and what must hold of it |
//!
//! Time is counted in decisions of the adversary.

mod adversary;
mod habit;
mod ledger;
mod life;
#[cfg(test)]
mod tests;
mod whole;
mod world;

use self::adversary::{Adversary, Store};
use self::habit::Habit;
use self::world::Seen;
use crate::sim::{Trace, Violation};

/// The history of `seed`, of servers that keep a list of numbers on the fence alone.
///
/// # Errors
/// What was broken in it.
pub fn history(seed: u64) -> Result<Trace, Violation> {
    history_of(seed, Habit::Sound, Store::Ledger).map(|(trace, _)| trace)
}

/// The history of `seed`, of servers with the whole store.
///
/// # Errors
/// What was broken in it.
pub fn history_of_whole(seed: u64) -> Result<Trace, Violation> {
    history_of(seed, Habit::Sound, Store::Whole).map(|(trace, _)| trace)
}

fn history_of(seed: u64, habit: Habit, store: Store) -> Result<(Trace, Seen), Violation> {
    Adversary::new(seed, habit, store).play()
}
