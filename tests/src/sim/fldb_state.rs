//! `fldb-state`: the state machine of the location database and its watchers, under an agreed list.
//!
//! Raft is only a list here: what is agreed stays, what is proposed may be lost or come twice, leaders change. All
//! the rest is as it will be: three members apply the list at their own pace, crash and start again from a snapshot
//! and the entries after it, or jump by the leader's snapshot; three clients ask for changes, good and bad, and ask
//! again elsewhere when no answer comes; three watchers follow, slow or quick, and resume at another member.
//! The real Raft below the same oracles is another simulation, and a slower one.
//!
//! | file | is |
//! |---|---|
//! | `fldb_state/list.rs` | Raft, as far as the state can tell |
//! | `fldb_state/replica.rs` | a member |
//! | `fldb_state/client.rs`, `changes.rs` | who asks, and for what |
//! | `fldb_state/watching.rs` | who listens |
//! | `fldb_state/habit.rs` | bugs on purpose, which the oracles must find |

mod changes;
mod client;
mod habit;
mod list;
mod replica;
#[cfg(test)]
mod tests;
mod watching;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use baton_flserver::state::{Fldb, Kept};
use baton_flserver::watch::Event;
use baton_types::Time;
use baton_types::change::{ChangeSession, Proposal};

use self::client::Client;
use self::habit::Habit;
use self::list::List;
use self::replica::Replica;
use self::watching::{StreamId, Watching};
use super::{Agenda, Fault, Network, Seed, State, Targets, Trace, Violation, caught};
use crate::invariants::agreed::Agreed;
use crate::invariants::answers_grow::AnswersGrow;
use crate::invariants::applied_grows::AppliedGrows;
use crate::invariants::i01_one_owner::OneOwner;
use crate::invariants::i06_done_once::{DoneOnce, Name, Told};

const REPLICAS: usize = 3;
const CLIENTS: usize = 3;
const WATCHERS: usize = 3;
const NODES: usize = REPLICAS + CLIENTS + WATCHERS;

/// Changes that each client asks for.
const CHANGES: u32 = 40;
/// Faults end here; then everybody must come to the same end.
const FAULTS_UNTIL: Time = 500_000;
/// Enough for what is left to do, at the slowest pace of all.
const UNTIL: Time = 6_000_000;
/// How often it is looked whether the leader still works.
const ELECTION: (Time, Time) = (20_000, 120_000);

/// What nodes say to one another.
#[derive(Clone, Debug)]
enum Message {
    /// Where do you stand?
    Greet,
    /// Here.
    Greeted(u64),
    /// Do this.
    Propose(Box<Proposal>),
    /// Do this for that client.
    Forward(usize, Box<Proposal>),
    /// This is what came of it.
    Answer(Name, Box<Told>),
    /// Nobody leads, as far as is known here.
    NoLeader(Name),
    /// The leader of this term knows the list to be agreed up to here.
    Agreed(u64, u64),
    /// The leader's state at an index.
    Snapshot(u64, Arc<[u8]>),
}

/// What a member does by itself, within one life.
#[derive(Clone, Copy, Debug)]
enum Duty {
    Apply,
    Commit(u64),
    Beat,
    Snapshot,
    Credit(StreamId),
    Gone(StreamId),
}

/// What rouses a client or a watcher.
#[derive(Clone, Copy, Debug)]
enum Wake {
    Client(u64),
    Connect,
    Take(StreamId),
    Break(StreamId),
}

/// Something on the agenda.
#[derive(Debug)]
enum Item {
    Message { from: usize, to: usize, body: Message },
    Duty { replica: usize, life: u64, what: Duty },
    Wake { node: usize, what: Wake },
    Elect,
    Begin(Fault),
    End(Fault),
}

/// A node, as far as faults go.
#[derive(Debug)]
struct Node {
    state: State,
    life: u64,
    /// What came while it stood still.
    waiting: Vec<Item>,
}

