//! A location database of scripted members, for the tests: real TLS, real gRPC, no Raft.
//!
//! Each member runs on a runtime of its own, so that it can be killed as `kill -9` would: its sockets close,
//! whatever it was doing. All members share one state, as a quorum of them would.

mod service;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use baton_security::auth::cert::CertAcceptor;
use baton_security::callers::Gate;
use baton_security::invitation::{Contact, InvitationCode, Secret};
use baton_security::{Authority, Credential, HostTls, Key, Place, Request as KeyRequest, Subject};
use baton_types::change::ChangeSession;
use baton_types::record::{Event, InvitationKind, Member};
use baton_types::{
    Address, BootClock, CellId, CellName, Clock, EntryName, Error, Hello, Kind, PrincipalName, Timestamp,
};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use self::service::{Service, serve};
use crate::config::CellFile;
use crate::fldb::{FldbClient, Identity};

/// A cell with an authority, and what its database would hold.
pub struct Cell {
    pub authority: Arc<Authority>,
    pub shared: Arc<Shared>,
    directory: TempDir,
}

/// What a quorum of members would agree on.
#[derive(Default)]
pub struct Shared {
    state: Mutex<State>,
    /// The index of the newest event.
    newest: watch::Sender<u64>,
    /// Who heard which beat.
    pub beats: watch::Sender<Vec<(EntryName, u64)>>,
    /// Who heard that a server ended.
    pub attested: Mutex<Vec<EntryName>>,
    /// Who heard which report of a client: whether a server answers.
    pub reports: watch::Sender<Vec<(EntryName, bool)>>,
}

#[derive(Default)]
struct State {
    events: BTreeMap<u64, Event>,
    sessions: HashMap<ChangeSession, (u32, u64)>,
    /// Sessions born before this are forgotten.
    horizon: u64,
    members: Vec<Member>,
}

/// How a member behaves.
#[derive(Clone)]
pub struct Script {
    pub hello: Hello,
    /// What it calls itself, if not by its name.
    pub says: Option<&'static str>,
    /// Instead of deciding anything.
    pub refuses: Option<Error>,
    /// Changes are made, and never answered.
    pub is_mute: bool,
    /// It holds the authority's key.
    pub is_issuer: bool,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            hello: Hello::OURS,
            says: None,
            refuses: None,
            is_mute: false,
            is_issuer: true,
        }
    }
}

/// A member that runs until it is killed or dropped.
pub struct Fake {
    pub name: EntryName,
    pub address: Address,
    /// May be changed while it runs.
    pub script: Arc<Mutex<Script>>,
    /// How many changes it was asked for.
    pub asked: watch::Receiver<usize>,
    runtime: Option<Runtime>,
}

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(BootClock)
}

pub fn name(text: &str) -> EntryName {
    EntryName::parse(text).unwrap()
}

pub fn alice() -> PrincipalName {
    PrincipalName::parse("alice").unwrap()
}

