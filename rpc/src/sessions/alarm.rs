//! When the next session wants to be looked at.

use std::time::Duration;

use baton_types::Time;
use parking_lot::{Condvar, Mutex};

/// Shared by the thread that looks and those who want it to.
#[derive(Default)]
pub(super) struct Alarm {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// When the sleeper wakes by itself; 0: it does not sleep.
    at: Time,
    is_rung: bool,
    is_over: bool,
}

impl Alarm {
    /// Somebody wants to be looked at then.
    pub(super) fn wake_by(&self, at: Time) {
        let mut state = self.state.lock();
        if at < state.at {
            state.is_rung = true;
            self.changed.notify_one();
        }
    }

    /// Something happened: look now.
    pub(super) fn ring(&self) {
        self.state.lock().is_rung = true;
        self.changed.notify_one();
    }

    /// There is nothing to be looked at any more.
    pub(super) fn end(&self) {
        self.state.lock().is_over = true;
        self.changed.notify_one();
    }

    /// From here on whoever wants to be looked at is heard, also before [`Alarm::sleep`].
    pub(super) fn listen(&self) {
        let mut state = self.state.lock();
        (state.at, state.is_rung) = (Time::MAX, false);
    }

    /// Sleeps from `now` until `at`, or until it rings; false when all is over.
    pub(super) fn sleep(&self, now: Time, at: Time) -> bool {
        let mut state = self.state.lock();
        if !state.is_rung && !state.is_over && at > now {
            state.at = at;
            self.changed.wait_for(&mut state, Duration::from_micros(at - now));
        }
        !state.is_over
    }
}
