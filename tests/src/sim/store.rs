//! The store under a seed.
//!
//! | file | is |
//! |---|---|
//! | `store/fence.rs` | who may write an aggregate: the real fence, and the adversary of the models against it |
//! | `store/history.rs` | a whole aggregate: clients, commits, checkpoints, and one owner after the other |
//! | `store/faults.rs` | what goes wrong: power cuts, failing writes, servers that stop or are outrun, rot |
//! | `store/actions.rs`, `clients.rs` | what is asked for, and asked for again |
//! | `store/snapshots.rs` | moments kept, read, deleted, and their space given back, in every third history |
//! | `store/differences.rs` | what the store says differs between them, against a comparison of all that they hold |
//! | `store/branches.rs` | filesets that go back and are cloned, in every sixth; their origins go before them and after them |
//! | `store/files.rs`, `room.rs` | files of bytes that are copied and promised room, in two of seven |
//! | `store/model.rs` | the same in memory, which the store must be equal to |
//! | `store/server.rs` | an incarnation of a server, in the middle of whose operations another one may run |

mod actions;
mod branches;
mod clients;
mod differences;
mod faults;
pub mod fence;
mod files;
mod history;
mod model;
mod room;
mod server;
mod snapshots;

pub use history::history;

#[cfg(test)]
mod tests;
