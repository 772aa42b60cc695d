//! What this server exports: the aggregates it owns, each under its epoch, and the filesets on them.
//!
//! Everything here is a look into memory: a call finds its aggregate without touching a disk (I9: a fileset that is
//! not here is refused, and the caller asks the location database). An [`Export`] that was taken out of the table
//! lives on with those who still use it; what they ask of its store is refused there.
//!
//! Lock order: the table here, then nothing. No lock is held over I/O.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use baton_aggregate::aggregate::{Aggregate, Running};
use baton_aggregate::cache::Cache;
use baton_aggregate::fileset::catalog;
use baton_types::limits::RECLAIM_RATE;
use baton_types::{AggregateId, AggregateName, Clock, Epoch, Error, FilesetId, Kind, Result, Time};
use parking_lot::{Mutex, RwLock};

use crate::driver::{Past, Which};

/// Filesets read at once from an aggregate's list: a few hundred KiB of names.
const LIST_PIECE: usize = 4_096;

/// The aggregates that this server owns and serves.
pub struct Exports {
    cache: Arc<Cache>,
    /// How each aggregate is scrubbed, if not as the store does by itself: bytes a second, and how long after the end of
    /// one pass the next begins.
    scrub: Option<(u64, Option<Duration>)>,
    /// Bytes a second that each gives back of what was deleted.
    reclaim_rate: u64,
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    aggregates: BTreeMap<AggregateId, Arc<Export>>,
    filesets: BTreeMap<FilesetId, Arc<Export>>,
}

/// One aggregate that this server owns under one epoch.
pub struct Export {
    /// From its label.
    pub id: AggregateId,
    /// From its label.
    pub name: AggregateName,
    /// The number under which it is owned; a call under another one is refused (I9).
    pub epoch: Epoch,
    /// When its slot was written, by this machine's clock: lifetimes of the last epoch's clients count from here.
    pub claimed_at: Time,
    aggregate: Aggregate,
    /// `None` once its threads have ended.
    running: Mutex<Option<Running>>,
    accepting: AtomicBool,
}

impl Exports {
    /// Nothing is exported yet; all aggregates will share a cache of `cache_bytes`.
    pub fn new(cache_bytes: usize) -> Exports {
        Exports {
            cache: Arc::new(Cache::new(cache_bytes)),
            scrub: None,
            reclaim_rate: RECLAIM_RATE,
            table: RwLock::default(),
        }
    }

    /// The same, for one who has its aggregates scrubbed: with so many bytes a second, and again so long after the end
    /// of a pass; `None`: when somebody asks.
    #[must_use]
    pub fn scrubbing(self, rate: u64, every: Option<Duration>) -> Exports {
        Exports {
            scrub: Some((rate, every)),
            ..self
        }
    }

    /// The same, for one whose aggregates give back so many bytes a second of what was deleted; 0: as many as they can.
    #[must_use]
    pub fn reclaiming(self, rate: u64) -> Exports {
        Exports {
            reclaim_rate: rate,
            ..self
        }
    }

    /// The one cache of this server.
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// Where a fileset is served, and what of it has this id, if not it itself.
    ///
    /// # Errors
    /// `Moved` if it is not here: the location database knows.
    pub fn find(&self, id: FilesetId) -> Result<(Arc<Export>, Option<Past>)> {
        let table = self.table.read();
        let past = match id.snapshot_number() {
            Some(number) => Some((id.live(), Which::Number(number))),
            None if table.filesets.contains_key(&id) => None,
            None => Some((id.of_backup(), Which::Backup)),
        };
        let past = past.map(|(of, which)| Past { of, which });
        let found = table.filesets.get(&past.map_or(id, |past| past.of)).cloned();
        Ok((found.ok_or_else(|| not_here(format!("fileset {id}")))?, past))
    }

    /// An aggregate by its id.
    ///
    /// # Errors
    /// `Moved` if it is not exported here: the location database knows.
    pub fn of_aggregate(&self, id: AggregateId) -> Result<Arc<Export>> {
        let found = self.table.read().aggregates.get(&id).cloned();
        found.ok_or_else(|| not_here(format!("aggregate {id}")))
    }

