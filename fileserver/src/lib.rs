//! The file server: it exports aggregates to the clients of the cell.
//!
//! | module | is |
//! |---|---|
//! | `daemon` | the process: registered, followed, ended |
//! | `exports` | what it owns and serves now |
//! | `service` | every call of every client, to its answer |
//! | `who` | what a caller is to the files |

pub mod daemon;
pub mod exports;
pub mod service;
#[cfg(test)]
pub(crate) mod testing;
pub mod who;
