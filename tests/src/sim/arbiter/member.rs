//! Members: each has an arbiter, one of them leads, and the list is what they agree on.

use std::sync::Arc;

use baton_flserver::arbiter::{Action, Arbiter, Event};
use baton_flserver::state::{self, Committed, Fldb};
use baton_types::beat::Report;
use baton_types::change::{Change, ChangeSession, Proposal, Who};
use baton_types::record::{Record, ServerState};
use baton_types::{Core, Time, Timestamp};

use super::habit::Habit;
use super::server::{of, server_id};
use super::{Item, MEMBERS, Maker, NODES, Word, World};
use crate::sim::{Seed, State};

/// Looks at which a leader was missed before another is elected.
const UNLED_MAX: u64 = 5;
/// Machines whose clients say how a server answers: enough for it to be acted on.
const REPORTERS: usize = 4;
/// The bug: how long a member takes itself to have led when it begins to.
const LED_BEFORE: Time = 5_000_000;
/// An arbiter that heard nothing of its decision gives it up.
const DECISION: Time = 2_000_000;
/// Of a thousand decisions: lost, done twice, and late.
const TROUBLE_PERMILLE: [u64; 3] = [40, 40, 60];

/// One member of the location database.
pub(super) struct Member {
    pub node: State,
    pub life: u64,
    pub arbiter: Arbiter,
    /// What came while it stood still.
    pub waiting: Vec<(usize, Word)>,
    /// What it has applied.
    pub state: Fldb,
    /// Its clock is ahead of the world's by this.
    ahead: Time,
    told: u64,
}

impl Member {
    pub fn new(seed: &mut Seed) -> Member {
        Member {
            node: State::Up,
            life: 0,
            arbiter: Arbiter::default(),
            waiting: Vec::new(),
            state: Fldb::default(),
            ahead: seed.below(1_000_000_000),
            told: 0,
        }
    }
}

/// As whom a member judges.
fn itself(member: usize) -> Who {
    Who::Host {
        name: of(&format!("hosts/fl{}", member + 1)),
        server: None,
    }
}

impl World {
    pub(super) fn tick(&mut self, member: usize) -> Result<(), String> {
        self.step(member, Event::Tick(self.date()))?;
        // Whoever missed something is told again.
        self.members[member].told += 1;
        if self.members[member].told.is_multiple_of(10) {
            self.tell(member);
        }
        Ok(())
    }

    /// It leads, and knows it: a majority answers.
    fn leads(&self, member: usize) -> bool {
        self.leader == Some(member) && self.reaches_most(member)
    }

    fn reaches_most(&self, member: usize) -> bool {
        let is_reached = |other: &usize| {
            let is_linked = !self.network.is_cut(member, *other) && !self.network.is_cut(*other, member);
            self.members[*other].node == State::Up && (*other == member || is_linked)
        };
        (0..MEMBERS).filter(is_reached).count() > MEMBERS / 2
    }

    pub(super) fn elect(&mut self) -> Result<(), String> {
        if self.leader.is_some_and(|leader| self.reaches_most(leader)) {
            self.unled = 0;
            return Ok(());
        }
        self.unled += 1;
        if self.unled < UNLED_MAX {
            return Ok(());
        }
        let able: Vec<usize> = (0..MEMBERS).filter(|member| self.reaches_most(*member)).collect();
        self.leader = None;
        if !able.is_empty() {
            let leader = *self.seed.pick(&able);
            (self.leader, self.unled) = (Some(leader), 0);
            self.term += 1;
            self.seen.leaders += 1;
            self.oracle.leads(self.agenda.now());
            self.disturbed(format_args!("fl{} leads", leader + 1));
            let state = self.state.clone();
            self.learns(leader, state)?;
        }
        Ok(())
    }

    pub(super) fn member_hears(&mut self, member: usize, what: Word) -> Result<(), String> {
        match what {
            Word::State(state) => self.learns(member, *state),
            Word::Beat(beat) => self.step(member, Event::Beat(beat)),
            Word::Attested(server, run) => self.step(member, Event::Attested(server, run)),
            Word::Probe(_) | Word::Sign(..) | Word::Refusal => Ok(()), // servers ask servers
        }
    }

