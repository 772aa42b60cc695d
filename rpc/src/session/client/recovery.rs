//! Coming back to a new owner: holds, opens and locks first, then what was not durable, then `Reclaimed`.
//!
//! | step | sent | ends when |
//! |---|---|---|
//! | returning | `Join` (back) for each fileset, then its opens and locks | all are answered |
//! | replaying | the changes that the recovered log lacks, one at a time, in the order of their places; where nobody else is, those that were not answered; then opens of files that were not there before | none is left |
//! | ending | `Reclaimed` for each fileset | all are answered: bound |
//!
//! One at a time, because the server may run two calls in any order, and a later change may stand on an earlier one: also
//! on one that was never answered, if somebody saw what it did before the owner was lost. Each answer names those.
//! Where others are, what was not answered comes when all of them have said their changes again, like whatever is new: it
//! began after some of those were answered.
//! If the connection breaks it all begins again with the next one, from the change that was not answered.

use std::collections::{BTreeMap, BTreeSet};

use baton_types::call::{Answer, Coming, Hold, Lock, Patience, Request, Role};
use baton_types::limits::CLIENT_LIFETIME_MICROS;
use baton_types::{Error, Fid, FilesetId, Kind, Time};

use super::calls::{Ongoing, Purpose};
use super::kept::Change;
use super::{Action, Client, ConnectionId, Order, RETRY_MIN_MICROS, Stage, State};

/// How far it is.
#[derive(Debug)]
pub struct Recovery {
    /// On which all of it is sent.
    pub connection: ConnectionId,
    /// The change that was said again and not answered yet.
    pub replaying: Option<Change>,
    step: Step,
    /// Filesets in which nobody else is, nor was when the last owner was lost.
    alone: BTreeSet<FilesetId>,
    /// Files that are open and were not there yet: what makes them may have to be said again first.
    late: Vec<Request>,
    /// A change of the mount's that was not answered.
    awaited: Option<u64>,
    /// Calls of this step under way, and filesets whose holds are being asked for.
    open: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Returning,
    Replaying,
    Ending,
}

impl Client {
    /// `Bind` was answered: by the same owner as before, or by a new one.
    pub(super) fn bound(
        &mut self,
        now: Time,
        (connection, asked_at): (ConnectionId, Time),
        answer: &Answer,
        actions: &mut Vec<Action>,
    ) {
        let Answer::Bound {
            session,
            epoch,
            streams,
            date,
            durable,
        } = answer
        else {
            return;
        };
        if *epoch < self.epoch {
            actions.push(Action::Close(connection));
            self.failed(now, connection, actions);
            return;
        }
        if self.session != 0 && *session != self.session {
            let error = Error::new(Kind::SessionLost, format!("session {}", self.session));
            self.lose(
                now,
                &error.because(format!("the server answers for session {session}")),
                actions,
            );
            return;
        }
        if *epoch > self.epoch || self.session == 0 {
            self.close_all_but(connection, actions);
            let streams: BTreeMap<u16, u32> = streams.iter().copied().collect();
            self.undurable.recover(&streams, *durable);
            (self.epoch, self.session) = (*epoch, *session);
            self.date = Some((now - (now - asked_at) / 2, *date));
            self.state = State::Unbound;
            self.must_return = true;
        }
        self.undurable.mark(*durable);
        if let Some(bound) = self.connections.get_mut(&connection) {
            (bound.stage, bound.epoch) = (Stage::Ready, *epoch);
        }
        self.retry_after = RETRY_MIN_MICROS;
        self.lives(asked_at, actions);
        let is_call = self.connections.get(&connection).is_some_and(|c| c.role == Role::Call);
        if matches!(self.state, State::Unbound) && is_call {
            self.come_back(connection, actions);
        }
    }

    /// What was sent at `asked_at`, and answered, says that the client lived then.
    pub(super) fn lives(&mut self, asked_at: Time, actions: &mut Vec<Action>) {
        let until = asked_at + CLIENT_LIFETIME_MICROS;
        self.renewed_at = self.renewed_at.max(asked_at);
        if until > self.alive_until {
            self.alive_until = until;
            actions.push(Action::Alive(until));
        }
    }

    fn close_all_but(&mut self, connection: ConnectionId, actions: &mut Vec<Action>) {
        let others: Vec<ConnectionId> = self
            .connections
            .keys()
            .copied()
            .filter(|id| *id != connection)
            .collect();
        for other in others {
            self.connections.remove(&other);
            self.take_back(other);
            actions.push(Action::Close(other));
        }
        if let State::Recovering(recovery) = &mut self.state {
            let replaying = recovery.replaying.take();
            self.undurable.again(replaying);
        }
    }

