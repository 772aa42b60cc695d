//! The snapshots of a fileset in their order, and the blocks that died since they were taken.
//!
//! A block belongs to the snapshots from the first that was taken after its birth up to the last that was taken before
//! its death, and to nobody else. That is its [`Span`], noted when it dies: no snapshot is asked what it has, and none
//! has to be walked when one goes. A span is free when none of its snapshots is kept any more.
//!
//! A fileset that goes on from a snapshot, its own or another's, begins a [branch](branches): the snapshots taken from
//! there on, and the fileset itself on the last one. What was born before a branch its base has, which stays for as long
//! as the branch does: so it is nobody's business when such a block dies in the branch.
//!
//! | who dies | when | is found out by |
//! |---|---|---|
//! | blocks of data | with the record that frees them | the owner, and by who replays that record |
//! | nodes | when the merge that replaces them counts | the checkpoint, which writes spans of both into the system tree |

mod branches;

use std::collections::BTreeMap;
use std::sync::Arc;

use baton_types::{Error, FilesetId, Kind};

pub(crate) use branches::{Branch, Tip, branches};

use crate::fileset::Items;
use crate::format::{Base, FilesetUsage, Held, Key, KeyKind, Lsn, Pointer, Snapshot, Walk};
use crate::space::Runs;
use crate::transaction::Run;
use crate::tree::Stop;

/// The snapshots of one fileset that are kept, and what it went on from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// Those that were deleted and are held, too: they keep what they have, and nobody sees them.
    kept: Arc<BTreeMap<Lsn, Snapshot>>,
    /// What it goes on from, from which record on.
    bases: Arc<BTreeMap<Lsn, Base>>,
    /// By the record with which somebody went on from it: a snapshot.
    held: Arc<BTreeMap<Lsn, Lsn>>,
}

/// What becomes of blocks that a fileset has no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nobody has them.
    Free,
    /// These snapshots have them.
    Kept(Span),
    /// The base has them: whatever becomes of them is its.
    Base,
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
    /// The last record with which one was taken or deleted by this owner.
    pub changed: Lsn,
    /// The records that took those of this owner which were not durable when the next one was taken.
    pub fresh: BTreeMap<Lsn, Lsn>,
}

impl Line {
    /// What the system tree says of `fileset`.
    ///
    /// # Errors
    /// A miss; damage.
    pub fn read(system: &impl Items, fileset: FilesetId) -> Result<Line, Stop> {
        let mut line = Line::default();
        let all = |kind| system.scan(Key::new(fileset.0, kind, 0), Key::new(fileset.0, kind, u64::MAX));
        for item in all(KeyKind::Base) {
            let (key, value) = item?;
            line.go_on(Lsn(key.sub), Base::decode(&value)?);
        }
        for item in all(KeyKind::Held) {
            let (key, value) = item?;
            line.hold(Lsn(key.sub), Held::decode(&value)?.snapshot);
        }
        for item in of(system, fileset) {
            let (lsn, snapshot) = item?;
            if snapshot.is_kept() || line.is_held(lsn) {
                line.insert(lsn, snapshot);
            }
        }
        Ok(line)
    }

    /// Adds one.
    pub fn insert(&mut self, at: Lsn, snapshot: Snapshot) {
        Arc::make_mut(&mut self.kept).insert(at, snapshot);
    }

    /// It was deleted: who holds it keeps it.
    pub fn delete(&mut self, at: Lsn, deleted: Lsn) {
        let is_held = self.is_held(at);
        let kept = Arc::make_mut(&mut self.kept);
        match kept.get_mut(&at) {
            Some(snapshot) if is_held => snapshot.deleted = deleted,
            _ => drop(kept.remove(&at)),
        }
    }

    /// From `record` on, the fileset goes on from `base`.
    pub fn go_on(&mut self, record: Lsn, base: Base) {
        Arc::make_mut(&mut self.bases).insert(record, base);
    }

    /// Nothing is left of what began with `record`.
    pub fn forget_base(&mut self, record: Lsn) {
        Arc::make_mut(&mut self.bases).remove(&record);
    }

    /// From `record` on, somebody goes on from `snapshot`.
    pub fn hold(&mut self, record: Lsn, snapshot: Lsn) {
        Arc::make_mut(&mut self.held).insert(record, snapshot);
    }

    /// Nothing is left of what went on with `record`: the snapshot goes, if it was deleted and is held no more.
    pub fn let_go(&mut self, record: Lsn) {
        let snapshot = Arc::make_mut(&mut self.held).remove(&record);
        if let Some(at) = snapshot.filter(|at| !self.is_held(*at) && self.get(*at).is_none()) {
            Arc::make_mut(&mut self.kept).remove(&at);
        }
    }

    /// True if somebody goes on from it.
    pub fn is_held(&self, at: Lsn) -> bool {
        self.held.values().any(|held| *held == at)
    }

