//! A file read from its start to its end: some reads are under way before they are asked for.
//!
//! A verified read by one thread waits for the disk, then hashes, then waits again: two thirds of what the disk gives.
//! With [`AHEAD_MAX`] reads under way on the threads of [`Readers`] the disk and the hashing CPUs have work at once.
//!
//! What was read ahead is told only if the file has not changed since (its data version says so); and a read that no
//! thread has begun when it is wanted is done by who wants it, so a busy machine is not slower for reading ahead.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use baton_types::{Error, Fid, Result};
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::load;
use super::read::{KEPT_BYTES_MAX, READ_BYTES_MAX, read_version};
use crate::aggregate::Fileset;

/// Reads of one stream under way at once: with fewer the disk idles, with more nothing is gained.
const AHEAD_MAX: usize = 4;
/// Reads that wait for a thread, of all streams; past that a stream does not read ahead.
const QUEUED_MAX: usize = 64;

/// Threads that read ahead, for all streams of a server.
pub struct Readers {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<Queued>,
    changed: Condvar,
}

#[derive(Default)]
struct Queued {
    reads: VecDeque<Arc<Ahead>>,
    is_closed: bool,
}

impl Readers {
    /// Starts `count` threads: as many as there are CPUs is good; none is allowed.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(count: usize) -> Result<Readers> {
        let mut readers = Readers {
            queue: Arc::default(),
            threads: Vec::new(),
        };
        for _ in 0..count {
            let queue = Arc::clone(&readers.queue);
            let thread = std::thread::Builder::new()
                .name("read ahead".to_owned())
                .spawn(move || queue.work());
            readers
                .threads
                .push(thread.map_err(|error| Error::io("thread for reading ahead", error))?);
        }
        Ok(readers)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue.state.lock().is_closed = true;
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            // It panicked: that was told where it happened.
            drop(thread.join());
        }
    }
}

impl Queue {
    fn work(&self) {
        let mut state = self.state.lock();
        while !state.is_closed {
            match state.reads.pop_front() {
                Some(read) => parking_lot::MutexGuard::unlocked(&mut state, || read.run()),
                None => self.changed.wait(&mut state),
            }
        }
    }

    /// Takes a read, unless there are too many.
    fn push(&self, read: Arc<Ahead>) -> Option<Arc<Ahead>> {
        let mut state = self.state.lock();
        if state.reads.len() >= QUEUED_MAX {
            return None;
        }
        state.reads.push_back(Arc::clone(&read));
        self.changed.notify_one();
        Some(read)
    }
}

/// A read that somebody will want.
struct Ahead {
    fileset: Fileset,
    fid: Fid,
    offset: u64,
    len: usize,
    state: Mutex<State>,
    done: Condvar,
}

enum State {
    Waiting,
    Running,
    /// The data version of the file then, and the bytes; `None` if it failed, or is not wanted any more.
    Done(Option<(u64, Bytes)>),
}

impl Ahead {
    /// Does the read, unless somebody did or does.
    fn run(&self) {
        let mut state = self.state.lock();
        if !matches!(*state, State::Waiting) {
            return;
        }
        *state = State::Running;
        drop(state);
        // Who wants it reads again if it failed, and hears why.
        let read = read_version(&self.fileset, self.fid, self.offset, self.len).ok();
        *self.state.lock() = State::Done(read);
        self.done.notify_all();
    }

    /// Its bytes, when they are there.
    fn wait(&self) -> Option<(u64, Bytes)> {
        self.run();
        let mut state = self.state.lock();
        loop {
            match &mut *state {
                State::Done(read) => return read.take(),
                State::Waiting | State::Running => self.done.wait(&mut state),
            }
        }
    }

    fn cancel(&self) {
        let mut state = self.state.lock();
        if matches!(*state, State::Waiting) {
            *state = State::Done(None);
        }
    }
}

/// One reader of a file.
pub struct Stream {
    readers: Arc<Readers>,
    fileset: Fileset,
    fid: Fid,
    /// Where the next read begins, if it is one of a sequence.
    next: u64,
    ahead: VecDeque<Arc<Ahead>>,
}

impl Stream {
    /// A reader at the start of a file.
    pub fn new(readers: Arc<Readers>, fileset: Fileset, fid: Fid) -> Stream {
        Stream {
            readers,
            fileset,
            fid,
            next: 0,
            ahead: VecDeque::new(),
        }
    }

    /// As [`read`](super::read); a sequence of large reads of one length is read ahead.
    ///
    /// # Errors
    /// As [`read`](super::read).
    pub fn read(&mut self, offset: u64, len: usize) -> Result<Bytes> {
        let len = len.min(READ_BYTES_MAX);
        if offset != self.next || len <= KEPT_BYTES_MAX {
            self.stop();
        }
        self.next = offset.saturating_add(len as u64);
        let ahead = self.ahead.pop_front();
        let ahead = ahead.filter(|ahead| (ahead.offset, ahead.len) == (offset, len));
        if ahead.is_none() {
            self.stop();
        }
        if len > KEPT_BYTES_MAX && offset < self.next {
            self.read_ahead(len)?;
        }
        if let Some((version, bytes)) = ahead.and_then(|ahead| ahead.wait()) {
            let attributes = self.fileset.read(|view| load(view, self.fid))?;
            if attributes.data_version == version {
                return Ok(bytes);
            }
        }
        super::read(&self.fileset, self.fid, offset, len)
    }

    /// Sees to it that the reads which come next are under way, up to the end of the file.
    fn read_ahead(&mut self, len: usize) -> Result<()> {
        let mut offset = self.next + (self.ahead.len() * len) as u64;
        let missing = AHEAD_MAX - self.ahead.len();
        if missing == 0 {
            return Ok(());
        }
        let size = self.fileset.read(|view| load(view, self.fid))?.size;
        for _ in 0..missing {
            if offset >= size {
                break;
            }
            let ahead = Ahead {
                fileset: self.fileset.clone(),
                fid: self.fid,
                offset,
                len,
                state: Mutex::new(State::Waiting),
                done: Condvar::new(),
            };
            let Some(ahead) = self.readers.queue.push(Arc::new(ahead)) else {
                break;
            };
            self.ahead.push_back(ahead);
            offset += len as u64;
        }
        Ok(())
    }

    /// Nothing of what is under way is wanted.
    fn stop(&mut self) {
        self.ahead.drain(..).for_each(|ahead| ahead.cancel());
    }
}

#[cfg(test)]
impl Stream {
    /// Does what a thread of the readers would.
    pub(super) fn readers_run(&self) {
        self.ahead.iter().for_each(|ahead| ahead.run());
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop();
    }
}
