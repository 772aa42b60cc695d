//! Operations in service: sent again, also to the next owner, each is done once and answers what it answered first.

use std::sync::Arc;

use baton_types::{
    AggregateId, ClientId, Epoch, Fid, FileName, FilesetName, Incarnation, Kind, ServerId, Timestamp, Vnode,
};
use uuid::Uuid;

use super::sandbox::{BIRTH, FILESET, name};
use crate::aggregate::{Aggregate, Need, Opened};
use crate::create::{Overwrite, Plan, create};
use crate::device::double::{Disk, Port};
use crate::fence::{Grant, Ring};
use crate::fileset::{
    self, Holders, Names, Object, Onto, Place, SetAttributes, SetXattr, create_mount_point, link, mkdir,
    remove_mount_point, remove_xattr, rename, rmdir, set_acl, set_xattr, setattr, symlink, unlink,
};
use crate::format::{FilesetHeader, FilesetKind, Geometry, HashKey, Lsn, MountPoint};
use crate::nodes::Nodes;
use crate::salvage::{Data, check};
use crate::transaction::{Operation, SessionId, Transaction};
use crate::tree::Stop;

fn disk() -> Disk {
    let geometry = Geometry::new(256 * (64 << 10), 64 << 10, 4 << 10).unwrap();
    let disk = Disk::new(geometry.device_bytes, 1);
    let plan = Plan {
        id: AggregateId(Uuid::from_u128(1)),
        name: "agg1".parse().unwrap(),
        geometry: Some(geometry),
        overwrite: Overwrite::Refuse,
        created: Timestamp(0),
    };
    create(&disk.port(), &plan).unwrap();
    disk
}

/// The next owner serves.
fn claim(disk: &Disk, epoch: u64) -> (Arc<Port>, Aggregate) {
    let port = Arc::new(disk.port());
    let grant = Grant {
        epoch: Epoch(epoch),
        server: ServerId(Uuid::from_u128(2)),
        incarnation: Incarnation(Uuid::from_u128(epoch.into())),
        boot: Uuid::from_u128(3),
        principal: "hosts/fs1".to_owned(),
        ring: Ring::Vouched,
    };
    let opened = Opened::open(port.clone(), Nodes::new(port.clone())).unwrap();
    let recovered = opened.claim(grant, Timestamp(1)).unwrap().recover().unwrap();
    (port, recovered.seal().unwrap())
}

/// Makes the fileset and a session in it; gives the root and the first vnode that the session may use.
fn begin(aggregate: &Aggregate) -> (Fid, SessionId, u64) {
    let header = FilesetHeader {
        kind: FilesetKind::ReadWrite,
        name: FilesetName::parse("user.ito").unwrap(),
        hash_key: HashKey([9; 16]),
        created: Timestamp(0),
        quota_bytes: 0,
        quota_files: 0,
        newest_snapshot: Lsn(0),
        origin: 0,
        snapshots_taken: 0,
        version: 0,
    };
    let operation = Operation {
        unique: 77,
        ..Operation::default()
    };
    let root = aggregate
        .create_fileset(FILESET, &header, &operation, BIRTH)
        .unwrap()
        .answer
        .unwrap();
    let (_, session) = aggregate
        .open_session(ClientId(Uuid::from_u128(5)), Timestamp(1))
        .unwrap();
    let (_, range) = aggregate.grant_vnodes(session, FILESET).unwrap();
    (root.fid, session, range.first.number())
}

/// What is sent: by the number of each, so that it can be sent again.
struct Script {
    root: Fid,
    session: SessionId,
    first: u64,
}

const SENT: u32 = 22;

impl Script {
    fn fid(&self, sequence: u32) -> Fid {
        let operation = self.operation(sequence);
        Fid {
            vnode: operation.vnode.unwrap(),
            unique: operation.unique,
            ..self.root
        }
    }

