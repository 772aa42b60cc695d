//! Replay: what the records of a chain come to.

use std::collections::BTreeMap;

use baton_types::{Epoch, Error, FilesetId, Kind, Result};
use bytes::Bytes;

use super::chain::{Chain, check_blocks, damaged, segments_of};
use crate::format::{
    Bitmap, Block, FilesetUsage, Free, Geometry, Key, KeyKind, Lsn, Pending, Pointer, Record, RecordKind, Root,
    Segment, SegmentClass, VnodeRange, is_taken_back, owned,
};
use crate::live::LiveTree;
use crate::nodes::Nodes;
use crate::snapshot::{Dead, Fate, Line};
use crate::space::{Inherited, Runs, Space};
use crate::transaction::{Operation, Run, SessionId, Usage};
use crate::tree::{Pinned, Stop};

/// What recovery knows.
pub(crate) struct Replayed {
    /// The filesets that the log changed.
    pub filesets: BTreeMap<FilesetId, Changed>,
    /// The system tree, with what the log put over it.
    pub system: LiveTree,
    /// Space as the old owner left it; all of his is inherited.
    pub space: Space,
    /// Replies to operations, in their order.
    pub replies: Vec<Reply>,
    /// The nodes of the root's lists of pending frees.
    pub pending_nodes: Vec<Run>,
}

/// One fileset's part.
#[derive(Default)]
pub(crate) struct Changed {
    /// Its items in layers, up to each snapshot that was taken; the root is not known here.
    pub tree: LiveTree,
    /// Blocks that only snapshots have.
    pub dead: Dead,
    /// Its snapshots, as far as somebody asked.
    line: Option<Line>,
    /// After its last record, if it had one.
    pub usage: Option<Usage>,
    /// Vnodes before this one were given to sessions.
    pub next_vnode: u64,
    /// Blocks promised to its files, as far as a record said so.
    promised: Option<u64>,
}

/// A reply that may be asked for again.
pub(crate) struct Reply {
    /// To what.
    pub operation: Operation,
    /// Its place in history.
    pub lsn: Lsn,
    /// What was answered.
    pub result: Bytes,
}

/// Does `look` until every node that it needs was there.
pub(crate) fn retrying<T>(nodes: &Nodes, mut look: impl FnMut(&Pinned) -> Result<T, Stop>) -> Result<T> {
    let mut pinned = Pinned::default();
    loop {
        match look(&pinned) {
            Ok(found) => return Ok(found),
            Err(Stop::Miss(pointer)) => pinned.fetch(nodes, &pointer)?,
            Err(Stop::Room(_) | Stop::Data(_)) => unreachable!("no file is read or written while a log is replayed"),
            Err(Stop::Failed(error)) => return Err(error),
        }
    }
}

impl Replayed {
    /// Applies the records of `chain` to `root`.
    ///
    /// # Errors
    /// `Damaged`; `Version` for what only a newer Baton can apply; `Io`.
    pub fn of(chain: &Chain, geometry: &Geometry, nodes: &Nodes, root: &Root) -> Result<Replayed> {
        let mut replayed = Replayed {
            filesets: BTreeMap::new(),
            system: LiveTree::at(root.system),
            space: space_of(geometry, nodes, root)?,
            replies: Vec::new(),
            pending_nodes: Vec::new(),
        };
        replayed.read_pending(geometry, nodes, root)?;
        replayed.read_promises(nodes)?;
        for piece in &chain.pieces {
            for segment in &piece.segments {
                replayed.inherit_log(geometry, piece.epoch, *segment);
            }
        }
        for record in chain.records() {
            let (epoch, lsn, record) = record?;
            if lsn > root.lsn {
                replayed.apply(geometry, nodes, epoch, lsn, record)?;
            }
        }
        for segment in replayed.space.inherited_segments() {
            retrying(nodes, |pinned| replayed.space.withdraw(segment, nodes, pinned))?;
        }
        Ok(replayed)
    }

    fn inherit_log(&mut self, geometry: &Geometry, epoch: Epoch, segment: Segment) {
        self.space.inherit(
            segment,
            Inherited {
                epoch,
                class: SegmentClass::Log,
                bitmap: Bitmap::free(geometry.segment_blocks()),
            },
        );
        // It became log when all its blocks were free again; the root that this log follows may have them still among
        // those that wait.
        self.space.forget_frees(segment);
    }

    fn apply(&mut self, geometry: &Geometry, nodes: &Nodes, epoch: Epoch, lsn: Lsn, record: Record) -> Result<()> {
        if let Some(key) = record.of_merges() {
            return Err(damaged(format!("record {lsn} puts {key:?}, which merges alone write")));
        }
        match record.kind {
            RecordKind::Op | RecordKind::Step => self.apply_change(geometry, nodes, lsn, record),
            RecordKind::Snapshot => self.apply_snapshot((geometry, nodes), lsn, record),
            RecordKind::Client | RecordKind::Session | RecordKind::Holds | RecordKind::Fileset => {
                self.apply_to_system(nodes, lsn, record)
            }
            RecordKind::Extend => Ok(()),
            RecordKind::Reserve => {
                let class = SegmentClass::from_number(u8::try_from(record.flags).unwrap_or(0));
                let class = class.ok_or_else(|| unknown("a reserve of an unknown class"))?;
                for segment in segments_of(&record, geometry)? {
                    self.reserve(geometry, nodes, epoch, class, segment)?;
                }
                Ok(())
            }
            RecordKind::Proof => Err(unknown("a proof that an epoch is gone")),
        }
    }

