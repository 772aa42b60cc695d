//! The session protocol: one client's state at one aggregate, for both sides, without I/O.
//!
//! | file | is |
//! |---|---|
//! | `frame` | what goes over a connection, and how it is put together from bytes |
//! | `client` | the client's side: a core, driven by [`crate::sessions`] and by the simulation |
//! | `server` | the server's side: what may come on a connection, which changes run |

pub mod client;
pub mod frame;
pub mod server;
