//! What can happen to a client's session, and what it asks for.

use baton_types::call::{Answer, Hold, Lock, Push, Request, Role};
use baton_types::{Epoch, Error, Fid, FilesetId, Time};
use bytes::Bytes;

/// Which connection; never used again.
pub type ConnectionId = u32;

/// A call of the mount's.
pub type CallNumber = u64;

/// What can happen to it.
#[derive(Clone, Debug)]
pub enum Event {
    /// The mount asks.
    Asked(Asked),
    /// All that was answered is to be durable.
    Sync {
        /// To be told.
        call: CallNumber,
    },
    /// Nobody waits for it any more.
    Cancelled(CallNumber),
    /// Somebody waits for what was queued: it is sent now.
    Pressed,
    /// A connection that was asked for is there, to whom owns the aggregate under this epoch.
    Opened {
        /// Which.
        connection: ConnectionId,
        /// As the location database says.
        epoch: Epoch,
    },
    /// A connection is broken, or could not be had.
    Failed(ConnectionId),
    /// An answer.
    Received {
        /// On which connection.
        connection: ConnectionId,
        /// To which call.
        stream: u16,
        /// To which call.
        sequence: u32,
        /// What.
        outcome: Outcome,
    },
    /// Something told unasked.
    Pushed {
        /// On which connection.
        connection: ConnectionId,
        /// What.
        push: Push,
    },
    /// What the mount holds in a fileset: the answer to [`Action::Reclaim`].
    Holds {
        /// Where.
        fileset: FilesetId,
        /// Files open.
        opens: Vec<Fid>,
        /// Locks set.
        locks: Vec<(Fid, Lock)>,
    },
    /// The location database gives the aggregate's epoch.
    Owner(Epoch),
    /// The location database says that there is no such fileset any more.
    Gone(FilesetId),
    /// The mount is ending: give back the session once everything is said.
    Stop,
    /// Time passed.
    Tick,
}

/// A request of the mount's.
#[derive(Clone, Debug)]
pub struct Asked {
    /// To be told.
    pub call: CallNumber,
    /// For whom: a number that the driver knows.
    pub caller: u32,
    /// What.
    pub request: Request,
    /// Beside it.
    pub payload: Bytes,
    /// Where it stands among other changes.
    pub order: Order,
}

/// In which order changes are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Any: nothing else under way has to come before it.
    Free,
    /// After all changes of the same session that were asked for in this way before.
    Queued,
}

/// A refusal.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Why.
    pub error: Error,
    /// Its place in history, if it has one; else 0.
    pub lsn: u64,
}

/// An answer or a refusal.
pub type Outcome = Result<(Answer, Bytes), Box<Refusal>>;

impl From<Error> for Box<Refusal> {
    fn from(error: Error) -> Box<Refusal> {
        Box::new(Refusal { error, lsn: 0 })
    }
}

/// What it asks for.
#[derive(Clone, Debug)]
pub enum Action {
    /// Connect to the owner; [`Event::Opened`] or [`Event::Failed`] follows.
    Dial {
        /// As which.
        connection: ConnectionId,
        /// What for.
        role: Role,
    },
    /// Send a call.
    Send(Sent),
    /// The caller's handle on this connection is over: log in again before the next call.
    Forget {
        /// Where.
        connection: ConnectionId,
        /// Who.
        caller: u32,
    },
    /// Close a connection. Nothing that comes from it counts any more.
    Close(ConnectionId),
    /// A change of the ordered stream has its name: it is kept from now on, and is done after all that were taken
    /// before it.
    Taken(CallNumber),
    /// Tell the mount.
    Done {
        /// Which call.
        call: CallNumber,
        /// What came of it.
        result: Result<(Answer, Bytes), Error>,
    },
    /// Ask the location database about the aggregate, and about a fileset if a server does not know it.
    Locate(Option<FilesetId>),
    /// What does the mount hold in this fileset? [`Event::Holds`] follows.
    Reclaim(FilesetId),
    /// The mount's share of a fileset after a takeover.
    Rejoined {
        /// Where.
        fileset: FilesetId,
        /// What.
        hold: Hold,
        /// Of this grant.
        serial: u64,
    },
    /// The mount is to give a hold back.
    Revoked {
        /// Where.
        fileset: FilesetId,
        /// Of the revocation.
        serial: u64,
    },
    /// The lifetime ended: what was known and held in these filesets counts no more; the mount joins them anew.
    Lapsed(Vec<FilesetId>),
    /// The session is over; what the mount held in these filesets is gone.
    Lost(Vec<FilesetId>),
    /// A change that had been accepted was refused when it was said again, or died with its session.
    Dropped {
        /// Which.
        request: Request,
        /// Why.
        error: Error,
    },
    /// The lifetime now ends then.
    Alive(Time),
    /// The session was given back; there is nothing more to do.
    Stopped,
}

/// A call to be sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Where.
    pub connection: ConnectionId,
    /// For whom; 0 for the session itself.
    pub caller: u32,
    /// Of the header.
    pub session: u64,
    /// Of the header.
    pub stream: u16,
    /// Of the header.
    pub sequence: u32,
    /// Replies of stream 0 that were seen.
    pub seen: u32,
    /// What is asked.
    pub request: Request,
    /// Beside it.
    pub payload: Bytes,
}
