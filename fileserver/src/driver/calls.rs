//! Calls on files: admitted, in turn, done by the store, told when they may be.

use std::cell::Cell;
use std::sync::Arc;

use baton_aggregate::aggregate::{Done, Fileset};
use baton_aggregate::fileset::{self as store, Object};
use baton_types::call::{Answer, Hold, Keep, Request};
use baton_types::{Error, Fid, FilesetId, Kind, Result};
use bytes::Bytes;

use super::control::ask_of;
use super::freeze::Held;
use super::{Driver, Parked};
use crate::ops::{self, Cx, Turn};
use crate::service::{Call, Outcome, Refused, Reply};
use crate::session::Session;
use crate::shape;
use crate::sharing::Seen;
use crate::state::{Admission, Errand, Event};

/// Whether the thread at hand may wait for the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as it takes: a thread of the pool.
    Wait,
    /// Not at all.
    None,
}

impl Driver {
    /// Sees to a call of `session`; `reply` hears of it, here or later.
    pub fn dispatch(self: &Arc<Self>, session: &Arc<Session>, call: Call, reply: Reply) {
        if let Some(ask) = ask_of(&call.request) {
            let (session, streams) = (session.clone(), Vec::new());
            let parked = Parked {
                session,
                call,
                reply,
                streams,
            };
            return self.ask(parked, ask);
        }
        if let Request::Sync { lsn } = call.request {
            return self.sync(session, lsn, reply);
        }
        let Some(fileset) = call.request.fileset() else {
            let error = Error::new(Kind::Invalid, format!("{:?}", call.request));
            return reply(Err(error.because("not a call of a session").into()));
        };
        let Some((call, reply, hold)) = self.admit(session, fileset, call, reply) else {
            return;
        };
        match call.request {
            Request::Vnodes { .. } => {
                let session = session.clone();
                self.later(move |driver| driver.vnodes(&session, fileset, reply));
            }
            Request::TestLock { .. } => self.test_lock(&call, reply),
            Request::CancelLock { .. } => self.cancel_lock(session, &call, reply),
            _ if call.request.is_change() => self.change(session, (call, reply), Patience::None),
            _ => self.look_at(session, (call, reply), hold, Patience::None),
        }
    }

    /// Whether a call may go on now: if so, with the hold that its client has; else it is parked, or refused.
    fn admit(
        &self,
        session: &Arc<Session>,
        fileset: FilesetId,
        call: Call,
        reply: Reply,
    ) -> Option<(Call, Reply, Hold)> {
        let errand = match call.request.is_change() {
            true => Errand::Change,
            false => Errand::Look,
        };
        let mut core = self.core.lock();
        if core.is_stopped {
            drop(core);
            reply(Err(self.detached().into()));
            return None;
        }
        if let Some(held) = &mut core.frozen {
            held.push(Held::Call(session.clone(), call, reply));
            return None;
        }
        let ticket = core.draw();
        let admission = core.state.admit(call.client, fileset, errand, ticket);
        let hold = core.state.hold(call.client, fileset);
        match (admission, hold) {
            (Ok(Admission::Now), Some(hold)) => Some((call, reply, hold)),
            (Ok(_), _) => {
                let (session, streams) = (session.clone(), Vec::new());
                let parked = Parked {
                    session,
                    call,
                    reply,
                    streams,
                };
                core.parked.insert(ticket, parked);
                None
            }
            (Err(error), _) => {
                drop(core);
                reply(Err(error.into()));
                None
            }
        }
    }

    /// The fileset: for one who may not wait, only if it was used lately.
    pub(super) fn fileset(&self, id: FilesetId, patience: Patience) -> Result<Fileset> {
        match patience {
            Patience::Wait => self.aggregate().fileset(id),
            Patience::None => {
                let at_hand = self.aggregate().fileset_at_hand(id);
                at_hand.ok_or_else(|| Error::new(Kind::Wait, format!("fileset {id}")))
            }
        }
    }

    /// Does a call that only shows something.
    fn look_at(self: &Arc<Self>, session: &Arc<Session>, (call, reply): (Call, Reply), hold: Hold, patience: Patience) {
        let Some(id) = call.request.fileset() else { return };
        let looked = self.fileset(id, patience).and_then(|fileset| {
            let lost = Cell::new(None);
            ops::look(&self.cx(&call, &fileset, &lost, &|_, keep| Ok(keep)), &call.request)
        });
        match looked {
            Err(error) if error.kind == Kind::Wait && patience == Patience::None => {
                let session = session.clone();
                self.later(move |driver| driver.look_at(&session, (call, reply), hold, Patience::Wait));
            }
            looked => self.tell(session, (id, hold), reply, looked.map_err(Into::into)),
        }
    }

