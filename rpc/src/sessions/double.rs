//! A wire without a network: frames cross it late, or are lost with their connection, to a server kept in memory.
//!
//! What goes wrong is drawn from a seed; when it does depends on threads. A server answers a change at once, and forgets
//! what was not durable when it is restarted. It has the server's own core for the order of changes.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use baton_proto::files::{decode_call, encode_answer, encode_failure};
use baton_security::{Channel, ChannelBinding};
use baton_types::call::{Answer, Hold, Request, Role};
use baton_types::file::{Attributes, FileKind, Object};
use baton_types::{Epoch, Error, Fid, FilesetId, FrameKind, Kind, Result, Timestamp, Vnode};
use bytes::Bytes;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Owner;
use crate::session::frame::{Frame, Name};
use crate::session::server::{Arrived, Changes, Ended};
use crate::wire::{Dial, Wire};

/// The one session.
const SESSION: u64 = 77;
/// Of a thousand frames, those with which their connection is cut.
const CUT_PERMILLE: u32 = 15;
/// Of a thousand answers, those that come late.
const LATE_PERMILLE: u32 = 100;
/// How late.
const LATE: Duration = Duration::from_millis(5);

/// A change that was done: its name, what it was, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    pub name: (u16, u32),
    pub request: Request,
    pub who: Bytes,
}

/// Servers one after the other, and the connections to the one that is.
pub struct Double {
    state: Mutex<State>,
    /// Whether anything goes wrong.
    faults: Option<Mutex<SmallRng>>,
    given_up: AtomicU64,
}

struct State {
    epoch: Epoch,
    log: Vec<Done>,
    durable: usize,
    changes: Changes<(), Call>,
    pipes: BTreeMap<u64, Arc<Pipe>>,
    dialled: u64,
    logins: Vec<Bytes>,
}

type Call = (Name, Request, Bytes);

/// One connection.
struct Pipe {
    number: u64,
    inbox: Mutex<Option<VecDeque<Frame>>>,
    /// A byte for each frame, for those who wait.
    bell: Mutex<UnixStream>,
}

struct End {
    double: Arc<Double>,
    pipe: Arc<Pipe>,
    bell: UnixStream,
    channel: Channel,
}

pub fn object() -> Object {
    let time = Timestamp(0);
    Object {
        fid: Fid {
            fileset: FilesetId(4),
            vnode: Vnode::ROOT,
            unique: 1,
        },
        attributes: Attributes {
            kind: FileKind::Directory,
            mode: 0o755,
            uid: 0,
            gid: 0,
            links: 2,
            size: 0,
            blocks: 0,
            data_version: 0,
            accessed: time,
            modified: time,
            changed: time,
            created: time,
            parent: None,
            device: 0,
            acl: 0,
        },
    }
}

impl Double {
    /// A server under `epoch`; with a seed, things go wrong.
    pub fn new(epoch: Epoch, seed: Option<u64>) -> Arc<Double> {
        Arc::new(Double {
            state: Mutex::new(State {
                epoch,
                log: Vec::new(),
                durable: 0,
                changes: Changes::default(),
                pipes: BTreeMap::new(),
                dialled: 0,
                logins: Vec::new(),
            }),
            faults: seed.map(|seed| Mutex::new(SmallRng::seed_from_u64(seed))),
            given_up: AtomicU64::new(0),
        })
    }

    /// The server ends, and with it what was not durable; the next one is there under this epoch.
    pub fn restart(&self) -> Epoch {
        let mut state = self.state.lock();
        state.epoch = Epoch(state.epoch.0 + 1);
        let durable = state.durable;
        state.log.truncate(durable);
        state.changes = Changes::default();
        std::mem::take(&mut state.pipes)
            .into_values()
            .for_each(|pipe| pipe.cut());
        state.epoch
    }

    /// Half of what is not durable becomes so.
    pub fn flush(&self) {
        let mut state = self.state.lock();
        state.durable += (state.log.len() - state.durable).div_ceil(2);
    }

    /// All that was done.
    pub fn log(&self) -> Vec<Done> {
        self.state.lock().log.clone()
    }

    /// How many connections were given up.
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::SeqCst)
    }

    fn befalls(&self, permille: u32) -> bool {
        let drawn = self.faults.as_ref().map(|faults| faults.lock().random_range(0..1_000));
        drawn.is_some_and(|drawn| drawn < permille)
    }

    fn answer(self: &Arc<Self>, pipe: &Arc<Pipe>, name: Name, outcome: Result<Answer>) {
        let meta = match &outcome {
            Ok(answer) => encode_answer(answer),
            Err(error) => encode_failure(error, 0),
        };
        let frame = Frame::new(name, FrameKind::Reply, meta, Bytes::new()).unwrap();
        if self.befalls(LATE_PERMILLE) {
            let pipe = pipe.clone();
            std::thread::spawn(move || {
                std::thread::sleep(LATE);
                pipe.put(frame);
            });
        } else {
            pipe.put(frame);
        }
    }

    /// What the server does with a frame.
    fn serve(self: &Arc<Self>, pipe: &Arc<Pipe>, frame: &Frame) {
        let (request, seen) = decode_call(frame.header.op, &frame.meta).unwrap();
        let header = frame.header;
        let name = Name {
            session: header.session,
            op: header.op,
            caller: header.caller,
            stream: header.stream,
            sequence: header.sequence,
        };
        let mut state = self.state.lock();
        if !state.pipes.contains_key(&pipe.number) {
            return;
        }
        let outcome = match &request {
            request if request.is_change() => Ok(state.change(name, request.clone(), seen)),
            Request::Login { .. } => {
                state.logins.push(frame.payload.clone());
                Ok(Answer::Login {
                    conversation: 0,
                    caller: Some(state.logins.len() as u32),
                    expires: Timestamp(i64::MAX),
                })
            }
            Request::Bind { .. } => Ok(state.bind()),
            Request::Renew => Ok(Answer::Renewed {
                date: Timestamp(1),
                durable: state.durable as u64,
            }),
            Request::Join { .. } => Ok(Answer::Joined {
                hold: Hold::Alone,
                serial: 1,
                root: object(),
            }),
            Request::Sync { .. } => {
                state.durable = state.log.len();
                let durable = state.durable as u64;
                Ok(Answer::Synced { durable })
            }
            Request::Reclaimed { .. } | Request::Logout | Request::Unbind => Ok(Answer::Done),
            other => Err(Error::new(Kind::Unsupported, format!("{other:?}"))),
        };
        drop(state);
        self.answer(pipe, name, outcome);
    }
}

