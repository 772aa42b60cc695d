//! The client's side of a session: a core. It decides what is sent, on which connection, and what is believed.
//!
//! | state | it waits for | then |
//! |---|---|---|
//! | unbound | a connection, then the answer to `Bind` | the same epoch as before: bound; a greater one: recovering |
//! | recovering | returns, opens, locks; then its undurable changes, one after the other; then `Reclaimed` | bound |
//! | bound | nothing | it sends what is asked, and `Renew` every two seconds |
//! | broken (= unbound, with something to say) | the next try, half a second later at most | unbound |
//!
//! - A connection belongs to one epoch: that of the answer to its `Bind`. With a greater one all others are closed.
//! - Answers count only within the lifetime, which counts from when the last answered `Renew` or `Bind` was sent (I4).
//!   When it ends, all connections are closed and what was asked on them is asked again, under the same names.
//! - A change that was answered is kept until it is durable. Marks count for the epoch they were told under.
//! - A change that was not answered keeps its name (stream, sequence) until it is: the server answers it once (I6).
//! - To a new owner changes are said again in the order of their places with the old one; one that was not answered
//!   comes before those that are known to have come after it, or at the end.
//! - What has no name and must not be done late (opens, locks, holds) is asked again on a new *round* of connections:
//!   the server does nothing more that comes on those of earlier rounds.
//!
//! Deliberately absent: sockets, threads, logins, where servers are. [`crate::sessions`] has those.

mod calls;
mod event;
mod kept;
mod recovery;
mod streams;

use std::collections::{BTreeMap, BTreeSet};

use baton_types::call::{Push, Request, Role};
use baton_types::limits::CLIENT_RENEW_MICROS;
use baton_types::{AggregateId, Core, Epoch, Error, FilesetId, Kind, Time, Timestamp};

use calls::{Held, Ongoing, Queue};
use kept::Undurable;
use recovery::Recovery;
use streams::Streams;

pub use event::{Action, Asked, CallNumber, ConnectionId, Event, Order, Outcome, Refusal, Sent};

/// The first pause before a server is tried again; it doubles up to the last.
const RETRY_MIN_MICROS: Time = 10_000;
/// The longest: programs wait meanwhile.
const RETRY_MAX_MICROS: Time = 500_000;
/// Before a call is sent again to a server that says that it is not ready for it.
const AGAIN_MICROS: Time = 50_000;
/// Connections for calls: beyond the threads that answer a kernel on a large machine they only cost.
const CALL_CONNECTIONS_MAX: usize = 8;
/// Bytes of changes that were sent and not answered, above which nothing more of the ordered stream is sent: a server
/// reads no further from a connection whose calls take about as much.
const QUEUED_BYTES_MAX: usize = 8 << 20;
/// Bytes of the ordered stream that are sent though something of it is under way: less waits for that, and is sent in
/// one go with all that comes meanwhile.
const GATHERED_BYTES_MAX: usize = 64 << 10;
/// Logins that one call may ask for: a handle may end between login and call, but not thrice.
const LOGINS_MAX: u32 = 3;

/// One session: a mount at an aggregate.
pub struct Client {
    aggregate: AggregateId,
    /// The greatest that a `Bind` was answered with.
    epoch: Epoch,
    /// The greatest that the location database told.
    told: Epoch,
    /// 0: none yet.
    session: u64,
    state: State,
    connections: BTreeMap<ConnectionId, Connection>,
    connections_made: ConnectionId,
    /// Of connections: those of before were all given up.
    round: u32,
    streams: Streams,
    ongoing: BTreeMap<u64, Ongoing>,
    ongoing_made: u64,
    /// Those that are not under way.
    waiting: BTreeSet<u64>,
    /// Changes whose connection broke before they were answered, until they are.
    cut_off: BTreeSet<u64>,
    /// Those that wait for their time.
    delayed: BTreeSet<(Time, u64)>,
    /// By connection, stream and sequence.
    routes: BTreeMap<(ConnectionId, u16, u32), u64>,
    /// By the mount's number.
    numbers: BTreeMap<CallNumber, u64>,
    undurable: Undurable,
    /// Of changes that have a name and no answer.
    named_bytes: usize,
    joined: BTreeSet<FilesetId>,
    /// The owner is a new one, and was not told yet what is held and what was not durable.
    must_return: bool,
    alive_until: Time,
    renewed_at: Time,
    date: Option<(Time, Timestamp)>,
    retry_at: Time,
    retry_after: Time,
    push_retry_at: Time,
    heard_at: Time,
    is_stopping: bool,
}

