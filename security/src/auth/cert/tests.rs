//! Logins by certificate: what passes, and each way to be refused.

use proptest::prelude::{any, proptest};
use rcgen::{PKCS_RSA_SHA256, PublicKeyData};

use super::*;
use crate::testing::{Cell, after, binding, host, name, user};
use crate::{ChannelBinding, Key, Subject};

fn channel(connection: u8) -> Channel {
    Channel {
        binding: binding(connection),
        host: None,
    }
}

fn acceptor(cell: &Cell) -> CertAcceptor {
    CertAcceptor::new(cell.authority.anchor().clone(), name("fs1"), cell.clock())
}

/// The token of `subject` for `server` on connection 1.
fn token(cell: &Cell, subject: &Subject, server: &str) -> Vec<u8> {
    let initiator = CertInitiator::new(Arc::new(cell.credential(subject)));
    initiator.start(&name(server)).step(&channel(1), &[]).unwrap()
}

fn step(cell: &Cell, connection: u8, token: &[u8]) -> Result<Identity> {
    match acceptor(cell).start().step(&channel(connection), token)? {
        Step::Done(answer, identity) => {
            assert!(answer.is_empty());
            Ok(identity)
        }
        Step::Continue(_) => panic!("one token is enough"),
    }
}

fn refusal(cell: &Cell, token: &[u8]) -> Error {
    step(cell, 1, token).unwrap_err()
}

/// A token for a certificate and a key that need not fit.
fn forge(certificate: &[u8], key: &Key) -> Vec<u8> {
    join(certificate, &key.sign(&signed(&binding(1), &name("fs1"))).unwrap())
}

#[test]
fn users_and_machines_log_in() {
    let cell = Cell::example();
    for (subject, who) in [
        (user("alice"), "alice@example.org"),
        (user("alice/admin"), "alice/admin@example.org"),
        (host("client1"), "hosts/client1@example.org"),
    ] {
        let identity = step(&cell, 1, &token(&cell, &subject, "fs1")).unwrap();
        assert_eq!(identity.to_string(), who);
        assert_eq!((identity.mech, identity.host, identity.unix), ("cert", None, None));
        assert_eq!(identity.expires, after(30 * 86_400));
    }
}

#[test]
fn token_holds_length_certificate_and_signature() {
    let cell = Cell::example();
    let alice = cell.credential(&user("alice"));
    let certificate = alice.certificate().clone();
    let token = CertInitiator::new(Arc::new(alice))
        .start(&name("fs1"))
        .step(&channel(1), &[])
        .unwrap();
    assert_eq!(token[..4], u32::try_from(certificate.len()).unwrap().to_be_bytes());
    assert_eq!(token[4..4 + certificate.len()], *certificate);
    assert_eq!(
        signed(&ChannelBinding([7; 32]), &name("fs1")),
        [b"baton-auth-cert-v1\0".as_slice(), &[7; 32], b"fs1"].concat()
    );
}

#[test]
fn replay_on_the_same_connection_is_the_same_identity() {
    let cell = Cell::example();
    let token = token(&cell, &user("alice"), "fs1");
    assert_eq!(step(&cell, 1, &token).unwrap(), step(&cell, 1, &token).unwrap());
}

#[test]
fn token_of_another_connection_is_refused() {
    let cell = Cell::example();
    let token = token(&cell, &user("alice"), "fs1");
    let error = step(&cell, 2, &token).unwrap_err();
    assert_eq!(error.kind, Kind::Denied);
    assert!(
        error
            .to_string()
            .contains("login of alice@example.org: not signed by its key for this connection"),
        "{error}"
    );
}

#[test]
fn token_without_a_binding_is_refused() {
    let cell = Cell::example();
    let alice = cell.credential(&user("alice"));
    let unbound = [CONTEXT, b"fs1"].concat();
    let token = join(alice.certificate(), &alice.key().sign(&unbound).unwrap());
    assert_eq!(refusal(&cell, &token).kind, Kind::Denied);
}

#[test]
fn token_for_another_server_is_refused() {
    let cell = Cell::example();
    let error = refusal(&cell, &token(&cell, &user("alice"), "fs2"));
    assert!(error.to_string().contains("for this connection to fs1"), "{error}");
}

#[test]
fn signature_for_another_purpose_is_no_login() {
    let cell = Cell::example();
    let alice = cell.credential(&user("alice"));
    let bare = signed(&binding(1), &name("fs1"))[CONTEXT.len()..].to_vec();
    assert!(refusal(&cell, &join(alice.certificate(), &alice.key().sign(&bare).unwrap())).kind == Kind::Denied);
}