impl State {
    fn bind(&mut self) -> Answer {
        let mut streams: BTreeMap<u16, u32> = BTreeMap::new();
        for done in &self.log {
            let last = streams.entry(done.name.0).or_default();
            *last = done.name.1.max(*last);
        }
        self.changes
            .bound((SESSION, self.epoch), streams.get(&0).copied().unwrap_or(0));
        Answer::Bound {
            session: SESSION,
            epoch: self.epoch,
            streams: streams.into_iter().collect(),
            date: Timestamp(1),
            durable: self.durable as u64,
        }
    }

    /// Only free changes come: each runs at once, or has run.
    fn change(&mut self, name: Name, request: Request, seen: u32) -> Answer {
        let (session, key) = ((SESSION, self.epoch), (name.stream, name.sequence));
        let who = match name.caller {
            0 => Bytes::new(),
            handle => self.logins[handle as usize - 1].clone(),
        };
        let held = self.changes.seen(session, seen);
        assert!(held.is_none(), "this server takes no time");
        let Arrived::Run((name, request, who)) = self.changes.arrived(session, key, (), (name, request, who)) else {
            panic!("{key:?} under way twice: this server takes no time");
        };
        let found = self
            .log
            .iter()
            .position(|done| done.name == (name.stream, name.sequence));
        let place = found.unwrap_or_else(|| {
            self.log.push(Done {
                name: (name.stream, name.sequence),
                request,
                who,
            });
            self.log.len() - 1
        });
        self.changes.ended(session, key, &Ended::Recorded);
        let earlier = self.log[self.durable.min(place)..place].iter();
        let others = earlier.filter(|done| done.name.0 != name.stream).map(|done| done.name);
        let after: BTreeMap<u16, u32> = others.collect();
        Answer::Changed {
            object: object(),
            lsn: place as u64 + 1,
            durable: self.durable as u64,
            after: after.into_iter().collect(),
        }
    }
}

impl Pipe {
    fn put(&self, frame: Frame) {
        if let Some(inbox) = self.inbox.lock().as_mut() {
            inbox.push_back(frame);
            // Whoever has closed his end waits for nothing.
            let _ = self.bell.lock().write_all(&[1]);
        }
    }

    fn cut(&self) {
        *self.inbox.lock() = None;
        let _ = self.bell.lock().shutdown(std::net::Shutdown::Both);
    }
}

fn broken() -> Error {
    Error::new(Kind::Unreachable, "connection").because("it is cut")
}

impl Dial for Arc<Double> {
    fn dial(&self, owner: &Owner, _: Role) -> Result<Box<dyn Wire>> {
        let (bell, rung) = UnixStream::pair().unwrap();
        bell.set_nonblocking(true).unwrap();
        rung.set_nonblocking(true).unwrap();
        let mut state = self.state.lock();
        if owner.epoch != state.epoch {
            return Err(broken());
        }
        state.dialled += 1;
        let pipe = Arc::new(Pipe {
            number: state.dialled,
            inbox: Mutex::new(Some(VecDeque::new())),
            bell: Mutex::new(bell),
        });
        state.pipes.insert(pipe.number, pipe.clone());
        drop(state);
        Ok(Box::new(End {
            double: self.clone(),
            pipe,
            bell: rung,
            channel: Channel {
                binding: ChannelBinding([0; 32]),
                host: None,
            },
        }))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.double.given_up.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wire for End {
    fn send(&mut self, frames: &[Frame]) -> Result<()> {
        for frame in frames {
            let (is_cut, arrives) = (self.double.befalls(CUT_PERMILLE), !self.double.befalls(500));
            if !is_cut || arrives {
                self.double.serve(&self.pipe, frame);
            }
            if is_cut {
                self.pipe.cut();
                break;
            }
        }
        match self.pipe.inbox.lock().is_some() {
            true => Ok(()),
            false => Err(broken()),
        }
    }

    fn recv(&mut self, within: Duration) -> Result<Option<Frame>> {
        let next = |inbox: &mut Option<VecDeque<Frame>>| inbox.as_mut().ok_or_else(broken).map(VecDeque::pop_front);
        if let Some(frame) = next(&mut self.pipe.inbox.lock())? {
            let mut byte = [0];
            let _ = self.bell.read(&mut byte);
            return Ok(Some(frame));
        }
        let within = Timespec::try_from(within).map_err(|_| broken())?;
        let _ = poll(&mut [PollFd::new(&self.bell, PollFlags::IN)], Some(&within));
        match next(&mut self.pipe.inbox.lock())? {
            Some(frame) => {
                let mut byte = [0];
                let _ = self.bell.read(&mut byte);
                Ok(Some(frame))
            }
            // The other side closed it.
            None => match self.bell.read(&mut [0]) {
                Ok(0) => Err(broken()),
                Ok(_) | Err(_) => Ok(None),
            },
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    fn wants_write(&self) -> bool {
        false
    }

    fn channel(&self) -> &Channel {
        &self.channel
    }
}
