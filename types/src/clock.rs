//! Time, from a trait, so that a simulation can own it.
//!
//! Intervals are measured by a clock that counts suspended time (`CLOCK_BOOTTIME`): a laptop that slept
//! through its lifetime must know. Dates are for people and certificates only; no safety rests on them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Microseconds of one node's own clock since some fixed moment; comparable on that node only.
pub type Time = u64;

/// A date: nanoseconds since 1970, as file times are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This date and `seconds` more, kept within what can be said.
    #[must_use]
    pub fn plus_seconds(self, seconds: u64) -> Timestamp {
        let nanos = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
        Timestamp(self.0.saturating_add(nanos))
    }

    /// Whole seconds since 1970.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.seconds(), self.0.rem_euclid(1_000_000_000))
    }
}

/// Where a daemon gets its time from.
pub trait Clock: Send + Sync {
    /// Microseconds since boot, suspended time included.
    fn now(&self) -> Time;
    /// The date, for people and certificates.
    fn date(&self) -> Timestamp;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Time {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        t.tv_sec.unsigned_abs() * 1_000_000 + t.tv_nsec.unsigned_abs() / 1_000
    }

    fn date(&self) -> Timestamp {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        Timestamp(t.tv_sec.saturating_mul(1_000_000_000).saturating_add(t.tv_nsec))
    }
}

/// A clock that a test turns by hand; copies show the same time.
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    now: Arc<AtomicU64>,
    date: Arc<AtomicI64>,
}

impl ManualClock {
    /// Lets `micros` pass.
    pub fn advance(&self, micros: u64) {
        self.now.fetch_add(micros, Ordering::SeqCst);
        self.date
            .fetch_add(i64::try_from(micros * 1_000).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Sets the date alone, as an administrator with a wrong watch would.
    pub fn set_date(&self, date: Timestamp) {
        self.date.store(date.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        self.now.load(Ordering::SeqCst)
    }

    fn date(&self) -> Timestamp {
        Timestamp(self.date.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_clock_never_goes_back() {
        let clock = BootClock;
        let mut last = clock.now();
        for _ in 0..1_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn manual_clock_moves_date_and_time_together() {
        let clock = ManualClock::default();
        let copy = clock.clone();
        clock.advance(2_000_000);
        assert_eq!((copy.now(), copy.date().seconds()), (2_000_000, 2));
    }
}
