//! Calls: from being asked to being answered, whatever happens to connections and owners in between.
//!
//! ```text
//! waiting ─ sent ─▶ under way ─ believed ─▶ done
//!    ▲                 │ connection broken, owner moved, answer too late, server not ready
//!    └─────────────────┘
//! ```

mod queue;
mod refusals;

use baton_types::call::{Answer, Patience, Request, Role};
use baton_types::{Error, FilesetId, Kind, Time};
use bytes::Bytes;

use super::kept::{Change, KEPT_BYTES_MAX, change_bytes};
use super::{
    Action, Asked, CALL_CONNECTIONS_MAX, CallNumber, Client, ConnectionId, Order, Outcome, QUEUED_BYTES_MAX, Sent,
    Stage, gone,
};
pub use queue::Queue;

/// A call that was not answered yet.
#[derive(Debug)]
pub struct Ongoing {
    /// Who waits for it; nobody for the session's own, and for what was cancelled.
    pub call: Option<CallNumber>,
    /// For whom.
    pub caller: u32,
    /// What.
    pub request: Request,
    /// Beside it.
    pub payload: Bytes,
    /// Why it is made.
    pub purpose: Purpose,
    /// Of a change, once it was sent.
    pub name: Option<(u16, u32)>,
    /// Where it is under way.
    pub route: Option<(ConnectionId, u16, u32)>,
    /// When it was asked; of what is under way, when it was sent.
    pub since: Time,
    /// How often a login was asked for.
    pub logins: u32,
}

/// Whether something is about what the client holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It is, and must not be done late.
    Yes,
    /// It is not.
    No,
}

/// Why a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The mount asked.
    Mount(Order),
    /// The session's own: forgotten with its connection.
    Session,
    /// To come back after a takeover: forgotten with its connection, made anew with the next.
    Return,
    /// A change that is said again.
    Replay,
}

impl Ongoing {
    /// One that nobody waits for, with nothing beside it.
    pub fn bare(now: Time, request: Request, purpose: Purpose) -> Ongoing {
        Ongoing {
            call: None,
            caller: 0,
            request,
            payload: Bytes::new(),
            purpose,
            name: None,
            route: None,
            since: now,
            logins: 0,
        }
    }
}

impl Client {
    pub(super) fn ask(&mut self, now: Time, asked: Asked, actions: &mut Vec<Action>) {
        let id = self.begin(Ongoing {
            call: Some(asked.call),
            caller: asked.caller,
            payload: asked.payload,
            ..Ongoing::bare(now, asked.request, Purpose::Mount(asked.order))
        });
        self.waiting.insert(id);
        // Nothing overtakes what waits already; that goes out first if anything can.
        self.flush(now, actions);
    }

    pub(super) fn sync(&mut self, now: Time, call: CallNumber, actions: &mut Vec<Action>) {
        let asked = Asked {
            call,
            caller: 0,
            request: Request::Sync { lsn: 0 },
            payload: Bytes::new(),
            order: Order::Free,
        };
        self.ask(now, asked, actions);
    }

    pub(super) fn begin(&mut self, ongoing: Ongoing) -> u64 {
        self.ongoing_made += 1;
        if let Some(call) = ongoing.call {
            self.numbers.insert(call, self.ongoing_made);
        }
        self.ongoing.insert(self.ongoing_made, ongoing);
        self.ongoing_made
    }

    /// Nobody waits for `call`: what was not sent never is, a change that was is seen to its end. Of a lock its program
    /// hears once the server has said whether it has it.
    pub(super) fn cancel(&mut self, now: Time, call: CallNumber, actions: &mut Vec<Action>) {
        let Some(id) = self.numbers.get(&call).copied() else {
            return;
        };
        if self.cancel_lock(now, id, actions) {
            return;
        }
        self.numbers.remove(&call);
        let Some(ongoing) = self.ongoing.get_mut(&id) else {
            return;
        };
        ongoing.call = None;
        if ongoing.name.is_none() && ongoing.route.is_none() {
            self.ongoing.remove(&id);
            self.waiting.remove(&id);
            self.delayed.retain(|(_, other)| *other != id);
        }
        let result = Err(Error::new(Kind::TimedOut, "call").because("nobody waits for it any more"));
        actions.push(Action::Done { call, result });
    }

