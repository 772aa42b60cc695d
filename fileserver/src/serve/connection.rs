//! One connection: first words, frames in, answers out.
//!
//! Reader and writer are one task. The reader stops when the calls under way take too much; the writer ends the
//! connection when the other side takes nothing for half a minute. A frame that cannot be understood is answered with
//! a refusal; a stream that cannot be cut into frames is the end.

mod writer;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use baton_proto::files::{ClientHello, decode_call, encode_answer, encode_failure, encode_push};
use baton_rpc::session::frame::{Assembly, Frame, Name};
use baton_rpc::session::server::{self, cost};
use baton_security::callers::{self, Callers};
use baton_security::listen::{Accepted, Peer};
use baton_types::call::{Answer, Request, Role};
use baton_types::limits::HANDSHAKE_SECONDS_MAX;
use baton_types::{AggregateId, ClientId, Error, FrameKind, Hello, Kind, Result, Time, Timestamp};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use writer::{Out, write};

use super::{BYTES_MAX, Client, Shared, turns};
use crate::pushes::Outgoing;
use crate::service::{Bound, Call, Outcome};
use crate::who::Cred;

/// Plaintext that TLS holds at most: less made large answers a third slower.
const TLS_BUFFER_BYTES: usize = 4 << 20;
/// How long what the registry says of a caller is remembered.
const CRED_MICROS: Time = 1_000_000;
/// Between looks at whether all connections together still take too much.
const ROOM_PAUSE: Duration = Duration::from_millis(10);

type Stream = TlsStream<TcpStream>;

/// A connection, for its own task and for those who answer its calls.
pub(super) struct Line {
    shared: Arc<Shared>,
    peer: Peer,
    client: ClientId,
    role: Role,
    out: UnboundedSender<Out>,
    pushes: UnboundedSender<Outgoing>,
    rules: Mutex<server::Connection>,
    room: Notify,
    bound: Mutex<Option<Bond>>,
    callers: Arc<Callers>,
    creds: Mutex<HashMap<u32, (Time, Arc<Cred>)>>,
}

/// What a connection is bound to, and by which session.
#[derive(Clone, Copy)]
struct Bond {
    bound: Bound,
    session: u64,
    round: u32,
}

/// One who waits for an answer; dropped, there is none.
pub(super) struct Waiter {
    line: Arc<Line>,
    name: Name,
    cost: Option<usize>,
}

impl Waiter {
    pub(super) fn answer(mut self, outcome: Outcome) {
        let Some(cost) = self.cost.take() else { return };
        let frame = match outcome {
            Ok((answer, payload)) => reply(self.name, encode_answer(&answer), payload),
            Err(refused) => reply(self.name, encode_failure(&refused.error, refused.lsn), Bytes::new()),
        };
        // A connection that is gone takes no answer: its client asks again.
        let _ = self.line.out.send(Out::Reply(frame, cost));
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(cost) = self.cost {
            let _ = self.line.out.send(Out::Nothing(cost));
        }
    }
}

fn reply(name: Name, meta: Vec<u8>, payload: Bytes) -> Frame {
    Frame::new(name, FrameKind::Reply, meta, payload).unwrap_or_else(|error| {
        let error = Error::new(Kind::Io, "answer").because(format!("it is too long for a frame: {error}"));
        let meta = encode_failure(&error, 0);
        Frame::new(name, FrameKind::Reply, meta, Bytes::new()).expect("a refusal fits a frame")
    })
}

/// Serves one connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, mut accepted: Accepted) {
    let address = accepted.peer.address.ip();
    accepted.stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER_BYTES));
    let (reader, writer) = tokio::io::split(accepted.stream);
    let mut reader = Reader {
        stream: reader,
        assembly: Assembly::new(shared.pool.clone()),
    };
    let deadline = Duration::from_secs(HANDSHAKE_SECONDS_MAX);
    let silence = |_| Err(Error::new(Kind::TimedOut, "connection").because("no first words"));
    let first = timeout(deadline, reader.next()).await.unwrap_or_else(silence);
    let greeted = match first {
        Ok(None) => return,
        Ok(Some(frame)) => hello(&frame),
        Err(error) => Err(error),
    };
    let hello = match greeted {
        Ok(hello) => hello,
        Err(error) => {
            shared.records.refused(shared.clock.now(), address, &error);
            return;
        }
    };
    let ended = talk(&shared, hello, accepted.peer, reader, writer).await;
    if let Err(error) = ended {
        shared.records.refused(shared.clock.now(), address, &error);
    }
}

