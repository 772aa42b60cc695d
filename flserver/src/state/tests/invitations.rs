//! Invitations: a token is good for one key, for a while.

use super::*;

const QUARTER: u64 = 15 * 60;

#[test]
fn invitation_makes_a_person_when_it_is_used() {
    let mut db = Db::new();
    db.done(Change::Invite {
        secret_hash: [1; 32],
        kind: InvitationKind::User,
        principal: of("bob"),
        id: Some(77),
        groups: names(&["staff", "fileset-admin", "staff"]),
    });
    let until = db.date.plus_seconds(QUARTER);
    let open = db.invitation(1).unwrap();
    assert_eq!((open.until, open.used_by, open.by), (until, None, of("alice")));
    assert!(db.state.principal(&of("bob")).is_none(), "not before it is used");
    let joined = db.by(&Who::Nobody, join(1, 9, &[])).unwrap();
    assert_eq!(joined, Some(Record::Principal(db.principal("bob"))));
    assert_eq!(db.principal("bob").id, Some(77));
    assert_eq!(db.groups("bob"), names(&["fileset-admin", "staff"]));
    assert_eq!(db.invitation(1).unwrap().used_by, Some([9; 32]));
    assert_eq!(
        db.events()[1..],
        ["alice invite principal bob", "bob join principal bob"]
    );
}

#[test]
fn invitation_adds_groups_to_who_is_known() {
    let mut db = Db::new();
    db.done(new_person("bob", Some(5), &["staff"]));
    db.done(Change::Invite {
        secret_hash: [1; 32],
        kind: InvitationKind::User,
        principal: of("bob"),
        id: Some(5),
        groups: names(&["guests"]),
    });
    db.by(&Who::Nobody, join(1, 9, &[])).unwrap();
    assert_eq!(
        (db.principal("bob").id, db.groups("bob")),
        (Some(5), names(&["guests", "staff"]))
    );
}

#[test]
fn token_is_good_for_one_key_which_may_come_again() {
    let mut db = Db::new();
    db.done(invite(1, InvitationKind::Host, "hosts/fs1"));
    let first = db.by(&Who::Nobody, join(1, 9, &[])).unwrap();
    let events = db.events();
    assert_eq!(db.by(&Who::Nobody, join(1, 9, &[])).unwrap(), first);
    assert_eq!(db.events(), events, "it happened once");
    assert_eq!(
        db.refused_by(&Who::Nobody, join(1, 8, &[])),
        "Denied: token: it is used up: a token is good for one key; ask for a new one: baton cell invite"
    );
    assert_eq!(
        db.refused_by(&Who::Nobody, join(2, 9, &[])),
        "Denied: token: this cell gave out no such token, or it ended long ago; \
         ask for a new one: baton cell invite"
    );
}

#[test]
fn token_ends() {
    let mut db = Db::new();
    db.done(invite(1, InvitationKind::Host, "hosts/fs1"));
    db.done(invite(2, InvitationKind::Host, "hosts/fs2"));
    db.date = db.date.plus_seconds(QUARTER);
    db.by(&Who::Nobody, join(1, 9, &[])).unwrap();
    db.date = Timestamp(db.date.0 + 1);
    for secret in [1, 2] {
        assert_eq!(
            db.refused_by(&Who::Nobody, join(secret, 9, &[])),
            "Expired: token: its time is over; ask for a new one: baton cell invite"
        );
    }
    assert!(db.state.knows_invitation(&[2; 32]));
    db.done(invite(3, InvitationKind::Host, "hosts/fs3"));
    assert!(!db.state.knows_invitation(&[2; 32]), "the next invitation sweeps");
    assert!(db.state.knows_invitation(&[3; 32]));
}

#[test]
fn invitations_must_fit_whom_they_are_for() {
    let mut db = Db::new();
    db.done(new_person("bob", Some(5), &[]));
    let with_id = |name: &str, id| Change::Invite {
        secret_hash: [1; 32],
        kind: InvitationKind::User,
        principal: of(name),
        id: Some(id),
        groups: Vec::new(),
    };
    for (change, refusal) in [
        (
            invite(1, InvitationKind::User, "hosts/fs1"),
            "Invalid: principal hosts/fs1: names under hosts/ are machines'",
        ),
        (
            invite(1, InvitationKind::Host, "carol"),
            "Invalid: principal carol: a machine's principal is hosts/NAME",
        ),
        (
            invite(1, InvitationKind::Member, "carol"),
            "Invalid: principal carol: a machine's principal is hosts/NAME",
        ),
        (with_id("carol", 5), "Exists: id 5: it is bob's"),
        (with_id("carol", 65_534), "Invalid: id 65534: 0 and 65534 are nobody's"),
        (with_id("bob", 6), "Invalid: principal bob: its id is 5"),
    ] {
        assert_eq!(db.refused(change), refusal);
    }
    db.done(with_id("bob", 5));
}

#[test]
fn who_is_disabled_is_neither_invited_nor_let_in() {
    let mut db = Db::new();
    let refusal = "Denied: principal bob: it is disabled; baton cell principal bob --disabled off";
    db.done(new_person("bob", None, &[]));
    db.done(invite(1, InvitationKind::User, "bob"));
    db.done(edit_person("bob", None, Some(true)));
    assert_eq!(db.refused_by(&Who::Nobody, join(1, 9, &[])), refusal);
    assert_eq!(db.refused(invite(2, InvitationKind::User, "bob")), refusal);
}

#[test]
fn id_that_was_taken_meanwhile_is_not_given_twice() {
    let mut db = Db::new();
    db.done(Change::Invite {
        secret_hash: [1; 32],
        kind: InvitationKind::User,
        principal: of("bob"),
        id: Some(5),
        groups: Vec::new(),
    });
    db.done(new_person("carol", Some(5), &[]));
    assert_eq!(
        db.refused_by(&Who::Nobody, join(1, 9, &[])),
        "Exists: id 5: it is carol's"
    );
    assert_eq!(db.invitation(1).unwrap().used_by, None, "the token is still good");
}

#[test]
fn a_thousand_open_invitations_are_enough() {
    let mut db = Db::new();
    let secret = |number: u16| {
        let mut hash = [0; 32];
        hash[..2].copy_from_slice(&number.to_le_bytes());
        hash
    };
    db.done(invite(255, InvitationKind::Host, "hosts/fs1"));
    let open = db.invitation(255).unwrap();
    for number in 1..1_000 {
        let secret_hash = secret(number);
        db.state.invitations.insert_mut(
            secret_hash,
            Invitation {
                secret_hash,
                ..open.clone()
            },
        );
    }
    assert_eq!(
        db.refused(invite(254, InvitationKind::Host, "hosts/fs2")),
        "Limit: invitations: 1000 are open; wait until some have ended"
    );
    db.date = Timestamp(open.until.0 + 1);
    db.done(invite(254, InvitationKind::Host, "hosts/fs2"));
    assert_eq!(db.state.invitations.size(), 1);
}

/// A change that sweeps an ended invitation away and puts one of the same secret in its place must not tell
/// watchers that it is both there and gone.
#[test]
fn regression_secret_of_an_ended_invitation_given_out_again() {
    let mut db = Db::new();
    db.done(invite(1, InvitationKind::Host, "hosts/fs1"));
    db.date = db.date.plus_seconds(QUARTER + 1);
    db.done(invite(1, InvitationKind::Host, "hosts/fs2"));
    assert_eq!(db.invitation(1).unwrap().principal, of("hosts/fs2"));
}
