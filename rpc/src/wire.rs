//! `Wire`: frames over one connection, for threads that send a call and wait a moment for its answer.
//!
//! Nothing here blocks but [`Wire::recv`], and that no longer than it is told to. What the network does not take at
//! once is kept, and goes out with the next send or receive. A wire that failed once fails for ever.

mod beforehand;
mod dial;
mod tls;

use std::os::fd::BorrowedFd;
use std::time::Duration;

use baton_security::Channel;
use baton_types::Result;

use crate::session::frame::Frame;

pub use beforehand::Beforehand;
pub use dial::{Dial, Files};

/// One connection to a file server, on which both sides have said their first words.
pub trait Wire: Send {
    /// Sends frames, together.
    ///
    /// # Errors
    /// When the connection is broken.
    fn send(&mut self, frames: &[Frame]) -> Result<()>;

    /// The next frame; `None` if none came `within` that time.
    ///
    /// # Errors
    /// When the connection is broken.
    fn recv(&mut self, within: Duration) -> Result<Option<Frame>>;

    /// Becomes readable when something arrives.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Whether something waits for the network to take it.
    fn wants_write(&self) -> bool;

    /// What TLS proved: logins are bound to it.
    fn channel(&self) -> &Channel;
}
