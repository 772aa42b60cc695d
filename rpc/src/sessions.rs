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

mod alarm;
#[cfg(test)]
mod double;
mod keeper;
mod line;
mod session;
#[cfg(test)]
mod tests;
mod vnodes;
mod waiter;
mod who;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use baton_security::ClientTls;
use baton_types::call::{Answer, Hold, Lock, Newborn, Request};
use baton_types::change::FilesetRef;
use baton_types::{AggregateId, ClientId, Clock, Error, Fid, FilesetId, Kind, Result, Time, Timestamp};
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::session::client::{Asked, Event};
use crate::wire::{Beforehand, Dial, Files};
use crate::{FldbClient, Locator};
use alarm::Alarm;
use session::Session;
use waiter::Waiter;
use who::Callers;

pub use crate::session::client::Order;
pub use who::{Logins, Who};

/// What is done with an answer and its payload: once, on a thread that may not be held up.
pub type Done = Box<dyn FnOnce(Result<(Answer, Bytes)>) + Send>;

/// What is done when a queued change is kept, and nothing can come before it any more: once at most, and before the
/// answer. Not done for one that is refused before that.
pub type Taken = Box<dyn FnOnce() + Send>;

/// What is done with the name of a new file.
pub type Named = Box<dyn FnOnce(Result<Newborn>) + Send>;

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
    /// A change that was accepted is lost: refused when it was said again, or gone with its session.
    fn dropped(&self, request: &Request, error: &Error);
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

/// How long a thread that asked waits for the answer itself (DESIGN §2).
const WAIT: Duration = Duration::from_millis(2);
/// Before a fileset that could not be looked up is looked up again.
const LOOK_UP_AGAIN: Duration = Duration::from_millis(500);

/// The sessions of one mount.
pub struct Sessions {
    setup: Setup,
    events: Arc<dyn Events>,
    locator: Arc<Locator>,
    dial: Arc<Beforehand>,
    alarm: Arc<Alarm>,
    waiter: Arc<Waiter>,
    pushes: Arc<Waiter>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    made: AtomicU64,
    sessions: Mutex<BTreeMap<AggregateId, Arc<Session>>>,
    pending: Mutex<HashMap<u64, Pending>>,
    callers: Mutex<Callers>,
    stopping: Mutex<BTreeSet<AggregateId>>,
    stopped: Condvar,
    own: Weak<Sessions>,
}

/// A call whose `done` was not told.
struct Pending {
    done: Done,
    taken: Option<Taken>,
    aggregate: Option<AggregateId>,
}

/// A call on its way to its session.
struct Routed {
    call: u64,
    who: u32,
    order: Order,
    request: Request,
    payload: Bytes,
}

impl Sessions {
    /// Begins to follow the location database. No file server is dialled before something is asked of it.
    ///
    /// # Errors
    /// `Io` if a thread cannot be started.
    pub fn start(setup: Setup, events: Arc<dyn Events>) -> Result<Arc<Sessions>> {
        let dial = Box::new(Files {
            client: setup.client,
            tls: setup.tls.clone(),
            source: setup.source,
            pool: Arc::default(),
        });
        Sessions::start_with(setup, events, dial)
    }

    fn start_with(setup: Setup, events: Arc<dyn Events>, dial: Box<dyn Dial>) -> Result<Arc<Sessions>> {
        let locator = Locator::start(&setup.fldb, &setup.runtime);
        let alarm = Arc::new(Alarm::default());
        let (waiter, waiting) = Waiter::start("calls")?;
        let (pushes, pushed) = Waiter::start("pushes")?;
        let bell = alarm.clone();
        locator.on_news(Box::new(move || bell.ring()));
        let sessions = Arc::new_cyclic(|own| Sessions {
            setup,
            events,
            locator,
            dial: Arc::new(Beforehand::new(dial)),
            alarm: alarm.clone(),
            waiter,
            pushes,
            threads: Mutex::new(vec![waiting, pushed]),
            made: AtomicU64::new(0),
            sessions: Mutex::default(),
            pending: Mutex::default(),
            callers: Mutex::default(),
            stopping: Mutex::default(),
            stopped: Condvar::new(),
            own: own.clone(),
        });
        let own = Arc::downgrade(&sessions);
        let keeper = std::thread::Builder::new().name("sessions".to_owned());
        let keeper = keeper
            .spawn(move || keeper::keep(&own, &alarm))
            .map_err(|e| Error::io("thread", e))?;
        sessions.threads.lock().push(keeper);
        let own = Arc::downgrade(&sessions);
        // Not among those that are waited for at the end: it may be dialling somebody who does not answer.
        let dialler = std::thread::Builder::new().name("standbys".to_owned());
        dialler
            .spawn(move || keeper::keep_standbys(&own))
            .map_err(|e| Error::io("thread", e))?;
        Ok(sessions)
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
        let asking = (self.callers.lock().number(who), order);
        self.ask_for(asking, (request, payload), None, done)
    }

