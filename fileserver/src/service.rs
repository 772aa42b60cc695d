//! The service: every call of every client, to its answer.
//!
//! A call never holds up who brings it. What the store has in memory is answered in place; what would wait goes to
//! the store's threads, or is parked until it may go on, and its [`Reply`] runs there.

use std::sync::Arc;

use baton_security::auth::Identity;
use baton_types::call::{Answer, Request};
use baton_types::{AggregateId, ClientId, Epoch, Error, Kind, PrincipalName};
use bytes::Bytes;

use crate::exports::Exports;
use crate::who::{Cred, Registry};

/// One call, decoded and known to be somebody's.
pub struct Call {
    /// Which mount asks, as its Hello said.
    pub client: ClientId,
    /// The machine at the other end, if TLS proved one.
    pub host: Option<PrincipalName>,
    /// For whom.
    pub who: Arc<Cred>,
    /// What the last `Bind` on its connection named and was granted: a connection serves one aggregate under one
    /// epoch. Sessions are numbered within it; a fileset elsewhere, or another epoch, is refused. Only `Bind` has none.
    pub bound: Option<Bound>,
    /// From the header; 0 in the Bind that asks for a new one.
    pub session: u64,
    /// From the header.
    pub stream: u16,
    /// From the header; 0 for what changes nothing.
    pub sequence: u32,
    /// Replies of stream 0 that the client has.
    pub seen: u32,
    /// What it asks.
    pub request: Request,
    /// What travels beside it.
    pub payload: Bytes,
}

/// What a connection is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Which aggregate.
    pub aggregate: AggregateId,
    /// The epoch that the answer to `Bind` gave.
    pub epoch: Epoch,
}

/// A call that was refused.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Why.
    pub error: Error,
    /// Its place in history if it has one: a change that was refused is refused again. Else 0.
    pub lsn: u64,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused { error, lsn: 0 }
    }
}

/// What became of a call: the answer and its payload.
pub type Outcome = Result<(Answer, Bytes), Refused>;

/// Takes the outcome to the one who asked. It runs once, on any thread, and must not wait; dropped, it says nothing.
pub type Reply = Box<dyn FnOnce(Outcome) + Send>;

/// The file service of this server.
pub struct Service {
    exports: Arc<Exports>,
    registry: Arc<Registry>,
}

impl Service {
    /// Serves `exports` to those whom `registry` knows.
    pub fn new(exports: Arc<Exports>, registry: Arc<Registry>) -> Service {
        Service { exports, registry }
    }

    /// What somebody who logged in is to the files; `None` is one who did not.
    pub fn who(&self, identity: Option<&Identity>) -> Arc<Cred> {
        Arc::new(self.registry.cred(identity))
    }

    /// Sees to `call`; `reply` hears of it, here or later.
    pub fn call(&self, call: Call, reply: Reply) {
        let found = match call.request.fileset() {
            Some(fileset) => self.exports.find(fileset).map(drop),
            None => Ok(()),
        };
        let unsupported = || Error::new(Kind::Unsupported, "call").because("this version serves no files yet");
        reply(Err(found.err().unwrap_or_else(unsupported).into()));
    }

    /// The last connection of `client` is closed. Nothing of it is lost: it may come back while its lifetime lasts.
    pub fn gone(&self, client: ClientId) {
        tracing::debug!(%client, "no connection any more");
    }
}