    fn operation(&self, sequence: u32) -> Operation {
        let vnode = self.first + u64::from(sequence);
        Operation {
            session: self.session,
            sequence,
            vnode: Vnode::new(vnode).ok(),
            unique: vnode * 31,
            time: Timestamp(i64::from(sequence)),
            ..Operation::default()
        }
    }

    fn run(&self, sequence: u32, t: &mut Transaction<'_>, names: &Names) -> Result<Object, Stop> {
        let known: [FileName; 6] = ["a", "b", "d", "l", "m", "x"].map(name);
        let [a, b, d, l, m, x] = [0, 1, 2, 3, 4, 5].map(|index: usize| Place {
            directory: self.root,
            name: &known[index],
        });
        let inner = Place {
            directory: self.fid(2),
            name: &known[0],
        };
        let over = Onto::Anything(Holders::Nobody);
        let set = SetAttributes {
            mode: Some(0o600),
            ..SetAttributes::default()
        };
        match sequence {
            1 => fileset::create(t, names, a, BIRTH),
            2 => mkdir(t, names, d, BIRTH),
            3 => mkdir(t, names, d, BIRTH),
            4 => symlink(t, names, l, BIRTH, b"target"),
            5 => create_mount_point(t, names, m, BIRTH, MountPoint::Regular(FILESET)),
            6 => link(t, names, b, self.fid(1)),
            7 => setattr(t, self.fid(1), &set),
            8 => set_acl(t, names, self.fid(1), b"an ACL", &set),
            9 => set_xattr(t, names, self.fid(1), (b"user.x", &[1; 9_000]), SetXattr::Create),
            10 => set_xattr(t, names, self.fid(1), (b"user.x", b"2"), SetXattr::Create),
            11 => remove_xattr(t, names, self.fid(1), b"user.x"),
            12 => rename(t, names, a, inner, over),
            13 => rename(t, names, a, inner, over),
            14 => rename(t, names, d, m, Onto::Exchange),
            15 => rmdir(t, names, m, Holders::Nobody),
            16 => unlink(t, names, b, Holders::Nobody),
            17 => remove_mount_point(t, names, d),
            18 => unlink(t, names, inner, Holders::Somebody),
            19 => rmdir(t, names, m, Holders::Nobody),
            20 => rename(t, names, l, x, Onto::Nothing),
            21 => unlink(t, names, x, Holders::Nobody),
            SENT => unlink(t, names, x, Holders::Nobody),
            other => unreachable!("operation {other}"),
        }
    }
}

/// What each was refused with.
const REFUSED: [(u32, Kind); 5] = [
    (3, Kind::Exists),
    (10, Kind::Exists),
    (13, Kind::NotFound),
    (15, Kind::NotEmpty),
    (SENT, Kind::NotFound),
];

