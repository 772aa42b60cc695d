//! The library's log storage, over a [`LogStore`].
//!
//! Entries are readable as soon as they are appended, and their call-back comes when they are on the disk.
//! In between lies a queue with one writer, which takes everything that waits and writes it as one batch:
//! one sync for all. A vote returns only when it is on the disk. The committed mark costs no sync of its
//! own: it rides with the next batch, for a quicker start.
//!
//! ```text
//!   library ── append, vote, purge ──► queue (bounded) ──► Writer ── commit ──► LogStore
//!      ▲                                                     │
//!      └────────────────── call-backs, after the sync ───────┘
//! ```
//! The writer is driven by a thread in a daemon and by virtual time in a simulation: it only says what to
//! write and whom to tell.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use baton_types::{Error, Kind, Result};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::types::{Config, Entry, LogId, Vote, decode, encode, io};
use crate::store::{Batch, LogStore};

/// Jobs on their way to the writer. The library waits when it is full, and so does whoever asked.
const QUEUE_MAX: usize = 4_096;
/// Jobs in one batch: past this a sync is no longer what it costs.
const BATCH_MAX: usize = 1_024;
/// Bytes of entries kept in memory for followers that are close behind; older ones are read back.
const CACHE_BYTES_MAX: usize = 64 << 20;
/// Bytes of entries read back at once, and sent at once: half of what a message between members may have.
const READ_BYTES_MAX: usize = 4 << 20;

type Done = Box<dyn FnOnce(std::result::Result<(), std::io::Error>) + Send>;

/// Something to be written, and who hears of it.
enum Job {
    Append(Vec<(u64, Vec<u8>)>, Done),
    Truncate(u64, Done),
    Purge(u64, Vec<u8>, Done),
    Vote(Vec<u8>, Done),
    Committed(Vec<u8>),
}

/// What is known without asking the disk.
#[derive(Debug, Default)]
struct Known {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
    /// The newest entries, without a hole, up to `last`.
    cache: BTreeMap<u64, (Entry, usize)>,
    cache_bytes: usize,
    /// Entries up to this index are on the disk, and may leave the cache.
    flushed: u64,
}

impl Known {
    fn insert(&mut self, entry: Entry, bytes: usize) {
        self.last = Some(entry.log_id);
        self.cache_bytes += bytes;
        self.cache.insert(entry.log_id.index, (entry, bytes));
        while self.cache_bytes > CACHE_BYTES_MAX {
            match self.cache.first_key_value() {
                Some((&index, _)) if index <= self.flushed => self.forget(index),
                Some(_) | None => break,
            }
        }
    }

    fn forget(&mut self, index: u64) {
        if let Some((_, bytes)) = self.cache.remove(&index) {
            self.cache_bytes -= bytes;
        }
    }

    fn forget_where(&mut self, gone: impl Fn(u64) -> bool) {
        let indexes: Vec<u64> = self.cache.keys().copied().filter(|index| gone(*index)).collect();
        for index in indexes {
            self.forget(index);
        }
    }
}

/// The log of one member.
#[derive(Clone)]
pub struct Log {
    store: Arc<dyn LogStore>,
    known: Arc<Mutex<Known>>,
    queue: mpsc::Sender<Job>,
}

/// Takes jobs off the queue; its driver does the writing.
pub struct Writer {
    queue: mpsc::Receiver<Job>,
    known: Arc<Mutex<Known>>,
    committed: Option<Vec<u8>>,
    /// A job that has to begin a batch.
    held: Option<Job>,
}

/// A batch to commit, and those to tell.
pub struct Pending {
    /// To be committed as one.
    pub batch: Batch,
    done: Vec<Done>,
    last: Option<u64>,
    known: Arc<Mutex<Known>>,
}

impl Pending {
    /// Tells everybody how it went.
    pub fn finish(self, result: &Result<()>) {
        if let (Ok(()), Some(last)) = (result, self.last) {
            let mut known = self.known.lock();
            known.flushed = known.flushed.max(last);
        }
        for done in self.done {
            done(result.clone().map_err(io));
        }
    }
}

