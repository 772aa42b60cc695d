//! Which aggregates want a new owner, and who may be it.

use std::collections::{BTreeMap, BTreeSet};

use baton_types::beat::PortState;
use baton_types::change::{Change, Grant};
use baton_types::limits::JUDGED_AGGREGATES_MAX;
use baton_types::record::{Aggregate, AggregateState, Server, ServerState};
use baton_types::{AggregateId, Epoch, Incarnation, ServerId, Time};

use super::{Action, Arbiter};

/// How long a server that runs anew may take to claim what was its own, before another gets it.
const CLAIM_MICROS: Time = 5_000_000;
/// Between two moves of one aggregate whose owner lives: the first, the second, and all that follow within the hour.
const BRAKES: [Time; 3] = [30_000_000, 120_000_000, 600_000_000];
/// After so long a quiet time all is forgotten.
const FORGIVEN: Time = 3_600_000_000;

/// An aggregate whose owner runs anew and has not claimed it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unclaimed {
    epoch: Epoch,
    run: Option<Incarnation>,
    since: Time,
}

/// An owner's port that fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failing {
    since: Time,
    /// People know that nobody else reaches the disk either.
    is_told: bool,
}

/// How often an aggregate was moved although its owner lived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brake {
    /// The epoch it was moved from: while it is still under this one, the move has not been made.
    from: Epoch,
    at: Time,
    count: usize,
    /// Its owner was asked, and served it until it had handed it over.
    was_warm: bool,
}

impl Arbiter {
    /// Watches those whose owner runs anew.
    pub(super) fn note_unclaimed(&mut self, now: Time) {
        let mut unclaimed = std::mem::take(&mut self.unclaimed);
        unclaimed.retain(|id, noted| {
            let known = self.state.known_aggregate(*id);
            known.is_ok_and(|a| a.epoch == noted.epoch && self.runs_anew(&a) == Some(noted.run))
        });
        for aggregate in self.state.aggregates() {
            if let Some(run) = self.runs_anew(aggregate) {
                let noted = Unclaimed {
                    epoch: aggregate.epoch,
                    run,
                    since: now,
                };
                unclaimed.entry(aggregate.id).or_insert(noted);
            }
        }
        self.unclaimed = unclaimed;
    }

    /// How long a grant may be on its way to somebody who is not heard.
    fn unheard(&self) -> Time {
        self.patience().isolated_millis * 1_000
    }

    /// Watches those whose owner lives by what others say, was granted them, and has not been seen to take them: it may
    /// never have heard of it. Or it took them and serves them no more, whether it could still say so or not.
    pub(super) fn note_untaken(&mut self, now: Time) {
        let patience = self.patience();
        let (suspect, dead) = (patience.suspect_millis * 1_000, patience.dead_millis * 1_000);
        let before = std::mem::take(&mut self.untaken);
        let is_silent = |server: &&Server| {
            self.evidence
                .silence(now, server.id)
                .is_none_or(|silence| silence >= suspect)
        };
        let own = self
            .state
            .servers()
            .filter(is_silent)
            .flat_map(|server| self.state.owned_by(server.id));
        let untaken = own.filter(|aggregate| {
            let seen = self.evidence.newest(now, suspect, aggregate);
            let is_left = || self.evidence.is_unwritten(now, (suspect, dead), aggregate);
            match aggregate.state {
                AggregateState::Unserved => true,
                state => state.is_served() && (seen.is_some_and(|newest| newest < aggregate.epoch) || is_left()),
            }
        });
        let since = |aggregate: &Aggregate| {
            let known = before.get(&aggregate.id).filter(|(epoch, _)| *epoch == aggregate.epoch);
            (aggregate.id, (aggregate.epoch, known.map_or(now, |(_, since)| *since)))
        };
        self.untaken = untaken.map(since).collect();
    }

    /// Finds what is not served as it should be; whether it gets another owner is a question of time and of who is fit.
    pub(super) fn note_wanting(&mut self) {
        self.wanting.clear();
        for aggregate in self.state.aggregates() {
            let Some(owner) = aggregate.owner else { continue };
            let is_alone = self
                .state
                .known_server(owner)
                .is_ok_and(|s| s.state == ServerState::Dead);
            if is_alone || aggregate.state == AggregateState::Unserved || self.unclaimed.contains_key(&aggregate.id) {
                self.wanting.entry(owner).or_default().push(aggregate.id);
            }
        }
    }

    /// The owner's new run, if `aggregate` was granted to an older one.
    fn runs_anew(&self, aggregate: &Aggregate) -> Option<Option<Incarnation>> {
        let owner = self.state.known_server(aggregate.owner?).ok()?;
        let is_older = aggregate.run.is_some() && aggregate.run != owner.incarnation;
        is_older.then_some(owner.incarnation)
    }

