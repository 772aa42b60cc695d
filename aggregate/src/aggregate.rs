//! An aggregate from its label to its service.
//!
//! ```text
//! open → Opened (label) → claim → Claimed (slot) → recover → Recovered (layers) → seal → Aggregate
//! ```
//!
//! Each step is a type, so that none can be left out: what was only claimed cannot be read as if the log had been
//! replayed, and what was only recovered cannot be served.

mod branching;
#[cfg(any(test, feature = "testing"))]
mod census;
mod comparison;
mod difference;
mod fileset;
mod filesets;
mod grow;
mod hand_over;
mod mend;
mod need;
mod past;
mod quota;
mod reclaim;
mod running;
mod scrub;
mod seal;
mod sessions;
mod snapshots;
#[cfg(test)]
mod tests;

#[cfg(test)]
mod faults;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use baton_types::{Error, Kind, Result, Timestamp};

use crate::device::Device;
use crate::engine::Engine;
use crate::fence::{self, Claimed as Fenced, Grant};
use crate::format::{Label, Lsn};
use crate::nodes::Nodes;
use crate::recover::{Chain, Replayed, recover};
#[cfg(any(test, feature = "testing"))]
pub use census::Census;
pub use comparison::{Comparison, Differing, Found, Pair, Renames, Step};
pub use difference::Touched;
pub(crate) use fileset::FilesetCell;
pub use fileset::{Done, Fileset, Standing};
pub(crate) use filesets::Cells;
pub use grow::Growth;
pub use need::Need;
pub use reclaim::Reclaimed;
pub use running::Running;
pub use scrub::ScrubPace;
pub(crate) use scrub::Scrubs;
pub use sessions::{RANGE_VNODES, SessionState};
pub use snapshots::{Namesake, SnapshotInfo};

/// An aggregate whose label was read.
pub struct Opened {
    device: Arc<dyn Device>,
    label: Label,
    nodes: Nodes,
}

/// An aggregate whose slot says that this process claims it.
pub struct Claimed {
    opened: Opened,
    fenced: Fenced,
    grant: Grant,
}

/// An aggregate whose log was replayed; nobody is served yet.
pub struct Recovered {
    claimed: Claimed,
    chain: Chain,
    replayed: Replayed,
}

/// An aggregate in service. Clones are handles to the same one.
#[derive(Clone)]
pub struct Aggregate {
    engine: Arc<Engine>,
}

impl Opened {
    /// Reads the label of the aggregate on `device`; what is read of it later is kept in `nodes`' cache.
    ///
    /// # Errors
    /// `Invalid` if there is none; `Damaged`; `Version` if only a newer Baton knows it; `Io`.
    pub fn open(device: Arc<dyn Device>, nodes: Nodes) -> Result<Opened> {
        let label = crate::create::read_label(&*device)?;
        label.may_be_written()?;
        Ok(Opened { device, label, nodes })
    }

    /// What it says.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// Claims it under `grant` at `time` (R1).
    ///
    /// # Errors
    /// As [`fence::claim`].
    pub fn claim(self, grant: Grant, time: Timestamp) -> Result<Claimed> {
        let fenced = fence::claim(self.device.clone(), &self.label, grant.clone(), time)?;
        Ok(Claimed {
            opened: self,
            fenced,
            grant,
        })
    }
}

impl Claimed {
    /// Reads the newest root's log and replays it. Damage is believed only after a look: an outrun owner may read
    /// what the next one is writing.
    ///
    /// # Errors
    /// `Damaged` if the log or a tree that replay needs has rotted: the aggregate is to be held for salvage;
    /// `WrongEpoch`; `Version`; `Invalid` if the device is smaller than the aggregate on it; `Io`.
    pub fn recover(self) -> Result<Recovered> {
        let Opened { device, label, nodes } = &self.opened;
        let again = || recover(&**device, label, nodes, &self.fenced.base.root);
        // A read may be wrong once.
        let recovered = again().or_else(|error| {
            if error.kind == Kind::Damaged {
                again()
            } else {
                Err(error)
            }
        });
        let (chain, replayed) = recovered.or_else(|error| self.fenced.look().and(Err(error)))?;
        Ok(Recovered {
            claimed: self,
            chain,
            replayed,
        })
    }
}

impl Recovered {
    /// The last record of its history.
    pub fn last(&self) -> Lsn {
        self.chain.last(self.claimed.fenced.base.root.lsn)
    }

