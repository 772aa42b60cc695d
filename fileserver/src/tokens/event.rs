//! What happens to tokens, and what is to be done.

use baton_types::call::Hold;
use baton_types::{ClientId, Error, FilesetId};

use super::records::{Note, RecordId};

/// Names a call that waits for its answer; the driver draws it and never uses it twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Which session a client comes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// One that began just now: whatever the client held before, it does not know of.
    New,
    /// One of before, which the log knows.
    Kept,
}

/// Everything that can happen to tokens.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A client took up its session.
    Bound(ClientId, Session, Ticket),
    /// A renewal arrived.
    Renewed(ClientId, Ticket),
    /// A client wants to take part in a fileset, or to know whether it is alone there now.
    Join(ClientId, FilesetId, Ticket),
    /// A client gives a hold back, as the revocation of this serial asked it to.
    Return(ClientId, FilesetId, u64),
    /// A client takes part in a fileset no more.
    Leave(ClientId, FilesetId, Ticket),
    /// A silent client's hold is of no use to anybody.
    Drop(ClientId, FilesetId),
    /// A client is at an end: it said so and wants an answer, or somebody needs what it holds and it is silent.
    End(ClientId, Option<Ticket>),
    /// A record is durable, as all before it, and a look after it passed (I3).
    Recorded(RecordId),
    /// A record could not be written.
    Unrecorded(RecordId, Error),
    /// Whoever is alone is to give that back, and nobody is alone from now on.
    Recall,
    /// Who is by himself may be alone again.
    Relent,
    /// Time passed.
    Wake,
}

/// What the driver, or the state around this core, is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Write this to the log, after all that was asked for before, and report it.
    Record(RecordId, Note),
    /// Tell a client to give a hold back, and to name this serial then.
    Revoke(ClientId, FilesetId, u64),
    /// Answer a call: done.
    Done(Ticket),
    /// Answer a call to join: what the client may rely on, by a grant of this serial.
    Joined(Ticket, Hold, u64),
    /// Answer a call: no.
    Refused(Ticket, Error),
    /// A client was not heard of for too long. It keeps what it has until somebody needs it.
    Lapsed(ClientId),
    /// The log knows that a client has no hold on a fileset any more: what else it had there is free.
    Left(ClientId, FilesetId),
}
