//! The ordered stream: what of it is sent now, on which connection, and what its server must hear to go on with it.

use baton_types::Time;
use baton_types::call::{Request, Role};

use super::{Ongoing, Purpose, change_bytes};
use crate::session::client::{Action, Client, ConnectionId, GATHERED_BYTES_MAX, Order, State};

/// Whether what is queued is sent at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// It is.
    Flows,
    /// It waits for what is under way, gets its name meanwhile, and is sent together with what comes after it.
    Gathers,
}

impl Ongoing {
    /// A change of the ordered stream.
    pub(super) fn is_queued(&self) -> bool {
        self.purpose == Purpose::Mount(Order::Queued) && self.request.is_change()
    }
}

impl Client {
    /// Whether what is queued is sent now: if nothing of it is under way, or enough has gathered.
    pub(super) fn queue(&self) -> Queue {
        let Some((connection, _)) = self.ready().next() else {
            return Queue::Flows;
        };
        let under_way = self.routes.range((connection, 0, 1)..=(connection, 0, u32::MAX));
        let Some(((_, _, last), _)) = under_way.last() else {
            return Queue::Flows;
        };
        let mut gathered = 0;
        let waiting = self.waiting.iter().filter_map(|id| self.ongoing.get(id));
        for ongoing in waiting.filter(|ongoing| ongoing.is_queued()) {
            // It was sent before, and not done then: what is under way may wait for it.
            if ongoing.name.is_some_and(|(_, sequence)| sequence < *last) {
                return Queue::Flows;
            }
            gathered += change_bytes(&ongoing.payload);
        }
        match gathered < GATHERED_BYTES_MAX {
            true => Queue::Gathers,
            false => Queue::Flows,
        }
    }

    /// Sends what waits and may be sent: what is queued, as `queue` says.
    pub(in crate::session::client) fn flush_queue(&mut self, now: Time, queue: Queue, actions: &mut Vec<Action>) {
        if !matches!(self.state, State::Bound) || !self.is_alive(now) {
            return;
        }
        let mut is_queue_held = false;
        for id in self.waiting.iter().copied().collect::<Vec<_>>() {
            let Some(ongoing) = self.ongoing.get(&id) else { continue };
            let is_queued = ongoing.is_queued();
            if is_queued && is_queue_held {
                continue;
            }
            if !self.send(now, id, queue, actions) {
                is_queue_held |= is_queued;
            }
        }
        if self.is_stopping && self.ongoing.is_empty() {
            self.leave(now, actions);
        }
    }

    /// The connection of the ordered stream: always the same one, so that its changes arrive in their order. What is
    /// asked and waited for meanwhile gets another one.
    pub(super) fn connection_of_queue(&mut self, actions: &mut Vec<Action>) -> Option<ConnectionId> {
        let first = self.ready().next().map(|(id, _)| id)?;
        if self.connections.values().filter(|c| c.role == Role::Call).count() < 2 {
            self.dial(Role::Call, actions);
        }
        Some(first)
    }

    /// It has no place in history, and perhaps never came to the server.
    pub(super) fn pass_by(&mut self, id: u64) {
        if let Some(name) = self.ongoing.get(&id).and_then(|ongoing| ongoing.name) {
            self.streams.passed_by(name);
        }
    }

    /// Tells the server what was seen, if it may hold changes because of one that never came.
    pub(in crate::session::client) fn tell_seen(&mut self, now: Time, actions: &mut Vec<Action>) {
        if self.streams.must_tell()
            && let Some(connection) = self.best()
        {
            self.send_own(now, connection, Request::Renew, actions);
        }
    }
}
