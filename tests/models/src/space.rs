//! Reserves and roots: what must be looked at before it is used?
//!
//! Unlike in [`crate::ownership`], reserves are records of the log, the log holds one record, so that a checkpoint must
//! free it, and recovery reads root and log in two steps. Every epoch that served must be a prefix of every later one.

mod cases;

use crate::{Model, SERVERS, Step};
pub use cases::cases;

const EPOCHS_END: usize = 4;

/// A write and its block; write 0 reserves the block.
type Record = (u8, u8);

/// How blocks come to an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// Each epoch has its own from the beginning.
    Fixed,
    /// By a record, and a look before the first write into it: our rule.
    Looked,
    /// By a record alone.
    Logged,
}

/// What a checkpoint may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// There are none.
    Never,
    /// The log that a root frees is used again after a look, and a root holds only what had its look: our rule.
    Looked,
    /// The log is used again as soon as the root is written.
    Unlooked,
    /// A root may hold what had no look yet.
    Early,
}

/// Where a later epoch finds where an older one began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// In a fixed place of the epoch, by value: our rule.
    ByValue,
    /// In a fixed place, by the epoch's newest root.
    ByRoot,
    /// In the first segment that looks free.
    InSegment,
}

/// How much may happen, and by which rules.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// Epochs granted.
    pub epochs: u8,
    /// Writes of clients.
    pub writes: u8,
    /// How blocks come to an epoch.
    pub reserve: Reserve,
    /// What a checkpoint may do.
    pub checkpoint: Checkpoint,
    /// Where an epoch's beginning is found.
    pub seal: Seal,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
enum Write {
    Slot(u8),
    /// Epoch, the epoch before, the history at the cut, where that is in its log.
    Seal(u8, u8, Vec<Record>, u8),
    Log(u8, u8, Record),
    Root(u8, u8, Vec<Record>),
    Data(u8, u8),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Idle,
    SlotWritten,
    ReadsRoot,
    ReadsLog(u8, Option<(u8, Vec<Record>)>),
    SealWritten,
    SealToLook,
    Serving,
    ReserveWritten(u8),
    ReserveToLook(u8),
    DataWritten(u8, u8),
    LogWritten(u8, u8),
    ToLook(u8, u8),
    RootWritten,
    RootToLook,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Server {
    epoch: u8,
    phase: Phase,
    history: Vec<Record>,
    /// Own records logged, and how many of them a root that had its look holds.
    logged: u8,
    rooted: u8,
}

/// All that there is at one moment.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    newest: u8,
    granted: [u8; EPOCHS_END],
    used: u8,
    slots: u8,
    /// The epoch before, where it was cut, the history there.
    seals: Vec<Option<(u8, u8, Vec<Record>)>>,
    logs: Vec<Vec<(u8, Record)>>,
    roots: Vec<Option<(u8, Vec<Record>)>>,
    blocks: Vec<u8>,
    in_flight: Vec<Write>,
    servers: [Server; SERVERS],
    /// Write, epoch, block.
    acknowledged: Vec<(u8, u8, u8)>,
    found: Vec<Option<Vec<Record>>>,
    served: u8,
    author: [u8; 8],
    segments: [u8; EPOCHS_END],
    writes: u8,
}

impl State {
    fn submit(&mut self, write: Write) {
        self.in_flight.push(write);
        self.in_flight.sort();
    }

    fn newer(&self, epoch: u8) -> bool {
        self.slots >> (epoch + 1) != 0
    }
}

impl Model for Space {
    type State = State;

