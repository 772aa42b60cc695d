//! What an owner does, step by step.

use super::{BLOCKS, Blocks, FIRST_NODE, Free, Memory, Phase, Record, Server, Set, State, Without, Write, bit};
use crate::Step;

impl Blocks {
    pub(super) fn owns(
        &self,
        state: &State,
        server: usize,
        epoch: u8,
        (phase, memory): (Phase, &Memory),
    ) -> Vec<Step<State>> {
        let root = || Write::Root {
            epoch,
            memory: Box::new(memory.clone()),
        };
        let log = |record| Write::Log {
            epoch,
            at: memory.at,
            record,
        };
        let block = |(block, content)| Write::Block { block, content };
        let is_stale = |rule| self.has(rule) && state.newer(epoch);
        let mut next = state.clone();
        let mut memory = memory.clone();
        let then = match phase {
            Phase::Ready => return self.begins(state, server, epoch, &memory),
            Phase::Seal if !state.waits_for(&root()) => Some(Phase::SealLook),
            Phase::SealLook if is_stale(Without::SealLook) => None,
            Phase::SealLook => match unserviceable(state, epoch, &memory) {
                Some(what) => return vec![Step::wrong(format!("server {server} serves epoch {epoch}"), what)],
                None => Some(Phase::Ready),
            },
            Phase::Reserve(taken) if !state.waits_for(&log(Record::Reserve { block: taken })) => {
                memory.at += 1;
                Some(Phase::ReserveLook(taken))
            }
            Phase::ReserveLook(_) if is_stale(Without::ReserveLook) => None,
            Phase::ReserveLook(taken) => {
                memory.free &= !bit(taken);
                memory.mine |= bit(taken);
                memory.reserved[usize::from(epoch)] |= bit(taken);
                Some(Phase::Ready)
            }
            Phase::Write(to, write)
                if !state.waits_for(&block((to, write)))
                    && !state.waits_for(&log(Record::Write { block: to, write })) =>
            {
                memory.at += 1;
                Some(Phase::WriteLook(to, write))
            }
            Phase::WriteLook(..) if state.newer(epoch) => None,
            Phase::WriteLook(to, write) => {
                self.takes(&mut memory, epoch, (to, write));
                next.acknowledged |= 1 << write;
                next.last = (to, write);
                Some(Phase::Ready)
            }
            Phase::Node if !state.waits_for(&block(memory.node)) => {
                (memory.seq, memory.from) = (memory.seq + 1, memory.at);
                memory.pieces.clear();
                next.submit(Write::Root {
                    epoch,
                    memory: Box::new(memory.clone()),
                });
                Some(Phase::Root)
            }
            Phase::Root if !state.waits_for(&root()) => Some(Phase::RootLook),
            Phase::RootLook if is_stale(Without::RootLook) => None,
            Phase::RootLook => {
                self.promote(&mut memory, epoch);
                Some(Phase::Ready)
            }
            Phase::Seal | Phase::Reserve(_) | Phase::Write(..) | Phase::Node | Phase::Root => return vec![],
        };
        let label = format!("server {server}, epoch {epoch}: {phase:?}, then {then:?}");
        next.servers[server] = then.map_or(Server::Idle, |then| Server::Owner(epoch, then, Box::new(memory)));
        vec![Step::to(label, next)]
    }

    /// A write is looked at: it is the data now, and the block before is freed.
    fn takes(&self, memory: &mut Memory, epoch: u8, data: (u8, u8)) {
        let freed = memory.data.0;
        match self.free {
            Free::AtOnce => self.retire(memory, epoch, freed),
            Free::OneRoot | Free::TwoRoots => memory.freed[0] |= bit(freed),
        }
        memory.data = data;
        memory.history |= 1 << data.1;
    }

    /// What an owner may begin.
    fn begins(&self, state: &State, server: usize, epoch: u8, memory: &Memory) -> Vec<Step<State>> {
        let lowest = |set: Set| (0..BLOCKS as u8).find(|block| set & bit(*block) != 0);
        let mut steps = vec![];
        if let Some(block) = lowest(memory.free).filter(|_| state.reserves < self.reserves) {
            let mut next = state.clone();
            next.reserves += 1;
            next.submit(Write::Log {
                epoch,
                at: memory.at,
                record: Record::Reserve { block },
            });
            next.servers[server] = Server::Owner(epoch, Phase::Reserve(block), Box::new(memory.clone()));
            steps.push(Step::to(
                format!("server {server}, epoch {epoch}: reserves block {block}"),
                next,
            ));
        }
        let Some(block) = lowest(memory.mine) else { return steps };
        let mut memory = memory.clone();
        memory.mine &= !bit(block);
        if state.writes < self.writes {
            let mut next = state.clone();
            next.writes += 1;
            let write = next.writes;
            next.submit(Write::Block { block, content: write });
            next.submit(Write::Log {
                epoch,
                at: memory.at,
                record: Record::Write { block, write },
            });
            next.servers[server] = Server::Owner(epoch, Phase::Write(block, write), Box::new(memory.clone()));
            steps.push(Step::to(
                format!("server {server}, epoch {epoch}: writes {write} to block {block}"),
                next,
            ));
        }
        if state.checkpoints < self.checkpoints {
            let mut next = state.clone();
            next.checkpoints += 1;
            next.nodes += 1;
            memory.freed[0] |= bit(memory.node.0);
            memory.node = (block, FIRST_NODE + next.nodes);
            next.submit(Write::Block {
                block,
                content: memory.node.1,
            });
            next.servers[server] = Server::Owner(epoch, Phase::Node, Box::new(memory));
            steps.push(Step::to(
                format!("server {server}, epoch {epoch}: a checkpoint, its node in block {block}"),
                next,
            ));
        }
        steps
    }

    /// A root counts: what was freed long enough ago may be used again.
    fn promote(&self, memory: &mut Memory, epoch: u8) {
        let [now, before] = memory.freed;
        let over = match self.free {
            Free::TwoRoots => {
                memory.freed = [0, now];
                before
            }
            Free::AtOnce | Free::OneRoot => {
                memory.freed = [0, before];
                now
            }
        };
        for block in (0..BLOCKS as u8).filter(|block| over & bit(*block) != 0) {
            self.retire(memory, epoch, block);
        }
    }

    fn retire(&self, memory: &mut Memory, epoch: u8, block: u8) {
        let is_reserved = memory.reserved.iter().any(|set| set & bit(block) != 0);
        if memory.reserved[usize::from(epoch)] & bit(block) != 0 {
            memory.mine |= bit(block);
        } else if !is_reserved || !self.has(Without::Quarantine) {
            memory.free |= bit(block);
        }
    }
}

/// Why `epoch` must not serve this.
fn unserviceable(state: &State, epoch: u8, memory: &Memory) -> Option<String> {
    let lost = state.acknowledged & !memory.history;
    if lost != 0 {
        return Some(format!(
            "acknowledged writes {lost:b} are not in the history of epoch {epoch}"
        ));
    }
    let (block, write) = memory.data;
    (!state.holds(memory.data))
        .then(|| format!("block {block}, which epoch {epoch} serves, does not hold write {write}"))
}
