//! `Sim`: the seeded driver of a core. The other driver is a daemon.
//!
//! | happening          | reaches                                                                       |
//! |--------------------|-------------------------------------------------------------------------------|
//! | start, tick, sync  | the life that asked for it: nothing calls back into a process that is gone    |
//! | message            | whoever is up at its address then; lost if nobody is, or the link is cut      |
//! | anything, stopped  | waits, and arrives in order when the node goes on: that is a zombie           |
//!
//! Each step is noted before and after it is taken, then the invariants are checked. A core that panics is a
//! violation too.

use std::collections::BTreeSet;

use baton_types::Time;

use super::{
    Affliction, Agenda, Disk, Fault, Input, Network, NodeClock, Output, Seed, Simulated, Trace, Violation, caught,
};

/// Whether a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Up,
    /// It stands still and does not know it.
    Stopped,
    /// Its process is gone.
    Down,
}

/// One core and what belongs to it.
pub struct Node<C: Simulated> {
    core: C,
    state: State,
    life: u32,
    clock: NodeClock,
    disk: Disk<C::Record>,
    /// What arrived while it stood still.
    waiting: Vec<Told<C>>,
}

/// What a core of kind `C` is told.
type Told<C> = Input<<C as Simulated>::Message, <C as Simulated>::Record>;

impl<C: Simulated> Node<C> {
    /// The core; while the node is down, one that knows nothing yet.
    pub fn core(&self) -> &C {
        &self.core
    }

    /// Whether it runs.
    pub fn state(&self) -> State {
        self.state
    }

    /// How often it was reborn.
    pub fn life(&self) -> u32 {
        self.life
    }

    /// Its disk.
    pub fn disk(&self) -> &Disk<C::Record> {
        &self.disk
    }
}

/// Something on the agenda.
enum Item<C: Simulated> {
    Message(usize, usize, C::Message),
    /// To a node, in this life and no other.
    CallBack(usize, u32, CallBack<C>),
    Begin(Fault),
    End(Fault),
}

enum CallBack<C: Simulated> {
    Start,
    SyncEnds(usize),
    Tell(Told<C>),
}

/// A history: every choice comes from its seed, every step is checked, the same seed gives the same trace.
pub struct Sim<C: Simulated> {
    seed: Seed,
    agenda: Agenda<Item<C>>,
    network: Network,
    nodes: Vec<Node<C>>,
    make: Box<dyn Fn(usize) -> C>,
    trace: Trace,
}

impl<C: Simulated> Sim<C> {
    /// A history of `number` with `count` nodes, each made, and made again after a crash, by `make`.
    pub fn new(number: u64, count: usize, make: impl Fn(usize) -> C + 'static) -> Sim<C> {
        let mut seed = Seed::new(number);
        let network = Network::drawn(&mut seed);
        let nodes = (0..count)
            .map(|node| Node {
                core: make(node),
                state: State::Down,
                life: 0,
                clock: NodeClock::drawn(&mut seed),
                disk: Disk::default(),
                waiting: Vec::new(),
            })
            .collect();
        let (agenda, trace) = (Agenda::default(), Trace::new(number));
        let mut sim = Sim {
            seed,
            agenda,
            network,
            nodes,
            make: Box::new(make),
            trace,
        };
        for node in 0..count {
            let delay = sim.seed.below(1_000);
            sim.call_back(delay, node, CallBack::Start);
        }
        sim
    }

    /// The seed, for what the history itself has to choose.
    pub fn seed(&mut self) -> &mut Seed {
        &mut self.seed
    }

    /// The links.
    pub fn network(&mut self) -> &mut Network {
        &mut self.network
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Node<C>] {
        &self.nodes
    }

    /// What happened so far.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Ends the history.
    pub fn into_trace(self) -> Trace {
        self.trace
    }

    /// Puts a fault on the agenda; its times count from now.
    pub fn afflict(&mut self, Affliction { fault, begin, end }: Affliction) {
        self.agenda.after(begin, Item::Begin(fault.clone()));
        self.agenda.after(end, Item::End(fault));
    }

    /// Lets things happen until the virtual time `until`. After each, `check` gets all nodes and the number of the
    /// one that moved.
    ///
    /// # Errors
    /// What `check` found, or a core's panic.
    pub fn run(
        &mut self,
        until: Time,
        mut check: impl FnMut(&[Node<C>], usize) -> Result<(), String>,
    ) -> Result<(), Violation> {
        while let Some(item) = self.agenda.next(until) {
            if let Some(node) = self.happen(item)? {
                check(&self.nodes, node).map_err(|what| self.trace.violation(what))?;
            }
        }
        Ok(())
    }

    /// Lets `item` happen; returns the node that it moved.
    fn happen(&mut self, item: Item<C>) -> Result<Option<usize>, Violation> {
        match item {
            Item::Begin(fault) => Ok(self.begin(&fault)),
            Item::End(fault) => Ok(self.end(&fault)),
            Item::Message(from, to, _) if self.network.is_cut(from, to) => Ok(None),
            Item::Message(from, to, body) => self.tell(to, Input::Received { from, body }),
            Item::CallBack(node, life, _) if self.nodes[node].life != life => Ok(None),
            Item::CallBack(node, _, CallBack::Start) => self.start(node),
            Item::CallBack(node, _, CallBack::Tell(input)) => self.tell(node, input),
            Item::CallBack(node, _, CallBack::SyncEnds(upto)) => {
                // The disk does its work whether the process stands still or not.
                let is_synced = self.nodes[node].disk.sync(upto);
                self.tell(
                    node,
                    if is_synced {
                        Input::Synced { upto }
                    } else {
                        Input::DiskFailed
                    },
                )
            }
        }
    }

