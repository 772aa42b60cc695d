//! What an authority makes, keeps and refuses.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::Names;
use crate::testing::{Cell, LIFETIME, after, date, host, principal, server, user};

#[test]
fn saved_authority_goes_on_issuing() {
    let cell = Cell::example();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pki");
    cell.authority.save(&path).unwrap();
    assert_eq!(
        std::fs::metadata(path.join("ca.key")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);

    let again = Authority::load(&path).unwrap();
    assert_eq!(again.anchor(), cell.authority.anchor());
    let request = Request::parse(&Key::generate().unwrap().request().unwrap()).unwrap();
    let certificate = again.issue(&request, &user("alice"), date(), LIFETIME).unwrap();
    let names = cell.authority.anchor().verify(&certificate, date()).unwrap();
    assert_eq!(names.to_string(), "alice@example.org");
}

#[test]
fn authority_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    Cell::example().authority.save(dir.path()).unwrap();
    let before = std::fs::read(dir.path().join("ca.key")).unwrap();
    let error = Cell::example().authority.save(dir.path()).unwrap_err();
    assert_eq!(error.kind, Kind::Exists);
    assert_eq!(std::fs::read(dir.path().join("ca.key")).unwrap(), before);
}

#[test]
fn key_of_another_authority_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    Cell::example().authority.save(&dir.path().join("one")).unwrap();
    Cell::example().authority.save(&dir.path().join("two")).unwrap();
    std::fs::copy(dir.path().join("one/ca.pem"), dir.path().join("two/ca.pem")).unwrap();
    let error = Authority::load(&dir.path().join("two")).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("two/ca.key: the key is not the one in ca.pem"),
        "{error}"
    );
}

#[test]
fn key_that_others_can_read_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    Cell::example().authority.save(dir.path()).unwrap();
    std::fs::set_permissions(dir.path().join("ca.key"), std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(Authority::load(dir.path()).unwrap_err().kind, Kind::Denied);
}

#[test]
fn certificate_says_what_the_authority_says() {
    let cell = Cell::example();
    let id = ServerId::random();
    let names = cell.credential(&server("fs1", id)).names().clone();
    assert_eq!(names.principal, principal("hosts/fs1"));
    assert_eq!((names.host(), names.server), (Some("fs1"), Some(id)));
    assert_eq!(names.validity, Validity::starting(date(), LIFETIME));
    let names = cell.credential(&host("client1")).names().clone();
    assert_eq!((names.host(), names.server), (Some("client1"), None));
}

/// Somebody asks to be called `alice`, an authority and a server; he becomes what the authority calls him.
#[test]
fn wishes_in_a_request_are_not_granted() {
    let cell = Cell::example();
    let key = KeyPair::generate().unwrap();
    let mut wishes = CertificateParams::new(vec!["fs1".to_owned()]).unwrap();
    wishes.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wishes.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    wishes.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    wishes
        .subject_alt_names
        .push(SanType::URI("baton://example.org/alice".try_into().unwrap()));
    let der = wishes.serialize_request(&key).unwrap();

    let request = Request::parse(der.der()).unwrap();
    let certificate = cell
        .authority
        .issue(&request, &user("mallory"), date(), LIFETIME)
        .unwrap();
    assert_eq!(Names::of(&certificate).unwrap().to_string(), "mallory@example.org");
    let parsed = crate::names::parse(&certificate).unwrap();
    assert!(!parsed.is_ca());
    assert!(!parsed.extended_key_usage().unwrap().unwrap().value.server_auth);
    assert_eq!(
        parsed
            .subject_alternative_name()
            .unwrap()
            .unwrap()
            .value
            .general_names
            .len(),
        1
    );
}

#[test]
fn users_are_no_machines_and_machines_have_dns_names() {
    let cell = Cell::example();
    let request = Request::parse(&Key::generate().unwrap().request().unwrap()).unwrap();
    let refused = |subject: &Subject| {
        cell.authority
            .issue(&request, subject, date(), LIFETIME)
            .unwrap_err()
            .to_string()
    };
    for user_name in ["hosts/fs1", "hosts"] {
        assert!(refused(&user(user_name)).contains("hosts/ is for machines"));
    }
    for machine in ["fs..1", "fs1.-x", "127.0.0.1"] {
        assert!(
            refused(&host(machine)).contains("a name that DNS could hold"),
            "{machine}"
        );
    }
    assert!(
        cell.authority
            .issue(&request, &user("alice/admin"), date(), LIFETIME)
            .is_ok()
    );
}

#[test]
fn nothing_outlives_its_authority() {
    let cell = Cell::example();
    let request = Request::parse(&Key::generate().unwrap().request().unwrap()).unwrap();
    let end = cell.authority.anchor().validity().not_after;
    let late = after(AUTHORITY_SECONDS as i64 - 10);
    let certificate = cell.authority.issue(&request, &user("alice"), late, LIFETIME).unwrap();
    assert_eq!(Names::of(&certificate).unwrap().validity.not_after, end);
    let error = cell
        .authority
        .issue(&request, &user("alice"), end.plus_seconds(1), LIFETIME)
        .unwrap_err();
    assert_eq!(error.kind, Kind::Expired);
    assert!(
        error
            .to_string()
            .starts_with("the cell's authority: expired at 2037-01-14T08:00:00Z"),
        "{error}"
    );
}

#[test]
fn renewed_certificate_has_a_number_of_its_own() {
    let cell = Cell::example();
    let request = Request::parse(&Key::generate().unwrap().request().unwrap()).unwrap();
    let number = || {
        let certificate = cell
            .authority
            .issue(&request, &user("alice"), date(), LIFETIME)
            .unwrap();
        crate::names::parse(&certificate).unwrap().raw_serial().to_vec()
    };
    assert_ne!(number(), number());
}
