//! The arbiter: which file servers live, which are dead, and who takes over from those.
//!
//! It decides; the state machine does it, in one commit; the disks make it safe (I1 to I3). So it may be fast and
//! wrong: a false alarm costs a pause, never data. Every member weighs what it hears, only the leader decides.
//! It knows no clock, no network and no log: beats, attestations, the state and the time are told to it, and what
//! comes out is a change to be proposed.
//!
//! A *buddy* of a server is attached to an aggregate of its own: it asks it all the time whether it lives. A *beat* counts
//! as well when a buddy had it from the server and passed it on. A gate that is stuck counts as a beat that is late, and
//! whatever the server answers its buddies meanwhile as nothing.
//!
//! | beat | buddies find it | disk beat | besides | the server is |
//! |---|---|---|---|---|
//! | any | any | any | its guard saw it end | dead at once, and its aggregates another's |
//! | in time | any | any | | alive |
//! | in time by a buddy alone | answering | any | | alive, and people are told; it is given nothing, for it would not hear of it |
//! | late | any | any | | pending: nothing is taken from it, nothing given to it |
//! | late 1 s | refusing | stale 1 s, or nobody sees it | | dead: its host says so |
//! | late 1 s | silent, or nobody asks | stale 1 s | | dead |
//! | late 1 s | slow | any | | pending: busy is not dead |
//! | late 2 s | slow | stale 1 s | | dead |
//! | late 2 s | slow | fresh, or nobody sees it | | pending, and people are told |
//! | late 2 s | any other | fresh, or nobody sees it | clients are answered | pending, and people are told: it is cut off, and serves |
//! | late 2 s | any other | fresh, or nobody sees it | | dead: it is cut off, and its slots fence it |
//! | in time | any | any | its port fails on some aggregates | alive, and these are another's whose port is good all the while |
//! | in time | any | any | many clients are not answered | alive, and asked to hand over to one that they reach |
//!
//! What holds it back: a new leader, and one that was itself stopped, watches a whole `dead_millis` before it buries
//! anyone; and it buries the servers of one failure domain in each `dead_millis`, unless guards saw more of them end: what
//! looks like the death of the whole world is its own network's. An aggregate of a living owner is not moved again
//! before 30 s, then 2 min, then 10 min have passed; a dead owner is always replaced.
//!
//! | file | is |
//! |---|---|
//! | `arbiter/evidence.rs` | what was heard of servers, disks and clients |
//! | `arbiter/table.rs` | what follows from it for one server: the table above |
//! | `arbiter/owners.rs` | which aggregates want a new owner, and who may be it |
//! | `arbiter/asks.rs` | which living owners are asked to hand over: because of what clients say, and to go home |
//! | `arbiter/drive.rs` | the driver: time, the state, proposals |

mod asks;
mod drive;
mod evidence;
mod owners;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use baton_types::beat::{Beat, Report};
use baton_types::change::{Change, Verdict};
use baton_types::limits::{JUDGED_AGGREGATES_MAX, JUDGED_SERVERS_MAX};
use baton_types::record::{Patience, Server, ServerState};
use baton_types::{AggregateId, Core, EntryName, Epoch, Incarnation, PrincipalName, ServerId, Time, Timestamp};

use crate::state::{Fldb, one_line};
use asks::Asked;
pub use drive::Bench;
use evidence::Evidence;
use owners::{Brake, Failing, Unclaimed};
use table::{BEATS, Weighed};

/// Servers whose evidence a decision about many names: what is said of all of them stands in their records.
const REASONS_MAX: usize = 8;
/// Between two decisions that more servers than those are late, or back.
const MANY_MICROS: Time = 1_000_000;