    /// New owners for what the owner of lost, gave up, or does not claim. Those of one owner at a time.
    pub(super) fn rehome(&mut self, now: Time, watches: Time) -> Option<Change> {
        let state = self.state.clone();
        let mut wanting = self.wanting.clone();
        for id in self.untaken.keys() {
            if let Some(owner) = state.aggregate_by_id(*id).and_then(|aggregate| aggregate.owner) {
                wanting.entry(owner).or_default().push(*id);
            }
        }
        for (owner, wanting) in wanting {
            let Ok(owner) = state.known_server(owner) else {
                continue;
            };
            let (mut grants, mut reason) = (Vec::new(), String::new());
            let wanting: BTreeSet<AggregateId> = wanting.into_iter().collect();
            let wanting = wanting.iter().filter_map(|id| state.aggregate_by_id(*id));
            let orphans = wanting.filter_map(|a| Some((a, self.orphaned(now, watches, owner, a)?)));
            let granted = orphans.filter_map(|(a, why)| Some((self.grant(now, watches, a)?, why)));
            for (grant, why) in granted.take(JUDGED_AGGREGATES_MAX) {
                grants.push(grant);
                reason = why;
            }
            if grants.is_empty() {
                continue;
            }
            if owner.state != ServerState::Dead {
                for grant in &grants {
                    self.brake(now, grant.aggregate, grant.from, false);
                }
            }
            return Some(Change::Judge {
                verdicts: Vec::new(),
                grants,
                asks: Vec::new(),
                silent_micros: 0,
                reason,
            });
        }
        None
    }

    /// Why `aggregate` wants another owner than its own; what was detached on purpose or is held does not.
    fn orphaned(&self, now: Time, watches: Time, owner: &Server, aggregate: &Aggregate) -> Option<String> {
        if aggregate.state == AggregateState::Detached || aggregate.held.is_some() {
            return None;
        }
        if owner.state == ServerState::Dead {
            return Some(format!("{} is dead: {}", owner.name, owner.evidence));
        }
        // The note may be older than the grant.
        let is_untaken = |(epoch, since): &(Epoch, Time)| {
            *epoch == aggregate.epoch && now.saturating_sub((*since).max(watches)) >= self.unheard()
        };
        if self.untaken.get(&aggregate.id).is_some_and(is_untaken) {
            return Some(match aggregate.state {
                AggregateState::Unserved => format!("{} is not heard, and does not serve it", owner.name),
                _ => format!("{} is not heard, and does not write to it", owner.name),
            });
        }
        // What its owner handed over well is no sign that it goes round.
        let was_warm = |brake: &Brake| brake.was_warm;
        if self.is_braked(now, aggregate) && !self.brakes.get(&aggregate.id).is_some_and(was_warm) {
            return None;
        }
        let waited = self
            .unclaimed
            .get(&aggregate.id)
            .map(|noted| now.saturating_sub(noted.since.max(watches)));
        match (waited, aggregate.state, aggregate.run) {
            (Some(waited), _, _) if waited >= CLAIM_MICROS => {
                Some(format!("{} runs anew and has not claimed it", owner.name))
            }
            // It gave it up itself; one that died and is back has its run still, and goes on or claims.
            (None, AggregateState::Unserved, None) => Some(aggregate.reason.clone()),
            _ => None,
        }
    }

    /// What a living owner's port fails on goes to one whose port is good, also a moment later: if the disk itself
    /// fails, moving mends nothing.
    pub(super) fn relieve(&mut self, now: Time, watches: Time, actions: &mut Vec<Action>) -> Option<Change> {
        let before = std::mem::take(&mut self.failing);
        let wait = self.patience().suspect_millis * 1_000;
        let (mut failing, mut chosen) = (BTreeMap::new(), None);
        let bad = self
            .evidence
            .bad_ports()
            .filter_map(|id| self.state.aggregate_by_id(id));
        let bad: BTreeMap<u32, &Aggregate> = bad.map(|aggregate| (aggregate.number, aggregate)).collect();
        for (aggregate, owner) in bad.into_values().filter_map(|a| Some((a, self.fails_on(a)?))) {
            let mut noted = before.get(&aggregate.id).copied().unwrap_or(Failing {
                since: now,
                is_told: false,
            });
            let takes = self
                .grant(now, watches, aggregate)
                .filter(|_| now.saturating_sub(noted.since) >= wait);
            match takes {
                Some(grant) if !self.is_braked(now, aggregate) => {
                    chosen.get_or_insert((grant, format!("{}: its port to the disk fails", owner.name)));
                }
                None if now.saturating_sub(noted.since) >= wait && !noted.is_told => {
                    noted.is_told = true;
                    actions.push(Action::Alarm(format!(
                        "aggregate {}: the port of its owner {} fails, and nobody else reaches the disk",
                        aggregate.name, owner.name
                    )));
                }
                Some(_) | None => {}
            }
            failing.insert(aggregate.id, noted);
        }
        self.failing = failing;
        let (grant, reason) = chosen?;
        self.brake(now, grant.aggregate, grant.from, false);
        Some(Change::Judge {
            verdicts: Vec::new(),
            grants: vec![grant],
            asks: Vec::new(),
            silent_micros: 0,
            reason,
        })
    }