    fn apply_change(&mut self, geometry: &Geometry, nodes: &Nodes, lsn: Lsn, record: Record) -> Result<()> {
        for (key, value) in &record.items {
            if let Some(value) = value
                && let Some(owned) = owned(*key, value)?
            {
                let run = run_of(geometry, &owned)?;
                self.space.replay_put(run);
                if is_taken_back(*key, &owned, lsn) {
                    self.space.own(run);
                }
            }
        }
        let fileset = self.filesets.entry(record.fileset).or_default();
        for free in &record.frees {
            let run = run_of(geometry, free)?;
            let line = match &fileset.line {
                Some(line) => line,
                // As it was when the record was appended: no later one was applied yet.
                None => {
                    let (system, id) = (&self.system, record.fileset);
                    let line = retrying(nodes, |pinned| Line::read(&system.view(nodes, pinned), id))?;
                    fileset.line.insert(line)
                }
            };
            match line.fate(free.birth, Lsn(u64::MAX)) {
                Fate::Kept(span) => fileset.dead.add(span, run),
                Fate::Base => {}
                Fate::Free => self.space.free(run),
            }
        }
        fileset.usage = Some(usage_of(&record));
        self.promised(nodes, record.fileset, record.usage_promised)?;
        self.replied(lsn, &record);
        let fileset = self.filesets.entry(record.fileset).or_default();
        for (key, value) in record.items {
            fileset.tree.active.insert(key, value, lsn);
        }
        Ok(())
    }

    /// One is taken or deleted, or some of its space given back: what that frees, nobody has.
    fn apply_snapshot(&mut self, (geometry, nodes): (&Geometry, &Nodes), lsn: Lsn, record: Record) -> Result<()> {
        for free in &record.frees {
            self.space.free(run_of(geometry, free)?);
        }
        let fileset = self.filesets.entry(record.fileset).or_default();
        fileset.line = None;
        match record.flags {
            0 => {}
            Record::TAKEN => {
                let snapshots = record.items.iter().filter(|(key, _)| key.kind == KeyKind::Snapshot);
                let last = snapshots.map(|(key, _)| key.sub).max();
                let last = last.ok_or_else(|| damaged(format!("record {lsn} takes no snapshot")))?;
                fileset.tree.take_moment(Lsn(last));
                fileset.usage = Some(usage_of(&record));
            }
            Record::BACK => {
                if !fileset.tree.active.is_empty() || !fileset.tree.frozen.is_empty() {
                    return Err(damaged(format!("record {lsn} goes back from what no root has")));
                }
                fileset.tree = LiveTree::default();
                fileset.usage = Some(usage_of(&record));
                self.promised(nodes, record.fileset, 0)?;
            }
            flags => return Err(unknown(&format!("a snapshot with the flags {flags:#x}"))),
        }
        self.replied(lsn, &record);
        self.apply_to_system(nodes, lsn, record)
    }

    /// From here on the files of a fileset are promised so many blocks.
    fn promised(&mut self, nodes: &Nodes, id: FilesetId, blocks: u64) -> Result<()> {
        let fileset = self.filesets.entry(id).or_default();
        let before = match fileset.promised {
            Some(before) => before,
            // Nobody was promised anything in all of the aggregate, or only since the root.
            None if self.space.promised() == 0 => 0,
            None => retrying(nodes, |pinned| {
                let usage = self.system.view(nodes, pinned).get(Key::fileset_usage(id))?;
                Ok(usage.map_or(Ok(0), |usage| FilesetUsage::decode(&usage).map(|usage| usage.promised))?)
            })?,
        };
        fileset.promised = Some(blocks);
        self.space.promise(before, blocks);
        Ok(())
    }

    fn read_promises(&mut self, nodes: &Nodes) -> Result<()> {
        let blocks = retrying(nodes, |pinned| self.system.view(nodes, pinned).get(Key::PROMISED))?;
        let Some(blocks) = blocks else { return Ok(()) };
        let blocks = <[u8; 8]>::try_from(&blocks[..]);
        let blocks = blocks.map_err(|_| damaged("the sum of promises is no number".to_owned()))?;
        self.space.promise(0, u64::from_le_bytes(blocks));
        self.space.told_promises(u64::from_le_bytes(blocks));
        Ok(())
    }

    /// Whoever asks again is answered the same.
    fn replied(&mut self, lsn: Lsn, record: &Record) {
        if record.session != 0 {
            let operation = Operation {
                session: SessionId(record.session),
                stream: record.stream,
                sequence: record.sequence,
                ..Operation::default()
            };
            let result = record.result.clone();
            self.replies.push(Reply { operation, lsn, result });
        }
    }

