//! Requests of the kernel that are not answered yet, and the programs that wait for them.
//!
//! A program that is killed must not wait for a server that is gone. The library hands on no interrupts, so a request
//! that has waited for a while is looked after: when the thread that waits has a signal that ends it, the request is
//! answered EINTR, and its own answer, should it come, is dropped. A wait for a lock ends with any signal that its
//! program would act on; but that is for the server to say, who may have given the lock just then.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use baton_types::{Clock, Error, Result, Time};
use parking_lot::{Condvar, Mutex};

/// How an answer goes to the kernel: what it asked for, or an errno.
pub type Reply<T> = Box<dyn FnOnce(Result<T, i32>) + Send>;

/// So long a request waits before anybody looks at who waits for it, in microseconds.
const PATIENCE: Time = 100_000;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Signal 9, as a bit of `/proc/TID/status`. Every thread that is to die gets it, whichever signal kills it.
const SIGKILL: u64 = 1 << 8;

/// What makes a waiting program give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivesUp {
    /// A signal that ends it: as for a local disk.
    WhenKilled,
    /// Any that it does not block or ignore: as for a lock.
    WhenSignalled,
}

/// One request of the kernel; copies are the same one.
pub struct Ask<T>(Arc<Inner<T>>);

struct Inner<T> {
    reply: Mutex<Option<Reply<T>>>,
    thread: u32,
    gives_up: GivesUp,
    stop: Mutex<Stop>,
}

impl<T> Drop for Inner<T> {
    /// Nobody is left who could answer: a fault of ours, and its program must not wait forever.
    fn drop(&mut self) {
        if let Some(reply) = self.reply.get_mut().take() {
            tracing::error!(
                thread = self.thread,
                "a request was dropped unanswered: its program is told of an input/output error"
            );
            reply(Err(libc::EIO));
        }
    }
}

/// How a wait is given up where somebody else must agree.
#[derive(Default)]
enum Stop {
    /// Nobody need.
    #[default]
    None,
    /// By asking for it.
    Ask(Box<dyn FnOnce() + Send>),
    /// That was done.
    Asked,
}

/// What a program is told. Of an input/output error the journal has the reason: nobody else can say it.
fn errno(thread: u32, error: &Error) -> i32 {
    let errno = error.kind.errno();
    if errno == libc::EIO {
        tracing::warn!(%error, thread, "a program is told of an input/output error");
    }
    errno
}

impl<T> Clone for Ask<T> {
    fn clone(&self) -> Ask<T> {
        Ask(self.0.clone())
    }
}

impl<T: Send + 'static> Ask<T> {
    /// A request that `thread` waits for.
    pub fn new(thread: u32, gives_up: GivesUp, reply: Reply<T>) -> Ask<T> {
        Ask(Arc::new(Inner {
            reply: Mutex::new(Some(reply)),
            thread,
            gives_up,
            stop: Mutex::default(),
        }))
    }

    /// The thread that waits.
    pub fn thread(&self) -> u32 {
        self.0.thread
    }

    /// Who gives up calls `stop` first; its answer is the request's own, but for a program that is killed.
    pub fn stop_by(&self, stop: impl FnOnce() + Send + 'static) {
        *self.0.stop.lock() = Stop::Ask(Box::new(stop));
        if self.is_over() {
            self.0.stop(); // perhaps a program that was killed; after an answer it does nothing
        }
    }

    /// Whether it was asked to stop.
    pub fn is_stopped(&self) -> bool {
        matches!(*self.0.stop.lock(), Stop::Asked)
    }

    /// Answers it, unless it was answered. `make` runs only then, so that it may count what the kernel is told.
    pub fn answer_with(&self, make: impl FnOnce() -> Result<T>) {
        if let Some(reply) = self.take() {
            reply(make().map_err(|error| errno(self.thread(), &error)));
        }
    }

    /// Answers it, unless it was answered.
    pub fn answer(&self, result: Result<T>) {
        self.answer_with(|| result);
    }

    /// Answers it with an errno that no kind of ours has.
    pub fn refuse(&self, errno: i32) {
        if let Some(reply) = self.take() {
            reply(Err(errno));
        }
    }

    /// Nobody waits for it any more.
    pub fn is_over(&self) -> bool {
        self.0.reply.lock().is_none()
    }

    /// The right to answer, once.
    fn take(&self) -> Option<Reply<T>> {
        self.0.reply.lock().take()
    }
}

/// What may be given up, whatever it is.
trait Given: Send + Sync {
    fn is_over(&self) -> bool;
    fn waits(&self) -> (u32, GivesUp);
    fn give_up(&self, signal: Signal);
}

