//! `arbiter`: who owns what, while servers and members stop, crash, are cut off, and lied about.
//!
//! Raft is only a list here: the leader's decisions are committed late, twice or never, and leaders change. The
//! arbiter and the state machine are as they will be: three members hear beats, one of them judges. Three file servers
//! are modelled as far as they matter: they beat, ask each other whether they live, take what they are granted, look at
//! their disks, hand over, give up, restart; what they write to the slots of two shared disks is kept, so that two owners
//! of one epoch show. Clients say how they are answered, and may be wrong about it.
//!
//! What must hold: an epoch belongs to one run of one server, on the disk too; epochs only grow; nobody is buried by
//! one who has not watched, nor two at once on silence alone that share no fate; what nobody alive serves is served by another within
//! [`BOUND`] of the last disturbance, if anybody is fit; and then nothing moves any more.
//!
//! | file | is |
//! |---|---|
//! | `arbiter/member.rs` | members: the arbiter, elections, the list |
//! | `arbiter/server.rs` | file servers and their disks |
//! | `arbiter/trouble.rs` | what goes wrong |
//! | `arbiter/oracle.rs` | what must hold |
//! | `arbiter/habit.rs` | bugs on purpose, which the oracles must find |

mod habit;
mod member;
mod oracle;
mod server;
#[cfg(test)]
mod tests;
mod trouble;

use std::collections::BTreeMap;
use std::fmt;

use baton_flserver::state::Fldb;
use baton_types::beat::{Beat, Sign};
use baton_types::change::{Change, Proposal};
use baton_types::{AggregateId, Incarnation, ServerId, Time};

use self::habit::Habit;
use self::member::Member;
use self::oracle::Oracle;
use self::server::{Disk, Server};
use self::trouble::Trouble;
use super::{Agenda, Network, Seed, State, Trace, Violation, caught};

const MEMBERS: usize = 3;
const SERVERS: usize = 3;
const NODES: usize = MEMBERS + SERVERS;
const AGGREGATES: usize = 2;

/// Troubles end here, but for the last, which stays.
const TROUBLES_UNTIL: Time = 15_000_000;
/// The longest that the arbiter may take, from the last thing that went wrong: a lost decision is found out after 2 s,
/// a new leader watches for 1 s, a server that is cut off is waited for 2 s, two more are buried 1 s apart, and one
/// that runs anew has 5 s to claim; of these the last and a death may follow on one another.
const BOUND: Time = 10_000_000;
/// Then a while in which nothing may move.
const UNTIL: Time = TROUBLES_UNTIL + BOUND + 3_000_000;

const TICK: Time = 50_000;
const BEAT: Time = 200_000;
/// The same with timers that make no sense.
const SELDOM: Time = 1_300_000;
const DISK_BEAT: Time = 400_000;
const SERVER_STEP: Time = 100_000;
const ELECTION: Time = 100_000;
const REPORT: Time = 300_000;
const WISH: (Time, Time) = (500_000, 4_000_000);

/// Something on the agenda.
#[derive(Debug)]
enum Item {
    Tick(usize),
    Elect,
    /// A server looks around.
    Look(usize),
    Beat(usize),
    DiskBeat(usize),
    /// The list gets another entry; a decision tells its maker.
    Commit(Box<Proposal>, Option<Maker>),
    /// A decision that was lost is given up.
    Settled(Maker),
    Hear {
        from: usize,
        to: usize,
        what: Word,
    },
    Begin(Trouble),
    End(Trouble),
    Wish,
    /// Clients say how servers answer them.
    Report,
    Check,
}

/// Which life of which member made a decision.
#[derive(Clone, Copy, Debug)]
struct Maker {
    member: usize,
    life: u64,
    term: u64,
}

/// What nodes hear from each other.
#[derive(Clone, Debug)]
enum Word {
    State(Box<Fldb>),
    Beat(Beat),
    Attested(ServerId, Incarnation),
    /// Whether you live; asked at.
    Probe(Time),
    /// I do; asked at.
    Sign(Time, Sign),
    /// Nobody listens here.
    Refusal,
}

/// What a history came across: trouble that never happens tests nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    buried: u64,
    attested: u64,
    late: u64,
    revived: u64,
    lost: u64,
    leaders: u64,
    handed_over: u64,
    relayed: u64,
    asked: u64,
}

/// One history.
struct World {
    seed: Seed,
    agenda: Agenda<Item>,
    network: Network,
    trace: Trace,
    /// What is agreed.
    state: Fldb,
    sequence: u32,
    members: Vec<Member>,
    leader: Option<usize>,
    term: u64,
    unled: u64,
    servers: Vec<Server>,
    disks: BTreeMap<AggregateId, Disk>,
    /// Of which servers clients say that they are answered, or are not.
    rumours: Vec<(usize, bool)>,
    oracle: Oracle,
    habit: Habit,
    seen: Seen,
    is_healed: bool,
}

/// One history of the arbiter as it is.
///
/// # Errors
/// What the oracle found.
pub fn history(seed: u64) -> Result<Trace, Violation> {
    history_of(seed, Habit::Sound).map(|(trace, _)| trace)
}

fn history_of(number: u64, habit: Habit) -> Result<(Trace, Seen), Violation> {
    let mut world = World::new(number, habit);
    match caught(|| world.run()).and_then(|ended| ended) {
        Ok(()) => Ok((world.trace, world.seen)),
        Err(what) => Err(world.trace.violation(what)),
    }
}

