//! The file server: it exports aggregates to the clients of the cell.
//!
//! | module | is |
//! |---|---|
//! | `daemon` | the process: registered, followed, ended |
//! | `devices` | which aggregates this machine can reach |
//! | `exports` | what it owns and serves now |
//! | `service` | every call of every client, to its answer |
//! | `who` | what a caller is to the files |
//! | `state` | of one aggregate's clients: the four below, behind one call |
//! | `tokens` | who may rely on what, and how that is taken back |
//! | `opens` | who holds which file open, and what waits for that |
//! | `locks` | byte ranges that programs keep others from |
//! | `grace` | what a fileset waits for after a claim |

pub mod daemon;
pub mod devices;
pub mod exports;
pub mod grace;
pub mod locks;
pub mod opens;
pub mod service;
pub mod state;
#[cfg(test)]
pub(crate) mod testing;
pub mod tokens;
pub mod who;
