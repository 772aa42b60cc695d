//! Changes that were answered and are not durable yet: kept, so that they can be said again (I5).
//!
//! ```text
//! waiting (of older epochs, in the order of their places there) ─ said again ─▶ placed, by their place now ─ mark ─▶ gone
//! ```

use std::collections::{BTreeMap, VecDeque};

use baton_types::call::Request;
use bytes::Bytes;

/// Bytes that a session keeps: what a server makes durable in a tenth of a second.
pub const KEPT_BYTES_MAX: usize = 64 << 20;
/// What a change takes besides its payload: request, names, places in tables.
const CHANGE_BYTES: usize = 512;

/// A change that was answered.
#[derive(Clone, Debug)]
pub struct Change {
    /// For whom.
    pub caller: u32,
    /// Stream and sequence.
    pub name: (u16, u32),
    /// What.
    pub request: Request,
    /// Beside it.
    pub payload: Bytes,
    /// Those that came before it and were not durable then.
    pub after: Vec<(u16, u32)>,
}

impl Change {
    /// Whether a change of this name comes before it: the ordered stream has no gaps, and of the others it is known.
    pub fn comes_after(&self, (stream, sequence): (u16, u32)) -> bool {
        let is_in_order = self.name.0 == 0 && stream == 0 && sequence < self.name.1;
        let is_known = |(other, last): &(u16, u32)| *other == stream && sequence <= *last;
        is_in_order || self.after.iter().any(is_known)
    }

    fn bytes(&self) -> usize {
        change_bytes(&self.payload)
    }
}

/// What a change with this payload takes.
pub fn change_bytes(payload: &Bytes) -> usize {
    CHANGE_BYTES + payload.len()
}

/// All of a session's.
#[derive(Debug, Default)]
pub struct Undurable {
    placed: BTreeMap<u64, Change>,
    waiting: VecDeque<Change>,
    durable: u64,
    /// The last place that an answer told.
    last: u64,
    bytes: usize,
}

impl Undurable {
    /// A change has its place in history under this epoch.
    pub fn keep(&mut self, lsn: u64, change: Change) {
        self.last = self.last.max(lsn);
        if lsn <= self.durable {
            return;
        }
        self.bytes += change.bytes();
        if let Some(old) = self.placed.insert(lsn, change) {
            self.bytes -= old.bytes();
        }
    }

    /// All up to `durable` is, under this epoch.
    pub fn mark(&mut self, durable: u64) {
        self.durable = self.durable.max(durable);
        let rest = self.placed.split_off(&(self.durable.saturating_add(1)));
        let gone = std::mem::replace(&mut self.placed, rest);
        self.bytes -= gone.values().map(Change::bytes).sum::<usize>();
    }

    /// A new epoch, whose log holds the changes of each stream up to the sequence in `streams`: they are durable.
    pub fn recover(&mut self, streams: &BTreeMap<u16, u32>, durable: u64) {
        let placed = std::mem::take(&mut self.placed).into_values();
        let waiting = std::mem::take(&mut self.waiting);
        let is_missing = |change: &Change| {
            let (stream, sequence) = change.name;
            streams.get(&stream).is_none_or(|last| sequence > *last)
        };
        self.waiting = placed.chain(waiting).filter(is_missing).collect();
        self.bytes = self.waiting.iter().map(Change::bytes).sum();
        // Places of the old epoch mean nothing any more.
        (self.durable, self.last) = (durable, durable);
    }

    /// The next to be said again. Until it is placed, whoever takes it answers for it.
    pub fn next(&mut self) -> Option<Change> {
        let change = self.waiting.pop_front()?;
        self.bytes -= change.bytes();
        Some(change)
    }

    /// It was not said after all.
    pub fn again(&mut self, change: Option<Change>) {
        if let Some(change) = change {
            self.bytes += change.bytes();
            self.waiting.push_front(change);
        }
    }

    /// Everything, in order; nothing is kept any more.
    pub fn clear(&mut self) -> Vec<Change> {
        let kept = std::mem::take(self);
        kept.placed.into_values().chain(kept.waiting).collect()
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.placed.is_empty()
    }

    /// All up to here is durable.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// The last place that was told.
    pub fn last(&self) -> u64 {
        self.last
    }
}
