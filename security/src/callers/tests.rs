//! Handles: whose they are, where they count, and when they end.

use baton_types::limits::{AUTH_TOKEN_BYTES_MAX, CONVERSATION_SECONDS_MAX, CONVERSATIONS_MAX, LOGIN_FAILURES_MAX};
use baton_types::{CellName, ManualClock};

use super::*;
use crate::auth::cert::{CertAcceptor, CertInitiator};
use crate::auth::{Exchange, Initiator, Step};
use crate::testing::{Cell, after, binding, clock, date, name, principal, user};

/// A mechanism of two tokens: `hello`, then a name. Proves nothing, so it lives in tests alone.
struct Fixed;

impl Acceptor for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn start(&self) -> Box<dyn Exchange> {
        Box::new(Fixed)
    }
}

impl Exchange for Fixed {
    fn step(&mut self, _channel: &Channel, token: &[u8]) -> Result<Step> {
        match std::str::from_utf8(token).unwrap() {
            "hello" => Ok(Step::Continue(b"who?".to_vec())),
            "nobody" => Err(Error::new(Kind::Denied, "login").because("nobody is nobody")),
            who => Ok(Step::Done(b"welcome".to_vec(), identity(who, after(3_600)))),
        }
    }
}

fn identity(who: &str, expires: Timestamp) -> Identity {
    Identity {
        principal: principal(who),
        cell: CellName::parse("example.org").unwrap(),
        mech: "fixed",
        host: None,
        unix: None,
        expires,
    }
}

fn gate(clock: &ManualClock) -> Arc<Gate> {
    let admit: Admit = Box::new(|identity| match identity.principal.as_str() {
        "disabled" => Err(Error::new(Kind::Denied, "login").because("not admitted")),
        _ => Ok(()),
    });
    Arc::new(Gate::new(vec![Arc::new(Fixed)], admit, Arc::new(clock.clone())))
}

fn callers(clock: &ManualClock) -> Callers {
    Callers::new(
        gate(clock),
        Channel {
            binding: binding(1),
            host: None,
        },
    )
}

fn log_in(callers: &Callers, who: &str) -> u32 {
    match callers.login("fixed", 0, who.as_bytes()).unwrap() {
        Answer::Done { caller, .. } => caller,
        Answer::Continue { .. } => panic!("not a name"),
    }
}

fn begin(callers: &Callers) -> Result<u32> {
    match callers.login("fixed", 0, b"hello")? {
        Answer::Continue { conversation, token } => {
            assert_eq!(token, b"who?");
            Ok(conversation)
        }
        Answer::Done { .. } => panic!("too soon"),
    }
}

#[test]
fn conversation_ends_in_a_handle() {
    let callers = callers(&clock());
    let conversation = begin(&callers).unwrap();
    let answer = callers.login("fixed", conversation, b"alice").unwrap();
    let identity = Arc::new(identity("alice", after(3_600)));
    let done = Answer::Done {
        token: b"welcome".to_vec(),
        caller: 1,
        identity: identity.clone(),
        expires: after(3_600),
    };
    assert_eq!(answer, done);
    assert_eq!(callers.identity(1).unwrap(), identity);
}

#[test]
fn conversation_over_or_never_begun_is_refused() {
    let callers = callers(&clock());
    let conversation = begin(&callers).unwrap();
    callers.login("fixed", conversation, b"alice").unwrap();
    for number in [conversation, 99, u32::MAX] {
        let error = callers.login("fixed", number, b"alice").unwrap_err();
        assert_eq!(error.kind, Kind::Invalid);
        assert!(
            error.to_string().contains("none under way on this connection"),
            "{error}"
        );
    }
    let conversation = begin(&callers).unwrap();
    callers.login("fixed", conversation, b"nobody").unwrap_err();
    assert!(
        callers.login("fixed", conversation, b"alice").is_err(),
        "a failure ends it"
    );
}

#[test]
fn conversation_of_another_connection_is_refused() {
    let clock = clock();
    let gate = gate(&clock);
    let connection = |number| {
        Callers::new(
            gate.clone(),
            Channel {
                binding: binding(number),
                host: None,
            },
        )
    };
    let (one, two) = (connection(1), connection(2));
    let conversation = begin(&one).unwrap();
    assert_eq!(
        two.login("fixed", conversation, b"alice").unwrap_err().kind,
        Kind::Invalid
    );
    let caller = log_in(&one, "alice");
    let error = two.identity(caller).unwrap_err();
    assert_eq!((error.kind, error.reason.as_str()), (Kind::Expired, CALLER_UNKNOWN));
}

