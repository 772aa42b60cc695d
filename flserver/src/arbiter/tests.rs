//! Transcripts: what the arbiter hears, `----`, what it decides.
//!
//! Each block lets things happen and then shows every decision; a decision is put into the state at once, as a leader
//! with a quorum would, unless the block says `lost`.

use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use baton_types::beat::{Buddy, Found, Port, PortState, Sign};
use baton_types::change::{AggregateRef, ChangeSession, Held, Move, Moving, Proposal, Takeover, Who};
use baton_types::record::AggregateState;
use baton_types::{CellId, EntryName, Epoch, Error, PrincipalName, Timestamp};
use uuid::Uuid;

use super::*;
use crate::state::Committed;

/// A cell with one member, and its arbiter.
struct Cell {
    state: Fldb,
    arbiter: Arbiter,
    now: Time,
    sequence: u32,
    /// Of each server: run, beats sent, the ports it reports.
    servers: BTreeMap<u128, Beating>,
    /// Of each aggregate: how often its owner has written its beat.
    disk_beats: BTreeMap<u128, u64>,
    is_losing: bool,
    /// Of each server, how many machines with clients say whether it answers them.
    clients: BTreeMap<u128, (usize, bool)>,
    /// Epochs after which the next owner does not write its slot.
    untaken: BTreeMap<AggregateId, Epoch>,
    /// Who took it while nobody could grant it, and under which epoch.
    seized: BTreeMap<AggregateId, (u128, Epoch)>,
    out: Vec<String>,
}

#[derive(Clone, Default)]
struct Beating {
    run: u128,
    sequence: u64,
    gate_millis: u64,
    /// It sends nothing.
    is_silent: bool,
    /// What it writes to its disks does not arrive.
    is_stopped: bool,
    ports: BTreeMap<u128, Option<PortState>>,
    /// How the others answer it.
    finds: BTreeMap<u128, Found>,
}

fn of<T: FromStr<Err = Error>>(text: &str) -> T {
    text.parse().unwrap()
}

fn number(word: &str) -> u128 {
    word.trim_start_matches(char::is_alphabetic).parse().unwrap()
}

fn server_id(number: u128) -> ServerId {
    ServerId(Uuid::from_u128(number))
}

fn aggregate_id(number: u128) -> AggregateId {
    AggregateId(Uuid::from_u128(0xa000 + number))
}

fn run(server: u128, number: u128) -> Incarnation {
    Incarnation(Uuid::from_u128(0xf000 + 16 * server + number))
}

fn host(number: u128) -> Who {
    Who::Host {
        name: PrincipalName::host(&of::<EntryName>(&format!("fs{number}"))),
        server: Some(server_id(number)),
    }
}

fn arbiter_itself() -> Who {
    Who::Host {
        name: of("hosts/fl1"),
        server: None,
    }
}

impl Cell {
    fn new() -> Cell {
        let mut cell = Cell {
            state: Fldb::default(),
            arbiter: Arbiter::default(),
            now: 1_000_000_000,
            sequence: 0,
            servers: BTreeMap::new(),
            disk_beats: BTreeMap::new(),
            is_losing: false,
            clients: BTreeMap::new(),
            untaken: BTreeMap::new(),
            seized: BTreeMap::new(),
            out: Vec::new(),
        };
        let genesis = Change::Genesis {
            cell_id: CellId(Uuid::from_u128(1)),
            cell: of("example.org"),
            administrator: of("alice"),
            administrator_id: 1_000,
            member: of("fl1"),
            addresses: vec![of("fl1")],
        };
        cell.change(Who::Database, genesis);
        cell
    }

    fn change(&mut self, who: Who, change: Change) {
        self.sequence += 1;
        let proposal = Proposal {
            session: ChangeSession([7; 16]),
            sequence: self.sequence,
            born: 0,
            date: Timestamp(i64::try_from(self.now).unwrap() * 1_000),
            who,
            change: change.clone(),
        };
        let index = self.state.applied() + 1;
        let actions = self.state.step(0, Committed::Change(index, Box::new(proposal)));
        for action in actions {
            if let crate::state::Action::Answer {
                outcome: Err(error), ..
            } = action
            {
                self.out.push(format!("refused: {error}"));
            }
        }
        self.hear(Event::State(Arc::new(self.state.clone())));
    }

