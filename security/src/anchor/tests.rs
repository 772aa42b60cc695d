//! What lies under an authority, and what only looks like it.

use proptest::prelude::{any, proptest};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;
use crate::testing::{Cell, after, date, good_params, host, user};
use crate::tls::explain;
use crate::{Key, Request};

#[test]
fn file_of_the_authority_says_whose_it_is() {
    let cell = Cell::example();
    let anchor = cell.authority.anchor();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, anchor.to_pem()).unwrap();
    let read = Anchor::load(&path).unwrap();
    assert_eq!(
        (read.cell(), read.id(), read.fingerprint()),
        (anchor.cell(), anchor.id(), anchor.fingerprint())
    );
    assert_eq!(read.cell().as_str(), "example.org");
}

#[test]
fn what_is_no_authority_is_refused() {
    let cell = Cell::example();
    let error = Anchor::from_der(cell.credential(&host("fs1")).certificate()).unwrap_err();
    assert!(error.to_string().contains("not an authority's"), "{error}");

    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let foreign = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let error = Anchor::from_der(foreign.der()).unwrap_err();
    assert!(error.to_string().contains("it names no cell"), "{error}");

    let mut damaged = cell.authority.anchor().der().to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let error = Anchor::from_der(&damaged).unwrap_err();
    assert!(error.to_string().contains("not signed with its own key"), "{error}");
    assert!(Anchor::from_der(&[]).is_err());
}

#[test]
fn strangers_are_told_why() {
    let (ours, theirs) = (Cell::example(), Cell::new("other.org"));
    let namesake = Cell::example();
    let anchor = ours.authority.anchor();
    for cell in [&theirs, &namesake] {
        let error = anchor
            .verify(cell.credential(&user("alice")).certificate(), date())
            .unwrap_err();
        assert_eq!(error.kind, Kind::Denied);
        assert!(
            error.to_string().contains("not made by this cell's authority"),
            "{error}"
        );
    }
}

#[test]
fn certificate_over_or_to_come_names_both_times() {
    let cell = Cell::example();
    let alice = cell.credential(&user("alice"));
    let anchor = cell.authority.anchor();
    let error = anchor.verify(alice.certificate(), after(30 * 86_400 + 1)).unwrap_err();
    assert_eq!(error.kind, Kind::Expired);
    assert!(
        error
            .to_string()
            .contains("expired at 2027-02-14T08:00:00Z, and it is 2027-02-14T08:00:01Z here"),
        "{error}"
    );
    let error = anchor.verify(alice.certificate(), after(-301)).unwrap_err();
    assert_eq!(error.kind, Kind::Denied);
    assert!(
        error
            .to_string()
            .contains("not valid before 2027-01-15T07:55:00Z, and it is 2027-01-15T07:54:59Z"),
        "{error}"
    );
    anchor.verify(alice.certificate(), after(-300)).unwrap();
}

#[test]
fn exactly_one_name_is_wanted() {
    let cell = Cell::example();
    for (uris, why) in [
        (&[][..], "names nobody of a Baton cell"),
        (&["https://example.org/alice"], "names nobody of a Baton cell"),
        (
            &["baton://example.org/alice", "baton://example.org/bob"],
            "two baton:// URIs",
        ),
        (
            &["baton://other.org/alice"],
            "of the cell other.org, and this is example.org",
        ),
        (&["baton://example.org/al\0ice"], "principal name"),
        (&["baton://example.org"], "no principal"),
    ] {
        let (certificate, _) = cell.crooked(uris, |_| ());
        let error = cell.authority.anchor().verify(&certificate, date()).unwrap_err();
        assert!(error.to_string().contains(why), "{uris:?}: {error}");
    }
    let long = format!("baton://example.org/{}", "x".repeat(257));
    let (certificate, _) = cell.crooked(&[&long], |_| ());
    let error = cell.authority.anchor().verify(&certificate, date()).unwrap_err();
    assert!(error.to_string().contains("257 bytes, 256 at most"), "{error}");

    let both = ["https://example.org/alice", "baton://example.org/alice"];
    let (certificate, _) = cell.crooked(&both, |_| ());
    cell.authority.anchor().verify(&certificate, date()).unwrap();
}

/// A member of the cell signs a certificate with the key of his own: the authority's path ends with him.
#[test]
fn leaf_is_no_authority() {
    let cell = Cell::example();
    let alice = cell.credential(&user("alice"));
    let pair = KeyPair::try_from(alice.key().der().secret_pkcs8_der()).unwrap();
    let issuer = Issuer::from_ca_cert_der(alice.certificate(), pair).unwrap();
    let request = Request::parse(&Key::generate().unwrap().request().unwrap()).unwrap();
    let forged = good_params(&["baton://example.org/root"])
        .signed_by(&request, &issuer)
        .unwrap();
    let anchor = cell.authority.anchor();
    assert_eq!(anchor.verify(forged.der(), date()).unwrap_err().kind, Kind::Denied);

    // An authority's own certificate names nobody.
    assert!(anchor.verify(anchor.der(), date()).is_err());
}

#[test]
fn certificate_for_servers_only_logs_nobody_in() {
    let cell = Cell::example();
    let (certificate, _) = cell.crooked(&["baton://example.org/alice"], |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    let error = cell.authority.anchor().verify(&certificate, date()).unwrap_err();
    assert!(error.to_string().contains("not made for this end"), "{error}");
}

#[test]
fn machine_is_known_by_its_exact_name() {
    let cell = Cell::example();
    let upper = cell.credential(&host("FS1"));
    let anchor = cell.authority.anchor();
    let expected = ServerName::try_from("fs1").unwrap();
    let error = anchor
        .verify_server(upper.certificate(), &expected, date())
        .unwrap_err();
    let error = explain("server fs1", &error);
    assert!(
        error
            .to_string()
            .contains("it names hosts/FS1@example.org, not the machine fs1"),
        "{error}"
    );
}

/// What a stranger sends in a handshake, in a login and in an answer to a join is read by these.
fn read_all(bytes: &[u8]) {
    let _ = Anchor::from_der(bytes);
    let _ = Names::of(bytes);
}

proptest! {
    #[test]
    fn prop_any_bytes_are_an_authority_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_all(&bytes);
    }

    #[test]
    fn prop_changed_certificates_are_read_or_refused(at in any::<proptest::sample::Index>(), to in any::<u8>()) {
        let cell = Cell::example();
        for certificate in [cell.authority.anchor().der(), cell.credential(&host("fs1")).certificate()] {
            let mut bytes = certificate.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = to;
            read_all(&bytes);
            read_all(&bytes[..at]);
        }
    }
}