    /// True if its blocks are kept.
    pub fn keeps(&self, at: Lsn) -> bool {
        self.kept.contains_key(&at)
    }

    /// One of those that are to be seen.
    pub fn get(&self, at: Lsn) -> Option<&Snapshot> {
        self.kept.get(&at).filter(|snapshot| snapshot.is_kept())
    }

    /// Those that are to be seen, oldest first.
    pub fn shown(&self) -> impl DoubleEndedIterator<Item = (Lsn, &Snapshot)> {
        self.iter().filter(|(_, snapshot)| snapshot.is_kept())
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Lsn, &Snapshot)> {
        self.kept.iter().map(|(at, snapshot)| (*at, snapshot))
    }

    /// What the fileset went on from, oldest first.
    pub fn bases(&self) -> impl DoubleEndedIterator<Item = (Lsn, &Base)> {
        self.bases.iter().map(|(record, base)| (*record, base))
    }

    /// The newest that is to be seen; 0 if there is none.
    pub fn newest(&self) -> Lsn {
        self.shown().next_back().map_or(Lsn(0), |(at, _)| at)
    }

    /// Where the branch began that a merge or record before `end` is of; 0 for the first one.
    pub fn began(&self, end: Lsn) -> Lsn {
        self.bases
            .range(..end)
            .next_back()
            .map_or(Lsn(0), |(record, _)| *record)
    }

    /// True if the fileset `own` came from its snapshot `at` to where it is; false if it went back from there.
    pub fn is_behind(&self, own: FilesetId, at: Lsn) -> bool {
        let mut end = Lsn(u64::MAX);
        loop {
            let began = self.began(end);
            if at >= began {
                return at <= end;
            }
            match self.bases.get(&began) {
                // One that is no older than what goes on from it would lead round and round: no store writes that.
                Some(base) if base.origin == own && base.snapshot < began => end = base.snapshot,
                _ => return false,
            }
        }
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

    /// What becomes of a block that was born at `birth` and dies between the last snapshot before `end` and `end`.
    pub fn fate(&self, birth: Lsn, end: Lsn) -> Fate {
        if birth < self.began(end) {
            return Fate::Base;
        }
        // A block younger than the last snapshot is in none.
        let last = self.kept.range(..end).next_back();
        let first = self.kept.range(birth.min(end)..end).next();
        match (first, last) {
            (Some((_, first)), Some((last, _))) => Fate::Kept(Span {
                last: *last,
                first: first.serial,
            }),
            _ => Fate::Free,
        }
    }
}

/// Where the nodes of a fileset begin, and what it uses, as merges left it: what it goes on from, if none has seen it
/// since.
///
/// # Errors
/// A miss; damage.
pub(crate) fn beginning(system: &impl Items, fileset: FilesetId) -> Result<(Option<Pointer>, FilesetUsage), Stop> {
    let pointer = |key| Ok::<_, Stop>(system.get(key)?.map(|bytes| Pointer::decode(&bytes)).transpose()?);
    if let Some(usage) = system.get(Key::fileset_usage(fileset))? {
        return Ok((pointer(Key::fileset_tree(fileset))?, FilesetUsage::decode(&usage)?));
    }
    let newest = Key::base(fileset, Lsn(u64::MAX));
    let Some((_, base)) = system.last_at_or_before(newest)? else {
        return Ok((pointer(Key::fileset_tree(fileset))?, FilesetUsage::default()));
    };
    let base = Base::decode(&base)?;
    let snapshot = system.get(Key::snapshot(base.origin, base.snapshot))?;
    let snapshot = snapshot.map(|bytes| Snapshot::decode(&bytes)).transpose()?;
    let snapshot = snapshot.ok_or_else(|| damaged(fileset, "the snapshot it goes on from does not exist"))?;
    let usage = FilesetUsage {
        bytes: snapshot.bytes,
        files: snapshot.files,
        next_vnode: base.next_vnode,
        // What was promised, was promised on another branch.
        promised: 0,
    };
    Ok((pointer(Key::snapshot_tree(base.origin, base.snapshot))?, usage))
}

/// What is left behind the last snapshot of a branch that is kept.
#[derive(Default)]
pub(crate) struct Rest {
    /// Trees that are to be walked, each with where its walk goes on.
    pub trees: Vec<(Option<Pointer>, Walk)>,
    /// Lists of what died after one of these snapshots, and was there at it, say nothing any more: its tree has it.
    floors: Vec<(Lsn, u32)>,
}

impl Rest {
    /// What is left of `branch` of `fileset`.
    ///
    /// # Errors
    /// A miss; damage.
    pub fn of(system: &impl Items, fileset: FilesetId, (line, branch): (&Line, &Branch)) -> Result<Rest, Stop> {
        let Some(tip) = branch.tip(line) else {
            return Ok(Rest::default());
        };
        let root = |at| -> Result<Option<Pointer>, Stop> {
            let bytes = system.get(Key::snapshot_tree(fileset, at))?;
            Ok(bytes.map(|bytes| Pointer::decode(&bytes)).transpose()?)
        };
        let whole = Walk {
            floor: tip.floor,
            from: Key::FIRST,
        };
        let walk = system.get(Key::walk(tip.snapshot))?;
        let walk = walk.map_or(Ok(whole), |walk| Walk::decode(&walk))?;
        let mut trees = vec![(root(tip.snapshot)?, walk)];
        if walk.floor > tip.floor {
            // The snapshot up to which it goes was deleted since, and is walked after it.
            trees.push((root(walk.floor)?, whole));
        }
        let floors = trees.iter().map(|(_, walk)| (walk.floor, branch.serial_of(walk.floor)));
        let floors = floors.collect();
        Ok(Rest { trees, floors })
    }