    fn come_back(&mut self, connection: ConnectionId, actions: &mut Vec<Action>) {
        if !self.must_return {
            self.state = State::Bound;
            return;
        }
        self.state = State::Recovering(Box::new(Recovery {
            connection,
            replaying: None,
            step: Step::Returning,
            alone: BTreeSet::new(),
            late: Vec::new(),
            awaited: None,
            open: self.joined.len(),
        }));
        actions.extend(self.joined.iter().map(|fileset| Action::Reclaim(*fileset)));
    }

    /// What the mount holds in a fileset: it is said to the new owner.
    pub(super) fn holds(
        &mut self,
        now: Time,
        fileset: FilesetId,
        opens: Vec<Fid>,
        locks: Vec<(Fid, Lock)>,
        actions: &mut Vec<Action>,
    ) {
        let State::Recovering(recovery) = &mut self.state else {
            return;
        };
        if recovery.step != Step::Returning || recovery.open == 0 {
            return;
        }
        let connection = recovery.connection;
        let coming = Coming::Back;
        let opens = opens.into_iter().map(|fid| Request::Open { fid });
        let patience = Patience::None;
        let locks = locks
            .into_iter()
            .map(|(fid, lock)| Request::Lock { fid, lock, patience });
        let requests: Vec<Request> = [Request::Join { fileset, coming }]
            .into_iter()
            .chain(opens)
            .chain(locks)
            .collect();
        // The fileset itself was counted as open.
        recovery.open += requests.len() - 1;
        for request in requests {
            self.send_as(now, connection, request, Purpose::Return, actions);
        }
    }

    /// Goes on to whatever comes next, if nothing of this step is open.
    pub(super) fn go_on(&mut self, now: Time, actions: &mut Vec<Action>) {
        while self.is_alive(now)
            && let State::Recovering(recovery) = &mut self.state
            && recovery.open == 0
        {
            let connection = recovery.connection;
            match recovery.step {
                Step::Returning => recovery.step = Step::Replaying,
                Step::Replaying => match self.undurable.next() {
                    Some(change) => self.replay(now, connection, change, actions),
                    None => match self.unanswered_alone() {
                        Some(id) => self.ask_again(now, id, connection, actions),
                        None => self.end(now, connection, actions),
                    },
                },
                Step::Ending => {
                    self.state = State::Bound;
                    self.must_return = false;
                    self.flush(now, actions);
                }
            }
        }
    }

    fn replay(&mut self, now: Time, connection: ConnectionId, change: Change, actions: &mut Vec<Action>) {
        if let Some(id) = self.unanswered(|name| change.comes_after(name)) {
            self.undurable.again(Some(change));
            self.ask_again(now, id, connection, actions);
            return;
        }
        let State::Recovering(recovery) = &mut self.state else {
            return;
        };
        recovery.open += 1;
        recovery.replaying = Some(change.clone());
        let id = self.begin(Ongoing {
            caller: change.caller,
            payload: change.payload,
            name: Some(change.name),
            ..Ongoing::bare(now, change.request, Purpose::Replay)
        });
        self.put(now, id, connection, actions);
    }

    /// The first change that was sent before and never answered, of those whose names are meant.
    fn unanswered(&self, is_meant: impl Fn((u16, u32)) -> bool) -> Option<u64> {
        let is_it = |o: &Ongoing| o.route.is_none() && o.name.is_some_and(&is_meant);
        let mut found = self.ongoing.iter().filter(|(_, ongoing)| is_it(ongoing));
        found.next().map(|(id, _)| *id)
    }

    /// The first such change that nobody else's has to come before; the ordered stream is taken in its order.
    fn unanswered_alone(&self) -> Option<u64> {
        let State::Recovering(recovery) = &self.state else {
            return None;
        };
        let mut is_queue_held = false;
        let mut may_come = |ongoing: &Ongoing| {
            let Some((stream, _)) = ongoing.name.filter(|_| ongoing.route.is_none()) else {
                return false;
            };
            let fileset = ongoing.request.fileset();
            let is_alone = fileset.is_some_and(|fileset| recovery.alone.contains(&fileset));
            let may_come = is_alone && !(stream == 0 && is_queue_held);
            is_queue_held |= stream == 0 && !is_alone;
            may_come
        };
        let mut ongoing = self.ongoing.iter();
        ongoing.find(|(_, ongoing)| may_come(ongoing)).map(|(id, _)| *id)
    }

