//! Pulse: whether what every call goes through still moves on.
//!
//! A beat that comes from a thread of its own goes on beating in a server that is stuck. So it carries how long ago the
//! slowest of the loops last went round: each sets a mark, again and again, among its other work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use baton_types::beat::Sign;
use baton_types::{Clock, Incarnation, Time};
use parking_lot::Mutex;

/// Between two marks of a loop that has nothing else to do.
const MARK_EVERY: Duration = Duration::from_millis(50);

/// The marks of all loops.
pub struct Pulse {
    clock: Arc<dyn Clock>,
    marks: Mutex<Vec<Arc<AtomicU64>>>,
}

/// Signs of life: what this server says of itself, in its beats and to whoever asks.
pub struct Vitals {
    run: Incarnation,
    pulse: Arc<Pulse>,
    /// Beats so far.
    beats: AtomicU64,
}

impl Vitals {
    /// Of this run, which has not beaten yet.
    pub fn new(run: Incarnation, pulse: Arc<Pulse>) -> Vitals {
        Vitals {
            run,
            pulse,
            beats: AtomicU64::new(0),
        }
    }

    /// One more beat.
    pub fn beat(&self) -> Sign {
        self.beats.fetch_add(1, Ordering::Relaxed);
        self.sign()
    }

    /// The newest beat, as it is now.
    pub fn sign(&self) -> Sign {
        Sign {
            incarnation: self.run,
            sequence: self.beats.load(Ordering::Relaxed),
            gate_micros: self.pulse.age(),
        }
    }
}

/// One loop's.
pub struct Mark {
    clock: Arc<dyn Clock>,
    at: Arc<AtomicU64>,
}

impl Pulse {
    /// No loop has a mark here yet.
    pub fn new(clock: Arc<dyn Clock>) -> Pulse {
        Pulse {
            clock,
            marks: Mutex::default(),
        }
    }

    /// For one more loop, which is set now.
    pub fn mark(&self) -> Mark {
        let at = Arc::new(AtomicU64::new(self.clock.now()));
        self.marks.lock().push(at.clone());
        let clock = self.clock.clone();
        Mark { clock, at }
    }

    /// How long ago the oldest mark was set.
    pub fn age(&self) -> Time {
        let marks = self.marks.lock();
        let oldest = marks.iter().map(|at| at.load(Ordering::Relaxed)).min();
        oldest.map_or(0, |oldest| self.clock.now().saturating_sub(oldest))
    }
}

impl Mark {
    /// Sets it for as long as the loop that this runs in goes round.
    pub async fn keep(self) {
        loop {
            self.set();
            tokio::time::sleep(MARK_EVERY).await;
        }
    }

    fn set(&self) {
        self.at.store(self.clock.now(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use baton_types::ManualClock;

    use super::*;

    #[test]
    fn the_slowest_loop_counts() {
        let clock = Arc::new(ManualClock::default());
        let pulse = Pulse::new(clock.clone());
        assert_eq!(pulse.age(), 0);
        let (one, other) = (pulse.mark(), pulse.mark());
        clock.advance(300);
        one.set();
        assert_eq!(pulse.age(), 300);
        other.set();
        assert_eq!(pulse.age(), 0);
    }
}
