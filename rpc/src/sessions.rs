//! `Sessions`: how a mount asks file servers, whoever they are now, and is told exactly once.
//!
//! A call names a fileset; it goes to the owner of the fileset's aggregate, and again to the next owner until it is
//! answered: hard, for ever. The thread that calls writes and reads a connection of its own and waits for 2 ms at
//! most; after that the connection and what is to be done with the answer stay with a waiter.
//!
//! Changes are kept until they are durable and said again, in order and under the same names, to whoever owns the
//! aggregate after a crash (I5, I6). An answer is believed only within the client's lifetime there (I4).
//!
//! | file | is |
//! |---|---|
//! | `session/` | what is decided, for both sides, without I/O |
//! | `wire.rs` | frames on a connection |
//! | `locate.rs` | who owns a fileset's aggregate, and where that is |
//! | `sessions/` | connections, threads, logins |

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use baton_security::ClientTls;
use baton_security::auth::Initiator;
use baton_types::call::{Answer, Hold, Lock, Newborn, Request};
use baton_types::{AggregateId, ClientId, Clock, Error, Fid, FilesetId, Kind, Result, Time, Timestamp};
use bytes::Bytes;

use crate::{FldbClient, Locator};

pub use crate::session::client::Order;

/// What is done with an answer and its payload: once, on a thread that may not be held up.
pub type Done = Box<dyn FnOnce(Result<(Answer, Bytes)>) + Send>;

/// What is done with the name of a new file.
pub type Named = Box<dyn FnOnce(Result<Newborn>) + Send>;

/// A process that asks, as the kernel says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Who {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All other groups, in order.
    pub groups: Vec<u32>,
    /// Which process: for messages and for finding its credentials. Two processes of one user share their logins.
    pub pid: u32,
}

/// How the users of this machine prove who they are.
pub trait Logins: Send + Sync {
    /// What `who` logs in with; `None`: it calls as nobody. It may not block for long.
    ///
    /// # Errors
    /// When the user has something, but it cannot be used: the call fails with it.
    fn initiator(&self, who: &Who) -> Result<Option<Arc<dyn Initiator>>>;
}

/// What a client holds in a fileset besides its hold, said again to the next owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reclaim {
    /// Files that programs have open, if the server is told of such.
    pub opens: Vec<Fid>,
    /// Locks of programs.
    pub locks: Vec<(Fid, Lock)>,
}

/// What sessions tell their mount unasked. Nothing here may wait for a call: the threads that tell are those that hear.
pub trait Events: Send + Sync {
    /// Give the hold back: use no cache from now on, say what was not said, then send `Return`. May be told twice.
    fn revoked(&self, fileset: FilesetId, serial: u64);
    /// The owner changed and takes us back: what is held in `fileset`?
    fn reclaim(&self, fileset: FilesetId) -> Reclaim;
    /// The new owner's answer to our return: what may be relied on from now on.
    fn rejoined(&self, fileset: FilesetId, hold: Hold, serial: u64);
    /// The lifetime at an aggregate ended: nothing that is known or held in these filesets counts any more. Join anew.
    fn lapsed(&self, aggregate: AggregateId, filesets: &[FilesetId]);
    /// The session at an aggregate is over: holds, opens and locks in these filesets are gone, and what was not durable.
    fn lost(&self, aggregate: AggregateId, filesets: &[FilesetId]);
    /// What the servers of these filesets said may be used until `until`, by the clock that counts suspended time.
    fn alive(&self, aggregate: AggregateId, until: Time);
}

/// What sessions are made of.
pub struct Setup {
    /// Which mount.
    pub client: ClientId,
    /// Asks the location database.
    pub fldb: FldbClient,
    /// How to dial a file server now: a machine's certificate is renewed from time to time.
    pub tls: Arc<dyn Fn() -> ClientTls + Send + Sync>,
    /// Dials from this address of the machine.
    pub source: Option<IpAddr>,
    /// Who the callers are.
    pub logins: Arc<dyn Logins>,
    /// Lifetimes and dates.
    pub clock: Arc<dyn Clock>,
    /// Where the location database is asked and watched.
    pub runtime: tokio::runtime::Handle,
}

