//! Threads that look after all sessions of a mount, asked or not.

use std::sync::{Arc, Weak};
use std::time::Duration;

use baton_types::{AggregateId, Time};

use super::alarm::Alarm;
use super::session::Session;
use super::{Sessions, waiter};

/// Between looks at who may own an aggregate next.
const STANDBYS_EVERY: Duration = Duration::from_secs(1);
/// Between looks at sessions that want nothing.
const LOOK_MICROS: Time = 1_000_000;
/// The least between two looks.
const LOOK_MICROS_MIN: Time = 1_000;

/// Has connections to the standbys of all sessions, until there are none.
pub(super) fn keep_standbys(sessions: &Weak<Sessions>) {
    waiter::must_not_wait();
    loop {
        let (standbys, beforehand) = {
            let Some(sessions) = sessions.upgrade() else { return };
            let aggregates: Vec<AggregateId> = sessions.sessions.lock().keys().copied().collect();
            (sessions.locator.standbys(&aggregates), sessions.dial.clone())
        };
        beforehand.keep(&standbys);
        drop(beforehand);
        std::thread::sleep(STANDBYS_EVERY);
    }
}

/// Looks at all sessions whenever one of them wants it.
pub(super) fn keep(sessions: &Weak<Sessions>, alarm: &Alarm) {
    waiter::must_not_wait();
    loop {
        let Some(sessions) = sessions.upgrade() else { return };
        alarm.listen();
        let now = sessions.setup.clock.now();
        let all: Vec<Arc<Session>> = sessions.sessions.lock().values().cloned().collect();
        let mut next = now + LOOK_MICROS;
        for session in &all {
            session.look(&sessions, now);
            next = next.min(session.wake_at());
        }
        let now = sessions.setup.clock.now();
        drop((all, sessions));
        if !alarm.sleep(now, next.max(now + LOOK_MICROS_MIN)) {
            return;
        }
    }
}
