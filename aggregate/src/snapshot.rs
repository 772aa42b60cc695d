//! The snapshots of a fileset in their order, and the blocks that died since they were taken.
//!
//! A block belongs to the snapshots from the first that was taken after its birth up to the last that was taken before
//! its death, and to nobody else. That is its [`Span`], noted when it dies: no snapshot is asked what it has, and none
//! has to be walked when one goes. A span is free when none of its snapshots is kept any more.
//!
//! | who dies | when | is found out by |
//! |---|---|---|
//! | blocks of data | with the record that frees them | the owner, and by who replays that record |
//! | nodes | when the merge that replaces them counts | the checkpoint, which writes spans of both into the system tree |

use std::collections::BTreeMap;
use std::sync::Arc;

use baton_types::FilesetId;

use crate::fileset::Items;
use crate::format::{Key, Lsn, Pointer, Snapshot};
use crate::space::Runs;
use crate::transaction::Run;
use crate::tree::Stop;

/// The snapshots of one fileset that are kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    kept: Arc<BTreeMap<Lsn, Snapshot>>,
}

/// The snapshots that have a block which the fileset itself has no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    /// The last one.
    pub last: Lsn,
    /// The number of the first.
    pub first: u32,
}

/// Blocks that only snapshots have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dead {
    spans: BTreeMap<Span, Runs>,
}

/// What a fileset in service knows of its snapshots.
#[derive(Default)]
pub(crate) struct Snapshots {
    /// Those that are kept.
    pub line: Line,
    /// Trees of those that checkpoints have merged, as far as somebody asked.
    pub roots: BTreeMap<Lsn, Option<Pointer>>,
    /// What died since the last freeze.
    pub dead: Dead,
    /// What died before, and is in no checkpoint yet.
    pub frozen: Vec<Arc<Dead>>,
}

impl Line {
    /// The kept snapshots that the system tree has of `fileset`.
    ///
    /// # Errors
    /// A miss; damage.
    pub fn read(system: &impl Items, fileset: FilesetId) -> Result<Line, Stop> {
        let mut line = Line::default();
        for item in of(system, fileset) {
            let (lsn, snapshot) = item?;
            if snapshot.is_kept() {
                line.insert(lsn, snapshot);
            }
        }
        Ok(line)
    }

    /// Adds one.
    pub fn insert(&mut self, at: Lsn, snapshot: Snapshot) {
        Arc::make_mut(&mut self.kept).insert(at, snapshot);
    }

    /// It is not kept any more.
    pub fn remove(&mut self, at: Lsn) {
        Arc::make_mut(&mut self.kept).remove(&at);
    }

    /// One of them.
    pub fn get(&self, at: Lsn) -> Option<&Snapshot> {
        self.kept.get(&at)
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Lsn, &Snapshot)> {
        self.kept.iter().map(|(at, snapshot)| (*at, snapshot))
    }

    /// The newest; 0 if there is none.
    pub fn newest(&self) -> Lsn {
        self.kept.last_key_value().map_or(Lsn(0), |(at, _)| *at)
    }

    /// The number of the last one before `at`; 0 if there is none.
    pub fn serial_before(&self, at: Lsn) -> u32 {
        let before = self.kept.range(..at).next_back();
        before.map_or(0, |(_, snapshot)| snapshot.serial)
    }

    /// The first one after `at`.
    pub fn after(&self, at: Lsn) -> Option<Lsn> {
        self.kept.range(at.next()..).next().map(|(at, _)| *at)
    }

    /// Who has a block that was born at `birth` and dies between the last snapshot before `end` and `end`; nobody, if
    /// it is younger than that one.
    pub fn span(&self, birth: Lsn, end: Lsn) -> Option<Span> {
        let (last, _) = self.kept.range(..end).next_back()?;
        let (first, snapshot) = self.kept.range(birth..end).next()?;
        (first <= last).then_some(Span {
            last: *last,
            first: snapshot.serial,
        })
    }
}

/// Every snapshot that the system tree has of `fileset`, oldest first, deleted ones too.
pub(crate) fn of(system: &impl Items, fileset: FilesetId) -> impl Iterator<Item = Result<(Lsn, Snapshot), Stop>> {
    let (first, last) = (Key::snapshot(fileset, Lsn(0)), Key::snapshot(fileset, Lsn(u64::MAX)));
    let items = system.scan(first, last);
    items.map(|item| {
        let (key, value) = item?;
        Ok((Lsn(key.sub), Snapshot::decode(&value)?))
    })
}

impl Dead {
    /// Adds blocks.
    pub fn add(&mut self, span: Span, run: Run) {
        self.spans.entry(span).or_default().insert(run.block, run.count.into());
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: &Dead) {
        for (span, runs) in &other.spans {
            self.spans.entry(*span).or_default().append(runs.clone());
        }
    }

    /// True without a block.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Span, &Runs)> {
        self.spans.iter().map(|(span, runs)| (*span, runs))
    }
}

impl Snapshots {
    /// A record frees blocks: true if snapshots still have them.
    pub fn outlive(&mut self, run: Run, birth: Lsn) -> bool {
        match self.line.span(birth, Lsn(u64::MAX)) {
            Some(span) => {
                self.dead.add(span, run);
                true
            }
            None => false,
        }
    }

    /// What died up to now, for a checkpoint.
    pub fn freeze(&mut self) -> Vec<Arc<Dead>> {
        if !self.dead.is_empty() {
            self.frozen.push(Arc::new(std::mem::take(&mut self.dead)));
        }
        self.frozen.clone()
    }

    /// One is not kept any more.
    pub fn forget(&mut self, at: Lsn) {
        self.line.remove(at);
        self.roots.remove(&at);
    }
}

#[cfg(test)]
mod tests {
    use baton_types::{FileName, Timestamp};

    use super::*;

    fn line(moments: &[u64]) -> Line {
        let mut line = Line::default();
        for (at, serial) in moments.iter().zip(1..) {
            let snapshot = Snapshot {
                serial,
                name: FileName::parse(b"s").unwrap(),
                taken: Timestamp(0),
                bytes: 0,
                files: 0,
                deleted: Lsn(0),
            };
            line.insert(Lsn(*at), snapshot);
        }
        line
    }

    #[test]
    fn block_is_spanned_by_the_snapshots_between_its_birth_and_its_death() {
        let line = line(&[10, 20, 30]);
        let span = |birth, end| line.span(Lsn(birth), Lsn(end)).map(|span| (span.first, span.last.0));
        assert_eq!(span(5, u64::MAX), Some((1, 30)));
        assert_eq!(span(10, u64::MAX), Some((1, 30)));
        assert_eq!(span(11, u64::MAX), Some((2, 30)));
        assert_eq!(span(30, u64::MAX), Some((3, 30)));
        assert_eq!(span(31, u64::MAX), None);
        // A merge up to the second snapshot: the third and it have the new nodes.
        assert_eq!(span(5, 20), Some((1, 10)));
        assert_eq!(span(11, 20), None);
        assert_eq!(span(5, 10), None);
    }
}
