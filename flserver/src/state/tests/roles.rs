//! Roles: what members of each group of administrators may, and what who owns server entries may.

use baton_types::change::{AddressEdit, Import, Move, Moving, OwnerEdit};

use super::super::right::may;
use super::*;

/// Those who are in one group each; `both` is in the groups of both entries.
const ROLES: [(&str, &[&str]); 8] = [
    ("cell", &["cell-admin"]),
    ("fldb", &["fldb-admin"]),
    ("fileset", &["fileset-admin"]),
    ("operator", &["operator"]),
    ("east", &["east"]),
    ("west", &["west"]),
    ("both", &["east", "west"]),
    ("nobody", &[]),
];

/// `east` owns the entry of fs1, `west` that of fs2, and that of fs3 is nobody's. agg1 is attached to fs1 alone, agg2 to
/// fs1 and fs2, agg3 to fs3; on each is a fileset booked where it was first attached.
fn cell() -> Db {
    let mut db = Db::new();
    for (name, groups) in ROLES {
        db.done(new_person(name, None, groups));
    }
    for (name, number) in [("fs1", 1), ("fs2", 2), ("fs3", 3)] {
        db.done(new_person(&format!("hosts/{name}"), None, &[]));
        let registered = register(name, number, &[name], number);
        db.by(&host(name, number), registered).unwrap();
    }
    for (server, aggregate) in [(1, 1), (1, 2), (2, 2), (3, 3)] {
        let who = host(&format!("fs{server}"), server);
        db.by(&who, report(server, aggregate, &format!("agg{aggregate}")))
            .unwrap();
    }
    for (entry, group) in [("fs1", "east"), ("fs2", "west")] {
        db.done(edit(entry, None, None, Some(group)));
    }
    for (name, server, aggregate) in [
        ("home1", "fs1", "agg1"),
        ("home2", "fs1", "agg2"),
        ("home3", "fs3", "agg3"),
    ] {
        db.done(create(name, server, aggregate));
    }
    db.by(&host("fs1", 1), claim(1, 1, 1, Epoch::NONE)).unwrap();
    db
}

fn edit(at: &str, addresses: Option<AddressEdit>, quota: Option<u32>, owner: Option<&str>) -> Change {
    Change::EditServerEntry {
        address: of(at),
        addresses,
        principal: None,
        quota,
        owner: owner.map(|group| OwnerEdit::Set(of(group))),
    }
}

fn add(at: &str, address: &str) -> Change {
    edit(at, Some(AddressEdit::Add(of(address))), None, None)
}

fn rename(name: &str) -> Change {
    Change::RenameFileset {
        fileset: named(name),
        name: of("other"),
    }
}

fn quota(name: &str) -> Change {
    Change::SetQuota {
        fileset: named(name),
        bytes: Some(1),
        files: None,
    }
}

fn book(id: u64, server: &str, aggregate: &str) -> Change {
    Change::BookFileset {
        fileset: FilesetId(id),
        name: of("booked"),
        server: of(server),
        aggregate: on(aggregate),
        quota_bytes: 0,
        quota_files: 0,
    }
}

fn moved(aggregates: &[&str]) -> Change {
    Change::Move(Move {
        what: Moving::Aggregates(aggregates.iter().map(|name| on(name)).collect()),
        to: None,
        takeover: Takeover::Planned,
    })
}

fn all_of(number: u128) -> Change {
    Change::Move(Move {
        what: Moving::Server(server_id(number)),
        to: None,
        takeover: Takeover::Planned,
    })
}

fn drain(number: u128) -> Change {
    Change::SetDrained {
        server: server_id(number),
        drained: true,
    }
}

fn hold(aggregate: &str) -> Change {
    Change::SetHeld {
        aggregate: on(aggregate),
        why: Some("looked at".to_owned()),
    }
}

fn domain(server: u128) -> Change {
    Change::SetDomain {
        server: server_id(server),
        domain: Some(of("rack1")),
    }
}

fn prefers(aggregate: &str, server: u128) -> Change {
    Change::Prefer {
        aggregate: on(aggregate),
        server: server_id(server),
    }
}

