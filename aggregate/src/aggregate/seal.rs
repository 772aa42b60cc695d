//! The seal: an epoch's first root. The same trees as the base, the old log with its cut, and log and reserve of its
//! own (R2). When it had its look, the aggregate is in service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use baton_types::{Epoch, FilesetId, Kind, Result, ServerId};
use parking_lot::{Mutex, RwLock};

use super::{Aggregate, Claimed, Opened, Recovered, hand_over};
use crate::checkpoint::Checkpoints;
use crate::engine::{Admission, Bounds, Engine, log_ahead};
use crate::format::{
    Bitmap, Checksum, Geometry, History, Inherited, Lsn, OpenSegment, Piece, Root, RootKind, Segment, SegmentClass,
};
use crate::log::{Limits, Log, Writer};
use crate::nodes::Nodes;
use crate::recover::{Chain, Changed, Reply};
use crate::session::Sessions;
use crate::space::{Purpose, Space};
use crate::tree::{Pinned, Stop};

/// Epochs that a root remembers.
const HISTORY_MAX: usize = 16;
/// A seal of more pieces or bytes than this is followed by a checkpoint before anybody is served, so that no chain of
/// takeovers outgrows a root.
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
        let Opened {
            device,
            label,
            geometry,
            nodes,
        } = opened;
        let base = fenced.base.root.clone();
        let cut = chain.last(base.lsn);
        replayed.space.begin(grant.epoch);
        let limits = Limits::of(&geometry);
        let own = own_segments(&mut replayed.space, &nodes, 1 + log_ahead(&geometry, limits))?;
        let root = seal_root(&base, &chain, &replayed.space, &own, (grant.epoch, grant.server, cut));
        let is_long = root.chain.len() >= PIECES_MAX || root.encode()?.len() >= SEAL_BYTES_MAX;
        let sealed_log = root.chain.iter().filter(|piece| piece.cut.is_some());
        let sealed_log: BTreeSet<Segment> = sealed_log.flat_map(|piece| piece.segments.iter().copied()).collect();
        let gone = fenced.base.gone.clone();
        let handed_over_by = hand_over::predecessor(&fenced.base);
        let checkpoints = |start| Checkpoints {
            seq: 0,
            generation: base.generation,
            start,
            pending_nodes: std::mem::take(&mut replayed.pending_nodes),
            gone,
            sealed_log,
            quarantine: root.quarantine.clone(),
            history: root.history.clone(),
        };
        let mut writer = Writer::new(geometry, own.log.iter().copied().collect(), Checksum::default());
        writer.mark(cut.next());
        let checkpoints = Mutex::new(checkpoints(writer.marked()));
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
            filesets: Mutex::new(BTreeMap::new()),
            changed: Mutex::new(Vec::new()),
            rooted: AtomicU64::new(base.lsn.0),
            has_garbage: AtomicBool::new(true),
            has_threads: AtomicBool::new(false),
        });
        engine.take_over(replayed.filesets, replayed.replies)?;
        engine.recount();
        if is_long {
            engine.checkpoint()?;
        }
        Ok(Aggregate { engine })
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
        let mut pinned = Pinned::default();
        loop {
            match space.pick(class, (Purpose::Upkeep, count), nodes, &pinned) {
                Ok(picked) => return Ok(picked),
                Err(Stop::Miss(pointer)) => pinned.fetch(nodes, &pointer)?,
                Err(Stop::Room(_) | Stop::Data(_)) => unreachable!("no file is read or written here"),
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
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