    fn start(&mut self, node: usize) -> Result<Option<usize>, Violation> {
        let at = &mut self.nodes[node];
        if at.state != State::Down {
            return Ok(None);
        }
        at.state = State::Up;
        let records = at.disk.records().to_vec();
        self.tell(node, Input::Start { records })
    }

    /// Tells `node`, if it is there to listen.
    fn tell(&mut self, node: usize, input: Told<C>) -> Result<Option<usize>, Violation> {
        match self.nodes[node].state {
            State::Up => self.step(node, input).map(|()| Some(node)),
            State::Stopped => {
                self.nodes[node].waiting.push(input);
                Ok(None)
            }
            State::Down => Ok(None),
        }
    }

    fn step(&mut self, node: usize, input: Told<C>) -> Result<(), Violation> {
        let now = self.agenda.now();
        let event = C::event(input);
        self.trace.note(now, format_args!("n{node}"), format_args!("{event:?}"));
        let at = &mut self.nodes[node];
        let local = at.clock.local(now);
        let actions = caught(|| at.core.step(local, event)).map_err(|what| self.trace.violation(what))?;
        for action in actions {
            self.trace
                .note(now, format_args!("n{node}"), format_args!("-> {action:?}"));
            self.perform(node, C::output(action));
        }
        Ok(())
    }

    fn perform(&mut self, node: usize, output: Output<C::Message, C::Record>) {
        match output {
            Output::Send { to, body } => {
                for delay in self.network.delays(node, to, &mut self.seed) {
                    self.agenda.after(delay, Item::Message(node, to, body.clone()));
                }
            }
            Output::Append { record } => {
                let (upto, delay) = self.nodes[node].disk.append(record, &mut self.seed);
                self.call_back(delay, node, CallBack::SyncEnds(upto));
            }
            Output::DropTail { count } => self.nodes[node].disk.drop_tail(count),
            Output::WakeIn(delay) => {
                let delay = self.nodes[node].clock.virtual_delay(delay);
                self.call_back(delay, node, CallBack::Tell(Input::Tick));
            }
        }
    }

    /// For the life that `node` has now, and no other.
    fn call_back(&mut self, delay: Time, node: usize, what: CallBack<C>) {
        let life = self.nodes[node].life;
        self.agenda.after(delay, Item::CallBack(node, life, what));
    }

    /// Begins a fault; returns the node whose state it changed.
    fn begin(&mut self, fault: &Fault) -> Option<usize> {
        self.trace
            .note(self.agenda.now(), "world", format_args!("{fault:?} begins"));
        match fault {
            Fault::CutOneWay { from, to } => self.network.cut(*from, *to),
            Fault::Partition { side } => self.across(side, Network::cut),
            Fault::DiskError { node } => self.nodes[*node].disk.fail(),
            Fault::Stop { node } if self.nodes[*node].state == State::Up => {
                self.nodes[*node].state = State::Stopped;
                return Some(*node);
            }
            Fault::Stop { .. } => {}
            Fault::Crash { node } => {
                self.crash(*node);
                return Some(*node);
            }
        }
        None
    }

    /// Ends a fault; returns the node whose state it changed.
    fn end(&mut self, fault: &Fault) -> Option<usize> {
        self.trace
            .note(self.agenda.now(), "world", format_args!("{fault:?} ends"));
        match fault {
            Fault::CutOneWay { from, to } => self.network.mend(*from, *to),
            Fault::Partition { side } => self.across(side, Network::mend),
            Fault::Stop { node } if self.nodes[*node].state == State::Stopped => {
                self.nodes[*node].state = State::Up;
                for input in std::mem::take(&mut self.nodes[*node].waiting) {
                    self.call_back(0, *node, CallBack::Tell(input));
                }
                return Some(*node);
            }
            Fault::Stop { .. } => {}
            Fault::DiskError { node } | Fault::Crash { node } => {
                if self.nodes[*node].state != State::Down {
                    self.crash(*node);
                }
                self.call_back(0, *node, CallBack::Start);
                return Some(*node);
            }
        }
        None
    }

    /// Does `change` to every link between `side` and the others, in both directions.
    fn across(&mut self, side: &BTreeSet<usize>, change: fn(&mut Network, usize, usize)) {
        for inner in side {
            for outer in (0..self.nodes.len()).filter(|node| !side.contains(node)) {
                change(&mut self.network, *inner, outer);
                change(&mut self.network, outer, *inner);
            }
        }
    }

    /// Cuts the power of `node`.
    fn crash(&mut self, node: usize) {
        let core = (self.make)(node);
        let at = &mut self.nodes[node];
        at.disk.crash(&mut self.seed, C::torn);
        at.waiting.clear();
        (at.core, at.state, at.life) = (core, State::Down, at.life + 1);
    }
}

#[cfg(test)]
mod tests;
