//! What must hold at every step, and what must have come about when all has been calm for long enough.

use std::collections::{BTreeMap, BTreeSet};

use baton_flserver::state::Fldb;
use baton_types::change::Change;
use baton_types::record::{AggregateState, Changed, Record, Server, ServerState, Tenure};
use baton_types::{AggregateId, Epoch, ServerId, Time};

use super::{BOUND, MEMBERS, World};
use crate::invariants::i01_one_owner::OneOwner;
use crate::sim::State;

/// How long a leader watches before it buries on silence alone, and from one such burial to the next.
const WATCH: Time = 1_000_000;
/// Between two moves of one aggregate from an owner that lives, by the arbiter.
const BRAKE: Time = 30_000_000;

/// Memory of what was.
#[derive(Default)]
pub(super) struct Oracle {
    owners: OneOwner,
    /// Timers make no sense, and whatever rests on them is not looked at.
    is_absurd: bool,
    epochs: BTreeMap<AggregateId, Epoch>,
    disturbed: Time,
    leads: Time,
    buried: Option<(Time, ServerId)>,
    /// When the arbiter last asked an owner that lived to hand over an aggregate, and under which epoch.
    asked: BTreeMap<AggregateId, (Epoch, Time)>,
    /// When the arbiter last moved an aggregate whose owner lived.
    relieved: BTreeMap<AggregateId, Time>,
    /// What this leader has granted, and from which epoch: what one before it decided may come into force under it.
    granted: BTreeSet<(AggregateId, Epoch)>,
    /// When it was last calm, and for how long.
    moved: Time,
}

impl Oracle {
    /// From here on only what rests on no timer is looked at.
    pub fn bears_absurdity(&mut self) {
        self.is_absurd = true;
    }

    pub fn disturbed(&mut self, now: Time) {
        self.disturbed = now;
    }

    pub fn leads(&mut self, now: Time) {
        (self.leads, self.buried) = (now, None);
        self.forgotten();
    }

    /// Brakes are in the leader's memory: the next one, or its next life, may make one more move.
    pub fn forgotten(&mut self) {
        self.relieved.clear();
        self.asked.clear();
        self.granted.clear();
    }

    /// A leader's decision, before it is in the list.
    pub fn decided(&mut self, now: Time, state: &Fldb, change: &Change) -> Result<(), String> {
        let Change::Judge {
            verdicts, grants, asks, ..
        } = change
        else {
            return Err(format!("the arbiter proposes {change:?}"));
        };
        if self.is_absurd {
            return Ok(());
        }
        let buried = verdicts.iter().filter(|verdict| verdict.state == ServerState::Dead);
        for verdict in buried.filter(|verdict| !verdict.evidence.contains("guard")) {
            let on = state
                .known_server(verdict.server)
                .map_or_else(|_| String::new(), |s| s.name.to_string());
            if now < self.leads + WATCH {
                return Err(format!("{on} is buried by a leader that has not watched"));
            }
            let server = state.known_server(verdict.server);
            let is_apart = |other: ServerId| match (&server, state.known_server(other)) {
                (Ok(server), Ok(other)) => !server.shares_fate(other),
                _ => true,
            };
            if self
                .buried
                .is_some_and(|(last, other)| now < last + WATCH && is_apart(other))
            {
                return Err(format!("{on} is buried too soon after another"));
            }
            self.buried = Some((now, verdict.server));
        }
        for ask in asks {
            let known = state.known_aggregate(ask.aggregate).map_err(|e| e.to_string())?;
            if let Some((epoch, last)) = self.asked.insert(ask.aggregate, (ask.from, now))
                && (epoch == ask.from || now < last + BRAKE)
            {
                return Err(format!("{} was asked for twice in a short time", known.name));
            }
        }
        for grant in grants {
            self.granted.insert((grant.aggregate, grant.from));
            let fit = state.known_server(grant.to).is_ok_and(|server| server.is_fit());
            let known = state.known_aggregate(grant.aggregate).map_err(|e| e.to_string())?;
            if !fit && known.epoch == grant.from {
                return Err(format!("{} is to go to one who is not fit", known.name));
            }
        }
        Ok(())
    }

