//! Who users are, with and without an identity of their own.

use baton_security::{Authority, Request, Subject, write_certificate};
use baton_types::{CellId, EntryName, ManualClock, Timestamp};

use super::*;

const LIFETIME: u64 = 3_600;
const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

struct Cell {
    authority: Authority,
    clock: ManualClock,
}

/// What the files of an identity hold.
struct Identity {
    authority: String,
    certificate: String,
    key: String,
}

impl Identity {
    fn files(&self) -> Files<'_> {
        Files {
            authority: self.authority.as_bytes(),
            certificate: self.certificate.as_bytes(),
            key: self.key.as_bytes(),
        }
    }
}

impl Cell {
    fn new() -> Cell {
        let clock = ManualClock::default();
        clock.set_date(NOW);
        let name = CellName::parse("example.org").unwrap();
        Cell {
            authority: Authority::create(&name, CellId::random(), NOW).unwrap(),
            clock,
        }
    }

    fn identity(&self, subject: &Subject) -> Identity {
        let key = Key::generate().unwrap();
        let request = Request::parse(&key.request().unwrap()).unwrap();
        let certificate = self.authority.issue(&request, subject, NOW, LIFETIME).unwrap();
        Identity {
            authority: self.authority.anchor().to_pem(),
            certificate: write_certificate(&certificate),
            key: key.to_pem().to_string(),
        }
    }

    fn alice(&self) -> Identity {
        self.identity(&Subject::User(PrincipalName::parse("alice").unwrap()))
    }

    fn users(&self, registered: &Arc<Registered>, speaks: Speaks) -> Users {
        let clock = Arc::new(self.clock.clone());
        Users::new(
            self.authority.anchor().cell().clone(),
            registered.clone(),
            speaks,
            clock,
        )
    }

    fn login(&self, registered: &Registered, uid: u32, identity: &Identity) -> Result<PrincipalName> {
        registered.login(uid, identity.files(), |_| Ok(self.authority.anchor().clone()))
    }
}

fn who(uid: u32) -> Who {
    Who {
        uid,
        gid: 100,
        groups: vec![100, 200],
        pid: 1,
    }
}

fn mech(users: &Users, uid: u32) -> Option<&'static str> {
    users.initiator(&who(uid)).unwrap().map(|initiator| initiator.name())
}

#[test]
fn a_registered_identity_goes_before_the_word_of_the_machine() {
    let (cell, registered) = (Cell::new(), Arc::new(Registered::default()));
    let users = cell.users(&registered, Speaks::ForAll);
    assert_eq!(mech(&users, 4_001), Some(host_trust::MECH));
    let principal = cell.login(&registered, 4_001, &cell.alice()).unwrap();
    assert_eq!(principal.as_str(), "alice");
    assert_eq!(mech(&users, 4_001), Some(cert::MECH));
    assert_eq!(users.identity(4_001).unwrap(), Some((principal, cert::MECH)));
    assert_eq!(mech(&users, 4_002), Some(host_trust::MECH), "another user is not alice");
    assert_eq!(registered.logout(4_001), 1);
    assert_eq!(mech(&users, 4_001), Some(host_trust::MECH));
    assert_eq!(registered.logout(4_001), 0);
}

#[test]
fn a_machine_that_is_not_of_the_cell_speaks_for_nobody() {
    let (cell, registered) = (Cell::new(), Arc::new(Registered::default()));
    let users = cell.users(&registered, Speaks::ForNobody);
    assert_eq!(mech(&users, 4_001), None);
    assert_eq!(users.identity(4_001).unwrap(), None);
    cell.login(&registered, 4_001, &cell.alice()).unwrap();
    assert_eq!(mech(&users, 4_001), Some(cert::MECH));
}

#[test]
fn an_identity_that_is_over_says_so_and_is_not_replaced_by_less() {
    let (cell, registered) = (Cell::new(), Arc::new(Registered::default()));
    let users = cell.users(&registered, Speaks::ForAll);
    cell.login(&registered, 4_001, &cell.alice()).unwrap();
    cell.clock.set_date(NOW.plus_seconds(LIFETIME + 1));
    let error = users.initiator(&who(4_001)).err().unwrap();
    assert_eq!(error.kind, Kind::Denied);
    assert!(
        error
            .to_string()
            .starts_with("identity of alice@example.org: expired at"),
        "{error}"
    );
    assert!(
        error.to_string().ends_with("; show the one you have now: baton login"),
        "{error}"
    );
}

#[test]
fn a_refused_user_is_not_tried_again_at_once_unless_he_logs_in() {
    let (cell, registered) = (Cell::new(), Arc::new(Registered::default()));
    let users = cell.users(&registered, Speaks::ForAll);
    let refuse = || users.refused(&who(4_001), &Error::new(Kind::Denied, "login by host-trust"));
    let is_tried = || users.initiator(&who(4_001)).is_ok();
    refuse();
    assert!(!is_tried());
    assert!(users.initiator(&who(4_002)).is_ok(), "another user is another matter");
    cell.clock.advance(REFUSED);
    assert!(is_tried());
    refuse();
    assert!(!is_tried());
    cell.login(&registered, 4_001, &cell.alice()).unwrap();
    assert!(is_tried());
}

#[test]
fn files_that_are_no_identity_of_this_cell_are_refused() {
    let (cell, other, registered) = (Cell::new(), Cell::new(), Registered::default());
    let error = cell.login(&registered, 1, &other.alice()).unwrap_err();
    assert!(
        error.to_string().contains("knows another authority of example.org"),
        "{error}"
    );
    let machine = Subject::Host {
        name: EntryName::parse("fs1").unwrap(),
        server: None,
    };
    let error = cell.login(&registered, 1, &cell.identity(&machine)).unwrap_err();
    assert_eq!(error.to_string(), "user.pem: it is a machine's, and no user's");
    let strange = Identity {
        key: cell.alice().key,
        ..cell.alice()
    };
    assert!(cell.login(&registered, 1, &strange).is_err(), "the key is another's");
    assert!(registered.of(cell.authority.anchor().cell(), 1).is_none());
}

#[test]
fn users_are_called_what_the_machine_calls_them() {
    let table =
        b"root:x:0:0:root:/root:/bin/sh\nito:x:4001:100::/home/ito:/bin/sh\nb d:x:4002:1:::\nhosts:x:4003:1:::\n";
    let named = |uid| name_in(table, uid).map(|name| name.to_string());
    assert_eq!(named(0).as_deref(), Some("root"));
    assert_eq!(named(4_001).as_deref(), Some("ito"));
    for (uid, why) in [(4_002, "no good name"), (4_003, "machines' names"), (7, "not there")] {
        assert_eq!(named(uid), None, "{why}");
    }
    assert_eq!(principal_of(4_294_967_294).as_str(), "uid4294967294");
}