impl Log {
    /// The log in `store`, and the writer that somebody must drive.
    ///
    /// # Errors
    /// What the store says; `Damaged` if a mark in it is not ours.
    pub fn open(store: Arc<dyn LogStore>) -> Result<(Log, Writer)> {
        let marks = store.marks()?;
        let purged: Option<LogId> = marks.purged.as_ref().map(|(_, mark)| decode(mark)).transpose()?;
        let mut known = Known {
            vote: marks.vote.as_deref().map(decode).transpose()?,
            committed: marks.committed.as_deref().map(decode).transpose()?,
            purged,
            last: purged,
            ..Known::default()
        };
        if let Some(last) = marks.last() {
            let found = store.entries(last..last + 1, READ_BYTES_MAX)?;
            let entry: Entry = match found.first() {
                Some((_, bytes)) => decode(bytes)?,
                None => return Err(Error::new(Kind::Damaged, "log").because(format!("entry {last} is missing"))),
            };
            known.last = Some(entry.log_id);
            known.flushed = last;
        }
        let known = Arc::new(Mutex::new(known));
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let writer = Writer {
            queue: jobs,
            known: known.clone(),
            committed: None,
            held: None,
        };
        Ok((Log { store, known, queue }, writer))
    }

    async fn send(&self, job: Job) -> std::io::Result<()> {
        self.queue
            .send(job)
            .await
            .map_err(|_| std::io::Error::other("the log's writer has stopped"))
    }

    /// Sends a job and waits until it is on the disk.
    async fn written(&self, job: impl FnOnce(Done) -> Job) -> std::io::Result<()> {
        let (told, wait) = oneshot::channel();
        self.send(job(Box::new(move |result| drop(told.send(result))))).await?;
        wait.await
            .unwrap_or_else(|_| Err(std::io::Error::other("the log's writer has stopped")))
    }