enum State {
    Unbound,
    Recovering(Box<Recovery>),
    Bound,
}

struct Connection {
    role: Role,
    stage: Stage,
    /// As the location database said; then as the answer to `Bind` did.
    epoch: Epoch,
    /// Calls under way.
    busy: usize,
    /// The last number given to a call that is no change.
    tag: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Dialled,
    Binding,
    Ready,
}

impl Client {
    /// No session yet at `aggregate`.
    pub fn new(aggregate: AggregateId) -> Client {
        Client {
            aggregate,
            epoch: Epoch::NONE,
            told: Epoch::NONE,
            session: 0,
            state: State::Unbound,
            connections: BTreeMap::new(),
            connections_made: 0,
            round: 0,
            streams: Streams::default(),
            ongoing: BTreeMap::new(),
            ongoing_made: 0,
            waiting: BTreeSet::new(),
            cut_off: BTreeSet::new(),
            delayed: BTreeSet::new(),
            routes: BTreeMap::new(),
            numbers: BTreeMap::new(),
            undurable: Undurable::default(),
            named_bytes: 0,
            joined: BTreeSet::new(),
            must_return: false,
            alive_until: 0,
            renewed_at: 0,
            date: None,
            retry_at: 0,
            retry_after: RETRY_MIN_MICROS,
            push_retry_at: 0,
            heard_at: 0,
            is_stopping: false,
        }
    }

    /// Until when answers may be used; 0: they may not.
    pub fn alive_until(&self) -> Time {
        self.alive_until
    }

    /// The server's date when the clock shows `now`, if it said one.
    pub fn date(&self, now: Time) -> Option<Timestamp> {
        let (at, date) = self.date?;
        let passed = i64::try_from(now.saturating_sub(at)).unwrap_or(i64::MAX);
        Some(Timestamp(date.0.saturating_add(passed.saturating_mul(1_000))))
    }

    /// The request that an answer with this name would answer.
    pub fn asked(&self, connection: ConnectionId, stream: u16, sequence: u32) -> Option<&Request> {
        let id = self.routes.get(&(connection, stream, sequence))?;
        Some(&self.ongoing.get(id)?.request)
    }

    /// Since when a server that is wanted has said nothing.
    pub fn silent_since(&self) -> Option<Time> {
        let oldest = self.ongoing.values().map(|ongoing| ongoing.since).min();
        let since = if self.joined.is_empty() {
            oldest
        } else {
            Some(self.heard_at)
        };
        since.map(|since| since.max(self.heard_at))
    }

    /// When it wants to be told that time passed.
    pub fn wake_at(&self) -> Time {
        if self.is_quiet() {
            return Time::MAX;
        }
        let delayed = self.delayed.first().map_or(Time::MAX, |(at, _)| *at);
        let end = match self.alive_until {
            0 => Time::MAX,
            end => end,
        };
        let renew = end.min(self.renewed_at.saturating_add(CLIENT_RENEW_MICROS));
        let next = match self.state {
            State::Unbound if !self.has_calls() => self.retry_at.min(end),
            State::Unbound => end,
            State::Recovering(_) | State::Bound if self.push().is_none() => renew.min(self.push_retry_at),
            State::Recovering(_) | State::Bound => renew,
        };
        next.min(delayed)
    }

    /// Nothing is asked of the server, and nothing is held there.
    fn is_quiet(&self) -> bool {
        self.session == 0 && self.ongoing.is_empty() && self.joined.is_empty()
    }

    fn is_alive(&self, now: Time) -> bool {
        now < self.alive_until
    }

    fn has_calls(&self) -> bool {
        self.connections.values().any(|c| c.role == Role::Call)
    }

    fn push(&self) -> Option<ConnectionId> {
        let mut push = self.connections.iter().filter(|(_, c)| c.role == Role::Push);
        push.next().map(|(id, _)| *id)
    }

    /// Connects, unless it is too soon or there is nothing to say.
    fn connect(&mut self, now: Time, actions: &mut Vec<Action>) {
        if self.is_quiet() {
            return;
        }
        match self.state {
            State::Unbound => {
                if !self.has_calls() && now >= self.retry_at {
                    self.dial(Role::Call, actions);
                }
            }
            State::Recovering(_) | State::Bound => {
                if self.push().is_none() && now >= self.push_retry_at {
                    self.dial(Role::Push, actions);
                }
            }
        }
    }