    /// True if a list of `span` says who has blocks.
    pub fn counts(&self, span: Span) -> bool {
        let mut floors = self.floors.iter();
        floors.all(|(floor, serial)| span.last < *floor || span.first > *serial)
    }
}

pub(crate) fn damaged(fileset: FilesetId, reason: &str) -> Error {
    Error::new(Kind::Damaged, format!("fileset {fileset}")).because(reason)
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
    /// A record frees blocks: true if somebody still has them.
    pub fn outlive(&mut self, run: Run, birth: Lsn) -> bool {
        match self.line.fate(birth, Lsn(u64::MAX)) {
            Fate::Kept(span) => {
                self.dead.add(span, run);
                true
            }
            Fate::Base => true,
            Fate::Free => false,
        }
    }

    /// What died up to now, for a checkpoint.
    pub fn freeze(&mut self) -> Vec<Arc<Dead>> {
        if !self.dead.is_empty() {
            self.frozen.push(Arc::new(std::mem::take(&mut self.dead)));
        }
        self.frozen.clone()
    }

    /// One was deleted, after all records before `deleted`.
    pub fn forget(&mut self, at: Lsn, deleted: Lsn) {
        self.line.delete(at, deleted);
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
        let span = |birth, end| match line.fate(Lsn(birth), Lsn(end)) {
            Fate::Kept(span) => Some((span.first, span.last.0)),
            Fate::Free => None,
            Fate::Base => unreachable!("it goes on from nothing"),
        };
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

    #[test]
    fn block_from_before_a_branch_is_its_bases() {
        let mut line = line(&[10, 20, 40]);
        let base = Base {
            origin: FilesetId(7),
            snapshot: Lsn(10),
            next_vnode: 2,
        };
        line.go_on(Lsn(30), base);
        line.hold(Lsn(30), Lsn(10));
        let fate = |birth| line.fate(Lsn(birth), Lsn(u64::MAX));
        assert_eq!([fate(5), fate(15), fate(29)], [Fate::Base; 3]);
        let (last, first) = (Lsn(40), 3);
        assert_eq!([fate(31), fate(40)], [Fate::Kept(Span { last, first }); 2]);
        assert_eq!(fate(41), Fate::Free);
        // The branch before is as it was.
        let (last, first) = (Lsn(10), 1);
        assert_eq!(line.fate(Lsn(5), Lsn(20)), Fate::Kept(Span { last, first }));
    }

    #[test]
    fn what_a_fileset_came_through_is_behind_it_however_its_bases_lead() {
        let mut line = line(&[10, 20, 40]);
        let base = |origin, snapshot| Base {
            origin: FilesetId(origin),
            snapshot: Lsn(snapshot),
            next_vnode: 2,
        };
        line.go_on(Lsn(30), base(7, 10));
        let is_behind = |line: &Line, at| line.is_behind(FilesetId(7), Lsn(at));
        assert_eq!([10, 20, 40].map(|at| is_behind(&line, at)), [true, false, true]);
        // A disk that says so: to itself, and to what came later.
        for snapshot in [30, 40] {
            line.go_on(Lsn(30), base(7, snapshot));
            assert_eq!([10, 20, 40].map(|at| is_behind(&line, at)), [false, false, true]);
        }
    }

    #[test]
    fn deleted_snapshot_stays_unseen_for_as_long_as_it_is_held() {
        let mut line = line(&[10, 20]);
        line.hold(Lsn(30), Lsn(10));
        line.hold(Lsn(40), Lsn(10));
        line.delete(Lsn(10), Lsn(50));
        line.delete(Lsn(20), Lsn(51));
        assert_eq!((line.keeps(Lsn(10)), line.keeps(Lsn(20))), (true, false));
        assert_eq!(
            (line.get(Lsn(10)), line.shown().count(), line.newest()),
            (None, 0, Lsn(0))
        );
        line.let_go(Lsn(30));
        assert!(line.keeps(Lsn(10)));
        line.let_go(Lsn(40));
        assert!(!line.keeps(Lsn(10)));
    }
}
