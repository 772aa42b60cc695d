//! What all parts of an aggregate in service share, and the two things that move it on: commit and checkpoint.
//!
//! | lock, in this order | guards | held |
//! |---|---|---|
//! | checkpoints | the making of a root | over I/O; by nobody else |
//! | writer | the writing end of the log | over the I/O of one group |
//! | history | readers: an append and what it changes; writer: the freeze | microseconds |
//! | fileset, or the system tree | its layers | microseconds |
//! | session | its replies | microseconds |
//! | space | segments and bitmaps | microseconds |
//! | the log's tail | records not yet written | microseconds |

mod admit;
mod commit;
mod provide;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use baton_types::{Epoch, Error, FilesetId, Kind, Result};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::aggregate::{Cells, FilesetCell, Scrubs};
use crate::checkpoint::Checkpoints;
use crate::device::Device;
use crate::fence::Fence;
use crate::format::{Geometry, Label, Lsn, Record, RecordKind};
use crate::live::LiveTree;
use crate::log::{Limits, Log, Writer};
use crate::nodes::Nodes;
use crate::session::Sessions;
use crate::space::Space;
use crate::tree::{Pinned, Stop};
pub(crate) use admit::{Admission, Bounds};
pub(crate) use provide::log_ahead;

/// An aggregate in service.
pub(crate) struct Engine {
    pub device: Arc<dyn Device>,
    /// As the epoch began. How far the device has grown since, [`Space`] knows.
    pub geometry: Geometry,
    pub label: Label,
    pub epoch: Epoch,
    /// Who detached on purpose just before this epoch.
    pub handed_over_by: Option<Epoch>,
    pub nodes: Nodes,
    pub fence: Fence,
    pub checkpoints: Mutex<Checkpoints>,
    pub writer: Mutex<Writer>,
    pub history: RwLock<()>,
    pub system: Mutex<LiveTree>,
    pub sessions: Sessions,
    pub space: Mutex<Space>,
    pub log: Log,
    pub limits: Limits,
    pub admission: Admission,
    /// Filesets in memory.
    pub filesets: Mutex<Cells>,
    /// Those that changed since the last freeze.
    pub changed: Mutex<Vec<Arc<FilesetCell>>>,
    /// Of the newest root that counts.
    pub generation: AtomicU64,
    /// The last record that the trees of that root have.
    pub rooted: AtomicU64,
    /// The last record that the trees of the root before that one have.
    pub settled: AtomicU64,
    /// Something may have space to give back.
    pub has_garbage: AtomicBool,
    /// Bytes of it a second that the threads give back.
    pub reclaim_rate: AtomicU64,
    /// Records of older owners that were replayed.
    pub replayed: u64,
    /// Filesets of which the log has said that not all of their space can be given back.
    pub left_taken: Mutex<BTreeSet<FilesetId>>,
    /// Who reads everything from time to time.
    pub scrubs: Scrubs,
    /// True while threads commit and make checkpoints; else whoever waits does it himself.
    pub has_threads: AtomicBool,
}

/// Whether the store may keep a caller waiting for the disk, a checkpoint or a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// As long as it takes.
    Wait,
    /// Not at all: what would wait is refused as [`would_wait`].
    None,
}

/// What an impatient caller is told: nothing was done, and one who may wait will be served.
pub(crate) fn would_wait(on: &'static str) -> Error {
    Error::new(Kind::Wait, on)
}

/// A record of the store's own work, with nothing in it yet.
pub(crate) fn blank(kind: RecordKind) -> Record {
    Record {
        kind,
        flags: 0,
        fileset: FilesetId(0),
        session: 0,
        stream: 0,
        sequence: 0,
        usage_bytes: 0,
        usage_files: 0,
        usage_promised: 0,
        result: Bytes::new(),
        items: Vec::new(),
        frees: Vec::new(),
    }
}

impl Engine {
    /// Does `look` again and again until every node that it needs was there.
    ///
    /// # Errors
    /// Its own; damage; that there is no room.
    pub fn retrying<T>(&self, mut look: impl FnMut(&Pinned) -> Result<T, Stop>) -> Result<T> {
        let mut pinned = Pinned::default();
        loop {
            match look(&pinned) {
                Ok(found) => return Ok(found),
                Err(Stop::Miss(pointer)) => pinned.fetch(&self.nodes, &pointer)?,
                Err(Stop::Data(pointer)) => pinned.fetch_data(&self.nodes, &pointer)?,
                Err(Stop::Room(blocks)) => self.provide_data(blocks)?,
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
    }

    /// Does `look`: [again and again](Engine::retrying), or, if nobody may wait, once.
    ///
    /// # Errors
    /// As [`Engine::retrying`]; `Wait` if something was missing.
    pub fn attempt<T>(&self, patience: Patience, mut look: impl FnMut(&Pinned) -> Result<T, Stop>) -> Result<T> {
        match patience {
            Patience::Wait => self.retrying(look),
            Patience::None => look(&Pinned::default()).map_err(|stop| match stop {
                Stop::Miss(_) | Stop::Data(_) => would_wait("node"),
                Stop::Room(_) => would_wait("room"),
                Stop::Failed(error) => error,
            }),
        }
    }

    /// True if the log of older owners has what no root has.
    pub fn is_behind(&self) -> bool {
        !self.changed.lock().is_empty() || !self.system.lock().is_clean()
    }

    /// Waits until everything up to `lsn` is written, flushed and looked at.
    ///
    /// # Errors
    /// What keeps it from ever being so.
    pub fn wait(&self, lsn: Lsn) -> Result<()> {
        while self.log.durable() < lsn {
            self.wait_a_moment(lsn)?;
        }
        Ok(())
    }

    /// Waits for the same, or a moment.
    fn wait_a_moment(&self, lsn: Lsn) -> Result<()> {
        match self.has_threads.load(Ordering::Acquire) {
            true => self.log.wait_a_moment(lsn),
            false => self.commit().map(drop),
        }
    }
}