    fn dial(&mut self, role: Role, actions: &mut Vec<Action>) {
        self.connections_made += 1;
        let connection = self.connections_made;
        let made = Connection {
            role,
            stage: Stage::Dialled,
            epoch: Epoch::NONE,
            busy: 0,
            tag: 0,
        };
        self.connections.insert(connection, made);
        actions.push(Action::Dial { connection, role });
    }

    fn opened(&mut self, now: Time, connection: ConnectionId, epoch: Epoch, actions: &mut Vec<Action>) {
        let Some(opened) = self.connections.get_mut(&connection) else {
            actions.push(Action::Close(connection));
            return;
        };
        (opened.stage, opened.epoch) = (Stage::Binding, epoch);
        self.heard_at = now;
        let bind = Request::Bind {
            aggregate: self.aggregate,
            epoch,
            round: self.round,
        };
        self.send_own(now, connection, bind, actions);
    }

    /// A connection is no more: what was under way on it waits for another. If that must not be done late, all others are
    /// given up, too, so that the server knows by the next one that it is not to do it.
    fn failed(&mut self, now: Time, connection: ConnectionId, actions: &mut Vec<Action>) {
        let Some(failed) = self.connections.remove(&connection) else {
            return;
        };
        let must_not_be_late = self.take_back(connection) == Held::Yes;
        actions.push(Action::Locate(None));
        if failed.role == Role::Push {
            self.push_retry_at = now + RETRY_MAX_MICROS;
        }
        let was_returning = matches!(&self.state, State::Recovering(recovery) if recovery.connection == connection);
        if was_returning || must_not_be_late || !self.has_calls() {
            self.unbind(now, actions);
        }
        self.flush(now, actions);
    }

    /// Closes everything and begins again, a little later than the last time.
    fn unbind(&mut self, now: Time, actions: &mut Vec<Action>) {
        for connection in std::mem::take(&mut self.connections).into_keys() {
            self.take_back(connection);
            actions.push(Action::Close(connection));
        }
        if let State::Recovering(recovery) = std::mem::replace(&mut self.state, State::Unbound) {
            self.undurable.again(recovery.replaying);
        }
        self.round += 1;
        self.retry_at = now + self.retry_after;
        self.retry_after = (2 * self.retry_after).min(RETRY_MAX_MICROS);
    }

    /// The server refuses under the epoch of this connection: somebody else is owner, or nobody.
    fn moved(&mut self, now: Time, actions: &mut Vec<Action>) {
        actions.push(Action::Locate(None));
        self.unbind(now, actions);
    }

    /// Says that the client lives, on a connection that does not owe an answer to that already.
    fn renew(&mut self, now: Time, actions: &mut Vec<Action>) {
        self.renewed_at = now;
        let renewing = self
            .ongoing
            .values()
            .filter(|ongoing| ongoing.request == Request::Renew);
        let owing: BTreeSet<ConnectionId> = renewing.filter_map(|renew| Some(renew.route?.0)).collect();
        let free = self.ready().filter(|(id, _)| !owing.contains(id));
        let least = free.min_by_key(|(_, connection)| connection.busy).map(|(id, _)| id);
        if let Some(connection) = least {
            self.send_own(now, connection, Request::Renew, actions);
        }
    }

    /// Connections that calls may be sent on.
    fn ready(&self) -> impl Iterator<Item = (ConnectionId, &Connection)> {
        let is_ready = |c: &Connection| c.role == Role::Call && c.stage == Stage::Ready;
        let all = self.connections.iter();
        all.filter(move |(_, connection)| is_ready(connection))
            .map(|(id, connection)| (*id, connection))
    }

    /// The one with the least to do.
    fn best(&self) -> Option<ConnectionId> {
        self.ready()
            .min_by_key(|(_, connection)| connection.busy)
            .map(|(id, _)| id)
    }

    fn pushed(&mut self, now: Time, connection: ConnectionId, push: Push, actions: &mut Vec<Action>) {
        let is_ready = |c: &Connection| c.stage == Stage::Ready;
        if !self.connections.get(&connection).is_some_and(is_ready) {
            return;
        }
        self.heard_at = now;
        match push {
            Push::Revoke { fileset, serial } => actions.push(Action::Revoked { fileset, serial }),
            Push::Durable { aggregate, durable } if aggregate == self.aggregate => {
                self.undurable.mark(durable);
                self.flush(now, actions);
            }
            Push::Moved { aggregate } if aggregate == self.aggregate => self.moved(now, actions),
            Push::Durable { .. } | Push::Moved { .. } => {}
        }
    }

