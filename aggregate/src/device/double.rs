//! A disk in memory that does, under a seed, what disks and dying hosts do.
//!
//! One [`Disk`] is the platter; each incarnation of a server has its own [`Port`] on it, as two hosts share a LUN.
//!
//! | fault | how it comes |
//! |---|---|
//! | unflushed writes lost, torn, reordered | [`Disk::cut_power`]: each is kept, lost, or torn into any subset of its sectors |
//! | an incarnation stops in the middle of an operation | [`Port::stop_at`], [`Gate::crash`], [`Port::stop`] |
//! | a stopped incarnation's writes land late | by themselves between later operations, whole or in parts, or never; all that is left at [`Disk::land_late`] |
//! | `EIO` once or for good; a write that went elsewhere; a read from elsewhere | [`Port::arm`] |
//! | a bit flips at rest | [`Disk::flip`] |
//! | two servers interleave anywhere | [`Gate`]: every operation of a seated port waits until the scheduler lets it go on |
//!
//! An operation that failed may have happened, wholly or in part: no oracle may think otherwise. One fault is
//! excluded, for nothing could be built on it: a flush that lies. A flush makes durable all
//! that has landed, through whichever port: the cache is the disk's. A takeover rests on that, for it goes on from what
//! it reads.

mod gate;
mod platter;

use std::fmt;
use std::sync::Arc;

use baton_types::{Error, Kind, Result};
use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::StdRng;

pub use gate::{Choice, Crashed, Gate, Seat, SeatId, Step};
pub use platter::Counts;

use self::platter::{Fate, Piece, Platter};
use super::{Broken, Device, Write, check_memory, check_range};

/// An operation that a fault waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// A read.
    Read,
    /// One write of a submit.
    Write,
    /// A flush.
    Flush,
}

/// What then happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// `EIO`, once. A write may have landed all the same; so may a flush.
    Fail,
    /// `EIO`, for this and every later operation of its sort.
    FailForGood,
    /// It goes to, or comes from, this offset instead and says that all went well. A flush takes no notice.
    Misdirect(u64),
}

/// The platter, shared by every port.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<Platter>>);

impl Disk {
    /// A disk of zeroes, `len` bytes long.
    pub fn new(len: u64, seed: u64) -> Disk {
        Disk(Arc::new(Mutex::new(Platter::new(len, StdRng::seed_from_u64(seed)))))
    }

    /// A copy as it is now, with what is unflushed and what is late, and its own luck; no port has access to it.
    pub fn fork(&self, seed: u64) -> Disk {
        let copy = self.0.lock().fork(StdRng::seed_from_u64(seed));
        Disk(Arc::new(Mutex::new(copy)))
    }

    /// A port for a new incarnation.
    pub fn port(&self) -> Port {
        self.open(None)
    }

    /// A port of which every operation waits for the scheduler.
    pub fn seated_port(&self, seat: &Seat) -> Port {
        self.open(Some(seat.clone()))
    }

    fn open(&self, seat: Option<Seat>) -> Port {
        let id = self.0.lock().open();
        Port {
            disk: self.clone(),
            id,
            seat,
            broken: Broken::default(),
        }
    }

    /// Cuts the power of the disk and of every host on it: what was flushed stays, of the rest what chance leaves.
    pub fn cut_power(&self) {
        self.0.lock().cut_power();
    }

    /// Lands whatever stopped incarnations still had on its way.
    pub fn land_late(&self) {
        self.0.lock().land_late();
    }

    /// Makes it larger: what is added reads as zeros.
    pub fn grow(&self, len: u64) {
        self.0.lock().grow(len);
    }

    /// Flips one bit of the byte at `offset`, on the platter.
    pub fn flip(&self, offset: u64, bit: u8) {
        self.0.lock().flip(offset, bit);
    }

    /// Bytes as a read would see them, at any offset; takes part in no fault.
    pub fn peek(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.lock().peek(offset, &mut bytes);
        bytes
    }

    /// Puts bytes on the platter, at any offset, durable: somebody else's hand.
    pub fn poke(&self, offset: u64, bytes: &[u8]) {
        self.0.lock().poke(offset, bytes);
    }

    /// A number that is equal for two disks of equal contents, what is unflushed and late among them: shows that a seed replays.
    pub fn digest(&self) -> u64 {
        self.0.lock().digest()
    }
}

/// One incarnation's access to a [`Disk`].
pub struct Port {
    disk: Disk,
    id: usize,
    seat: Option<Seat>,
    broken: Broken,
}

