//! A member of the database: it applies the list at its own pace, and has a hub of watchers.
//!
//! | it has | after a crash |
//! |---|---|
//! | a snapshot, now and then | the last one |
//! | the entries after that, and how far they are agreed | the entries; it may have to learn again how far |
//! | the state, the hub, whom it owes an answer | what the snapshot and the entries make; nothing; nobody |

use std::collections::BTreeMap;
use std::sync::Arc;

use baton_flserver::state::{Action, Committed, Fldb};
use baton_flserver::watch::{self, Watch};
use baton_types::change::Proposal;
use baton_types::{Core, Time, Timestamp};

use super::habit::Habit;
use super::watching::{Stream, StreamId};
use super::{Duty, Message, REPLICAS, World};
use crate::invariants::i06_done_once::Name;
use crate::sim::State;

/// Between two signs of life to watchers, and of the leader to its followers.
const BEAT: Time = 20_000;
/// Most that the date of one member is before another's, in microseconds of the simulation.
const DATE_OFF_MAX: u64 = 10_000;
/// Nanoseconds of date in a microsecond of the simulation: locks and invitations end within a history.
const DATE_SCALE: u64 = 10_000_000;

/// Whole states are compared at every so many indexes; what follows from an entry, at each.
const COMPARED_EVERY: u64 = 8;

/// One member.
pub(super) struct Replica {
    pub state: Fldb,
    pub hub: Watch,
    pub streams: BTreeMap<StreamId, Stream>,
    /// Entries up to here are on its disk, and it knows that they are agreed.
    known: u64,
    /// Whom it takes for the leader.
    believes: Option<usize>,
    /// The term in which it takes itself for the leader.
    leads: Option<u64>,
    /// Whom it owes an answer.
    owed: BTreeMap<Name, Vec<usize>>,
    /// Its last snapshot.
    snapshot: Arc<[u8]>,
    /// The index of that.
    snapshot_index: u64,
    /// Entries up to here are no longer in its log.
    purged: u64,
    /// An `Apply` is on the agenda.
    is_busy: bool,
    date_off: u64,
    /// Microseconds that an entry takes it at most.
    pace: Time,
    /// Changes that its hub keeps.
    ring: usize,
}

impl World {
    /// A member as it is when the cell is made.
    pub(super) fn new_replica(&mut self) -> Replica {
        let ring = *self.seed.pick(&[2, 5, 20, 100]);
        let state = Fldb::default().keeping(self.kept);
        Replica {
            hub: Watch::new(state.clone(), ring),
            state,
            streams: BTreeMap::new(),
            known: 0,
            believes: None,
            leads: None,
            owed: BTreeMap::new(),
            snapshot: Arc::from([]),
            snapshot_index: 0,
            purged: 0,
            is_busy: false,
            date_off: self.seed.below(DATE_OFF_MAX),
            pace: *self.seed.pick(&[50, 500, 5_000]),
            ring,
        }
    }

    /// What is to be done when `replica` has just started.
    pub(super) fn start_replica(&mut self, replica: usize) {
        self.duty(0, replica, Duty::Beat);
        let delay = self.seed.between(20_000, 200_000);
        self.duty(delay, replica, Duty::Snapshot);
        self.go_on(replica);
    }

    /// The process is gone; what a new one begins with.
    pub(super) fn crash_replica(&mut self, replica: usize) -> Result<(), String> {
        for stream in self.replicas[replica].streams.keys().copied().collect::<Vec<_>>() {
            self.break_stream(stream);
        }
        let (habit, kept) = (self.habit, self.kept);
        let at = &mut self.replicas[replica];
        at.state = match at.snapshot_index {
            0 => Fldb::default(),
            index if habit == Habit::StartsEmpty => {
                let mut state = Fldb::default();
                state.step(0, Committed::Nothing(index));
                state
            }
            _ => Fldb::load(&at.snapshot).map_err(|e| e.to_string())?,
        }
        .keeping(kept);
        at.hub = Watch::new(at.state.clone(), at.ring);
        at.known = self.seed.between(at.snapshot_index, at.known.max(at.snapshot_index));
        (at.believes, at.leads, at.is_busy) = (None, None, false);
        at.owed.clear();
        at.streams.clear();
        self.oracles
            .agreed
            .same(&name(replica), &self.replicas[replica].state)?;
        let life = self.life(replica);
        self.oracles
            .grows
            .installed(member(replica), life, self.replicas[replica].state.applied())
    }

    /// Puts the next entry on the agenda if there is one.
    fn go_on(&mut self, replica: usize) {
        let at = &mut self.replicas[replica];
        if !at.is_busy && at.state.applied() < at.known {
            at.is_busy = true;
            let delay = self.seed.between(10, at.pace);
            self.duty(delay, replica, Duty::Apply);
        }
    }

