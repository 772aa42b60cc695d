//! Checkpoints: layers become nodes, and a root says so.
//!
//! | step | what | cut here |
//! |---|---|---|
//! | 1 | freeze: at one lsn, all active layers become frozen ones | nothing is written |
//! | 2 | merge each fileset's frozen layers into new nodes, snapshot by snapshot | new nodes, which nothing refers to |
//! | 3 | merge the system's, then what the space tree has to say; write the pending frees | the same |
//! | 4 | the log durable up to the freeze; flush; write the root, flush, look | the old root and its log are whole |
//! | 5 | swap the trees, drop the frozen layers, promote frees, release the log up to the root before | |
//!
//! One generation stays behind: if the newest root rots, the one before it and its log have lost nothing. A checkpoint
//! that fails leaves the frozen layers where they are, and the next one merges them too.

mod filesets;
mod freeze;
mod sink;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use baton_types::{Epoch, Kind, Result};

use crate::engine::Engine;
use crate::format::{History, Key, Lsn, Pending, Pointer, Root, RootKind, Segment, SegmentPhase, SegmentState};
use crate::log::{Start, Writer};
use crate::space::{Inherited, closed_state};
use crate::transaction::Run;
use crate::tree::{Cut, Layer, TreeId, build, merge_without};
use filesets::Merged;
use freeze::Frozen;
use sink::NodeSink;

/// Numbers of the trees that are no fileset's.
pub(crate) const SYSTEM: u64 = 0;
pub(crate) const SPACE: u64 = u64::MAX;
pub(crate) const PENDING: u64 = u64::MAX - 1;

/// What one root leaves to the next.
pub(crate) struct Checkpoints {
    /// Of the newest root.
    pub seq: u64,
    /// Of the newest root.
    pub generation: u64,
    /// What the next root says of the device's size.
    pub device_bytes: u64,
    /// Where the log of the newest root begins.
    pub start: Start,
    /// The nodes of its lists of pending frees.
    pub pending_nodes: Vec<Run>,
    /// Epochs that are proven to have nothing in flight (R5): what they left is free after the first checkpoint, and
    /// their sealed log after the second.
    pub gone: Vec<Epoch>,
    /// Log that the seal's root leads to: its segments stay as they are until that root is not needed any more.
    pub sealed_log: BTreeSet<Segment>,
    /// Epochs that are not proven gone.
    pub quarantine: Vec<Epoch>,
    /// The last epochs that served.
    pub history: Vec<History>,
}

/// What every node and list of one checkpoint carries.
#[derive(Clone, Copy)]
struct Stamp {
    lsn: Lsn,
    generation: u64,
}

/// What the merges came to.
struct Trees {
    filesets: Vec<Merged>,
    system: Option<Pointer>,
    space: Option<Pointer>,
    space_layers: usize,
    pending: [Option<Pointer>; 2],
}

impl Engine {
    /// Makes a checkpoint, unless somebody else made one since this was asked for.
    ///
    /// # Errors
    /// `Damaged` if a node that is to be merged is; what the device says; `WrongEpoch`.
    pub fn checkpoint(&self) -> Result<()> {
        let asked = self.generation.load(Ordering::Acquire);
        let mut checkpoints = self.checkpoints.lock();
        if self.generation.load(Ordering::Acquire) != asked {
            return Ok(());
        }
        self.log.check()?;
        let frozen = self.freeze();
        if let Err(error) = self.make_checkpoint(&mut checkpoints, &frozen) {
            if matches!(error.kind, Kind::Io | Kind::WrongEpoch) {
                self.log.fail(&error);
            }
            // They are as frozen as before, and the next checkpoint must not forget them.
            for fileset in frozen.filesets {
                self.note_change(&fileset.fileset, &mut fileset.fileset.state.lock());
            }
            return Err(error);
        }
        // The root counts; what it freed may be used again.
        self.release(&mut checkpoints)
            .inspect_err(|error| self.log.fail(error))?;
        let before = self.rooted.swap(frozen.lsn.0, Ordering::AcqRel);
        self.settled.store(before, Ordering::Release);
        self.generation.store(checkpoints.generation, Ordering::Release);
        self.recount();
        // Not before the generation: who read one of them from the tree before must see that it changed since.
        drop(frozen);
        self.filesets.lock().note_checkpoint();
        Ok(())
    }

