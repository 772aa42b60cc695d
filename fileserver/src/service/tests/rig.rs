//! What the tests of the service are made of: a server, and mounts that call it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use baton_aggregate::device::double::Disk;
use baton_aggregate::nodes::Nodes;
use baton_aggregate::salvage::{Data, check};
use baton_types::call::{Answer, Coming, Hold, Newborn, Request};
use baton_types::file::{Attributes, Object, Place, SetAttributes};
use baton_types::{BootClock, ClientId, Epoch, Fid, FileName, FilesetId, Kind, Timestamp, Vnode};
use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::exports::{Export, Exports};
use crate::pushes::{Outgoing, Pushes};
use crate::service::{Bound, Call, Outcome, Service};
use crate::testing::{export, make_fileset, new_disk};
use crate::who::{Cred, Registry, Root};

pub const HOME: FilesetId = FilesetId(4);

/// A server with one aggregate, and a fileset in it.
pub struct Server {
    pub disk: Disk,
    pub service: Service,
    pub export: Arc<Export>,
    pub pushes: Arc<Pushes>,
    pub root: Fid,
}

impl Server {
    /// Root's directory in it is everybody's.
    pub fn new(seed: u64) -> Server {
        let disk = new_disk(seed);
        let export = export(&disk, Epoch(1));
        make_fileset(export.aggregate(), HOME.0, "home");
        Server::of(disk, export)
    }

    fn of(disk: Disk, export: Arc<Export>) -> Server {
        let fileset = export.aggregate().fileset(HOME).unwrap();
        let root = fileset.read(|view| baton_aggregate::fileset::root(view, HOME)).unwrap();
        let pushes = Arc::new(Pushes::default());
        let (exports, registry) = (Arc::new(Exports::new(1 << 20)), Arc::new(Registry::default()));
        let service = Service::start(exports, registry, pushes.clone(), Arc::new(BootClock)).unwrap();
        service.serve(&export).unwrap();
        Server {
            disk,
            service,
            export,
            pushes,
            root: root.fid,
        }
    }

    /// The process is killed, and another one takes the aggregate: what was not durable is gone.
    pub fn restart(self) -> Server {
        let Server {
            disk, service, export, ..
        } = self;
        service.withdraw(&export);
        drop(service);
        let next = Epoch(export.epoch.0 + 1);
        export.stop();
        disk.cut_power();
        Server::of(disk.clone(), crate::testing::export(&disk, next))
    }

    /// The end of it: what lies on the disk agrees with itself.
    pub fn close(self) {
        self.service.withdraw(&self.export);
        let aggregate = self.export.aggregate();
        aggregate.wait(aggregate.last()).unwrap();
        self.export.stop();
        let device = Arc::new(self.disk.port());
        let report = check(device.clone(), Nodes::new(device), Data::Read).unwrap();
        assert!(report.is_sound(), "{:?}", report.findings);
    }

    pub fn durable(&self) -> u64 {
        self.export.aggregate().durable().0
    }

    pub fn bound(&self) -> Bound {
        Bound {
            aggregate: self.export.id,
            epoch: self.export.epoch,
        }
    }

    /// A new mount that has joined, alone or not.
    pub fn mount(&self) -> Mount<'_> {
        let mount = self.stranger();
        mount.bind(0);
        mount.join(Coming::Fresh);
        mount
    }

    /// One that has not taken up a session.
    pub fn stranger(&self) -> Mount<'_> {
        let client = Client {
            id: ClientId::random(),
            session: Cell::new(0),
            sequence: Cell::new(0),
            vnodes: RefCell::default(),
            time: Cell::new(1_000),
        };
        client.at(self)
    }

    /// What it pushes to `client` from now on.
    pub fn listen(&self, client: ClientId) -> UnboundedReceiver<Outgoing> {
        let (send, receive) = unbounded_channel();
        self.pushes.bound(client, self.bound(), send);
        receive
    }
}

/// A client of the server.
pub struct Mount<'a> {
    pub server: &'a Server,
    pub client: Client,
}

impl std::ops::Deref for Mount<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// What a client keeps over a takeover.
pub struct Client {
    pub id: ClientId,
    pub session: Cell<u64>,
    pub sequence: Cell<u32>,
    vnodes: RefCell<Vec<u64>>,
    time: Cell<i64>,
}

pub fn cred(uid: u32, gid: u32, groups: &[u32]) -> Cred {
    Cred {
        uid,
        gid,
        groups: groups.to_vec(),
        root: Root::No,
    }
}

pub fn root() -> Cred {
    Cred {
        root: Root::Yes,
        ..cred(0, 0, &[])
    }
}

pub fn kind<T>(outcome: Result<T, crate::service::Refused>) -> Kind {
    match outcome {
        Ok(_) => panic!("it was not refused"),
        Err(refused) => refused.error.kind,
    }
}

impl Client {
    /// The same client at the next server.
    pub fn at(self, server: &Server) -> Mount<'_> {
        Mount { server, client: self }
    }
}

