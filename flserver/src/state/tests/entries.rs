//! Server entries: DFS's address rules, and the swap of two servers as it was done with them.

use baton_types::change::{AddressEdit, OwnerEdit};

use super::*;

fn create_entry(at: &str, principal: &str) -> Change {
    Change::CreateServerEntry {
        address: of(at),
        principal: of(principal),
        quota: 0,
        owner: None,
    }
}

fn edit(at: &str, addresses: Option<AddressEdit>, principal: Option<&str>) -> Change {
    Change::EditServerEntry {
        address: of(at),
        addresses,
        principal: principal.map(of),
        quota: None,
        owner: None,
    }
}

fn change_to(at: &str, new: &str) -> Change {
    edit(at, Some(AddressEdit::ChangeTo(of(new))), None)
}

fn add(at: &str, new: &str) -> Change {
    edit(at, Some(AddressEdit::Add(of(new))), None)
}

fn remove(at: &str) -> Change {
    edit(at, Some(AddressEdit::Remove), None)
}

fn delete_entry(at: &str) -> Change {
    Change::DeleteServerEntry { address: of(at) }
}

fn edit_quota(at: &str, quota: Option<u32>, owner: Option<OwnerEdit>) -> Change {
    Change::EditServerEntry {
        address: of(at),
        addresses: None,
        principal: None,
        quota,
        owner,
    }
}

/// A cell with the entries E1 for `a` and E2 for `b`, and a fileset under E1.
fn two_entries() -> Db {
    let mut db = Db::new();
    for (name, number) in [("A", 1), ("B", 2)] {
        db.done(new_person(&format!("hosts/{name}"), None, &[]));
        db.by(
            &host(name, number),
            register(name, number, &[&name.to_lowercase()], number),
        )
        .unwrap();
        db.by(&host(name, number), report(number, 1, "agg1")).unwrap();
    }
    db.done(create("user.ito", "a", "agg1"));
    db
}

/// Address and principal of E1 and E2.
fn both(db: &Db) -> [String; 2] {
    [1, 2].map(|number| {
        let entry = db.state.entries.get(&number).unwrap();
        let addresses: Vec<String> = entry.addresses.iter().map(ToString::to_string).collect();
        format!("{}, {}", addresses.join(" "), entry.principal)
    })
}

/// Each line: a step, then E1 and E2 after it. The address finds the entry, and nothing else does.
fn swap(steps: &[(Change, &str, &str)]) -> Db {
    let mut db = two_entries();
    assert_eq!(both(&db), ["a, hosts/A", "b, hosts/B"], "the start");
    for (step, (change, first, second)) in (1..).zip(steps) {
        db.done(change.clone());
        assert_eq!(both(&db), [*first, *second], "after step {step}");
    }
    db
}

#[test]
fn swap_of_two_servers_as_dfs_printed_it_leaves_the_wrong_names() {
    swap(&[
        (change_to("a", "dummy"), "dummy, hosts/A", "b, hosts/B"),
        (change_to("b", "a"), "dummy, hosts/A", "a, hosts/B"),
        (change_to("dummy", "b"), "b, hosts/A", "a, hosts/B"),
        // Address a finds E2, which says hosts/B already, and address b finds E1, which says hosts/A.
        (edit("a", None, Some("hosts/B")), "b, hosts/A", "a, hosts/B"),
        (edit("b", None, Some("hosts/A")), "b, hosts/A", "a, hosts/B"),
    ]);
}

#[test]
fn swap_of_two_servers_in_its_consistent_form_moves_every_fileset() {
    let db = swap(&[
        (change_to("a", "dummy"), "dummy, hosts/A", "b, hosts/B"),
        (change_to("b", "a"), "dummy, hosts/A", "a, hosts/B"),
        (change_to("dummy", "b"), "b, hosts/A", "a, hosts/B"),
        (edit("a", None, Some("hosts/A")), "b, hosts/A", "a, hosts/A"),
        (edit("b", None, Some("hosts/B")), "b, hosts/B", "a, hosts/A"),
    ]);
    assert_eq!(db.fileset("user.ito").sites[0].entry, 1, "filesets point to the entry");
    assert_eq!(
        (db.entry("b").uses, db.entry("a").uses),
        (1, 0),
        "and are counted there"
    );
    assert_eq!(
        db.server("A").addresses,
        [address("a")],
        "the servers themselves are where they were"
    );
}

#[test]
fn swap_without_a_dummy_is_refused() {
    let mut db = two_entries();
    assert_eq!(
        db.refused(change_to("a", "b")),
        "Exists: address b: it belongs to server entry B (hosts/B); give that entry another address first: \
         fts edserverentry ADDRESS -changeaddr OTHER"
    );
}

#[test]
fn new_entry_has_one_address_and_is_called_after_it() {
    let mut db = two_entries();
    let made = Change::CreateServerEntry {
        address: of("fs9.example.org"),
        principal: of("hosts/A"),
        quota: 12,
        owner: Some(of("fs9-admins")),
    };
    db.done(made.clone());
    let entry = db.entry("fs9.example.org");
    assert_eq!(
        (entry.number, entry.name.as_str(), entry.quota, entry.uses),
        (3, "fs9.example.org", 12, 0)
    );
    assert_eq!(
        (entry.addresses, entry.owner),
        (names(&["fs9.example.org"]), Some(of("fs9-admins")))
    );
    assert_eq!(
        db.refused(made),
        "Exists: address fs9.example.org: it belongs to server entry fs9.example.org (hosts/A); give that entry \
         another address first: fts edserverentry ADDRESS -changeaddr OTHER"
    );
    assert_eq!(
        db.refused(create_entry("fs10", "hosts/C")),
        "NotFound: principal hosts/C: the registry does not know it; invite the machine first: baton cell invite HOST"
    );
    assert_eq!(
        db.events().last().unwrap(),
        "alice create server entry server entry fs9.example.org"
    );
}