    /// An aggregate by its name.
    ///
    /// # Errors
    /// `NotFound` if it is not exported here.
    pub fn named(&self, name: &AggregateName) -> Result<Arc<Export>> {
        let found = self.list().into_iter().find(|export| export.name == *name);
        found.ok_or_else(|| Error::new(Kind::NotFound, format!("aggregate {name}")).because("not exported here"))
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<Arc<Export>> {
        let mut all: Vec<_> = self.table.read().aggregates.values().cloned().collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// Serves `export` and all its filesets from now on. Reads the list of filesets: not for a thread that may not wait.
    ///
    /// # Errors
    /// Damage of that list; `Exists` if the aggregate is exported already.
    pub fn insert(&self, export: Arc<Export>) -> Result<()> {
        let filesets = export.filesets()?;
        if let Some((rate, every)) = self.scrub {
            export.aggregate().set_scrub(rate, every);
        }
        export.aggregate().set_reclaim_rate(self.reclaim_rate);
        let mut table = self.table.write();
        if table.aggregates.contains_key(&export.id) {
            return Err(Error::new(Kind::Exists, format!("aggregate {}", export.name)).because("exported already"));
        }
        table
            .filesets
            .extend(filesets.into_iter().map(|id| (id, export.clone())));
        table.aggregates.insert(export.id, export);
        Ok(())
    }

    /// Serves it no more. An export of the same aggregate under another epoch stays.
    pub fn remove(&self, export: &Export) {
        export.stop_accepting();
        let is_it = |other: &Export| (other.id, other.epoch) == (export.id, export.epoch);
        let mut table = self.table.write();
        table.filesets.retain(|_, other| !is_it(other));
        table.aggregates.retain(|_, other| !is_it(other));
    }

    /// `export` has one more fileset.
    pub fn add_fileset(&self, export: &Arc<Export>, fileset: FilesetId) {
        self.table.write().filesets.insert(fileset, export.clone());
    }

    /// A fileset is no more.
    pub fn remove_fileset(&self, fileset: FilesetId) {
        self.table.write().filesets.remove(&fileset);
    }
}

impl Export {
    /// An aggregate whose threads run, claimed at `claimed_at`.
    pub fn new(running: Running, claimed_at: Time) -> Export {
        let aggregate = running.aggregate().clone();
        Export {
            id: aggregate.label().id,
            name: aggregate.label().name.clone(),
            epoch: aggregate.epoch(),
            claimed_at,
            aggregate,
            running: Mutex::new(Some(running)),
            accepting: AtomicBool::new(true),
        }
    }

    /// Its store.
    pub fn aggregate(&self) -> &Aggregate {
        &self.aggregate
    }

    /// False from the moment it is being given up: new calls are answered `Detached`, running ones end.
    pub fn accepting(&self) -> bool {
        self.accepting.load(Ordering::Acquire)
    }

    /// Takes no new call from now on.
    pub fn stop_accepting(&self) {
        self.accepting.store(false, Ordering::Release);
    }

    /// Ends its threads, and waits for that: from here on whoever waits for the store writes for himself.
    pub fn stop(&self) {
        let running = self.running.lock().take();
        drop(running);
    }

    /// Starts its threads anew.
    ///
    /// # Errors
    /// `Limit` if the machine has no thread left.
    pub fn go_on(&self, clock: Arc<dyn Clock>) -> Result<()> {
        let running = Running::start(self.aggregate.clone(), clock)?;
        *self.running.lock() = Some(running);
        Ok(())
    }

    /// The filesets on it, those being taken apart left out.
    ///
    /// # Errors
    /// Damage.
    pub fn filesets(&self) -> Result<Vec<FilesetId>> {
        let (mut all, mut from) = (Vec::new(), Some(0));
        while let Some(at) = from {
            let piece = self
                .aggregate
                .read_system(|system| catalog::list(system, at, LIST_PIECE))?;
            all.extend(piece.entries.into_iter().map(|entry| entry.fileset));
            from = piece.next;
        }
        Ok(all)
    }
}

fn not_here(on: String) -> Error {
    Error::new(Kind::Moved, on).because("not served here")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{export, make_fileset, new_disk};

    #[test]
    fn filesets_are_found_where_they_are_served() {
        let exports = Exports::new(1 << 20);
        let export = export(&new_disk(1), Epoch(1));
        let old = make_fileset(export.aggregate(), 4, "old");
        exports.insert(export.clone()).unwrap();
        let new = make_fileset(export.aggregate(), 7, "new");
        exports.add_fileset(&export, new);
        for id in [old, new] {
            assert_eq!(exports.find(id).unwrap().0.id, export.id);
            let versions = [id, id.backup(), id.snapshot(7)].map(|id| exports.find(id).unwrap().1);
            let past = |which| Some(Past { of: id, which });
            assert_eq!(versions, [None, past(Which::Backup), past(Which::Number(7))]);
        }
        assert_eq!(exports.find(old.read_only()).err().unwrap().kind, Kind::Moved);
        assert_eq!(exports.of_aggregate(export.id).unwrap().epoch, Epoch(1));
        assert_eq!(exports.named(&export.name).unwrap().filesets().unwrap().len(), 2);
        assert_eq!(exports.insert(export.clone()).unwrap_err().kind, Kind::Exists);
        exports.remove_fileset(old);
        assert_eq!(exports.find(old).err().unwrap().kind, Kind::Moved);
        exports.remove(&export);
        assert_eq!(exports.find(new).err().unwrap().kind, Kind::Moved);
        assert!(!export.accepting() && exports.list().is_empty());
    }

    #[test]
    fn an_old_export_takes_no_newer_one_away() {
        let exports = Exports::new(1 << 20);
        let disk = new_disk(2);
        let old = export(&disk, Epoch(1));
        let fileset = make_fileset(old.aggregate(), 4, "home");
        old.stop();
        let new = export(&disk, Epoch(2));
        exports.insert(new).unwrap();
        exports.remove(&old);
        assert_eq!(exports.find(fileset).unwrap().0.epoch, Epoch(2));
        assert!(exports.find(fileset).unwrap().0.accepting());
    }
}