    fn make_checkpoint(&self, checkpoints: &mut Checkpoints, frozen: &Frozen) -> Result<()> {
        let stamp = Stamp {
            lsn: frozen.lsn,
            generation: checkpoints.generation + 1,
        };
        let mut sink = NodeSink::new(self);
        let trees = self.merge_all(frozen, stamp, checkpoints, &mut sink)?;
        sink.write_out()?;
        self.device.flush()?;
        self.wait(frozen.lsn)?;
        let writer = self.writer.lock();
        let start = writer.marked();
        let root = self.root(checkpoints, stamp, &trees, &writer, start);
        drop(writer);
        self.fence.write_root(root)?;

        // From here on the root counts.
        checkpoints.pending_nodes = sink.keep();
        self.swap(frozen, &trees);
        let released = self.writer.lock().release_before(checkpoints.start);
        self.space.lock().log_pool().extend(released);
        checkpoints.start = start;
        checkpoints.seq += 1;
        checkpoints.generation = stamp.generation;
        Ok(())
    }

    /// Steps 2 and 3.
    fn merge_all(
        &self,
        frozen: &Frozen,
        stamp: Stamp,
        checkpoints: &mut Checkpoints,
        sink: &mut NodeSink<'_>,
    ) -> Result<Trees> {
        let (filesets, derived) = self.merge_filesets(frozen, stamp, sink)?;
        let before = self.system.lock().root;
        let layers: Vec<_> = frozen.system.iter().cloned().chain([Arc::new(derived)]).collect();
        let system = self.merge(before, &layers, SYSTEM, stamp, sink)?;
        let space_layers = self.settle_space(checkpoints)?;
        let before = self.space.lock().tree.root;
        let space = self.merge(before, &space_layers, SPACE, stamp, sink)?;
        for run in &checkpoints.pending_nodes {
            sink.replace(*run);
        }
        let pending = self.space.lock().pending().clone();
        sink.note();
        let mut lists = [None; 2];
        for (list, runs) in lists.iter_mut().zip(&pending) {
            let item = |run: Run| {
                let (count, birth) = (run.count, stamp.lsn);
                (Key::pending(run.block), Pending { count, birth }.encode())
            };
            *list = build(runs.iter().map(item), self.tree_id(PENDING, stamp), sink)?;
        }
        let [young, old] = lists;
        Ok(Trees {
            filesets,
            system,
            space,
            space_layers: space_layers.len(),
            pending: [old, young],
        })
    }

    fn merge(
        &self,
        before: Option<Pointer>,
        layers: &[Arc<Layer>],
        tree: u64,
        stamp: Stamp,
        sink: &mut NodeSink<'_>,
    ) -> Result<Option<Pointer>> {
        self.merge_without(before, (layers, &[]), tree, stamp, sink)
    }

    fn merge_without(
        &self,
        before: Option<Pointer>,
        (layers, cuts): (&[Arc<Layer>], &[Cut]),
        tree: u64,
        stamp: Stamp,
        sink: &mut NodeSink<'_>,
    ) -> Result<Option<Pointer>> {
        let layers: Vec<&Layer> = layers.iter().map(|layer| &**layer).collect();
        merge_without(before, &layers, cuts, self.tree_id(tree, stamp), &self.nodes, sink)
    }

    fn tree_id(&self, tree: u64, stamp: Stamp) -> TreeId {
        TreeId {
            tree,
            epoch: self.epoch,
            generation: stamp.generation,
            birth: stamp.lsn,
            node_bytes: self.geometry.node_bytes,
        }
    }