    /// What an entry of the list has changed.
    pub fn changed(
        &mut self,
        now: Time,
        before: &Fldb,
        after: &Fldb,
        change: &Change,
        changed: &Changed,
    ) -> Result<(), String> {
        self.owners.changed(changed)?;
        for record in &changed.put {
            let Record::Tenure(Tenure {
                aggregate,
                epoch,
                time_line: None,
                ..
            }) = record
            else {
                continue;
            };
            if self
                .epochs
                .insert(*aggregate, *epoch)
                .is_some_and(|last| last >= *epoch)
            {
                return Err(format!(
                    "epoch {epoch} of {aggregate} was granted after it or a later one"
                ));
            }
            self.moved = now;
            let owner = after.known_aggregate(*aggregate).ok().and_then(|known| known.owner);
            let owner = owner.and_then(|owner| after.known_server(owner).ok());
            if matches!(change, Change::Judge { .. }) && !owner.is_some_and(|server| server.is_fit()) {
                return Err(format!("{aggregate} went to one who is not fit"));
            }
            self.braked(now, (before, after), change, *aggregate)?;
        }
        Ok(())
    }

    /// A living owner's aggregate is not moved to and fro.
    fn braked(
        &mut self,
        now: Time,
        (before, after): (&Fldb, &Fldb),
        change: &Change,
        id: AggregateId,
    ) -> Result<(), String> {
        // What its owner never heard of nobody serves: that is moved on whenever it happens.
        let is_of_note = matches!(change, Change::Judge { reason, .. } if !reason.contains("is not heard"));
        if self.is_absurd || !is_of_note {
            return Ok(());
        }
        let aggregate = before.known_aggregate(id).map_err(|e| e.to_string())?;
        let owner = aggregate.owner.and_then(|owner| after.known_server(owner).ok());
        // The run that had it may have ended, and another begun before that was decided.
        let is_over = |owner: &Server| owner.state == ServerState::Dead || aggregate.run != owner.incarnation;
        if owner.is_none_or(is_over) || !self.granted.contains(&(id, aggregate.epoch)) {
            return Ok(());
        }
        match self.relieved.insert(id, now) {
            Some(last) if now < last + BRAKE => {
                Err(format!("{} was moved twice though its owners lived", aggregate.name))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl World {
    /// Once all has been calm for [`BOUND`], whatever can be served is, and nothing moves any more.
    pub(super) fn check(&mut self) -> Result<(), String> {
        let now = self.agenda.now();
        let oracle = &self.oracle;
        if oracle.is_absurd || now < oracle.disturbed + BOUND {
            return Ok(());
        }
        for aggregate in self.state.aggregates().filter(|a| a.state != AggregateState::Detached) {
            let name = &aggregate.name;
            if oracle.moved > oracle.disturbed + BOUND {
                return Err(format!("{name} or another moved though all was calm"));
            }
            let fit = (0..self.servers.len())
                .filter(|number| self.is_well(*number, aggregate.id))
                .count();
            let owner = (0..self.servers.len()).find(|number| Some(self.servers[*number].id()) == aggregate.owner);
            let serves = |number: usize| self.servers[number].serves.get(&aggregate.id) == Some(&aggregate.epoch);
            let is_fine =
                |number: usize| self.is_well(number, aggregate.id) || self.is_heard_by_another(number, aggregate.id);
            if fit > 0 && !owner.is_some_and(|number| is_fine(number) && serves(number)) {
                return Err(format!(
                    "{name} is {:?} and its owner {owner:?} does not serve it, though {fit} could and all was calm: \
                     {aggregate:?}",
                    aggregate.state
                ));
            }
        }
        Ok(())
    }

    /// It runs and sees the disk, and though no member hears it another server does: it is left alone.
    fn is_heard_by_another(&self, number: usize, aggregate: AggregateId) -> bool {
        let server = &self.servers[number];
        let hears = |other: usize| {
            let (one, two) = (MEMBERS + number, MEMBERS + other);
            other != number
                && self.is_well(other, aggregate)
                && !self.network.is_cut(one, two)
                && !self.network.is_cut(two, one)
        };
        let is_running = server.node == State::Up && !server.failing.contains_key(&aggregate);
        is_running && (0..self.servers.len()).any(hears)
    }

    /// It runs, hears and is heard, and sees the disk.
    fn is_well(&self, number: usize, aggregate: AggregateId) -> bool {
        let server = &self.servers[number];
        let node = MEMBERS + number;
        let is_linked =
            (0..MEMBERS).all(|member| !self.network.is_cut(node, member) && !self.network.is_cut(member, node));
        server.node == State::Up && is_linked && !server.failing.contains_key(&aggregate)
    }
}
