//! What happens to the clients of an aggregate, and what is to be done.

use baton_types::call::{Coming, Hold, Lock, Patience, Push};
use baton_types::{ClientId, Error, Fid, FilesetId, Result};

use crate::tokens::{Note, RecordId, Session, Ticket};

/// Everything that can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A client asks something, and its ticket will be answered.
    Call(ClientId, Ticket, Call),
    /// A file lost its last name and stayed, or was found so.
    Orphaned(Fid),
    /// What [`Action::Remove`] asked for is done, or cannot be.
    Removed(Fid),
    /// A program does not wait for a lock any more: its call, if it still waits, is refused.
    Cancel(ClientId, Fid, Lock),
    /// A record is durable, as all before it, and a look after it passed (I3). Reported in their order.
    Recorded(RecordId),
    /// A record could not be written: one of `Hold` or `Client`.
    Unrecorded(RecordId, Error),
    /// The aggregate is about to be given up: nobody is to be alone anywhere.
    Recall,
    /// It is not given up after all.
    Relent,
    /// Time passed.
    Wake,
}

/// What a client asks that is about what it holds; an operation has its name of [`baton_types::call::Request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// It took up its session.
    Bind(Session),
    /// It lives.
    Renew,
    /// It gives up its session and all it holds.
    Unbind,
    /// It wants to take part in a fileset.
    Join(FilesetId, Coming),
    /// It has nothing more to say again there.
    Reclaimed(FilesetId),
    /// It gives a hold back, as the revocation of this serial asked it to.
    Return(FilesetId, u64),
    /// It takes part there no more.
    Leave(FilesetId),
    /// It holds a file open.
    Open(Fid),
    /// It holds a file open no more.
    Close(Fid),
    /// A program of it sets a lock or takes it away.
    Lock(Fid, Lock, Patience),
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Write this to the log, after all that was asked for before, and report it.
    Record(RecordId, Note),
    /// Tell a client, if it can be told.
    Push(ClientId, Push),
    /// Answer the call of this ticket.
    Answer(Ticket, Result<Told>),
    /// The call of this ticket need not wait any more: begin it anew.
    Resume(Ticket),
    /// Nobody holds this file without a name any more: take it apart.
    Remove(Fid),
    /// Report every file without a name in this fileset: who may hold them has said so.
    Sweep(FilesetId),
}

/// What a call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is done: all but what follows.
    Done,
    /// To [`Call::Join`]: what the client may rely on.
    Joined {
        /// Its hold.
        hold: Hold,
        /// Of this grant.
        serial: u64,
    },
    /// To [`Call::Lock`]: it was not set, this one is in the way.
    InTheWay(Lock),
}

/// Whether a call without an event of its own may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// At once.
    Now,
    /// When its ticket is named by [`Action::Resume`].
    Later,
}
