//! Turns: changes of all connections, each run once and the ordered ones in order, with all who asked told.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use baton_rpc::session::server::{Arrived, Changes, Ended, Session};
use baton_types::{Error, Kind};
use parking_lot::Mutex;

use super::Shared;
use super::connection::Waiter;
use crate::service::{Call, Outcome, Refused, Service};

/// A change that is to run, and whose it is.
type Due = (Session, Call);

/// Changes that run or wait.
#[derive(Default)]
pub(super) struct Turns {
    changes: Mutex<Changes<Waiter, Call>>,
}

thread_local! {
    /// What became due while this thread runs a change: it is run after that one, not inside it.
    static DUE: RefCell<Option<VecDeque<Due>>> = const { RefCell::new(None) };
}

impl Turns {
    /// A session was taken up; `last` is the last of its ordered stream that ran. What waited for that and is due now
    /// is for [`run`], once the caller holds no lock.
    pub(super) fn bound(&self, session: Session, last: u32) -> Option<Call> {
        self.changes.lock().bound(session, last)
    }

    /// Nobody waits for what a session asked.
    pub(super) fn gone(&self, session: Session) {
        self.changes.lock().gone(session);
    }
}

/// What the client of a session says that it has seen: a change may have waited for just that.
pub(super) fn seen(shared: &Arc<Shared>, session: Session, seen: u32) {
    let due = shared.turns.changes.lock().seen(session, seen);
    run(shared, session, due);
}

/// Sees to a change of `session`.
pub(super) fn arrived(shared: &Arc<Shared>, session: Session, call: Call, waiter: Waiter) {
    let name = (call.stream, call.sequence);
    let arrived = shared.turns.changes.lock().arrived(session, name, waiter, call);
    match arrived {
        Arrived::Run(call) => run(shared, session, Some(call)),
        Arrived::Waits => {}
        Arrived::Refused(waiter, error) => waiter.answer(Err(error.into())),
    }
}

/// Runs what is due, if anything is.
pub(super) fn run(shared: &Arc<Shared>, session: Session, due: Option<Call>) {
    let Some(call) = due else { return };
    let is_inside = DUE.with_borrow_mut(|due| match due {
        Some(_) => true,
        None => {
            *due = Some(VecDeque::new());
            false
        }
    });
    if is_inside {
        DUE.with_borrow_mut(|due| due.get_or_insert_default().push_back((session, call)));
        return;
    }
    let mut next = Some((session, call));
    while let Some((session, call)) = next {
        begin(shared, &shared.service, session, call);
        next = DUE.with_borrow_mut(|due| due.as_mut().and_then(VecDeque::pop_front));
    }
    DUE.set(None);
}

fn begin(shared: &Arc<Shared>, service: &Service, session: Session, call: Call) {
    let turn = Turn {
        shared: shared.clone(),
        session,
        name: (call.stream, call.sequence),
        is_over: false,
    };
    service.call(call, Box::new(move |outcome| turn.over(outcome)));
}

/// A change that runs. Dropped before it is over, it was never run, and is asked for again by whoever still wants it.
struct Turn {
    shared: Arc<Shared>,
    session: Session,
    name: (u16, u32),
    is_over: bool,
}

impl Turn {
    fn over(mut self, outcome: Outcome) {
        self.is_over = true;
        let ended = match &outcome {
            Ok(_) | Err(Refused { lsn: 1.., .. }) => Ended::Recorded,
            Err(Refused { error, lsn: 0 }) => Ended::Refused(error),
        };
        let (waiters, due) = self.shared.turns.changes.lock().ended(self.session, self.name, &ended);
        for waiter in waiters {
            waiter.answer(outcome.clone());
        }
        run(&self.shared, self.session, due);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_over {
            let error = Error::new(Kind::Detached, "change").because("the store has stopped");
            let ended = Ended::Refused(&error);
            let (waiters, due) = self.shared.turns.changes.lock().ended(self.session, self.name, &ended);
            drop((waiters, due));
        }
    }
}
