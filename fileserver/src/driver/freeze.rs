//! Freeze: before a planned move nothing changes any more, and nobody is refused.
//!
//! What comes is held back; what is under way ends. From then on what clients hold, and what the store has, stays as it
//! is until the driver is stopped, and who was held back asks the next owner; or is thawed, and all goes on.
//! A look that was admitted before may still be shown: it began before the move, and shows what was true then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use baton_types::{Error, Kind, Result};
use parking_lot::{Condvar, Mutex};

use super::{Driver, Parked};
use crate::handed::Handed;
use crate::service::{Call, Reply};
use crate::session::Session;
use crate::state;

/// A call that came while the driver was frozen.
pub(super) enum Held {
    /// The state answers it.
    Ask(Parked, state::Call),
    /// It goes to the store.
    Call(Arc<Session>, Call, Reply),
}

/// What every change of the store goes through.
#[derive(Default)]
pub(super) struct Door {
    state: Mutex<Passage>,
    changed: Condvar,
}

#[derive(Default)]
struct Passage {
    inside: usize,
    is_shut: bool,
}

/// A change under way.
pub(super) struct Inside<'a>(&'a Door);

impl Door {
    /// Begins a change: waits while the door is shut.
    pub(super) fn enter(&self) -> Inside<'_> {
        let mut state = self.state.lock();
        while state.is_shut {
            self.changed.wait(&mut state);
        }
        state.inside += 1;
        Inside(self)
    }

    /// The same without waiting; `None` while the door is shut.
    pub(super) fn try_enter(&self) -> Option<Inside<'_>> {
        let mut state = self.state.lock();
        if state.is_shut {
            return None;
        }
        state.inside += 1;
        Some(Inside(self))
    }

    /// Lets nobody in from now on; false if not all are out in time.
    fn shut(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let mut state = self.state.lock();
        state.is_shut = true;
        while state.inside > 0 {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return state.inside == 0;
            }
        }
        true
    }

    /// Lets everybody in again.
    pub(super) fn open(&self) {
        self.state.lock().is_shut = false;
        self.changed.notify_all();
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.state.lock().inside -= 1;
        self.0.changed.notify_all();
    }
}

impl Driver {
    /// Nothing changes from here on; what clients hold, for the next owner, unless that is not known yet. Waits for what
    /// is under way.
    ///
    /// # Errors
    /// `TimedOut` if that does not end `within`: then it is not frozen.
    pub fn freeze(self: &Arc<Self>, within: Duration) -> Result<Option<Handed>> {
        self.core.lock().frozen.get_or_insert_default();
        if self.door.shut(within) {
            return Ok(self.core.lock().state.handed());
        }
        self.thaw();
        let error = Error::new(Kind::TimedOut, format!("aggregate {}", self.export.name));
        Err(error.because(format!(
            "changes that are under way do not end within {} ms",
            within.as_millis()
        )))
    }

    /// All goes on.
    pub fn thaw(self: &Arc<Self>) {
        self.door.open();
        let held = self.core.lock().frozen.take().unwrap_or_default();
        for held in held {
            match held {
                Held::Ask(parked, call) => self.ask(parked, call),
                Held::Call(session, call, reply) => self.dispatch(&session, call, reply),
            }
        }
    }
}

impl Held {
    /// It is not done here any more.
    pub(super) fn refuse(self, error: Error) {
        match self {
            Held::Ask(Parked { reply, .. }, _) | Held::Call(_, _, reply) => reply(Err(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn door_shuts_when_all_are_out() {
        let door = Door::default();
        let inside = door.enter();
        assert!(!door.shut(Duration::from_millis(1)));
        assert!(door.try_enter().is_none());
        drop(inside);
        assert!(door.shut(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| drop(door.enter()));
            door.open();
            waits.join().unwrap();
        });
        assert!(door.try_enter().is_some());
    }
}