    /// Tells the space tree who owns what, and what left the root: closed segments, and, once, what older epochs had.
    /// Gives its layers.
    fn settle_space(&self, checkpoints: &mut Checkpoints) -> Result<Vec<Arc<Layer>>> {
        while self.retrying(|pinned| self.space.lock().settle(&self.nodes, pinned))? {}
        let mut space = self.space.lock();
        let closed = space.close().into_iter();
        let closed = closed.map(|(segment, class, bitmap)| (segment, closed_state(class, self.epoch, bitmap)));
        let mut settled: Vec<_> = closed.collect();
        for (segment, inherited) in space.bequeath() {
            let is_free = checkpoints.gone.contains(&inherited.epoch) && !checkpoints.sealed_log.contains(&segment);
            let state = if is_free {
                closed_state(inherited.class, inherited.epoch, inherited.bitmap)
            } else {
                quarantined_state(inherited)
            };
            settled.push((segment, state));
        }
        drop(space);
        for (segment, state) in settled {
            self.retrying(|pinned| {
                let mut space = self.space.lock();
                let old = space.state(segment, &self.nodes, pinned)?;
                space.set_state(segment, old.as_ref(), &state);
                Ok(())
            })?;
        }
        Ok(self.space.lock().tree.freeze())
    }

    /// The log that the seal leads to may be taken again, as far as its writers are proven gone.
    fn lift_quarantine(&self, checkpoints: &mut Checkpoints) -> Result<()> {
        for epoch in std::mem::take(&mut checkpoints.gone) {
            self.retrying(|pinned| self.space.lock().lift_quarantine(epoch, &self.nodes, pinned))?;
            checkpoints.quarantine.retain(|quarantined| *quarantined != epoch);
        }
        Ok(())
    }

    /// What step 4 writes.
    fn root(&self, checkpoints: &Checkpoints, stamp: Stamp, trees: &Trees, writer: &Writer, start: Start) -> Root {
        let mut space = self.space.lock();
        let pool = space.log_pool().clone();
        Root {
            aggregate: self.label.id,
            epoch: self.epoch,
            seq: checkpoints.seq + 1,
            generation: stamp.generation,
            lsn: stamp.lsn,
            kind: RootKind::Checkpoint,
            device_bytes: checkpoints.device_bytes,
            high_water: space.rooted_high_water(),
            system: trees.system,
            space: trees.space,
            residue: None,
            pending: trees.pending,
            chain: vec![writer.piece(self.epoch, start)],
            open: space.rooted(),
            log_reserve: writer.behind(start).chain(pool).chain(space.maturing_log()).collect(),
            inherited: Vec::new(),
            quarantine: checkpoints.quarantine.clone(),
            history: checkpoints.history.clone(),
        }
    }

    fn swap(&self, frozen: &Frozen, trees: &Trees) {
        let last = frozen.lsn;
        for (fileset, merged) in frozen.filesets.iter().zip(&trees.filesets) {
            let mut state = fileset.fileset.state.lock();
            state.tree.merged(fileset.layers.len(), merged.root, last);
            state.snapshots.roots.extend(merged.snapshots.iter().copied());
            state.snapshots.frozen.drain(..fileset.dead.len());
            state.cuts.drain(..fileset.cuts.len());
        }
        self.system.lock().merged(frozen.system.len(), trees.system, last);
        let mut space = self.space.lock();
        space.tree.merged(trees.space_layers, trees.space, last);
        if let Some(promised) = frozen.promised {
            space.told_promises(promised);
        }
    }

    /// Frees that waited long enough: their blocks may be taken again. A seal is a root like any other in this: no older
    /// one than its base is needed once it had its look.
    pub(crate) fn release_frees(&self) -> Result<()> {
        let released = self.space.lock().promote();
        for (segment, ranges) in released {
            self.retrying(|pinned| self.space.lock().release(segment, &ranges, &self.nodes, pinned))?;
        }
        Ok(())
    }

    /// What no root needs any more.
    fn release(&self, checkpoints: &mut Checkpoints) -> Result<()> {
        self.release_frees()?;
        // The seal's own root may still be needed while it is the newest but one.
        if checkpoints.seq > 1 {
            self.lift_quarantine(checkpoints)?;
        }
        Ok(())
    }
}

/// A segment to which an older epoch may still write.
fn quarantined_state(inherited: Inherited) -> SegmentState {
    SegmentState {
        phase: SegmentPhase::Quarantined,
        class: Some(inherited.class),
        epoch: inherited.epoch,
        bitmap: inherited.bitmap,
    }
}