/// Everything that is done by administrators, in words.
#[expect(clippy::too_many_lines, reason = "a table: one entry for each change")]
fn changes() -> Vec<(&'static str, Change)> {
    let first = |name: &str| FilesetRef::Name(of(name));
    let set = Change::SetCell {
        key: "description".to_owned(),
        value: String::new(),
    };
    let entry = Change::CreateServerEntry {
        address: of("x"),
        principal: of("hosts/fs1"),
        quota: 0,
        owner: None,
    };
    let group = Change::EditGroup {
        name: of("staff"),
        id: Some(50),
    };
    vec![
        ("set the cell", set),
        ("edit a principal", new_person("x", None, &[])),
        ("edit a group", group),
        ("import", Change::Import(Import::default())),
        ("invite", invite(1, InvitationKind::User, "x")),
        ("remove a member", Change::RemoveMember { name: of("fl1") }),
        ("create an entry", entry),
        ("delete fs1's entry", Change::DeleteServerEntry { address: of("fs1") }),
        ("quota of fs1's entry", edit("fs1", None, Some(9), None)),
        ("owner of fs1's entry", edit("fs1", None, None, Some("west"))),
        ("address of fs1's entry", add("fs1", "x")),
        ("address of fs3's entry", add("fs3", "x")),
        ("create on agg1", create("x", "fs1", "agg1")),
        ("create on agg2", create("x", "fs1", "agg2")),
        ("create on agg3", create("x", "fs3", "agg3")),
        ("delete home1", delete("home1", "fs1", "agg1")),
        ("delete home2", delete("home2", "fs1", "agg2")),
        ("rename home1", rename("home1")),
        ("rename home3", rename("home3")),
        ("quota of home1", quota("home1")),
        ("quota of home2", quota("home2")),
        (
            "lock home1",
            Change::LockFileset {
                fileset: first("home1"),
            },
        ),
        (
            "unlock home2",
            Change::UnlockFileset {
                fileset: first("home2"),
            },
        ),
        ("sync: home1 is on agg1", book(1, "fs1", "agg1")),
        ("sync: home3 is on agg1", book(7, "fs1", "agg1")),
        ("sync: a new id on agg1", book(1_000, "fs1", "agg1")),
        (
            "sync: ids that are known",
            Change::ReserveFilesetIds { through: FilesetId(7) },
        ),
        (
            "sync: ids that are new",
            Change::ReserveFilesetIds { through: FilesetId(10) },
        ),
        (
            "forget home1",
            Change::ForgetFileset {
                fileset: first("home1"),
            },
        ),
        (
            "forget home2",
            Change::ForgetFileset {
                fileset: first("home2"),
            },
        ),
        ("move agg1", moved(&["agg1"])),
        ("move agg2", moved(&["agg2"])),
        ("move agg1 and agg3", moved(&["agg1", "agg3"])),
        ("move all of fs1", all_of(1)),
        ("move all of fs2", all_of(2)),
        ("drain fs1", drain(1)),
        ("drain fs3", drain(3)),
        ("domain of fs1", domain(1)),
        ("domain of fs3", domain(3)),
        ("agg1 prefers fs1", prefers("agg1", 1)),
        ("agg2 prefers fs1", prefers("agg2", 1)),
        ("hold agg1", hold("agg1")),
        ("hold agg2", hold("agg2")),
    ]
}

