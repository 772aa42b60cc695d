//! The gate: two servers on two OS threads, interleaved at every device operation, and yet one history per seed.
//!
//! Each server has a *seat*. A seated thread runs from one operation to the next and waits there; while it waits the
//! scheduler, on the test's own thread, chooses who goes on or who crashes. Exactly one thread runs at any time.
//!
//! | seat | by | becomes |
//! |---|---|---|
//! | waiting | `go` | running |
//! | waiting | `crash` | crashed: the operation fails, and all after it, until the thread ends |
//! | running | its next operation | waiting |
//! | running, crashed | its thread ends | ended |

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use baton_types::{Error, Kind, Result};
use parking_lot::{Condvar, Mutex};

/// How long a thread may run between two operations before the test is told that it hangs: never in a sound one.
const HANG: Duration = Duration::from_secs(120);

/// Which seat, counted from 0 in the order they were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeatId(pub usize);

/// What a waiting seat is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Begin at all.
    Start,
    /// Go on, at a place of its own choice.
    Pause,
    /// Read.
    Read {
        /// Where.
        offset: u64,
        /// How much.
        len: usize,
    },
    /// Land a write, or a part of it: `offset` and `len` span the part.
    Write {
        /// Where.
        offset: u64,
        /// How much.
        len: usize,
    },
    /// Flush.
    Flush,
    /// Discard.
    Discard {
        /// Where.
        offset: u64,
        /// How much.
        len: u64,
    },
}

/// The seat's incarnation is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crashed {
    /// In this very operation, which may have begun.
    Here,
    /// Before it.
    Before,
}

/// What a scheduler decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This seat goes on to its next operation.
    Go(SeatId),
    /// This seat crashes in the operation that it waits for.
    Crash(SeatId),
}

enum State {
    Waiting(Step),
    Running,
    Crashed,
    Ended,
}

#[derive(Default)]
struct Shared {
    seats: Mutex<Vec<State>>,
    changed: Condvar,
}

/// Who may go on.
#[derive(Default)]
pub struct Gate {
    shared: Arc<Shared>,
    threads: Mutex<Vec<Option<JoinHandle<()>>>>,
}

impl Gate {
    /// A gate without seats.
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Takes a seat for `server`, which runs on a thread of its own once it is let go.
    pub fn spawn(&self, server: impl FnOnce(Seat) + Send + 'static) -> SeatId {
        let mut threads = self.threads.lock();
        let id = SeatId(threads.len());
        self.shared.seats.lock().push(State::Waiting(Step::Start));
        let seat = Seat {
            shared: Arc::clone(&self.shared),
            id,
        };
        threads.push(Some(std::thread::spawn(move || {
            let _end = End(seat.clone());
            if seat.wait(Step::Start).is_ok() {
                server(seat);
            }
        })));
        id
    }

    /// Waits until no thread runs; every seat that waits, and for what.
    ///
    /// # Panics
    /// With a server's own panic, or if one neither asks nor ends for two minutes.
    pub fn waiting(&self) -> Vec<(SeatId, Step)> {
        let mut seats = self.shared.seats.lock();
        while seats.iter().any(|seat| matches!(seat, State::Running | State::Crashed)) {
            let late = self.shared.changed.wait_for(&mut seats, HANG);
            assert!(
                !late.timed_out(),
                "a seated thread waits for something that is not the gate"
            );
        }
        let ended: Vec<usize> = (0..seats.len())
            .filter(|&id| matches!(seats[id], State::Ended))
            .collect();
        let waiting = seats.iter().enumerate().filter_map(|(id, seat)| match seat {
            State::Waiting(step) => Some((SeatId(id), *step)),
            State::Running | State::Crashed | State::Ended => None,
        });
        let waiting = waiting.collect();
        drop(seats);
        for id in ended {
            let thread = self.threads.lock()[id].take();
            if let Some(Err(panic)) = thread.map(JoinHandle::join) {
                std::panic::resume_unwind(panic);
            }
        }
        waiting
    }

    /// Lets a waiting seat go on.
    ///
    /// # Panics
    /// If it does not wait.
    pub fn go(&self, id: SeatId) {
        self.decide(id, State::Running);
    }

    /// Crashes a waiting seat: its operation fails, and what it was writing may land later.
    ///
    /// # Panics
    /// If it does not wait.
    pub fn crash(&self, id: SeatId) {
        self.decide(id, State::Crashed);
    }

    fn decide(&self, SeatId(id): SeatId, state: State) {
        let mut seats = self.shared.seats.lock();
        assert!(matches!(seats[id], State::Waiting(_)), "seat {id} does not wait");
        seats[id] = state;
        self.shared.changed.notify_all();
    }

    /// Asks `choose` until every thread ended. It may spawn servers and hurt the disk: nothing runs meanwhile.
    pub fn run(&self, mut choose: impl FnMut(&Gate, &[(SeatId, Step)]) -> Choice) {
        loop {
            let waiting = self.waiting();
            if waiting.is_empty() {
                return;
            }
            match choose(self, &waiting) {
                Choice::Go(id) => self.go(id),
                Choice::Crash(id) => self.crash(id),
            }
        }
    }
}

/// No thread outlives its test: who still waits is crashed.
impl Drop for Gate {
    fn drop(&mut self) {
        for seat in self.shared.seats.lock().iter_mut() {
            if matches!(seat, State::Waiting(_)) {
                *seat = State::Crashed;
            }
        }
        self.shared.changed.notify_all();
        for thread in self.threads.lock().iter_mut().filter_map(Option::take) {
            drop(thread.join());
        }
    }
}

/// One server's place at the gate.
#[derive(Clone)]
pub struct Seat {
    shared: Arc<Shared>,
    id: SeatId,
}

impl Seat {
    /// Which it is.
    pub fn id(&self) -> SeatId {
        self.id
    }

    /// Lets others go first, at a place that is not a device operation.
    ///
    /// # Errors
    /// `Io` once the seat has crashed.
    pub fn pause(&self) -> Result<()> {
        let crashed = |_| Error::new(Kind::Io, format!("{self}")).because("its incarnation has stopped");
        self.wait(Step::Pause).map_err(crashed)
    }

    /// Waits until the scheduler lets `step` be done.
    pub(super) fn wait(&self, step: Step) -> Result<(), Crashed> {
        let SeatId(id) = self.id;
        let mut seats = self.shared.seats.lock();
        if matches!(seats[id], State::Crashed) {
            return Err(Crashed::Before);
        }
        // A new thread finds its seat waiting already, or let go already.
        if step != Step::Start {
            seats[id] = State::Waiting(step);
            self.shared.changed.notify_all();
        }
        loop {
            match seats[id] {
                State::Running => return Ok(()),
                State::Crashed => return Err(Crashed::Here),
                State::Waiting(_) => self.shared.changed.wait(&mut seats),
                State::Ended => unreachable!("the thread of seat {id} ended"),
            }
        }
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seat {}", self.id.0)
    }
}

/// Gives the seat up when its thread ends, also by a panic.
struct End(Seat);

impl Drop for End {
    fn drop(&mut self) {
        let Seat { shared, id } = &self.0;
        shared.seats.lock()[id.0] = State::Ended;
        shared.changed.notify_all();
    }
}
