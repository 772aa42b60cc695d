//! The store's threads: whatever waits for a disk does so on one of them.
//!
//! Its queue is as long as there are calls in flight, which the service bounds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use baton_types::{Error, Result};
use parking_lot::{Condvar, Mutex};

/// Something that may wait.
pub type Job = Box<dyn FnOnce() + Send>;

/// Threads that do what may wait, in the order in which it came.
pub struct Pool {
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
    jobs: VecDeque<Job>,
    is_closed: bool,
}

impl Pool {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(count: usize) -> Result<Pool> {
        let mut pool = Pool {
            queue: Arc::default(),
            threads: Vec::new(),
        };
        for number in 0..count {
            let queue = pool.queue.clone();
            let thread = std::thread::Builder::new().name(format!("store {number}"));
            let thread = thread.spawn(move || queue.work());
            pool.threads
                .push(thread.map_err(|error| Error::io("thread of the store", error))?);
        }
        Ok(pool)
    }

    /// Has `job` done. Once the pool is closed it is dropped.
    pub fn run(&self, job: Job) {
        let mut state = self.queue.state.lock();
        if !state.is_closed {
            state.jobs.push_back(job);
            self.queue.changed.notify_one();
        }
    }
}

impl Queue {
    fn work(&self) {
        let mut state = self.state.lock();
        while !state.is_closed {
            match state.jobs.pop_front() {
                Some(job) => parking_lot::MutexGuard::unlocked(&mut state, job),
                None => self.changed.wait(&mut state),
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock();
        state.is_closed = true;
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        drop(jobs);
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            // The last job may have been the last to know of the pool.
            if thread.thread().id() != std::thread::current().id() {
                drop(thread.join());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn jobs_are_done_by_all_threads_at_once() {
        let pool = Pool::start(2).unwrap();
        let (send, receive) = channel();
        let (first, second) = (send.clone(), send);
        let (hold, held) = channel::<()>();
        // The one waits for the other: two threads are at work.
        pool.run(Box::new(move || {
            held.recv().unwrap();
            first.send(1).unwrap();
        }));
        pool.run(Box::new(move || {
            hold.send(()).unwrap();
            second.send(2).unwrap();
        }));
        let mut done: Vec<i32> = receive.iter().take(2).collect();
        done.sort_unstable();
        assert_eq!(done, [1, 2]);
        drop(pool);
    }
}
