//! What must hold in every history, one file each.
//!
//! An oracle hears what happened and knows nothing of how: it can be put beside the state alone, a whole Raft
//! group or real processes. What it finds broken is a sentence; whoever asked adds the seed and the history.
//!
//! | file | holds |
//! |---|---|
//! | `agreed` | one index, one command, one state, whoever applied it |
//! | `answers_grow` | a session's later change is done at a later index |
//! | `applied_grows` | within a life, what is applied only grows |
//! | `i01_one_owner` | an aggregate's owner changes only with a greater epoch, and no epoch is granted twice |
//! | `i04_within_lifetime` | a read shows all that was acknowledged before, whoever answers it |
//! | `i05_nothing_lost` | what was durable survives; what was acknowledged is there in the end |
//! | `i06_done_once` | what was acknowledged is done, once, with the answer that was given |
//! | `i06_once_in_order` | a client's change stands in history once, in the client's order |
//! | `one_leader` | a term has one leader |
//! | `reads` | a linearizable read sees all that was acknowledged before it |
//! | `watchers` | a watcher misses nothing |

pub mod agreed;
pub mod answers_grow;
pub mod applied_grows;
pub mod i01_one_owner;
pub mod i04_within_lifetime;
pub mod i05_nothing_lost;
pub mod i06_done_once;
pub mod i06_once_in_order;
pub mod one_leader;
pub mod reads;
#[cfg(test)]
mod testing;
pub mod watchers;

/// What an oracle says: nothing, or what is broken.
pub type Verdict = Result<(), String>;
