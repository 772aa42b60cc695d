//! The freeze: at one place in history everything that changed steps back, and new layers begin.

use std::sync::Arc;

use crate::aggregate::FilesetCell;
use crate::engine::Engine;
use crate::format::{FilesetUsage, Lsn};
use crate::tree::Layer;

/// What a checkpoint writes.
pub(super) struct Frozen {
    /// All records up to this one, and none after it.
    pub lsn: Lsn,
    /// Those that changed.
    pub filesets: Vec<FrozenFileset>,
    /// The system tree's layers, oldest first.
    pub system: Vec<Arc<Layer>>,
}

/// A fileset that changed.
pub(super) struct FrozenFileset {
    /// Which.
    pub fileset: Arc<FilesetCell>,
    /// Its layers, oldest first.
    pub layers: Vec<Arc<Layer>>,
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
        let filesets = changed.into_iter().map(|fileset| {
            let mut state = fileset.state.lock();
            state.is_changed = false;
            let layers = state.tree.freeze();
            let usage = FilesetUsage {
                bytes: state.usage.bytes,
                files: state.usage.files,
                next_vnode: state.next_vnode,
            };
            drop(state);
            FrozenFileset { fileset, layers, usage }
        });
        let filesets = filesets.collect();
        self.space.lock().freeze();
        self.admission.frozen();
        Frozen {
            lsn,
            filesets,
            system: system.freeze(),
        }
    }
}