    /// Asks for a change after all those that were queued before. `taken` hears when it is one of those that are kept
    /// until they are durable; the thread that asks does not wait for the answer.
    pub fn queue(
        self: &Arc<Self>,
        who: &Arc<Who>,
        request: Request,
        payload: Bytes,
        taken: Taken,
        done: Done,
    ) -> CallId {
        let asking = (self.callers.lock().number(who), Order::Queued);
        self.ask_for(asking, (request, payload), Some(taken), done)
    }

    fn ask_for(
        self: &Arc<Self>,
        (who, order): (u32, Order),
        (request, payload): (Request, Bytes),
        taken: Option<Taken>,
        done: Done,
    ) -> CallId {
        let call = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let aggregate = None;
        let pending = Pending { done, taken, aggregate };
        self.pending.lock().insert(call, pending);
        self.route(Routed {
            call,
            who,
            order,
            request,
            payload,
        });
        CallId(call)
    }

    /// Takes a call to its session, however long it takes to find that.
    fn route(self: &Arc<Self>, routed: Routed) {
        let Some(fileset) = routed.request.fileset() else {
            let error = Error::new(Kind::Invalid, "call").because("it is about no fileset");
            self.done(routed.call, Err(error));
            return;
        };
        if let Some(aggregate) = self.locator.aggregate_of(fileset) {
            self.hand_in(aggregate, routed);
            return;
        }
        let weak = self.own.clone();
        self.locator.look_up_then(FilesetRef::Id(fileset.live()), move |found| {
            waiter::must_not_wait();
            let Some(sessions) = weak.upgrade() else { return };
            match (found, sessions.locator.aggregate_of(fileset)) {
                (Ok(_), Some(aggregate)) => sessions.hand_in(aggregate, routed),
                (Ok(_), None) => {
                    let error = Error::new(Kind::NotFound, format!("fileset {fileset}"));
                    sessions.done(routed.call, Err(error.because("this version of it is nowhere")));
                }
                (Err(error), _) if error.kind == Kind::NotFound => sessions.done(routed.call, Err(error)),
                (Err(error), _) => {
                    tracing::debug!(%error, %fileset, "not found yet");
                    let weak = weak.clone();
                    sessions.setup.runtime.spawn(async move {
                        tokio::time::sleep(LOOK_UP_AGAIN).await;
                        if let Some(sessions) = weak.upgrade() {
                            sessions.route(routed);
                        }
                    });
                }
            }
        });
    }