#[test]
fn each_role_may_what_the_table_says() {
    let db = cell();
    let mut table = format!("{:<26}", "");
    table.extend(ROLES.map(|(role, _)| format!("{role:<9}")));
    let mut table = format!("{}\n", table.trim_end());
    for (words, change) in changes() {
        let may = ROLES.map(|(role, _)| match may(&db.state, &person(role), &change) {
            Ok(()) => "yes      ",
            Err(_) => ".        ",
        });
        table += &format!("{words:<26}{}\n", may.concat().trim_end());
    }
    assert_eq!(
        table,
        "                          cell     fldb     fileset  operator east     west     both     nobody\n\
         set the cell              yes      .        .        .        .        .        .        .\n\
         edit a principal          yes      .        .        .        .        .        .        .\n\
         edit a group              yes      .        .        .        .        .        .        .\n\
         import                    yes      .        .        .        .        .        .        .\n\
         invite                    yes      .        .        .        .        .        .        .\n\
         remove a member           yes      .        .        .        .        .        .        .\n\
         create an entry           yes      yes      .        .        .        .        .        .\n\
         delete fs1's entry        yes      yes      .        .        .        .        .        .\n\
         quota of fs1's entry      yes      yes      .        .        .        .        .        .\n\
         owner of fs1's entry      yes      yes      .        .        .        .        .        .\n\
         address of fs1's entry    yes      yes      .        .        yes      .        yes      .\n\
         address of fs3's entry    yes      yes      .        .        .        .        .        .\n\
         create on agg1            yes      yes      yes      .        yes      .        yes      .\n\
         create on agg2            yes      yes      yes      .        .        .        yes      .\n\
         create on agg3            yes      yes      yes      .        .        .        .        .\n\
         delete home1              yes      yes      yes      .        yes      .        yes      .\n\
         delete home2              yes      yes      yes      .        .        .        yes      .\n\
         rename home1              yes      yes      yes      .        yes      .        yes      .\n\
         rename home3              yes      yes      yes      .        .        .        .        .\n\
         quota of home1            yes      yes      yes      .        yes      .        yes      .\n\
         quota of home2            yes      yes      yes      .        .        .        yes      .\n\
         lock home1                yes      yes      yes      .        yes      .        yes      .\n\
         unlock home2              yes      yes      yes      .        .        .        yes      .\n\
         sync: home1 is on agg1    yes      yes      .        .        yes      .        yes      .\n\
         sync: home3 is on agg1    yes      yes      .        .        .        .        .        .\n\
         sync: a new id on agg1    yes      yes      .        .        .        .        .        .\n\
         sync: ids that are known  yes      yes      .        .        yes      yes      yes      .\n\
         sync: ids that are new    yes      yes      .        .        .        .        .        .\n\
         forget home1              yes      yes      .        .        yes      .        yes      .\n\
         forget home2              yes      yes      .        .        .        .        yes      .\n\
         move agg1                 yes      yes      .        yes      yes      .        yes      .\n\
         move agg2                 yes      yes      .        yes      .        .        yes      .\n\
         move agg1 and agg3        yes      yes      .        yes      .        .        .        .\n\
         move all of fs1           yes      yes      .        yes      yes      .        yes      .\n\
         move all of fs2           yes      yes      .        yes      .        yes      yes      .\n\
         drain fs1                 yes      yes      .        yes      yes      .        yes      .\n\
         drain fs3                 yes      yes      .        yes      .        .        .        .\n\
         domain of fs1             yes      yes      .        yes      yes      .        yes      .\n\
         domain of fs3             yes      yes      .        yes      .        .        .        .\n\
         agg1 prefers fs1          yes      yes      .        yes      yes      .        yes      .\n\
         agg2 prefers fs1          yes      yes      .        yes      .        .        yes      .\n\
         hold agg1                 yes      yes      .        yes      yes      .        yes      .\n\
         hold agg2                 yes      yes      .        yes      .        .        yes      .\n"
    );
}

#[test]
fn refusal_names_the_groups_that_would_do() {
    let mut db = cell();
    let way_out = "an administrator of the cell can add you: baton cell principal NAME --groups ...";
    for (who, change, missing) in [
        ("nobody", rename("home1"), "fileset-admin or fldb-admin or east"),
        (
            "east",
            rename("home2"),
            "fileset-admin or fldb-admin, nor in all of east and west",
        ),
        ("east", rename("home3"), "fileset-admin or fldb-admin"),
        ("west", moved(&["agg1"]), "fldb-admin or operator or east"),
        (
            "west",
            moved(&["agg2"]),
            "fldb-admin or operator, nor in all of east and west",
        ),
        ("east", drain(2), "fldb-admin or operator or west"),
        ("east", edit("fs1", None, Some(0), None), "fldb-admin"),
        (
            "operator",
            create("x", "fs1", "agg1"),
            "fileset-admin or fldb-admin or east",
        ),
    ] {
        assert_eq!(
            db.refused_by(&person(who), change),
            format!("Denied: {who}: not in group {missing}; {way_out}")
        );
    }
    // That something is not there is said to those who own anything, and they may do what they may.
    let east = person("east");
    assert_eq!(
        db.refused_by(&east, rename("nowhere")),
        "NotFound: fileset nowhere: no such thing; fts lsfldb lists them"
    );
    db.by(&east, rename("home1")).unwrap();
    db.by(&east, book(1, "fs1", "agg1")).unwrap();
    db.by(&east, all_of(1)).unwrap_err();
}

/// An owner edits addresses, and an address alone makes nobody's server his.
#[test]
fn address_of_another_server_gives_no_right_over_it() {
    let mut db = cell();
    db.done(edit("fs3", Some(AddressEdit::ChangeTo(of("dummy"))), None, None));
    let east = person("east");
    db.by(&east, add("fs1", "fs3")).unwrap();
    assert_eq!(
        db.entry("fs3").name,
        db.entry("fs1").name,
        "fs3 is under the entry of fs1 now"
    );
    for change in [
        drain(3),
        hold("agg3"),
        moved(&["agg3"]),
        rename("home3"),
        create("x", "fs1", "agg3"),
        book(7, "fs1", "agg3"),
    ] {
        let refusal = db.refused_by(&east, change);
        assert!(refusal.starts_with("Denied: east: not in group"), "{refusal}");
    }
    db.by(&east, drain(1)).unwrap();
}