impl<T: Send + 'static> Given for Inner<T> {
    fn is_over(&self) -> bool {
        self.reply.lock().is_none()
    }

    fn waits(&self) -> (u32, GivesUp) {
        (self.thread, self.gives_up)
    }

    fn give_up(&self, signal: Signal) {
        let has_stopped = self.stop();
        if has_stopped && signal == Signal::Other {
            return;
        }
        let reply = self.reply.lock().take();
        if let Some(reply) = reply {
            reply(Err(libc::EINTR));
        }
    }
}

impl<T> Inner<T> {
    /// Asks for the end of the wait, once; false if nobody need be asked.
    fn stop(&self) -> bool {
        let mut stop = self.stop.lock();
        if matches!(*stop, Stop::None) {
            return false;
        }
        let ask = std::mem::replace(&mut *stop, Stop::Asked);
        drop(stop);
        if let Stop::Ask(ask) = ask {
            ask();
        }
        true
    }
}

/// All that wait, of one mount.
pub struct Waiting {
    clock: Arc<dyn Clock>,
    list: Mutex<List>,
    wake: Condvar,
}

#[derive(Default)]
struct List {
    asks: Vec<(Time, Arc<dyn Given>)>,
    late: Vec<(Time, Box<dyn FnOnce() + Send>)>,
    is_closed: bool,
}

/// What one look finds.
struct Found {
    waiting: Vec<Arc<dyn Given>>,
    late: Vec<Box<dyn FnOnce() + Send>>,
}

impl Waiting {
    /// Nobody waits.
    pub fn new(clock: Arc<dyn Clock>) -> Waiting {
        Waiting {
            clock,
            list: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    /// To be told of each request that its thread could not answer at once.
    pub fn watch<T: Send + 'static>(&self, ask: &Ask<T>) {
        if ask.is_over() {
            return;
        }
        let mut list = self.list.lock();
        list.asks.push((self.clock.now(), ask.0.clone()));
        self.wake.notify_one();
    }

    /// Does something after `micros`: what has an answer by then sees to it that this does nothing.
    pub fn later(&self, micros: Time, late: impl FnOnce() + Send + 'static) {
        let mut list = self.list.lock();
        list.late.push((self.clock.now() + micros, Box::new(late)));
        self.wake.notify_one();
    }

    /// Looks after them until [`Waiting::close`]: the body of a thread.
    pub fn run(&self) {
        while let Some(found) = self.look() {
            for ask in found.waiting {
                let (thread, gives_up) = ask.waits();
                if let Some(signal) = signal(thread, gives_up) {
                    ask.give_up(signal);
                }
            }
            found.late.into_iter().for_each(|late| late());
            std::thread::sleep(LOOK);
        }
    }

    fn look(&self) -> Option<Found> {
        let mut list = self.list.lock();
        while list.asks.is_empty() && list.late.is_empty() && !list.is_closed {
            self.wake.wait(&mut list);
        }
        if list.is_closed {
            return None;
        }
        let now = self.clock.now();
        list.asks.retain(|(_, ask)| !ask.is_over());
        let due = list.asks.iter().filter(|(since, _)| since + PATIENCE <= now);
        let waiting = due.map(|(_, ask)| ask.clone()).collect();
        let late = list
            .late
            .extract_if(.., |(at, _)| *at <= now)
            .map(|(_, late)| late)
            .collect();
        Some(Found { waiting, late })
    }

    /// Ends [`Waiting::run`].
    pub fn close(&self) {
        self.list.lock().is_closed = true;
        self.wake.notify_all();
    }
}

/// What makes a thread give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    /// It is to die.
    Kill,
    /// Something that it does not block or ignore.
    Other,
}

/// The signal that makes a thread give up. One that is gone does not wait.
fn signal(thread: u32, gives_up: GivesUp) -> Option<Signal> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    signal_in(&status, gives_up)
}