    fn hear(&mut self, event: Event) {
        for action in self.arbiter.step(self.now, event) {
            match action {
                Action::Alarm(text) => self.out.push(format!("alarm: {text}")),
                Action::Propose(change) => self.decided(change),
            }
        }
    }

    fn decided(&mut self, change: Change) {
        let Change::Judge {
            verdicts,
            grants,
            asks,
            reason,
            ..
        } = &change
        else {
            panic!("{change:?} is no judgement");
        };
        let read = Change::try_from(baton_proto::v1::Change::from(change.clone()));
        assert_eq!(read.unwrap(), change, "what the log cannot give back ends every member");
        let mut words: Vec<String> = Vec::new();
        for verdict in verdicts {
            let state = format!("{:?}", verdict.state).to_lowercase();
            words.push(format!("fs{} {state}", verdict.server.0.as_u128()));
        }
        for grant in grants {
            let name = &self.state.known_aggregate(grant.aggregate).unwrap().name;
            words.push(format!("{name} after {} to fs{}", grant.from, grant.to.0.as_u128()));
        }
        for ask in asks {
            let name = &self.state.known_aggregate(ask.aggregate).unwrap().name;
            words.push(format!("{name} asked over to fs{}", ask.to.0.as_u128()));
        }
        self.out.push(format!("{} ({reason})", words.join(", ")));
        if !self.is_losing {
            self.change(arbiter_itself(), change);
            self.hear(Event::Settled);
        }
    }

    fn register(&mut self, server: u128, run_number: u128) {
        let name = format!("fs{server}");
        let change = Change::RegisterServer {
            id: server_id(server),
            name: of(&name),
            addresses: vec![of(&name)],
            incarnation: run(server, run_number),
            beats: true,
        };
        let ports = self
            .servers
            .remove(&server)
            .map(|known| known.ports)
            .unwrap_or_default();
        let beating = Beating {
            run: run_number,
            ports,
            ..Beating::default()
        };
        self.servers.insert(server, beating);
        self.change(host(server), change);
    }

    /// Lets time pass: every 50 ms a tick, every 200 ms beats, every 400 ms the beats on the disks.
    fn pass(&mut self, millis: u64) {
        for _ in 0..millis / 50 {
            self.now += 50_000;
            if self.now.is_multiple_of(400_000) {
                self.write_disks();
            }
            if self.now.is_multiple_of(200_000) {
                self.beat();
            }
            if self.now.is_multiple_of(500_000) {
                self.report();
            }
            self.hear(Event::Tick(Timestamp(i64::try_from(self.now * 1_000).unwrap())));
        }
    }

    fn write_disks(&mut self) {
        for aggregate in self.state.aggregates() {
            let (seizer, epoch) = self.seized.get(&aggregate.id).copied().unwrap_or_default();
            let is_seized = epoch > aggregate.epoch;
            let owner = aggregate.owner.map(|id| id.0.as_u128());
            let owner = if is_seized { Some(seizer) } else { owner };
            if (is_seized || aggregate.state.is_served())
                && owner.and_then(|o| self.servers.get(&o)).is_some_and(|o| !o.is_stopped)
            {
                *self.disk_beats.entry(aggregate.number.into()).or_default() += 1;
            }
        }
    }

    /// What clients say again and again.
    fn report(&mut self) {
        for (server, (count, is_good)) in self.clients.clone() {
            for number in 0..count {
                let report = Report {
                    server: server_id(server),
                    is_good,
                };
                self.hear(Event::Reported(of(&format!("hosts/c{number}")), report));
            }
        }
    }

    fn beat(&mut self) {
        let numbers: Vec<u128> = self.servers.keys().copied().collect();
        for server in numbers {
            self.beat_of(server);
        }
    }

