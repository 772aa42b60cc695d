//! One connection of a session: what was sent on it, who is logged in on it, and who reads it.
//!
//! Whoever sends a call reads until it is answered, or for 2 ms; then the line is left with a waiter. Only one reads at
//! a time. Whoever stops reading looks once more whether something was sent meanwhile, and whoever sends looks, after
//! counting that, whether somebody reads: so no answer is left without a reader.
//!
//! ```text
//! caller without a handle ─ Login … ─▶ handle ─▶ what waited for it is sent
//!          ▲                  └─ he logged out meanwhile ─┐    │ he logged out
//!          └──────────────────────────────── Logout ◀──────┴────┘
//! ```

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use baton_proto::files::{decode_answer, encode_call, op_of};
use baton_security::auth::InitExchange;
use baton_types::call::{Answer, Request, Role};
use baton_types::{EntryName, Error, FrameKind, Kind, Result};
use bytes::Bytes;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Logins;
use super::session::Session;
use crate::session::client::{ConnectionId, Sent};
use crate::session::frame::{Frame, Name};
use crate::wire::Wire;

/// Tokens that one login may take: Kerberos needs two.
const STEPS_MAX: usize = 8;

/// One connection.
pub(super) struct Line {
    /// Its number in the session.
    pub(super) id: ConnectionId,
    /// What for.
    pub(super) role: Role,
    /// Whose.
    pub(super) session: Arc<Session>,
    server: EntryName,
    /// Of its own, to be waited on without the lock.
    fd: OwnedFd,
    inner: Mutex<Inner>,
    /// Frames sent and not answered.
    open: AtomicUsize,
    is_read: AtomicBool,
}

struct Inner {
    wire: Box<dyn Wire>,
    callers: HashMap<u32, Caller>,
}

/// What is known of a caller on this connection.
enum Caller {
    /// By this handle; 0 is nobody's.
    Known(u32),
    /// Logging in.
    Coming(Login),
}

/// A login under way.
struct Login {
    exchange: Box<dyn InitExchange>,
    mech: &'static str,
    /// Tokens sent.
    steps: usize,
    /// Calls that are sent when it is over.
    waiting: Vec<Sent>,
    /// He is somebody else by now: when it is over, it begins anew.
    is_stale: bool,
}

/// Whose trouble it is.
enum Trouble {
    /// The connection's.
    Connection(Error),
    /// The caller's: his calls are refused.
    Caller(Error),
}

impl Line {
    pub(super) fn new(
        session: Arc<Session>,
        (id, role): (ConnectionId, Role),
        server: EntryName,
        wire: Box<dyn Wire>,
    ) -> Result<Line> {
        let fd = wire.fd().try_clone_to_owned().map_err(|e| Error::io("connection", e))?;
        Ok(Line {
            id,
            role,
            session,
            server,
            fd,
            inner: Mutex::new(Inner {
                wire,
                callers: HashMap::new(),
            }),
            open: AtomicUsize::new(0),
            is_read: AtomicBool::new(false),
        })
    }

    /// Waits for something to arrive; false if nothing did.
    pub(super) fn wait(&self, within: Duration) -> bool {
        let Ok(within) = Timespec::try_from(within) else {
            return false;
        };
        let mut flags = PollFlags::IN;
        flags.set(PollFlags::OUT, self.wants_write());
        let fd = PollFd::new(&self.fd, flags);
        poll(&mut [fd], Some(&within)).is_ok_and(|count| count > 0)
    }

    /// Ends the connection: whoever reads it finds that out.
    pub(super) fn close(&self) {
        // One that is closed already needs no more than that.
        let _ = rustix::net::shutdown(&self.fd, rustix::net::Shutdown::Both);
    }

    /// To wait on.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether something waits for the network to take it.
    pub(super) fn wants_write(&self) -> bool {
        self.inner.lock().wire.wants_write()
    }

    /// Becomes its reader; false if somebody is.
    pub(super) fn take(&self) -> bool {
        !self.is_read.swap(true, Ordering::SeqCst)
    }

    /// Whether its reader has anything to wait for.
    pub(super) fn has_open(&self) -> bool {
        self.role == Role::Push || self.open.load(Ordering::SeqCst) > 0
    }

    /// Reads it no more; false if something was sent meanwhile: then the caller still is its reader.
    pub(super) fn leave(&self) -> bool {
        self.is_read.store(false, Ordering::SeqCst);
        !(self.has_open() && self.take())
    }