/// `status` is the text of `/proc/TID/status`.
fn signal_in(status: &str, gives_up: GivesUp) -> Option<Signal> {
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
            .unwrap_or(0)
    };
    let own = mask("SigPnd:");
    let all = own | mask("ShdPnd:");
    let is_other = gives_up == GivesUp::WhenSignalled && all & !mask("SigBlk:") & !mask("SigIgn:") != 0;
    match (all & SIGKILL != 0, is_other) {
        (true, _) => Some(Signal::Kill),
        (false, true) => Some(Signal::Other),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use baton_types::ManualClock;

    use super::*;

    fn status(pending: &str, shared: &str, blocked: &str, ignored: &str) -> String {
        format!(
            "Name:\tcat\nThreads:\t1\nSigPnd:\t{pending}\nShdPnd:\t{shared}\nSigBlk:\t{blocked}\nSigIgn:\t{ignored}\n"
        )
    }

    #[test]
    fn a_killed_program_gives_up_and_a_signalled_one_only_its_lock() {
        let killed = status("0000000000000100", "0", "0", "0");
        assert_eq!(signal_in(&killed, GivesUp::WhenKilled), Some(Signal::Kill));
        assert_eq!(signal_in(&killed, GivesUp::WhenSignalled), Some(Signal::Kill));
        let alarm = status("0", "0000000000002000", "0", "0");
        assert_eq!(signal_in(&alarm, GivesUp::WhenKilled), None);
        assert_eq!(signal_in(&alarm, GivesUp::WhenSignalled), Some(Signal::Other));
    }

    #[test]
    fn a_blocked_or_ignored_signal_moves_nobody() {
        for quiet in [
            status("0", "0000000000002000", "0000000000002000", "0"),
            status("0", "0000000000010000", "0", "0000000000010000"),
            String::new(),
        ] {
            assert_eq!(signal_in(&quiet, GivesUp::WhenSignalled), None);
        }
    }

    #[test]
    fn the_first_answer_is_the_only_one() {
        let (tell, hear) = mpsc::channel();
        let ask = Ask::new(
            0,
            GivesUp::WhenKilled,
            Box::new(move |r: Result<u32, i32>| tell.send(r).unwrap()),
        );
        ask.answer(Ok(7));
        ask.refuse(libc::EIO);
        ask.answer_with(|| unreachable!("nobody waits"));
        assert_eq!(hear.try_iter().collect::<Vec<_>>(), [Ok(7)]);
        assert!(ask.is_over());
    }

    #[test]
    fn a_request_that_nobody_can_answer_any_more_is_an_error() {
        let (tell, hear) = mpsc::channel();
        let reply = Box::new(move |r: Result<u32, i32>| tell.send(r).unwrap());
        drop(Ask::new(0, GivesUp::WhenKilled, reply));
        assert_eq!(hear.try_iter().collect::<Vec<_>>(), [Err(libc::EIO)]);
    }

    #[test]
    fn a_wait_that_somebody_else_ends_is_answered_by_him_unless_the_program_is_killed() {
        let ask = || {
            let (tell, hear) = mpsc::channel();
            let told = tell.clone();
            let reply = Box::new(move |result: Result<(), i32>| tell.send(format!("{result:?}")).unwrap());
            let ask = Ask::new(0, GivesUp::WhenSignalled, reply);
            ask.stop_by(move || told.send("stop".to_owned()).unwrap());
            (ask, move || hear.try_iter().collect::<Vec<_>>())
        };
        let (signalled, heard) = ask();
        signalled.0.give_up(Signal::Other);
        signalled.0.give_up(Signal::Other);
        assert_eq!(heard(), ["stop"]);
        assert!(signalled.is_stopped() && !signalled.is_over());
        signalled.answer(Ok(()));
        assert_eq!(heard(), ["Ok(())"]);
        let (killed, heard) = ask();
        killed.0.give_up(Signal::Kill);
        assert_eq!(heard(), ["stop", &format!("Err({})", libc::EINTR)]);
        // It was killed before anybody knew how to end its wait.
        let (late, hear) = mpsc::channel();
        killed.stop_by(move || late.send(()).unwrap());
        assert!(hear.try_recv().is_ok());
    }

    #[test]
    fn a_healthy_thread_waits_and_what_is_late_is_done() {
        let clock = ManualClock::default();
        let waiting = Arc::new(Waiting::new(Arc::new(clock.clone())));
        let (tell, hear) = mpsc::channel();
        // This very thread: it lives, nobody signals it.
        let ask = Ask::new(
            std::process::id(),
            GivesUp::WhenSignalled,
            Box::new(move |r: Result<(), i32>| {
                tell.send(r).unwrap();
            }),
        );
        waiting.watch(&ask);
        let (tell, late) = mpsc::channel();
        waiting.later(PATIENCE, move || tell.send(()).unwrap());
        clock.advance(PATIENCE);
        let looker = {
            let waiting = waiting.clone();
            std::thread::spawn(move || waiting.run())
        };
        late.recv().unwrap();
        ask.answer(Ok(()));
        waiting.close();
        looker.join().unwrap();
        assert_eq!(hear.try_iter().collect::<Vec<_>>(), [Ok(())]);
    }
}
