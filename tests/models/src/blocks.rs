//! Blocks freed and used again: how long must a free wait, and what may recovery trust?
//!
//! A segment is one block here, the tree one node, the data one block: every write frees the block before, every
//! checkpoint the node before. Must hold: what was acknowledged is in the history of every epoch that serves, and
//! readable; the node that recovery starts from is what the root says.

mod cases;
mod owner;

use crate::{Model, SERVERS, Step};
pub use cases::{cases, large};

const BLOCKS: usize = 7;
const EPOCHS_END: usize = 5;
/// What the blocks hold at birth: data in block 0, a node in block 1.
const FIRST_DATA: u8 = 20;
const FIRST_NODE: u8 = 100;

/// A set of blocks.
type Set = u16;

/// When a block that was freed may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    /// At once.
    AtOnce,
    /// After the next root.
    OneRoot,
    /// After the next but one: our rule.
    TwoRoots,
}

/// What rots or tears, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The newest root, where there is an older one in its head.
    NewestRoot,
    /// Any newest root, also the only one of its epoch: an older epoch's is then used.
    OnlyRoot,
    /// As [`Fault::NewestRoot`]; besides, a crash may leave a slot in shreds, which is then taken for a blank one.
    TornSlot,
}

/// A rule that is left out, besides those of [`Free`] and [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// All rules are kept.
    Nothing,
    /// A reserve is used as soon as its record is written.
    ReserveLook,
    /// Frees are promoted as soon as the root is written.
    RootLook,
    /// A sealed epoch serves at once.
    SealLook,
    /// The data of the last record is taken for written.
    DataCheck,
    /// What an older epoch reserved is used.
    Quarantine,
}

/// How much may happen, and by which rules.
#[derive(Clone, Copy, Debug)]
pub struct Blocks {
    /// Epochs granted.
    pub epochs: u8,
    /// Writes of clients.
    pub writes: u8,
    /// Reserves.
    pub reserves: u8,
    /// Checkpoints.
    pub checkpoints: u8,
    /// Crashes of servers.
    pub crashes: u8,
    /// How long a free waits.
    pub free: Free,
    /// What goes wrong besides.
    pub fault: Fault,
    /// What is left out.
    pub without: Without,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
enum Record {
    Write { block: u8, write: u8 },
    Reserve { block: u8 },
}

/// What an owner knows, and a root keeps.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
struct Memory {
    /// Block and content.
    data: (u8, u8),
    node: (u8, u8),
    free: Set,
    mine: Set,
    /// Freed in this generation, and in the one before.
    freed: [Set; 2],
    reserved: [Set; EPOCHS_END],
    history: u16,
    /// Epoch, first record, cut.
    pieces: Vec<(u8, u8, u8)>,
    /// The next record; the first that the newest root does not hold.
    at: u8,
    from: u8,
    seq: u8,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
enum Write {
    Slot(u8),
    Block { block: u8, content: u8 },
    Log { epoch: u8, at: u8, record: Record },
    Root { epoch: u8, memory: Box<Memory> },
}

/// What an owner waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Seal,
    SealLook,
    Ready,
    Reserve(u8),
    ReserveLook(u8),
    Write(u8, u8),
    WriteLook(u8, u8),
    Node,
    Root,
    RootLook,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Server {
    Idle,
    SlotWritten(u8),
    Recovering(u8),
    Owner(u8, Phase, Box<Memory>),
}

/// All that there is at one moment.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    newest: u8,
    /// Server + 1; 9 once it is used.
    granted: [u8; EPOCHS_END],
    slots: [bool; EPOCHS_END],
    logs: Vec<Vec<Option<Record>>>,
    roots: Vec<Vec<Memory>>,
    blocks: [u8; BLOCKS],
    in_flight: Vec<Write>,
    servers: [Server; SERVERS],
    writes: u8,
    reserves: u8,
    checkpoints: u8,
    crashes: u8,
    acknowledged: u16,
    /// Block and number of the last acknowledged write.
    last: (u8, u8),
    nodes: u8,
    has_rotted: bool,
}

impl State {
    fn submit(&mut self, write: Write) {
        self.in_flight.push(write);
        self.in_flight.sort();
    }

    fn waits_for(&self, write: &Write) -> bool {
        self.in_flight.contains(write)
    }

    fn newer(&self, epoch: u8) -> bool {
        self.slots[usize::from(epoch) + 1..].contains(&true)
    }

    fn holds(&self, (block, content): (u8, u8)) -> bool {
        self.blocks[usize::from(block)] == content
    }

    fn land(&mut self, write: Write) {
        match write {
            Write::Slot(epoch) => self.slots[usize::from(epoch)] = true,
            Write::Block { block, content } => self.blocks[usize::from(block)] = content,
            Write::Log { epoch, at, record } => {
                let log = &mut self.logs[usize::from(epoch)];
                while log.len() <= usize::from(at) {
                    log.push(None);
                }
                log[usize::from(at)] = Some(record);
            }
            Write::Root { epoch, memory } => {
                let roots = &mut self.roots[usize::from(epoch)];
                roots.push(*memory);
                roots.sort_by_key(|root| root.seq);
                if roots.len() > 2 {
                    roots.remove(0);
                }
            }
        }
    }
}

impl Model for Blocks {
    type State = State;

