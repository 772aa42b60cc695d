//! Slots, seals and looks: is anything lost, brought back or written over?
//!
//! | must hold in every state |
//! |---|
//! | what an epoch acknowledged is in the history of every later epoch that read the disk |
//! | what an epoch that served left out never comes back |
//! | the block of an acknowledged write holds that write |

mod cases;

use crate::{Model, SERVERS, Step};
pub use cases::{OURS, cases, large};

const EPOCHS_END: usize = 6;

/// Where the own epoch stands on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slots {
    /// In a place of its own.
    PerEpoch,
    /// In its server's place.
    PerServer,
    /// In the one place there is: the latest writer owns.
    Single,
}

/// When the slots are read around a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// After it: our rule.
    After,
    /// Before it, as a lease is checked.
    Before,
    /// Not at all.
    Never,
}

/// A rule that is left out, besides those of [`Slots`] and [`Look`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// All rules are kept.
    Nothing,
    /// No seal: every older log is replayed to its end.
    Seal,
    /// Blocks that an older epoch had reserved are taken.
    Quarantine,
    /// One log for all.
    OwnLog,
    /// No read of the slots before recovery: only work is saved by it.
    ClaimLook,
    /// A sealed epoch serves without a look.
    SealLook,
}

/// How much may happen, and by which rules.
#[derive(Clone, Copy, Debug)]
pub struct Ownership {
    /// Epochs granted.
    pub epochs: u8,
    /// Writes of clients.
    pub writes: u8,
    /// Crashes of servers.
    pub crashes: u8,
    /// Where epochs stand.
    pub slots: Slots,
    /// When they are looked at.
    pub look: Look,
    /// What else is left out.
    pub without: Without,
}

/// A record of a log: which write, its block, who wrote it. Write 0 is a hole.
type Entry = (u8, u8, u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Write {
    Slot { epoch: u8, server: u8 },
    Seal { epoch: u8, older: u8, cut: u8 },
    Data { epoch: u8, write: u8, block: u8 },
    Log { epoch: u8, at: u8, write: u8, block: u8 },
}

/// An owner, from its recovery on: what it found, and where its log goes on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Owner {
    epoch: u8,
    history: Vec<Entry>,
    at: u8,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Server {
    Idle,
    SlotWritten(u8),
    SlotsToRead(u8),
    Recovering(u8),
    SealWritten(Owner),
    SealToLook(Owner),
    Serving(Owner),
    DataWritten(Owner, u8, u8),
    LogWritten(Owner, u8, u8),
    ToLook(Owner, u8, u8),
}

/// All that there is at one moment.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    newest: u8,
    granted: [u8; EPOCHS_END],
    used: u8,
    slots: [u8; EPOCHS_END],
    logs: Vec<Vec<Entry>>,
    seals: [Option<(u8, u8)>; EPOCHS_END],
    blocks: Vec<u8>,
    in_flight: Vec<Write>,
    servers: [Server; SERVERS],
    /// Write, epoch, block.
    acknowledged: Vec<(u8, u8, u8)>,
    found: Vec<Option<Vec<u8>>>,
    served: u8,
    writes: u8,
    crashes: u8,
}

impl State {
    fn submit(&mut self, write: Write) {
        self.in_flight.push(write);
        self.in_flight.sort();
    }
}

impl Model for Ownership {
    type State = State;

    fn start(&self) -> State {
        let blocks = 1 + (self.writes * self.epochs).max(self.writes + 2);
        State {
            newest: 0,
            granted: [u8::MAX; EPOCHS_END],
            used: 0,
            slots: [0; EPOCHS_END],
            logs: vec![vec![]; EPOCHS_END],
            seals: [None; EPOCHS_END],
            blocks: vec![0; usize::from(blocks)],
            in_flight: vec![],
            servers: [Server::Idle, Server::Idle],
            acknowledged: vec![],
            found: vec![None; EPOCHS_END],
            served: 0,
            writes: 0,
            crashes: 0,
        }
    }

    fn next(&self, state: &State) -> Vec<Step<State>> {
        let mut steps = vec![];
        if state.newest < self.epochs {
            for server in 0..SERVERS as u8 {
                let mut next = state.clone();
                next.newest += 1;
                next.granted[usize::from(next.newest)] = server;
                steps.push(Step::to(
                    format!("epoch {} is granted to server {server}", next.newest),
                    next,
                ));
            }
        }
        for index in 0..state.in_flight.len() {
            steps.push(self.landed(state, index));
        }
        for server in 0..SERVERS {
            if state.crashes < self.crashes && state.servers[server] != Server::Idle {
                let mut next = state.clone();
                next.servers[server] = Server::Idle;
                next.crashes += 1;
                steps.push(Step::to(format!("server {server} crashes"), next));
            }
            steps.extend(self.acts(state, server));
        }
        steps
    }

    fn wrong(&self, state: &State) -> Option<String> {
        self.lost(state).or_else(|| self.back(state)).or_else(|| {
            let mut acknowledged = state.acknowledged.iter();
            acknowledged
                .find(|(write, _, block)| state.blocks[usize::from(*block)] != *write)
                .map(|(write, epoch, block)| {
                    format!("block {block} no longer holds write {write}, acknowledged in epoch {epoch}")
                })
        })
    }
}