    /// Says that nobody waits for a lock; false if this is no call that waits for one.
    fn cancel_lock(&mut self, now: Time, id: u64, actions: &mut Vec<Action>) -> bool {
        let Some(ongoing) = self.ongoing.get_mut(&id) else {
            return false;
        };
        let (fid, lock) = match ongoing.request {
            Request::Lock {
                fid,
                lock,
                patience: Patience::Wait,
            } => (fid, lock),
            Request::CancelLock { .. } => return true,
            _ => return false,
        };
        let request = Request::CancelLock { fid, lock };
        // Should its connection break, this is what is asked on the next: it may have been given on that one.
        ongoing.request = request.clone();
        let (caller, route) = (ongoing.caller, ongoing.route);
        if let Some((connection, ..)) = route {
            // It comes after the lock on the same connection; the answer that counts is the lock's.
            let cancel = Ongoing {
                caller,
                ..Ongoing::bare(now, request, Purpose::Mount(Order::Free))
            };
            let cancel = self.begin(cancel);
            self.put(now, cancel, connection, actions);
        }
        true
    }

    /// Sends what waits and may be sent.
    pub(super) fn flush(&mut self, now: Time, actions: &mut Vec<Action>) {
        self.flush_queue(now, self.queue(), actions);
    }

    /// Sends one that waits, if there is a name and a connection for it. One that gathers has its name.
    fn send(&mut self, now: Time, id: u64, queue: Queue, actions: &mut Vec<Action>) -> bool {
        let Some(ongoing) = self.ongoing.get(&id) else {
            return false;
        };
        let Purpose::Mount(order) = ongoing.purpose else {
            return false;
        };
        let (is_change, is_named) = (ongoing.request.is_change(), ongoing.name.is_some());
        let is_sync = matches!(ongoing.request, Request::Sync { .. });
        let connection = match (order, is_change) {
            (Order::Queued, true) => self.connection_of_queue(actions),
            (Order::Queued, false) | (Order::Free, _) => self.connection_for(actions),
        };
        let Some(connection) = connection else {
            return false;
        };
        if is_sync && self.undurable.is_empty() {
            let durable = self.undurable.durable();
            self.done(id, Ok((Answer::Synced { durable }, Bytes::new())), actions);
            return true;
        }
        if is_change && self.is_overtaking(id, order) {
            return false;
        }
        if is_change && !is_named && !self.name(now, id, order, connection, actions) {
            return false;
        }
        if queue == Queue::Flows || order == Order::Free || !is_change {
            self.put(now, id, connection, actions);
        }
        true
    }

    /// Gives a change its name, if there is one, and room to keep it.
    fn name(&mut self, now: Time, id: u64, order: Order, connection: ConnectionId, actions: &mut Vec<Action>) -> bool {
        let Some(ongoing) = self.ongoing.get_mut(&id) else {
            return false;
        };
        let (bytes, call) = (change_bytes(&ongoing.payload), ongoing.call);
        if order == Order::Queued && self.named_bytes > QUEUED_BYTES_MAX {
            return false;
        }
        if self.undurable.bytes() + self.named_bytes + bytes > KEPT_BYTES_MAX {
            self.hurry(now, connection, actions);
            return false;
        }
        ongoing.name = match order {
            Order::Free => self.streams.take(),
            Order::Queued => self.streams.queue(),
        };
        let is_named = ongoing.name.is_some();
        if is_named {
            self.named_bytes += bytes;
            if order == Order::Queued {
                actions.extend(call.map(Action::Taken));
            }
            // Marks come late for whoever writes much: they are asked for before there is no room left.
            if self.undurable.bytes() + self.named_bytes > KEPT_BYTES_MAX / 2 {
                self.hurry(now, connection, actions);
            }
        }
        is_named
    }

    /// Asks for marks, because too much is kept to go on.
    fn hurry(&mut self, now: Time, connection: ConnectionId, actions: &mut Vec<Action>) {
        let is_sync = |o: &Ongoing| o.purpose == Purpose::Session && matches!(o.request, Request::Sync { .. });
        if !self.undurable.is_empty() && !self.ongoing.values().any(is_sync) {
            self.send_own(now, connection, Request::Sync { lsn: 0 }, actions);
        }
    }

