//! File servers as far as the arbiter can tell, and the slots of the disks they share.

use std::collections::BTreeMap;
use std::str::FromStr;

use baton_flserver::state::Fldb;
use baton_types::beat::{Beat, Buddy, Found, Port, PortState, Sign};
use baton_types::change::{Change, Held, Takeover, Who};
use baton_types::record::{Aggregate, AggregateState};
use baton_types::{AggregateId, CellId, Epoch, Error, Incarnation, PrincipalName, ServerId, Time};
use uuid::Uuid;

use super::habit::Habit;
use super::{AGGREGATES, Item, MEMBERS, SERVERS, Word, World};
use crate::sim::State;

/// Before a server asks for the same again.
const ASK_AGAIN: Time = 400_000;

/// An answer that takes longer is a late one.
const IN_TIME: Time = 600_000;

/// One disk's slots.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// Which run wrote the slot of which epoch: no epoch has two.
    slots: BTreeMap<Epoch, Incarnation>,
    /// The count in the newest slot.
    beat: u64,
}

impl Disk {
    fn newest(&self) -> Epoch {
        self.slots.last_key_value().map_or(Epoch::NONE, |(epoch, _)| *epoch)
    }
}

/// One file server.
pub(super) struct Server {
    pub node: State,
    number: usize,
    run: u64,
    sequence: u64,
    /// What it knows of the database, in all its lives: it is told anew.
    heard: Fldb,
    pub serves: BTreeMap<AggregateId, Epoch>,
    /// Which of its ports fail.
    pub failing: BTreeMap<AggregateId, PortState>,
    asked: Option<Time>,
    /// Its host answers that nobody listens while it is down.
    pub host_lives: bool,
    /// Of each other server: what came of the last probe that ended, when it was sent, and the last sign of life.
    found: BTreeMap<usize, (Found, Time, Option<Sign>)>,
}

impl Server {
    pub fn new(number: usize) -> Server {
        Server {
            node: State::Up,
            number,
            run: 1,
            sequence: 0,
            heard: Fldb::default(),
            serves: BTreeMap::new(),
            failing: BTreeMap::new(),
            asked: None,
            host_lives: true,
            found: BTreeMap::new(),
        }
    }

    pub fn id(&self) -> ServerId {
        server_id(self.number)
    }

    pub fn incarnation(&self) -> Incarnation {
        Incarnation(Uuid::from_u128(
            0xf0_0000 + 0x1000 * self.number as u128 + u128::from(self.run),
        ))
    }

    fn who(&self) -> Who {
        Who::Host {
            name: PrincipalName::host(&of(&self.name())),
            server: Some(self.id()),
        }
    }

    pub fn name(&self) -> String {
        format!("fs{}", self.number + 1)
    }

    /// Everything in its memory is gone, and it is another run.
    pub fn begin_anew(&mut self) {
        self.run += 1;
        self.sequence = 0;
        self.serves.clear();
        self.heard = Fldb::default();
        self.asked = None;
        self.found.clear();
    }

    fn reaches(&self, aggregate: AggregateId) -> bool {
        !self.failing.contains_key(&aggregate)
    }
}

pub(super) fn of<T: FromStr<Err = Error>>(text: &str) -> T {
    text.parse().expect("the simulation's own names are good")
}

pub(super) fn aggregate_id(number: usize) -> AggregateId {
    AggregateId(Uuid::from_u128(0xa0 + number as u128))
}

pub(super) fn server_id(number: usize) -> ServerId {
    ServerId(Uuid::from_u128(1 + number as u128))
}

pub(super) fn alice() -> Who {
    Who::Principal {
        name: of("alice"),
        mech: "cert".to_owned(),
    }
}

impl World {
    /// A cell with three servers, which all see all aggregates and own them in turn.
    pub(super) fn begin_cell(&mut self) -> Result<(), String> {
        let genesis = Change::Genesis {
            cell_id: CellId(Uuid::from_u128(1)),
            cell: of("example.org"),
            administrator: of("alice"),
            administrator_id: 1_000,
            member: of("fl1"),
            addresses: vec![of("fl1")],
        };
        self.at_once(Who::Database, genesis)?;
        for number in 2..=MEMBERS {
            let secret_hash = [u8::try_from(number).unwrap_or(0); 32];
            let invite = Change::Invite {
                secret_hash,
                kind: baton_types::record::InvitationKind::Member,
                principal: of(&format!("hosts/fl{number}")),
                id: None,
                groups: Vec::new(),
            };
            self.at_once(alice(), invite)?;
            let join = Change::UseInvitation {
                secret_hash,
                public_key_hash: secret_hash,
                addresses: vec![of(&format!("fl{number}"))],
            };
            self.at_once(Who::Nobody, join)?;
        }
        for server in 0..SERVERS {
            let (who, register) = (self.servers[server].who(), self.registration(server));
            self.at_once(who.clone(), register)?;
            for aggregate in 0..AGGREGATES {
                let report = Change::ReportAggregate {
                    server: server_id(server),
                    id: aggregate_id(aggregate),
                    name: of(&format!("agg{aggregate}")),
                };
                self.at_once(who.clone(), report)?;
            }
        }
        for aggregate in 0..AGGREGATES {
            let owner = &self.servers[aggregate % SERVERS];
            let (who, claim) = (owner.who(), claim(owner, aggregate_id(aggregate), Epoch::NONE));
            self.at_once(who, claim)?;
        }
        Ok(())
    }