/// What the arbiter hears.
#[derive(Clone, Debug)]
pub enum Event {
    /// A server says that it lives, and what its ports show.
    Beat(Beat),
    /// A server's guard saw this run of it end.
    Attested(ServerId, Incarnation),
    /// Clients on a machine say how a server answers them.
    Reported(PrincipalName, Report),
    /// The database, as far as this member has applied it.
    State(Arc<Fldb>),
    /// This member leads, in this term: a member that was stopped may lead again before it hears that it did not.
    Leads(u64),
    /// It does not.
    Follows,
    /// What was proposed last is decided, or lost; the state that came before this shows which.
    Settled,
    /// It was refused: whatever the reason, it is the same a moment later.
    Refused,
    /// Time passes; and what people call the time.
    Tick(Timestamp),
}

/// What the arbiter asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// To be put into the log, by this member as leader or not at all. No other comes before `Settled` or `Refused`.
    Propose(Change),
    /// People should know: something that it cannot mend.
    Alarm(String),
}

/// The core.
#[derive(Debug, Default)]
pub struct Arbiter {
    state: Arc<Fldb>,
    evidence: Evidence,
    /// While it leads: since when it watches without a gap.
    watches: Option<Time>,
    /// And in which term.
    term: u64,
    /// When it last heard of anything: ticks come all the time.
    stepped: Time,
    /// A proposal is on its way.
    is_settling: bool,
    /// When it last held a server to be dead on its silence alone, and of which failure domain that was.
    buried: Option<(Time, Option<EntryName>)>,
    date: Timestamp,
    /// When it last said of many servers at once that they are late, or back.
    restated: Time,
    /// Evidence that people are to be told of, and since when it stands: what changes each moment is not worth a word.
    odd: BTreeMap<ServerId, (String, Time)>,
    unclaimed: BTreeMap<AggregateId, Unclaimed>,
    /// Granted under this epoch to one who is not heard, and not seen to be served since.
    untaken: BTreeMap<AggregateId, (Epoch, Time)>,
    /// What may want a new owner, as things are, by those it has.
    wanting: BTreeMap<ServerId, Vec<AggregateId>>,
    /// Its own: the next leader knows of none, and may make one more move.
    brakes: BTreeMap<AggregateId, Brake>,
    /// Which owner's port fails, and since when: whether it is the port or the disk takes others a moment to see.
    failing: BTreeMap<AggregateId, Failing>,
    /// Owners that were asked to hand over.
    asked: BTreeMap<AggregateId, Asked>,
}

impl Core for Arbiter {
    type Event = Event;
    type Action = Action;

    fn step(&mut self, now: Time, event: Event) -> Vec<Action> {
        self.wake(now);
        match event {
            Event::Beat(beat) => self.evidence.heard(now, &self.state, beat),
            Event::Reported(by, report) => self.evidence.reported(now, &self.state, by, report),
            Event::State(state) => {
                // What somebody gave up need not wait; all else is a question of time, and has its tick.
                if self.learn(now, state)
                    && let Some(watches) = self.watches.filter(|_| !self.is_settling)
                {
                    let change = self.rehome(now, watches);
                    return self.propose(change);
                }
            }
            Event::Leads(term) if self.watches.is_none() || term != self.term => {
                (self.watches, self.term) = (Some(now), term);
                self.is_settling = false;
            }
            Event::Leads(_) => {}
            Event::Follows => {
                self.watches = None;
                self.is_settling = false;
            }
            Event::Attested(server, run) => {
                self.evidence.attested(&self.state, server, run);
                return self.decide(now);
            }
            Event::Settled => {
                self.is_settling = false;
                return self.decide(now);
            }
            Event::Refused => self.is_settling = false,
            Event::Tick(date) => {
                self.date = date;
                return self.decide(now);
            }
        }
        // A thousand servers beat five thousand times a second: what is only heard is weighed at the next tick.
        Vec::new()
    }
}

impl Arbiter {
    /// How long ago a server was last heard of by this member; `None` if it never was.
    pub fn silence(&self, now: Time, server: ServerId) -> Option<Time> {
        self.evidence.silence(now, server)
    }

    /// The index of the state that it knows.
    pub fn applied(&self) -> u64 {
        self.state.applied()
    }