    fn tick(&mut self, now: Time, actions: &mut Vec<Action>) {
        while let Some((at, id)) = self.delayed.first().copied()
            && at <= now
        {
            self.delayed.remove(&(at, id));
            if self.ongoing.get(&id).is_some_and(|ongoing| ongoing.route.is_none()) {
                self.waiting.insert(id);
            }
        }
        self.connect(now, actions);
        if self.session != 0 && now >= self.renewed_at.saturating_add(CLIENT_RENEW_MICROS) {
            self.renew(now, actions);
        }
        self.flush(now, actions);
        self.go_on(now, actions);
    }

    /// The lifetime is over: whatever is on its way may be from before that, and is dropped with its connection.
    fn lapse(&mut self, now: Time, actions: &mut Vec<Action>) {
        self.alive_until = 0;
        self.unbind(now, actions);
        self.retry_at = now;
        actions.push(Action::Lapsed(self.joined.iter().copied().collect()));
    }

    fn owner(&mut self, now: Time, epoch: Epoch, actions: &mut Vec<Action>) {
        let is_old = |c: &Connection| c.stage != Stage::Dialled && c.epoch < epoch;
        if self.connections.values().any(is_old) {
            self.unbind(now, actions);
        }
        // News, and worth another try; what was known already is not.
        if epoch > self.told && self.connections.is_empty() {
            (self.retry_at, self.retry_after) = (now, RETRY_MIN_MICROS);
        }
        self.told = self.told.max(epoch);
    }

    /// The session is over: nothing that was not durable can be said again.
    fn lose(&mut self, now: Time, error: &Error, actions: &mut Vec<Action>) {
        self.unbind(now, actions);
        self.retry_at = now;
        for change in self.undurable.clear() {
            actions.push(Action::Dropped {
                request: change.request,
                error: error.clone(),
            });
        }
        for (_, ongoing) in std::mem::take(&mut self.ongoing) {
            if let Some(call) = ongoing.call {
                let result = Err(error.clone());
                actions.push(Action::Done { call, result });
            }
        }
        self.waiting.clear();
        self.delayed.clear();
        self.numbers.clear();
        self.streams = Streams::default();
        (self.session, self.alive_until, self.named_bytes) = (0, 0, 0);
        let joined = std::mem::take(&mut self.joined).into_iter().collect();
        actions.push(Action::Lost(joined));
        if self.is_stopping {
            actions.push(Action::Stopped);
        }
    }

    fn stop(&mut self, now: Time, actions: &mut Vec<Action>) {
        self.is_stopping = true;
        if self.session == 0 && self.ongoing.is_empty() {
            actions.push(Action::Stopped);
            return;
        }
        self.flush(now, actions);
    }
}

impl Core for Client {
    type Event = Event;
    type Action = Action;

    fn step(&mut self, now: Time, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.alive_until != 0 && !self.is_alive(now) {
            self.lapse(now, &mut actions);
        }
        match event {
            Event::Asked(asked) => self.ask(now, asked, &mut actions),
            Event::Sync { call } => self.sync(now, call, &mut actions),
            Event::Cancelled(call) => self.cancel(now, call, &mut actions),
            Event::Pressed => self.flush_queue(now, Queue::Flows, &mut actions),
            Event::Opened { connection, epoch } => self.opened(now, connection, epoch, &mut actions),
            Event::Failed(connection) => self.failed(now, connection, &mut actions),
            Event::Received {
                connection,
                stream,
                sequence,
                outcome,
            } => self.received(now, (connection, stream, sequence), outcome, &mut actions),
            Event::Pushed { connection, push } => self.pushed(now, connection, push, &mut actions),
            Event::Holds { fileset, opens, locks } => self.holds(now, fileset, opens, locks, &mut actions),
            Event::Owner(epoch) => self.owner(now, epoch, &mut actions),
            Event::Gone(fileset) => self.gone(fileset, &mut actions),
            Event::Stop => self.stop(now, &mut actions),
            Event::Tick => self.tick(now, &mut actions),
        }
        self.tell_seen(now, &mut actions);
        self.connect(now, &mut actions);
        actions
    }
}

fn gone(fileset: FilesetId) -> Error {
    Error::new(Kind::Stale, format!("fileset {fileset}")).because("it is no more")
}

#[cfg(test)]
mod tests;