    fn start(&self) -> State {
        let memory = Memory {
            data: (0, FIRST_DATA),
            node: (1, FIRST_NODE),
            free: ((1 << BLOCKS) - 1) & !3,
            mine: 0,
            freed: [0; 2],
            reserved: [0; EPOCHS_END],
            history: 0,
            pieces: vec![],
            at: 0,
            from: 0,
            seq: 0,
        };
        let mut blocks = [0; BLOCKS];
        blocks[..2].copy_from_slice(&[FIRST_DATA, FIRST_NODE]);
        let mut roots = vec![vec![]; EPOCHS_END];
        roots[0].push(memory);
        State {
            newest: 0,
            granted: [0; EPOCHS_END],
            slots: [false; EPOCHS_END],
            logs: vec![vec![]; EPOCHS_END],
            roots,
            blocks,
            in_flight: vec![],
            servers: [Server::Idle, Server::Idle],
            writes: 0,
            reserves: 0,
            checkpoints: 0,
            crashes: 0,
            acknowledged: 0,
            last: (0, 0),
            nodes: 0,
            has_rotted: false,
        }
    }

    fn next(&self, state: &State) -> Vec<Step<State>> {
        let mut steps = vec![];
        if state.newest < self.epochs {
            for server in 0..SERVERS as u8 {
                let mut next = state.clone();
                next.newest += 1;
                next.granted[usize::from(next.newest)] = server + 1;
                steps.push(Step::to(
                    format!("epoch {} is granted to server {server}", next.newest),
                    next,
                ));
            }
        }
        for (index, write) in state.in_flight.iter().enumerate() {
            if index > 0 && *write == state.in_flight[index - 1] {
                continue;
            }
            let mut next = state.clone();
            let write = next.in_flight.remove(index);
            let label = format!("{write:?} lands");
            next.land(write);
            steps.push(Step::to(label, next));
        }
        for server in 0..SERVERS {
            steps.extend(self.crashes(state, server));
            steps.extend(self.acts(state, server));
        }
        steps
    }

    fn wrong(&self, state: &State) -> Option<String> {
        if state.last.1 != 0 && !state.holds(state.last) {
            let (block, write) = state.last;
            return Some(format!("block {block} no longer holds acknowledged write {write}"));
        }
        for server in &state.servers {
            let Server::Owner(epoch, phase, memory) = server else {
                continue;
            };
            let serves = match phase {
                Phase::Ready | Phase::Reserve(_) | Phase::ReserveLook(_) | Phase::Write(..) | Phase::WriteLook(..) => {
                    true
                }
                Phase::Seal | Phase::SealLook | Phase::Node | Phase::Root | Phase::RootLook => false,
            };
            if serves && !state.newer(*epoch) && !(state.holds(memory.node) && state.holds(memory.data)) {
                return Some(format!("node or data of epoch {epoch}, which serves, was written over"));
            }
        }
        None
    }
}

impl Blocks {
    fn has(&self, rule: Without) -> bool {
        self.without != rule
    }

    fn crashes(&self, state: &State, server: usize) -> Vec<Step<State>> {
        if state.crashes >= self.crashes || state.servers[server] == Server::Idle {
            return vec![];
        }
        let mut next = state.clone();
        next.crashes += 1;
        next.servers[server] = Server::Idle;
        let mut steps = vec![];
        if let (Fault::TornSlot, Server::Owner(epoch, Phase::Ready, _)) = (self.fault, &state.servers[server]) {
            let mut torn = next.clone();
            torn.slots[usize::from(*epoch)] = false;
            steps.push(Step::to(
                format!("server {server} crashes in a beat: slot {epoch} is in shreds"),
                torn,
            ));
        }
        steps.push(Step::to(format!("server {server} crashes"), next));
        steps
    }

    fn acts(&self, state: &State, server: usize) -> Vec<Step<State>> {
        let mut next = state.clone();
        match &state.servers[server] {
            Server::Idle => {
                let mine =
                    (1..=state.newest).filter(|epoch| usize::from(state.granted[usize::from(*epoch)]) == server + 1);
                let claims = mine.map(|epoch| {
                    let mut next = state.clone();
                    next.granted[usize::from(epoch)] = 9;
                    next.submit(Write::Slot(epoch));
                    next.servers[server] = Server::SlotWritten(epoch);
                    Step::to(format!("server {server} claims epoch {epoch}"), next)
                });
                claims.collect()
            }
            Server::SlotWritten(epoch) if state.waits_for(&Write::Slot(*epoch)) => vec![],
            Server::SlotWritten(epoch) => {
                let stale = state.newer(*epoch);
                next.servers[server] = if stale {
                    Server::Idle
                } else {
                    Server::Recovering(*epoch)
                };
                vec![Step::to(
                    format!("server {server} reads the slots after its own, {epoch}"),
                    next,
                )]
            }
            Server::Recovering(epoch) => {
                let whole = self.recovers(state, server, *epoch, false);
                let may_rot = self.fault != Fault::None && !state.has_rotted;
                let rotten = may_rot.then(|| self.recovers(state, server, *epoch, true)).flatten();
                whole.into_iter().chain(rotten).collect()
            }
            Server::Owner(epoch, phase, memory) => self.owns(state, server, *epoch, (*phase, memory)),
        }
    }

