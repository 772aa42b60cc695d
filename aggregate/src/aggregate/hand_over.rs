//! Hand-over: what an owner that detaches on purpose leaves to the next one.
//!
//! To the store it is bytes, in pieces, in items of the system tree. They count only for the epoch that goes on exactly
//! where their writer ended: the newest root is of that writer's epoch, and its slot says DETACHED. An owner that takes
//! its aggregate back writes OWN first, and one that died never wrote DETACHED; so old pieces may lie there, and tell
//! nobody anything. The next hand-over replaces them.

use baton_types::{Epoch, Result};

use super::Aggregate;
use crate::format::{Key, KeyKind, Lsn, Parting, RecordKind};
use crate::transaction::Operation;

/// Pieces in one record: well below what the smallest batch holds.
const PIECES_PER_RECORD: usize = 32;

impl Aggregate {
    /// Leaves `bytes` to the next owner. They count when the record is durable and the aggregate detached after that,
    /// with no change in between that they do not know of.
    ///
    /// # Errors
    /// Damage; `NoSpace`.
    pub fn leave(&self, bytes: &[u8]) -> Result<Lsn> {
        let pieces = Parting::cut(self.epoch(), bytes);
        let old = self.partings()?.len();
        let mut lsn = self.last();
        for (index, pieces) in pieces.chunks(PIECES_PER_RECORD).enumerate() {
            let first = index * PIECES_PER_RECORD;
            let left = self.change_system(RecordKind::Holds, &Operation::default(), |transaction| {
                for (number, piece) in (first..).zip(pieces) {
                    transaction.put(Key::parting(number as u64), piece.encode());
                }
                Ok(())
            });
            (lsn, ()) = left?;
        }
        for first in (pieces.len()..old).step_by(PIECES_PER_RECORD) {
            let dropped = self.change_system(RecordKind::Holds, &Operation::default(), |transaction| {
                let last = old.min(first + PIECES_PER_RECORD);
                (first..last).for_each(|number| transaction.delete(Key::parting(number as u64)));
                Ok(())
            });
            (lsn, ()) = dropped?;
        }
        Ok(lsn)
    }

    /// What the last owner left, if this one goes on exactly where it ended.
    ///
    /// # Errors
    /// Damage.
    pub fn inherited(&self) -> Result<Option<Vec<u8>>> {
        let Some(before) = self.engine.handed_over_by else {
            return Ok(None);
        };
        Ok(Parting::join(before, &self.partings()?))
    }

    fn partings(&self) -> Result<Vec<Parting>> {
        self.read_system(|view| {
            let mut pieces = Vec::new();
            for item in view.scan(Key::parting(0), Key::new(0, KeyKind::Parting, u64::MAX)) {
                pieces.push(Parting::decode(&item?.1)?);
            }
            Ok(pieces)
        })
    }

    /// Takes back what was detached, at `time`: from here on it is written again, under the same epoch. Its threads are
    /// to be started after this.
    ///
    /// # Errors
    /// `WrongEpoch` if somebody else has taken it meanwhile, and for ever; `Io`.
    ///
    /// # Panics
    /// If it was not detached.
    pub fn thaw(&self, time: baton_types::Timestamp) -> Result<()> {
        self.engine.fence.thaw(time)?;
        self.engine.log.thaw();
        Ok(())
    }
}

/// The epoch that the newest root is of, if its slot says that it detached.
pub(super) fn predecessor(base: &crate::fence::Base) -> Option<Epoch> {
    base.is_detached.then_some(base.root.epoch)
}
