//! Admission: what was let in never fails for want of room (STORE §5), and the log never grows past what a takeover
//! may take to replay.
//!
//! Counting exactly what the next checkpoint will write would cost more than the operation. So each operation pays,
//! from a headroom that was counted, the most it can cost; when the headroom is used up, a checkpoint is made and it
//! is counted again. Near the end of the space checkpoints are frequent, and nothing is refused that fits.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use baton_types::Result;
use parking_lot::RwLock;

use super::provide::QUEUED_MAX;
use super::{Engine, Patience, would_wait};
use crate::format::Geometry;
use crate::space::{Purpose, no_space, room_for};

/// Node blocks that an operation may make a checkpoint write: three leaves and two inner nodes of two blocks each,
/// every one of them split, and a part of the space tree.
const NODE_BLOCKS_PER_OPERATION: i64 = 24;
/// Checkpoints until what was freed now may be used: its own, and two more.
const CHECKPOINTS_TO_REUSE: u32 = 3;
/// Checkpoints for one who finds room each time, and others have taken it.
const CHECKPOINTS_MAX: u32 = 64;

const PURPOSES: [Purpose; 4] = [Purpose::Growth, Purpose::Yielding, Purpose::Promised, Purpose::Upkeep];

/// How much may come between two checkpoints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// A checkpoint begins at this many bytes of records.
    pub start_bytes: u64,
    /// Writers wait at this many.
    pub hard_bytes: u64,
    /// A checkpoint begins at this many blocks of data.
    pub start_blocks: u64,
    /// Writers wait at this many.
    pub hard_blocks: u64,
}

impl Bounds {
    /// The usual ones; in a small aggregate its 32nd part.
    pub fn of(geometry: &Geometry) -> Bounds {
        let part = geometry.device_bytes / 32;
        let blocks = |bytes: u64| bytes.min(part) / crate::format::BLOCK_BYTES as u64;
        Bounds {
            start_bytes: (8 << 20).min(part / 4),
            hard_bytes: (32 << 20).min(part),
            start_blocks: blocks(32 << 20),
            hard_blocks: blocks(128 << 20),
        }
    }
}

/// What an operation that may write `blocks` blocks of data may cost.
fn cost(blocks: u64) -> i64 {
    NODE_BLOCKS_PER_OPERATION + i64::try_from(blocks).unwrap_or(i64::MAX / 2)
}

/// What is left until the next count.
pub(crate) struct Admission {
    /// They change with the device's size.
    bounds: RwLock<Bounds>,
    growth: AtomicI64,
    yielding: AtomicI64,
    promised: AtomicI64,
    upkeep: AtomicI64,
    /// For each purpose, what was counted last, before anybody paid.
    counted: [AtomicI64; PURPOSES.len()],
    /// Half of what was counted for growth: a checkpoint begins before anybody has to wait for it.
    half: AtomicI64,
    /// What was paid since the last freeze: a count at the end of that checkpoint has not seen its cost yet.
    paid: AtomicI64,
    blocks_since_freeze: AtomicU64,
}

impl Admission {
    /// Nothing counted yet.
    pub fn new(bounds: Bounds) -> Admission {
        Admission {
            bounds: RwLock::new(bounds),
            growth: AtomicI64::new(0),
            yielding: AtomicI64::new(0),
            promised: AtomicI64::new(0),
            upkeep: AtomicI64::new(0),
            counted: Default::default(),
            half: AtomicI64::new(0),
            paid: AtomicI64::new(0),
            blocks_since_freeze: AtomicU64::new(0),
        }
    }

    /// A freeze begins a new count.
    pub fn frozen(&self) {
        self.paid.store(0, Ordering::Relaxed);
        self.blocks_since_freeze.store(0, Ordering::Relaxed);
    }

    fn left(&self, purpose: Purpose) -> &AtomicI64 {
        match purpose {
            Purpose::Growth => &self.growth,
            Purpose::Yielding => &self.yielding,
            Purpose::Promised => &self.promised,
            Purpose::Upkeep => &self.upkeep,
        }
    }
}

impl Engine {
    /// True if it is time for a checkpoint.
    pub fn wants_checkpoint(&self) -> bool {
        let bounds = *self.admission.bounds.read();
        self.log.bytes_since_cut() >= bounds.start_bytes
            || self.admission.blocks_since_freeze.load(Ordering::Relaxed) >= bounds.start_blocks
            || self.admission.growth.load(Ordering::Relaxed) < self.admission.half.load(Ordering::Relaxed)
    }

