//! Numbers of groups, and many people and groups at once.

use baton_types::change::{Import, ImportedPerson};
use baton_types::limits::{IMPORT_BYTES_MAX, IMPORT_ROWS_MAX};
use baton_types::record::Group;

use super::*;

fn group(name: &str, id: u32) -> Group {
    Group { name: of(name), id }
}

fn imported(name: &str, id: Option<u32>, groups: &[&str]) -> ImportedPerson {
    ImportedPerson {
        name: of(name),
        id,
        primary: groups.first().map(|primary| of(primary)),
        groups: names(groups),
    }
}

fn import(groups: &[Group], people: &[ImportedPerson]) -> Change {
    Change::Import(Import {
        groups: groups.to_vec(),
        people: people.to_vec(),
    })
}

fn edit_group(name: &str, id: Option<u32>) -> Change {
    Change::EditGroup { name: of(name), id }
}

fn primary(name: &str, groups: Option<&[&str]>, primary: Option<&str>) -> Change {
    Change::EditPrincipal {
        name: of(name),
        create: None,
        groups: groups.map(names),
        primary: primary.map(of),
        disabled: None,
        may_assert_users: None,
        may_assert_root: None,
    }
}

fn gids(db: &Db) -> Vec<(String, u32)> {
    let groups = db.state.groups.values();
    groups.map(|group| (group.name.to_string(), group.id)).collect()
}

#[test]
fn people_and_groups_come_with_their_numbers() {
    let mut db = Db::new();
    db.done(new_person("carol", Some(7), &["old"]));
    db.done(import(
        &[group("staff", 50), group("dev", 60)],
        &[
            imported("alice", Some(1_000), &["staff"]),
            imported("bob", Some(1_001), &["staff", "dev"]),
            imported("carol", None, &["dev"]),
        ],
    ));
    assert_eq!(gids(&db), [("dev".to_owned(), 60), ("staff".to_owned(), 50)]);
    let bob = db.principal("bob");
    assert_eq!(
        (bob.id, bob.groups, bob.primary),
        (Some(1_001), names(&["dev", "staff"]), Some(of("staff")))
    );
    assert_eq!(db.groups("carol"), names(&["dev", "old"]));
    assert_eq!(
        db.groups("alice"),
        names(&["cell-admin", "fileset-admin", "fldb-admin", "staff"]),
        "nothing is taken away"
    );
    assert_eq!(db.events().last().unwrap(), "alice import principals: 3, groups: 2");
}

#[test]
fn import_given_twice_changes_nothing_the_second_time() {
    let mut db = Db::new();
    let both = import(&[group("staff", 50)], &[imported("bob", Some(1_001), &["staff"])]);
    db.done(both.clone());
    let (before, events) = (records(&db.state), db.events());
    db.done(both);
    assert_eq!((records(&db.state), db.events()), (before, events));
}

#[test]
fn import_that_does_not_fit_is_refused_whole() {
    let mut db = Db::new();
    db.done(new_person("hosts/fs1", None, &[]));
    db.done(import(
        &[group("staff", 50)],
        &[imported("bob", Some(1_001), &["staff"])],
    ));
    let good = imported("dave", Some(1_002), &["staff"]);
    let administrators = "its members administrate the cell, and no import makes an administrator; \
                          one by one: baton cell principal NAME --groups ...";
    for (groups, person, refusal) in [
        (
            vec![],
            imported("carol", Some(1_001), &[]),
            "Exists: id 1001: it is bob's".to_owned(),
        ),
        (
            vec![],
            imported("bob", Some(9), &[]),
            "Exists: principal bob: its id is 1001".to_owned(),
        ),
        (
            vec![],
            imported("carol", None, &[]),
            "NotFound: principal carol: no such thing; baton cell principals lists them".to_owned(),
        ),
        (
            vec![],
            imported("hosts/fs1", None, &["staff"]),
            "Invalid: principal hosts/fs1: names under hosts/ are machines'".to_owned(),
        ),
        (
            vec![],
            imported("carol", Some(65_534), &[]),
            "Invalid: id 65534: 0 and 65534 are nobody's".to_owned(),
        ),
        (
            vec![],
            imported("carol", Some(u32::MAX), &[]),
            "Invalid: id 4294967295: to every system call it means none".to_owned(),
        ),
        (
            vec![],
            imported("bob", Some(1_001), &["dev"]),
            "Exists: principal bob: its primary group is staff".to_owned(),
        ),
        (
            vec![],
            imported("carol", Some(9), &["operator"]),
            format!("Invalid: group operator: {administrators}"),
        ),
        (
            vec![group("cell-admin", 9)],
            good.clone(),
            format!("Invalid: group cell-admin: {administrators}"),
        ),
        (
            vec![group("dev", 50)],
            good.clone(),
            "Exists: id 50: it is group staff's".to_owned(),
        ),
        (
            vec![group("staff", 51)],
            good.clone(),
            "Exists: group staff: its id is 50".to_owned(),
        ),
    ] {
        // What comes before it is good, and does not stay either: `Db::step` compares.
        let change = import(&groups, &[good.clone(), person]);
        assert_eq!(db.refused(change), refusal);
    }
}

