//! Invitations as people paste them.

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::testing::{name, principal};

fn invitation() -> InvitationCode {
    InvitationCode {
        kind: InvitationKind::Host,
        principal: principal("hosts/fs2"),
        cell: CellName::parse("example.org").unwrap(),
        id: CellId::random(),
        pin: Fingerprint([7; 32]),
        members: vec![
            Contact {
                name: name("fs1"),
                addresses: vec![
                    Address::parse("192.0.2.7").unwrap(),
                    Address::parse("[2001:db8::7]:7500").unwrap(),
                ],
            },
            Contact {
                name: name("db2"),
                addresses: vec![Address::parse("db2.example.org:7401").unwrap()],
            },
        ],
        secret: Secret::random().unwrap(),
    }
}

#[test]
fn what_is_written_is_read_back() {
    let host = invitation();
    let user = InvitationCode {
        kind: InvitationKind::User,
        principal: principal("alice"),
        ..invitation()
    };
    let member = InvitationCode {
        kind: InvitationKind::Member,
        ..invitation()
    };
    for code in [host, user, member] {
        assert_eq!(InvitationCode::parse(&code.encode().unwrap()).unwrap(), code);
    }
}

#[test]
fn largest_fits_its_limit() {
    let longest = Address::parse(&format!("{}:65535", "x".repeat(254))).unwrap();
    let contact = Contact {
        name: name(&"n".repeat(31)),
        addresses: vec![longest; ADDRESSES_MAX],
    };
    let code = InvitationCode {
        kind: InvitationKind::User,
        principal: principal(&"p".repeat(256)),
        cell: CellName::parse(&["c".repeat(63), "c".repeat(63), "c".repeat(63), "c".repeat(61)].join(".")).unwrap(),
        members: vec![contact; MEMBERS_MAX],
        ..invitation()
    };
    let word = code.encode().unwrap();
    assert!(word.len() <= TEXT_BYTES_MAX, "{}", word.len());
    assert_eq!(InvitationCode::parse(&word).unwrap(), code);
}

#[test]
fn line_breaks_of_a_mail_do_not_matter() {
    let code = invitation();
    let word = code.encode().unwrap();
    let lines: Vec<_> = word
        .as_bytes()
        .chunks(60)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let pasted = format!("  {}\r\n", lines.join("\r\n  "));
    assert_eq!(InvitationCode::parse(&pasted).unwrap(), code);
}

#[test]
fn every_wrong_character_is_noticed() {
    let word = invitation().encode().unwrap();
    for at in PREFIX.len()..word.len() {
        let mut wrong = word.as_bytes().to_vec();
        wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
        let error = InvitationCode::parse(std::str::from_utf8(&wrong).unwrap()).unwrap_err();
        assert!(error.to_string().contains("copied wrongly"), "at {at}: {error}");
    }
    for len in PREFIX.len()..word.len() {
        let error = InvitationCode::parse(&word[..len]).unwrap_err();
        assert!(error.to_string().contains("copied wrongly"), "{error}");
    }
}

#[test]
fn what_is_no_invitation_is_told_apart() {
    for other in ["", "hello", "baton2-AAAA", "baton1", "BATON1-AAAA", "é"] {
        let error = InvitationCode::parse(other).unwrap_err();
        assert!(error.to_string().contains("does not begin with baton1-"), "{error}");
    }
    let error = InvitationCode::parse(&"x".repeat(TEXT_BYTES_MAX + 1)).unwrap_err();
    assert!(error.to_string().contains("32769 bytes, 32768 at most"), "{error}");
}

#[test]
fn kind_and_name_must_agree() {
    let user_as_host = InvitationCode {
        principal: principal("alice"),
        ..invitation()
    };
    let host_as_user = InvitationCode {
        kind: InvitationKind::User,
        ..invitation()
    };
    let nobody_to_ask = InvitationCode {
        members: Vec::new(),
        ..invitation()
    };
    let mut nowhere_to_ask = invitation();
    nowhere_to_ask.members[0].addresses.clear();
    for wrong in [user_as_host, host_as_user, nobody_to_ask, nowhere_to_ask] {
        assert_eq!(wrong.encode().unwrap_err().kind, Kind::Invalid);
    }
}

#[test]
fn secret_is_kept_as_its_hash_and_never_printed() {
    let code = invitation();
    assert_eq!(
        Secret::from_slice(code.secret.as_bytes()).unwrap().hash(),
        code.secret.hash()
    );
    assert_ne!(Secret::random().unwrap().hash(), code.secret.hash());
    assert!(Secret::from_slice(&[0; 31]).is_err());
    assert!(format!("{code:?}").contains("secret: Secret }"), "{code:?}");
}

proptest! {
    #[test]
    fn prop_any_text_is_an_invitation_or_refused(text in "\\PC{0,100}") {
        let _ = InvitationCode::parse(&text);
        let _ = InvitationCode::parse(&format!("{PREFIX}{text}"));
    }

    /// Past the checksum, which is no secret, the decoder stands alone.
    #[test]
    fn prop_any_body_is_decoded_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [body.as_slice(), &checksum(&body)].concat();
        let _ = InvitationCode::parse(&format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)));
    }

    #[test]
    fn prop_changed_body_is_decoded_alike_or_refused(at in any::<proptest::sample::Index>(), to in any::<u8>()) {
        let word = invitation().encode().unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&word[PREFIX.len()..]).unwrap();
        let mut body = bytes[..bytes.len() - CHECKSUM_BYTES].to_vec();
        let at = at.index(body.len());
        body[at] = to;
        let bytes = [body.as_slice(), &checksum(&body)].concat();
        let word = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        if let Ok(code) = InvitationCode::parse(&word) {
            // Addresses and names have one spelling, so a body that is read is the body that would be written,
            // but for letters' case in an address.
            prop_assert!(code.encode().is_ok());
            prop_assert_eq!(InvitationCode::parse(&code.encode().unwrap()).unwrap(), code);
        }
    }
}
