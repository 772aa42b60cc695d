//! The marks beside the log, and the rules a batch must keep.
//!
//! ```text
//!   purged through 6           next_index 11
//!   ┌───────────────┬─────────────────┬ ─ ─ ─
//!   │ 0 … 6: gone   │  7  8  9  10    │  append
//!   └───────────────┴─────────────────┴ ─ ─ ─
//! ```
//! Two numbers describe the log, so that a hole cannot even be said: it begins behind the purge mark and ends
//! before `next_index`.

use std::ops::Range;

use baton_types::{Error, Kind, Result};
use serde::{Deserialize, Serialize};

use super::Batch;

/// Everything small that the store keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// The last vote.
    pub vote: Option<Vec<u8>>,
    /// How far the log is known to be committed.
    pub committed: Option<Vec<u8>>,
    /// The last index that was purged, and its mark.
    pub purged: Option<(u64, Vec<u8>)>,
    /// The index that the next entry will have.
    pub next_index: u64,
}

impl Marks {
    /// The indexes present.
    pub fn indexes(&self) -> Range<u64> {
        self.start()..self.next_index
    }

    /// The first index present.
    pub fn first(&self) -> Option<u64> {
        self.indexes().next()
    }

    /// The last index present.
    pub fn last(&self) -> Option<u64> {
        self.indexes().next_back()
    }

    /// Where the log begins, or would: an index behind the purge mark, 0 in a log that was never purged.
    fn start(&self) -> u64 {
        self.purged.as_ref().map_or(0, |(through, _)| through + 1)
    }

    /// What the marks are after `batch`, if it may be done at all; `log` names the log in the refusal.
    pub(super) fn after(&self, batch: &Batch, log: &str) -> Result<Marks> {
        let refused = |reason: String| Error::new(Kind::Invalid, log).op("commit").because(reason);
        let mut marks = self.clone();

        if let Some(from) = batch.truncate_from {
            if from < marks.start() {
                return Err(refused(format!(
                    "truncating from {from} would undo the purge before {}",
                    marks.start()
                )));
            }
            marks.next_index = marks.next_index.min(from);
        }
        for &(index, _) in &batch.append {
            if index != marks.next_index || index == u64::MAX {
                return Err(refused(format!(
                    "entry {index} does not continue the log, which needs {}",
                    marks.next_index
                )));
            }
            marks.next_index += 1;
        }
        if let Some((through, mark)) = &batch.purge_through {
            let end = through
                .checked_add(1)
                .ok_or_else(|| refused("no index can follow the purged ones".into()))?;
            if end < marks.start() {
                return Err(refused(format!(
                    "purged through {} already, not {through}",
                    marks.start() - 1
                )));
            }
            marks.purged = Some((*through, mark.clone()));
            marks.next_index = marks.next_index.max(end);
        }
        if let Some(vote) = &batch.vote {
            marks.vote = Some(vote.clone());
        }
        if let Some(committed) = &batch.committed {
            marks.committed = Some(committed.clone());
        }
        Ok(marks)
    }
}