    /// Sends calls, together, or begins the logins that they need.
    pub(super) fn send(&self, calls: Vec<Sent>, logins: &dyn Logins) {
        let (mut frames, mut refused) = (Vec::with_capacity(calls.len()), Vec::new());
        let mut broken = None;
        let mut inner = self.inner.lock();
        for sent in calls {
            let name = (sent.connection, sent.stream, sent.sequence);
            match self.log_in(&mut inner, sent, logins) {
                Ok(Some((sent, handle))) => match framed(&sent, handle) {
                    Ok(frame) => frames.push(frame),
                    Err(error) => broken = Some(error),
                },
                Ok(None) => {}
                Err(Trouble::Connection(error)) => broken = Some(error),
                Err(Trouble::Caller(error)) => refused.push((name, error)),
            }
        }
        let sent = self.put(&mut inner, &frames);
        drop(inner);
        if let Some(error) = broken.or(sent.err()) {
            self.session.broken(self.id, &error);
        }
        for ((connection, stream, sequence), error) in refused {
            self.session.received(connection, stream, sequence, Err(error.into()));
        }
    }

    /// The call, and the handle it goes with, if its caller has one.
    fn log_in(&self, inner: &mut Inner, sent: Sent, logins: &dyn Logins) -> Result<Option<(Sent, u32)>, Trouble> {
        if sent.caller == 0 {
            return Ok(Some((sent, 0)));
        }
        match inner.callers.get_mut(&sent.caller) {
            Some(Caller::Known(handle)) => return Ok(Some((sent, *handle))),
            Some(Caller::Coming(login)) => {
                login.waiting.push(sent);
                return Ok(None);
            }
            None => {}
        }
        let caller = sent.caller;
        let who = self.session.who(caller);
        let Some(initiator) = logins.initiator(&who).map_err(Trouble::Caller)? else {
            inner.callers.insert(caller, Caller::Known(0));
            return Ok(Some((sent, 0)));
        };
        let mech = initiator.name();
        let mut exchange = initiator.start(&self.server);
        let token = exchange.step(inner.wire.channel(), &[]).map_err(Trouble::Caller)?;
        self.put_login(inner, caller, (mech, 0), token)
            .map_err(Trouble::Connection)?;
        let login = Login {
            exchange,
            mech,
            steps: 1,
            waiting: vec![sent],
            is_stale: false,
        };
        inner.callers.insert(caller, Caller::Coming(login));
        Ok(None)
    }

    fn put(&self, inner: &mut Inner, frames: &[Frame]) -> Result<()> {
        self.open.fetch_add(frames.len(), Ordering::SeqCst);
        inner.wire.send(frames)
    }

    /// One token of a login. Its answer is known by the caller's number, which stands where a change has its sequence.
    fn put_login(
        &self,
        inner: &mut Inner,
        caller: u32,
        (mech, conversation): (&str, u32),
        token: Vec<u8>,
    ) -> Result<()> {
        let request = Request::Login {
            mech: mech.to_owned(),
            conversation,
        };
        let name = Name {
            op: op_of(&request),
            sequence: caller,
            ..Name::default()
        };
        let frame = Frame::new(name, FrameKind::Call, encode_call(&request, 0), token.into())?;
        self.put(inner, &[frame])
    }

    /// The handle of a caller is over.
    pub(super) fn forget(&self, caller: u32) {
        let mut inner = self.inner.lock();
        if matches!(inner.callers.get(&caller), Some(Caller::Known(_))) {
            inner.callers.remove(&caller);
        }
    }

    /// Callers who are somebody else from now on: their next calls log in anew. What was sent is done for who they were.
    pub(super) fn log_out(&self, is_meant: impl Fn(u32) -> bool) {
        let mut inner = self.inner.lock();
        let mut ended = Vec::new();
        inner.callers.retain(|caller, known| match known {
            Caller::Known(handle) if is_meant(*caller) => {
                ended.push(*handle);
                false
            }
            Caller::Coming(login) if is_meant(*caller) => {
                login.is_stale = true;
                true
            }
            Caller::Known(_) | Caller::Coming(_) => true,
        });
        let said = ended
            .into_iter()
            .try_for_each(|handle| self.put_logout(&mut inner, handle));
        drop(inner);
        if let Err(error) = said {
            self.session.broken(self.id, &error);
        }
    }

    /// Nobody waits for the answer: after this frame the handle is worth nothing.
    fn put_logout(&self, inner: &mut Inner, handle: u32) -> Result<()> {
        if handle == 0 {
            return Ok(()); // nobody's
        }
        let name = Name {
            op: op_of(&Request::Logout),
            caller: handle,
            ..Name::default()
        };
        let frame = Frame::new(name, FrameKind::Call, encode_call(&Request::Logout, 0), Bytes::new())?;
        self.put(inner, &[frame])
    }