    /// The owner of `aggregate`, if its own port fails on it.
    fn fails_on(&self, aggregate: &Aggregate) -> Option<&Server> {
        let owner = self.state.known_server(aggregate.owner?).ok()?;
        let port = self.evidence.port(owner.id, aggregate.id)?;
        let is_its = aggregate.state.is_served() && aggregate.run == owner.incarnation && aggregate.held.is_none();
        (is_its && port.state != PortState::Good).then_some(owner)
    }

    /// `aggregate`, unless it is held or was seized, for the first who may take it: attached, alive by record and by what is heard, its
    /// port good. Who shares the fate of its owner comes after all others, and the owner itself last, only if it is to
    /// try again what it gave up.
    pub(super) fn grant(&self, now: Time, watches: Time, aggregate: &Aggregate) -> Option<Grant> {
        let patience = self.patience();
        let (suspect, dead) = (patience.suspect_millis * 1_000, patience.dead_millis * 1_000);
        if aggregate.held.is_some() || self.evidence.is_seized(now, (suspect, dead), aggregate) {
            return None;
        }
        let owner = aggregate.owner.and_then(|id| self.state.known_server(id).ok());
        let shares_fate = |id: &ServerId| {
            let server = self.state.known_server(*id).ok();
            server
                .zip(owner)
                .is_some_and(|(server, owner)| server.shares_fate(owner))
        };
        let (near, far): (Vec<ServerId>, Vec<ServerId>) = aggregate
            .attached
            .iter()
            .filter(|id| Some(**id) != aggregate.owner)
            .partition(|id| shares_fate(id));
        let itself = aggregate
            .owner
            .iter()
            .filter(|_| aggregate.state == AggregateState::Unserved);
        far.iter()
            .chain(&near)
            .chain(itself)
            .find_map(|id| self.taken_by(now, watches, aggregate, *id))
    }

    /// `aggregate` for `id`, if it may take it.
    pub(super) fn taken_by(&self, now: Time, watches: Time, aggregate: &Aggregate, id: ServerId) -> Option<Grant> {
        let suspect = self.patience().suspect_millis * 1_000;
        let server = self.state.known_server(id).ok().filter(|server| server.is_fit())?;
        let port = self.evidence.port(id, aggregate.id)?;
        // Not for want of time to miss it: somebody who leads since a moment ago has missed nobody yet. And not for
        // what others hear of it: it must hear of the grant.
        let is_heard = self.evidence.silence(now, id).is_some_and(|silence| silence < suspect);
        let is_well = is_heard && self.weigh(now, watches, server).state == ServerState::Alive;
        (is_well && port.state == PortState::Good).then_some(Grant {
            aggregate: aggregate.id,
            from: aggregate.epoch,
            to: id,
            run: server.incarnation?,
            disk: port.newest,
        })
    }

    /// Whoever lets a held aggregate go has looked at it: what became of it before holds nothing back.
    pub(super) fn forget_held(&mut self) {
        let state = &self.state;
        self.brakes
            .retain(|id, _| state.known_aggregate(*id).is_ok_and(|a| a.held.is_none()));
    }

    pub(super) fn is_braked(&self, now: Time, aggregate: &Aggregate) -> bool {
        self.brakes.get(&aggregate.id).is_some_and(|brake| {
            let wait = BRAKES[brake.count.saturating_sub(1).min(BRAKES.len() - 1)];
            brake.from != aggregate.epoch && now.saturating_sub(brake.at) < wait
        })
    }

    /// Notes that `aggregate` leaves an owner that lives.
    pub(super) fn brake(&mut self, now: Time, aggregate: AggregateId, from: Epoch, was_warm: bool) {
        let before = self.brakes.get(&aggregate);
        let count = match before {
            Some(brake) if brake.from == from => brake.count,
            Some(brake) if now.saturating_sub(brake.at) < FORGIVEN => brake.count + 1,
            Some(_) | None => 1,
        };
        self.brakes.insert(
            aggregate,
            Brake {
                from,
                at: now,
                count,
                was_warm,
            },
        );
    }
}
