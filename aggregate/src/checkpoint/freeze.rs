//! The freeze: at one place in history everything that changed steps back, and new layers begin.

use std::sync::Arc;

use crate::aggregate::FilesetCell;
use crate::engine::Engine;
use crate::format::{FilesetUsage, Lsn};
use crate::live::Moment;
use crate::snapshot::{Dead, Line};
use crate::tree::{Cut, Layer};

/// What a checkpoint writes.
pub(super) struct Frozen {
    /// All records up to this one, and none after it.
    pub lsn: Lsn,
    /// Those that changed.
    pub filesets: Vec<FrozenFileset>,
    /// Blocks promised to files, if the newest root says something else.
    pub promised: Option<u64>,
    /// The system tree's layers, oldest first.
    pub system: Vec<Arc<Layer>>,
}

/// A fileset that changed.
pub(super) struct FrozenFileset {
    /// Which.
    pub fileset: Arc<FilesetCell>,
    /// Its layers, oldest first.
    pub layers: Vec<Arc<Layer>>,
    /// Its snapshots that are in no checkpoint yet, oldest first.
    pub moments: Vec<Moment>,
    /// All its snapshots.
    pub line: Line,
    /// Blocks that died, and of which no checkpoint says so.
    pub dead: Vec<Arc<Dead>>,
    /// Nodes of its tree that a repair leaves out.
    pub cuts: Vec<Cut>,
    /// What it used then.
    pub usage: FilesetUsage,
}

impl Engine {
    /// Freezes everything; held for microseconds, and no change is under way meanwhile.
    pub(super) fn freeze(&self) -> Frozen {
        let mut writer = self.writer.lock();
        let _history = self.history.write();
        let lsn = self.log.cut();
        writer.mark(lsn.next());
        let mut system = self.system.lock();
        self.sessions.freeze(&mut system, lsn);
        let changed = std::mem::take(&mut *self.changed.lock());
        let filesets = changed.into_iter().filter(|fileset| !fileset.state.lock().is_gone);
        let filesets = filesets.map(|fileset| {
            let mut state = fileset.state.lock();
            state.is_changed = false;
            let layers = state.tree.freeze();
            let usage = FilesetUsage {
                bytes: state.usage.bytes,
                files: state.usage.files,
                next_vnode: state.next_vnode,
                promised: state.usage.promised,
            };
            let (moments, dead) = (state.tree.moments.clone(), state.snapshots.freeze());
            let (line, cuts) = (state.snapshots.line.clone(), state.cuts.clone());
            drop(state);
            FrozenFileset {
                fileset,
                layers,
                moments,
                line,
                dead,
                cuts,
                usage,
            }
        });
        let filesets = filesets.collect();
        let mut space = self.space.lock();
        space.freeze();
        let promised = space.promised_since();
        drop(space);
        self.admission.frozen();
        Frozen {
            lsn,
            filesets,
            promised,
            system: system.freeze(),
        }
    }
}