#[test]
fn import_is_bounded_by_rows_and_by_what_it_leaves_behind() {
    let mut db = Db::new();
    let rows = |count: u32| -> Vec<Group> { (0..count).map(|n| group(&format!("g{n}"), 2_000 + n)).collect() };
    let most = u32::try_from(IMPORT_ROWS_MAX).unwrap();
    db.done(import(&rows(most), &[]));
    let long: Vec<String> = (0..1_024).map(|number| format!("{number:064}")).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    db.done(new_person("bob", None, &long));
    db.done(new_person("carol", None, &long));
    const { assert!(2 * 1_024 * 64 >= IMPORT_BYTES_MAX) };
    db.done(import(&[], &[imported("bob", None, &[])]));
    assert_eq!(
        db.refused(import(&[], &[imported("bob", None, &[]), imported("carol", None, &[])])),
        "Limit: import: 131080 bytes of names, 131072 at most; give fewer at a time"
    );
    let mut over = Import {
        groups: rows(most),
        people: vec![imported("bob", None, &[])],
    };
    assert_eq!(over.check(0).unwrap_err().reason, "257 people and groups, 256 at most");
    over.people.clear();
    over.check(0).unwrap();
}

#[test]
fn groups_get_numbers_and_lose_them() {
    let mut db = Db::new();
    db.done(edit_group("staff", Some(50)));
    db.done(edit_group("dev", Some(60)));
    assert_eq!(
        db.refused(edit_group("dev", Some(50))),
        "Exists: id 50: it is group staff's"
    );
    assert_eq!(
        db.refused(edit_group("dev", Some(65_534))),
        "Invalid: id 65534: 0 and 65534 are nobody's"
    );
    db.done(edit_group("staff", Some(51)));
    db.done(edit_group("dev", Some(50)));
    assert_eq!(gids(&db), [("dev".to_owned(), 50), ("staff".to_owned(), 51)]);
    assert_eq!(db.done(edit_group("dev", None)), None);
    assert_eq!(
        db.refused(edit_group("dev", None)),
        "NotFound: group dev: it has no id; baton cell groups lists those that have one"
    );
    db.done(edit_group("again", Some(50)));
    // Who has no primary group has his uid for a gid: it is drawn where no group has it.
    db.done(edit_group("taken", Some(1_001)));
    db.done(new_person("bob", None, &[]));
    assert_eq!(db.principal("bob").id, Some(1_002));
}

#[test]
fn primary_group_is_one_of_its_groups() {
    let mut db = Db::new();
    db.done(new_person("bob", None, &["dev", "staff"]));
    assert_eq!(
        db.refused(primary("bob", None, Some("users"))),
        "Invalid: principal bob: its primary group must be one of its groups, and it is not in users; put it in as \
         well: baton cell principal bob --groups dev staff users --primary users"
    );
    db.done(primary("bob", None, Some("staff")));
    db.done(primary("bob", Some(&["staff", "users"]), None));
    assert_eq!(db.principal("bob").primary, Some(of("staff")));
    db.done(primary("bob", Some(&["users"]), None));
    assert_eq!(db.principal("bob").primary, None, "it left that group");
    db.done(primary("bob", Some(&["dev"]), Some("dev")));
    assert_eq!(db.principal("bob").primary, Some(of("dev")));
}