/// Those who say whether all is well.
struct Oracles {
    agreed: Agreed,
    grows: AppliedGrows,
    owners: OneOwner,
    once: DoneOnce,
    answers: AnswersGrow,
}

/// What a history came across: a fault that never happens tests nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    done: u64,
    refused: u64,
    repeated: u64,
    given_up: u64,
    sessions_lost: u64,
    lost: u64,
    leaders: u64,
    installed: u64,
    wholes: u64,
    completed: u64,
    streams_refused: u64,
    resumed: u64,
    granted: u64,
}

/// One history.
struct World {
    seed: Seed,
    agenda: Agenda<Item>,
    network: Network,
    trace: Trace,
    nodes: Vec<Node>,
    list: List,
    replicas: Vec<Replica>,
    clients: Vec<Client>,
    watchings: Vec<Watching>,
    streams: StreamId,
    kept: Kept,
    habit: Habit,
    is_healed: bool,
    oracles: Oracles,
    seen: Seen,
}

/// One history of the state and its watchers as they are.
///
/// # Errors
/// What an oracle found, or that somebody did not come to the common end.
pub fn history(seed: u64) -> Result<Trace, Violation> {
    history_of(seed, Habit::Sound).map(|(trace, _)| trace)
}

fn history_of(number: u64, habit: Habit) -> Result<(Trace, Seen), Violation> {
    let mut world = World::new(number, habit);
    let ended = caught(|| world.run()).and_then(|ended| ended);
    match ended {
        Ok(()) => {
            world.seen.granted = world.oracles.owners.granted() as u64;
            Ok((world.trace, world.seen))
        }
        Err(what) => Err(world.trace.violation(what)),
    }
}

impl World {
    fn new(number: u64, habit: Habit) -> World {
        let mut seed = Seed::new(number);
        let network = Network::drawn(&mut seed);
        let node = || Node {
            state: State::Up,
            life: 0,
            waiting: Vec::new(),
        };
        let kept = Kept {
            sessions: *seed.pick(&[3, 6, 1_000]),
            events: *seed.pick(&[3, 20]),
        };
        let oracles = Oracles {
            agreed: Agreed::new(Fldb::default().keeping(kept), habit.apply()),
            grows: AppliedGrows::default(),
            owners: OneOwner::default(),
            once: DoneOnce::default(),
            answers: AnswersGrow::default(),
        };
        let mut world = World {
            seed,
            agenda: Agenda::default(),
            network,
            trace: Trace::new(number),
            nodes: (0..NODES).map(|_| node()).collect(),
            list: List::default(),
            replicas: Vec::new(),
            clients: (0..CLIENTS).map(|_| Client::new(CHANGES)).collect(),
            watchings: Vec::new(),
            streams: 0,
            kept,
            habit,
            is_healed: false,
            oracles,
            seen: Seen::default(),
        };
        world.replicas = (0..REPLICAS).map(|_| world.new_replica()).collect();
        world.watchings = (0..WATCHERS).map(|_| world.new_watching()).collect();
        world
    }

    fn run(&mut self) -> Result<(), String> {
        self.begin_cell();
        let targets = Targets {
            nodes: NODES,
            mortal: 0..REPLICAS,
        };
        for affliction in targets.afflictions(&mut self.seed, FAULTS_UNTIL) {
            self.agenda
                .after(affliction.begin, Item::Begin(affliction.fault.clone()));
            self.agenda.after(affliction.end, Item::End(affliction.fault));
        }
        self.run_until(FAULTS_UNTIL, |_| false)?;
        self.network.heal();
        self.is_healed = true;
        self.run_until(UNTIL, World::is_settled)?;
        self.same_end()
    }

