//! Calls about the session itself, and what the state says to them.

use std::sync::Arc;

use baton_aggregate::fileset as store;
use baton_aggregate::transaction::SessionId;
use baton_types::call::{Answer, Hold, Request};
use baton_types::{Error, Fid, FilesetId, Kind, Result};
use bytes::Bytes;

use super::calls::Patience;
use super::{Driver, Parked, given_up};
use crate::service::{Call, Reply};
use crate::session::Session;
use crate::shape;
use crate::state::{Call as Ask, Event, Told};

/// What the state is asked by a request; `None`: it is not for it to answer.
pub(super) fn ask_of(request: &Request) -> Option<Ask> {
    Some(match request {
        Request::Renew => Ask::Renew,
        Request::Unbind => Ask::Unbind,
        Request::Join { fileset, coming } => Ask::Join(*fileset, *coming),
        Request::Reclaimed { fileset } => Ask::Reclaimed(*fileset),
        Request::Return { fileset, serial } => Ask::Return(*fileset, *serial),
        Request::Leave { fileset } => Ask::Leave(*fileset),
        Request::Open { fid } => Ask::Open(*fid),
        Request::Close { fid } => Ask::Close(*fid),
        Request::Lock { fid, lock, patience } => Ask::Lock(*fid, *lock, *patience),
        _ => return None,
    })
}

impl Driver {
    /// What follows from the state's word.
    pub(super) fn told(self: &Arc<Self>, parked: Parked, told: Told) {
        match (&parked.call.request, told) {
            (Request::Bind { .. }, _) => self.bound(parked),
            (Request::Renew, _) => self.renewed(parked.session, parked.reply),
            (Request::Join { fileset, .. }, Told::Joined { hold, serial }) => {
                let fileset = *fileset;
                self.joined(parked, fileset, (hold, serial), Patience::None);
            }
            (Request::Open { fid }, _) => {
                let fid = *fid;
                self.opened(parked, fid, Patience::None);
            }
            (Request::Lock { .. }, Told::Done) => (parked.reply)(Ok((Answer::InTheWay(None), Bytes::new()))),
            (_, Told::InTheWay(lock)) => (parked.reply)(Ok((Answer::InTheWay(Some(lock)), Bytes::new()))),
            (_, Told::Done | Told::Joined { .. }) => (parked.reply)(Ok((Answer::Done, Bytes::new()))),
        }
    }

    /// A renewal counts when a look that began after it arrived has passed.
    fn renewed(self: &Arc<Self>, session: Arc<Session>, reply: Reply) {
        let driver = self.clone();
        self.when_looked(Box::new(move |looked| {
            reply(looked.map_err(Into::into).map(|()| {
                let durable = driver.aggregate().durable().0;
                session.tell(0, durable);
                let date = driver.house.clock.date();
                (Answer::Renewed { date, durable }, Bytes::new())
            }));
        }));
    }

    fn joined(self: &Arc<Self>, parked: Parked, id: FilesetId, (hold, serial): (Hold, u64), patience: Patience) {
        let root = self.fileset(id, patience).and_then(|fileset| {
            let root = fileset.read(|view| store::root(view, id))?;
            let root = shape::object(&root)?;
            Ok(shape::in_branch(Answer::Joined { hold, serial, root }, fileset.began()))
        });
        match root {
            Err(error) if error.kind == Kind::Wait && patience == Patience::None => {
                self.later(move |driver| driver.joined(parked, id, (hold, serial), Patience::Wait));
            }
            root => {
                let outcome = root.map(|joined| (joined, Bytes::new()));
                self.tell(&parked.session, (id, hold), parked.reply, outcome.map_err(Into::into));
            }
        }
    }

    /// What is open must be there; the open came first, so that it stays.
    fn opened(self: &Arc<Self>, parked: Parked, fid: Fid, patience: Patience) {
        let there = self
            .fileset(fid.fileset, patience)
            .and_then(|fileset| fileset.read(|view| store::getattr(view, fid)));
        match there {
            Err(error) if error.kind == Kind::Wait && patience == Patience::None => {
                self.later(move |driver| driver.opened(parked, fid, Patience::Wait));
            }
            Ok(_) => (parked.reply)(Ok((Answer::Done, Bytes::new()))),
            Err(error) => {
                let mut core = self.core.lock();
                // Nobody waits for the answer to this one.
                let ticket = core.draw();
                core.step(
                    self.house.clock.now(),
                    &self.sessions,
                    Event::Call(parked.call.client, ticket, Ask::Close(fid)),
                );
                drop(core);
                self.drain();
                (parked.reply)(Err(error.into()));
            }
        }
    }

    /// More vnodes for a session: told when they are recorded.
    pub(super) fn vnodes(self: &Arc<Self>, session: &Session, fileset: FilesetId, reply: Reply) {
        let granted = {
            let _inside = self.door.enter();
            self.aggregate().grant_vnodes(SessionId(session.id), fileset)
        };
        match granted {
            Ok((lsn, range)) => {
                let answer = Answer::Vnodes {
                    first: range.first,
                    count: range.count,
                };
                self.when_durable(
                    lsn.0,
                    Box::new(move |durable: Result<()>| {
                        reply(durable.map(|()| (answer, Bytes::new())).map_err(Into::into));
                    }),
                );
            }
            Err(error) => reply(Err(error.into())),
        }
    }

    /// Answers when all up to `lsn` is durable, or all that there is.
    pub(super) fn sync(self: &Arc<Self>, session: &Arc<Session>, lsn: u64, reply: Reply) {
        let lsn = lsn.min(self.aggregate().last().0);
        let (driver, session) = (self.clone(), session.clone());
        self.when_durable(
            lsn,
            Box::new(move |durable: Result<()>| {
                reply(durable.map_err(Into::into).map(|()| {
                    let durable = driver.aggregate().durable().0;
                    session.tell(0, durable);
                    (Answer::Synced { durable }, Bytes::new())
                }));
            }),
        );
    }

    /// A program waits for a lock no more: it has it by now, or never gets it.
    pub(super) fn cancel_lock(self: &Arc<Self>, session: &Session, call: &Call, reply: Reply) {
        let Request::CancelLock { fid, lock } = call.request else {
            return;
        };
        let mut core = self.core.lock();
        if !session.uses(call.round) {
            drop(core);
            return reply(Err(given_up(session).into()));
        }
        let cancelled = Event::Cancel(call.client, fid, lock);
        core.step(self.house.clock.now(), &self.sessions, cancelled);
        let is_held = core.state.holds_lock(call.client, fid, lock);
        drop(core);
        self.drain();
        reply(match is_held {
            true => Ok((Answer::InTheWay(None), Bytes::new())),
            false => {
                let error = Error::new(Kind::TimedOut, format!("lock on file {fid}"));
                Err(error.because("the program waits no more").into())
            }
        });
    }

    /// The lock that is in the way of another one.
    pub(super) fn test_lock(&self, call: &Call, reply: Reply) {
        if let Request::TestLock { fid, lock } = &call.request {
            let other = self.core.lock().state.test_lock(call.client, *fid, *lock);
            reply(Ok((Answer::InTheWay(other), Bytes::new())));
        }
    }
}