impl World {
    fn new(number: u64, habit: Habit) -> World {
        let mut seed = Seed::new(number);
        World {
            network: Network::drawn(&mut seed),
            agenda: Agenda::default(),
            trace: Trace::new(number),
            state: Fldb::default(),
            sequence: 0,
            members: (0..MEMBERS).map(|_| Member::new(&mut seed)).collect(),
            leader: Some(0),
            term: 1,
            unled: 0,
            servers: (0..SERVERS).map(Server::new).collect(),
            disks: (0..AGGREGATES)
                .map(|number| (server::aggregate_id(number), Disk::default()))
                .collect(),
            rumours: Vec::new(),
            oracle: Oracle::default(),
            habit,
            seen: Seen::default(),
            is_healed: false,
            seed,
        }
    }

    fn run(&mut self) -> Result<(), String> {
        self.begin_cell()?;
        if self.habit == Habit::Absurd {
            self.oracle.bears_absurdity();
            for (key, value) in [
                ("suspect-after", "400ms"),
                ("dead-after", "950ms"),
                ("isolated-after", "950ms"),
            ] {
                let (key, value) = (key.to_owned(), value.to_owned());
                self.at_once(server::alice(), Change::SetCell { key, value })?;
            }
        }
        for member in 0..MEMBERS {
            self.agenda.after(self.seed.below(TICK), Item::Tick(member));
        }
        for server in 0..SERVERS {
            self.agenda.after(self.seed.below(SERVER_STEP), Item::Look(server));
            self.agenda.after(self.seed.below(BEAT), Item::Beat(server));
            self.agenda.after(self.seed.below(DISK_BEAT), Item::DiskBeat(server));
        }
        self.agenda.after(REPORT, Item::Report);
        self.agenda.after(0, Item::Elect);
        self.agenda.after(self.seed.between(WISH.0, WISH.1), Item::Wish);
        for (begin, end, trouble) in trouble::drawn(&mut self.seed, TROUBLES_UNTIL) {
            self.agenda.after(begin, Item::Begin(trouble.clone()));
            self.agenda.after(end, Item::End(trouble));
        }
        self.run_until(TROUBLES_UNTIL)?;
        self.heal()?;
        self.agenda.after(0, Item::Check);
        self.run_until(UNTIL)
    }

    fn run_until(&mut self, until: Time) -> Result<(), String> {
        while let Some(item) = self.agenda.next(until) {
            self.happens(item)?;
        }
        Ok(())
    }

    fn happens(&mut self, item: Item) -> Result<(), String> {
        match item {
            Item::Tick(member) => {
                self.agenda.after(TICK, Item::Tick(member));
                if self.members[member].node == State::Up {
                    self.tick(member)?;
                }
                Ok(())
            }
            Item::Elect => {
                self.agenda.after(ELECTION, Item::Elect);
                self.elect()
            }
            Item::Look(server) => {
                self.agenda.after(SERVER_STEP, Item::Look(server));
                if self.servers[server].node == State::Up {
                    self.look(server)
                } else {
                    Ok(())
                }
            }
            Item::Beat(server) => {
                let every = if self.habit == Habit::Absurd { SELDOM } else { BEAT };
                self.agenda.after(every, Item::Beat(server));
                if self.servers[server].node == State::Up {
                    self.beat(server);
                }
                Ok(())
            }
            Item::DiskBeat(server) => {
                self.agenda.after(DISK_BEAT, Item::DiskBeat(server));
                if self.servers[server].node == State::Up {
                    self.disk_beat(server);
                }
                Ok(())
            }
            Item::Commit(proposal, maker) => self.commit(&proposal, maker),
            Item::Settled(maker) => self.settled(maker),
            Item::Hear { from, to, .. } if self.network.is_cut(from, to) => Ok(()),
            Item::Hear { from, to, what } => self.hears(from, to, what),
            Item::Begin(trouble) => self.begins(&trouble),
            Item::End(trouble) => self.ends(&trouble),
            Item::Wish => {
                let delay = self.seed.between(WISH.0, WISH.1);
                self.agenda.after(delay, Item::Wish);
                if self.is_healed { Ok(()) } else { self.wish() }
            }
            Item::Report => {
                self.agenda.after(REPORT, Item::Report);
                self.report()
            }
            Item::Check => {
                self.agenda.after(ELECTION, Item::Check);
                self.check()
            }
        }
    }

    /// A word reaches a node; what is stopped hears it when it wakes.
    fn hears(&mut self, from: usize, to: usize, what: Word) -> Result<(), String> {
        if to >= MEMBERS {
            self.server_hears(from, to - MEMBERS, what);
            return Ok(());
        }
        match self.members[to].node {
            State::Down => Ok(()),
            State::Stopped => {
                self.members[to].waiting.push((from, what));
                Ok(())
            }
            State::Up => self.member_hears(to, what),
        }
    }

    fn send(&mut self, from: usize, to: usize, what: &Word) {
        for delay in self.network.delays(from, to, &mut self.seed) {
            let what = what.clone();
            self.agenda.after(delay, Item::Hear { from, to, what });
        }
    }

    /// Something went wrong, or was done on purpose: what must happen within [`BOUND`] counts from now.
    fn disturbed(&mut self, what: fmt::Arguments<'_>) {
        self.oracle.disturbed(self.agenda.now());
        self.note("world", what);
    }

    fn note(&mut self, who: impl fmt::Display, what: fmt::Arguments<'_>) {
        self.trace.note(self.agenda.now(), who, what);
    }
}
