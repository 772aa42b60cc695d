//! Bind: a client takes up its session, or gets a new one.

use std::sync::Arc;

use baton_aggregate::transaction::SessionId;
use baton_types::call::Answer;
use baton_types::{ClientId, Error, Kind, Result};
use bytes::Bytes;

use super::{Driver, Parked};
use crate::service::{Call, Outcome, Reply};
use crate::session::Session;
use crate::state;

/// A session that was found or opened: how it is known to the state, and how far each of its streams has come.
struct Found {
    origin: state::Session,
    session: Arc<Session>,
    streams: Vec<(u16, u32)>,
}

impl Driver {
    /// Takes up the session in `call`, or opens one. Waits for the store: not for a thread that may not.
    pub fn bind(self: &Arc<Self>, call: Call, reply: Reply) {
        match self.find_or_open(&call) {
            Ok(found) => {
                let parked = Parked {
                    session: found.session,
                    call,
                    reply,
                    streams: found.streams,
                };
                self.ask(parked, state::Call::Bind(found.origin));
            }
            Err(error) => reply(Err(error.into())),
        }
    }

    fn find_or_open(&self, call: &Call) -> Result<Found> {
        let _inside = self.door.enter();
        let client = call.client;
        if self.core.lock().ending.contains_key(&client) {
            let error = Error::new(Kind::Recovering, format!("client {client}"));
            return Err(error.because("its end is being written").remedy("ask again"));
        }
        if call.session == 0 {
            if self.session_of(client).is_some_and(|own| own.host != call.host) {
                return Err(another(0));
            }
            let (_, id) = self.aggregate().open_session(client, self.house.clock.date())?;
            let session = Arc::new(Session::new(id.0, client, call.host.clone()));
            self.enter(&session)?;
            return Ok(Found {
                origin: state::Session::New,
                session,
                streams: Vec::new(),
            });
        }
        let known = self.aggregate().session(SessionId(call.session))?;
        if known.client != client {
            return Err(another(call.session));
        }
        let session = match self.session(call.session) {
            Some(session) if session.host == call.host => session,
            Some(_) => return Err(another(call.session)),
            None => {
                let session = Arc::new(Session::new(call.session, client, call.host.clone()));
                self.enter(&session)?;
                session
            }
        };
        Ok(Found {
            origin: state::Session::Kept,
            session,
            streams: known.streams,
        })
    }

    /// The session that a client has now.
    fn session_of(&self, client: ClientId) -> Option<Arc<Session>> {
        let id = self.core.lock().clients.get(&client).copied()?;
        self.session(id)
    }

    /// From now on calls of the session are known; one that its client had before is over.
    fn enter(&self, session: &Arc<Session>) -> Result<()> {
        let mut core = self.core.lock();
        if core.is_stopped {
            return Err(self.detached());
        }
        core.before.remove(&session.client);
        let mut table = self.sessions.write();
        if let Some(old) = core.clients.insert(session.client, session.id) {
            table.remove(&old);
        }
        table.insert(session.id, session.clone());
        Ok(())
    }

    /// Its client was refused: calls of the session are not known any more.
    pub(super) fn leave(&self, session: &Session) {
        let mut core = self.core.lock();
        if core.clients.get(&session.client) == Some(&session.id) {
            core.clients.remove(&session.client);
        }
        self.sessions.write().remove(&session.id);
    }

    /// Answers when all that the streams have come to is durable, and a look has followed.
    pub(super) fn bound(self: &Arc<Self>, parked: Parked) {
        let Parked {
            session,
            reply,
            streams,
            ..
        } = parked;
        let driver = self.clone();
        let then = move |durable: Result<()>| {
            if let Err(error) = durable {
                return reply(Err(error.into()));
            }
            let by = driver.clone();
            driver.when_looked(Box::new(move |looked| {
                reply(
                    looked
                        .map_err(Into::into)
                        .and_then(|()| by.bound_answer(&session, streams)),
                );
            }));
        };
        self.when_durable(self.aggregate().last().0, Box::new(then));
    }

    fn bound_answer(&self, session: &Session, streams: Vec<(u16, u32)>) -> Outcome {
        let durable = self.aggregate().durable().0;
        session.tell(0, durable);
        let answer = Answer::Bound {
            session: session.id,
            epoch: self.export.epoch,
            streams,
            date: self.house.clock.date(),
            durable,
        };
        Ok((answer, Bytes::new()))
    }
}

fn another(session: u64) -> Error {
    Error::new(Kind::Denied, format!("session {session}")).because("it is another client's")
}