impl Cell {
    pub fn new() -> Cell {
        let cell = CellName::parse("example.org").unwrap();
        Cell {
            authority: Arc::new(Authority::create(&cell, CellId::random(), BootClock.date()).unwrap()),
            shared: Arc::default(),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub fn credential(&self, subject: &Subject) -> Credential {
        let key = Key::generate().unwrap();
        let request = KeyRequest::parse(&key.request().unwrap()).unwrap();
        let certificate = self
            .authority
            .issue(&request, subject, BootClock.date(), 3_600)
            .unwrap();
        Credential::new(self.authority.anchor().clone(), certificate, key).unwrap()
    }

    pub fn alice(&self) -> Identity {
        Identity::User(Arc::new(self.credential(&Subject::User(alice()))))
    }

    fn host_tls(&self, machine: &str) -> Arc<HostTls> {
        let subject = Subject::Host {
            name: name(machine),
            server: None,
        };
        let place = Place::host(self.directory.path().join(machine));
        self.credential(&subject).save(&place).unwrap();
        Arc::new(HostTls::load(place, clock()).unwrap())
    }

    pub fn host(&self, machine: &str) -> Identity {
        Identity::Host(self.host_tls(machine))
    }

    /// Starts the member `machine`.
    pub fn start(&self, machine: &str, script: Script) -> Fake {
        let runtime = Runtime::new().unwrap();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = Address::parse(&socket.local_addr().unwrap().to_string()).unwrap();
        let (asking, asked) = watch::channel(0);
        let script = Arc::new(Mutex::new(script));
        let tls = self.host_tls(machine);
        let acceptor = CertAcceptor::new(self.authority.anchor().clone(), name(machine), clock());
        let service = Service {
            name: name(machine),
            authority: self.authority.clone(),
            shared: self.shared.clone(),
            script: script.clone(),
            asking,
        };
        let gate = Arc::new(Gate::new(vec![Arc::new(acceptor)], Box::new(|_| Ok(())), clock()));
        runtime.spawn(serve(socket, tls, gate, Arc::new(service)));
        Fake {
            name: name(machine),
            address,
            script,
            asked,
            runtime: Some(runtime),
        }
    }

    /// A client that knows these members by their addresses.
    pub fn client(&self, identity: Identity, members: &[&Fake]) -> FldbClient {
        let addresses = members.iter().map(|fake| fake.address.clone()).collect();
        self.client_at(identity, addresses)
    }

    pub fn client_at(&self, identity: Identity, addresses: Vec<Address>) -> FldbClient {
        let file = CellFile::new(self.authority.anchor(), addresses);
        FldbClient::new(&file, identity, &clock()).unwrap()
    }

    pub fn invitation(&self, principal: &str, members: &[&Fake]) -> InvitationCode {
        let contact = |fake: &&Fake| Contact {
            name: fake.name.clone(),
            addresses: vec![fake.address.clone()],
        };
        InvitationCode {
            kind: InvitationKind::User,
            principal: PrincipalName::parse(principal).unwrap(),
            cell: self.authority.anchor().cell().clone(),
            id: self.authority.anchor().id(),
            pin: self.authority.anchor().fingerprint(),
            members: members.iter().map(contact).collect(),
            secret: Secret::random().unwrap(),
        }
    }
}

impl Shared {
    /// The database says that these are its members.
    pub fn set_members(&self, members: &[&Fake]) {
        let member = |(index, fake): (usize, &&Fake)| Member {
            number: index as u64 + 1,
            name: fake.name.clone(),
            addresses: vec![fake.address.clone()],
            issuer: index == 0,
        };
        self.state.lock().members = members.iter().enumerate().map(member).collect();
    }

    /// How often a change was made.
    pub fn made(&self) -> usize {
        self.state.lock().events.len()
    }

    /// Forgets all sessions.
    pub fn forget(&self) {
        let mut state = self.state.lock();
        state.sessions.clear();
        state.horizon = self.applied() + 1;
        drop(state);
        self.make("nothing");
    }

    fn applied(&self) -> u64 {
        *self.newest.borrow()
    }

    /// Something happens.
    pub fn make(&self, what: &str) -> u64 {
        let mut state = self.state.lock();
        let index = self.applied() + 1;
        let event = Event {
            index,
            date: Timestamp(0),
            by: alice(),
            what: what.to_owned(),
            on: String::new(),
            detail: String::new(),
        };
        state.events.insert(index, event);
        drop(state);
        self.newest.send_replace(index);
        index
    }

    /// Makes a change once.
    fn once(&self, session: ChangeSession, sequence: u32, born: u64) -> Result<u64, Error> {
        let state = self.state.lock();
        let lost = |why: &str| Err(Error::new(Kind::SessionLost, "this change").because(why));
        match state.sessions.get(&session) {
            Some((last, index)) if *last == sequence => return Ok(*index),
            Some((last, _)) if *last > sequence => return lost("a later one was answered"),
            None if born < state.horizon => return lost("its session is too old"),
            Some(_) | None => {}
        }
        drop(state);
        let index = self.make("change");
        self.state.lock().sessions.insert(session, (sequence, index));
        Ok(index)
    }
}

impl Fake {
    /// As by `kill -9`.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An address at which nobody listens.
pub fn vacant() -> Address {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = socket.local_addr().unwrap();
    Address::parse(&address.to_string()).unwrap()
}
