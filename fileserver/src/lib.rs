//! The file server: it exports aggregates to the clients of the cell.
//!
//! | module | is |
//! |---|---|
//! | `claims` | how this server becomes owner of an aggregate, and stops being that |
//! | `control` | what administrators ask of it |
//! | `daemon` | the process: registered, followed, ended |
//! | `devices` | which aggregates this machine can reach |
//! | `endings` | what ended an earlier run of it |
//! | `exports` | what it owns and serves now |
//! | `filesets` | the server's half of making, deleting and renaming them |
//! | `follow` | what it hears of the cell |
//! | `growth` | an aggregate takes in what its device has become |
//! | `scrub` | an aggregate is read to see whether it still can be |
//! | `handed` | what an owner hands to the next one |
//! | `ports` | how each disk looks through this server's own port |
//! | `pulse` | whether what every call goes through still moves on |
//! | `keepers` | who administrates it besides administrators of the cell |
//! | `guard` | the parent process: it sees the end of the server, and attests it |
//! | `work` | what it is at work on |
//! | `snapshots` | the server's half of taking and deleting snapshots |
//! | `restore` | bringing the past of a fileset back |
//! | `branches` | a fileset goes back to a snapshot, and clones begin as one was |
//! | `difference` | in what two moments of a fileset differ |
//! | `inside` | a client of this server's own service, for these three |
//! | `serve` | connections in, calls to the service, answers out |
//! | `pushes` | what clients are told unasked |
//! | `service` | every call of every client, to its answer |
//! | `driver` | of one aggregate: hands the state what happens, does what it says, brings calls to the store |
//! | `session` | a client's session: whose it is, and what it was told |
//! | `sharing` | what of others' changes must be durable before it is shown |
//! | `durable` | who waits for a place in history |
//! | `pool` | threads for what waits |
//! | `ops` | the operations on files, one by one |
//! | `right` | who may do them |
//! | `shape` | the store's values as the wire knows them |
//! | `who` | what a caller is to the files |
//! | `state` | of one aggregate's clients: the four below, behind one call |
//! | `tokens` | who may rely on what, and how that is taken back |
//! | `opens` | who holds which file open, and what waits for that |
//! | `locks` | byte ranges that programs keep others from |
//! | `grace` | what a fileset waits for after a claim |

pub mod branches;
pub mod claims;
pub mod control;
pub mod daemon;
pub mod devices;
pub mod difference;
pub mod driver;
pub mod durable;
pub mod endings;
pub mod exports;
pub mod filesets;
pub mod follow;
pub mod grace;
pub mod growth;
pub mod guard;
pub mod handed;
mod inside;
pub mod keepers;
pub mod locks;
pub mod opens;
pub mod ops;
pub mod pool;
pub mod ports;
pub mod pulse;
pub mod pushes;
pub mod restore;
pub mod right;
pub mod scrub;
pub mod serve;
pub mod service;
pub mod session;
pub mod shape;
pub mod sharing;
pub mod snapshots;
pub mod state;
#[cfg(test)]
pub(crate) mod testing;
pub mod tokens;
pub mod who;
pub mod work;