    fn is_at_bound(&self) -> bool {
        let bounds = *self.admission.bounds.read();
        self.log.bytes_since_cut() >= bounds.hard_bytes
            || self.admission.blocks_since_freeze.load(Ordering::Relaxed) >= bounds.hard_blocks
    }

    /// Counts anew what may come.
    pub fn recount(&self) {
        let space = self.space.lock();
        *self.admission.bounds.write() = Bounds::of(space.geometry());
        for purpose in PURPOSES {
            let available = i64::try_from(space.available(purpose)).unwrap_or(i64::MAX);
            let available = available - self.admission.paid.load(Ordering::Relaxed);
            self.admission.left(purpose).store(available, Ordering::Relaxed);
            self.admission.counted[purpose as usize].store(available, Ordering::Relaxed);
        }
        let half = self.admission.growth.load(Ordering::Relaxed) / 2;
        self.admission.half.store(half, Ordering::Relaxed);
    }

    /// Lets in an operation that may write `blocks` blocks of data. Waits for a checkpoint at the hard bounds.
    ///
    /// # Errors
    /// `NoSpace`; what failed before; `Wait` where it would wait for one who may not.
    pub fn admit(&self, purpose: Purpose, blocks: u64, patience: Patience) -> Result<()> {
        self.log.check()?;
        if patience == Patience::None {
            let is_busy = self.log.queued() > QUEUED_MAX || self.is_at_bound();
            return match !is_busy && self.pay(purpose, blocks) {
                true => Ok(()),
                false => Err(would_wait("admission")),
            };
        }
        while self.log.queued() > QUEUED_MAX {
            // No longer than that: it may be the last of history that was just written, and the next is ours.
            self.wait_a_moment(self.log.durable().next())?;
        }
        while self.is_at_bound() {
            self.checkpoint()?;
        }
        let mut without_room = 0;
        for _ in 0..CHECKPOINTS_MAX {
            if self.pay(purpose, blocks) {
                return Ok(());
            }
            if without_room > CHECKPOINTS_TO_REUSE {
                break;
            }
            self.checkpoint()?;
            let counted = self.admission.counted[purpose as usize].load(Ordering::Relaxed);
            without_room += u32::from(counted < cost(blocks));
        }
        Err(no_space())
    }

    /// True if an operation that may write `blocks` blocks of data would be let in at once.
    pub fn has_headroom(&self, purpose: Purpose, blocks: u64) -> bool {
        self.admission.left(purpose).load(Ordering::Relaxed) >= cost(blocks)
    }

    /// Makes checkpoints for as long as one may give back what is missing for a promise of `blocks` blocks.
    ///
    /// # Errors
    /// As [`Engine::admit`], but `NoSpace`.
    pub fn gather(&self, purpose: Purpose, blocks: u64, patience: Patience) -> Result<()> {
        for _ in 0..CHECKPOINTS_TO_REUSE {
            match (self.has_headroom(purpose, room_for(blocks)), patience) {
                (true, _) => break,
                (false, Patience::Wait) => self.checkpoint()?,
                (false, Patience::None) => return Err(would_wait("promise")),
            }
        }
        Ok(())
    }

    /// The files of a fileset are promised `after` blocks where it was `before`, by one who may fill what is there for
    /// `purpose`.
    ///
    /// # Errors
    /// `NoSpace` if that is more, and more than is there and was promised to nobody.
    pub fn promise(&self, purpose: Purpose, before: u64, after: u64) -> Result<()> {
        if after == before {
            return Ok(());
        }
        let more = after.saturating_sub(before);
        if more > 0 {
            let cost = i64::try_from(room_for(more)).unwrap_or(i64::MAX);
            if self.admission.left(purpose).load(Ordering::Relaxed) < cost {
                return Err(no_space());
            }
            for left in [Purpose::Growth, Purpose::Yielding] {
                self.admission.left(left).fetch_sub(cost, Ordering::Relaxed);
            }
        }
        self.space.lock().promise(before, after);
        Ok(())
    }

    /// Takes what an operation may cost from the headroom; false if there is too little.
    fn pay(&self, purpose: Purpose, blocks: u64) -> bool {
        if !self.has_headroom(purpose, blocks) {
            return false;
        }
        let cost = cost(blocks);
        for left in PURPOSES {
            self.admission.left(left).fetch_sub(cost, Ordering::Relaxed);
        }
        self.admission.paid.fetch_add(cost, Ordering::Relaxed);
        self.admission.blocks_since_freeze.fetch_add(blocks, Ordering::Relaxed);
        true
    }
}
