//! Living owners that are asked to hand over: nobody is in a hurry, and no client notices more than a pause.

use baton_types::change::{Ask, Change};
use baton_types::limits::COMPLAINTS_MIN;
use baton_types::record::{Aggregate, AggregateState, Server, ServerState};
use baton_types::{Epoch, ServerId, Time};

use super::Arbiter;

/// Between two aggregates that go home: each is at rest before the next one moves.
const PACE: Time = 5_000_000;
/// An owner that could not hand over is not asked again before so long.
const AGAIN: Time = 600_000_000;
/// Of the machines with clients of a server, one in so many must complain.
const SHARE: usize = 5;

/// An owner that was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    epoch: Epoch,
    at: Time,
}

impl Arbiter {
    /// Many clients of a server get no answer from it, and all else is well with it: the way between them is cut. What it
    /// has goes to one of whom nobody complains, one aggregate at a time.
    pub(super) fn heed_clients(&mut self, now: Time, watches: Time) -> Option<Change> {
        let (aggregate, to, reason) = self.state.servers().find_map(|server| {
            let (complain, all) = self.shunned(now, server)?;
            let (aggregate, to) = self.state.owned_by(server.id).find_map(|aggregate| {
                let others = aggregate.attached.iter().filter(|id| **id != server.id);
                let mut better = others.filter(|id| self.is_reached(now, **id));
                let to = better.find(|id| self.taken_by(now, watches, aggregate, **id).is_some())?;
                self.may_ask(now, aggregate).then_some((aggregate, *to))
            })?;
            let reason = format!(
                "{}: {complain} of {all} machines with clients get no answer from it",
                server.name
            );
            Some((aggregate.clone(), to, reason))
        })?;
        Some(self.ask(now, &aggregate, to, reason))
    }

    /// How many machines complain of a server that beats, and of how many, if that is enough to act on.
    fn shunned(&self, now: Time, server: &Server) -> Option<(usize, usize)> {
        let patience = self.patience();
        let is_heard = self.evidence.silence(now, server.id)? < patience.suspect_millis * 1_000;
        let (complain, all) = self.evidence.complaints(now, patience, server.id);
        let are_many = complain >= COMPLAINTS_MIN && complain.saturating_mul(SHARE) >= all;
        (server.state == ServerState::Alive && is_heard && are_many).then_some((complain, all))
    }

    fn is_reached(&self, now: Time, server: ServerId) -> bool {
        self.evidence.complaints(now, self.patience(), server).0 == 0
    }

    /// The next aggregate that goes home, if they do so by themselves and it is the time of day for it.
    pub(super) fn send_home(&mut self, now: Time, watches: Time) -> Option<Change> {
        let policy = self.state.cell()?.fail_back;
        if !policy.is_auto || policy.window.is_some_and(|window| !window.contains(self.date)) {
            return None;
        }
        let is_moving = self.state.aggregates().any(|a| a.state == AggregateState::Draining);
        let is_soon = self.asked.values().any(|asked| now.saturating_sub(asked.at) < PACE);
        if is_moving || is_soon {
            return None;
        }
        let (aggregate, to, reason) = self.state.aggregates().find_map(|aggregate| {
            let home = *aggregate
                .attached
                .first()
                .filter(|home| Some(**home) != aggregate.owner)?;
            let steady = self.evidence.steady(now, home)?;
            let is_long = steady >= policy.after_seconds.saturating_mul(1_000_000);
            let is_well = is_long && self.taken_by(now, watches, aggregate, home).is_some();
            let owner = self.state.known_server(aggregate.owner?).ok()?;
            if !is_well || owner.state != ServerState::Alive || !self.may_ask(now, aggregate) {
                return None;
            }
            let name = &self.state.known_server(home).ok()?.name;
            let reason = format!("home to {name}, which has been well for {} s", steady / 1_000_000);
            Some((aggregate.clone(), home, reason))
        })?;
        Some(self.ask(now, &aggregate, to, reason))
    }

    /// It is served where it is, nothing holds it, and its owner was not asked just now.
    fn may_ask(&self, now: Time, aggregate: &Aggregate) -> bool {
        let is_again = |asked: &Asked| asked.epoch == aggregate.epoch && now.saturating_sub(asked.at) < AGAIN;
        aggregate.state == AggregateState::Exported
            && aggregate.held.is_none()
            && !self.is_braked(now, aggregate)
            && !self.asked.get(&aggregate.id).is_some_and(is_again)
    }

    fn ask(&mut self, now: Time, aggregate: &Aggregate, to: ServerId, reason: String) -> Change {
        let epoch = aggregate.epoch;
        self.asked.insert(aggregate.id, Asked { epoch, at: now });
        self.brake(now, aggregate.id, epoch, true);
        Change::Judge {
            verdicts: Vec::new(),
            grants: Vec::new(),
            asks: vec![Ask {
                aggregate: aggregate.id,
                from: epoch,
                to,
            }],
            silent_micros: 0,
            reason,
        }
    }
}