    fn start(&self) -> State {
        let server = Server {
            epoch: 0,
            phase: Phase::Idle,
            history: vec![],
            logged: 0,
            rooted: 0,
        };
        State {
            newest: 0,
            granted: [u8::MAX; EPOCHS_END],
            used: 0,
            slots: 0,
            seals: vec![None; EPOCHS_END],
            logs: vec![vec![]; EPOCHS_END],
            roots: vec![None; EPOCHS_END],
            blocks: vec![0; usize::from(self.writes * self.epochs) + 5],
            in_flight: vec![],
            servers: [server.clone(), server],
            acknowledged: vec![],
            found: vec![None; EPOCHS_END],
            served: 0,
            author: [0; 8],
            segments: [0; EPOCHS_END],
            writes: 0,
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
            let mut next = state.clone();
            let write = next.in_flight.remove(index);
            self.land(&mut next, &write);
            wake(&mut next, &write);
            steps.push(Step::to(format!("{write:?} lands"), next));
        }
        for server in 0..SERVERS {
            steps.extend(self.acts(state, server));
        }
        steps
    }

    fn wrong(&self, state: &State) -> Option<String> {
        self.lost(state).or_else(|| self.rewritten(state)).or_else(|| {
            let mut acknowledged = state.acknowledged.iter();
            acknowledged
                .find(|(write, _, block)| state.blocks[usize::from(*block)] != *write)
                .map(|(write, epoch, block)| {
                    format!("block {block} no longer holds write {write}, acknowledged in epoch {epoch}")
                })
        })
    }
}

impl Space {
    fn land(&self, state: &mut State, write: &Write) {
        match write {
            Write::Slot(epoch) => state.slots |= 1 << epoch,
            Write::Seal(epoch, older, history, cut) => {
                for other in (1..EPOCHS_END).filter(|other| *other != usize::from(*epoch)) {
                    if self.seal == Seal::InSegment && state.segments[other] == state.segments[usize::from(*epoch)] {
                        state.seals[other] = None;
                    }
                }
                state.seals[usize::from(*epoch)] = Some((*older, *cut, history.clone()));
            }
            Write::Log(epoch, lsn, record) => {
                let log = &mut state.logs[usize::from(*epoch)];
                if self.checkpoint != Checkpoint::Never {
                    log.clear();
                }
                log.push((*lsn, *record));
                log.sort();
            }
            Write::Root(epoch, logged, history) => {
                state.roots[usize::from(*epoch)] = Some((*logged, history.clone()));
            }
            Write::Data(block, write) => state.blocks[usize::from(*block)] = *write,
        }
    }

    fn acts(&self, state: &State, server: usize) -> Vec<Step<State>> {
        let own = state.servers[server].clone();
        let epoch = own.epoch;
        let mut next = state.clone();
        let label = match own.phase.clone() {
            Phase::Idle => return claims(state, server),
            Phase::ReadsRoot if state.newer(epoch) => stops(&mut next, server, "claim"),
            Phase::ReadsRoot => {
                let older = (1..epoch)
                    .rev()
                    .find(|older| state.seals[usize::from(*older)].is_some())
                    .unwrap_or(0);
                let root = state.roots[usize::from(older)].clone();
                next.servers[server].phase = Phase::ReadsLog(older, root);
                format!("reads seal and root of epoch {older}")
            }
            Phase::ReadsLog(older, root) => self.recovers(&mut next, server, older, root.as_ref()),
            Phase::SealToLook if state.newer(epoch) => stops(&mut next, server, "seal"),
            Phase::SealToLook => {
                next.servers[server].phase = Phase::Serving;
                next.served |= 1 << epoch;
                "serves".to_owned()
            }
            Phase::Serving if state.writes < self.writes => self.begins(&mut next, server),
            Phase::ReserveToLook(_) if self.reserve == Reserve::Looked && state.newer(epoch) => {
                stops(&mut next, server, "reserve")
            }
            Phase::ReserveToLook(block) if state.writes < self.writes => begins_data(&mut next, server, block),
            Phase::ToLook(write, block) => return self.looks(state, server, write, block),
            Phase::RootToLook if self.checkpoint != Checkpoint::Unlooked && state.newer(epoch) => {
                stops(&mut next, server, "root")
            }
            Phase::RootToLook => {
                next.servers[server].rooted = own.logged;
                next.servers[server].phase = Phase::Serving;
                "has a root, its log is free again".to_owned()
            }
            _ => return vec![],
        };
        vec![Step::to(format!("server {server}, epoch {epoch}: {label}"), next)]
    }