    /// Whoever was stopped knows nothing of what it missed, whatever it hears of first: it watches anew.
    fn wake(&mut self, now: Time) {
        let gap = now.saturating_sub(self.stepped);
        if gap > self.patience().suspect_millis * 1_000 {
            self.watches = self.watches.map(|_| now);
        }
        self.stepped = self.stepped.max(now);
    }

    /// All servers and aggregates are gone through only when some of them changed; says whether they were.
    fn learn(&mut self, now: Time, state: Arc<Fldb>) -> bool {
        let is_news = state.owners_changed() != self.state.owners_changed();
        self.state = state;
        if is_news {
            self.evidence.learnt(now, &self.state);
            self.note_unclaimed(now);
            self.note_wanting();
        }
        is_news
    }

    fn patience(&self) -> Patience {
        evidence::patience(&self.state)
    }

    /// One decision at a time: the next is made on the state that the last has led to.
    fn decide(&mut self, now: Time) -> Vec<Action> {
        let Some(watches) = self.watches.filter(|_| !self.is_settling) else {
            return Vec::new();
        };
        self.note_untaken(now);
        self.forget_held();
        let state = self.state.clone();
        let all: Vec<(&Server, Weighed)> = state
            .servers()
            .map(|server| (server, self.weigh(now, watches, server)))
            .collect();
        self.note_odd(now, &all);
        let mut actions = Vec::new();
        let change = self
            .bury(now, watches, &all)
            .or_else(|| self.rehome(now, watches))
            .or_else(|| self.relieve(now, watches, &mut actions))
            .or_else(|| self.restate(now, &all))
            .or_else(|| self.heed_clients(now, watches))
            .or_else(|| self.send_home(now, watches));
        actions.append(&mut self.propose(change));
        actions
    }

    fn propose(&mut self, change: Option<Change>) -> Vec<Action> {
        let Some(change) = change else { return Vec::new() };
        self.is_settling = true;
        vec![Action::Propose(within_bounds(change))]
    }

    fn weigh(&self, now: Time, watches: Time, server: &Server) -> Weighed {
        self.evidence.weigh(now, watches, &self.state, server)
    }

    /// The death of a server, and new owners for what it had.
    fn bury(&mut self, now: Time, watches: Time, all: &[(&Server, Weighed)]) -> Option<Change> {
        let living = all.iter().filter(|(server, _)| server.state != ServerState::Dead);
        let dead = living.filter(|(_, weighed)| weighed.state == ServerState::Dead);
        let (server, weighed) = dead.max_by_key(|(_, weighed)| (weighed.is_attested, weighed.silent_micros))?;
        let dead_micros = self.patience().dead_millis * 1_000;
        let is_soon = |since: Time| now.saturating_sub(since) < dead_micros;
        let is_another =
            |(at, domain): &(Time, Option<EntryName>)| is_soon(*at) && (domain.is_none() || *domain != server.domain);
        if !weighed.is_attested && (is_soon(watches) || self.buried.as_ref().is_some_and(is_another)) {
            return None;
        }
        let incarnation = server.incarnation?;
        let reason = format!("{}: {}", server.name, weighed.evidence);
        let own = self.state.owned_by(server.id);
        let grants = own
            .filter_map(|aggregate| self.grant(now, watches, aggregate))
            .take(JUDGED_AGGREGATES_MAX) // the rest is without an owner then, and has its turn
            .collect();
        let change = Change::Judge {
            verdicts: vec![Verdict {
                server: server.id,
                incarnation,
                state: ServerState::Dead,
                evidence: weighed.evidence.to_string(),
            }],
            grants,
            asks: Vec::new(),
            silent_micros: weighed.silent_micros,
            reason,
        };
        if !weighed.is_attested {
            self.buried = Some((now, server.domain.clone()));
        }
        Some(change)
    }

    /// Notes what is odd about servers that nobody buries.
    fn note_odd(&mut self, now: Time, all: &[(&Server, Weighed)]) {
        let before = std::mem::take(&mut self.odd);
        let odd = |(server, weighed): &(&Server, Weighed)| {
            let since = before
                .get(&server.id)
                .filter(|(evidence, _)| *evidence == weighed.evidence)
                .map_or(now, |(_, since)| *since);
            (server.id, (weighed.evidence.to_string(), since))
        };
        self.odd = all.iter().filter(|(_, weighed)| weighed.is_odd).map(odd).collect();
    }

