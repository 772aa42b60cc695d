//! `Trouble`: what goes wrong, and until when.

use std::collections::BTreeSet;

use baton_flserver::arbiter::Arbiter;
use baton_flserver::state::Fldb;
use baton_types::Time;
use baton_types::beat::PortState;
use baton_types::change::{AggregateRef, Change, Move, Moving, Takeover};

use super::server::{aggregate_id, alice, of, server_id};
use super::{AGGREGATES, MEMBERS, NODES, SERVERS, World};
use crate::sim::{Network, Seed, State};

const COUNT_MAX: u64 = 8;
/// Too short to be judged, long enough to be judged, and longer than anybody is waited for.
const LENGTHS: [(Time, Time); 3] = [(50_000, 600_000), (600_000, 2_500_000), (2_500_000, 12_000_000)];

/// One thing that goes wrong.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// Nothing passes from the first to the second.
    CutOneWay(usize, usize),
    /// Nothing passes between these and the others.
    Partition(BTreeSet<usize>),
    /// A node stands still, and goes on at the end as if nothing had been.
    Stop(usize),
    /// A node's process ends; at the end another runs. A server's guard may live to say so.
    Crash(usize, Guard),
    /// A server's port to a disk fails.
    Port(usize, usize, PortState),
    /// A guard is wrong: its server lives.
    FalseAlarm(usize),
    /// A server and the members do not hear each other; the other servers hear it.
    Isolated(usize),
    /// Clients say that a server answers them, or that it does not.
    Rumour(usize, bool),
}

/// What becomes of the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// It says what it saw.
    Speaks,
    /// It went down with its server.
    Dies,
}

/// The troubles of a history; those that end by `until` end by then.
pub(super) fn drawn(seed: &mut Seed, until: Time) -> Vec<(Time, Time, Trouble)> {
    let one = |seed: &mut Seed| {
        let (low, high) = *seed.pick(&LENGTHS);
        let begin = seed.below(until);
        let end = until.min(begin + seed.between(low, high));
        (begin, end, trouble(seed))
    };
    (0..seed.between(0, COUNT_MAX)).map(|_| one(seed)).collect()
}

fn guard(seed: &mut Seed) -> Guard {
    if seed.chance(500) { Guard::Speaks } else { Guard::Dies }
}

fn trouble(seed: &mut Seed) -> Trouble {
    let any = seed.index(NODES);
    let server = seed.index(SERVERS);
    match seed.below(9) {
        0 => Trouble::CutOneWay(any, (any + 1 + seed.index(NODES - 1)) % NODES),
        1 => Trouble::Partition((0..NODES).filter(|_| seed.chance(400)).collect()),
        2 => Trouble::Stop(any),
        3 => Trouble::Crash(any, guard(seed)),
        4 => Trouble::Port(
            server,
            seed.index(AGGREGATES),
            *seed.pick(&[PortState::Stalled, PortState::Unreadable]),
        ),
        5 => Trouble::FalseAlarm(server),
        6 => Trouble::Isolated(server),
        7 => Trouble::Rumour(server, seed.chance(500)),
        _ => Trouble::Crash(MEMBERS + server, guard(seed)),
    }
}

impl World {
    pub(super) fn begins(&mut self, trouble: &Trouble) -> Result<(), String> {
        self.disturbed(format_args!("{trouble:?} begins"));
        match trouble {
            Trouble::CutOneWay(from, to) => self.network.cut(*from, *to),
            Trouble::Partition(side) => self.across(side, Network::cut),
            Trouble::Stop(node) => {
                if *self.node(*node) == State::Up {
                    *self.node(*node) = State::Stopped;
                }
            }
            Trouble::Crash(node, guard) => self.crash(*node, *guard),
            Trouble::Port(server, aggregate, state) => {
                self.servers[*server].failing.insert(aggregate_id(*aggregate), *state);
            }
            Trouble::FalseAlarm(server) => self.attest(*server),
            Trouble::Isolated(server) => self.isolated(*server, Network::cut),
            Trouble::Rumour(server, is_good) => self.rumours.push((*server, *is_good)),
        }
        Ok(())
    }

    pub(super) fn ends(&mut self, trouble: &Trouble) -> Result<(), String> {
        self.disturbed(format_args!("{trouble:?} ends"));
        match trouble {
            Trouble::CutOneWay(from, to) => self.network.mend(*from, *to),
            Trouble::Partition(side) => self.across(side, Network::mend),
            Trouble::Stop(node) => return self.wake(*node),
            Trouble::Crash(node, _) => self.start(*node),
            Trouble::Port(server, aggregate, _) => {
                self.servers[*server].failing.remove(&aggregate_id(*aggregate));
            }
            Trouble::Isolated(server) => self.isolated(*server, Network::mend),
            Trouble::Rumour(server, is_good) => {
                if let Some(place) = self.rumours.iter().position(|known| *known == (*server, *is_good)) {
                    self.rumours.remove(place);
                }
            }
            // What was attested is another run's when it registers anew.
            Trouble::FalseAlarm(server) => {
                if *self.node(MEMBERS + server) == State::Up {
                    self.crash(MEMBERS + server, Guard::Dies);
                    self.start(MEMBERS + server);
                }
            }
        }
        Ok(())
    }

