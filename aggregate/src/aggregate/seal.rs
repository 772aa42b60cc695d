//! The seal: an epoch's first root. The same trees as the base, the old log with its cut, and log and reserve of its
//! own (R2). When it had its look, the aggregate is in service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use baton_types::limits::RECLAIM_RATE;
use baton_types::{Epoch, FilesetId, Kind, Result, ServerId};
use parking_lot::{Mutex, RwLock};

use super::{Aggregate, Claimed, Opened, Recovered, Scrubs, hand_over};
use crate::checkpoint::Checkpoints;
use crate::engine::{Admission, Bounds, Engine, log_ahead};
use crate::format::{
    Bitmap, Checksum, Geometry, History, Inherited, Lsn, OpenSegment, Piece, Root, RootKind, Segment, SegmentClass,
};
use crate::log::{Limits, Log, Start, Writer};
use crate::nodes::Nodes;
use crate::recover::{Chain, Changed, Reply, retrying};
use crate::session::Sessions;
use crate::space::{Purpose, Space};
use crate::transaction::Run;

/// Epochs that a root remembers.
const HISTORY_MAX: usize = 16;
/// A seal of as many pieces or bytes, or that inherits from as many epochs, is followed by a checkpoint before anybody is
/// served: so no chain of takeovers outgrows a root, or uses up the segments.
const PIECES_MAX: usize = 8;
const SEAL_BYTES_MAX: usize = 48 << 10;

/// What an epoch begins with.
struct Own {
    log: Vec<Segment>,
    open: Vec<(SegmentClass, Segment, Bitmap)>,
}

impl Recovered {
    /// Seals the epoch and serves.
    ///
    /// # Errors
    /// `WrongEpoch` if a newer epoch is there; `NoSpace` if not even a seal fits; `Io`.
    pub fn seal(self) -> Result<Aggregate> {
        let Recovered {
            claimed,
            chain,
            mut replayed,
        } = self;
        let Claimed { opened, fenced, grant } = claimed;
        let Opened { device, label, nodes } = opened;
        let geometry = *replayed.space.geometry();
        let base = fenced.base.root.clone();
        let cut = chain.last(base.lsn);
        replayed.space.begin(grant.epoch);
        let gone = fenced.base.gone.clone();
        for epoch in &gone {
            retrying(&nodes, |pinned| replayed.space.lift_quarantine(*epoch, &nodes, pinned))?;
        }
        let limits = Limits::of(&geometry);
        let own = own_segments(&mut replayed.space, &nodes, 1 + log_ahead(&geometry, limits))?;
        let root = seal_root(&base, &chain, &replayed.space, &own, (grant.epoch, grant.server, cut));
        let is_long = root.chain.len() >= PIECES_MAX
            || root.inherited.len() >= PIECES_MAX
            || root.encode()?.len() >= SEAL_BYTES_MAX;
        let handed_over_by = hand_over::predecessor(&fenced.base);
        let mut writer = Writer::new(geometry, own.log.iter().copied().collect(), Checksum::default());
        writer.mark(cut.next());
        let pending_nodes = std::mem::take(&mut replayed.pending_nodes);
        let checkpoints = Mutex::new(Checkpoints::after(&root, gone, pending_nodes, writer.marked()));
        for (class, segment, bitmap) in own.open {
            replayed.space.opened(class, vec![(segment, bitmap)]);
        }
        let fence = fenced.seal(root)?;
        let engine = Arc::new(Engine {
            device,
            geometry,
            label,
            epoch: grant.epoch,
            handed_over_by,
            nodes,
            fence,
            generation: AtomicU64::new(base.generation),
            checkpoints,
            writer: Mutex::new(writer),
            history: RwLock::new(()),
            system: Mutex::new(std::mem::take(&mut replayed.system)),
            sessions: Sessions::default(),
            space: Mutex::new(replayed.space),
            limits,
            log: Log::new(cut, limits),
            admission: Admission::new(Bounds::of(&geometry)),
            filesets: Mutex::default(),
            changed: Mutex::new(Vec::new()),
            rooted: AtomicU64::new(base.lsn.0),
            settled: AtomicU64::new(base.lsn.0),
            has_garbage: AtomicBool::new(true),
            reclaim_rate: AtomicU64::new(RECLAIM_RATE),
            replayed: cut.0.saturating_sub(base.lsn.0),
            left_taken: Mutex::default(),
            scrubs: Scrubs::default(),
            has_threads: AtomicBool::new(false),
        });
        engine.take_over(replayed.filesets, replayed.replies)?;
        engine.release_frees()?;
        engine.recount();
        if is_long {
            engine.checkpoint()?;
        }
        Ok(Aggregate { engine })
    }
}

impl Checkpoints {
    /// What the seal `root` leaves to its epoch's first checkpoint.
    fn after(root: &Root, gone: Vec<Epoch>, pending_nodes: Vec<Run>, start: Start) -> Checkpoints {
        let sealed: Vec<&Piece> = root.chain.iter().filter(|piece| piece.cut.is_some()).collect();
        let sealed_log = sealed.iter().flat_map(|piece| piece.segments.iter().copied());
        // Of the others who are gone nothing is in quarantine any more.
        let stays = |epoch: &Epoch| !gone.contains(epoch) || sealed.iter().any(|piece| piece.epoch == *epoch);
        Checkpoints {
            seq: root.seq,
            generation: root.generation,
            device_bytes: root.device_bytes,
            start,
            pending_nodes,
            quarantine: root.quarantine.iter().copied().filter(stays).collect(),
            sealed_log: sealed_log.collect(),
            gone,
            history: root.history.clone(),
        }
    }
}