impl Ownership {
    fn has(&self, rule: Without) -> bool {
        self.without != rule
    }

    fn newer(&self, state: &State, epoch: u8, server: usize) -> bool {
        match self.slots {
            Slots::PerEpoch | Slots::PerServer => state.slots.iter().any(|slot| *slot > epoch),
            Slots::Single => !(state.slots[0] == epoch && usize::from(state.slots[1]) == server),
        }
    }

    fn log(&self, epoch: u8) -> usize {
        if self.has(Without::OwnLog) {
            usize::from(epoch)
        } else {
            0
        }
    }

    fn landed(&self, state: &State, index: usize) -> Step<State> {
        let mut next = state.clone();
        let write = next.in_flight.remove(index);
        self.land(&mut next, write);
        let mut waited = false;
        for server in 0..SERVERS {
            if let Some(then) = self.wakes(&mut next, server, write) {
                next.servers[server] = then;
                waited = true;
                break;
            }
        }
        let late = if waited { "" } else { ", late" };
        Step::to(format!("{write:?} lands{late}"), next)
    }

    fn land(&self, state: &mut State, write: Write) {
        match write {
            Write::Slot { epoch, server } => match self.slots {
                Slots::PerEpoch => state.slots[usize::from(epoch)] = epoch,
                Slots::PerServer => state.slots[usize::from(server)] = epoch,
                Slots::Single => state.slots[..2].copy_from_slice(&[epoch, server]),
            },
            Write::Seal { epoch, older, cut } => state.seals[usize::from(epoch)] = Some((older, cut)),
            Write::Data { write, block, .. } => state.blocks[usize::from(block)] = write,
            Write::Log {
                epoch,
                at,
                write,
                block,
            } => {
                let log = &mut state.logs[self.log(epoch)];
                while log.len() <= usize::from(at) {
                    log.push((0, 0, 0));
                }
                log[usize::from(at)] = (write, block, epoch);
            }
        }
    }

    /// What `server` does next, if it waited for this write.
    fn wakes(&self, state: &mut State, server: usize, landed: Write) -> Option<Server> {
        match (state.servers[server].clone(), landed) {
            (Server::SlotWritten(own), Write::Slot { epoch, server: by })
                if own == epoch && usize::from(by) == server =>
            {
                Some(Server::SlotsToRead(own))
            }
            (Server::SealWritten(owner), Write::Seal { epoch, .. }) if owner.epoch == epoch => {
                if self.has(Without::SealLook) {
                    return Some(Server::SealToLook(owner));
                }
                state.served |= 1 << epoch;
                Some(Server::Serving(owner))
            }
            (Server::DataWritten(owner, own, block), Write::Data { epoch, write, .. })
                if (owner.epoch, own) == (epoch, write) =>
            {
                state.submit(Write::Log {
                    epoch,
                    at: owner.at,
                    write,
                    block,
                });
                Some(Server::LogWritten(owner, own, block))
            }
            (Server::LogWritten(owner, own, block), Write::Log { epoch, write, .. })
                if (owner.epoch, own) == (epoch, write) =>
            {
                Some(Server::ToLook(owner, own, block))
            }
            _ => None,
        }
    }

    /// What `server` may do by itself.
    fn acts(&self, state: &State, server: usize) -> Vec<Step<State>> {
        let mut next = state.clone();
        let label = match state.servers[server].clone() {
            Server::Idle => return self.claims(state, server),
            Server::SlotsToRead(epoch) => {
                let stale =
                    self.slots != Slots::Single && self.newer(state, epoch, server) && self.has(Without::ClaimLook);
                next.servers[server] = if stale { Server::Idle } else { Server::Recovering(epoch) };
                format!(
                    "reads the slots, epoch {epoch} is {}",
                    if stale { "stale" } else { "newest" }
                )
            }
            Server::Recovering(epoch) => {
                let (older, cut, history) = self.read(state, epoch);
                next.found[usize::from(epoch)] = Some(history.iter().map(|entry| entry.0).collect());
                next.submit(Write::Seal { epoch, older, cut });
                let at = if self.has(Without::OwnLog) { 0 } else { cut };
                next.servers[server] = Server::SealWritten(Owner { epoch, history, at });
                format!("epoch {epoch} recovers {:?}", next.found[usize::from(epoch)])
            }
            Server::SealToLook(owner) => {
                let epoch = owner.epoch;
                if self.newer(state, epoch, server) {
                    next.servers[server] = Server::Idle;
                } else {
                    next.served |= 1 << epoch;
                    next.servers[server] = Server::Serving(owner);
                }
                format!("looks after the seal of epoch {epoch}: {}", served(&next, epoch))
            }
            Server::Serving(owner) if state.writes < self.writes => self.begins(&mut next, server, owner),
            Server::ToLook(owner, write, block) => self.looks(&mut next, server, owner, (write, block)),
            _ => return vec![],
        };
        vec![Step::to(format!("server {server} {label}"), next)]
    }