    pub(super) fn at_once(&mut self, who: Who, change: Change) -> Result<(), String> {
        let proposal = self.proposal(who, change);
        self.commit(&proposal, None)
    }

    fn registration(&self, server: usize) -> Change {
        let server = &self.servers[server];
        Change::RegisterServer {
            id: server.id(),
            name: of(&server.name()),
            addresses: vec![of(&server.name())],
            incarnation: server.incarnation(),
            beats: true,
        }
    }

    pub(super) fn server_hears(&mut self, from: usize, number: usize, what: Word) {
        let (now, me) = (self.agenda.now(), MEMBERS + number);
        let server = &mut self.servers[number];
        match (server.node, what) {
            (State::Up, Word::State(state)) if state.applied() > server.heard.applied() => server.heard = *state,
            (State::Up, Word::Probe(sent)) => {
                let sign = Sign {
                    incarnation: server.incarnation(),
                    sequence: server.sequence,
                    gate_micros: 0,
                };
                self.send(me, from, &Word::Sign(sent, sign));
            }
            (State::Down, Word::Probe(_)) if server.host_lives => self.send(me, from, &Word::Refusal),
            (State::Up, Word::Sign(sent, sign)) => {
                let in_time = now.saturating_sub(sent) < IN_TIME;
                let found = if in_time { Found::Answers } else { Found::Slow };
                server.found.insert(from - MEMBERS, (found, now, Some(sign)));
            }
            (State::Up, Word::Refusal) => {
                let sign = server.found.get(&(from - MEMBERS)).and_then(|(.., sign)| *sign);
                server.found.insert(from - MEMBERS, (Found::Refused, now, sign));
            }
            _ => {}
        }
    }

    /// What a server finds of the others, whom it asks again.
    fn buddies(&mut self, number: usize) -> Vec<Buddy> {
        let now = self.agenda.now();
        let others = (0..SERVERS).filter(|other| *other != number);
        let buddy = |other: usize| {
            let (found, at, sign) = *self.servers[number].found.get(&other)?;
            let is_old = now.saturating_sub(at) >= IN_TIME;
            Some(Buddy {
                server: server_id(other),
                found: if is_old { Found::Silent } else { found },
                sign,
            })
        };
        let buddies: Vec<Buddy> = others.clone().filter_map(buddy).collect();
        for other in others {
            self.send(MEMBERS + number, MEMBERS + other, &Word::Probe(now));
        }
        buddies
    }

    /// A server compares what it is to be with what it is.
    pub(super) fn look(&mut self, number: usize) -> Result<(), String> {
        self.fence(number);
        let server = &self.servers[number];
        let heard = server.heard.clone();
        let Ok(me) = heard.known_server(server.id()) else {
            return Ok(());
        };
        if me.incarnation != Some(server.incarnation()) {
            let register = self.registration(number);
            self.ask(number, register);
            return Ok(());
        }
        for aggregate in heard.aggregates().filter(|a| a.owner == Some(me.id)) {
            self.tend(number, aggregate)?;
        }
        Ok(())
    }

    /// Whoever sees a newer slot serves no more.
    fn fence(&mut self, number: usize) {
        let disks = &self.disks;
        let server = &mut self.servers[number];
        let failing = &server.failing;
        server
            .serves
            .retain(|id, epoch| failing.contains_key(id) || disks[id].newest() <= *epoch);
    }

