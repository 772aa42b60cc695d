//! What was promised to files and is not theirs yet: nobody else may fill it.

use super::Space;

/// What a promise of so many blocks keeps from others: nodes that lead to them, too, and what an operation may cost.
pub(crate) fn room_for(blocks: u64) -> u64 {
    match blocks {
        0 => 0,
        _ => blocks + blocks / 64 + PROMISE_BLOCKS,
    }
}

/// Kept beside whatever is promised, so that the last of it can be written.
const PROMISE_BLOCKS: u64 = 64;

impl Space {
    /// Files are promised `after` blocks where it was `before`.
    pub(crate) fn promise(&mut self, before: u64, after: u64) {
        self.promised[0] = (self.promised[0] + after).saturating_sub(before);
    }

    /// Blocks promised to files.
    pub(crate) fn promised(&self) -> u64 {
        self.promised[0]
    }

    /// The same, if the newest root says something else.
    pub(crate) fn promised_since(&self) -> Option<u64> {
        let [now, told] = self.promised;
        (now != told).then_some(now)
    }

    /// The newest root says so of promises.
    pub(crate) fn told_promises(&mut self, blocks: u64) {
        self.promised[1] = blocks;
    }
}