    fn beat_of(&mut self, server: u128) {
        let (state, disk_beats) = (&self.state, &self.disk_beats);
        let others = self.servers.clone();
        let buddy = |(other, found): (&u128, &Found)| Buddy {
            server: server_id(*other),
            found: *found,
            sign: (*found >= Found::Slow).then(|| Sign {
                incarnation: run(*other, others[other].run),
                sequence: others[other].sequence,
                gate_micros: others[other].gate_millis * 1_000,
            }),
        };
        let beating = self.servers.get_mut(&server).unwrap();
        if beating.is_stopped {
            return;
        }
        beating.sequence += 1;
        if beating.is_silent {
            return;
        }
        let (untaken, seized) = (&self.untaken, &self.seized);
        let newest = |id| {
            let epoch = state.known_aggregate(id).map_or(Epoch::NONE, |a| a.epoch);
            let epoch = seized.get(&id).map_or(epoch, |(_, seized)| epoch.max(*seized));
            match untaken.get(&id) {
                Some(old) if Epoch(old.0 + 1) == epoch => *old,
                Some(_) | None => epoch,
            }
        };
        let port = |(number, state_of_port): (&u128, &Option<PortState>)| Port {
            aggregate: aggregate_id(*number),
            newest: newest(aggregate_id(*number)),
            disk_beat: disk_beats.get(number).copied().unwrap_or_default(),
            state: state_of_port.unwrap_or(PortState::Good),
        };
        let beat = Beat {
            server: server_id(server),
            incarnation: run(server, beating.run),
            sequence: beating.sequence,
            gate_micros: beating.gate_millis * 1_000,
            ports: beating.ports.iter().map(port).collect(),
            clients: 20,
            buddies: beating.finds.iter().map(buddy).collect(),
        };
        self.hear(Event::Beat(beat));
    }

    fn claim(&mut self, server: u128, aggregate: u128) {
        let change = Change::Claim {
            aggregate: aggregate_id(aggregate),
            server: server_id(server),
            incarnation: run(server, self.servers[&server].run),
            disk_epoch: Epoch::NONE,
            takeover: Takeover::Planned,
        };
        self.change(host(server), change);
    }

    fn fails_on(&mut self, server: u128, aggregate: u128) {
        let Held { aggregate, epoch } = self.held(aggregate);
        let change = Change::Fail {
            aggregate,
            server: server_id(server),
            epoch,
            why: "its log does not replay".to_owned(),
        };
        self.change(host(server), change);
    }

