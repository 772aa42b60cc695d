//! What goes out comes back the same, and what cannot be is refused.

use baton_types::call::{Answer, At, Hold, Keep, Lock, LockKind, Newborn, Onto, Patience, Push, Request, Role};
use baton_types::file::{Attributes, FileKind, Listed, MountPoint, Object, Place, SetAttributes, SetTime};
use baton_types::{AggregateId, ClientId, Error, Fid, FileName, FilesetId, Hello, Kind, Timestamp, Vnode};

use super::{
    ClientHello, decode_answer, decode_call, decode_push, encode_answer, encode_call, encode_failure, encode_push,
    op_of,
};

fn fid(vnode: u64) -> Fid {
    Fid {
        fileset: FilesetId(7),
        vnode: Vnode::new(vnode).unwrap(),
        unique: u64::MAX - vnode,
    }
}

fn place(name: &[u8]) -> Place {
    Place {
        directory: fid(1),
        name: FileName::parse(name).unwrap(),
    }
}

fn object() -> Object {
    Object {
        fid: fid(9),
        attributes: Attributes {
            kind: FileKind::Regular,
            mode: 0o4755,
            uid: 1,
            gid: 2,
            links: 3,
            size: 1 << 50,
            blocks: 5,
            data_version: 6,
            accessed: Timestamp(-1),
            modified: Timestamp(8),
            changed: Timestamp(i64::MAX),
            created: Timestamp(10),
            parent: Some(Vnode::ROOT),
            device: 11,
            acl: 12,
        },
    }
}

fn requests() -> Vec<Request> {
    let newborn = Newborn {
        vnode: Vnode::new(77).unwrap(),
        unique: 5,
        mode: 0o644,
    };
    let time = Timestamp(99);
    let lock = Lock {
        owner: u64::MAX,
        first: 0,
        last: u64::MAX,
        kind: LockKind::Write,
        pid: 4,
    };
    vec![
        Request::Logout,
        Request::Renew,
        Request::Lookup {
            place: place(b"\xff\n"),
        },
        Request::Create {
            place: place(b"a"),
            newborn,
            time,
        },
        Request::CreateMountPoint {
            place: place(b"m"),
            newborn,
            leads_to: MountPoint::ReadWrite(FilesetId(4)),
            time,
        },
        Request::Rename {
            source: place(b"a"),
            target: place(b"b"),
            onto: Onto::Anything(Keep::Open),
            time,
        },
        Request::Setattr {
            fid: fid(3),
            set: SetAttributes {
                mode: Some(0),
                size: Some(0),
                accessed: Some(SetTime::Now),
                modified: Some(SetTime::To(Timestamp(-5))),
                ..SetAttributes::default()
            },
            time,
        },
        Request::Write {
            fid: fid(3),
            at: At::End,
            time,
        },
        Request::Lock {
            fid: fid(3),
            lock,
            patience: Patience::Wait,
        },
        Request::CancelLock { fid: fid(3), lock },
        Request::Bind {
            aggregate: AggregateId::random(),
            epoch: baton_types::Epoch(4),
            round: 7,
        },
    ]
}

#[test]
fn calls_survive_the_wire() {
    for request in requests() {
        let meta = encode_call(&request, 3);
        assert_eq!(decode_call(op_of(&request), &meta).unwrap(), (request, 3));
    }
}

#[test]
fn a_call_under_another_operation_is_refused() {
    let meta = encode_call(&Request::Renew, 0);
    assert_eq!(decode_call(2, &meta).unwrap_err().kind, Kind::Invalid);
    assert_eq!(decode_call(999, &[]).unwrap_err().kind, Kind::Unsupported);
}

#[test]
fn answers_survive_the_wire() {
    let asked = Request::Readdir {
        fid: fid(1),
        cookie: 0,
        bytes: 4_096,
        plus: true,
    };
    let listed = Listed {
        name: b"x\xfe".to_vec(),
        fid: fid(8),
        kind: FileKind::Fifo,
        cookie: u64::MAX,
        attributes: Some(object().attributes),
    };
    let answers = [
        Answer::Done,
        Answer::Bound {
            session: 3,
            epoch: baton_types::Epoch(4),
            streams: vec![(0, 1), (63, u32::MAX)],
            date: Timestamp(5),
            durable: 6,
        },
        Answer::Joined {
            hold: Hold::Alone,
            serial: 9,
            root: object(),
        },
        Answer::Changed {
            object: object(),
            lsn: 1,
            durable: 0,
            after: vec![(0, 7), (63, u32::MAX)],
        },
        Answer::Listing {
            names: vec![listed],
            is_end: true,
        },
        Answer::Sought(None),
        Answer::InTheWay(None),
    ];
    for answer in answers {
        assert_eq!(decode_answer(&encode_answer(&answer), &asked).unwrap(), answer);
    }
    let refusal = Error::new(Kind::Exists, "a").because("b").remedy("c");
    assert_eq!(
        decode_answer(&encode_failure(&refusal, 7), &asked).unwrap_err(),
        refusal
    );
}

#[test]
fn values_that_cannot_be_are_refused() {
    let bad_name = crate::v1::FileCall {
        seen: 0,
        call: Some(crate::v1::file_call::Call::Lookup(crate::v1::PlaceCall {
            place: Some(crate::v1::FilePlace {
                directory: Some(fid(1).into()),
                name: b"..".to_vec(),
            }),
        })),
    };
    let meta = prost::Message::encode_to_vec(&bad_name);
    assert_eq!(decode_call(18, &meta).unwrap_err().kind, Kind::Invalid);
    for garbage in [&[0xff_u8; 40][..], &[0x0a], &[0x92, 0x01, 0x00]] {
        assert!(decode_call(18, garbage).is_err());
    }
}

#[test]
fn pushes_and_hellos_survive_the_wire() {
    for push in [
        Push::Revoke {
            fileset: FilesetId(1),
            serial: 2,
        },
        Push::Durable {
            aggregate: AggregateId::random(),
            durable: 3,
        },
        Push::Moved {
            aggregate: AggregateId::random(),
        },
    ] {
        assert_eq!(decode_push(&encode_push(&push).1).unwrap(), Some(push));
    }
    assert_eq!(decode_push(&[]).unwrap(), None);
    let hello = ClientHello {
        hello: Hello::OURS,
        client: ClientId::random(),
        role: Role::Push,
    };
    assert_eq!(ClientHello::decode(&hello.encode()).unwrap(), hello);
}
