//! A client of this server's own service, in this very process: what it does is seen, waited for and told to others
//! like what any mount does.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use baton_types::call::{Answer, Coming, Newborn, Request};
use baton_types::file::{Object, Place};
use baton_types::limits::CLIENT_RENEW_MICROS;
use baton_types::{ClientId, Clock, Error, Fid, FilesetId, Kind, Result, Time, Timestamp, Vnode};
use bytes::Bytes;
use rand::random;

use crate::exports::Export;
use crate::service::{Bound, Call, Outcome, Service};
use crate::who::{Cred, Root};

/// Between two signs of life.
const RENEW_EVERY: Duration = Duration::from_micros(CLIENT_RENEW_MICROS);
/// The stream that all its changes are in, one after the other.
const STREAM: u16 = 1;

/// It takes part in one fileset, as root, and leaves when this goes.
pub struct Inside<'a> {
    service: &'a Service,
    clock: &'a dyn Clock,
    bound: Bound,
    fileset: FilesetId,
    client: ClientId,
    who: Arc<Cred>,
    session: Cell<u64>,
    sequence: Cell<u32>,
    renewed: Cell<Time>,
    vnodes: RefCell<Vec<Vnode>>,
}

impl<'a> Inside<'a> {
    /// Comes to a fileset of `export`: whoever was alone there gives that back first. May wait for them.
    ///
    /// # Errors
    /// What the service says.
    pub fn join(
        service: &'a Service,
        clock: &'a dyn Clock,
        export: &Export,
        fileset: FilesetId,
    ) -> Result<(Inside<'a>, Object)> {
        let root = Cred {
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            root: Root::Yes,
        };
        let (aggregate, epoch) = (export.id, export.epoch);
        let inside = Inside {
            service,
            clock,
            bound: Bound { aggregate, epoch },
            fileset,
            client: ClientId::random(),
            who: Arc::new(root),
            session: Cell::new(0),
            sequence: Cell::new(0),
            renewed: Cell::new(clock.now()),
            vnodes: RefCell::default(),
        };
        let round = 0;
        match inside.ask(Request::Bind {
            aggregate,
            epoch,
            round,
        })? {
            (Answer::Bound { session, .. }, _) => inside.session.set(session),
            (other, _) => return Err(unexpected(&other)),
        }
        let coming = Coming::Fresh;
        match inside.ask(Request::Join { fileset, coming })? {
            (Answer::Joined { root, .. }, _) => Ok((inside, root)),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Who it is.
    pub fn client(&self) -> ClientId {
        self.client
    }

    /// The date that changes are made at.
    pub fn date(&self) -> Timestamp {
        self.clock.date()
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// What the service says.
    pub fn ask(&self, request: Request) -> Result<(Answer, Bytes)> {
        self.ask_with(request, Bytes::new())
    }

    /// Changes something, and gives the file after it.
    ///
    /// # Errors
    /// What the service says.
    pub fn change(&self, request: Request, payload: Bytes) -> Result<Object> {
        match self.ask_with(request, payload)? {
            (Answer::Changed { object, .. }, _) => Ok(object),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// What a name leads to; `None` if it leads nowhere.
    ///
    /// # Errors
    /// What the service says.
    pub fn lookup(&self, place: Place) -> Result<Option<Object>> {
        match self.ask(Request::Lookup { place }) {
            Ok((Answer::Object(object), _)) => Ok(Some(object)),
            Ok((other, _)) => Err(unexpected(&other)),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A file that is known.
    ///
    /// # Errors
    /// What the service says.
    pub fn attributes(&self, fid: Fid) -> Result<Object> {
        match self.ask(Request::Getattr { fid })? {
            (Answer::Object(object), _) => Ok(object),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// How something new is named for ever.
    ///
    /// # Errors
    /// What the service says.
    pub fn newborn(&self, mode: u32) -> Result<Newborn> {
        if self.vnodes.borrow().is_empty() {
            let fileset = self.fileset;
            let (first, count) = match self.ask(Request::Vnodes { fileset })? {
                (Answer::Vnodes { first, count }, _) => (first.number(), u64::from(count)),
                (other, _) => return Err(unexpected(&other)),
            };
            let vnodes = (first..first + count).rev().map(Vnode::new);
            *self.vnodes.borrow_mut() = vnodes.collect::<Result<_>>()?;
        }
        let vnode = self.vnodes.borrow_mut().pop();
        let vnode = vnode.ok_or_else(|| Error::new(Kind::Limit, "vnodes").because("a range of them is empty"))?;
        let unique = random();
        Ok(Newborn { vnode, unique, mode })
    }

    /// Waits until all that it changed is durable.
    ///
    /// # Errors
    /// What the service says.
    pub fn sync(&self) -> Result<()> {
        self.ask(Request::Sync { lsn: u64::MAX }).map(drop)
    }

    fn ask_with(&self, request: Request, payload: Bytes) -> Result<(Answer, Bytes)> {
        if self.session.get() != 0 && self.clock.now() >= self.renewed.get() + CLIENT_RENEW_MICROS {
            self.renew();
        }
        let answer = self.send(request, payload);
        loop {
            match answer.recv_timeout(RENEW_EVERY) {
                Ok(outcome) => return outcome.map_err(|refused| *refused.error),
                // While it waits for others it lives.
                Err(RecvTimeoutError::Timeout) => self.renew(),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::new(Kind::Detached, "file service").because("it ends"));
                }
            }
        }
    }

    fn renew(&self) {
        self.renewed.set(self.clock.now());
        drop(self.send(Request::Renew, Bytes::new()));
    }

    fn send(&self, request: Request, payload: Bytes) -> Receiver<Outcome> {
        let is_change = request.is_change();
        if is_change {
            self.sequence.set(self.sequence.get() + 1);
        }
        let call = Call {
            client: self.client,
            host: None,
            who: self.who.clone(),
            bound: Some(self.bound),
            round: 0,
            session: self.session.get(),
            stream: if is_change { STREAM } else { 0 },
            sequence: if is_change { self.sequence.get() } else { 0 },
            seen: 0,
            request,
            payload,
        };
        let (send, answer) = channel();
        // Nobody hears of a renewal.
        self.service
            .call(call, Box::new(move |outcome| drop(send.send(outcome))));
        answer
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.ask(Request::Unbind) {
            tracing::debug!(%error, client = %self.client, "not left: it is forgotten when it has been silent");
        }
    }
}

/// The service answered something else than was asked.
pub fn unexpected(answer: &Answer) -> Error {
    Error::new(Kind::Damaged, "file service").because(format!("it answers {answer:?}"))
}