    /// Does a changing call.
    fn change(self: &Arc<Self>, session: &Arc<Session>, (call, reply): (Call, Reply), patience: Patience) {
        let Some(id) = call.request.fileset() else { return };
        self.sharing.begin(id);
        let lost = Cell::new(None);
        let done = self.change_once((id, &call), &lost, patience);
        let lsn = done.as_ref().map_or(0, |done| done.lsn.0);
        self.sharing.end(id, call.client, lsn);
        if patience == Patience::None && done.as_ref().is_err_and(|error| error.kind == Kind::Wait) {
            let session = session.clone();
            return self.later(move |driver| driver.change(&session, (call, reply), Patience::Wait));
        }
        if let Some((fid, keep)) = lost.take().filter(|_| done.is_ok()) {
            self.lost(fid, keep);
        }
        let hold = self.core.lock().state.hold(call.client, id).unwrap_or(Hold::Shared);
        let outcome = self.changed(session, done);
        self.tell(session, (id, hold), reply, outcome);
    }

    fn change_once(
        &self,
        (id, call): (FilesetId, &Call),
        lost: &Cell<Option<(Fid, Keep)>>,
        patience: Patience,
    ) -> Result<Done<Object>> {
        let _inside = match patience {
            Patience::Wait => self.door.enter(),
            Patience::None => {
                let entered = self.door.try_enter();
                entered.ok_or_else(|| Error::new(Kind::Wait, format!("fileset {id}")))?
            }
        };
        let standing = self.core.lock().state.standing(id);
        let fileset = self.fileset(id, patience)?.standing(standing);
        let keeps = |fid, keep| self.keeps(call.client, fid, keep);
        ops::change(&self.cx(call, &fileset, lost, &keeps), &call.request, &call.payload)
    }

    pub(super) fn cx<'a>(
        &'a self,
        call: &'a Call,
        fileset: &'a Fileset,
        lost: &'a Cell<Option<(Fid, Keep)>>,
        keeps: &'a dyn Fn(Fid, Keep) -> Result<Keep>,
    ) -> Cx<'a> {
        let turn = Turn {
            session: call.session,
            stream: call.stream,
            sequence: call.sequence,
            seen: call.seen,
        };
        Cx {
            aggregate: self.aggregate(),
            fileset,
            who: &call.who,
            operation: ops::operation(turn, &call.who, &call.request),
            keeps,
            lost,
        }
    }

    /// What a client is told of its change.
    fn changed(&self, session: &Session, done: Result<Done<Object>>) -> Outcome {
        let Done { lsn, after, answer } = done?;
        let (lsn, durable) = (lsn.0, self.aggregate().durable().0);
        session.tell(lsn, durable);
        if lsn > durable {
            self.want_marks();
        }
        let refused = |error: Error| Refused {
            error: Box::new(error),
            lsn,
        };
        let object = answer.and_then(|object| shape::object(&object)).map_err(refused)?;
        let changed = Answer::Changed {
            object,
            lsn,
            durable,
            after,
        };
        Ok((changed, Bytes::new()))
    }

    /// A file has lost its last name. One that nobody keeps is gone by now, but for a large one, which goes in steps.
    fn lost(self: &Arc<Self>, fid: Fid, keep: Keep) {
        let is_left = || {
            self.fileset(fid.fileset, Patience::None)
                .and_then(|fileset| fileset.read(|view| store::is_orphan(view, fid.vnode)))
                .unwrap_or(true)
        };
        if keep == Keep::Open || is_left() {
            self.step(Event::Orphaned(fid));
        }
    }

    /// Takes `outcome` to its client: where others work too, when what it shows of theirs is durable (I5).
    pub(super) fn tell(&self, session: &Session, (fileset, hold): (FilesetId, Hold), reply: Reply, outcome: Outcome) {
        if hold == Hold::Alone {
            return reply(outcome);
        }
        let lsn = match self.sharing.seen_by(fileset, session.client) {
            Seen::UpTo(lsn) => lsn,
            Seen::All => self.aggregate().last().0,
        };
        self.when_durable(
            lsn,
            Box::new(move |durable| reply(durable.map_err(Into::into).and(outcome))),
        );
    }
}