#[test]
fn entries_of_one_host_get_names_of_their_own() {
    let mut db = two_entries();
    let long = "a-very-long-host-name.example.org";
    for (at, name) in [
        ("fs9", "fs9"),
        ("fs9:7402", "fs9-4"),
        ("2001:db8::7", "2001-db8--7"),
        ("::1", "1"),
        (long, "a-very-long-host-name.example.o"),
        (&format!("{long}:1"), "a-very-long-host-name.example-8"),
    ] {
        db.done(create_entry(at, "hosts/A"));
        assert_eq!(db.entry(at).name.as_str(), name);
    }
    db.done(create_entry("fs9-10", "hosts/A"));
    assert_eq!(
        db.refused(create_entry("fs9:7403", "hosts/A")),
        "Exists: server entry fs9-10: exists already; use another of its addresses"
    );
}

#[test]
fn numbers_of_entries_are_never_used_again() {
    let mut db = two_entries();
    db.done(delete_entry("b"));
    db.done(create_entry("b", "hosts/B"));
    assert_eq!(db.entry("b").number, 3);
    assert!(
        db.state.entry(&of("b:7402")).is_err(),
        "another port is another address"
    );
}

#[test]
fn addresses_are_added_changed_and_removed_one_at_a_time() {
    let mut db = two_entries();
    db.done(add("a", "a2"));
    db.done(add("a2", "a3"));
    db.done(change_to("a2", "a4"));
    assert_eq!(db.entry("a").addresses, names::<Address>(&["a", "a4", "a3"]));
    db.done(remove("a"));
    assert_eq!(db.entry("a3").addresses, names::<Address>(&["a4", "a3"]));
    assert_eq!(
        db.refused(add("a3", "a4")),
        "Exists: address a4: it belongs to server entry A (hosts/A); give that entry another address first: \
         fts edserverentry ADDRESS -changeaddr OTHER"
    );
    db.done(remove("a4"));
    assert_eq!(
        db.refused(remove("a3")),
        "Invalid: server entry a3: this is its last address, and nothing else finds it; give it another instead: fts edserverentry a3 -changeaddr OTHER; or take the entry away: fts delserverentry a3"
    );
    assert_eq!(
        db.refused(change_to("a3", "a3")),
        "Exists: address a3: it belongs to server entry A (hosts/A); give that entry another address first: \
         fts edserverentry ADDRESS -changeaddr OTHER"
    );
    assert_eq!(
        db.refused(change_to("a", "z")),
        "NotFound: server entry a: no entry has this address; fts lsserverentry -all lists them"
    );
    assert_eq!(
        db.entry("a3").name.as_str(),
        "A",
        "the name does not follow the addresses"
    );
}

#[test]
fn sixteen_addresses_are_enough() {
    let mut db = two_entries();
    for number in 2..=16 {
        db.done(add("a", &format!("a{number}")));
    }
    assert_eq!(
        db.refused(add("a", "a17")),
        "Limit: server entry a: it has 16 addresses already; take one away first: fts edserverentry ADDRESS -rmaddr"
    );
    db.done(change_to("a16", "a17"));
    assert_eq!(db.entry("a17").addresses.len(), 16);
}

#[test]
fn principal_quota_and_owner_are_edited_together_or_not_at_all() {
    let mut db = two_entries();
    db.done(edit_quota("a", Some(5), Some(OwnerEdit::Set(of("staff")))));
    assert_eq!((db.entry("a").quota, db.entry("a").owner), (5, Some(of("staff"))));
    db.done(edit_quota("a", None, None));
    assert_eq!((db.entry("a").quota, db.entry("a").owner), (5, Some(of("staff"))));
    db.done(edit_quota("a", Some(0), Some(OwnerEdit::Clear)));
    assert_eq!((db.entry("a").quota, db.entry("a").owner), (0, None));
    let half_good = Change::EditServerEntry {
        address: of("a"),
        addresses: Some(AddressEdit::ChangeTo(of("b"))),
        principal: Some(of("hosts/B")),
        quota: Some(9),
        owner: None,
    };
    assert!(db.refused(half_good).starts_with("Exists: address b"));
    assert!(
        db.refused(edit("a", None, Some("hosts/C")))
            .starts_with("NotFound: principal hosts/C")
    );
}

#[test]
fn entry_in_use_stays() {
    let mut db = two_entries();
    assert_eq!(
        db.refused(delete_entry("a")),
        "Busy: server entry a: 1 fileset versions refer to it; move or delete them first; \
         fts lsfldb -server a lists them"
    );
    db.done(delete("user.ito", "a", "agg1"));
    assert_eq!(db.done(delete_entry("a")), None);
    assert!(db.refused(delete_entry("a")).starts_with("NotFound: server entry a"));
    assert_eq!(db.events().last().unwrap(), "alice delete server entry server entry a");
}