#[test]
fn every_operation_sent_again_answers_as_it_did_first_also_under_the_next_owner() {
    let disk = disk();
    let (port, aggregate) = claim(&disk, 1);
    let (root, session, first) = begin(&aggregate);
    let script = Script { root, session, first };
    let send = |aggregate: &Aggregate, sequence: u32| {
        let fileset = aggregate.fileset(FILESET).unwrap();
        let done = fileset.operate(&script.operation(sequence), Need::GROWTH, |t, names| {
            script.run(sequence, t, names)
        });
        let done = done.unwrap();
        (done.lsn, done.answer.map_err(|error| error.kind))
    };
    let mut answers = Vec::new();
    for sequence in 1..=SENT {
        let answer = send(&aggregate, sequence);
        assert_eq!(send(&aggregate, sequence), answer, "operation {sequence}");
        let expected = REFUSED
            .iter()
            .find(|(refused, _)| *refused == sequence)
            .map(|(_, kind)| *kind);
        assert_eq!(answer.1.err(), expected, "operation {sequence}");
        answers.push(answer.1);
        if sequence == 9 {
            aggregate.checkpoint().unwrap();
        }
    }
    let usage = aggregate.fileset(FILESET).unwrap().usage();
    aggregate.wait(aggregate.last()).unwrap();
    port.stop();
    let (_, aggregate) = claim(&disk, 2);
    for (sequence, answer) in (1..).zip(&answers) {
        assert_eq!(
            send(&aggregate, sequence).1,
            *answer,
            "operation {sequence}, sent to the next owner"
        );
    }
    let fileset = aggregate.fileset(FILESET).unwrap();
    assert_eq!(fileset.usage(), usage);
    // Only the held file is left beside the root, and the ACL.
    assert_eq!((usage.files, usage.bytes), (2, 6));
    let held = fileset.read(|view| fileset::orphans(view, None, 10)).unwrap();
    assert_eq!((held.len(), held[0].vnode), (1, script.fid(1).vnode));
    aggregate.wait(aggregate.last()).unwrap();
    let device = Arc::new(disk.port());
    let report = check(device.clone(), Nodes::new(device), Data::Read).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[test]
fn a_session_makes_only_what_it_was_given_numbers_for() {
    let disk = disk();
    let (_, aggregate) = claim(&disk, 1);
    let (root, session, first) = begin(&aggregate);
    let fileset = aggregate.fileset(FILESET).unwrap();
    let make = |sequence: u32, vnode: u64| {
        let operation = Operation {
            session,
            sequence,
            vnode: Vnode::new(vnode).ok(),
            unique: 1,
            ..Operation::default()
        };
        let called = name(vnode.to_string());
        let place = Place {
            directory: root,
            name: &called,
        };
        let made = fileset.operate(&operation, Need::GROWTH, |t, names| {
            fileset::create(t, names, place, BIRTH)
        });
        made.unwrap().answer.map(drop).map_err(|error| error.kind)
    };
    assert_eq!(make(1, first), Ok(()));
    let (_, other) = aggregate
        .open_session(ClientId(Uuid::from_u128(6)), Timestamp(1))
        .unwrap();
    let (_, foreign) = aggregate.grant_vnodes(other, FILESET).unwrap();
    assert_eq!(make(2, foreign.first.number()), Err(Kind::Invalid));
    let (_, second) = aggregate.grant_vnodes(session, FILESET).unwrap();
    assert_eq!(make(3, second.first.number()), Ok(()), "given after it was asked");
    assert_eq!(make(4, second.first.number() + 1_024), Err(Kind::Invalid));
}

#[test]
fn a_client_has_one_session_and_finds_how_far_it_came() {
    let disk = disk();
    let (port, aggregate) = claim(&disk, 1);
    let (root, session, first) = begin(&aggregate);
    let client = ClientId(Uuid::from_u128(5));
    let script = Script { root, session, first };
    let fileset = aggregate.fileset(FILESET).unwrap();
    for sequence in 1..=3 {
        let operation = script.operation(sequence);
        let done = fileset.operate(&operation, Need::GROWTH, |t, names| script.run(sequence, t, names));
        done.unwrap();
    }
    let state = aggregate.session(session).unwrap();
    assert_eq!((state.client, state.streams), (client, vec![(0, 3)]));
    aggregate.checkpoint().unwrap();
    port.stop();
    let (_, aggregate) = claim(&disk, 2);
    assert_eq!(aggregate.session(session).unwrap().streams, [(0, 3)]);
    let (_, new) = aggregate.open_session(client, Timestamp(2)).unwrap();
    assert_ne!(new, session);
    assert_eq!(aggregate.session(session).unwrap_err().kind, Kind::SessionLost);
    assert_eq!(aggregate.session(new).unwrap().streams, []);
    assert_eq!(aggregate.client(client).unwrap().unwrap().session, new.0);
    aggregate.end_session(new).unwrap();
    aggregate.forget_client(client, session).unwrap();
    assert!(aggregate.client(client).unwrap().is_some(), "it came back since");
    aggregate.forget_client(client, new).unwrap();
    assert_eq!(aggregate.client(client).unwrap(), None);
    aggregate.wait(aggregate.last()).unwrap();
    let device = Arc::new(disk.port());
    let report = check(device.clone(), Nodes::new(device), Data::Read).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}