    fn recovers(&self, next: &mut State, server: usize, older: u8, root: Option<&(u8, Vec<Record>)>) -> String {
        let epoch = next.servers[server].epoch;
        let (cut, history) = self.read(next, older, root);
        let is_taken = |next: &State, segment: u8| {
            (1..usize::from(epoch)).any(|other| next.seals[other].is_some() && next.segments[other] == segment)
        };
        next.segments[usize::from(epoch)] = (1..).find(|segment| !is_taken(next, *segment)).unwrap_or(1);
        next.found[usize::from(epoch)] = Some(history.clone());
        next.servers[server].history.clone_from(&history);
        next.servers[server].phase = Phase::SealWritten;
        let label = format!("recovers {history:?}");
        next.submit(Write::Seal(epoch, older, history, cut));
        label
    }

    fn begins(&self, next: &mut State, server: usize) -> String {
        let own = next.servers[server].clone();
        if self.checkpoint != Checkpoint::Never && own.logged > own.rooted {
            next.servers[server].phase = Phase::RootWritten;
            next.submit(Write::Root(own.epoch, own.logged, own.history));
            return "writes a root, its log is full".to_owned();
        }
        if self.reserve == Reserve::Fixed {
            let block = 1 + (own.epoch - 1) * self.writes + next.writes;
            return begins_data(next, server, block);
        }
        let is_free = |block: &u8| !own.history.iter().any(|record| record.1 == *block);
        let block = (1..).find(is_free).unwrap_or(1);
        next.servers[server].phase = Phase::ReserveWritten(block);
        next.submit(Write::Log(own.epoch, own.logged, (0, block)));
        format!("reserves block {block}")
    }

    fn looks(&self, state: &State, server: usize, write: u8, block: u8) -> Vec<Step<State>> {
        let own = &state.servers[server];
        let name = format!("server {server}, epoch {}", own.epoch);
        let mut steps = vec![];
        if self.checkpoint == Checkpoint::Early && own.rooted < own.logged {
            let mut next = state.clone();
            next.servers[server].phase = Phase::RootWritten;
            next.submit(Write::Root(own.epoch, own.logged, own.history.clone()));
            steps.push(Step::to(format!("{name}: writes a root before the look"), next));
        }
        let mut next = state.clone();
        let label = if state.newer(own.epoch) {
            stops(&mut next, server, "write")
        } else {
            next.acknowledged.push((write, own.epoch, block));
            next.acknowledged.sort();
            next.servers[server].phase = Phase::Serving;
            format!("acknowledges write {write}")
        };
        steps.push(Step::to(format!("{name}: {label}"), next));
        steps
    }

    /// The history that an epoch after `older` reads, and where that ends in the log of `older`.
    fn read(&self, state: &State, older: u8, root: Option<&(u8, Vec<Record>)>) -> (u8, Vec<Record>) {
        if older == 0 {
            return (0, vec![]);
        }
        let (mut at, mut history) = root.cloned().unwrap_or_else(|| (0, self.began_with(state, older)));
        while let Some((_, record)) = state.logs[usize::from(older)].iter().find(|(lsn, _)| *lsn == at) {
            history.push(*record);
            at += 1;
        }
        (at, history)
    }

    /// The history that `epoch` began with, as its seal says.
    fn began_with(&self, state: &State, epoch: u8) -> Vec<Record> {
        let Some((older, cut, history)) = &state.seals[usize::from(epoch)] else {
            return vec![];
        };
        if self.seal != Seal::ByRoot {
            return history.clone();
        }
        if *older == 0 {
            return vec![];
        }
        let root = state.roots[usize::from(*older)].clone();
        let (mut at, mut history) = root.unwrap_or_else(|| (0, self.began_with(state, *older)));
        let log = &state.logs[usize::from(*older)];
        while at < *cut
            && let Some((_, record)) = log.iter().find(|(lsn, _)| *lsn == at)
        {
            history.push(*record);
            at += 1;
        }
        history
    }

