//! The log: records gathered into batches, written, flushed, looked, told.
//!
//! A change is appended under its fileset's lock, so that the order of the log is the order in which changes were
//! applied. One group is in flight at a time while the next one gathers. A group is one batch: its records in one
//! write, its data to their own blocks beside it, one flush for both, then a look; only after that is anybody told
//! (R3). There is no timer: whoever waits has it written.
//!
//! Lock order: history, fileset, session, space, buffer. The writer's own lock comes before all of them.

mod group;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use baton_types::{Error, Kind, Result};
use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};

use crate::format::{Block, Lsn, Record};
pub(crate) use group::Group;
pub(crate) use writer::{Start, Writer};

/// What is gathered before it is written though nobody waits.
const GATHERED_BYTES_MAX: usize = 256 << 10;
/// After this, whoever waits looks whether there still is a thread that commits.
const MOMENT: Duration = Duration::from_millis(50);

/// The end of the log in memory: what is appended and not yet written, and what is durable.
pub struct Log {
    tail: Mutex<Tail>,
    /// Somebody waits, or much has gathered.
    work: Condvar,
    durable: AtomicU64,
    told: Mutex<()>,
    tell: Condvar,
    listeners: Mutex<Vec<Listener>>,
    broken: RwLock<Option<Error>>,
}

/// Told once a group what is durable now. It runs on the committing thread, and so must be quick.
pub(crate) type Listener = Box<dyn Fn(Lsn) + Send + Sync>;

struct Tail {
    next: Lsn,
    groups: std::collections::VecDeque<Group>,
    limits: Limits,
    /// The highest number that somebody waits for.
    wanted: Lsn,
    /// Bytes of records since the last freeze.
    bytes_since_freeze: u64,
}

/// What a batch may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Header, records and padding.
    pub batch_bytes: usize,
    /// Data beside the records: what replay has to check within its time.
    pub data_bytes: usize,
}

impl Log {
    /// A log that goes on behind `last`.
    pub(crate) fn new(last: Lsn, limits: Limits) -> Log {
        Log {
            tail: Mutex::new(Tail {
                next: last.next(),
                groups: std::collections::VecDeque::new(),
                limits,
                wanted: Lsn(0),
                bytes_since_freeze: 0,
            }),
            work: Condvar::new(),
            durable: AtomicU64::new(last.0),
            told: Mutex::new(()),
            tell: Condvar::new(),
            listeners: Mutex::default(),
            broken: RwLock::default(),
        }
    }

    /// Gives a record its place in history, and what was born with it its birth; `data` goes to its blocks beside it.
    ///
    /// # Errors
    /// `TooBig` for a record that no batch can hold; it has no place then.
    ///
    /// # Panics
    /// If the record puts what merges alone write.
    pub(crate) fn append(&self, record: &mut Record, data: Vec<(Block, Bytes)>) -> Result<Lsn> {
        let mut tail = self.tail.lock();
        let lsn = tail.next;
        let derived = record.of_merges();
        assert!(
            derived.is_none(),
            "a record is to put {derived:?}, which merges alone write"
        );
        record.born(lsn);
        let data_bytes = data.iter().map(|(_, bytes)| bytes.len()).sum();
        let limits = tail.limits;
        if !tail
            .groups
            .back()
            .is_some_and(|group| group.has_room(record, data_bytes, limits))
        {
            tail.groups.push_back(Group::begin(lsn));
        }
        let group = tail.groups.back_mut();
        group.expect("a group was begun just now").add(record, data, limits)?;
        tail.next = lsn.next();
        tail.bytes_since_freeze += record.encoded_len() as u64;
        if gathered(&tail) >= GATHERED_BYTES_MAX {
            self.work.notify_one();
        }
        Ok(lsn)
    }

    /// Ends the group, so that no batch holds records of both sides; gives the last number before.
    pub(crate) fn cut(&self) -> Lsn {
        let mut tail = self.tail.lock();
        if let Some(group) = tail.groups.back_mut() {
            group.end();
        }
        tail.bytes_since_freeze = 0;
        Lsn(tail.next.0 - 1)
    }

    /// Bytes of records since the last [`Log::cut`].
    pub(crate) fn bytes_since_cut(&self) -> u64 {
        self.tail.lock().bytes_since_freeze
    }

    /// How many groups wait to be written, the one that gathers included.
    pub(crate) fn queued(&self) -> usize {
        self.tail.lock().groups.len()
    }

    /// The last number given out.
    pub(crate) fn last(&self) -> Lsn {
        Lsn(self.tail.lock().next.0 - 1)
    }

    /// The oldest group that is not written, to be written now.
    pub(crate) fn take(&self) -> Option<Group> {
        let mut tail = self.tail.lock();
        while let Some(group) = tail.groups.pop_front() {
            if !group.is_empty() {
                return Some(group);
            }
        }
        None
    }

    /// Records up to this one are written, flushed and looked at.
    pub(crate) fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// Everything up to `durable` may be told.
    pub(crate) fn tell(&self, durable: Lsn) {
        let told = self.told.lock();
        self.durable.store(durable.0, Ordering::Release);
        drop(told);
        self.tell.notify_all();
        self.listeners.lock().iter().for_each(|listener| listener(durable));
    }

    /// From now on `listener` is told.
    pub(crate) fn listen(&self, listener: Listener) {
        self.listeners.lock().push(listener);
    }

    /// Nothing is durable any more from here on.
    pub(crate) fn fail(&self, error: &Error) {
        let told = self.told.lock();
        self.broken.write().get_or_insert_with(|| error.clone());
        drop(told);
        self.tell.notify_all();
        self.work.notify_all();
    }

    /// Refuses after the first failure.
    ///
    /// # Errors
    /// What failed first.
    pub(crate) fn check(&self) -> Result<()> {
        self.broken.read().as_ref().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// What failed because the aggregate was detached may go on: it was taken back.
    pub(crate) fn thaw(&self) {
        let _told = self.told.lock();
        let mut broken = self.broken.write();
        if broken.as_ref().is_some_and(|error| error.kind == Kind::Detached) {
            *broken = None;
        }
    }

    /// Somebody wants `lsn` to become durable.
    pub(crate) fn want(&self, lsn: Lsn) {
        let mut tail = self.tail.lock();
        tail.wanted = tail.wanted.max(lsn);
        drop(tail);
        self.work.notify_one();
    }

    /// Waits, a moment at most, for `lsn` to become durable; a thread commits, or the caller had better.
    ///
    /// # Errors
    /// What keeps it from ever being.
    pub(crate) fn wait_a_moment(&self, lsn: Lsn) -> Result<()> {
        self.want(lsn);
        let mut told = self.told.lock();
        if self.durable() < lsn {
            self.check()?;
            self.tell.wait_for(&mut told, MOMENT);
        }
        Ok(())
    }

    /// Waits until there is something to commit, at most `at_most` if something has gathered; true if there is.
    pub(crate) fn await_work(&self, at_most: Duration) -> bool {
        let mut tail = self.tail.lock();
        if tail.wanted <= self.durable() && gathered(&tail) < GATHERED_BYTES_MAX {
            self.work.wait_for(&mut tail, at_most);
        }
        !tail.groups.is_empty()
    }

    /// Wakes whoever waits for work: it is over.
    pub(crate) fn wake(&self) {
        self.work.notify_all();
    }
}

fn gathered(tail: &Tail) -> usize {
    tail.groups.iter().map(Group::gathered).sum()
}
