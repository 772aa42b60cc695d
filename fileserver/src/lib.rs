//! The file server: it exports aggregates to the clients of the cell.
//!
//! | module | is |
//! |---|---|
//! | `daemon` | the process: registered, followed, ended |
//! | `exports` | what it owns and serves now |

pub mod daemon;
pub mod exports;
#[cfg(test)]
pub(crate) mod testing;