    /// A connection to send on: an idle one; else one more is made, and meanwhile the one with the least to do is used.
    fn connection_for(&mut self, actions: &mut Vec<Action>) -> Option<ConnectionId> {
        let best = self.best()?;
        let calls = || self.connections.values().filter(|c| c.role == Role::Call);
        let is_idle = self.connections.get(&best).is_some_and(|c| c.busy == 0);
        let is_coming = calls().any(|c| c.stage != Stage::Ready);
        if !is_idle && !is_coming && calls().count() < CALL_CONNECTIONS_MAX {
            self.dial(Role::Call, actions);
        }
        Some(best)
    }

    /// One of the session's own, now, on this connection.
    pub(super) fn send_own(
        &mut self,
        now: Time,
        connection: ConnectionId,
        request: Request,
        actions: &mut Vec<Action>,
    ) {
        self.send_as(now, connection, request, Purpose::Session, actions);
    }

    pub(super) fn send_as(
        &mut self,
        now: Time,
        connection: ConnectionId,
        request: Request,
        purpose: Purpose,
        actions: &mut Vec<Action>,
    ) {
        let id = self.begin(Ongoing::bare(now, request, purpose));
        self.put(now, id, connection, actions);
    }

    /// Puts a call on a connection.
    pub(super) fn put(&mut self, now: Time, id: u64, connection: ConnectionId, actions: &mut Vec<Action>) {
        let (Some(to), Some(ongoing)) = (self.connections.get_mut(&connection), self.ongoing.get_mut(&id)) else {
            return;
        };
        let (stream, sequence) = ongoing.name.unwrap_or_else(|| {
            // A number that no call on this connection has; they are far fewer than numbers.
            loop {
                to.tag = to.tag.wrapping_add(1);
                if !self.routes.contains_key(&(connection, to.tag, 0)) {
                    return (to.tag, 0);
                }
            }
        });
        to.busy += 1;
        ongoing.route = Some((connection, stream, sequence));
        ongoing.since = now;
        self.routes.insert((connection, stream, sequence), id);
        self.waiting.remove(&id);
        let mut request = ongoing.request.clone();
        if let Request::Sync { lsn } = &mut request {
            // Places that the mount was told may be those of an older epoch: all that was answered is waited for.
            *lsn = self.undurable.last();
        }
        actions.push(Action::Send(Sent {
            connection,
            caller: ongoing.caller,
            session: self.session,
            stream,
            sequence,
            seen: self.streams.seen(),
            request,
            payload: ongoing.payload.clone(),
        }));
    }

    /// Whatever was under way on a connection waits again, or is forgotten if it was the session's own. Says whether any
    /// of it is about what the client holds.
    pub(super) fn take_back(&mut self, connection: ConnectionId) -> Held {
        let first = (connection, 0, 0);
        let last = (connection, u16::MAX, u32::MAX);
        let routes: Vec<_> = self.routes.range(first..=last).map(|(key, id)| (*key, *id)).collect();
        let mut held = Held::No;
        for (key, id) in routes {
            self.routes.remove(&key);
            let ongoing = self.ongoing.get(&id);
            if ongoing.is_some_and(|ongoing| ongoing.request.is_about_holds()) {
                held = Held::Yes;
            }
            if ongoing.is_some_and(|ongoing| ongoing.request.is_change()) {
                self.cut_off.insert(id);
            }
            self.wait(id);
        }
        held
    }

    /// Back to those that wait.
    fn wait(&mut self, id: u64) {
        let Some(ongoing) = self.ongoing.get_mut(&id) else {
            return;
        };
        ongoing.route = None;
        let is_wanted = ongoing.call.is_some() || ongoing.name.is_some();
        match ongoing.purpose {
            Purpose::Mount(_) if is_wanted => drop(self.waiting.insert(id)),
            Purpose::Mount(_) | Purpose::Session | Purpose::Return | Purpose::Replay => {
                self.ongoing.remove(&id);
            }
        }
    }