impl Port {
    /// Ends the incarnation now, between two operations: all later ones are refused.
    pub fn stop(&self) {
        self.disk.0.lock().stop(self.id);
    }

    /// Ends the incarnation in the middle of its `nth` operation from now (1 is the next): a submit counts as many
    /// as it has writes, which then land late, in part, or never.
    pub fn stop_at(&self, nth: u64) {
        self.disk.0.lock().stop_at(self.id, nth);
    }

    /// Lays `trouble` in the way of the `nth` such operation from now; 1 is the next.
    pub fn arm(&self, on: On, nth: u64, trouble: Trouble) {
        self.disk.0.lock().arm(self.id, on, nth, trouble);
    }

    /// What this port did so far.
    pub fn counts(&self) -> Counts {
        self.disk.0.lock().counts(self.id)
    }

    /// Waits for the scheduler, where there is one.
    fn turn(&self, step: Step) -> Result<(), Crashed> {
        match &self.seat {
            Some(seat) => seat.wait(step).inspect_err(|_| self.stop()),
            None => Ok(()),
        }
    }

    fn stopped(&self) -> Error {
        Error::new(Kind::Io, format!("device {self}")).because("its incarnation has stopped")
    }

    fn failed(&self, op: &'static str, offset: u64) -> Error {
        Error::new(Kind::Io, format!("device {self}, {op} at {offset}"))
            .op(op)
            .because("Input/output error (injected)")
    }

    /// Lands the pieces one after another; at a crash the one under way, and those after it, are late.
    fn land(&self, pieces: Vec<Piece>) -> Result<()> {
        let mut failure = None;
        let mut pieces = pieces.into_iter();
        while let Some(piece) = pieces.next() {
            let crashed = self.turn(Step::Write {
                offset: piece.offset(),
                len: piece.len(),
            });
            let mut platter = self.disk.0.lock();
            let fate = match crashed {
                Ok(()) => platter.land(self.id, &piece),
                Err(Crashed::Here) => Fate::Stopped,
                Err(Crashed::Before) => return Err(self.stopped()),
            };
            match fate {
                Fate::Done => {}
                Fate::Failed => failure = failure.or(Some(self.failed("write", piece.offset()))),
                Fate::Refused => return Err(self.stopped()),
                Fate::Stopped => {
                    platter.late(std::iter::once(piece).chain(pieces));
                    return Err(self.stopped());
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// What an operation without writes came to.
    fn outcome(&self, fate: Fate, op: &'static str, offset: u64) -> Result<()> {
        match fate {
            Fate::Done => Ok(()),
            Fate::Failed => Err(self.failed(op, offset)),
            Fate::Stopped | Fate::Refused => Err(self.stopped()),
        }
    }
}

impl Device for Port {
    fn len(&self) -> u64 {
        self.disk.0.lock().len()
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        check_range(self, self.len(), offset, into.len() as u64)?;
        check_memory(self, into)?;
        self.turn(Step::Read {
            offset,
            len: into.len(),
        })
        .map_err(|_| self.stopped())?;
        let fate = self.disk.0.lock().read(self.id, offset, into);
        self.outcome(fate, "read", offset)
    }

    fn submit(&self, writes: &[Write<'_>]) -> Result<()> {
        for write in writes {
            check_range(self, self.len(), write.offset, write.bytes.len() as u64)?;
            check_memory(self, write.bytes)?;
        }
        self.broken.check(self)?;
        // Only where somebody can look in between is a write worth landing in parts.
        let pieces = self.disk.0.lock().pieces(self.id, writes, self.seat.is_some());
        self.broken.keep(self.land(pieces))
    }

    fn flush(&self) -> Result<()> {
        self.broken.check(self)?;
        let turn = self.turn(Step::Flush).map_err(|_| self.stopped());
        self.broken.keep(turn.and_then(|()| {
            let fate = self.disk.0.lock().flush(self.id);
            self.outcome(fate, "flush", 0)
        }))
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        check_range(self, self.len(), offset, len)?;
        self.broken.check(self)?;
        let turn = self.turn(Step::Discard { offset, len }).map_err(|_| self.stopped());
        self.broken.keep(turn.and_then(|()| {
            let fate = self.disk.0.lock().discard(self.id, offset, len);
            self.outcome(fate, "discard", offset)
        }))
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "double, port {}", self.id)
    }
}

#[cfg(test)]
mod tests;