#[test]
fn conversation_keeps_its_mechanism() {
    let callers = callers(&clock());
    let conversation = begin(&callers).unwrap();
    let error = callers.login("cert", conversation, b"alice").unwrap_err();
    assert!(error.to_string().contains("it is by fixed, to the end"), "{error}");
}

#[test]
fn ninth_conversation_waits_for_one_to_end() {
    let clock = clock();
    let callers = callers(&clock);
    let first: Vec<_> = (0..CONVERSATIONS_MAX).map(|_| begin(&callers).unwrap()).collect();
    let error = begin(&callers).unwrap_err();
    assert_eq!(error.kind, Kind::Limit);
    assert!(error.to_string().contains("8 logins are under way"), "{error}");
    callers.login("fixed", first[0], b"alice").unwrap();
    begin(&callers).unwrap();
    clock.advance(CONVERSATION_SECONDS_MAX * 1_000_000);
    begin(&callers).unwrap();
    assert!(callers.login("fixed", first[1], b"bob").is_err(), "too late");
}

#[test]
fn unknown_mechanism_is_told_those_there_are() {
    let callers = callers(&clock());
    let error = callers.login("krb5", 0, b"x").unwrap_err();
    assert_eq!(error.kind, Kind::Unsupported);
    assert_eq!(
        error.to_string(),
        "login mechanism 'krb5': this server does not offer it; it offers fixed"
    );
    let error = callers.login(&"\0".repeat(1_000), 0, b"x").unwrap_err();
    assert!(error.to_string().len() < 300, "{error}");
    callers.gate.offer(Vec::new());
    assert!(callers.login("fixed", 0, b"alice").is_err());
}

#[test]
fn token_over_the_limit_is_not_even_looked_at() {
    let callers = callers(&clock());
    let error = callers
        .login("fixed", 0, &vec![b'x'; AUTH_TOKEN_BYTES_MAX + 1])
        .unwrap_err();
    assert!(error.to_string().contains("65537 bytes, 65536 at most"), "{error}");
    assert_eq!(begin(&callers).unwrap(), 2, "and its conversation is over");
}

#[test]
fn sixteen_failures_end_the_logins_of_a_connection() {
    let callers = callers(&clock());
    let alice = log_in(&callers, "alice");
    for _ in 0..LOGIN_FAILURES_MAX {
        assert_eq!(callers.login("fixed", 0, b"nobody").unwrap_err().kind, Kind::Denied);
    }
    let error = callers.login("fixed", 0, b"bob").unwrap_err();
    assert_eq!(error.kind, Kind::Limit);
    assert!(
        error.to_string().contains("16 logins failed on this connection"),
        "{error}"
    );
    callers.identity(alice).unwrap(); // who is in stays in
}

#[test]
fn limits_are_no_failures() {
    let callers = callers(&clock());
    for _ in 0..CONVERSATIONS_MAX {
        begin(&callers).unwrap();
    }
    for _ in 0..2 * LOGIN_FAILURES_MAX {
        assert!(begin(&callers).unwrap_err().to_string().contains("under way"));
    }
}

#[test]
fn handle_ends_with_the_proof() {
    let clock = clock();
    let callers = callers(&clock);
    let alice = log_in(&callers, "alice");
    clock.advance(3_600 * 1_000_000 - 1);
    callers.identity(alice).unwrap();
    clock.advance(1);
    let error = callers.identity(alice).unwrap_err();
    assert_eq!((error.kind, error.reason.as_str()), (Kind::Expired, CALLER_EXPIRED));
    assert_eq!(error.to_string(), "caller 1: caller-expired; log in again");
}

#[test]
fn handle_ends_after_ten_hours_whatever_the_proof_says() {
    let clock = clock();
    let callers = callers(&clock);
    let (caller, _, expires) = callers.enter(identity("alice", after(86_400 * 30))).unwrap();
    assert_eq!(expires, after(36_000));
    clock.advance(36_000 * 1_000_000 - 1);
    callers.identity(caller).unwrap();
    clock.advance(1);
    assert!(callers.identity(caller).is_err());
    assert!(
        callers.enter(identity("alice", date())).is_ok(),
        "a proof that is over gives a handle that is over"
    );
}

