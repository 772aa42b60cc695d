//! Branches of a fileset: what was taken between one going back and the next, and what is left when it ends.
//!
//! A branch that the fileset left ends with the snapshot that was taken then. That one is all there is of it after its
//! last snapshot before, so nothing tells what died with it. When it goes, its tree is walked as far as no older snapshot
//! of the branch has it, and that one is the last then. Lists of what died after that one say nothing any more.
//!
//! ```text
//! s1 ── s2 ── s3 ── before          s3 is the base of the second branch, and is held
//!              └─── s4 ── s5 ── now
//! ```

use super::Line;
use crate::format::{Base, Lsn, Snapshot};

/// Snapshots that one after the other were taken of a fileset, deleted ones too.
#[derive(Clone, Debug)]
pub(crate) struct Branch {
    /// The record it began with; 0 for the first one.
    pub began: Lsn,
    /// What it goes on from, if that is a snapshot.
    pub base: Option<Base>,
    /// The record with which the fileset left it; none yet, for the last one.
    pub left: Option<Lsn>,
    /// Oldest first.
    pub snapshots: Vec<(Lsn, Snapshot)>,
}

/// What is left of a branch behind its last snapshot that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    /// The snapshot that is walked next.
    pub snapshot: Lsn,
    /// What was born up to here, others have; the last snapshot that is kept, or before the branch.
    pub floor: Lsn,
}

/// The branches of a fileset with the snapshots `all`, deleted ones among them.
pub(crate) fn branches(line: &Line, all: impl IntoIterator<Item = (Lsn, Snapshot)>) -> Vec<Branch> {
    let mut branches = vec![Branch {
        began: Lsn(0),
        base: None,
        left: None,
        snapshots: Vec::new(),
    }];
    for (record, base) in line.bases() {
        if let Some(last) = branches.last_mut() {
            last.left = Some(record);
        }
        branches.push(Branch {
            began: record,
            base: Some(*base),
            left: None,
            snapshots: Vec::new(),
        });
    }
    for (at, snapshot) in all {
        let branch = branches.iter_mut().rfind(|branch| branch.began <= at);
        branch
            .into_iter()
            .for_each(|branch| branch.snapshots.push((at, snapshot.clone())));
    }
    branches
}

impl Branch {
    /// What was born up to here is not of this branch.
    pub fn floor(&self) -> Lsn {
        Lsn(self.began.0.saturating_sub(1))
    }

    /// What is to be taken apart behind the last snapshot that `line` keeps, if the fileset has left the branch.
    pub fn tip(&self, line: &Line) -> Option<Tip> {
        let (snapshot, _) = self.snapshots.last()?;
        if self.left.is_none() || line.keeps(*snapshot) {
            return None;
        }
        let kept = self.snapshots.iter().rev().find(|(at, _)| line.keeps(*at));
        Some(Tip {
            snapshot: *snapshot,
            floor: kept.map_or(self.floor(), |(at, _)| *at),
        })
    }

    /// The number of the snapshot `at`; 0 if there is none.
    pub fn serial_of(&self, at: Lsn) -> u32 {
        let found = self.snapshots.iter().find(|(snapshot, _)| *snapshot == at);
        found.map_or(0, |(_, snapshot)| snapshot.serial)
    }

    /// Up to where others have what the snapshot `id` has, if that is the last one `line` keeps of a branch that the
    /// fileset has left.
    pub fn floor_if_last(&self, line: &Line, id: Lsn) -> Option<Lsn> {
        self.left?;
        let mut kept = self.snapshots.iter().rev().filter(|(at, _)| line.keeps(*at));
        kept.next().filter(|(at, _)| *at == id)?;
        Some(kept.next().map_or(self.floor(), |(at, _)| *at))
    }

    /// Those whose blocks are told by what `line` keeps before and after them: not what is left behind the last one.
    pub fn between(&self, line: &Line) -> impl Iterator<Item = &(Lsn, Snapshot)> {
        let last = self.snapshots.iter().rposition(|(at, _)| line.keeps(*at));
        let end = match self.left {
            Some(_) => last.map_or(0, |last| last + 1),
            None => self.snapshots.len(),
        };
        self.snapshots[..end].iter()
    }
}
