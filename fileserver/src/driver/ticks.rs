//! Time: looks for those who wait for one, durable marks, and what the state wants to be woken for.

use std::sync::Arc;
use std::time::Duration;

use baton_types::call::Push;
use baton_types::{Clock, Time};

use super::Driver;
use crate::state::Event;

/// Looks for renewals are this far apart at least: one serves all that came meanwhile.
const LOOK_EVERY: Time = 10_000;
/// Durable marks are this far apart at least: a client has room for 64 MiB until then.
const MARK_EVERY: Time = 20_000;
/// How late time may be noticed.
const IDLE: Time = 250_000;

impl Driver {
    /// What the thread does all the time.
    pub(super) fn tick(self: &Arc<Self>) {
        let clock = self.house.clock.clone();
        let (mut looked_at, mut marked_at) = (0, 0);
        loop {
            self.sleep(&*clock, (looked_at, marked_at));
            let core = self.core.lock();
            if core.is_stopped {
                return;
            }
            let wake_at = core.state.wake_at();
            drop(core);
            let now = clock.now();
            if now >= looked_at + LOOK_EVERY && self.look() {
                looked_at = now;
            }
            if now >= marked_at + MARK_EVERY && self.mark() {
                marked_at = now;
            }
            self.durable.settle(self.aggregate());
            if wake_at.is_some_and(|at| at <= now) {
                self.step(Event::Wake);
            }
        }
    }

    /// Until something is due, or may be.
    fn sleep(&self, clock: &dyn Clock, (looked_at, marked_at): (Time, Time)) {
        let wake_at = self.core.lock().state.wake_at();
        let mut looks = self.looks.lock();
        let now = clock.now();
        let mut until = wake_at.map_or(now + IDLE, |at| at.min(now + IDLE));
        if looks.wants_marks {
            until = until.min(marked_at + MARK_EVERY);
        }
        if !looks.pending.is_empty() {
            until = until.min(looked_at + LOOK_EVERY);
        }
        let left = Duration::from_micros(until.saturating_sub(now));
        if !left.is_zero() {
            self.ticks.wait_for(&mut looks, left);
        }
    }

    /// Looks at the slots, if anybody waits for that; true if so.
    fn look(&self) -> bool {
        let pending = std::mem::take(&mut self.looks.lock().pending);
        if pending.is_empty() {
            return false;
        }
        let looked = self.aggregate().look();
        pending.into_iter().for_each(|then| then(looked.clone()));
        true
    }

    /// Tells clients that wait for it up to where everything is durable; true if anybody may wait.
    fn mark(&self) -> bool {
        if !std::mem::take(&mut self.looks.lock().wants_marks) {
            return false;
        }
        let sessions: Vec<_> = self.sessions.read().values().cloned().collect();
        let durable = self.aggregate().durable().0;
        for session in &sessions {
            if session.wants_mark(durable) {
                let aggregate = self.export.id;
                self.push(session.client, Push::Durable { aggregate, durable });
            }
        }
        if sessions.iter().any(|session| session.is_behind()) {
            self.looks.lock().wants_marks = true;
        }
        true
    }

    /// A client was told of a change that is not durable: it waits for a mark.
    pub(super) fn want_marks(&self) {
        if !std::mem::replace(&mut self.looks.lock().wants_marks, true) {
            self.ticks.notify_all();
        }
    }
}