#[test]
fn setting_the_date_neither_ends_nor_prolongs() {
    let clock = clock();
    let callers = callers(&clock);
    let alice = log_in(&callers, "alice");
    clock.set_date(after(1_000_000));
    callers.identity(alice).unwrap();
    clock.set_date(after(-1_000_000));
    clock.advance(3_600 * 1_000_000);
    assert!(callers.identity(alice).is_err());
}

#[test]
fn nobody_and_unknown_are_told_apart() {
    let callers = callers(&clock());
    assert_eq!(callers.find(0).unwrap(), None);
    let error = callers.identity(0).unwrap_err();
    assert_eq!(
        (error.kind, error.reason.as_str()),
        (Kind::Denied, ANONYMOUS_NOT_ALLOWED)
    );
    for unknown in [1, u32::MAX] {
        let error = callers.find(unknown).unwrap_err();
        assert_eq!((error.kind, error.reason.as_str()), (Kind::Expired, CALLER_UNKNOWN));
    }
}

#[test]
fn handle_is_never_given_out_twice() {
    let callers = callers(&clock());
    let alice = log_in(&callers, "alice");
    callers.logout(alice);
    let bob = log_in(&callers, "bob");
    assert_ne!(alice, bob);
    assert_eq!(callers.find(alice).unwrap_err().reason, CALLER_EXPIRED);

    callers.table.write().next = Some(u32::MAX);
    assert_eq!(log_in(&callers, "carol"), u32::MAX);
    assert_eq!(callers.login("fixed", 0, b"dave").unwrap_err().kind, Kind::Limit);
    assert_eq!(callers.find(u32::MAX - 1).unwrap_err().reason, CALLER_EXPIRED);
    callers.identity(u32::MAX).unwrap();
}

#[test]
fn disabled_principal_is_out_at_once_and_not_let_in_again() {
    let callers = callers(&clock());
    let (alice, bob) = (log_in(&callers, "alice"), log_in(&callers, "bob"));
    let vouched = Identity {
        host: Some(principal("hosts/client1")),
        ..identity("carol", after(3_600))
    };
    let (carol, ..) = callers.enter(vouched).unwrap();
    assert_eq!(callers.end(&principal("alice")), 1);
    assert_eq!(
        callers.end(&principal("hosts/client1")),
        1,
        "and with a machine go those it vouches for"
    );
    assert_eq!(callers.find(alice).unwrap_err().reason, CALLER_EXPIRED);
    assert_eq!(callers.find(carol).unwrap_err().reason, CALLER_EXPIRED);
    callers.identity(bob).unwrap();

    assert!(
        callers
            .login("fixed", 0, b"disabled")
            .unwrap_err()
            .to_string()
            .contains("not admitted")
    );
    assert_eq!(callers.table.read().entries.len(), 1);
}

#[test]
fn full_table_makes_room_only_of_what_is_over() {
    let clock = clock();
    let callers = callers(&clock);
    for _ in 0..CALLERS_MAX {
        log_in(&callers, "alice");
    }
    let error = callers.login("fixed", 0, b"bob").unwrap_err();
    assert_eq!(error.kind, Kind::Limit);
    assert!(error.to_string().contains("1024 callers on this connection"), "{error}");
    clock.advance(3_600 * 1_000_000);
    clock.set_date(date());
    log_in(&callers, "bob");
}

#[test]
fn certificate_becomes_a_handle_again_and_again() {
    let cell = Cell::example();
    let acceptor = CertAcceptor::new(cell.authority.anchor().clone(), name("fs1"), cell.clock());
    let gate = Gate::new(vec![Arc::new(acceptor)], Box::new(|_| Ok(())), cell.clock());
    let channel = Channel {
        binding: binding(1),
        host: None,
    };
    let callers = Callers::new(Arc::new(gate), channel.clone());
    let alice = CertInitiator::new(Arc::new(cell.credential(&user("alice"))));
    let token = alice.start(&name("fs1")).step(&channel, &[]).unwrap();
    for caller in 1..=2 {
        assert!(matches!(callers.login("cert", 0, &token).unwrap(), Answer::Done { caller: c, .. } if c == caller));
        assert_eq!(callers.identity(caller).unwrap().principal, principal("alice"));
    }
    for at in [0, 1, 2] {
        assert!(callers.login("cert", 0, &token[at + 1..]).is_err());
    }
}
