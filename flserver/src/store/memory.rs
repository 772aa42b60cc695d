//! The store's double: a log in memory over a disk that survives the process, and may be told to fail or to lie.
//!
//! `commit` is [`MemoryStore::stage`] (readers see it, the disk does not have it) and [`MemoryStore::sync`] (it is
//! durable). A simulation calls the two apart, with virtual time in between, and crashes the disk where it likes:
//! of what was staged and not synced, a prefix survives that the caller draws. Nothing here draws by itself, so a
//! history repeats exactly.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use baton_types::{Error, Kind, Result};
use parking_lot::{Mutex, MutexGuard};

use super::{Batch, LogStore, Marks, Snapshot};

const DISK: &str = "memory disk";

/// Marks and entries as a value: what the double holds, and the model that other stores are compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The marks.
    pub marks: Marks,
    /// The entries of [`Marks::indexes`].
    pub entries: BTreeMap<u64, Vec<u8>>,
}

impl Contents {
    /// Everything a store holds.
    ///
    /// # Errors
    /// Those of the store.
    pub fn of(store: &(impl LogStore + ?Sized)) -> Result<Contents> {
        let marks = store.marks()?;
        let entries = store.entries(marks.indexes(), usize::MAX)?.into_iter().collect();
        Ok(Contents { marks, entries })
    }

    /// Does what `batch` says, or nothing.
    ///
    /// # Errors
    /// `Invalid` if the batch breaks the rules of [`Marks`].
    pub fn apply(&mut self, batch: &Batch) -> Result<()> {
        self.marks = self.marks.after(batch, DISK)?;
        if let Some(from) = batch.truncate_from {
            self.entries.split_off(&from);
        }
        self.entries.extend(batch.append.iter().cloned());
        if let Some((through, _)) = batch.purge_through {
            self.entries.retain(|&index, _| index > through);
        }
        Ok(())
    }
}

/// How a disk breaks its promise at each crash. Only to show that an oracle notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// The last synced entry is gone.
    LosesLastEntry,
    /// The vote is gone.
    ForgetsVote,
}

/// What outlives the process. A clone is the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    platter: Arc<Mutex<Platter>>,
}

#[derive(Debug, Default)]
struct Platter {
    synced: Contents,
    staged: VecDeque<Batch>,
    /// `synced` with `staged` on top: what the process sees.
    seen: Contents,
    snapshot: Option<Snapshot>,
    /// Counts processes. A store of an earlier one is refused.
    life: u64,
    /// How many more syncs succeed, and what the one after them fails with.
    fault: Option<(u64, Kind)>,
    failed: Option<Error>,
    lie: Option<Lie>,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// Starts a process. What an earlier one left unsynced, and no crash took, is synced first: a store never
    /// shows what a crash could still take back.
    pub fn open(&self) -> MemoryStore {
        let mut platter = self.platter.lock();
        platter.settle();
        platter.failed = None;
        platter.life += 1;
        MemoryStore {
            platter: Arc::clone(&self.platter),
            life: platter.life,
        }
    }

    /// Cuts the power. `keep` is given how many batches are unsynced and says how many of them survive: the
    /// first so many.
    pub fn crash(&self, keep: impl FnOnce(usize) -> usize) {
        let mut platter = self.platter.lock();
        let kept = keep(platter.staged.len());
        assert!(
            kept <= platter.staged.len(),
            "{kept} of {} batches cannot survive",
            platter.staged.len()
        );
        platter.staged.truncate(kept);
        platter.settle();
        platter.tell_lie();
        platter.seen = platter.synced.clone();
        platter.fault = None;
        platter.life += 1;
    }

    /// Lets `syncs` more succeed and fails the next with `kind`. What was to be synced stays unsynced: it may
    /// survive a crash and may not.
    pub fn fail_after(&self, syncs: u64, kind: Kind) {
        self.platter.lock().fault = Some((syncs, kind));
    }

    /// From now on every crash breaks a promise.
    pub fn lie(&self, lie: Lie) {
        self.platter.lock().lie = Some(lie);
    }
}

impl Platter {
    /// Everything staged is synced.
    fn settle(&mut self) {
        for batch in mem::take(&mut self.staged) {
            self.synced
                .apply(&batch)
                .expect("a batch was checked when it was staged");
        }
    }

    fn tell_lie(&mut self) {
        match self.lie {
            Some(Lie::LosesLastEntry) if self.synced.entries.pop_last().is_some() => {
                self.synced.marks.next_index -= 1;
            }
            Some(Lie::ForgetsVote) => self.synced.marks.vote = None,
            Some(Lie::LosesLastEntry) | None => {}
        }
    }

    /// Counts a sync, which may be the one that fails.
    fn count_sync(&mut self) -> Result<()> {
        match &mut self.fault {
            None => Ok(()),
            Some((0, kind)) => {
                let error = Error::new(*kind, DISK).op("sync").because("told to fail");
                self.fault = None;
                self.failed = Some(error.clone());
                Err(error)
            }
            Some((syncs, _)) => {
                *syncs -= 1;
                Ok(())
            }
        }
    }
}

/// The store of one process on a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryStore {
    platter: Arc<Mutex<Platter>>,
    life: u64,
}

impl MemoryStore {
    /// Takes a batch: readers see it, a crash may take it back.
    ///
    /// # Errors
    /// `Invalid` if the batch breaks the rules of [`Marks`]; anything once a sync has failed.
    pub fn stage(&self, batch: &Batch) -> Result<()> {
        let mut platter = self.usable()?;
        platter.seen.apply(batch)?;
        platter.staged.push_back(batch.clone());
        Ok(())
    }

    /// Makes all that was staged durable.
    ///
    /// # Errors
    /// The fault that was injected, and from then on that one always.
    pub fn sync(&self) -> Result<()> {
        let mut platter = self.usable()?;
        platter.count_sync()?;
        platter.settle();
        Ok(())
    }

    fn usable(&self) -> Result<MutexGuard<'_, Platter>> {
        let platter = self.platter.lock();
        if platter.life != self.life {
            return Err(Error::new(Kind::Stale, DISK).because("the process that opened this store is gone"));
        }
        match &platter.failed {
            Some(error) => Err(error.clone()),
            None => Ok(platter),
        }
    }
}

impl LogStore for MemoryStore {
    fn marks(&self) -> Result<Marks> {
        Ok(self.usable()?.seen.marks.clone())
    }

    fn entries(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<(u64, Vec<u8>)>> {
        let platter = self.usable()?;
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let mut bytes_found = 0;
        let fits = |(position, (_, bytes)): &(usize, (&u64, &Vec<u8>))| {
            bytes_found += bytes.len();
            bytes_found <= bytes_max || *position == 0
        };
        let found = platter.seen.entries.range(range).enumerate().take_while(fits);
        Ok(found.map(|(_, (index, bytes))| (*index, bytes.clone())).collect())
    }

    fn commit(&self, batch: &Batch) -> Result<()> {
        self.stage(batch)?;
        self.sync()
    }

    fn save_snapshot(&self, snapshot: &Snapshot) -> Result<()> {
        let mut platter = self.usable()?;
        platter.count_sync()?;
        platter.snapshot = Some(snapshot.clone());
        Ok(())
    }

    fn load_snapshot(&self) -> Result<Option<Snapshot>> {
        Ok(self.usable()?.snapshot.clone())
    }
}
