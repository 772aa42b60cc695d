//! The registry: people, machines, and that somebody is left who can edit it.

use super::*;

fn edit_machine(name: &str, users: Option<bool>, root: Option<bool>) -> Change {
    Change::EditPrincipal {
        name: of(name),
        create: None,
        groups: None,
        primary: None,
        disabled: None,
        may_assert_users: users,
        may_assert_root: root,
    }
}

#[test]
fn people_have_ids_and_machines_have_none() {
    let mut db = Db::new();
    db.done(new_person("bob", None, &["staff", "admins", "staff"]));
    db.done(new_person("carol", Some(7), &[]));
    db.done(new_person("dave", None, &[]));
    db.done(new_person("hosts/fs1", None, &[]));
    let ids = ["alice", "bob", "carol", "dave", "hosts/fs1"].map(|name| db.principal(name).id);
    assert_eq!(ids, [Some(1_000), Some(1_001), Some(7), Some(1_002), None]);
    assert_eq!(db.groups("bob"), names(&["admins", "staff"]));
    assert_eq!(db.state.principal_by_id(7).unwrap().name, of("carol"));
    assert_eq!(db.events().last().unwrap(), "alice edit principal principal hosts/fs1");
}

#[test]
fn id_is_one_persons_and_never_nobodys() {
    let mut db = Db::new();
    for (id, refusal) in [
        (1_000, "Exists: id 1000: it is alice's"),
        (65_534, "Invalid: id 65534: 0 and 65534 are nobody's"),
    ] {
        assert_eq!(db.refused(new_person("bob", Some(id), &[])), refusal);
    }
    db.state.next.principal = 65_533;
    db.done(new_person("bob", None, &[]));
    db.done(new_person("carol", None, &[]));
    assert_eq!(
        (db.principal("bob").id, db.principal("carol").id),
        (Some(65_533), Some(65_535))
    );
    assert_eq!(
        db.refused(new_person("hosts/fs1", Some(9), &[])),
        "Invalid: principal hosts/fs1: machines have no id"
    );
}

#[test]
fn principal_is_made_once_and_edited_only_if_it_is_there() {
    let mut db = Db::new();
    assert_eq!(
        db.refused(new_person("alice", None, &[])),
        "Exists: principal alice: exists already"
    );
    assert_eq!(
        db.refused(edit_person("bob", None, Some(true))),
        "NotFound: principal bob: no such thing; baton cell principals lists them"
    );
    db.done(new_person("bob", None, &["staff"]));
    db.done(edit_person("bob", None, Some(true)));
    assert_eq!(
        (db.principal("bob").disabled, db.groups("bob")),
        (true, names(&["staff"]))
    );
    db.done(edit_person("bob", Some(&[]), Some(false)));
    assert_eq!((db.principal("bob").disabled, db.groups("bob")), (false, names(&[])));
}

#[test]
fn last_administrator_of_the_cell_stays() {
    let mut db = Db::new();
    let refusal = "Invalid: group cell-admin: this would remove its last member; \
                   make somebody else an administrator first";
    assert_eq!(db.refused(edit_person("alice", Some(&["staff"]), None)), refusal);
    assert_eq!(db.refused(edit_person("alice", None, Some(true))), refusal);
    db.done(new_person("bob", None, &["cell-admin"]));
    db.done(edit_person("bob", None, Some(true)));
    assert_eq!(
        db.refused(edit_person("alice", Some(&[]), None)),
        refusal,
        "who is disabled does not count"
    );
    db.done(edit_person("bob", None, Some(false)));
    db.done(edit_person("alice", Some(&[]), None));
    assert!(
        db.refused(edit_person("bob", None, Some(true)))
            .starts_with("Denied: alice: not in group cell-admin")
    );
}

#[test]
fn machines_alone_assert_users() {
    let mut db = Db::new();
    db.done(new_person("bob", None, &[]));
    db.done(new_person("hosts/fs1", None, &[]));
    for (users, root) in [(Some(true), None), (None, Some(true))] {
        assert_eq!(
            db.refused(edit_machine("bob", users, root)),
            "Invalid: principal bob: only a machine, hosts/NAME, may assert users"
        );
    }
    db.done(edit_machine("bob", Some(false), Some(false)));
    db.done(edit_machine("hosts/fs1", Some(true), None));
    db.done(edit_machine("hosts/fs1", None, Some(true)));
    let machine = db.principal("hosts/fs1");
    assert!(machine.may_assert_users && machine.may_assert_root);
}

#[test]
fn groups_of_one_principal_are_bounded() {
    let mut db = Db::new();
    let many: Vec<String> = (0..1_024).map(|number| format!("g{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    db.done(new_person("bob", None, &many));
    db.done(Change::Invite {
        secret_hash: [1; 32],
        kind: InvitationKind::User,
        principal: of("bob"),
        id: None,
        groups: names(&["one-more"]),
    });
    assert_eq!(
        db.refused(join(1, 1, &[])),
        "Limit: groups: 1025 for one principal, 1024 at most"
    );
}
