//! Credentials on disk: read, written, renewed, and never mixed up.

use super::*;
use crate::testing::{Cell, LIFETIME, after, date, host, user};
use crate::{Request, Subject};

fn issue(cell: &Cell, key: &Key, subject: &Subject, now: Timestamp) -> CertificateDer<'static> {
    let request = Request::parse(&key.request().unwrap()).unwrap();
    cell.authority.issue(&request, subject, now, LIFETIME).unwrap()
}

#[test]
fn credential_survives_its_files() {
    let cell = Cell::example();
    let dir = tempfile::tempdir().unwrap();
    for (place, subject) in [
        (Place::host(dir.path().join("pki")), host("fs1")),
        (Place::user(dir.path().join("example.org")), user("alice")),
    ] {
        let made = cell.credential(&subject);
        made.save(&place).unwrap();
        let read = Credential::load(&place).unwrap();
        assert_eq!(read.names(), made.names());
        assert_eq!(read.key().fingerprint(), made.key().fingerprint());
        assert_eq!(read.anchor(), cell.authority.anchor());
    }
    assert!(dir.path().join("pki/host.key").exists());
    assert!(dir.path().join("example.org/user.pem").exists());
}

#[test]
fn credential_is_never_overwritten() {
    let cell = Cell::example();
    let dir = tempfile::tempdir().unwrap();
    let place = Place::host(dir.path());
    let first = cell.credential(&host("fs1"));
    first.save(&place).unwrap();
    let error = cell.credential(&host("fs2")).save(&place).unwrap_err();
    assert_eq!(error.kind, Kind::Exists);
    assert!(error.to_string().contains("move it away to join anew"), "{error}");
    assert_eq!(Credential::load(&place).unwrap().names(), first.names());
}

#[test]
fn join_that_was_cut_short_may_be_tried_again() {
    let cell = Cell::example();
    let dir = tempfile::tempdir().unwrap();
    let place = Place::host(dir.path());
    cell.credential(&host("fs1")).save(&place).unwrap();
    std::fs::remove_file(place.certificate()).unwrap(); // as if it had crashed before the last step
    let again = cell.credential(&host("fs1"));
    again.save(&place).unwrap();
    assert_eq!(
        Credential::load(&place).unwrap().key().fingerprint(),
        again.key().fingerprint()
    );
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let (cell, other) = (Cell::example(), Cell::new("other.org"));
    let certificate = cell.credential(&user("alice")).certificate().clone();
    let error = Credential::new(
        cell.authority.anchor().clone(),
        certificate.clone(),
        Key::generate().unwrap(),
    )
    .unwrap_err();
    assert!(error.to_string().contains("it is for another key"), "{error}");

    let key = Key::generate().unwrap();
    let foreign = issue(&other, &key, &user("alice"), date());
    let error = Credential::new(cell.authority.anchor().clone(), foreign, key).unwrap_err();
    assert!(
        error.to_string().contains("not made by this cell's authority"),
        "{error}"
    );
}

#[test]
fn broken_files_are_named() {
    let cell = Cell::example();
    let dir = tempfile::tempdir().unwrap();
    let place = Place::host(dir.path());
    let missing = Credential::load(&place).unwrap_err();
    assert_eq!(missing.kind, Kind::NotFound);
    assert!(missing.on.ends_with("host.pem"), "{missing}");

    cell.credential(&host("fs1")).save(&place).unwrap();
    let key = std::fs::read(place.key()).unwrap();
    std::fs::write(
        place.key(),
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    )
    .unwrap();
    let error = Credential::load(&place).unwrap_err();
    assert!(error.on.ends_with("host.key") && error.kind == Kind::Invalid, "{error}");
    std::fs::write(place.key(), key).unwrap();
    std::fs::write(place.authority(), b"nothing").unwrap();
    let error = Credential::load(&place).unwrap_err();
    assert!(error.on.ends_with("ca.pem") && error.kind == Kind::Invalid, "{error}");
}

#[test]
fn renewal_keeps_key_and_holder() {
    let cell = Cell::example();
    let dir = tempfile::tempdir().unwrap();
    let place = Place::user(dir.path());
    let alice = cell.credential(&user("alice"));
    alice.save(&place).unwrap();
    assert!(!alice.is_due(after(19 * 86_400)));
    assert!(alice.is_due(after(20 * 86_400)));

    let later = after(20 * 86_400);
    alice
        .renew(&place, &issue(&cell, alice.key(), &user("alice"), later))
        .unwrap();
    let renewed = Credential::load(&place).unwrap();
    assert_eq!(renewed.key().fingerprint(), alice.key().fingerprint());
    assert!(!renewed.is_due(later));

    let refusal = |certificate| alice.renew(&place, &certificate).unwrap_err().to_string();
    let bobs = issue(&cell, alice.key(), &user("bob"), later);
    assert!(refusal(bobs).contains("bob@example.org: it is no renewal of the one of alice@example.org"));
    let of_another_key = issue(&cell, &Key::generate().unwrap(), &user("alice"), later);
    assert!(refusal(of_another_key).contains("it is for another key"));
    assert_eq!(Credential::load(&place).unwrap().names(), renewed.names());
}