    fn apply_to_system(&mut self, nodes: &Nodes, lsn: Lsn, record: Record) -> Result<()> {
        let gone = |(key, value): &&(Key, Option<Bytes>)| key.kind == KeyKind::FilesetHeader && value.is_none();
        if let Some(id) = record.items.iter().find(gone).map(|(key, _)| FilesetId(key.object)) {
            self.promised(nodes, id, 0)?;
        }
        for (key, value) in record.items {
            if let (KeyKind::VnodeRange, Some(value)) = (key.kind, &value) {
                let fileset = self.filesets.entry(FilesetId(key.sub)).or_default();
                for range in VnodeRange::decode_all(value)? {
                    let end = range.first.number().saturating_add(range.count.into());
                    fileset.next_vnode = fileset.next_vnode.max(end);
                }
            }
            // What is freed from here on, others have or have not.
            if let (KeyKind::Snapshot | KeyKind::Base | KeyKind::Held, Some(fileset)) =
                (key.kind, self.filesets.get_mut(&FilesetId(key.object)))
            {
                fileset.line = None;
            }
            self.system.active.insert(key, value, lsn);
        }
        Ok(())
    }

    fn reserve(
        &mut self,
        geometry: &Geometry,
        nodes: &Nodes,
        epoch: Epoch,
        class: SegmentClass,
        segment: Segment,
    ) -> Result<()> {
        if self.space.is_inherited(segment) {
            return Ok(());
        }
        let state = retrying(nodes, |pinned| self.space.state(segment, nodes, pinned))?;
        let bitmap = state.map_or_else(|| Bitmap::free(geometry.segment_blocks()), |state| state.bitmap);
        self.space.inherit(segment, Inherited { epoch, class, bitmap });
        Ok(())
    }

    /// The lists of pending frees, and where they lie themselves.
    fn read_pending(&mut self, geometry: &Geometry, nodes: &Nodes, root: &Root) -> Result<()> {
        let mut lists = [Runs::default(), Runs::default()];
        // The root names the older one first.
        for (runs, list) in lists.iter_mut().rev().zip(root.pending) {
            let tree = LiveTree::at(list);
            retrying(nodes, |pinned| {
                for item in tree.view(nodes, pinned).scan(Key::FIRST, Key::LAST) {
                    let (key, value) = item?;
                    let (first, count) = (Block(key.object), u64::from(Pending::decode(&value)?.count));
                    // A list's runs go over the ends of segments.
                    check_blocks(geometry, first, 1)?;
                    check_blocks(geometry, Block(first.0 + count - 1), 1)?;
                    runs.insert(first, count);
                }
                Ok(())
            })?;
            if let Some(list) = list {
                collect_nodes(nodes, &list, &mut self.pending_nodes)?;
            }
        }
        self.space.set_pending(lists);
        Ok(())
    }
}

fn run_of(geometry: &Geometry, free: &Free) -> Result<Run> {
    check_blocks(geometry, free.block, free.count.into())?;
    Ok(Run {
        block: free.block,
        count: free.count,
    })
}

fn usage_of(record: &Record) -> Usage {
    Usage {
        bytes: record.usage_bytes,
        files: record.usage_files,
        promised: record.usage_promised,
    }
}

/// The place of every node of a tree.
fn collect_nodes(nodes: &Nodes, pointer: &Pointer, found: &mut Vec<Run>) -> Result<()> {
    found.push(Run {
        block: pointer.block,
        count: pointer.blocks.into(),
    });
    let node = nodes.read(pointer)?;
    if node.level() > 0 {
        for index in 0..node.len() {
            collect_nodes(nodes, &node.pointer(index), found)?;
        }
    }
    Ok(())
}

/// Space as `root` has it: its open segments and those it inherited, all of older epochs now.
fn space_of(geometry: &Geometry, nodes: &Nodes, root: &Root) -> Result<Space> {
    let mut space = Space::new(*geometry, root.epoch, LiveTree::at(root.space), root.high_water);
    retrying(nodes, |pinned| space.read_room(nodes, pinned))?;
    retrying(nodes, |pinned| space.read_further(nodes, pinned))?;
    let own = root.open.iter().map(|open| (root.epoch, open));
    let older = root.inherited.iter();
    let older = older.flat_map(|inherited| inherited.open.iter().map(|open| (inherited.epoch, open)));
    for (epoch, open) in own.chain(older) {
        let inherited = Inherited {
            epoch,
            class: open.class,
            bitmap: open.bitmap.clone(),
        };
        space.inherit(open.segment, inherited);
    }
    for segment in &root.log_reserve {
        let inherited = Inherited {
            epoch: root.epoch,
            class: SegmentClass::Log,
            bitmap: Bitmap::free(geometry.segment_blocks()),
        };
        space.inherit(*segment, inherited);
    }
    Ok(space)
}

fn unknown(what: &str) -> Error {
    Error::new(Kind::Version, "log")
        .because(format!("it holds {what}, which this version cannot replay"))
        .remedy("open the aggregate with the version that wrote it")
}
