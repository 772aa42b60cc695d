//! The service over its own wire: sessions, nonsense, forgery, the end.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use baton_aggregate::device::double::Disk;
use baton_proto::files::{decode_answer, encode_call, op_of};
use baton_rpc::Owner;
use baton_rpc::session::frame::{Frame, Name};
use baton_rpc::wire::{Dial, Files};
use baton_security::{Authority, Credential, Key, Place, Request as KeyRequest, Subject};
use baton_types::call::{Answer, Request, Role};
use baton_types::{Address, AggregateId, BootClock, CellId, CellName, Epoch, FilesetId, FrameKind, Kind};
use bytes::Bytes;

use super::*;
use crate::exports::Exports;
use crate::testing::{export, make_fileset, new_disk};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    address: SocketAddr,
    client: Files,
    owner: Owner,
    fileset: FilesetId,
    server: Server,
    _disk: Disk,
    _directory: tempfile::TempDir,
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(BootClock)
}

fn credential(authority: &Authority, machine: &EntryName) -> Credential {
    let key = Key::generate().unwrap();
    let request = KeyRequest::parse(&key.request().unwrap()).unwrap();
    let subject = Subject::Host {
        name: machine.clone(),
        server: None,
    };
    let certificate = authority.issue(&request, &subject, BootClock.date(), 3_600).unwrap();
    Credential::new(authority.anchor().clone(), certificate, key).unwrap()
}

fn rig() -> Rig {
    let cell = CellName::parse("example.org").unwrap();
    let authority = Authority::create(&cell, CellId::random(), BootClock.date()).unwrap();
    let name = EntryName::parse("fs1").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let place = Place::host(directory.path().join("fs1"));
    credential(&authority, &name).save(&place).unwrap();
    let tls = Arc::new(HostTls::load(place, clock()).unwrap());

    let disk = new_disk(1);
    let exported = export(&disk, Epoch(1));
    let fileset = make_fileset(exported.aggregate(), 4, "home");
    let (registry, pushes) = (Arc::new(Registry::default()), Arc::new(Pushes::default()));
    let exports = Arc::new(Exports::new(1 << 20));
    let service = Service::start(exports, registry.clone(), pushes.clone(), clock()).unwrap();
    service.serve(&exported).unwrap();
    // Sockets that share a port find the same free one only if it is named.
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let server = Server::start(Setup {
        addresses: vec![address],
        tls,
        anchor: authority.anchor().clone(),
        name: name.clone(),
        limits: ListenLimits::default(),
        clock: clock(),
        service: Arc::new(service),
        registry,
        pushes,
        loops: 2,
        pulse: Arc::new(Pulse::new(clock())),
    })
    .unwrap();
    let tls = baton_security::ClientTls::anonymous(authority.anchor(), Wire::Files, &clock()).unwrap();
    Rig {
        address,
        client: Files {
            client: ClientId::random(),
            tls: Arc::new(move || tls.clone()),
            source: None,
            pool: Arc::default(),
        },
        owner: Owner {
            aggregate: exported.id,
            epoch: Epoch(1),
            server: name,
            addresses: vec![Address::parse(&address.to_string()).unwrap()],
        },
        fileset,
        server,
        _disk: disk,
        _directory: directory,
    }
}

fn call(session: u64, stream: u16, request: &Request) -> Frame {
    let op = op_of(request);
    let name = Name {
        session,
        op,
        stream,
        ..Name::default()
    };
    Frame::new(name, FrameKind::Call, encode_call(request, 0), Bytes::new()).unwrap()
}

impl Rig {
    fn dial(&self, role: Role) -> Box<dyn baton_rpc::wire::Wire> {
        self.client.dial(&self.owner, role).unwrap()
    }

    fn bind(&self, wire: &mut dyn baton_rpc::wire::Wire, session: u64) -> u64 {
        let (aggregate, epoch) = (self.owner.aggregate, self.owner.epoch);
        match ask(
            wire,
            session,
            &Request::Bind {
                aggregate,
                epoch,
                round: 0,
            },
        ) {
            Ok(Answer::Bound { session, epoch, .. }) => {
                assert_eq!(epoch, self.owner.epoch);
                session
            }
            other => panic!("{other:?}"),
        }
    }
}

fn ask(wire: &mut dyn baton_rpc::wire::Wire, session: u64, request: &Request) -> Result<Answer> {
    wire.send(&[call(session, 9, request)])?;
    let frame = wire.recv(PATIENCE)?.expect("an answer in time");
    assert_eq!((frame.header.kind, frame.header.stream), (FrameKind::Reply, 9));
    decode_answer(&frame.meta, request)
}

