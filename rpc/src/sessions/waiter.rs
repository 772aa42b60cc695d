//! A waiter: one thread that reads all lines that were left with it.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use baton_types::{Error, Result};
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::io::Errno;

use super::line::Line;

/// The number of the descriptor that only wakes.
const WAKE: u64 = 0;
/// Lines looked at in one go.
const EVENTS: usize = 64;

thread_local! {
    static MAY_WAIT: AtomicBool = const { AtomicBool::new(true) };
}

/// False on threads that serve many: they wait for no single answer.
pub(super) fn may_wait() -> bool {
    MAY_WAIT.with(|may| may.load(Ordering::Relaxed))
}

/// This thread serves many.
pub(super) fn must_not_wait() {
    MAY_WAIT.with(|may| may.store(false, Ordering::Relaxed));
}

/// What the thread and those who leave lines with it share.
pub(super) struct Waiter {
    epoll: OwnedFd,
    wake: OwnedFd,
    lines: Mutex<HashMap<u64, Arc<Line>>>,
    made: AtomicU64,
    is_over: AtomicBool,
}

impl Waiter {
    pub(super) fn start(name: &str) -> Result<(Arc<Waiter>, JoinHandle<()>)> {
        let failed = |e: Errno| Error::io("waiter", e.into());
        let waiter = Arc::new(Waiter {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?,
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(failed)?,
            lines: Mutex::default(),
            made: AtomicU64::new(WAKE),
            is_over: AtomicBool::new(false),
        });
        let wake = epoll::EventData::new_u64(WAKE);
        epoll::add(&waiter.epoll, &waiter.wake, wake, epoll::EventFlags::IN).map_err(failed)?;
        let own = waiter.clone();
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || own.run()).map_err(|e| Error::io("thread", e))?;
        Ok((waiter, thread))
    }

    /// Leaves a line here. Whoever does that is its reader, and no longer is.
    pub(super) fn add(&self, line: Arc<Line>) {
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let flags = flags(&line);
        let data = epoll::EventData::new_u64(number);
        self.lines.lock().insert(number, line.clone());
        if let Err(error) = epoll::add(&self.epoll, line.fd(), data, flags) {
            self.lines.lock().remove(&number);
            let error = Error::io("connection", error.into());
            line.session.broken(line.id, &error);
        }
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.is_over.store(true, Ordering::Release);
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn run(&self) {
        must_not_wait();
        let mut events = Vec::with_capacity(EVENTS);
        while !self.is_over.load(Ordering::Acquire) {
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "nobody reads what servers answer any more");
                    return;
                }
            }
            for event in events.drain(..) {
                let number = event.data.u64();
                let line = self.lines.lock().get(&number).cloned();
                if let Some(line) = line {
                    self.read(number, &line);
                }
            }
        }
    }

    /// Reads a line; it stays here while something is to come.
    fn read(&self, number: u64, line: &Arc<Line>) {
        let is_whole = line.read();
        if is_whole && line.has_open() {
            let data = epoll::EventData::new_u64(number);
            if epoll::modify(&self.epoll, line.fd(), data, flags(line)).is_ok() {
                return;
            }
        }
        self.lines.lock().remove(&number);
        let _ = epoll::delete(&self.epoll, line.fd());
        if is_whole && !line.leave() {
            self.add(line.clone());
        }
    }
}

fn flags(line: &Line) -> epoll::EventFlags {
    let mut flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
    flags.set(epoll::EventFlags::OUT, line.wants_write());
    flags
}