fn hello(frame: &Frame) -> Result<ClientHello> {
    server::Connection::default().admit(&frame.header)?;
    let hello = ClientHello::decode(&frame.meta)?;
    Hello::OURS.agree(hello.hello)?;
    Ok(hello)
}

async fn talk(
    shared: &Arc<Shared>,
    hello: ClientHello,
    peer: Peer,
    mut reader: Reader,
    writer: WriteHalf<Stream>,
) -> Result<()> {
    let (out, outgoing) = unbounded_channel();
    let (pushes, pushed) = unbounded_channel();
    let callers = Arc::new(Callers::new(shared.gate.clone(), peer.channel.clone()));
    let mut rules = server::Connection::default();
    rules.greeted(hello.role);
    let line = Arc::new(Line {
        shared: shared.clone(),
        peer,
        client: hello.client,
        role: hello.role,
        out,
        pushes,
        rules: Mutex::new(rules),
        room: Notify::new(),
        bound: Mutex::new(None),
        callers,
        creds: Mutex::default(),
    });
    line.come();
    let first = reply(Name::default(), shared.hello.encode(), Bytes::new());
    let _ = line.out.send(Out::Reply(first, line.begin(0)));
    let ended = tokio::select! {
        ended = read(&line, &mut reader) => ended,
        ended = write(&line, writer, outgoing, pushed) => ended,
    };
    line.go();
    ended
}

/// Frames as they come.
struct Reader {
    stream: ReadHalf<Stream>,
    assembly: Assembly,
}

impl Reader {
    /// The next one; `None` at the end of the stream. Nothing is lost when this is dropped half way.
    async fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            let count = match self.stream.read(self.assembly.room()).await {
                Ok(count) => count,
                // Whoever is cut off does not always say good-bye.
                Err(_) => return Ok(None),
            };
            match count {
                0 if self.assembly.is_within() => {
                    return Err(Error::new(Kind::Invalid, "frame").because("the connection ended in the middle of it"));
                }
                0 => return Ok(None),
                count => {
                    if let Some(frame) = self.assembly.filled(count)? {
                        return Ok(Some(frame));
                    }
                }
            }
        }
    }
}

async fn read(line: &Arc<Line>, reader: &mut Reader) -> Result<()> {
    loop {
        while !line.may_read() {
            let _ = timeout(ROOM_PAUSE, line.room.notified()).await;
        }
        match reader.next().await? {
            Some(frame) => line.take(frame)?,
            None => return Ok(()),
        }
    }
}

impl Line {
    fn come(&self) {
        self.shared.callers.lock().push(Arc::downgrade(&self.callers));
        let mut clients = self.shared.clients.lock();
        clients.entry(self.client).or_default().connections += 1;
    }

    /// The connection is closed; the last one of a client takes what waited for it along.
    fn go(&self) {
        let taken = self.rules.lock().bytes();
        self.shared.bytes.fetch_sub(taken, Ordering::Relaxed);
        let own = Arc::as_ptr(&self.callers);
        self.shared.callers.lock().retain(|callers| callers.as_ptr() != own);
        let mut clients = self.shared.clients.lock();
        let Some(client) = clients.get_mut(&self.client) else {
            return;
        };
        client.connections -= 1;
        if client.connections > 0 {
            return;
        }
        let Client { sessions, .. } = clients.remove(&self.client).unwrap_or_default();
        // Before anybody else can see that it is gone: what a new connection of it registers must not be taken out.
        sessions.into_iter().for_each(|session| self.shared.turns.gone(session));
        self.shared.pushes.gone(self.client);
        drop(clients);
        self.shared.service.gone(self.client);
    }