/// A call under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// The sessions of one mount.
pub struct Sessions {
    setup: Setup,
    events: Arc<dyn Events>,
    locator: Arc<Locator>,
    calls: AtomicU64,
}

impl Sessions {
    /// Begins to follow the location database. No file server is dialled before something is asked of it.
    ///
    /// # Errors
    /// `Io` if a thread cannot be started.
    pub fn start(setup: Setup, events: Arc<dyn Events>) -> Result<Arc<Sessions>> {
        let locator = Locator::start(&setup.fldb, &setup.runtime);
        let calls = AtomicU64::new(1);
        Ok(Arc::new(Sessions {
            setup,
            events,
            locator,
            calls,
        }))
    }

    /// Where filesets, aggregates and servers are, as last heard.
    pub fn locator(&self) -> &Arc<Locator> {
        &self.locator
    }

    /// Asks `request` of the owner of its fileset, for `who`. `done` runs exactly once: on this thread if the answer
    /// came within 2 ms, else on another. Kinds that are internal never reach it.
    ///
    /// `Login`, `Bind`, `Renew`, `Unbind` and `Sync` are not asked in this way: they belong to the session.
    pub fn call(
        self: &Arc<Self>,
        who: &Arc<Who>,
        order: Order,
        request: Request,
        payload: Bytes,
        done: Done,
    ) -> CallId {
        let _ = (who, order, payload, &self.setup, &self.events);
        done(Err(Error::new(Kind::Unsupported, format!("{request:?}"))));
        CallId(self.calls.fetch_add(1, Ordering::Relaxed))
    }

    /// The same, and waits for the answer. Never on a thread that answers the kernel or one that runs a `done`.
    ///
    /// # Errors
    /// What the server refused with.
    pub fn ask(self: &Arc<Self>, who: &Arc<Who>, request: Request, payload: Bytes) -> Result<(Answer, Bytes)> {
        let (send, answer) = std::sync::mpsc::sync_channel(1);
        let done: Done = Box::new(move |result| drop(send.send(result)));
        self.call(who, Order::Free, request, payload, done);
        answer
            .recv()
            .unwrap_or_else(|_| Err(Error::new(Kind::SessionLost, "call").because("the mount is ending")))
    }

    /// Nobody waits for this call any more: its `done` is told `TimedOut`, now, if it was not told before. A change may
    /// still be done; a lock that was waited for may still be given, so its range is to be unlocked.
    pub fn cancel(&self, call: CallId) {
        let _ = call;
    }

    /// Makes everything durable that was answered in the aggregate of `fileset` before now.
    pub fn sync(self: &Arc<Self>, fileset: FilesetId, done: Done) -> CallId {
        done(Err(Error::new(Kind::Unsupported, format!("fileset {fileset}"))));
        CallId(self.calls.fetch_add(1, Ordering::Relaxed))
    }

    /// A name for a new file in `fileset`, from a range that the session owns: at once, but for the first.
    pub fn newborn(self: &Arc<Self>, fileset: FilesetId, mode: u32, named: Named) {
        let _ = mode;
        named(Err(Error::new(Kind::Unsupported, format!("fileset {fileset}"))));
    }

    /// The date at the server of `fileset`, as estimated: what changes there are dated by.
    pub fn date(&self, fileset: FilesetId) -> Timestamp {
        let _ = fileset;
        self.setup.clock.date()
    }

    /// Until when what the server of `fileset` said may be used, by the clock that counts suspended time; 0: not now.
    pub fn alive_until(&self, fileset: FilesetId) -> Time {
        let _ = fileset;
        0
    }

    /// Says everything that was not said, gives back what is held, and ends the sessions; gives up after `within`.
    pub fn stop(&self, within: Duration) {
        let _ = within;
    }
}