    /// What clients say reaches all who can hear: they have links of their own.
    pub(super) fn report(&mut self) -> Result<(), String> {
        for (server, is_good) in self.rumours.clone() {
            if is_good && self.servers[server].node != State::Up {
                continue;
            }
            for machine in 0..REPORTERS {
                for member in 0..MEMBERS {
                    if self.members[member].node == State::Up {
                        let report = Report {
                            server: server_id(server),
                            is_good,
                        };
                        self.step(member, Event::Reported(of(&format!("hosts/c{machine}")), report))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn learns(&mut self, member: usize, state: Fldb) -> Result<(), String> {
        if state.applied() <= self.members[member].state.applied() {
            return Ok(());
        }
        self.members[member].state = state.clone();
        self.step(member, Event::State(Arc::new(state)))?;
        self.tell(member);
        Ok(())
    }

    /// All others hear what this member has applied.
    fn tell(&mut self, member: usize) {
        let state = Word::State(Box::new(self.members[member].state.clone()));
        for other in (0..NODES).filter(|other| *other != member) {
            self.send(member, other, &state);
        }
    }

    pub(super) fn step(&mut self, member: usize, event: Event) -> Result<(), String> {
        let mut now = self.agenda.now() + self.members[member].ahead;
        // As whoever drives it does: nothing is decided as the leader of a term that is over.
        if !matches!(
            event,
            Event::Beat(_) | Event::Reported(..) | Event::Leads(_) | Event::Follows
        ) {
            let leads = self.leads(member);
            self.step(member, if leads { Event::Leads(self.term) } else { Event::Follows })?;
        }
        if self.habit == Habit::NeverWatches && matches!(event, Event::Leads(_)) {
            now = now.saturating_sub(LED_BEFORE);
        }
        for action in self.members[member].arbiter.step(now, event) {
            match action {
                Action::Alarm(text) => self.note(format_args!("fl{}", member + 1), format_args!("alarm: {text}")),
                Action::Propose(change) => self.decided(member, change)?,
            }
        }
        Ok(())
    }

    /// The leader's word goes into the list, late, twice or never; anybody else's is lost.
    fn decided(&mut self, member: usize, change: Change) -> Result<(), String> {
        let maker = Maker {
            member,
            life: self.members[member].life,
            term: self.term,
        };
        if self.leader != Some(member) {
            self.agenda.after(DECISION, Item::Settled(maker));
            return Ok(());
        }
        self.note(
            format_args!("fl{}", member + 1),
            format_args!("decides {}", said(&change)),
        );
        // What was decided meanwhile it cannot know; whether the list passes such grants over is judged there.
        self.oracle
            .decided(self.agenda.now(), &self.members[member].state, &change)?;
        if matches!(&change, Change::Judge { asks, .. } if !asks.is_empty()) {
            self.seen.asked += 1;
        }
        let proposal = Box::new(self.proposal(itself(member), change));
        let [lost, doubled, late] = TROUBLE_PERMILLE.map(|permille| !self.is_healed && self.seed.chance(permille));
        if lost {
            self.seen.lost += 1;
            self.disturbed(format_args!("that is lost"));
            if self.habit != Habit::WaitsForEver {
                self.agenda.after(DECISION, Item::Settled(maker));
            }
            return Ok(());
        }
        let delay = if late {
            self.seed.between(100_000, 1_500_000)
        } else {
            self.seed.between(500, 20_000)
        };
        if doubled {
            let again = self.seed.between(500, 2_000_000);
            self.agenda.after(delay + again, Item::Commit(proposal.clone(), None));
        }
        self.agenda.after(delay, Item::Commit(proposal, Some(maker)));
        Ok(())
    }

    fn date(&self) -> Timestamp {
        Timestamp(i64::try_from(self.agenda.now() * 1_000).unwrap_or(i64::MAX))
    }

    pub(super) fn proposal(&mut self, who: Who, change: Change) -> Proposal {
        self.sequence += 1;
        Proposal {
            session: ChangeSession(u128::from(self.sequence).to_le_bytes()),
            sequence: 1,
            born: self.state.applied(),
            date: self.date(),
            who,
            change,
        }
    }

    /// The list has another entry. What an old leader proposed may still get there, or not.
    pub(super) fn commit(&mut self, proposal: &Proposal, maker: Option<Maker>) -> Result<(), String> {
        let is_old = maker.is_some_and(|maker| maker.term != self.term);
        let is_lost = self.leader.is_none() || is_old && self.seed.chance(500);
        if !is_lost {
            let index = self.state.applied() + 1;
            let before = self.state.clone();
            let actions = self.state.step(0, Committed::Change(index, Box::new(proposal.clone())));
            for action in actions {
                if let state::Action::Changed(changed) = action {
                    self.count(&before, &changed.put);
                    self.oracle
                        .changed(self.agenda.now(), &before, &self.state, &proposal.change, &changed)?;
                }
            }
            if let Some(leader) = self.leader.filter(|leader| self.members[*leader].node == State::Up) {
                let state = self.state.clone();
                self.learns(leader, state)?;
            }
        }
        match maker {
            Some(maker) if is_lost => {
                self.disturbed(format_args!("a decision is lost with its leader"));
                self.agenda.after(DECISION, Item::Settled(maker));
                Ok(())
            }
            Some(maker) => self.settled(maker),
            None => Ok(()),
        }
    }

    /// What a life decided is no business of the next.
    pub(super) fn settled(&mut self, maker: Maker) -> Result<(), String> {
        let member = &self.members[maker.member];
        match member.node {
            State::Up if member.life == maker.life && self.leader == Some(maker.member) => {
                self.step(maker.member, Event::Settled)
            }
            State::Up if member.life == maker.life => self.step(maker.member, Event::Refused),
            State::Stopped if member.life == maker.life => {
                self.agenda.after(DECISION, Item::Settled(maker));
                Ok(())
            }
            State::Up | State::Stopped | State::Down => Ok(()),
        }
    }

    fn count(&mut self, before: &Fldb, put: &[Record]) {
        for record in put {
            let Record::Server(server) = record else { continue };
            let Ok(was) = before.known_server(server.id) else {
                continue;
            };
            match (was.state, server.state) {
                (ServerState::Alive | ServerState::Pending, ServerState::Dead) => self.seen.buried += 1,
                (ServerState::Alive, ServerState::Pending) => self.seen.late += 1,
                (ServerState::Dead, ServerState::Alive) => self.seen.revived += 1,
                (ServerState::Alive, ServerState::Alive) if server.evidence.contains("hears it beat") => {
                    self.seen.relayed += 1;
                }
                _ => {}
            }
        }
    }
}

/// A decision in a few words.
fn said(change: &Change) -> String {
    match change {
        Change::Judge {
            verdicts,
            grants,
            asks,
            reason,
            ..
        } => {
            let (verdicts, grants, asks) = (verdicts.len(), grants.len(), asks.len());
            format!("{verdicts} verdicts, {grants} grants, {asks} asks: {reason}")
        }
        other => format!("{other:?}"),
    }
}