    fn begin(&self, cost: usize) -> usize {
        self.rules.lock().begin(cost);
        self.shared.bytes.fetch_add(cost, Ordering::Relaxed);
        cost
    }

    fn end(&self, cost: usize) {
        self.rules.lock().end(cost);
        self.shared.bytes.fetch_sub(cost, Ordering::Relaxed);
        self.room.notify_one();
    }

    fn may_read(&self) -> bool {
        let rules = self.rules.lock();
        rules.may_read() && (rules.is_idle() || self.shared.bytes.load(Ordering::Relaxed) < BYTES_MAX)
    }

    fn push(&self, outgoing: Outgoing) -> Option<Frame> {
        let push = match outgoing {
            Outgoing::Push(push) => push,
            Outgoing::Mark(line) => self.shared.pushes.mark(line)?,
        };
        let (op, meta) = encode_push(&push);
        let name = Name { op, ..Name::default() };
        Frame::new(name, FrameKind::Push, meta, Bytes::new()).ok()
    }

    /// Sees to one frame.
    ///
    /// # Errors
    /// What makes the connection useless.
    fn take(self: &Arc<Line>, frame: Frame) -> Result<()> {
        self.rules.lock().admit(&frame.header)?;
        let header = frame.header;
        let name = Name {
            session: header.session,
            op: header.op,
            caller: header.caller,
            stream: header.stream,
            sequence: header.sequence,
        };
        let decoded = decode_call(header.op, &frame.meta);
        let taken = decoded
            .as_ref()
            .map_or(0, |(request, _)| cost(request, frame.payload.len()));
        let waiter = Waiter {
            line: self.clone(),
            name,
            cost: Some(self.begin(taken)),
        };
        match decoded {
            Err(error) => waiter.answer(Err(error.into())),
            Ok((Request::Login { mech, conversation }, _)) => self.log_in(mech, conversation, frame.payload, waiter),
            Ok((Request::Logout, _)) => {
                self.callers.logout(name.caller);
                waiter.answer(Ok((Answer::Done, Bytes::new())));
            }
            Ok((request, seen)) => match self.call(name, request, seen, frame.payload) {
                Ok(call) => self.dispatch(call, waiter),
                Err(error) => waiter.answer(Err(error.into())),
            },
        }
        Ok(())
    }

    /// One step of a login, where it holds up nobody.
    fn log_in(self: &Arc<Line>, mech: String, conversation: u32, token: Bytes, waiter: Waiter) {
        let line = self.clone();
        tokio::spawn(async move {
            let Ok(_permit) = line.shared.logins.acquire().await else {
                return;
            };
            let callers = line.callers.clone();
            let step = tokio::task::spawn_blocking(move || callers.login(&mech, conversation, &token));
            let stopping = |_| Err(Error::new(Kind::Detached, "login").because("the server is stopping"));
            let outcome = match step.await.unwrap_or_else(stopping) {
                Ok(callers::Answer::Continue { conversation, token }) => Ok((conversation, None, Timestamp(0), token)),
                Ok(callers::Answer::Done {
                    token, caller, expires, ..
                }) => Ok((conversation, Some(caller), expires, token)),
                Err(error) => Err(error),
            };
            waiter.answer(match outcome {
                Ok((conversation, caller, expires, token)) => {
                    let answer = Answer::Login {
                        conversation,
                        caller,
                        expires,
                    };
                    Ok((answer, token.into()))
                }
                Err(error) => Err(error.into()),
            });
        });
    }

