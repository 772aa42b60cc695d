//! Where mount points lead. That never changes: one that leads elsewhere is another.

use std::collections::HashMap;

use baton_types::Fid;
use baton_types::file::MountPoint;
use parking_lot::Mutex;

/// A cell has a mount point per user; a client sees some of them.
const KNOWN_MAX: usize = 65_536;

/// Those that were asked for.
#[derive(Default)]
pub struct Points {
    known: Mutex<HashMap<Fid, MountPoint>>,
}

impl Points {
    /// Where one leads, if that was asked before.
    pub fn get(&self, point: Fid) -> Option<MountPoint> {
        self.known.lock().get(&point).copied()
    }

    /// One leads there.
    pub fn learn(&self, point: Fid, leads_to: MountPoint) {
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(point, leads_to);
    }
}
