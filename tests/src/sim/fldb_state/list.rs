//! Raft as a list: what is agreed stays, what is only proposed may be lost, one member at a time adds to it.

use std::collections::VecDeque;

use baton_flserver::state::Committed;
use baton_types::change::Proposal;

use crate::sim::Seed;

/// Something in the list.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// In which it was proposed.
    pub term: u64,
    /// The change; none for what a new leader begins with.
    pub proposal: Option<Box<Proposal>>,
}

/// The agreed list, and what its leader would add.
#[derive(Debug, Default)]
pub(super) struct List {
    entries: Vec<Entry>,
    pending: VecDeque<Entry>,
    term: u64,
    leader: Option<usize>,
}

impl List {
    /// How many entries are agreed.
    pub fn head(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The term, and who leads it.
    pub fn leadership(&self) -> (u64, Option<usize>) {
        (self.term, self.leader)
    }

    /// The entry at an agreed index: its term, and what it says.
    pub fn at(&self, index: u64) -> Option<(u64, Committed)> {
        let position = usize::try_from(index.checked_sub(1)?).ok()?;
        let entry = self.entries.get(position)?;
        let committed = match &entry.proposal {
            Some(proposal) => Committed::Change(index, proposal.clone()),
            None => Committed::Nothing(index),
        };
        Some((entry.term, committed))
    }

    /// The leader proposes a change.
    pub fn propose(&mut self, proposal: Proposal) {
        self.pending.push_back(Entry {
            term: self.term,
            proposal: Some(Box::new(proposal)),
        });
    }

    /// `leader` takes over in a new term. Of what was pending it has a beginning that the seed chooses; the rest is
    /// lost. Returns how much that is.
    pub fn elect(&mut self, leader: usize, seed: &mut Seed) -> usize {
        let kept = seed.index(self.pending.len() + 1);
        let lost = self.pending.len() - kept;
        self.pending.truncate(kept);
        self.term += 1;
        self.leader = Some(leader);
        self.pending.push_back(Entry {
            term: self.term,
            proposal: None,
        });
        lost
    }

    /// A majority has the first pending entries: as many as the seed says.
    pub fn commit(&mut self, seed: &mut Seed) {
        let count = seed.index(self.pending.len() + 1).max(1).min(self.pending.len());
        self.entries.extend(self.pending.drain(..count));
    }

    /// True if something waits for a majority.
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }
}
