//! What the kernel holds of one mount, in memory that the daemon and its guard share.
//!
//! ```text
//! 0           8          16          4096
//! ┌───────────┬──────────┬───────────┬──────────┬──────────┬───
//! │until      │used      │0          │node      │node      │ …      u64 each, in the machine's order
//! └───────────┴──────────┴───────────┴──────────┴──────────┴───
//! ```
//! `until`: what the kernel holds is true until then, in microseconds of `CLOCK_BOOTTIME`. `used`: nodes stand
//! below this index. A node is a number the kernel knows an inode by; 0: nobody.
//!
//! The memory is as long as the longest table from the start: only pages that were written to are there.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use baton_types::{Error, Kind, Result, Time};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Inodes of one mount that the kernel may know at once: an inode takes a kilobyte there, so that is 64 GiB of it.
pub const NODES_MAX: u32 = 1 << 26;
/// Words before the nodes: one page, so that the nodes begin on their own.
const HEAD_WORDS: usize = 512;
const WORDS: usize = HEAD_WORDS + NODES_MAX as usize;
const BYTES: usize = WORDS * size_of::<AtomicU64>();

/// The table of one mount.
#[derive(Debug)]
pub struct Table {
    words: NonNull<AtomicU64>,
    memory: OwnedFd,
}

// SAFETY: the memory is read and written as atomics alone, and unmapped when nobody has the table any more.
#[expect(unsafe_code, reason = "a pointer to shared memory")]
unsafe impl Send for Table {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "a pointer to shared memory")]
unsafe impl Sync for Table {}

impl Table {
    /// An empty one.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub fn create() -> Result<Table> {
        let memory = memfd_create("baton-mount", MemfdFlags::CLOEXEC).map_err(failed)?;
        File::from(memory.try_clone().map_err(|e| Error::io(WHAT, e))?)
            .set_len(BYTES as u64)
            .map_err(|e| Error::io(WHAT, e))?;
        let table = Table::map(memory)?;
        table.extend(Time::MAX);
        Ok(table)
    }

    /// The one in `memory`, which another process made.
    ///
    /// # Errors
    /// `Invalid` for memory of another length.
    pub fn open(memory: OwnedFd) -> Result<Table> {
        let len = rustix::fs::fstat(&memory).map_err(failed)?.st_size;
        if u64::try_from(len) != Ok(BYTES as u64) {
            return Err(Error::new(Kind::Invalid, WHAT).because(format!("{len} bytes, not {BYTES}")));
        }
        Table::map(memory)
    }

    #[expect(unsafe_code, reason = "mapping memory")]
    fn map(memory: OwnedFd) -> Result<Table> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        // SAFETY: the system chooses a place where nothing is, and the memory is as long as what is mapped.
        let place = unsafe { mmap(std::ptr::null_mut(), BYTES, protection, flags, &memory, 0) }.map_err(failed)?;
        let words = NonNull::new(place.cast()).ok_or_else(|| Error::new(Kind::Io, WHAT).because("mapped nowhere"))?;
        Ok(Table { words, memory })
    }

    /// What the kernel holds is true until then.
    pub fn until(&self) -> Time {
        self.word(0).load(Ordering::SeqCst)
    }

    /// Says so.
    pub fn extend(&self, until: Time) {
        self.word(0).store(until, Ordering::SeqCst);
    }

    /// The nodes that the kernel knows.
    pub fn nodes(&self) -> impl Iterator<Item = u64> {
        let used = self.word(1).load(Ordering::SeqCst).min(u64::from(NODES_MAX));
        (0..used)
            .map(|index| self.node(index as u32).load(Ordering::SeqCst))
            .filter(|node| *node != 0)
    }

    /// Writes `node` at `index`.
    pub(crate) fn put(&self, index: u32, node: u64) {
        self.node(index).store(node, Ordering::SeqCst);
        self.word(1).fetch_max(u64::from(index) + 1, Ordering::SeqCst);
    }

    /// Takes the node at `index` away.
    pub(crate) fn take(&self, index: u32) {
        self.node(index).store(0, Ordering::SeqCst);
    }

    fn node(&self, index: u32) -> &AtomicU64 {
        assert!(index < NODES_MAX, "index {index} is past the table");
        self.word(HEAD_WORDS + index as usize)
    }

    #[expect(unsafe_code, reason = "reading mapped memory")]
    fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < WORDS, "word {index} is past the table");
        // SAFETY: the mapping has WORDS words, is aligned to a page, and lives as long as `self`.
        unsafe { self.words.add(index).as_ref() }
    }
}

impl AsFd for Table {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

impl Drop for Table {
    #[expect(unsafe_code, reason = "unmapping memory")]
    fn drop(&mut self) {
        // SAFETY: this is the whole of what `map` mapped, and no reference into it outlives `self`.
        let unmapped = unsafe { munmap(self.words.as_ptr().cast(), BYTES) };
        debug_assert!(unmapped.is_ok());
    }
}

const WHAT: &str = "memory shared with the guard";

fn failed(error: rustix::io::Errno) -> Error {
    Error::io(WHAT, error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_process_writes_the_other_reads() {
        let daemon = Table::create().unwrap();
        let guard = Table::open(daemon.as_fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!(guard.until(), Time::MAX);
        assert_eq!(guard.nodes().count(), 0);
        daemon.extend(17);
        daemon.put(0, 1);
        daemon.put(5_000, 99);
        assert_eq!(guard.until(), 17);
        assert_eq!(guard.nodes().collect::<Vec<_>>(), [1, 99]);
        daemon.take(0);
        assert_eq!(guard.nodes().collect::<Vec<_>>(), [99]);
    }

    #[test]
    fn memory_of_another_length_is_refused() {
        let short = memfd_create("short", MemfdFlags::CLOEXEC).unwrap();
        assert_eq!(Table::open(short).unwrap_err().kind, Kind::Invalid);
    }
}