impl Limits {
    /// What a batch may hold in an aggregate of this geometry.
    fn of(geometry: &Geometry) -> Limits {
        Limits {
            batch_bytes: (geometry.segment_bytes as usize / 4)
                .max(BATCH_BYTES_MIN)
                .min(geometry.batch_bytes_max()),
            data_bytes: DATA_BYTES_MAX,
        }
    }
}

/// A record may be as large as this: the extended attributes of a file, changed at once.
const BATCH_BYTES_MIN: usize = 128 << 10;

/// Data beside one batch: who waits for a small record behind a large file waits for this, and a takeover reads and
/// checks it in five milliseconds.
const DATA_BYTES_MAX: usize = 8 << 20;

impl Engine {
    /// The layers that the log came to are those of the filesets now.
    fn take_over(self: &Arc<Engine>, filesets: BTreeMap<FilesetId, Changed>, replies: Vec<Reply>) -> Result<()> {
        for (id, changed) in filesets {
            let cell = match self.fileset(id) {
                Ok(cell) => cell,
                // It was deleted later in the same log.
                Err(error) if error.kind == Kind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let mut state = cell.state.lock();
            state.adopt(changed.tree, changed.dead);
            state.usage = changed.usage.unwrap_or(state.usage);
            state.next_vnode = state.next_vnode.max(changed.next_vnode);
            self.note_change(&cell, &mut state);
        }
        for reply in replies {
            match self.sessions.replay(self, &reply.operation, reply.lsn, reply.result) {
                // It was ended later in the same log.
                Err(error) if error.kind == Kind::SessionLost => {}
                replayed => replayed?,
            }
        }
        Ok(())
    }
}

/// Log and reserve for a new epoch: the log with all that may wait to be written before its first record that adds to it,
/// or with what there is.
fn own_segments(space: &mut Space, nodes: &Nodes, log_segments: u32) -> Result<Own> {
    let mut pick = |class, count| {
        retrying(nodes, |pinned| {
            space.pick(class, (Purpose::Upkeep, count), nodes, pinned)
        })
    };
    let log = pick(SegmentClass::Log, log_segments)?;
    let mut open = Vec::new();
    for class in [SegmentClass::Node, SegmentClass::Data] {
        open.extend(
            pick(class, 1)?
                .into_iter()
                .map(|(segment, bitmap)| (class, segment, bitmap)),
        );
    }
    let log = log.into_iter().map(|(segment, _)| segment).collect();
    Ok(Own { log, open })
}

fn seal_root(
    base: &Root,
    chain: &Chain,
    space: &Space,
    own: &Own,
    (epoch, server, cut): (Epoch, ServerId, Lsn),
) -> Root {
    let mut pieces: Vec<Piece> = Vec::new();
    for (named, read) in base.chain.iter().zip(&chain.pieces) {
        // A piece without records says nothing; its segments are inherited like any others.
        if read.last >= named.first {
            pieces.push(Piece {
                cut: Some(read.last),
                segments: read.segments.clone(),
                ..named.clone()
            });
        }
    }
    let in_chain: BTreeSet<Segment> = pieces.iter().flat_map(|piece| piece.segments.iter().copied()).collect();
    pieces.push(Piece {
        epoch,
        first: cut.next(),
        offset: 0,
        before: Checksum::default(),
        cut: None,
        segments: own.log.clone(),
    });
    let mut inherited: BTreeMap<Epoch, Vec<OpenSegment>> = BTreeMap::new();
    for (segment, old) in space.inherited() {
        if !in_chain.contains(segment) {
            inherited.entry(old.epoch).or_default().push(OpenSegment {
                segment: *segment,
                class: old.class,
                bitmap: old.bitmap.clone(),
            });
        }
    }
    let mut quarantine = base.quarantine.clone();
    let mut history = base.history.clone();
    if base.epoch != Epoch::NONE {
        quarantine.push(base.epoch);
    }
    for past in history.iter_mut().filter(|past| past.epoch == base.epoch) {
        past.cut = cut;
    }
    // Its cut is not known before the next epoch finds it.
    history.push(History {
        epoch,
        server,
        cut: Lsn(0),
    });
    history.drain(..history.len().saturating_sub(HISTORY_MAX));
    let open = own.open.iter().map(|(class, segment, bitmap)| OpenSegment {
        segment: *segment,
        class: *class,
        bitmap: bitmap.clone(),
    });
    Root {
        epoch,
        seq: 0,
        kind: RootKind::Seal,
        high_water: space.high_water(),
        chain: pieces,
        open: open.collect(),
        log_reserve: Vec::new(),
        inherited: inherited
            .into_iter()
            .map(|(epoch, open)| Inherited { epoch, open })
            .collect(),
        quarantine,
        history,
        ..base.clone()
    }
}