    /// How many records of the log were replayed.
    pub fn records(&self) -> u64 {
        self.last().0 - self.claimed.fenced.base.root.lsn.0
    }
}

impl Aggregate {
    /// Its label.
    pub fn label(&self) -> &Label {
        &self.engine.label
    }

    /// The number of its owner, this process.
    pub fn epoch(&self) -> baton_types::Epoch {
        self.engine.epoch
    }

    /// Waits until everything up to `lsn` is written, flushed and looked at: it may be told.
    ///
    /// # Errors
    /// What keeps it from ever being so; `WrongEpoch` names who owns the aggregate now.
    pub fn wait(&self, lsn: Lsn) -> Result<()> {
        self.engine.wait(lsn)
    }

    /// Has everything up to `lsn` written soon, and does not wait for it.
    pub fn hasten(&self, lsn: Lsn) {
        self.engine.log.want(lsn);
    }

    /// Refuses once something failed for good: nothing more will become durable.
    ///
    /// # Errors
    /// What failed first.
    pub fn check(&self) -> Result<()> {
        self.engine.log.check()
    }

    /// Everything up to here may be told.
    pub fn durable(&self) -> Lsn {
        self.engine.log.durable()
    }

    /// From now on `listener` is told, once a group, up to where everything may be told. It runs on the thread that
    /// commits, and so must be quick; it must not wait for this aggregate.
    pub fn on_durable(&self, listener: impl Fn(Lsn) + Send + Sync + 'static) {
        self.engine.log.listen(Box::new(listener));
    }

    /// The last record appended.
    pub fn last(&self) -> Lsn {
        self.engine.log.last()
    }

    /// Writes one group; true if there was something to write. What a thread of [`Running`] does all the time.
    ///
    /// # Errors
    /// As [`Aggregate::wait`].
    pub fn commit(&self) -> Result<bool> {
        self.engine.commit()
    }

    /// Makes a checkpoint.
    ///
    /// # Errors
    /// `Damaged` if a node that it has to merge is; as [`Aggregate::wait`].
    pub fn checkpoint(&self) -> Result<()> {
        self.engine.checkpoint()
    }

    /// Are we still owner?
    ///
    /// # Errors
    /// `WrongEpoch` if not, and for ever.
    pub fn look(&self) -> Result<()> {
        let looked = self.engine.fence.look();
        if let Err(error) = &looked {
            self.engine.log.fail(error);
        }
        looked
    }

    /// Shows a sign of life at `time`.
    ///
    /// # Errors
    /// `WrongEpoch`; `Io`.
    pub fn beat(&self, time: Timestamp) -> Result<()> {
        self.engine.fence.beat(time)
    }

    /// Gives the aggregate up: everything is written, a checkpoint made, and the slot says so. The next owner takes
    /// that for proof that nothing is in flight any more (R5).
    ///
    /// # Errors
    /// As [`Aggregate::wait`]; then it is not detached.
    pub fn detach(&self, time: Timestamp) -> Result<()> {
        self.engine.checkpoint()?;
        let last = self.engine.log.last();
        self.engine.wait(last)?;
        let _checkpoints = self.engine.checkpoints.lock();
        let _writer = self.engine.writer.lock();
        let detached = Error::new(Kind::Detached, format!("aggregate {}", self.engine.label.name));
        self.engine.log.fail(&detached);
        self.engine.fence.detach(time)
    }

    /// Writes nothing more, whoever still has a hand on it: returns when no write is under way. The next owner need not
    /// wait for who reads here yet (R5).
    pub fn retire(&self) {
        let retired = Error::new(Kind::Detached, format!("aggregate {}", self.engine.label.name));
        self.engine.log.fail(&retired);
        self.engine.device.retire();
    }

    /// How much space there is, in blocks, and how much of it may still be filled.
    pub fn space(&self) -> SpaceLeft {
        let space = self.engine.space.lock();
        SpaceLeft {
            blocks: u64::from(space.geometry().segment_count()) * u64::from(space.geometry().segment_blocks()),
            free: space.available(crate::space::Purpose::Growth),
        }
    }

    /// The generation of the newest root: counts checkpoints for ever.
    pub fn generation(&self) -> u64 {
        self.engine.generation.load(Ordering::Acquire)
    }
}

/// What `df` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceLeft {
    /// All blocks.
    pub blocks: u64,
    /// Those that may be filled.
    pub free: u64,
}
