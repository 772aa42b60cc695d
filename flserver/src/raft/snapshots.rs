//! Where snapshots are kept.
//!
//! One may be written down here while a newer one arrives from the leader. The older never replaces the newer:
//! the log between the two is gone, and a start from the older would find a hole.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use baton_types::{Error, Kind, Result};
use parking_lot::Mutex;
use tokio::time::sleep;

use super::types::{LogId, Snapshot, SnapshotMeta, decode, encode, io as to_io};
use crate::state::Fldb;
use crate::store::{self, LogStore};

/// Where work that blocks is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// On the runtime's threads for it.
    Threads,
    /// Here, after this time: in a simulation, where a thread would make time unpredictable.
    Here(Duration),
}

impl Work {
    pub(super) async fn run<T: Send + 'static>(self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        match self {
            Work::Here(after) => {
                sleep(after).await;
                work()
            }
            Work::Threads => tokio::task::spawn_blocking(work)
                .await
                .unwrap_or_else(|e| Err(Error::new(Kind::Io, "snapshot").because(e.to_string()))),
        }
    }
}

/// The snapshot of one member; a clone is the same.
#[derive(Clone)]
pub(super) struct Snapshots {
    store: Arc<dyn LogStore>,
    work: Work,
    /// What the one on the disk reaches to. Held while one is written: one at a time.
    newest: Arc<Mutex<Option<LogId>>>,
}

impl Snapshots {
    pub(super) fn new(store: Arc<dyn LogStore>, work: Work) -> Snapshots {
        Snapshots {
            store,
            work,
            newest: Arc::default(),
        }
    }

    /// Keeps what `dump` gives, unless one as new is kept already; returns it.
    pub(super) async fn save(
        &self,
        meta: &SnapshotMeta,
        dump: impl FnOnce() -> Vec<u8> + Send + 'static,
    ) -> io::Result<Snapshot> {
        let (store, newest) = (self.store.clone(), self.newest.clone());
        let (reaches, encoded) = (meta.last_log_id, encode(meta).map_err(to_io)?);
        let save = move || {
            let kept = store::Snapshot {
                meta: encoded,
                data: dump(),
            };
            let mut newest = newest.lock();
            if reaches > *newest {
                store.save_snapshot(&kept)?;
                *newest = reaches;
            }
            Ok(kept.data)
        };
        Ok(Snapshot {
            meta: meta.clone(),
            snapshot: self.work.run(save).await.map_err(to_io)?,
        })
    }

    /// The state in `bytes`, and these: a million filesets take a second, which is not to be a thread's that serves.
    pub(super) async fn read(&self, bytes: Vec<u8>) -> io::Result<(Fldb, Vec<u8>)> {
        let read = move || Ok((Fldb::load(&bytes)?, bytes));
        self.work.run(read).await.map_err(to_io)
    }

    /// The one that is kept.
    pub(super) async fn load(&self) -> io::Result<Option<Snapshot>> {
        let (store, newest) = (self.store.clone(), self.newest.clone());
        let load = move || {
            let mut newest = newest.lock();
            let Some(kept) = store.load_snapshot()? else {
                return Ok(None);
            };
            let meta: SnapshotMeta = decode(&kept.meta)?;
            *newest = meta.last_log_id;
            Ok(Some(Snapshot {
                meta,
                snapshot: kept.data,
            }))
        };
        self.work.run(load).await.map_err(to_io)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryDisk;

    fn meta(index: u64) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: Some(openraft::testing::log_id::<super::super::types::Config>(1, 1, index)),
            ..SnapshotMeta::default()
        }
    }

    async fn save(snapshots: &Snapshots, index: u64, data: u8) -> io::Result<Snapshot> {
        snapshots.save(&meta(index), move || vec![data]).await
    }

    #[tokio::test]
    async fn older_one_never_replaces_a_newer_one() {
        let snapshots = Snapshots::new(Arc::new(MemoryDisk::new().open()), Work::Here(Duration::ZERO));
        save(&snapshots, 9, 9).await.unwrap();
        assert_eq!(
            save(&snapshots, 5, 5).await.unwrap().snapshot,
            [5],
            "its builder has it nevertheless"
        );
        assert_eq!(snapshots.load().await.unwrap().unwrap().snapshot, [9]);
        save(&snapshots, 10, 10).await.unwrap();
        assert_eq!(snapshots.load().await.unwrap().unwrap().snapshot, [10]);
    }

    #[tokio::test]
    async fn the_one_read_at_the_start_is_not_written_again() {
        let disk = MemoryDisk::new();
        save(&Snapshots::new(Arc::new(disk.open()), Work::Here(Duration::ZERO)), 9, 9)
            .await
            .unwrap();
        let snapshots = Snapshots::new(Arc::new(disk.open()), Work::Here(Duration::ZERO));
        snapshots.load().await.unwrap();
        disk.fail_after(0, Kind::Io);
        save(&snapshots, 9, 9).await.unwrap();
        assert!(save(&snapshots, 10, 10).await.is_err());
    }
}
