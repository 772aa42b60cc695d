//! Handles: what programs have open, by the number that the kernel keeps for us.
//!
//! A handle is used as whoever opened it: what was opened may be passed on, and its opener may have become another.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use baton_rpc::sessions::Who;
use baton_types::file::Listed;
use baton_types::{Error, Fid, Kind, Result};
use parking_lot::{Mutex, RwLock};

use crate::inodes::{Inode, Look};
use crate::ops::{Keeps, With};
use crate::writers::Writers;

/// All of one mount.
#[derive(Default)]
pub struct Handles {
    open: RwLock<HashMap<u64, Arc<Handle>>>,
    last: AtomicU64,
}

/// One of them.
pub struct Handle {
    /// Of which file.
    pub inode: Arc<Inode>,
    /// Who opened it.
    pub who: Arc<Who>,
    /// Whether the kernel keeps what is read and written by it.
    pub keeps: Keeps,
    /// Of a directory: names that were listed and did not fit into an answer.
    pub listed: Mutex<Option<Arc<Page>>>,
    /// Who set locks by it, as the kernel numbers them.
    pub owners: Mutex<HashSet<u64>>,
    /// Who opened it, or wrote by it.
    pub writers: Writers,
    /// A lock that a program had on it is lost.
    is_lost: AtomicBool,
    /// Failures of the file that those who have this handle were told of, or that were before it.
    failures: AtomicU64,
}

/// Names of a directory, as the server listed them at some moment.
pub struct Page {
    /// In the order of their cookies.
    pub names: Vec<Listed>,
    /// There are none after these.
    pub is_end: bool,
    /// Whether their attributes are with them.
    pub with: With,
    /// What the directory was like.
    pub look: Look,
    /// Changes of ours in the fileset that had begun.
    pub begun: u64,
    /// The stay alone that they were listed in.
    pub stay: Option<u64>,
}

impl Handles {
    /// A number for a new one.
    pub fn insert(&self, inode: Arc<Inode>, who: Arc<Who>, keeps: Keeps) -> u64 {
        inode.opened();
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (failures, _) = inode.failed_since(0);
        let writers = Writers::default();
        writers.add(who.pid); // it may make the file, or set what it is like
        let handle = Handle {
            inode,
            who,
            keeps,
            listed: Mutex::default(),
            owners: Mutex::default(),
            writers,
            is_lost: AtomicBool::new(false),
            failures: AtomicU64::new(failures),
        };
        self.open.write().insert(number, Arc::new(handle));
        number
    }

    /// The one with this number.
    ///
    /// # Errors
    /// `Stale` if it is closed, or none of ours.
    pub fn get(&self, number: u64) -> Result<Arc<Handle>> {
        let found = self.open.read().get(&number).cloned();
        found.ok_or_else(|| Error::new(Kind::Stale, format!("handle {number}")))
    }

    /// Closes one.
    pub fn remove(&self, number: u64) -> Option<Arc<Handle>> {
        let handle = self.open.write().remove(&number)?;
        handle.inode.closed();
        Some(handle)
    }

    /// Locks on these files are lost: their handles give no bytes and take none.
    pub fn lose(&self, files: &HashSet<Fid>) {
        let open = self.open.read();
        for handle in open.values().filter(|handle| files.contains(&handle.inode.fid)) {
            handle.is_lost.store(true, Ordering::SeqCst);
        }
    }
}

impl Handle {
    /// Whether there is something to say of that.
    pub fn has_failed(&self) -> bool {
        let (count, _) = self.inode.failed_since(0);
        count > self.failures.load(Ordering::SeqCst)
    }

    /// Says once what became of changes that were told to be done before they were.
    ///
    /// # Errors
    /// The last failure that nobody who has this handle was told of.
    pub fn failed(&self) -> Result<()> {
        let (count, error) = self.inode.failed_since(self.failures.load(Ordering::SeqCst));
        let seen = self.failures.fetch_max(count, Ordering::SeqCst);
        match error {
            Some(error) if seen < count => Err(error),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether bytes may be read and written by it.
    ///
    /// # Errors
    /// `SessionLost` when a program had a lock on the file, and has it no more.
    pub fn usable(&self) -> Result<()> {
        match self.is_lost.load(Ordering::SeqCst) {
            false => Ok(()),
            true => Err(Error::new(Kind::SessionLost, format!("file {}", self.inode.fid))
                .because("a lock on it was lost with the session")
                .remedy("open it again")),
        }
    }
}