    /// A server never goes back to a grant older than one it has used.
    fn claims(&self, state: &State, server: usize) -> Vec<Step<State>> {
        let mine = |epoch: &u8| usize::from(state.granted[usize::from(*epoch)]) == server;
        let used = |epoch: u8| state.used & (1 << epoch) != 0;
        let newest = (1..=state.newest)
            .rev()
            .filter(mine)
            .find(|epoch| used(*epoch))
            .unwrap_or(0);
        let claims = (newest + 1..=state.newest).filter(mine).map(|epoch| {
            let mut next = state.clone();
            next.used |= 1 << epoch;
            next.submit(Write::Slot {
                epoch,
                server: server as u8,
            });
            next.servers[server] = Server::SlotWritten(epoch);
            Step::to(format!("server {server} claims epoch {epoch}"), next)
        });
        claims.collect()
    }

    fn begins(&self, next: &mut State, server: usize, owner: Owner) -> String {
        let epoch = owner.epoch;
        if self.look == Look::Before && self.newer(next, epoch, server) {
            next.servers[server] = Server::Idle;
            return format!("looks before a write of epoch {epoch}: stale");
        }
        next.writes += 1;
        let write = next.writes;
        let first = if self.has(Without::Quarantine) {
            (epoch - 1) * self.writes + 1
        } else {
            1
        };
        let block = (first..).find(|block| !owner.history.iter().any(|entry| entry.1 == *block));
        let block = block.unwrap_or(first);
        next.submit(Write::Data { epoch, write, block });
        next.servers[server] = Server::DataWritten(owner, write, block);
        format!("begins write {write} of epoch {epoch}, in block {block}")
    }

    fn looks(&self, next: &mut State, server: usize, mut owner: Owner, (write, block): (u8, u8)) -> String {
        let epoch = owner.epoch;
        if self.look == Look::After && self.newer(next, epoch, server) {
            next.servers[server] = Server::Idle;
            return format!("looks: write {write} of epoch {epoch} is not acknowledged");
        }
        next.acknowledged.push((write, epoch, block));
        next.acknowledged.sort();
        owner.history.push((write, block, epoch));
        owner.at += 1;
        next.servers[server] = Server::Serving(owner);
        format!("acknowledges write {write} of epoch {epoch}")
    }

    /// What a new owner of `epoch` reads: the epoch before, where its log is cut, the history.
    fn read(&self, state: &State, epoch: u8) -> (u8, u8, Vec<Entry>) {
        let valid = |log: &Vec<Entry>| log.iter().take_while(|entry| entry.0 != 0).copied().collect::<Vec<_>>();
        if !self.has(Without::OwnLog) {
            let history = valid(&state.logs[0]);
            return (0, history.len() as u8, history);
        }
        if !self.has(Without::Seal) {
            return (
                0,
                0,
                (1..epoch)
                    .flat_map(|older| valid(&state.logs[usize::from(older)]))
                    .collect(),
            );
        }
        let Some(older) = (1..epoch)
            .rev()
            .find(|older| state.seals[usize::from(*older)].is_some())
        else {
            return (0, 0, vec![]);
        };
        let tail = valid(&state.logs[usize::from(older)]);
        let mut history = chain(state, older);
        history.extend_from_slice(&tail);
        (older, tail.len() as u8, history)
    }

    fn lost(&self, state: &State) -> Option<String> {
        for later in 1..=self.epochs {
            let Some(found) = &state.found[usize::from(later)] else {
                continue;
            };
            let mut acknowledged = state.acknowledged.iter();
            let lost = acknowledged.find(|(write, epoch, _)| *epoch < later && !found.contains(write));
            if let Some((write, epoch, _)) = lost {
                return Some(format!(
                    "write {write}, acknowledged in epoch {epoch}, is missing in epoch {later}"
                ));
            }
        }
        None
    }

    fn back(&self, state: &State) -> Option<String> {
        let entries = || state.logs.iter().flatten().filter(|entry| entry.0 != 0);
        for epoch in (1..=self.epochs).filter(|epoch| state.served & (1 << epoch) != 0) {
            let Some(found) = &state.found[usize::from(epoch)] else {
                continue;
            };
            let left_out = |entry: &&Entry| entry.2 < epoch && !found.contains(&entry.0);
            for later in epoch + 1..=self.epochs {
                let Some(comes) = &state.found[usize::from(later)] else {
                    continue;
                };
                if let Some(entry) = entries().filter(left_out).find(|entry| comes.contains(&entry.0)) {
                    return Some(format!(
                        "write {}, left out by epoch {epoch}, is back in epoch {later}",
                        entry.0
                    ));
                }
            }
        }
        None
    }
}

fn served(state: &State, epoch: u8) -> &'static str {
    if state.served & (1 << epoch) != 0 {
        "it serves"
    } else {
        "stale"
    }
}

fn chain(state: &State, epoch: u8) -> Vec<Entry> {
    match state.seals[usize::from(epoch)] {
        Some((older, cut)) if older > 0 => {
            let mut history = chain(state, older);
            history.extend_from_slice(&state.logs[usize::from(older)][..usize::from(cut)]);
            history
        }
        _ => vec![],
    }
}
