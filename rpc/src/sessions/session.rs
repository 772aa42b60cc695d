//! One session's driver: it carries out what the core says.
//!
//! Lock order: the core; then nothing. Lines, calls and vnodes have locks of their own, and none is held while
//! somebody else's code runs.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use baton_proto::files::{decode_outcome, decode_push};
use baton_types::call::Role;
use baton_types::{AggregateId, Core, Epoch, Error, FilesetId, Kind, Time, Timestamp};
use parking_lot::Mutex;

use super::line::Line;
use super::vnodes::Vnodes;
use super::{Sessions, WAIT, Who, waiter};
use crate::session::client::{Action, Client, ConnectionId, Event, Outcome, Refusal, Sent};
use crate::session::frame::Frame;
use crate::wire::Dial;

/// A server that is wanted and silent for so long is worth a line in the log.
const SILENCE_MICROS: Time = 5_000_000;

/// One session of a mount.
pub(super) struct Session {
    pub(super) aggregate: AggregateId,
    sessions: Weak<Sessions>,
    core: Mutex<Client>,
    lines: Mutex<HashMap<ConnectionId, Arc<Line>>>,
    pub(super) vnodes: Vnodes,
    /// The epoch that was last heard of; the server's name, once its silence was written about.
    heard: Mutex<(Epoch, Option<String>)>,
}

impl Session {
    pub(super) fn new(aggregate: AggregateId, sessions: Weak<Sessions>) -> Arc<Session> {
        Arc::new(Session {
            aggregate,
            sessions,
            core: Mutex::new(Client::new(aggregate)),
            lines: Mutex::default(),
            vnodes: Vnodes::default(),
            heard: Mutex::default(),
        })
    }

    pub(super) fn who(&self, caller: u32) -> Arc<Who> {
        match self.sessions.upgrade() {
            Some(sessions) => sessions.who(caller),
            None => Arc::new(Who::default()),
        }
    }

    /// The server decided against a login: whoever keeps the users' proofs does not show the same one at once again,
    /// because a connection bears few failures, and all users of the machine share it.
    pub(super) fn login_refused(&self, caller: u32, error: &Error) {
        if let Some(sessions) = self.sessions.upgrade() {
            sessions.setup.logins.refused(&sessions.who(caller), error);
        }
    }

    pub(super) fn date(&self, now: Time) -> Option<Timestamp> {
        self.core.lock().date(now)
    }

    pub(super) fn alive_until(&self) -> Time {
        self.core.lock().alive_until()
    }

    pub(super) fn wake_at(&self) -> Time {
        self.core.lock().wake_at()
    }

    pub(super) fn broken(self: &Arc<Self>, connection: ConnectionId, error: &Error) {
        tracing::debug!(%error, aggregate = %self.aggregate, "connection broken");
        self.close(connection);
        self.step(Event::Failed(connection));
    }

    pub(super) fn received(self: &Arc<Self>, connection: ConnectionId, stream: u16, sequence: u32, outcome: Outcome) {
        self.step(Event::Received {
            connection,
            stream,
            sequence,
            outcome,
        });
    }

    /// An answer arrived.
    pub(super) fn answered(self: &Arc<Self>, connection: ConnectionId, frame: Frame) {
        let (stream, sequence) = (frame.header.stream, frame.header.sequence);
        let (answer, lsn) = match self.core.lock().asked(connection, stream, sequence) {
            Some(request) => decode_outcome(&frame.meta, request),
            None => return,
        };
        let outcome = match answer {
            Ok(answer) => Ok((answer, frame.payload)),
            Err(error) => Err(Box::new(Refusal { error, lsn })),
        };
        self.received(connection, stream, sequence, outcome);
    }

    /// Something was told unasked.
    pub(super) fn pushed(self: &Arc<Self>, connection: ConnectionId, frame: &Frame) {
        match decode_push(&frame.meta) {
            Ok(Some(push)) => self.step(Event::Pushed { connection, push }),
            Ok(None) => {}
            Err(error) => self.broken(connection, &error),
        }
    }