#[test]
fn a_session_is_bound_and_lives_and_no_call_comes_before_that() {
    let rig = rig();
    let mut wire = rig.dial(Role::Call);
    assert_eq!(ask(&mut *wire, 0, &Request::Renew).unwrap_err().kind, Kind::WrongEpoch);
    let session = rig.bind(&mut *wire, 0);
    assert!(matches!(
        ask(&mut *wire, session, &Request::Renew),
        Ok(Answer::Renewed { .. })
    ));
    let other = ask(&mut *wire, session + 1, &Request::Renew);
    assert_eq!(other.unwrap_err().kind, Kind::Invalid, "another's session");
    let mut again = rig.dial(Role::Call);
    assert_eq!(
        rig.bind(&mut *again, session),
        session,
        "one session has many connections"
    );
    let mut push = rig.dial(Role::Push);
    rig.bind(&mut *push, session);
    let fileset = rig.fileset;
    let refused = ask(&mut *push, session, &Request::Statfs { fileset });
    assert_eq!(
        refused.unwrap_err().kind,
        Kind::Invalid,
        "a push connection takes no calls"
    );
}

#[test]
fn nonsense_is_refused_or_cut_off_and_others_are_served() {
    let rig = rig();
    let mut sound = rig.dial(Role::Call);
    let session = rig.bind(&mut *sound, 0);

    // Not even TLS.
    TcpStream::connect(rig.address)
        .unwrap()
        .write_all(b"GET / HTTP/1.0\r\n\r\n")
        .unwrap();

    // A frame whose metadata is none is refused, and the connection goes on.
    let mut odd = rig.dial(Role::Call);
    let name = Name {
        op: 17,
        stream: 9,
        ..Name::default()
    };
    odd.send(&[Frame::new(name, FrameKind::Call, vec![0xff; 40], Bytes::new()).unwrap()])
        .unwrap();
    let refused = odd.recv(PATIENCE).unwrap().unwrap();
    assert!(decode_answer(&refused.meta, &Request::Renew).is_err());
    rig.bind(&mut *odd, session);

    // An unknown operation, one that is not what its number says.
    let name = Name { op: 999, ..name };
    odd.send(&[Frame::new(name, FrameKind::Call, Vec::new(), Bytes::new()).unwrap()])
        .unwrap();
    let refused = odd.recv(PATIENCE).unwrap().unwrap();
    let error = decode_answer(&refused.meta, &Request::Renew).unwrap_err();
    assert_eq!(error.kind, Kind::Unsupported);

    // A client that sends what only servers do is cut off.
    let name = Name { op: 4, ..name };
    odd.send(&[Frame::new(name, FrameKind::Reply, Vec::new(), Bytes::new()).unwrap()])
        .unwrap();
    assert!(odd.recv(PATIENCE).is_err());

    assert!(ask(&mut *sound, session, &Request::Renew).is_ok());
}

#[test]
fn an_aggregate_that_is_elsewhere_and_a_forged_session_are_refused() {
    let rig = rig();
    let mut wire = rig.dial(Role::Call);
    let (aggregate, epoch) = (AggregateId::random(), Epoch(1));
    let refused = ask(
        &mut *wire,
        0,
        &Request::Bind {
            aggregate,
            epoch,
            round: 0,
        },
    )
    .unwrap_err();
    assert!(
        matches!(refused.kind, Kind::Moved | Kind::WrongEpoch | Kind::Detached),
        "{refused:?}"
    );
    let aggregate = rig.owner.aggregate;
    let refused = ask(
        &mut *wire,
        12_345,
        &Request::Bind {
            aggregate,
            epoch,
            round: 0,
        },
    )
    .unwrap_err();
    assert_eq!(refused.kind, Kind::SessionLost);
    assert!(rig.bind(&mut *wire, 0) > 0);
}

#[test]
fn a_server_that_ends_leaves_no_connection() {
    let mut rig = rig();
    let mut wire = rig.dial(Role::Call);
    rig.bind(&mut *wire, 0);
    rig.server.stop.send_replace(true);
    rig.server.loops.drain(..).for_each(|thread| thread.join().unwrap());
    assert!(wire.recv(PATIENCE).is_err());
    assert!(rig.client.dial(&rig.owner, Role::Call).is_err());
}