    /// The entries of a range, ending before the one with which their bytes would pass `bytes_max`; the first
    /// is given whatever its size.
    fn read(&self, mut from: u64, to: u64, bytes_max: usize) -> Result<Vec<Entry>> {
        let (mut entries, mut bytes_read) = (Vec::new(), 0);
        while from < to {
            let some = self.some(from, to)?;
            if some.is_empty() {
                break;
            }
            for (entry, bytes) in some {
                bytes_read += bytes;
                if bytes_read > bytes_max && !entries.is_empty() {
                    return Ok(entries);
                }
                from = entry.log_id.index + 1;
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    /// The first entries of a range with their sizes: all from memory if they are there, else a piece from the disk.
    fn some(&self, from: u64, to: u64) -> Result<Vec<(Entry, usize)>> {
        {
            let known = self.known.lock();
            if known.cache.first_key_value().is_some_and(|(first, _)| *first <= from) {
                return Ok(known.cache.range(from..to).map(|(_, cached)| cached.clone()).collect());
            }
        }
        let read = self.store.entries(from..to, READ_BYTES_MAX)?;
        let decoded = read.iter().map(|(_, bytes)| Ok((decode(bytes)?, bytes.len())));
        decoded.collect()
    }
}

impl Writer {
    /// Everything that waits, as one batch; waits for something to come. `None` when the log is dropped.
    pub async fn next(&mut self) -> Option<Pending> {
        loop {
            let first = match self.held.take() {
                Some(held) => held,
                None => self.queue.recv().await?,
            };
            if let Some(pending) = self.gather(first) {
                return Some(pending);
            }
        }
    }

    /// The same for a thread.
    pub fn next_blocking(&mut self) -> Option<Pending> {
        loop {
            let first = match self.held.take() {
                Some(held) => held,
                None => self.queue.blocking_recv()?,
            };
            if let Some(pending) = self.gather(first) {
                return Some(pending);
            }
        }
    }

    /// One batch out of `first` and what waits behind it. A batch truncates first, then appends, then
    /// purges: a truncation therefore begins a batch, and a purge ends one.
    fn gather(&mut self, first: Job) -> Option<Pending> {
        let mut pending = Pending {
            batch: Batch::default(),
            done: Vec::new(),
            last: None,
            known: self.known.clone(),
        };
        let mut next = Some(first);
        while let Some(job) = next {
            if matches!(job, Job::Truncate(..)) && !pending.done.is_empty() {
                self.held = Some(job);
                break;
            }
            self.add(&mut pending, job);
            let full = pending.done.len() >= BATCH_MAX || pending.batch.purge_through.is_some();
            next = if full { None } else { self.queue.try_recv().ok() };
        }
        if pending.done.is_empty() {
            return None; // a committed mark alone waits for company
        }
        pending.batch.committed = self.committed.take();
        Some(pending)
    }

    fn add(&mut self, pending: &mut Pending, job: Job) {
        let batch = &mut pending.batch;
        let done = match job {
            Job::Append(entries, done) => {
                pending.last = entries.last().map(|(index, _)| *index).or(pending.last);
                batch.append.extend(entries);
                done
            }
            Job::Truncate(from, done) => {
                batch.truncate_from = Some(from);
                done
            }
            Job::Purge(through, mark, done) => {
                batch.purge_through = Some((through, mark));
                done
            }
            Job::Vote(vote, done) => {
                batch.vote = Some(vote);
                done
            }
            Job::Committed(mark) => {
                self.committed = Some(mark);
                return;
            }
        };
        pending.done.push(done);
    }
}

impl RaftLogReader<Config> for Log {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: R,
    ) -> std::io::Result<Vec<Entry>> {
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        self.read(from, to, usize::MAX).map_err(io)
    }

    /// What goes into one message to another member.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> std::io::Result<Vec<Entry>> {
        self.read(start, end, READ_BYTES_MAX).map_err(io)
    }

    async fn read_vote(&mut self) -> std::io::Result<Option<Vote>> {
        Ok(self.known.lock().vote)
    }
}

impl RaftLogStorage<Config> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> std::io::Result<LogState<Config>> {
        let known = self.known.lock();
        Ok(LogState {
            last_purged_log_id: known.purged,
            last_log_id: known.last,
        })
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> std::io::Result<()> {
        let bytes = encode(vote).map_err(io)?;
        self.written(|done| Job::Vote(bytes, done)).await?;
        self.known.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> std::io::Result<()> {
        let Some(committed) = committed else { return Ok(()) };
        self.known.lock().committed = Some(committed);
        self.send(Job::Committed(encode(&committed).map_err(io)?)).await
    }

    async fn read_committed(&mut self) -> std::io::Result<Option<LogId>> {
        Ok(self.known.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Config>) -> std::io::Result<()>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let mut encoded = Vec::new();
        let mut decoded = Vec::new();
        for entry in entries {
            encoded.push((entry.log_id.index, encode(&entry).map_err(io)?));
            decoded.push(entry);
        }
        {
            let mut known = self.known.lock();
            for (entry, (_, bytes)) in decoded.into_iter().zip(&encoded) {
                known.insert(entry, bytes.len());
            }
        }
        self.send(Job::Append(
            encoded,
            Box::new(move |result| callback.io_completed(result)),
        ))
        .await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> std::io::Result<()> {
        let from = last.map_or(0, |log_id| log_id.index + 1);
        {
            let mut known = self.known.lock();
            known.forget_where(|index| index >= from);
            known.last = known.last.min(last);
        }
        self.written(|done| Job::Truncate(from, done)).await?;
        // Only now: until here appends were under way whose end would have counted what is gone.
        let mut known = self.known.lock();
        known.flushed = known.flushed.min(from.saturating_sub(1));
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> std::io::Result<()> {
        let mark = encode(&log_id).map_err(io)?;
        {
            let mut known = self.known.lock();
            known.forget_where(|index| index <= log_id.index);
            known.purged = Some(log_id);
            known.last = known.last.filter(|last| last.index > log_id.index).or(Some(log_id));
        }
        self.written(|done| Job::Purge(log_id.index, mark, done)).await
    }
}

#[cfg(test)]
mod tests {
    use openraft::entry::RaftEntry;
    use openraft::testing::log_id;

    use super::super::types::Command;
    use super::*;
    use crate::store::MemoryDisk;

    /// Forty entries of which twenty go into a message.
    const COUNT: u64 = 40;

    fn entry(index: u64) -> Entry {
        let body = vec![7; READ_BYTES_MAX / 20 - 64];
        let format = Command::FORMAT;
        Entry::new_normal(log_id::<Config>(1, 1, index), Command { format, body })
    }

    async fn lengths(log: &mut Log) -> (usize, usize) {
        let limited = log.limited_get_log_entries(5, COUNT).await.unwrap();
        assert_eq!(limited.first().map(|entry| entry.log_id.index), Some(5));
        let whole = log.try_get_log_entries(0..COUNT).await.unwrap();
        assert!(whole.iter().map(|entry| entry.log_id.index).eq(0..COUNT));
        (limited.len(), whole.len())
    }

    #[tokio::test]
    async fn message_is_bounded_by_bytes_from_memory_and_from_the_disk() {
        let disk = MemoryDisk::new();
        let store = Arc::new(disk.open());
        let (mut log, mut writer) = Log::open(store.clone()).unwrap();
        log.append((0..COUNT).map(entry), IOFlushed::noop()).await.unwrap();
        assert_eq!(lengths(&mut log).await, (20, 40), "before anything is written");
        let pending = writer.next().await.unwrap();
        let written = store.commit(&pending.batch);
        pending.finish(&written);
        let (mut log, _writer) = Log::open(Arc::new(disk.open())).unwrap();
        assert_eq!(lengths(&mut log).await, (20, 40), "read back");
    }
}