    fn recovers(&self, state: &State, server: usize, epoch: u8, rots: bool) -> Option<Step<State>> {
        let mut next = state.clone();
        let label = format!(
            "server {server} recovers as epoch {epoch}{}",
            if rots { ", a root has rotted" } else { "" }
        );
        match self.read(state, epoch, rots)? {
            Ok(memory) => {
                next.has_rotted |= rots;
                let memory = Box::new(memory);
                next.submit(Write::Root {
                    epoch,
                    memory: memory.clone(),
                });
                next.servers[server] = Server::Owner(epoch, Phase::Seal, memory);
                Some(Step::to(label, next))
            }
            // Damage is believed only after a look.
            Err(_) if state.newer(epoch) => {
                next.servers[server] = Server::Idle;
                Some(Step::to(format!("{label}: finds damage, looks, is stale"), next))
            }
            Err(damage) => Some(Step::wrong(label, damage)),
        }
    }

    /// The root that recovery starts from, and whose it is.
    fn base<'a>(&self, state: &'a State, epoch: u8, rots: bool) -> Option<(usize, &'a Memory)> {
        let newest_before = |end: usize| (0..end).rev().find(|older| !state.roots[*older].is_empty());
        let newest = newest_before(usize::from(epoch))?;
        let roots = &state.roots[newest];
        match (rots, &roots[..]) {
            (false, [.., root]) | (true, [.., root, _]) => Some((newest, root)),
            (true, [_]) if self.fault == Fault::OnlyRoot => {
                let older = newest_before(newest)?;
                let roots = &state.roots[older];
                let root = if let [only] = &roots[..] {
                    only
                } else {
                    &roots[roots.len() - 2]
                };
                Some((older, root))
            }
            _ => None,
        }
    }

    /// What `epoch` reads; `None` if there is nothing to start from, an error if what there is is broken.
    fn read(&self, state: &State, epoch: u8, rots: bool) -> Option<Result<Memory, String>> {
        let (base, root) = self.base(state, epoch, rots)?;
        let mut memory = root.clone();
        if !state.holds(memory.node) {
            return Some(Err(format!("the node of a root of epoch {base} was written over")));
        }
        let mut pieces = std::mem::take(&mut memory.pieces);
        pieces.push((base as u8, memory.from, u8::MAX));
        for (by, from, cut) in pieces {
            let end = self.replay(state, &mut memory, (by, from, cut));
            if cut != u8::MAX && end < cut {
                return Some(Err(format!("the sealed log of epoch {by} ends before its cut")));
            }
            memory.pieces.push((by, from, end));
        }
        (memory.mine, memory.at, memory.from, memory.seq) = (0, 0, 0, 0);
        if !self.has(Without::Quarantine) {
            let reserved = memory.reserved.iter().fold(0, |all, set| all | set);
            let used = bit(memory.data.0) | bit(memory.node.0) | memory.freed[0] | memory.freed[1];
            memory.free |= reserved & !used;
            memory.reserved = [0; EPOCHS_END];
        }
        Some(Ok(memory))
    }

    /// Replays a piece of a log and says where it ends.
    fn replay(&self, state: &State, memory: &mut Memory, (by, from, cut): (u8, u8, u8)) -> u8 {
        let log = &state.logs[usize::from(by)];
        let at = |index: u8| log.get(usize::from(index)).copied().flatten();
        let mut index = from;
        while index != cut
            && let Some(record) = at(index)
        {
            match record {
                Record::Reserve { block } => {
                    memory.free &= !bit(block);
                    memory.mine &= !bit(block);
                    memory.reserved[usize::from(by)] |= bit(block);
                }
                Record::Write { block, write } => {
                    let is_last = cut == u8::MAX && at(index + 1).is_none();
                    if self.has(Without::DataCheck) && is_last && !state.holds((block, write)) {
                        break;
                    }
                    memory.freed[0] |= bit(memory.data.0);
                    memory.data = (block, write);
                    memory.history |= 1 << write;
                    memory.mine &= !bit(block);
                    memory.freed = memory.freed.map(|set| set & !bit(block));
                }
            }
            index += 1;
        }
        index
    }
}

fn bit(block: u8) -> Set {
    1 << block
}