    /// Lets the core take an event, carries out what it says, and waits a moment for what was sent.
    pub(super) fn step(self: &Arc<Self>, event: Event) {
        let Some(sessions) = self.sessions.upgrade() else {
            return;
        };
        let began = Instant::now();
        let now = sessions.setup.clock.now();
        let (actions, wake_at) = {
            let mut core = self.core.lock();
            let actions = core.step(now, event);
            (actions, core.wake_at())
        };
        sessions.alarm.wake_by(wake_at);
        let (mut calls, mut lines) = (Vec::new(), Vec::new());
        for action in actions {
            match action {
                Action::Send(sent) => calls.push(sent),
                Action::Taken(call) => sessions.taken(call),
                other => {
                    self.send(&sessions, &mut calls, &mut lines);
                    self.perform(&sessions, other);
                }
            }
        }
        self.send(&sessions, &mut calls, &mut lines);
        for (line, answer) in lines {
            if line.take() {
                match answer {
                    Awaited::Here => attend(&sessions, &line, began),
                    Awaited::Elsewhere => sessions.waiter.add(line),
                }
            }
        }
    }

    /// Sends calls: those that follow one another on a connection together.
    fn send(&self, sessions: &Sessions, calls: &mut Vec<Sent>, lines: &mut Vec<(Arc<Line>, Awaited)>) {
        let mut left = std::mem::take(calls);
        while let Some(connection) = left.first().map(|sent| sent.connection) {
            let count = left.iter().take_while(|sent| sent.connection == connection).count();
            let others = left.split_off(count);
            let together = std::mem::replace(&mut left, others);
            let line = self.lines.lock().get(&connection).cloned();
            // The core hears that it is closed, and sends them on another.
            let Some(line) = line else { continue };
            let is_queued = together.iter().all(|sent| sent.stream == 0 && sent.sequence > 0);
            line.send(together, &*sessions.setup.logins);
            match lines.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &line)) {
                Some((_, answer)) if !is_queued => *answer = Awaited::Here,
                Some(_) => {}
                None if is_queued => lines.push((line, Awaited::Elsewhere)),
                None => lines.push((line, Awaited::Here)),
            }
        }
    }

    /// What waited for a login that was worth nothing when it was over.
    pub(super) fn send_again(&self, mut waiting: Vec<Sent>) {
        let Some(sessions) = self.sessions.upgrade() else {
            return;
        };
        // Their connection is being read: that is how the end of the login was heard.
        self.send(&sessions, &mut waiting, &mut Vec::new());
    }

    /// A user is somebody else from now on.
    pub(super) fn log_out(&self, sessions: &Sessions, uid: u32) {
        let lines: Vec<_> = self.lines.lock().values().cloned().collect();
        for line in lines {
            line.log_out(|caller| sessions.who(caller).uid == uid);
            if line.has_open() && line.take() {
                sessions.waiter.add(line);
            }
        }
    }

    fn perform(self: &Arc<Self>, sessions: &Arc<Sessions>, action: Action) {
        let events = &sessions.events;
        match action {
            Action::Send(_) | Action::Taken(_) => {}
            Action::Dial { connection, role } => self.dial(sessions, connection, role),
            Action::Forget { connection, caller } => {
                let line = self.lines.lock().get(&connection).cloned();
                if let Some(line) = line {
                    line.forget(caller);
                }
            }
            Action::Close(connection) => self.close(connection),
            Action::Done { call, result } => sessions.done(call, result),
            Action::Locate(fileset) => self.locate(sessions, fileset),
            Action::Reclaim(fileset) => {
                let held = events.reclaim(fileset);
                self.step(Event::Holds {
                    fileset,
                    opens: held.opens,
                    locks: held.locks,
                });
            }
            Action::Rejoined { fileset, hold, serial } => events.rejoined(fileset, hold, serial),
            Action::Revoked { fileset, serial } => events.revoked(fileset, serial),
            Action::Lapsed(filesets) => {
                tracing::warn!(aggregate = %self.aggregate, "not heard by its server for a lifetime: nothing cached counts");
                events.lapsed(self.aggregate, &filesets);
            }
            Action::Lost(filesets) => {
                tracing::error!(aggregate = %self.aggregate, ?filesets, "session lost");
                self.vnodes.clear();
                events.lost(self.aggregate, &filesets);
            }
            Action::Dropped { request, error } => {
                let (fileset, op) = (request.fileset(), baton_proto::files::op_of(&request));
                tracing::error!(%error, ?fileset, op, "a change that was accepted is lost");
                if request.is_change() {
                    events.dropped(&request, &error);
                }
            }
            Action::Alive(until) => events.alive(self.aggregate, until),
            Action::Stopped => sessions.stopped(self.aggregate),
        }
    }

    /// Dials on a thread of its own: nobody else may be held up by a server that is not there.
    fn dial(self: &Arc<Self>, sessions: &Arc<Sessions>, connection: ConnectionId, role: Role) {
        let (session, weak) = (self.clone(), Arc::downgrade(sessions));
        let dial = move || {
            waiter::must_not_wait();
            let Some(sessions) = weak.upgrade() else { return };
            match session.connected(&sessions, connection, role) {
                Ok(epoch) => session.step(Event::Opened { connection, epoch }),
                Err(error) => {
                    tracing::debug!(%error, aggregate = %session.aggregate, "no connection");
                    session.step(Event::Failed(connection));
                }
            }
        };
        let thread = std::thread::Builder::new().name("dial".to_owned()).spawn(dial);
        if let Err(error) = thread {
            tracing::error!(%error, "no thread to dial on");
            self.step(Event::Failed(connection));
        }
    }

    fn connected(
        self: &Arc<Self>,
        sessions: &Arc<Sessions>,
        connection: ConnectionId,
        role: Role,
    ) -> Result<Epoch, Error> {
        let owner = sessions.locator.owner(self.aggregate)?;
        let wire = sessions.dial.dial(&owner, role)?;
        let line = Arc::new(Line::new(self.clone(), (connection, role), owner.server, wire)?);
        self.lines.lock().insert(connection, line.clone());
        if role == Role::Push && line.take() {
            sessions.pushes.add(line);
        }
        Ok(owner.epoch)
    }

    fn close(&self, connection: ConnectionId) {
        let line = self.lines.lock().remove(&connection);
        if let Some(line) = line {
            line.close();
        }
    }

    /// Asks the location database, without waiting.
    fn locate(self: &Arc<Self>, sessions: &Arc<Sessions>, fileset: Option<FilesetId>) {
        sessions.locator.refresh(self.aggregate);
        let Some(fileset) = fileset else { return };
        let session = self.clone();
        let sought = baton_types::change::FilesetRef::Id(fileset);
        sessions.locator.look_up_then(sought, move |found| {
            waiter::must_not_wait();
            if found.is_err_and(|error| error.kind == Kind::NotFound) {
                session.step(Event::Gone(fileset));
            }
        });
    }

    /// Looks at what changed: a new owner, time that passed, a server that is silent or back.
    pub(super) fn look(self: &Arc<Self>, sessions: &Sessions, now: Time) {
        let owner = sessions.locator.owner(self.aggregate);
        if let Ok(owner) = &owner {
            let mut heard = self.heard.lock();
            let is_news = owner.epoch > heard.0;
            heard.0 = heard.0.max(owner.epoch);
            drop(heard);
            if is_news {
                self.step(Event::Owner(owner.epoch));
            }
        }
        if now >= self.wake_at() {
            self.step(Event::Tick);
        }
        let silent = self.core.lock().silent_since();
        let is_silent = silent.is_some_and(|since| now >= since + SILENCE_MICROS);
        let mut heard = self.heard.lock();
        match (&heard.1, is_silent) {
            (None, true) => {
                let name = match &owner {
                    Ok(owner) => format!("server {}", owner.server),
                    Err(error) => error.to_string(),
                };
                tracing::warn!(aggregate = %self.aggregate, "{name} does not answer; programs wait");
                heard.1 = Some(name);
            }
            (Some(name), false) => {
                tracing::info!(aggregate = %self.aggregate, "{name} answers again");
                heard.1 = None;
            }
            (None, false) | (Some(_), true) => {}
        }
    }
}

/// Where the answer to what was sent is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// By the thread that sent it, for a moment.
    Here,
    /// By the waiter: whoever queues goes on.
    Elsewhere,
}

/// Reads a line until nothing is open on it or 2 ms are over; then it is left with the waiter.
fn attend(sessions: &Arc<Sessions>, line: &Arc<Line>, began: Instant) {
    if !waiter::may_wait() || line.role == Role::Push {
        sessions.waiter.add(line.clone());
        return;
    }
    loop {
        if !line.has_open() {
            if line.leave() {
                return;
            }
            continue;
        }
        let left = WAIT.saturating_sub(began.elapsed());
        if left.is_zero() {
            sessions.waiter.add(line.clone());
            return;
        }
        if !line.wait(left) {
            continue;
        }
        if !line.read() {
            return;
        }
    }
}