    /// A call out of a frame.
    fn call(&self, name: Name, request: Request, seen: u32, payload: Bytes) -> Result<Call> {
        let refused = |kind, reason: &str| Err(Error::new(kind, "call").because(reason));
        let bound = *self.bound.lock();
        match (&request, bound) {
            (Request::Bind { .. }, _) => {}
            (_, None) => return refused(Kind::WrongEpoch, "the connection is not bound"),
            (_, Some(bond)) if bond.session != name.session => {
                return refused(Kind::Invalid, "it is of another session than the connection");
            }
            (_, Some(_)) if self.role == Role::Push => {
                return refused(Kind::Invalid, "a push connection takes no calls but Bind");
            }
            (_, Some(_)) => {}
        }
        let round = match (&request, bound) {
            (Request::Bind { round, .. }, _) => *round,
            (_, bond) => bond.map_or(0, |bond| bond.round),
        };
        if request.is_change() != (name.sequence > 0) {
            return refused(
                Kind::Invalid,
                "what changes something has a sequence, and nothing else has",
            );
        }
        Ok(Call {
            client: self.client,
            host: self.peer.channel.host.as_ref().map(|host| host.principal.clone()),
            who: self.who(name.caller)?,
            bound: bound.map(|bond| bond.bound),
            round,
            session: name.session,
            stream: name.stream,
            sequence: name.sequence,
            seen,
            request,
            payload,
        })
    }

    /// What a caller is to the files.
    fn who(&self, caller: u32) -> Result<Arc<Cred>> {
        let identity = self.callers.find(caller)?;
        let now = self.shared.clock.now();
        let mut creds = self.creds.lock();
        if let Some((at, cred)) = creds.get(&caller)
            && now < *at + CRED_MICROS
        {
            return Ok(cred.clone());
        }
        let cred = self.shared.service.who(identity.as_deref());
        creds.insert(caller, (now, cred.clone()));
        Ok(cred)
    }

    fn dispatch(self: &Arc<Line>, call: Call, waiter: Waiter) {
        if let Some(bound) = call.bound {
            turns::seen(&self.shared, (call.session, bound.epoch), call.seen);
        }
        match (&call.request, call.bound) {
            (Request::Bind { aggregate, round, .. }, _) => {
                let (line, aggregate, round) = (self.clone(), *aggregate, *round);
                let then = move |outcome: Outcome| {
                    if let Ok((answer, _)) = &outcome {
                        line.bind(aggregate, round, answer);
                    }
                    waiter.answer(outcome);
                };
                self.shared.service.call(call, Box::new(then));
            }
            (request, Some(bound)) if request.is_change() => {
                let session = (call.session, bound.epoch);
                turns::arrived(&self.shared, session, call, waiter);
            }
            (request, bound) => {
                let settles = match request {
                    Request::Return { fileset, serial } => Some((*fileset, *serial)),
                    Request::Leave { fileset } => Some((*fileset, u64::MAX)),
                    _ => None,
                };
                let line = self.clone();
                let then = move |outcome: Outcome| {
                    if let (Some((fileset, serial)), Some(bound), Ok(_)) = (settles, bound, &outcome) {
                        let pushes = &line.shared.pushes;
                        pushes.settled(line.client, bound.aggregate, fileset, serial);
                    }
                    waiter.answer(outcome);
                };
                self.shared.service.call(call, Box::new(then));
            }
        }
    }

    /// A `Bind` on this connection was answered.
    fn bind(&self, aggregate: AggregateId, round: u32, answer: &Answer) {
        let Answer::Bound {
            session,
            epoch,
            streams,
            ..
        } = answer
        else {
            return;
        };
        let bound = Bound {
            aggregate,
            epoch: *epoch,
        };
        let last = streams
            .iter()
            .find(|(stream, _)| *stream == 0)
            .map_or(0, |(_, last)| *last);
        let session = (*session, *epoch);
        let mut clients = self.shared.clients.lock();
        // If the client went away meanwhile, nothing would ever take it out again.
        let Some(client) = clients.get_mut(&self.client) else {
            return;
        };
        client.sessions.insert(session);
        let due = self.shared.turns.bound(session, last);
        if self.role == Role::Push {
            self.shared.pushes.bound(self.client, bound, self.pushes.clone());
        }
        drop(clients);
        *self.bound.lock() = Some(Bond {
            bound,
            session: session.0,
            round,
        });
        turns::run(&self.shared, session, due);
    }
}