    /// Applies the next entry.
    pub(super) fn apply(&mut self, replica: usize) -> Result<(), String> {
        self.replicas[replica].is_busy = false;
        let index = self.replicas[replica].state.applied() + 1;
        if index > self.replicas[replica].known {
            return Ok(()); // a snapshot took it there meanwhile
        }
        let (term, committed) = self.list.at(index).ok_or("a member knows more than is agreed")?;
        self.oracles.grows.applied(member(replica), self.life(replica), index)?;
        if let Some(step) = self.oracles.agreed.applied(&name(replica), term, &committed)? {
            self.oracles.owners.applied(step)?;
            self.oracles.once.applied(step)?;
        }
        let habit = self.habit;
        let at = &mut self.replicas[replica];
        let actions = (habit.apply())(&mut at.state, habit.taken(replica, committed));
        self.oracles.agreed.same_actions(&name(replica), index, &actions)?;
        if index.is_multiple_of(COMPARED_EVERY) {
            self.oracles
                .agreed
                .same(&name(replica), &self.replicas[replica].state)?;
        }
        self.note(replica, format_args!("applies {index}"));
        for action in actions {
            self.carry_out(replica, action);
        }
        self.go_on(replica);
        Ok(())
    }

    fn carry_out(&mut self, replica: usize, action: Action) {
        match action {
            Action::Changed(changed) => {
                let state = self.replicas[replica].state.clone();
                self.hub(replica, watch::Event::Applied(Arc::new(changed), state));
            }
            Action::Answer {
                session,
                sequence,
                index,
                outcome,
            } => {
                self.seen.repeated += u64::from(index < self.replicas[replica].state.applied());
                let told = outcome.map(|record| (index, record));
                for client in self.replicas[replica]
                    .owed
                    .remove(&(session, sequence))
                    .unwrap_or_default()
                {
                    let body = Message::Answer((session, sequence), Box::new(told.clone()));
                    self.send(replica, client, body);
                }
            }
        }
    }

    /// A snapshot comes from the leader.
    pub(super) fn install(&mut self, replica: usize, index: u64, bytes: &Arc<[u8]>) -> Result<(), String> {
        if index <= self.replicas[replica].state.applied() {
            return Ok(());
        }
        let state = Fldb::load(bytes).map_err(|e| e.to_string())?.keeping(self.kept);
        self.oracles.agreed.same(&name(replica), &state)?;
        self.oracles
            .grows
            .installed(member(replica), self.life(replica), index)?;
        self.note(replica, format_args!("installs {index}"));
        self.seen.installed += 1;
        let at = &mut self.replicas[replica];
        at.state = state.clone();
        (at.snapshot, at.snapshot_index, at.purged) = (bytes.clone(), index, index);
        at.known = at.known.max(index);
        self.hub(replica, watch::Event::Installed(state));
        Ok(())
    }

    /// Writes the state down, and forgets entries before it.
    pub(super) fn snapshot(&mut self, replica: usize) -> Result<(), String> {
        let tail = self.seed.below(10);
        let at = &mut self.replicas[replica];
        if at.state.applied() > at.snapshot_index {
            at.snapshot = at.state.dump().into();
            at.snapshot_index = at.state.applied();
            at.purged = at.snapshot_index.saturating_sub(tail);
            let (index, bytes) = (at.snapshot_index, at.snapshot.clone());
            self.oracles
                .agreed
                .same(&name(replica), &self.replicas[replica].state)?;
            self.note(
                replica,
                format_args!("writes a snapshot of {index}, {} bytes", bytes.len()),
            );
        }
        let delay = self.seed.between(20_000, 200_000);
        self.duty(delay, replica, Duty::Snapshot);
        Ok(())
    }

    /// Signs of life, to watchers and if it leads to the others.
    pub(super) fn beat(&mut self, replica: usize) {
        self.hub(replica, watch::Event::Tick);
        self.tell_others(replica);
        self.duty(BEAT, replica, Duty::Beat);
    }

    /// If `replica` leads, the others hear how far the list is agreed, or get a snapshot if they are far behind.
    fn tell_others(&mut self, replica: usize) {
        let (term, leader) = self.list.leadership();
        if leader != Some(replica) || self.replicas[replica].leads != Some(term) {
            return;
        }
        for other in (0..REPLICAS).filter(|other| *other != replica) {
            let at = &self.replicas[replica];
            let body = match self.replicas[other].known < at.purged {
                true => Message::Snapshot(at.snapshot_index, at.snapshot.clone()),
                false => Message::Agreed(term, at.known),
            };
            self.send(replica, other, body);
        }
    }