    fn lost(&self, state: &State) -> Option<String> {
        for later in 1..=self.epochs {
            let Some(found) = &state.found[usize::from(later)] else {
                continue;
            };
            let is_lost = |write: u8| !found.iter().any(|record| record.0 == write);
            let mut acknowledged = state.acknowledged.iter();
            if let Some((write, epoch, _)) = acknowledged.find(|(write, epoch, _)| *epoch < later && is_lost(*write)) {
                return Some(format!(
                    "write {write}, acknowledged in epoch {epoch}, is missing in epoch {later}"
                ));
            }
        }
        None
    }

    fn rewritten(&self, state: &State) -> Option<String> {
        for epoch in (1..=self.epochs).filter(|epoch| state.served & (1 << epoch) != 0) {
            for later in epoch + 1..=self.epochs {
                let (Some(was), Some(is)) = (&state.found[usize::from(epoch)], &state.found[usize::from(later)]) else {
                    continue;
                };
                let is_back = |record: &Record| {
                    record.0 != 0 && state.author[usize::from(record.0)] < epoch && !was.contains(record)
                };
                if !is.starts_with(was) || is.iter().any(is_back) {
                    return Some(format!("epoch {epoch} served {was:?}, and epoch {later} reads {is:?}"));
                }
            }
        }
        None
    }
}

/// Whoever waited for this write goes on.
fn wake(state: &mut State, landed: &Write) {
    for server in 0..SERVERS {
        let own = &mut state.servers[server];
        let then = match (&own.phase, landed) {
            (Phase::SlotWritten, Write::Slot(epoch)) if *epoch == own.epoch => Phase::ReadsRoot,
            (Phase::SealWritten, Write::Seal(epoch, ..)) if *epoch == own.epoch => Phase::SealToLook,
            (Phase::RootWritten, Write::Root(epoch, ..)) if *epoch == own.epoch => Phase::RootToLook,
            (Phase::ReserveWritten(block), Write::Log(epoch, lsn, record))
                if (*epoch, *lsn, *record) == (own.epoch, own.logged, (0, *block)) =>
            {
                let then = Phase::ReserveToLook(*block);
                own.logged += 1;
                own.history.push(*record);
                then
            }
            (Phase::DataWritten(write, block), Write::Data(at, data)) if (at, data) == (block, write) => {
                let (write, block, epoch, lsn) = (*write, *block, own.epoch, own.logged);
                own.phase = Phase::LogWritten(write, block);
                state.submit(Write::Log(epoch, lsn, (write, block)));
                return;
            }
            (Phase::LogWritten(write, block), Write::Log(epoch, lsn, record))
                if (*epoch, *lsn, *record) == (own.epoch, own.logged, (*write, *block)) =>
            {
                let then = Phase::ToLook(*write, *block);
                own.logged += 1;
                own.history.push(*record);
                then
            }
            _ => continue,
        };
        own.phase = then;
        return;
    }
}

fn claims(state: &State, server: usize) -> Vec<Step<State>> {
    let own = &state.servers[server];
    let mine = |epoch: &u8| {
        usize::from(state.granted[usize::from(*epoch)]) == server
            && state.used & (1 << epoch) == 0
            && *epoch > own.epoch
    };
    let claims = (1..=state.newest).filter(mine).map(|epoch| {
        let mut next = state.clone();
        next.used |= 1 << epoch;
        next.servers[server] = Server {
            epoch,
            phase: Phase::SlotWritten,
            history: vec![],
            logged: 0,
            rooted: 0,
        };
        next.submit(Write::Slot(epoch));
        Step::to(format!("server {server} claims epoch {epoch}"), next)
    });
    claims.collect()
}

fn begins_data(next: &mut State, server: usize, block: u8) -> String {
    next.writes += 1;
    let write = next.writes;
    next.author[usize::from(write)] = next.servers[server].epoch;
    next.servers[server].phase = Phase::DataWritten(write, block);
    next.submit(Write::Data(block, write));
    format!("begins write {write}, in block {block}")
}

fn stops(next: &mut State, server: usize, what: &str) -> String {
    next.servers[server].phase = Phase::Idle;
    format!("looks after its {what}: stale")
}