    /// All is mended, and then one server ends or is cut off for good.
    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.network.heal();
        self.is_healed = true;
        self.rumours.clear();
        self.fail_back("manual")?;
        for node in 0..NODES {
            self.wake(node)?;
            self.start(node);
        }
        for number in 0..SERVERS {
            self.servers[number].failing.clear();
            let undrain = Change::SetDrained {
                server: server_id(number),
                drained: false,
            };
            self.at_once(alice(), undrain)?;
        }
        let victim = MEMBERS + self.seed.index(SERVERS);
        match self.seed.below(5) {
            0 => self.crash(victim, Guard::Speaks),
            1 => self.crash(victim, Guard::Dies),
            2 => *self.node(victim) = State::Stopped,
            3 => self.isolated(victim - MEMBERS, Network::cut),
            _ => self.across(&BTreeSet::from([victim]), Network::cut),
        }
        self.disturbed(format_args!("node {victim} is lost for good"));
        Ok(())
    }

    fn fail_back(&mut self, policy: &str) -> Result<(), String> {
        let (key, value) = ("fail-back".to_owned(), policy.to_owned());
        self.at_once(alice(), Change::SetCell { key, value })
    }

    fn isolated(&mut self, server: usize, change: fn(&mut Network, usize, usize)) {
        for member in 0..MEMBERS {
            change(&mut self.network, MEMBERS + server, member);
            change(&mut self.network, member, MEMBERS + server);
        }
    }

    /// What an administrator does meanwhile.
    pub(super) fn wish(&mut self) -> Result<(), String> {
        if self.seed.chance(100) {
            let policy = *self.seed.pick(&["auto", "manual"]);
            self.disturbed(format_args!("aggregates go home: {policy}"));
            return self.fail_back(policy);
        }
        let server = server_id(self.seed.index(SERVERS));
        let aggregate = AggregateRef::Name(of(&format!("agg{}", self.seed.index(AGGREGATES))));
        let change = match self.seed.below(8) {
            6 => Change::SetDomain {
                server,
                domain: self
                    .seed
                    .chance(700)
                    .then(|| of(&format!("rack{}", self.seed.below(2)))),
            },
            7 => Change::Prefer { aggregate, server },
            0 => Change::SetDrained {
                server,
                drained: self.seed.chance(400),
            },
            1 => Change::Move(Move {
                what: Moving::Server(server),
                to: None,
                takeover: Takeover::Planned,
            }),
            kind => Change::Move(Move {
                what: Moving::Aggregates(vec![aggregate]),
                to: self.seed.chance(300).then_some(server),
                takeover: if kind == 2 { Takeover::Forced } else { Takeover::Planned },
            }),
        };
        self.disturbed(format_args!("alice wishes {change:?}"));
        self.at_once(alice(), change)
    }

    fn node(&mut self, node: usize) -> &mut State {
        match node {
            0..MEMBERS => &mut self.members[node].node,
            _ => &mut self.servers[node - MEMBERS].node,
        }
    }

    fn wake(&mut self, node: usize) -> Result<(), String> {
        if *self.node(node) != State::Stopped {
            return Ok(());
        }
        *self.node(node) = State::Up;
        if node < MEMBERS {
            for (from, what) in std::mem::take(&mut self.members[node].waiting) {
                self.hears(from, node, what)?;
            }
        }
        Ok(())
    }

    fn crash(&mut self, node: usize, guard: Guard) {
        if node >= MEMBERS && guard == Guard::Speaks && *self.node(node) != State::Down {
            self.attest(node - MEMBERS);
        }
        *self.node(node) = State::Down;
        if node >= MEMBERS {
            self.servers[node - MEMBERS].host_lives = self.seed.chance(500);
        }
        if node < MEMBERS {
            let member = &mut self.members[node];
            (member.arbiter, member.state) = (Arbiter::default(), Fldb::default());
            member.life += 1;
            member.waiting.clear();
            if self.leader == Some(node) {
                self.oracle.forgotten();
            }
        }
    }

    fn start(&mut self, node: usize) {
        if *self.node(node) != State::Down {
            return;
        }
        *self.node(node) = State::Up;
        if node >= MEMBERS {
            self.servers[node - MEMBERS].begin_anew();
        }
    }

    fn across(&mut self, side: &BTreeSet<usize>, change: fn(&mut Network, usize, usize)) {
        for inner in side {
            for outer in (0..NODES).filter(|node| !side.contains(node)) {
                change(&mut self.network, *inner, outer);
                change(&mut self.network, outer, *inner);
            }
        }
    }
}
