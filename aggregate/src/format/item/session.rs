//! Sessions and clients: who may come back after a takeover, and what he may then use.

use baton_types::{ClientId, Timestamp, Vnode};

/// A session: one client's state at this aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionHeader {
    /// Whose it is.
    pub client: ClientId,
    /// When it began.
    pub opened: Timestamp,
}

/// A client that this aggregate knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientState {
    /// Its session.
    pub session: u64,
    /// When it was recorded, or marked.
    pub time: Timestamp,
    /// Since when its lifetime is over: a takeover need not wait for it.
    pub lapsed: Option<Timestamp>,
}

/// Vnode numbers that a session may give to what it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VnodeRange {
    /// The first.
    pub first: Vnode,
    /// How many.
    pub count: u32,
}
