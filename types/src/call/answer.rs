//! Answers and pushes: what a client is told.

use super::{Hold, Lock};
use crate::file::{Attributes, Listed, MountPoint, Object, Usage};
use crate::{AggregateId, Epoch, FilesetId, Timestamp, Vnode};

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done, and there is no more to say.
    Done,
    /// A login goes on, or is over; the token is the payload.
    Login {
        /// Which.
        conversation: u32,
        /// The handle, when it is over.
        caller: Option<u32>,
        /// Until when, by the server's date.
        expires: Timestamp,
    },
    /// The session is taken up.
    Bound {
        /// Which.
        session: u64,
        /// Under which epoch.
        epoch: Epoch,
        /// Per stream, the last sequence that is in the log.
        streams: Vec<(u16, u32)>,
        /// The server's date.
        date: Timestamp,
        /// All up to here is durable.
        durable: u64,
    },
    /// The lifetime goes on.
    Renewed {
        /// The server's date.
        date: Timestamp,
        /// All up to here is durable.
        durable: u64,
    },
    /// The client's share of a fileset.
    Joined {
        /// What it may rely on.
        hold: Hold,
        /// Of this grant.
        serial: u64,
        /// The fileset's root directory.
        root: Object,
    },
    /// A range of vnodes.
    Vnodes {
        /// The first.
        first: Vnode,
        /// So many.
        count: u32,
    },
    /// All that was asked for is durable up to here.
    Synced {
        /// The mark.
        durable: u64,
    },
    /// What a fileset takes.
    Usage(Usage),
    /// A file.
    Object(Object),
    /// A change was accepted.
    Changed {
        /// The file after it.
        object: Object,
        /// Its place in history.
        lsn: u64,
        /// All up to here is durable.
        durable: u64,
        /// Changes of the same session that were done before it and were not durable then, by stream and sequence: the
        /// last one of each other stream. If they are said again, then in this order.
        after: Vec<(u16, u32)>,
    },
    /// Names of a directory.
    Listing {
        /// In the order of their cookies.
        names: Vec<Listed>,
        /// There are no more.
        is_end: bool,
    },
    /// Where a mount point leads.
    MountPoint(MountPoint),
    /// The payload: of a file, a symbolic link, an extended attribute, a list of names.
    Bytes,
    /// Where it is; `None`: nowhere.
    Sought(Option<u64>),
    /// The lock that is in the way; `None`: none.
    InTheWay(Option<Lock>),
}

/// What a client is told unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// Give the hold on a fileset back.
    Revoke {
        /// Where.
        fileset: FilesetId,
        /// Higher than that of every grant before it.
        serial: u64,
    },
    /// All up to here is durable.
    Durable {
        /// Of which aggregate.
        aggregate: AggregateId,
        /// The mark.
        durable: u64,
    },
    /// The server gave an aggregate up: ask the location database.
    Moved {
        /// Which.
        aggregate: AggregateId,
    },
}

impl Answer {
    /// Has the attributes of whatever files it tells of changed.
    pub fn each_attributes(&mut self, change: impl FnMut(&mut Attributes)) {
        let of_one = match self {
            Answer::Object(object) | Answer::Changed { object, .. } | Answer::Joined { root: object, .. } => object,
            Answer::Listing { names, .. } => {
                let listed = names.iter_mut().filter_map(|listed| listed.attributes.as_mut());
                return listed.for_each(change);
            }
            Answer::Done
            | Answer::Login { .. }
            | Answer::Bound { .. }
            | Answer::Renewed { .. }
            | Answer::Vnodes { .. }
            | Answer::Synced { .. }
            | Answer::Usage(_)
            | Answer::MountPoint(_)
            | Answer::Bytes
            | Answer::Sought(_)
            | Answer::InTheWay(_) => return,
        };
        std::iter::once(&mut of_one.attributes).for_each(change);
    }
}