    fn hand_in(self: &Arc<Self>, aggregate: AggregateId, routed: Routed) {
        match self.pending.lock().get_mut(&routed.call) {
            Some(pending) => pending.aggregate = Some(aggregate),
            None => return, // cancelled
        }
        self.session(aggregate).step(Event::Asked(Asked {
            call: routed.call,
            caller: routed.who,
            request: routed.request,
            payload: routed.payload,
            order: routed.order,
        }));
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
    /// still be done. One that waits for a lock is ended by the server: `done` hears from it whether the lock was given.
    pub fn cancel(self: &Arc<Self>, CallId(call): CallId) {
        let aggregate = match self.pending.lock().get(&call) {
            Some(pending) => pending.aggregate,
            None => return,
        };
        match aggregate {
            Some(aggregate) => self.session(aggregate).step(Event::Cancelled(call)),
            None => {
                let error = Error::new(Kind::TimedOut, "call").because("nobody waits for it any more");
                self.done(call, Err(error));
            }
        }
    }

    /// Makes everything durable that was answered in the aggregate of `fileset` before now.
    pub fn sync(self: &Arc<Self>, fileset: FilesetId, done: Done) -> CallId {
        let call = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let aggregate = self.locator.aggregate_of(fileset);
        match aggregate.and_then(|aggregate| self.sessions.lock().get(&aggregate).cloned()) {
            Some(session) => {
                let taken = None;
                self.pending.lock().insert(call, Pending { done, taken, aggregate });
                session.step(Event::Sync { call });
            }
            // Nothing was ever asked there.
            None => done(Ok((Answer::Synced { durable: 0 }, Bytes::new()))),
        }
        CallId(call)
    }

    /// Somebody waits for what was queued in the aggregate of `fileset`: it is sent now.
    pub fn press(&self, fileset: FilesetId) {
        if let Some(session) = self.known(fileset) {
            session.step(Event::Pressed);
        }
    }

    /// A name for a new file in `fileset`, from a range that the session owns: at once, but for the first.
    pub fn newborn(self: &Arc<Self>, fileset: FilesetId, mode: u32, named: Named) {
        let Some(aggregate) = self.locator.aggregate_of(fileset) else {
            let error = Error::new(Kind::NotFound, format!("fileset {fileset}"));
            named(Err(error.because("the location database has not told of it")));
            return;
        };
        let session = self.session(aggregate);
        if !session.vnodes.take(fileset, mode, named) {
            return;
        }
        let given: Done = Box::new(move |result| match result {
            Ok((Answer::Vnodes { first, count }, _)) => session.vnodes.put(fileset, first, count),
            Ok(_) => {
                let error = Error::new(Kind::Io, format!("fileset {fileset}"));
                session
                    .vnodes
                    .refused(fileset, &error.because("asked for vnodes, it answered something else"));
            }
            Err(error) => session.vnodes.refused(fileset, &error),
        });
        let request = (Request::Vnodes { fileset }, Bytes::new());
        self.ask_for((0, Order::Free), request, None, given);
    }

    /// The date at the server of `fileset`, as estimated: what changes there are dated by.
    pub fn date(&self, fileset: FilesetId) -> Timestamp {
        let now = self.setup.clock.now();
        let known = self.known(fileset).and_then(|session| session.date(now));
        known.unwrap_or_else(|| self.setup.clock.date())
    }

    /// `uid` has logged in or out on this machine: what he asks from now on, he asks as who he is now, on connections
    /// that are open already too. To be called after [`Logins`] knows.
    pub fn log_out(&self, uid: u32) {
        let sessions: Vec<Arc<Session>> = self.sessions.lock().values().cloned().collect();
        sessions.iter().for_each(|session| session.log_out(self, uid));
    }

    /// Until when what the server of `fileset` said may be used, by the clock that counts suspended time; 0: not now.
    pub fn alive_until(&self, fileset: FilesetId) -> Time {
        self.known(fileset).map_or(0, |session| session.alive_until())
    }

    /// Says everything that was not said, gives back what is held, and ends the sessions; gives up after `within`.
    /// True if all of it was done.
    pub fn stop(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let sessions: Vec<Arc<Session>> = self.sessions.lock().values().cloned().collect();
        self.stopping
            .lock()
            .extend(sessions.iter().map(|session| session.aggregate));
        sessions.iter().for_each(|session| session.step(Event::Stop));
        let mut stopping = self.stopping.lock();
        while !stopping.is_empty() {
            if self.stopped.wait_until(&mut stopping, deadline).timed_out() {
                return false;
            }
        }
        true
    }

    fn stopped(&self, aggregate: AggregateId) {
        self.stopping.lock().remove(&aggregate);
        self.stopped.notify_all();
    }

    fn taken(&self, call: u64) {
        let taken = self
            .pending
            .lock()
            .get_mut(&call)
            .and_then(|pending| pending.taken.take());
        if let Some(taken) = taken {
            taken();
        }
    }

    fn done(&self, call: u64, result: Result<(Answer, Bytes)>) {
        let pending = self.pending.lock().remove(&call);
        if let Some(pending) = pending {
            (pending.done)(result);
        }
    }

    fn session(&self, aggregate: AggregateId) -> Arc<Session> {
        let mut sessions = self.sessions.lock();
        let made = || Session::new(aggregate, self.own.clone());
        sessions.entry(aggregate).or_insert_with(made).clone()
    }

    fn known(&self, fileset: FilesetId) -> Option<Arc<Session>> {
        let aggregate = self.locator.aggregate_of(fileset)?;
        self.sessions.lock().get(&aggregate).cloned()
    }

    fn who(&self, number: u32) -> Arc<Who> {
        self.callers.lock().who(number)
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.alarm.end();
        self.waiter.stop();
        self.pushes.stop();
        let own = std::thread::current().id();
        for thread in self.threads.get_mut().drain(..) {
            // The last who held this may be one of them.
            if thread.thread().id() != own && thread.join().is_err() {
                tracing::error!("a thread of the sessions had ended by a panic");
            }
        }
    }
}