    /// How an aggregate stands for its owner.
    fn held(&self, aggregate: u128) -> Held {
        Held {
            aggregate: aggregate_id(aggregate),
            epoch: self.state.known_aggregate(aggregate_id(aggregate)).unwrap().epoch,
        }
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["leads"] => self.hear(Event::Leads(1)),
            ["leads", "again"] => self.hear(Event::Leads(2)),
            ["follows"] => self.hear(Event::Follows),
            ["lost"] => self.is_losing = true,
            ["found"] => {
                self.is_losing = false;
                self.hear(Event::Settled);
            }
            ["another", "leader"] => {
                self.arbiter = Arbiter::default();
                self.hear(Event::State(Arc::new(self.state.clone())));
                self.hear(Event::Leads(1));
            }
            ["stopped", "for", millis] => self.now += millis.parse::<u64>().unwrap() * 1_000,
            ["after", millis] => self.pass(millis.parse().unwrap()),
            [fs, "registers", run] => self.register(number(fs), number(run)),
            [fs, "sees", agg] => {
                self.servers
                    .get_mut(&number(fs))
                    .unwrap()
                    .ports
                    .insert(number(agg), None);
                let report = Change::ReportAggregate {
                    server: server_id(number(fs)),
                    id: aggregate_id(number(agg)),
                    name: of(agg),
                };
                self.change(host(number(fs)), report);
            }
            ["unhold", agg] => {
                let aggregate = AggregateRef::Name(of(agg));
                self.change(alice(), Change::SetHeld { aggregate, why: None });
            }
            [fs, "claims", agg] => self.claim(number(fs), number(agg)),
            ["set", key, value] => {
                let (key, value) = (key.to_owned(), value.to_owned());
                self.change(alice(), Change::SetCell { key, value });
            }
            [agg, "prefers", fs] => {
                let aggregate = AggregateRef::Name(of(agg));
                let server = server_id(number(fs));
                self.change(alice(), Change::Prefer { aggregate, server });
            }
            [count, "clients", "of", fs, "are", "answered"] => self.say(number(fs), count, true),
            [count, "clients", "of", fs, "are", "not", "answered"] => self.say(number(fs), count, false),
            _ => self.deed(line, &words),
        }
    }

    fn say(&mut self, server: u128, count: &str, is_good: bool) {
        self.clients.insert(server, (count.parse().unwrap(), is_good));
    }

    fn deed(&mut self, line: &str, words: &[&str]) {
        let server = number(words[0]);
        match words[1..] {
            ["beats"] => self.beat_of(server),
            ["stops"] => self.servers.get_mut(&server).unwrap().is_stopped = true,
            ["wakes"] => {
                let beating = self.servers.get_mut(&server).unwrap();
                (beating.is_stopped, beating.is_silent) = (false, false);
            }
            ["is", "cut", "off"] => self.servers.get_mut(&server).unwrap().is_silent = true,
            ["gate", millis] => self.servers.get_mut(&server).unwrap().gate_millis = millis.parse().unwrap(),
            ["is", "seen", "to", "end"] => {
                let run = run(server, self.servers[&server].run);
                self.servers.get_mut(&server).unwrap().is_stopped = true;
                self.hear(Event::Attested(server_id(server), run));
            }
            ["finds", other, word] => {
                let found = match word {
                    "answering" => Found::Answers,
                    "slow" => Found::Slow,
                    "refusing" => Found::Refused,
                    "silent" => Found::Silent,
                    other => panic!("found '{other}'"),
                };
                let finds = &mut self.servers.get_mut(&server).unwrap().finds;
                finds.insert(number(other), found);
            }
            ["is", "in", domain] => {
                let change = Change::SetDomain {
                    server: server_id(server),
                    domain: Some(of(domain)),
                };
                self.change(alice(), change);
            }
            ["sees", "the", "old", "epoch", "of", agg] => {
                let held = self.held(number(agg));
                self.untaken.insert(held.aggregate, held.epoch);
            }
            _ => self.deed_of_owner(line, server, words),
        }
    }

    fn deed_of_owner(&mut self, line: &str, server: u128, words: &[&str]) {
        match words[1..] {
            ["hands", "over", agg] => {
                let change = Change::HandOver {
                    server: server_id(server),
                    rows: vec![self.held(number(agg))],
                };
                self.change(host(server), change);
            }
            ["abandons", agg] => {
                let change = Change::AbandonMove {
                    server: server_id(server),
                    rows: vec![self.held(number(agg))],
                    why: "calls do not end".to_owned(),
                };
                self.change(host(server), change);
            }
            ["port", agg, word] => {
                let state = match word {
                    "good" => PortState::Good,
                    "stalled" => PortState::Stalled,
                    "unreadable" => PortState::Unreadable,
                    other => panic!("port '{other}'"),
                };
                let ports = &mut self.servers.get_mut(&server).unwrap().ports;
                ports.insert(number(agg), Some(state));
            }
            ["gives", "up", agg] => {
                let Held { aggregate, epoch } = self.held(number(agg));
                let change = Change::GiveUp {
                    aggregate,
                    server: server_id(server),
                    epoch,
                    why: "its log does not replay".to_owned(),
                };
                self.change(host(server), change);
            }
            ["fails", "on", agg] => self.fails_on(server, number(agg)),
            ["detaches", agg] => {
                let Held { aggregate, epoch } = self.held(number(agg));
                let change = Change::Detach {
                    aggregate,
                    server: server_id(server),
                    epoch,
                };
                self.change(host(server), change);
            }
            ["is", "to", "hand", "over", agg] => {
                let wish = Move {
                    what: Moving::Aggregates(vec![AggregateRef::Name(of(agg))]),
                    to: None,
                    takeover: Takeover::Planned,
                };
                self.change(alice(), Change::Move(wish));
            }
            ["is", "drained"] => {
                let change = Change::SetDrained {
                    server: server_id(server),
                    drained: true,
                };
                self.change(alice(), change);
            }
            _ => self.deed_of_seizer(line, server, words),
        }
    }

    fn deed_of_seizer(&mut self, line: &str, server: u128, words: &[&str]) {
        match words[1..] {
            ["seizes", agg] => {
                let held = self.held(number(agg));
                let epoch = Epoch::new(held.epoch.era() + 1, 5);
                self.seized.insert(held.aggregate, (server, epoch));
            }
            ["is", "adopted", "with", agg] => {
                let aggregate = aggregate_id(number(agg));
                let change = Change::Adopt {
                    aggregate,
                    server: server_id(server),
                    incarnation: run(server, self.servers[&server].run),
                    epoch: self.seized[&aggregate].1,
                };
                self.change(host(server), change);
            }
            _ => panic!("'{line}' cannot happen"),
        }
    }

    /// Whatever is not as it would be if all were well.
    fn owners(&self) -> String {
        let stand = |a: &baton_types::record::Aggregate| {
            let owner = a
                .owner
                .map_or("nobody".to_owned(), |id| format!("fs{}", id.0.as_u128()));
            let state = match a.state {
                AggregateState::Exported => String::new(),
                other => format!(" {}", format!("{other:?}").to_lowercase()),
            };
            let held = a.held.as_ref().map_or("", |_| " held");
            format!("{} {owner} {}{state}{held}", a.name, a.epoch)
        };
        self.state.aggregates().map(stand).collect::<Vec<_>>().join(", ")
    }
}