    /// The cell is there, and everybody sets out.
    fn begin_cell(&mut self) {
        self.list.elect(0, &mut self.seed);
        for (sequence, (who, change)) in (1..).zip(changes::beginning()) {
            self.list.propose(Proposal {
                session: ChangeSession([0; 16]),
                sequence,
                born: 0,
                date: baton_types::Timestamp::default(),
                who,
                change,
            });
        }
        while self.list.is_pending() {
            self.list.commit(&mut self.seed);
        }
        for replica in 0..REPLICAS {
            self.hears_agreed(replica, 0, 0, self.list.head());
            self.start_replica(replica);
        }
        self.agenda.after(0, Item::Elect);
        for node in REPLICAS..REPLICAS + CLIENTS {
            self.wake(1_000, node, Wake::Client(0));
        }
        for node in REPLICAS + CLIENTS..NODES {
            self.wake(0, node, Wake::Connect);
        }
    }

    fn run_until(&mut self, until: Time, is_over: fn(&World) -> bool) -> Result<(), String> {
        while !is_over(self)
            && let Some(item) = self.agenda.next(until)
        {
            self.happens(item)?;
        }
        Ok(())
    }

    fn happens(&mut self, item: Item) -> Result<(), String> {
        let node = match &item {
            Item::Message { to, .. } => Some(*to),
            Item::Duty { replica, life, .. } if self.nodes[*replica].life != *life => return Ok(()),
            Item::Duty { replica, .. } => Some(*replica),
            Item::Wake { node, .. } => Some(*node),
            Item::Elect | Item::Begin(_) | Item::End(_) => None,
        };
        match node.map(|node| self.nodes[node].state) {
            Some(State::Down) => return Ok(()),
            Some(State::Stopped) => {
                self.nodes[node.unwrap_or(0)].waiting.push(item);
                return Ok(());
            }
            Some(State::Up) | None => {}
        }
        match item {
            Item::Message { from, to, .. } if self.network.is_cut(from, to) => Ok(()),
            Item::Message { from, to, body } => self.received(from, to, body),
            Item::Duty { replica, what, .. } => self.does(replica, what),
            Item::Wake { node, what } => self.roused(node, what),
            Item::Elect => {
                self.elect();
                let delay = self.seed.between(ELECTION.0, ELECTION.1);
                self.agenda.after(delay, Item::Elect);
                Ok(())
            }
            Item::Begin(fault) => self.begins(&fault),
            Item::End(fault) => self.ends(&fault),
        }
    }

    fn received(&mut self, from: usize, to: usize, body: Message) -> Result<(), String> {
        match body {
            Message::Greet => self.send(to, from, Message::Greeted(self.replicas[to].state.applied())),
            Message::Greeted(applied) => self.greeted(to, applied),
            Message::Propose(proposal) => self.propose(to, from, proposal),
            Message::Forward(client, proposal) => self.propose(to, client, proposal),
            Message::Answer(named, told) => self.answered(to, named, &told)?,
            Message::NoLeader(named) => self.no_leader(to, named),
            Message::Agreed(term, index) => self.hears_agreed(to, from, term, index),
            Message::Snapshot(index, bytes) => self.install(to, index, &bytes)?,
        }
        Ok(())
    }

    fn does(&mut self, replica: usize, what: Duty) -> Result<(), String> {
        match what {
            Duty::Apply => self.apply(replica)?,
            Duty::Commit(term) => self.commit(replica, term),
            Duty::Beat => self.beat(replica),
            Duty::Snapshot => self.snapshot(replica)?,
            Duty::Credit(stream) => self.hub(replica, Event::Credit(stream, 1)),
            Duty::Gone(stream) => self.forget_stream(replica, stream),
        }
        Ok(())
    }

    fn roused(&mut self, node: usize, what: Wake) -> Result<(), String> {
        match what {
            Wake::Client(turn) => self.client_wakes(node, turn),
            Wake::Connect => self.connect(node),
            Wake::Take(stream) => self.take(node, stream)?,
            Wake::Break(stream) => self.break_stream(stream),
        }
        Ok(())
    }