impl Mount<'_> {
    pub fn bind(&self, session: u64) -> Vec<(u16, u32)> {
        self.session.set(session);
        let Bound { aggregate, epoch } = self.server.bound();
        match self
            .ask(
                &root(),
                Request::Bind {
                    aggregate,
                    epoch,
                    round: 0,
                },
            )
            .unwrap()
            .0
        {
            Answer::Bound { session, streams, .. } => {
                self.session.set(session);
                streams
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn join(&self, coming: Coming) -> Hold {
        let joined = self.ask(&root(), Request::Join { fileset: HOME, coming });
        match joined.unwrap().0 {
            Answer::Joined { hold, root, .. } => {
                assert_eq!(root.fid, self.server.root);
                hold
            }
            other => panic!("{other:?}"),
        }
    }

    /// Asks, and goes on.
    pub fn send(&self, call: Call) -> Receiver<Outcome> {
        let (send, receive) = channel();
        // Whoever asked may not wait for it.
        let reply = move |outcome| drop(send.send(outcome));
        self.server.service.call(call, Box::new(reply));
        receive
    }

    pub fn call(&self, who: &Cred, request: Request, payload: &[u8]) -> Call {
        let is_change = request.is_change();
        let round = match request {
            Request::Bind { round, .. } => round,
            _ => 0,
        };
        if is_change {
            self.sequence.set(self.sequence.get() + 1);
        }
        Call {
            client: self.id,
            host: None,
            who: Arc::new(who.clone()),
            bound: Some(self.server.bound()),
            round,
            session: self.session.get(),
            stream: u16::from(is_change),
            sequence: if is_change { self.sequence.get() } else { 0 },
            seen: 0,
            request,
            payload: Bytes::copy_from_slice(payload),
        }
    }

    /// Asks, and waits for the answer.
    pub fn ask(&self, who: &Cred, request: Request) -> Outcome {
        self.ask_with(who, request, &[])
    }

    pub fn ask_with(&self, who: &Cred, request: Request, payload: &[u8]) -> Outcome {
        self.send(self.call(who, request, payload)).recv().unwrap()
    }

    /// Does a change, and tells the file after it.
    pub fn change(&self, who: &Cred, request: Request) -> Result<Object, crate::service::Refused> {
        self.change_with(who, request, &[])
    }

    pub fn change_with(&self, who: &Cred, request: Request, payload: &[u8]) -> Result<Object, crate::service::Refused> {
        match self.ask_with(who, request, payload)?.0 {
            Answer::Changed { object, .. } => Ok(object),
            other => panic!("{other:?}"),
        }
    }

    pub fn time(&self) -> Timestamp {
        self.time.set(self.time.get() + 1_000);
        Timestamp(self.time.get())
    }

    pub fn newborn(&self, mode: u32) -> Newborn {
        if self.vnodes.borrow().is_empty() {
            let granted = self.ask(&root(), Request::Vnodes { fileset: HOME });
            let Ok((Answer::Vnodes { first, count }, _)) = granted else {
                panic!("{granted:?}");
            };
            let first = first.number();
            self.vnodes.borrow_mut().extend((first..first + u64::from(count)).rev());
        }
        let number = self.vnodes.borrow_mut().pop().unwrap();
        Newborn {
            vnode: Vnode::new(number).unwrap(),
            unique: number * 77,
            mode,
        }
    }

    pub fn place(&self, directory: Fid, name: &str) -> Place {
        Place {
            directory,
            name: FileName::parse(name.as_bytes()).unwrap(),
        }
    }

    pub fn create(&self, who: &Cred, name: &str, mode: u32) -> Result<Object, crate::service::Refused> {
        self.create_in(who, self.server.root, name, mode)
    }

    pub fn create_in(
        &self,
        who: &Cred,
        directory: Fid,
        name: &str,
        mode: u32,
    ) -> Result<Object, crate::service::Refused> {
        let (place, newborn, time) = (self.place(directory, name), self.newborn(mode), self.time());
        self.change(who, Request::Create { place, newborn, time })
    }

    pub fn mkdir(&self, who: &Cred, name: &str, mode: u32) -> Result<Object, crate::service::Refused> {
        let place = self.place(self.server.root, name);
        let (newborn, time) = (self.newborn(mode), self.time());
        self.change(who, Request::Mkdir { place, newborn, time })
    }

    pub fn set(&self, who: &Cred, fid: Fid, set: SetAttributes) -> Result<Object, crate::service::Refused> {
        let time = self.time();
        self.change(who, Request::Setattr { fid, set, time })
    }

    pub fn chmod(&self, fid: Fid, mode: u32) {
        let set = SetAttributes {
            mode: Some(mode),
            ..SetAttributes::default()
        };
        self.set(&root(), fid, set).unwrap();
    }

    pub fn chown(&self, fid: Fid, uid: u32, gid: u32) {
        let set = SetAttributes {
            uid: Some(uid),
            gid: Some(gid),
            ..SetAttributes::default()
        };
        self.set(&root(), fid, set).unwrap();
    }

    pub fn write(&self, who: &Cred, fid: Fid, offset: u64, bytes: &[u8]) -> Result<Object, crate::service::Refused> {
        let time = self.time();
        let at = baton_types::call::At::Offset(offset);
        self.change_with(who, Request::Write { fid, at, time }, bytes)
    }

    pub fn read(&self, who: &Cred, fid: Fid) -> Result<Bytes, crate::service::Refused> {
        let (offset, len) = (0, 1 << 20);
        Ok(self.ask(who, Request::Read { fid, offset, len })?.1)
    }

    pub fn attributes(&self, fid: Fid) -> Attributes {
        match self.ask(&root(), Request::Getattr { fid }).unwrap().0 {
            Answer::Object(object) => object.attributes,
            other => panic!("{other:?}"),
        }
    }
}
