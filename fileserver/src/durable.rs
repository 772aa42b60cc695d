//! Who waits until something is durable: by place in history, without a thread each.

use std::collections::BTreeMap;

use baton_aggregate::aggregate::Aggregate;
use baton_aggregate::format::Lsn;
use baton_types::{Error, Result};
use parking_lot::Mutex;

/// What is to be done then: it hears whether it came to that, and must not wait.
pub type Then = Box<dyn FnOnce(Result<()>) + Send>;

/// The waiters of one aggregate.
#[derive(Default)]
pub struct Durable {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// By what they wait for, then in the order they came.
    then: BTreeMap<(Lsn, u64), Then>,
    count: u64,
}

impl Durable {
    /// Does `then` when everything up to `lsn` is durable: here, if it is already.
    pub fn when(&self, aggregate: &Aggregate, lsn: Lsn, then: Then) {
        if aggregate.durable() >= lsn {
            return then(Ok(()));
        }
        let mut waiting = self.waiting.lock();
        waiting.count += 1;
        let number = waiting.count;
        waiting.then.insert((lsn, number), then);
        drop(waiting);
        aggregate.hasten(lsn);
        // It may have come, or have become impossible, just before it was put down.
        self.settle(aggregate);
    }

    /// Everything up to `durable` may be told.
    pub fn reached(&self, durable: Lsn) {
        let mut waiting = self.waiting.lock();
        let later = waiting.then.split_off(&(durable.next(), 0));
        let then = std::mem::replace(&mut waiting.then, later);
        drop(waiting);
        then.into_values().for_each(|then| then(Ok(())));
    }

    /// Tells those who need not wait any more, for good or ill.
    pub fn settle(&self, aggregate: &Aggregate) {
        self.reached(aggregate.durable());
        if let Err(error) = aggregate.check() {
            self.fail(&error);
        }
    }

    /// Nobody who waits will be told here.
    pub fn fail(&self, why: &Error) {
        let then = std::mem::take(&mut self.waiting.lock().then);
        then.into_values().for_each(|then| then(Err(why.clone())));
    }
}