    fn begins(&mut self, fault: &Fault) -> Result<(), String> {
        self.trace
            .note(self.agenda.now(), "world", format_args!("{fault:?} begins"));
        match fault {
            Fault::CutOneWay { from, to } => self.network.cut(*from, *to),
            Fault::Partition { side } => self.across(side, Network::cut),
            Fault::Stop { node } if self.nodes[*node].state == State::Up => self.nodes[*node].state = State::Stopped,
            Fault::Crash { node } => self.crash(*node)?,
            // The state keeps nothing that a failed sync could take.
            Fault::Stop { .. } | Fault::DiskError { .. } => {}
        }
        Ok(())
    }

    fn ends(&mut self, fault: &Fault) -> Result<(), String> {
        self.trace
            .note(self.agenda.now(), "world", format_args!("{fault:?} ends"));
        match fault {
            Fault::CutOneWay { from, to } => self.network.mend(*from, *to),
            Fault::Partition { side } => self.across(side, Network::mend),
            Fault::Stop { node } if self.nodes[*node].state == State::Stopped => {
                self.nodes[*node].state = State::Up;
                for item in std::mem::take(&mut self.nodes[*node].waiting) {
                    self.agenda.after(0, item);
                }
            }
            Fault::Stop { .. } => {}
            Fault::Crash { node } | Fault::DiskError { node } => {
                if self.nodes[*node].state != State::Down {
                    self.crash(*node)?;
                }
                self.nodes[*node].state = State::Up;
                self.start_replica(*node);
            }
        }
        Ok(())
    }

    fn crash(&mut self, replica: usize) -> Result<(), String> {
        let node = &mut self.nodes[replica];
        (node.state, node.life) = (State::Down, node.life + 1);
        node.waiting.clear();
        self.crash_replica(replica)
    }

    fn across(&mut self, side: &BTreeSet<usize>, change: fn(&mut Network, usize, usize)) {
        for inner in side {
            for outer in (0..NODES).filter(|node| !side.contains(node)) {
                change(&mut self.network, *inner, outer);
                change(&mut self.network, outer, *inner);
            }
        }
    }

    /// Nobody has anything left to do.
    fn is_settled(&self) -> bool {
        let head = self.list.head();
        self.clients.iter().all(Client::is_done)
            && !self.list.is_pending()
            && self.replicas.iter().all(|replica| replica.state.applied() == head)
            && self
                .watchings
                .iter()
                .all(|watching| watching.copy.index() == Some(head))
    }

    /// Everybody stands at the end of the list, with the same to show.
    fn same_end(&self) -> Result<(), String> {
        if !self.is_settled() {
            return Err("long after the last fault somebody had not come to the end".to_owned());
        }
        for (number, replica) in self.replicas.iter().enumerate() {
            self.oracles.agreed.same(&replica::name(number), &replica.state)?;
            if replica.state.dump() != self.replicas[0].state.dump() {
                return Err(format!(
                    "{} and fl1 write different dumps of one state",
                    replica::name(number)
                ));
            }
        }
        self.watchings
            .iter()
            .try_for_each(|watching| watching.copy.is_whole(&self.oracles.agreed))
    }

    fn state_of(&self, node: usize) -> State {
        self.nodes[node].state
    }

    fn life(&self, replica: usize) -> u64 {
        self.nodes[replica].life
    }

    fn send(&mut self, from: usize, to: usize, body: Message) {
        for delay in self.network.delays(from, to, &mut self.seed) {
            let body = body.clone();
            self.agenda.after(delay, Item::Message { from, to, body });
        }
    }

    /// For the life that `replica` has now, and no other.
    fn duty(&mut self, delay: Time, replica: usize, what: Duty) {
        let life = self.nodes[replica].life;
        self.agenda.after(delay, Item::Duty { replica, life, what });
    }

    fn wake(&mut self, delay: Time, node: usize, what: Wake) {
        self.agenda.after(delay, Item::Wake { node, what });
    }

    fn note(&mut self, node: usize, what: fmt::Arguments<'_>) {
        let now = self.agenda.now();
        match node {
            0..REPLICAS => self.trace.note(now, format_args!("fl{}", node + 1), what),
            _ => self.trace.note(now, format_args!("n{node}"), what),
        }
    }
}