    /// Takes whatever has arrived, up to the last answer that is awaited; false when the connection is broken.
    pub(super) fn read(&self) -> bool {
        loop {
            let frame = self.inner.lock().wire.recv(Duration::ZERO);
            match frame {
                Ok(Some(frame)) => {
                    self.arrived(frame);
                    if !self.has_open() {
                        return true;
                    }
                }
                Ok(None) => return true,
                Err(error) => {
                    self.session.broken(self.id, &error);
                    return false;
                }
            }
        }
    }

    fn arrived(&self, frame: Frame) {
        let header = frame.header;
        match header.kind {
            FrameKind::Push => self.session.pushed(self.id, &frame),
            FrameKind::Reply => {
                self.open.fetch_sub(1, Ordering::SeqCst);
                let login = op_of(&Request::Login {
                    mech: String::new(),
                    conversation: 0,
                });
                if header.op == login {
                    self.logged_in(header.sequence, &frame);
                } else if header.op != op_of(&Request::Logout) {
                    self.session.answered(self.id, frame);
                }
            }
            FrameKind::Call => {
                let error = Error::new(Kind::Invalid, "frame").because("a server sent a call");
                self.session.broken(self.id, &error);
            }
        }
    }

    /// A login goes on, or is over: then what waited for it is sent, or refused.
    fn logged_in(&self, caller: u32, frame: &Frame) {
        let mut inner = self.inner.lock();
        let Some(Caller::Coming(mut login)) = inner.callers.remove(&caller) else {
            return;
        };
        let ended = match self.step(&mut inner, caller, &mut login, frame) {
            Ok(None) => {
                inner.callers.insert(caller, Caller::Coming(login));
                return;
            }
            Ok(Some(handle)) if login.is_stale => self.put_logout(&mut inner, handle).map_err(Trouble::Connection),
            Ok(Some(handle)) => {
                inner.callers.insert(caller, Caller::Known(handle));
                let frames: Result<Vec<Frame>> = login.waiting.drain(..).map(|sent| framed(&sent, handle)).collect();
                let sent = frames.and_then(|frames| self.put(&mut inner, &frames));
                sent.map_err(Trouble::Connection)
            }
            Err(trouble) => Err(trouble),
        };
        drop(inner);
        match ended {
            Err(Trouble::Connection(error)) => self.session.broken(self.id, &error),
            Ok(()) | Err(Trouble::Caller(_)) if login.is_stale => self.session.send_again(login.waiting),
            Ok(()) => {}
            Err(Trouble::Caller(error)) => {
                for sent in login.waiting {
                    let outcome = Err(error.clone().into());
                    self.session
                        .received(sent.connection, sent.stream, sent.sequence, outcome);
                }
            }
        }
    }

    /// The next step of a login; at its end the handle.
    fn step(&self, inner: &mut Inner, caller: u32, login: &mut Login, frame: &Frame) -> Result<Option<u32>, Trouble> {
        let mech = login.mech;
        let request = Request::Login {
            mech: mech.to_owned(),
            conversation: 0,
        };
        let refused = |reason: String| {
            let error = Error::new(Kind::Denied, format!("login by {mech}"));
            Trouble::Caller(error.because(reason))
        };
        let (conversation, handle) = match decode_answer(&frame.meta, &request) {
            Ok(Answer::Login {
                conversation, caller, ..
            }) => (conversation, caller),
            Ok(_) => return Err(refused(format!("{} answered something else", self.server))),
            Err(error) => {
                let error = denied(error);
                if error.kind == Kind::Denied && !login.is_stale {
                    self.session.login_refused(caller, &error);
                }
                return Err(Trouble::Caller(error));
            }
        };
        let channel = inner.wire.channel().clone();
        if let Some(handle) = handle {
            login
                .exchange
                .finish(&channel, &frame.payload)
                .map_err(Trouble::Caller)?;
            return Ok(Some(handle));
        }
        if login.steps >= STEPS_MAX {
            return Err(refused(format!("{} wants more than {STEPS_MAX} tokens", self.server)));
        }
        let token = login.exchange.step(&channel, &frame.payload).map_err(Trouble::Caller)?;
        self.put_login(inner, caller, (mech, conversation), token)
            .map_err(Trouble::Connection)?;
        login.steps += 1;
        Ok(None)
    }
}

fn framed(sent: &Sent, caller: u32) -> Result<Frame> {
    let name = Name {
        session: sent.session,
        op: op_of(&sent.request),
        caller,
        stream: sent.stream,
        sequence: sent.sequence,
    };
    let meta = encode_call(&sent.request, sent.seen);
    Frame::new(name, FrameKind::Call, meta, sent.payload.clone())
}

/// A login that is refused is a right that is missing, whatever the server calls it.
fn denied(error: Error) -> Error {
    match error.kind {
        Kind::Detached => error,
        _ => Error {
            kind: Kind::Denied,
            ..error
        },
    }
}