fn alice() -> Who {
    Who::Principal {
        name: of("alice"),
        mech: "cert".to_owned(),
    }
}

/// Each block anew, as it comes out now.
fn replay(text: &str) -> String {
    let mut cell = Cell::new();
    let mut blocks = Vec::new();
    for block in text.trim().split("\n\n") {
        let told: Vec<&str> = block.lines().take_while(|line| *line != "----").collect();
        for line in told.iter().filter(|line| !line.starts_with('#')) {
            cell.line(line);
        }
        let mut lines: Vec<String> = told.iter().map(ToString::to_string).collect();
        lines.push("----".to_owned());
        lines.append(&mut cell.out);
        lines.push(cell.owners());
        blocks.push(lines.join("\n"));
    }
    blocks.join("\n\n") + "\n"
}

#[test]
fn transcripts_come_out_as_they_are_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/arbiter");
    let mut count = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let written = fs::read_to_string(&path).unwrap();
        let replayed = replay(&written);
        if std::env::var_os("BATON_UPDATE_TESTDATA").is_some() {
            fs::write(&path, &replayed).unwrap();
        } else {
            assert_eq!(replayed, written, "{}", path.display());
        }
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn many_servers_that_are_late_at_once_are_judged_in_turns() {
    let mut cell = Cell::new();
    cell.line("leads");
    for server in 1..=150 {
        cell.register(server, 1);
    }
    cell.pass(3_000);
    for beating in cell.servers.values_mut() {
        beating.is_silent = true;
    }
    let late = |cell: &Cell| cell.state.servers().filter(|s| s.state == ServerState::Pending).count();
    cell.pass(900);
    assert_eq!(late(&cell), 64);
    for beating in cell.servers.values_mut() {
        beating.is_silent = false;
    }
    cell.pass(500);
    assert_eq!(late(&cell), 64, "many are spoken of once a second");
    cell.pass(500);
    assert_eq!(late(&cell), 0);
}
