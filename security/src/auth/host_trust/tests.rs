//! Logins on a machine's word: whose word counts, and for whom.

use proptest::prelude::{any, prop_assert_eq, proptest};

use super::*;
use crate::testing::{Cell, after, binding, host, name, principal, user};

fn trust(may: MayAssert) -> HostTrustAcceptor {
    HostTrustAcceptor::new(Arc::new(move |machine| match machine.as_str() {
        "hosts/client1" => may,
        _ => MayAssert::Nobody,
    }))
}

fn channel(machine: &str) -> Channel {
    let names = Cell::example().credential(&host(machine)).names().clone();
    Channel {
        binding: binding(1),
        host: Some(names),
    }
}

fn unix(uid: u32) -> UnixIds {
    UnixIds {
        uid,
        gid: 100,
        groups: vec![100, 4, 27],
    }
}

fn token(name_of_user: &str, uid: u32) -> Vec<u8> {
    let initiator = HostTrustInitiator::new(principal(name_of_user), unix(uid));
    initiator.start(&name("fs1")).step(&channel("client1"), &[]).unwrap()
}

fn step(acceptor: &HostTrustAcceptor, channel: &Channel, token: &[u8]) -> Result<Identity> {
    match acceptor.start().step(channel, token)? {
        Step::Done(_, identity) => Ok(identity),
        Step::Continue(_) => panic!("one token is enough"),
    }
}

#[test]
fn trusted_machine_speaks_for_its_users() {
    let identity = step(&trust(MayAssert::Users), &channel("client1"), &token("alice", 1_000)).unwrap();
    assert_eq!(identity.to_string(), "alice@example.org");
    assert_eq!((identity.mech, identity.unix), ("host-trust", Some(unix(1_000))));
    assert_eq!(identity.host, Some(principal("hosts/client1")));
    assert_eq!(
        identity.expires,
        after(30 * 86_400),
        "the machine's word is good as long as its certificate"
    );
}

#[test]
fn others_are_not_believed() {
    let refusal = |may, channel: &Channel| {
        let error = step(&trust(may), channel, &token("alice", 1_000)).unwrap_err();
        assert_eq!(error.kind, Kind::Denied);
        error.to_string()
    };
    assert!(refusal(MayAssert::Nobody, &channel("client1")).contains("may not speak for its users"));
    assert!(refusal(MayAssert::UsersAndRoot, &channel("client2")).contains("may not speak for its users"));
    let nobody = Channel {
        binding: binding(1),
        host: None,
    };
    assert!(refusal(MayAssert::UsersAndRoot, &nobody).contains("shows no machine's certificate"));
}

/// Were a user's certificate ever let through the handshake, it would still not be a machine that is marked.
#[test]
fn user_is_no_machine() {
    let names = Cell::example().credential(&user("alice")).names().clone();
    let channel = Channel {
        binding: binding(1),
        host: Some(names),
    };
    assert!(step(&trust(MayAssert::Users), &channel, &token("bob", 1_000)).is_err());
}

#[test]
fn root_needs_its_own_mark() {
    let error = step(&trust(MayAssert::Users), &channel("client1"), &token("root", 0)).unwrap_err();
    assert!(error.to_string().contains("may not speak for its root"), "{error}");
    let identity = step(&trust(MayAssert::UsersAndRoot), &channel("client1"), &token("root", 0)).unwrap();
    assert_eq!(identity.unix.unwrap().uid, 0);
}

#[test]
fn impossible_statements_are_refused() {
    let refused = |token: &[u8]| {
        step(&trust(MayAssert::UsersAndRoot), &channel("client1"), token)
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&token("hosts/fs1", 1_000)).contains("its own certificate"));
    assert!(refused(&token("hosts", 1_000)).contains("its own certificate"));
    assert!(refused(&token("alice", u32::MAX)).contains("no uid"));
    let plain = token("alice", 1_000);
    let head = &plain[..plain.len() - "alice".len()];
    assert!(refused(head).contains("empty"));
    assert!(refused(&[head, b"al\0ice"].concat()).contains("not allowed"));
    assert!(refused(&[head, &[0xff]].concat()).contains("not ASCII"));
    assert!(refused(&[head, &[b'x'; 257]].concat()).contains("257 bytes, 256 at most"));
    assert!(refused(&[]).contains("shorter than it says"));
    assert!(refused(&[0xff; 20]).contains("65535 groups, 1024 at most"));
    let many = UnixIds {
        groups: vec![1; 1_025],
        ..unix(1_000)
    };
    let mut exchange = HostTrustInitiator::new(principal("alice"), many).start(&name("fs1"));
    assert!(
        exchange
            .step(&channel("client1"), &[])
            .unwrap_err()
            .to_string()
            .contains("1025 groups")
    );
}

proptest! {
    #[test]
    fn prop_any_bytes_are_a_statement_or_refused(token in proptest::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(statement) = Statement::decode(&token) {
            prop_assert_eq!(statement.encode().unwrap(), token);
        }
    }

    #[test]
    fn prop_statements_survive_the_wire(uid in 0..u32::MAX, groups in proptest::collection::vec(any::<u32>(), 0..40)) {
        let statement = Statement { principal: principal("alice/admin"), unix: UnixIds { uid, gid: 7, groups } };
        prop_assert_eq!(Statement::decode(&statement.encode().unwrap()).unwrap(), statement);
    }
}