    /// Whether the record of a server should say something else although it stays what it is: something odd that has
    /// lasted, or its end.
    fn is_odd_news(&self, now: Time, server: &Server, weighed: &Weighed) -> bool {
        let wait = self.patience().suspect_millis * 1_000;
        let lasts =
            |(evidence, since): &(String, Time)| *evidence == weighed.evidence && now.saturating_sub(*since) >= wait;
        let is_told = server.evidence == weighed.evidence;
        let was_odd =
            server.state == ServerState::Alive && server.since != server.registered && server.evidence != BEATS;
        !is_told
            && (self.odd.get(&server.id).is_some_and(lasts)
                || (was_odd && weighed.evidence == BEATS && weighed.is_steady))
    }

    /// Whoever is late, whoever is back, and what is odd.
    fn restate(&mut self, now: Time, all: &[(&Server, Weighed)]) -> Option<Change> {
        let changed = |(server, weighed): &(&Server, Weighed)| {
            let is_news = match (server.state, weighed.state) {
                (ServerState::Alive, ServerState::Pending) | (ServerState::Pending, ServerState::Alive) => true,
                // A dead one that comes and goes is not alive.
                (ServerState::Dead, ServerState::Alive) => weighed.is_steady,
                (ServerState::Dead, ServerState::Pending | ServerState::Dead) => false,
                (ServerState::Alive | ServerState::Pending, ServerState::Dead) => false, // its turn comes
                (ServerState::Alive, ServerState::Alive) | (ServerState::Pending, ServerState::Pending) => {
                    self.is_odd_news(now, server, weighed)
                }
            };
            let incarnation = server.incarnation.filter(|_| is_news)?;
            let (since, name) = (server.since, server.name.to_string());
            Some((since, name, incarnation, server.id, weighed.clone()))
        };
        let mut changed: Vec<_> = all.iter().filter_map(changed).collect();
        if changed.len() > REASONS_MAX {
            // It may well be this member that is late. Everybody who watches is told of each: that must not be what
            // makes everything slow. Nobody has a second turn before all had one.
            if now.saturating_sub(self.restated) < MANY_MICROS {
                return None;
            }
            self.restated = now;
            changed.sort_by_key(|(since, ..)| *since);
            changed.truncate(JUDGED_SERVERS_MAX);
        }
        let silent_micros = changed.iter().map(|(.., weighed)| weighed.silent_micros).max()?;
        let reasons = changed
            .iter()
            .take(REASONS_MAX)
            .map(|(_, name, .., weighed)| format!("{name}: {}", weighed.evidence));
        let mut reason = reasons.collect::<Vec<String>>().join(", ");
        if let more @ 1.. = changed.len().saturating_sub(REASONS_MAX) {
            reason = format!("{more} more servers, and {reason}");
        }
        let verdicts = changed.into_iter().map(|(_, _, incarnation, server, weighed)| Verdict {
            server,
            incarnation,
            state: weighed.state,
            evidence: weighed.evidence.into_owned(),
        });
        Some(Change::Judge {
            verdicts: verdicts.collect(),
            grants: Vec::new(),
            asks: Vec::new(),
            silent_micros,
            reason,
        })
    }
}

/// A decision that the log gives back as it was put in: each text and list no longer than the wire allows.
fn within_bounds(change: Change) -> Change {
    let Change::Judge {
        mut verdicts,
        grants,
        asks,
        silent_micros,
        reason,
    } = change
    else {
        return change;
    };
    for verdict in &mut verdicts {
        verdict.evidence = one_line(std::mem::take(&mut verdict.evidence));
    }
    Change::Judge {
        verdicts,
        grants,
        asks,
        silent_micros,
        reason: one_line(reason),
    }
}