    /// Whether a change might come before an earlier one that was sent to an owner who may be lost. Somebody may have seen
    /// what that one did there, this mount's own programs first of all. The ordered stream keeps its order by itself.
    pub(super) fn is_overtaking(&mut self, id: u64, order: Order) -> bool {
        self.cut_off.retain(|id| self.ongoing.contains_key(id));
        let is_free = |id: &u64| {
            let earlier = self.ongoing.get(id).map(|ongoing| ongoing.purpose);
            earlier == Some(Purpose::Mount(Order::Free))
        };
        self.cut_off
            .range(..id)
            .any(|earlier| order == Order::Free || is_free(earlier))
    }

    fn ask_again(&mut self, now: Time, id: u64, connection: ConnectionId, actions: &mut Vec<Action>) {
        if let State::Recovering(recovery) = &mut self.state {
            recovery.open += 1;
            recovery.awaited = Some(id);
            self.put(now, id, connection, actions);
        }
    }

    fn end(&mut self, now: Time, connection: ConnectionId, actions: &mut Vec<Action>) {
        let State::Recovering(recovery) = &mut self.state else {
            return;
        };
        let late = std::mem::take(&mut recovery.late);
        if !late.is_empty() {
            recovery.open = late.len();
            for open in late {
                self.send_as(now, connection, open, Purpose::Return, actions);
            }
            return;
        }
        recovery.step = Step::Ending;
        recovery.open = self.joined.len();
        for fileset in self.joined.clone() {
            self.send_as(
                now,
                connection,
                Request::Reclaimed { fileset },
                Purpose::Return,
                actions,
            );
        }
    }

    /// A call of the mount's was answered, or waits again: if it was awaited, it is looked at again.
    pub(super) fn heard_of(&mut self, id: u64) {
        if let State::Recovering(recovery) = &mut self.state
            && recovery.awaited.take_if(|awaited| *awaited == id).is_some()
        {
            recovery.open -= 1;
        }
    }

    /// A call of this step was answered.
    fn closed(&mut self) {
        if let State::Recovering(recovery) = &mut self.state {
            recovery.open = recovery.open.saturating_sub(1);
        }
    }

    pub(super) fn returned(&mut self, id: u64, answer: &Answer, actions: &mut Vec<Action>) {
        let Some(ongoing) = self.ongoing.remove(&id) else {
            return;
        };
        self.closed();
        if let (Request::Join { fileset, .. }, Answer::Joined { hold, serial, .. }) = (&ongoing.request, answer) {
            let (fileset, hold, serial) = (*fileset, *hold, *serial);
            if let (State::Recovering(recovery), Hold::Alone) = (&mut self.state, hold) {
                recovery.alone.insert(fileset);
            }
            actions.push(Action::Rejoined { fileset, hold, serial });
        }
    }

    /// What was held is not given back to us: it is gone, and the mount is told.
    pub(super) fn not_returned(&mut self, id: u64, error: Error, actions: &mut Vec<Action>) {
        let Some(ongoing) = self.ongoing.remove(&id) else {
            return;
        };
        self.closed();
        if let Request::Join { fileset, .. } = &ongoing.request {
            self.joined.remove(fileset);
            actions.push(Action::Lost(vec![*fileset]));
        }
        let request = ongoing.request;
        if let (State::Recovering(recovery), Request::Open { .. }) = (&mut self.state, &request)
            && recovery.step == Step::Returning
        {
            recovery.late.push(request);
            return;
        }
        actions.push(Action::Dropped { request, error });
    }

    /// A change has its place under the new epoch.
    pub(super) fn replayed(&mut self, id: u64, answer: &Answer) {
        self.ongoing.remove(&id);
        self.closed();
        if let State::Recovering(recovery) = &mut self.state
            && let Some(change) = recovery.replaying.take()
            && let Answer::Changed {
                lsn, durable, after, ..
            } = answer
        {
            let after = after.clone();
            self.undurable.keep(*lsn, Change { after, ..change });
            self.undurable.mark(*durable);
        }
    }

    /// A change that was accepted is refused now: it should not happen, and is not passed over in silence.
    pub(super) fn not_replayed(&mut self, id: u64, error: Error, actions: &mut Vec<Action>) {
        self.ongoing.remove(&id);
        self.closed();
        let State::Recovering(recovery) = &mut self.state else {
            return;
        };
        let Some(change) = recovery.replaying.take() else {
            return;
        };
        let request = change.request;
        actions.push(Action::Dropped { request, error });
    }

    /// An answer that comes too late to be believed: the call is made again on the same connection.
    pub(super) fn return_again(&mut self, now: Time, id: u64, actions: &mut Vec<Action>) {
        if let State::Recovering(recovery) = &self.state {
            let connection = recovery.connection;
            self.put(now, id, connection, actions);
        }
    }
}
