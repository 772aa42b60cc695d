//! The threads of an aggregate in service: one commits, one makes checkpoints and gives space back, one beats, one
//! scrubs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use baton_types::limits::DISK_BEAT_MICROS;
use baton_types::{Clock, Error, Result};
use parking_lot::{Condvar, Mutex};

use super::scrub::keep;
use super::{Aggregate, Reclaimed};

/// What has gathered is written after this though nobody waits.
const GATHER_AT_MOST: Duration = Duration::from_millis(10);
/// What has changed is in a checkpoint after this though little has.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
/// What an older owner's log came to is in one after this: programs go on first, but the next owner, who may come soon, is
/// not to replay it again.
const CHECKPOINT_SOON: Duration = Duration::from_secs(1);
/// If it is at least so many records: fewer, as after a planned move, are replayed in no time.
const RECORDS_MANY: u64 = 256;
/// How often it is looked whether much has gathered.
const CHECKPOINT_LOOK: Duration = Duration::from_millis(20);
/// A sign of life in the slot, and a look with it.
const BEAT_EVERY: Duration = Duration::from_micros(DISK_BEAT_MICROS);

/// An aggregate whose threads run until this goes.
pub struct Running {
    aggregate: Aggregate,
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

/// Says to threads that they are to end.
#[derive(Default)]
pub(super) struct Stop {
    is_set: AtomicBool,
    lock: Mutex<()>,
    signal: Condvar,
}

impl Stop {
    /// Sleeps `at_most`; true if it is time to stop.
    pub(super) fn wait(&self, at_most: Duration) -> bool {
        let mut guard = self.lock.lock();
        if !self.is_set.load(Ordering::Acquire) {
            self.signal.wait_for(&mut guard, at_most);
        }
        self.is_set()
    }

    /// True if it is time to stop.
    pub(super) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    fn set(&self) {
        let _guard = self.lock.lock();
        self.is_set.store(true, Ordering::Release);
        self.signal.notify_all();
    }
}

impl Running {
    /// Starts the threads of `aggregate`.
    ///
    /// # Errors
    /// `Limit` if the machine has no thread left.
    pub fn start(aggregate: Aggregate, clock: Arc<dyn Clock>) -> Result<Running> {
        let mut running = Running {
            aggregate: aggregate.clone(),
            stop: Arc::default(),
            threads: Vec::new(),
        };
        aggregate.engine.has_threads.store(true, Ordering::Release);
        let stop = running.stop.clone();
        running.spawn("commit", move |aggregate| commit(aggregate, &stop))?;
        let stop = running.stop.clone();
        running.spawn("checkpoint", move |aggregate| checkpoint(aggregate, &stop))?;
        let stop = running.stop.clone();
        let dates = clock.clone();
        running.spawn("beat", move |aggregate| beat(aggregate, &stop, &*dates))?;
        let stop = running.stop.clone();
        running.spawn("scrub", move |aggregate| keep(aggregate, &stop, &*clock))?;
        Ok(running)
    }

    /// The aggregate.
    pub fn aggregate(&self) -> &Aggregate {
        &self.aggregate
    }

    fn spawn(&mut self, what: &str, work: impl FnOnce(&Aggregate) + Send + 'static) -> Result<()> {
        let aggregate = self.aggregate.clone();
        let name = format!("{what} {}", aggregate.label().name);
        let thread = std::thread::Builder::new().name(name).spawn(move || work(&aggregate));
        let thread = thread.map_err(|error| Error::io("thread of an aggregate", error))?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // From here on whoever waits commits by himself, the checkpoint that is being made included.
        self.aggregate.engine.has_threads.store(false, Ordering::Release);
        self.stop.set();
        self.aggregate.engine.log.wake();
        for thread in self.threads.drain(..) {
            // A panic of the store ends the process; there is nothing to hear of here.
            drop(thread.join());
        }
    }
}

fn commit(aggregate: &Aggregate, stop: &Stop) {
    while !stop.is_set() {
        if aggregate.engine.log.await_work(GATHER_AT_MOST)
            && let Err(error) = aggregate.commit()
        {
            tracing::error!(aggregate = %aggregate.label().name, %error, "the log is not written any more");
            return;
        }
    }
}

fn checkpoint(aggregate: &Aggregate, stop: &Stop) {
    let (mut waited, mut rest, mut is_awaited) = (Duration::ZERO, Duration::ZERO, false);
    let mut is_behind = aggregate.engine.is_behind();
    let mut within = match is_behind && aggregate.engine.replayed >= RECORDS_MANY {
        true => CHECKPOINT_SOON,
        false => CHECKPOINT_EVERY,
    };
    while !stop.wait(CHECKPOINT_LOOK) {
        waited += CHECKPOINT_LOOK;
        rest = rest.saturating_sub(CHECKPOINT_LOOK);
        match rest.is_zero().then(|| aggregate.reclaim()) {
            None => {}
            Some(Ok(reclaimed)) => {
                is_awaited = reclaimed == Reclaimed::Later;
                rest = aggregate.rest_after(reclaimed);
            }
            Some(Err(error)) => tracing::warn!(aggregate = %aggregate.label().name, %error, "no space given back"),
        }
        let has_changed = is_awaited || is_behind || aggregate.engine.log.bytes_since_cut() > 0;
        let is_due = has_changed && waited >= within;
        if !is_due && !aggregate.engine.wants_checkpoint() {
            continue;
        }
        (waited, within, is_behind) = (Duration::ZERO, CHECKPOINT_EVERY, false);
        if let Err(error) = aggregate.checkpoint() {
            tracing::error!(aggregate = %aggregate.label().name, %error, "no checkpoint");
            if aggregate.engine.log.check().is_err() {
                return;
            }
        }
    }
}

fn beat(aggregate: &Aggregate, stop: &Stop, clock: &dyn Clock) {
    while !stop.wait(BEAT_EVERY) {
        if let Err(error) = aggregate.beat(clock.date()).and_then(|()| aggregate.look()) {
            tracing::error!(aggregate = %aggregate.label().name, %error, "no beat");
            aggregate.engine.log.fail(&error);
            return;
        }
    }
}