    /// `from`, who leads `term`, says that the list is agreed up to `index`.
    pub(super) fn hears_agreed(&mut self, replica: usize, from: usize, term: u64, index: u64) {
        let at = &mut self.replicas[replica];
        if at.leads.is_some_and(|own| own < term) {
            at.leads = None;
        }
        at.believes = Some(from);
        at.known = at.known.max(index);
        self.go_on(replica);
    }

    /// A client, by way of others or not, wants `proposal` done.
    pub(super) fn propose(&mut self, replica: usize, client: usize, mut proposal: Box<Proposal>) {
        let named = (proposal.session, proposal.sequence);
        let (term, _) = self.list.leadership();
        let at = &mut self.replicas[replica];
        match (at.leads, at.believes) {
            (Some(own), _) => {
                at.owed.entry(named).or_default().push(client);
                // One who was deposed and does not know it proposes in vain.
                if own == term {
                    proposal.date = self.date(replica);
                    self.answer_early(replica, client, &proposal);
                    self.list.propose(*proposal);
                    let delay = self.seed.between(200, 4_000);
                    self.duty(delay, replica, Duty::Commit(term));
                }
            }
            (None, Some(leader)) if leader != replica => self.send(replica, leader, Message::Forward(client, proposal)),
            (None, _) => self.send(replica, client, Message::NoLeader(named)),
        }
    }

    fn date(&self, replica: usize) -> Timestamp {
        let micros = self.agenda.now() + self.replicas[replica].date_off;
        Timestamp(i64::try_from(micros * DATE_SCALE).unwrap_or(i64::MAX))
    }

    fn answer_early(&mut self, replica: usize, client: usize, proposal: &Proposal) {
        if self.habit != Habit::AnswersBeforeCommit {
            return;
        }
        let mut state = self.replicas[replica].state.clone();
        let next = Committed::Change(state.applied() + 1, Box::new(proposal.clone()));
        for action in state.step(0, next) {
            if let Action::Answer { index, outcome, .. } = action {
                let told = outcome.map(|record| (index, record));
                let body = Message::Answer((proposal.session, proposal.sequence), Box::new(told));
                self.send(replica, client, body);
            }
        }
    }

    /// A majority may have what the leader of `term` proposed.
    pub(super) fn commit(&mut self, replica: usize, term: u64) {
        if self.list.leadership() != (term, Some(replica)) || !self.list.is_pending() {
            return;
        }
        if self.reaches_majority(replica) {
            self.list.commit(&mut self.seed);
            self.replicas[replica].known = self.list.head();
            self.note(replica, format_args!("has agreement up to {}", self.list.head()));
            self.tell_others(replica);
            self.go_on(replica);
        }
        if self.list.is_pending() {
            let delay = self.seed.between(500, 10_000);
            self.duty(delay, replica, Duty::Commit(term));
        }
    }

    /// Chooses a leader where there is none that works, and now and then where there is one.
    pub(super) fn elect(&mut self) {
        let (term, leader) = self.list.leadership();
        // One that was restarted does not lead on.
        let leads = |leader: usize| self.replicas[leader].leads == Some(term) && self.reaches_majority(leader);
        let works = leader.is_some_and(leads);
        let able: Vec<usize> = (0..REPLICAS)
            .filter(|replica| self.reaches_majority(*replica))
            .collect();
        let is_calm = self.is_healed || !self.seed.chance(100);
        if (works && is_calm) || able.is_empty() {
            return;
        }
        let new = *self.seed.pick(&able);
        let lost = self.list.elect(new, &mut self.seed);
        let (term, _) = self.list.leadership();
        self.seen.lost += lost as u64;
        self.seen.leaders += 1;
        self.note(new, format_args!("leads term {term}, {lost} proposals are lost"));
        self.replicas[new].leads = Some(term);
        self.replicas[new].believes = Some(new);
        self.duty(1_000, new, Duty::Commit(term));
    }

    fn reaches_majority(&self, replica: usize) -> bool {
        let hears = |other: &usize| {
            *other != replica
                && self.state_of(*other) == State::Up
                && !self.network.is_cut(replica, *other)
                && !self.network.is_cut(*other, replica)
        };
        self.state_of(replica) == State::Up && (0..REPLICAS).any(|other| hears(&other))
    }
}

/// The members' names begin at 1.
pub(super) fn member(replica: usize) -> u64 {
    replica as u64 + 1
}

pub(super) fn name(replica: usize) -> String {
    format!("fl{}", replica + 1)
}