    fn tend(&mut self, number: usize, aggregate: &Aggregate) -> Result<(), String> {
        let (server, id) = (&self.servers[number], aggregate.id);
        let is_mine = aggregate.run == Some(server.incarnation()) || self.habit == Habit::ForgetsRuns;
        let serves = server.serves.get(&id) == Some(&aggregate.epoch);
        let held = Held {
            aggregate: id,
            epoch: aggregate.epoch,
        };
        let give_up = Change::GiveUp {
            aggregate: id,
            server: server.id(),
            epoch: aggregate.epoch,
            why: "its disk fails".to_owned(),
        };
        if !server.reaches(id) {
            if serves && self.seed.chance(30) {
                self.servers[number].serves.remove(&id);
                self.ask(number, give_up);
            }
            return Ok(());
        }
        let disk = &self.disks[&id];
        let (newest, own) = (disk.newest(), Some(&server.incarnation()));
        let has_given_up = disk.slots.get(&aggregate.epoch) == own && newest == aggregate.epoch;
        if !is_mine {
            let claim = claim(server, id, newest);
            self.ask(number, claim);
        } else if !serves && aggregate.state != AggregateState::Unserved {
            if aggregate.epoch > newest || self.habit == Habit::ForgetsRuns {
                return self.take(number, &held);
            }
            if has_given_up {
                self.ask(number, give_up); // nobody heard it
            }
        } else if serves && aggregate.state == AggregateState::Draining {
            let (server, rows) = (server.id(), vec![held]);
            let hands_over = Change::HandOver {
                server,
                rows: rows.clone(),
            };
            let abandons = Change::AbandonMove {
                server,
                rows,
                why: "calls do not end".to_owned(),
            };
            let change = if self.seed.chance(800) { hands_over } else { abandons };
            self.ask(number, change);
        }
        Ok(())
    }

    /// The slot is written, and nobody else ever wrote one of this epoch.
    fn take(&mut self, number: usize, held: &Held) -> Result<(), String> {
        let server = &mut self.servers[number];
        let (run, name) = (server.incarnation(), server.name());
        let disk = self.disks.entry(held.aggregate).or_default();
        let first = *disk.slots.entry(held.epoch).or_insert(run);
        disk.beat = 0;
        server.serves.insert(held.aggregate, held.epoch);
        if first != run {
            return Err(format!(
                "{name} took {} under epoch {}, which another run had",
                held.aggregate, held.epoch
            ));
        }
        self.note(
            name,
            format_args!("serves {} under epoch {}", held.aggregate, held.epoch),
        );
        Ok(())
    }

    /// A change on its way to the leader, if there is one that can be reached.
    fn ask(&mut self, number: usize, change: Change) {
        let (now, node) = (self.agenda.now(), MEMBERS + number);
        if self.servers[number].asked.is_some_and(|asked| now < asked + ASK_AGAIN) {
            return;
        }
        self.servers[number].asked = Some(now);
        let is_up = |leader: &usize| self.members[*leader].node == State::Up;
        let Some(leader) = self.leader.filter(is_up) else {
            return;
        };
        if self.network.is_cut(node, leader) || self.network.is_cut(leader, node) {
            return;
        }
        let who = self.servers[number].who();
        if !self.is_healed {
            self.disturbed(format_args!("fs{} asks for something", number + 1));
        }
        if matches!(change, Change::HandOver { .. }) {
            self.seen.handed_over += 1;
        }
        let proposal = Box::new(self.proposal(who, change));
        let delay = self.seed.between(1_000, 60_000);
        self.agenda.after(delay, Item::Commit(proposal, None));
    }

    pub(super) fn beat(&mut self, number: usize) {
        let buddies = self.buddies(number);
        let server = &mut self.servers[number];
        server.sequence += 1;
        let port = |(id, disk): (&AggregateId, &Disk)| Port {
            aggregate: *id,
            newest: disk.newest(),
            disk_beat: disk.beat,
            state: server.failing.get(id).copied().unwrap_or(PortState::Good),
        };
        let beat = Word::Beat(Beat {
            server: server.id(),
            incarnation: server.incarnation(),
            sequence: server.sequence,
            gate_micros: 0,
            ports: self.disks.iter().map(port).collect(),
            clients: 3,
            buddies,
        });
        for member in 0..MEMBERS {
            self.send(MEMBERS + number, member, &beat);
        }
    }

    /// The owner writes its slot, if it still is the newest.
    pub(super) fn disk_beat(&mut self, number: usize) {
        self.fence(number);
        let server = &self.servers[number];
        for id in server.serves.keys().filter(|id| server.reaches(**id)) {
            self.disks.entry(*id).or_default().beat += 1;
        }
    }

    /// Its guard sees the end of a run, or says so without having seen it.
    pub(super) fn attest(&mut self, number: usize) {
        let server = &self.servers[number];
        let word = Word::Attested(server.id(), server.incarnation());
        self.seen.attested += 1;
        for member in 0..MEMBERS {
            self.send(MEMBERS + number, member, &word);
        }
    }
}

fn claim(server: &Server, aggregate: AggregateId, newest: Epoch) -> Change {
    Change::Claim {
        aggregate,
        server: server.id(),
        incarnation: server.incarnation(),
        disk_epoch: newest,
        takeover: Takeover::Planned,
    }
}
