//! Members of the database: how they come in, what they say of themselves, how they leave.

use super::*;

fn announce(name: &str, addresses: &[&str], issuer: bool) -> Change {
    Change::AnnounceMember {
        name: of(name),
        addresses: names(addresses),
        issuer,
    }
}

fn remove(name: &str) -> Change {
    Change::RemoveMember { name: of(name) }
}

/// Invites the machine `name` as a member, and lets it in.
fn add(db: &mut Db, secret: u8, name: &str) -> Outcome {
    db.done(invite(secret, InvitationKind::Member, &format!("hosts/{name}")));
    db.by(&Who::Nobody, join(secret, secret, &[name]))
}

#[test]
fn member_comes_in_by_its_token() {
    let mut db = Db::new();
    let joined = add(&mut db, 2, "fl2").unwrap();
    let member = Member {
        number: 2,
        name: of("fl2"),
        addresses: names(&["fl2"]),
        issuer: false,
    };
    assert_eq!(
        (joined, db.member("fl2")),
        (Some(Record::Member(member.clone())), Some(member.clone()))
    );
    assert_eq!(db.principal("hosts/fl2").id, None);
    let again = db.by(&Who::Nobody, join(2, 2, &["elsewhere"])).unwrap();
    assert_eq!(again, Some(Record::Member(member)), "the same key hears the same");
}

#[test]
fn member_must_say_where_it_listens() {
    let mut db = Db::new();
    db.done(invite(2, InvitationKind::Member, "hosts/fl2"));
    assert_eq!(
        db.refused_by(&Who::Nobody, join(2, 2, &[])),
        "Invalid: member fl2: it named no address"
    );
    assert!(db.invitation(2).unwrap().used_by.is_none());
}

#[test]
fn five_members_are_enough() {
    let mut db = Db::new();
    for (secret, name) in [(2, "fl2"), (3, "fl3"), (4, "fl4")] {
        add(&mut db, secret, name).unwrap();
    }
    for (secret, name) in [(5, "fl5"), (6, "fl6")] {
        db.done(invite(secret, InvitationKind::Member, &format!("hosts/{name}")));
    }
    db.by(&Who::Nobody, join(5, 5, &["fl5"])).unwrap();
    let refusal = "Limit: members: there are 5 already";
    assert_eq!(db.refused_by(&Who::Nobody, join(6, 6, &["fl6"])), refusal);
    assert_eq!(db.refused(invite(7, InvitationKind::Member, "hosts/fl7")), refusal);
}

#[test]
fn member_is_there_once() {
    let mut db = Db::new();
    let refusal = "Exists: member fl2: exists already; \
                   to replace a lost one, remove it first: baton cell remove fl2";
    db.done(invite(3, InvitationKind::Member, "hosts/fl2"));
    add(&mut db, 2, "fl2").unwrap();
    assert_eq!(
        db.refused_by(&Who::Nobody, join(3, 3, &["fl2"])),
        refusal,
        "another key, another machine"
    );
    assert_eq!(db.refused(invite(4, InvitationKind::Member, "hosts/fl2")), refusal);
}

#[test]
fn replaced_member_gets_a_new_number_and_its_old_token_is_used_up() {
    let mut db = Db::new();
    add(&mut db, 2, "fl2").unwrap();
    assert_eq!(db.done(remove("fl2")), None);
    assert_eq!(
        db.refused_by(&Who::Nobody, join(2, 2, &["fl2"])),
        "Denied: token: it is used up: member fl2 was removed since; ask for a new one: baton cell invite"
    );
    add(&mut db, 3, "fl2").unwrap();
    assert_eq!(db.member("fl2").unwrap().number, 3);
}

#[test]
fn last_member_and_last_issuer_stay() {
    let mut db = Db::new();
    assert_eq!(db.refused(remove("fl9")), "NotFound: member fl9: no such thing");
    assert_eq!(
        db.refused(remove("fl1")),
        "Invalid: member fl1: it is the last one, and the cell would be gone; let another one join first: baton cell invite HOST --member"
    );
    add(&mut db, 2, "fl2").unwrap();
    assert_eq!(
        db.refused(remove("fl1")),
        "Invalid: member fl1: it alone holds the authority's key; \
         copy ca.key into another member's pki directory and restart that member first"
    );
    db.by(&host("fl2", 12), announce("fl2", &["fl2"], true)).unwrap();
    db.done(remove("fl1"));
    assert!(db.member("fl1").is_none());
}

#[test]
fn member_speaks_for_itself_and_no_other() {
    let mut db = Db::new();
    let fl1 = host("fl1", 11);
    let said = db.by(&fl1, announce("fl1", &["192.0.2.1", "fl1"], true)).unwrap();
    assert_eq!(said, db.member("fl1").map(Record::Member));
    assert_eq!(
        db.member("fl1").unwrap().addresses,
        names::<Address>(&["192.0.2.1", "fl1"])
    );
    let events = db.events();
    assert_eq!(events.last().unwrap(), "hosts/fl1 announce member member fl1");
    db.by(&fl1, announce("fl1", &["192.0.2.1", "fl1"], true)).unwrap();
    assert_eq!(db.events(), events, "nothing new, no event");
    for (who, change, refusal) in [
        (
            &fl1,
            announce("fl1", &[], true),
            "Invalid: member fl1: it named no address",
        ),
        (
            &host("fl2", 12),
            announce("fl2", &["fl2"], true),
            "NotFound: member fl2: no such thing",
        ),
        (
            &fl1,
            announce("fl2", &["fl1"], true),
            "Denied: hosts/fl1: only member fl2 itself says this, under its own certificate",
        ),
        (
            &person("alice"),
            announce("fl1", &["fl1"], true),
            "Denied: alice: only member fl1 itself says this, under its own certificate",
        ),
    ] {
        assert_eq!(db.refused_by(who, change), refusal);
    }
}
