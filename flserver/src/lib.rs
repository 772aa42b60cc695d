//! The location database of a cell: which fileset is where, who owns what, who is who.
//!
//! | module | is |
//! |---|---|
//! | `state` | the database: a value, changed by the entries of a log |
//! | `watch` | who is told of which change: a core without I/O |
//! | `store` | log, vote and snapshot on the disk |
//! | `arbiter` | which file servers live, and who takes over: a core without I/O |
//! | `raft` | the log, replicated; the one place that knows the Raft library |
//! | `serve` | calls of clients, servers and administrators |
//! | `daemon` | the process: files, sockets, signals |

pub mod arbiter;
pub mod daemon;
mod peers;
pub mod publish;
pub mod raft;
mod restore;
pub mod serve;
pub mod state;
pub mod store;
pub mod watch;