    pub(super) fn received(
        &mut self,
        now: Time,
        route: (ConnectionId, u16, u32),
        outcome: Outcome,
        actions: &mut Vec<Action>,
    ) {
        let Some(id) = self.routes.remove(&route) else {
            return;
        };
        self.heard_at = now;
        if let Some(connection) = self.connections.get_mut(&route.0) {
            connection.busy -= 1;
        }
        let Some(ongoing) = self.ongoing.get_mut(&id) else {
            return;
        };
        ongoing.route = None;
        let purpose = ongoing.purpose;
        self.heard_of(id);
        match outcome {
            Err(refusal) => self.refused(now, id, route.0, *refusal, actions),
            Ok((answer, payload)) => match purpose {
                Purpose::Session => self.answered_own(now, id, route.0, &answer, actions),
                // An answer that comes after the end of the lifetime may be a zombie's: it is asked for again (I4).
                Purpose::Mount(_) if !self.is_alive(now) => self.wait(id),
                Purpose::Return | Purpose::Replay if !self.is_alive(now) => self.return_again(now, id, actions),
                Purpose::Mount(_) => self.answered(id, answer, payload, actions),
                Purpose::Return => self.returned(id, &answer, actions),
                Purpose::Replay => self.replayed(id, &answer),
            },
        }
        self.go_on(now, actions);
        self.flush(now, actions);
    }

    fn answered_own(
        &mut self,
        now: Time,
        id: u64,
        connection: ConnectionId,
        answer: &Answer,
        actions: &mut Vec<Action>,
    ) {
        let Some(own) = self.ongoing.remove(&id) else { return };
        match answer {
            Answer::Bound { .. } => self.bound(now, (connection, own.since), answer, actions),
            Answer::Renewed { date, durable } => {
                // Half the way is the best guess of when the server looked at its clock.
                self.date = Some((now - (now - own.since) / 2, *date));
                self.undurable.mark(*durable);
                self.lives(own.since, actions);
            }
            Answer::Synced { durable } => self.undurable.mark(*durable),
            Answer::Done if own.request == Request::Unbind => {
                self.session = 0;
                self.unbind(now, actions);
                actions.push(Action::Stopped);
            }
            _ => {}
        }
    }

    /// The mount's call has its answer.
    pub(super) fn answered(&mut self, id: u64, answer: Answer, payload: Bytes, actions: &mut Vec<Action>) {
        let Some(ongoing) = self.ongoing.get(&id) else { return };
        match (&ongoing.request, &answer) {
            (Request::Join { fileset, .. }, Answer::Joined { .. }) => drop(self.joined.insert(*fileset)),
            (Request::Leave { fileset }, _) => drop(self.joined.remove(fileset)),
            (_, Answer::Synced { durable }) => self.undurable.mark(*durable),
            _ => {}
        }
        if let Answer::Changed {
            lsn, durable, after, ..
        } = &answer
        {
            self.keep(id, *lsn, after.clone());
            self.undurable.mark(*durable);
        }
        self.done(id, Ok((answer, payload)), actions);
    }

    /// A change has its place: its stream is free, and it is kept until it is durable.
    fn keep(&mut self, id: u64, lsn: u64, after: Vec<(u16, u32)>) {
        let Some(ongoing) = self.ongoing.get(&id) else { return };
        let Some(name) = ongoing.name else { return };
        let change = Change {
            caller: ongoing.caller,
            name,
            request: ongoing.request.clone(),
            payload: ongoing.payload.clone(),
            after,
        };
        self.undurable.keep(lsn, change);
    }

    /// Ends a call of the mount's.
    fn done(&mut self, id: u64, result: Result<(Answer, Bytes), Error>, actions: &mut Vec<Action>) {
        let Some(ongoing) = self.ongoing.remove(&id) else {
            return;
        };
        self.waiting.remove(&id);
        if let Some(name) = ongoing.name {
            self.streams.answered(name);
            self.named_bytes -= change_bytes(&ongoing.payload);
        }
        if let Some(call) = ongoing.call {
            self.numbers.remove(&call);
            actions.push(Action::Done { call, result });
        }
    }

    /// A fileset is no more: nothing about it can be answered.
    pub(super) fn gone(&mut self, fileset: FilesetId, actions: &mut Vec<Action>) {
        self.joined.remove(&fileset);
        let about = |ongoing: &Ongoing| ongoing.request.fileset() == Some(fileset) && ongoing.route.is_none();
        let ids: Vec<u64> = self
            .ongoing
            .iter()
            .filter(|(_, o)| about(o))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.delayed.retain(|(_, other)| *other != id);
            self.pass_by(id);
            self.done(id, Err(gone(fileset)), actions);
        }
    }

    /// Everything was said: the session is given back.
    fn leave(&mut self, now: Time, actions: &mut Vec<Action>) {
        let Some(connection) = self.best() else { return };
        let request = match self.undurable.is_empty() {
            true => Request::Unbind,
            false => Request::Sync { lsn: 0 },
        };
        self.send_own(now, connection, request, actions);
    }
}