#[test]
fn malformed_tokens_say_what_is_wrong() {
    let cell = Cell::example();
    let good = token(&cell, &user("alice"), "fs1");
    let certificate_end = good.len() - 60; // within the signature's 70 to 72 bytes or just before
    for (bad, why) in [
        (&[][..], "login token: empty"),
        (&[0, 0, 1], "too short for a length"),
        (&[0xff; 100], "shorter than it says"),
        (&[0, 0, 0, 0], "no signature"),
        (&[0, 0, 0, 1, 2, 3], "not an X.509 certificate"),
        (&good[..100], "shorter than it says"),
        (&good[..certificate_end], ""),
        (&vec![b'x'; 65_537], "shorter than it says"),
    ] {
        let error = refusal(&cell, bad);
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let cell = Cell::example();
    let good = token(&cell, &user("alice"), "fs1");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(step(&cell, 1, &bad).is_err(), "byte {at}");
    }
    for len in 0..good.len() {
        assert!(step(&cell, 1, &good[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn certificate_over_or_to_come_is_refused_with_both_times() {
    let cell = Cell::example();
    let token = token(&cell, &user("alice"), "fs1");
    cell.clock.set_date(after(30 * 86_400 + 1));
    let error = refusal(&cell, &token);
    assert_eq!(error.kind, Kind::Expired);
    assert!(
        error
            .to_string()
            .contains("2027-02-14T08:00:00Z, and it is 2027-02-14T08:00:01Z"),
        "{error}"
    );
    cell.clock.set_date(after(-301));
    let error = refusal(&cell, &token);
    assert!(
        error
            .to_string()
            .contains("2027-01-15T07:55:00Z, and it is 2027-01-15T07:54:59Z"),
        "{error}"
    );
}

#[test]
fn certificates_of_others_are_refused() {
    let (cell, other) = (Cell::example(), Cell::new("other.org"));
    let namesake = Cell::example(); // another authority for the same name
    for stranger in [&other, &namesake] {
        let error = refusal(&cell, &token(stranger, &user("alice"), "fs1"));
        assert!(
            error.to_string().contains("not made by this cell's authority"),
            "{error}"
        );
    }
}

#[test]
fn certificate_with_the_key_of_another_is_refused() {
    let cell = Cell::example();
    let alice = cell.credential(&user("alice"));
    let error = refusal(&cell, &forge(alice.certificate(), &Key::generate().unwrap()));
    assert!(error.to_string().contains("not signed by its key"), "{error}");
}

/// Somebody with a certificate of his own makes one for `root` with it.
#[test]
fn leaf_used_as_authority_is_refused() {
    let cell = Cell::example();
    let alice = cell.credential(&user("alice"));
    let pair = rcgen::KeyPair::from_pem(&alice.key().to_pem()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(alice.certificate(), pair).unwrap();
    let key = Key::generate().unwrap();
    let request = crate::Request::parse(&key.request().unwrap()).unwrap();
    let forged = crate::testing::good_params(&["baton://example.org/root"])
        .signed_by(&request, &issuer)
        .unwrap();
    let error = refusal(&cell, &forge(forged.der(), &key));
    assert!(
        error.to_string().contains("not made by this cell's authority"),
        "{error}"
    );
}

#[test]
fn authority_itself_logs_nobody_in() {
    let cell = Cell::example();
    let dir = tempfile::tempdir().unwrap();
    cell.authority.save(dir.path()).unwrap();
    let key = Key::from_pem("ca.key", &std::fs::read(dir.path().join("ca.key")).unwrap()).unwrap();
    assert_eq!(
        refusal(&cell, &forge(cell.authority.anchor().der(), &key)).kind,
        Kind::Denied
    );
}

#[test]
fn exactly_one_name_is_wanted() {
    let cell = Cell::example();
    let long = format!("baton://example.org/{}", "x".repeat(257));
    for (uris, why) in [
        (&[][..], "no baton:// URI"),
        (
            &["baton://example.org/alice", "baton://example.org/bob"],
            "two baton:// URIs",
        ),
        (&["baton://other.org/alice"], "of the cell other.org"),
        (&["baton://example.org/al\0ice"], "'\\0' is not allowed"),
        (&[long.as_str()], "257 bytes, 256 at most"),
    ] {
        let (certificate, key) = cell.crooked(uris, |_| ());
        let error = refusal(&cell, &forge(&certificate, &key));
        assert!(error.to_string().contains(why), "{uris:?}: {error}");
    }
}

/// A public key of 2,048 bits, which nobody needs to hold: it is refused for what it is.
struct RsaKey(Vec<u8>);

impl RsaKey {
    fn new() -> RsaKey {
        let modulus = [&[0x02, 0x82, 0x01, 0x01, 0x00, 0xc1][..], &[0x5a; 255]].concat();
        let exponent = [0x02, 0x03, 0x01, 0x00, 0x01];
        let len = u16::try_from(modulus.len() + exponent.len()).unwrap();
        RsaKey([&[0x30, 0x82][..], &len.to_be_bytes(), &modulus, &exponent].concat())
    }
}

impl PublicKeyData for RsaKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

#[test]
fn rsa_key_is_refused() {
    let cell = Cell::example();
    let params = crate::testing::good_params(&["baton://example.org/alice"]);
    let certificate = cell.authority.sign_anything(&params, &RsaKey::new());
    let error = refusal(&cell, &forge(&certificate, &Key::generate().unwrap()));
    assert!(error.to_string().contains("not for ECDSA on P-256"), "{error}");
}

#[test]
fn answer_where_none_belongs_is_refused_by_the_client() {
    let cell = Cell::example();
    let initiator = CertInitiator::new(Arc::new(cell.credential(&user("alice"))));
    let mut exchange = initiator.start(&name("fs1"));
    assert!(exchange.step(&channel(1), b"hello").is_err());
    exchange.step(&channel(1), &[]).unwrap();
    exchange.finish(&channel(1), &[]).unwrap();
    assert_eq!(exchange.finish(&channel(1), b"x").unwrap_err().kind, Kind::Invalid);
}

proptest! {
    #[test]
    fn prop_any_token_is_judged(token in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = split(&token);
    }

    #[test]
    fn prop_any_certificate_is_judged(certificate in proptest::collection::vec(any::<u8>(), 0..300)) {
        let cell = Cell::example();
        assert!(step(&cell, 1, &join(&certificate, b"signature")).is_err());
    }
}
