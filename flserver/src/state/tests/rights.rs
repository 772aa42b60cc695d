//! Who may do what: every change against every kind of caller.

use baton_types::change::{AddressEdit, Move, Moving};
use baton_types::record::{ServerState, TimeLine};

use super::super::right::may;
use super::*;

fn by_host_trust(name: &str) -> Who {
    Who::Principal {
        name: of(name),
        mech: "host-trust".to_owned(),
    }
}

/// Somebody of every kind, by a short name.
fn callers() -> Vec<(&'static str, Who)> {
    vec![
        ("nobody", Who::Nobody),
        ("database", Who::Database),
        ("user", person("user")),
        ("stranger", person("stranger")),
        ("cell", person("cell")),
        ("fldb", person("fldb")),
        ("fileset", person("fileset")),
        ("owners", person("owners")),
        ("operator", person("operator")),
        ("trusted", by_host_trust("cell")),
        ("disabled", person("disabled")),
        ("host", host("fs1", 1)),
        ("other", host("fs2", 2)),
        ("admin-host", host("fs3", 3)),
        ("member", host("fl1", 11)),
        (
            "bare-host",
            Who::Host {
                name: of("hosts/fs1"),
                server: None,
            },
        ),
    ]
}

fn registry() -> Fldb {
    let mut db = Db::with_servers();
    for (name, groups) in [
        ("user", &[][..]),
        ("cell", &["cell-admin"]),
        ("fldb", &["fldb-admin"]),
        ("fileset", &["fileset-admin"]),
        ("owners", &["owners"]),
        ("operator", &["operator"]),
        ("disabled", &["cell-admin"]),
        ("hosts/fs3", &["cell-admin"]),
    ] {
        db.done(new_person(name, None, groups));
    }
    db.done(edit_person("disabled", None, Some(true)));
    db.done(Change::CreateServerEntry {
        address: of("owned"),
        principal: of("hosts/fs1"),
        quota: 0,
        owner: Some(of("owners")),
    });
    db.done(create("a", "fs1", "agg1"));
    db.state
}

fn edit_entry(at: &str) -> Change {
    Change::EditServerEntry {
        address: of(at),
        addresses: Some(AddressEdit::Add(of("another"))),
        principal: None,
        quota: None,
        owner: None,
    }
}

/// Those who may, of all the callers there are.
fn allowed(state: &Fldb, change: &Change) -> String {
    let callers = callers();
    let may = callers.iter().filter(|(_, who)| may(state, who, change).is_ok());
    may.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}

#[test]
fn each_change_is_for_some_and_not_for_others() {
    let state = registry();
    let everyone: Vec<&str> = callers()
        .iter()
        .map(|(name, _)| *name)
        .filter(|n| *n != "disabled")
        .collect();
    let (everyone, cell) = (everyone.join(" "), "cell admin-host");
    let (fldb, fileset) = ("cell fldb admin-host", "cell fldb fileset admin-host");
    let entry = Change::CreateServerEntry {
        address: of("x"),
        principal: of("hosts/fs1"),
        quota: 0,
        owner: None,
    };
    let set = Change::SetCell {
        key: "description".to_owned(),
        value: String::new(),
    };
    let announce = Change::AnnounceMember {
        name: of("fl1"),
        addresses: names(&["fl1"]),
        issuer: true,
    };
    let rename = Change::RenameFileset {
        fileset: named("a"),
        name: of("b"),
    };
    let book = Change::BookFileset {
        fileset: FilesetId(1),
        name: of("a"),
        server: of("fs1"),
        aggregate: on("agg1"),
        quota_bytes: 0,
        quota_files: 0,
    };
    for (change, who) in [
        (genesis(), "database"),
        (join(1, 1, &[]), &everyone),
        (announce, "member"),
        (set, cell),
        (new_person("x", None, &[]), cell),
        (invite(1, InvitationKind::User, "x"), cell),
        (Change::RemoveMember { name: of("fl1") }, cell),
        (entry, fldb),
        (edit_entry("fs1"), fldb),
        (edit_entry("nowhere"), fldb),
        (edit_entry("owned"), "cell fldb owners admin-host"),
        (Change::DeleteServerEntry { address: of("owned") }, fldb),
        (create("a", "fs1", "agg1"), fileset),
        (delete("a", "fs1", "agg1"), fileset),
        (rename, fileset),
        (Change::LockFileset { fileset: named("a") }, fileset),
        (Change::UnlockFileset { fileset: named("a") }, fileset),
        (Change::ForgetFileset { fileset: named("a") }, fldb),
        (
            Change::ReserveFilesetIds {
                through: FilesetId(1_000),
            },
            fldb,
        ),
        (book, fldb),
    ] {
        assert_eq!(allowed(&state, &change), who, "{change:?}");
    }
}

#[test]
fn changes_of_owners_are_for_their_hosts_members_and_operators() {
    let state = registry();
    let operators = "cell fldb operator admin-host";
    let detach = Change::Detach {
        aggregate: aggregate_id(1),
        server: server_id(1),
        epoch: Epoch::NONE,
    };
    let give_up = Change::GiveUp {
        aggregate: aggregate_id(1),
        server: server_id(1),
        epoch: Epoch(1),
        why: String::new(),
    };
    let hand_over = Change::HandOver {
        server: server_id(1),
        rows: Vec::new(),
    };
    let abandon = Change::AbandonMove {
        server: server_id(1),
        rows: Vec::new(),
        why: String::new(),
    };
    let report_takeover = Change::ReportTakeover {
        server: server_id(1),
        aggregate: aggregate_id(1),
        epoch: Epoch(1),
        time_line: TimeLine::default(),
    };
    let wish = Change::Move(Move {
        what: Moving::Server(server_id(1)),
        to: None,
        takeover: Takeover::Planned,
    });
    let drained = Change::SetDrained {
        server: server_id(1),
        drained: true,
    };
    for (change, who) in [
        (register("fs1", 1, &["fs1"], 1), "host"),
        (report(1, 1, "agg1"), "host"),
        (claim(1, 1, 1, Epoch::NONE), "host"),
        (detach, "host"),
        (report_fileset((1, 1, Epoch(1)), 1, true), "host"),
        (give_up, "host"),
        (hand_over, "host"),
        (abandon, "host"),
        (report_takeover, "host"),
        (owners::judged((1, ServerState::Dead), &[]), "member"),
        (wish, operators),
        (drained, operators),
    ] {
        assert_eq!(allowed(&state, &change), who, "{change:?}");
    }
}

#[test]
fn refusal_names_the_caller_and_what_is_missing() {
    let state = registry();
    let lock = Change::LockFileset { fileset: named("a") };
    let owned = edit_entry("owned");
    for (who, change, refusal) in [
        (
            Who::Nobody,
            &lock,
            "Denied: nobody: not logged in; log in first: baton login",
        ),
        (
            person("user"),
            &lock,
            "Denied: user: not in group fileset-admin or fldb-admin; \
             an administrator of the cell can add you: baton cell principal NAME --groups ...",
        ),
        (
            person("user"),
            &owned,
            "Denied: user: not in group fldb-admin or owners; \
             an administrator of the cell can add you: baton cell principal NAME --groups ...",
        ),
        (
            by_host_trust("cell"),
            &lock,
            "Denied: cell: a login by host-trust does not administrate",
        ),
        (person("disabled"), &lock, "Denied: principal disabled: it is disabled"),
        (
            host("fs2", 2),
            &report(1, 1, "agg1"),
            "Denied: hosts/fs2: only server 00000000-0000-0000-0000-000000000001 itself says this, \
             under its own certificate",
        ),
    ] {
        assert_eq!(says(&may(&state, &who, change).unwrap_err()), refusal);
    }
}

#[test]
fn owner_of_an_aggregate_may_make_the_root_of_the_cell_there_and_nothing_else() {
    let mut db = Db::with_servers();
    let fs1 = host("fs1", 1);
    let refusal = db.refused_by(&fs1, create("root.cell", "fs1", "agg1"));
    assert!(refusal.starts_with("Denied: hosts/fs1"), "it owns nothing: {refusal}");
    db.by(&fs1, claim(1, 1, 1, Epoch::NONE)).unwrap();
    assert!(db.refused_by(&fs1, create("home", "fs1", "agg1")).starts_with("Denied"));
    assert!(
        db.refused_by(&host("fs2", 2), create("root.cell", "fs2", "agg1"))
            .starts_with("Denied")
    );
    db.by(&fs1, create("root.cell", "fs1", "agg1")).unwrap();
    assert!(
        db.refused_by(&fs1, create("root.cell", "fs1", "agg1"))
            .starts_with("Exists")
    );
}

#[test]
fn right_taken_away_is_gone_at_the_next_index() {
    let mut db = Db::with_servers();
    db.done(new_person("bob", None, &["fileset-admin"]));
    db.by(&person("bob"), create("a", "fs1", "agg1")).unwrap();
    db.done(edit_person("bob", Some(&[]), None));
    let refusal = db.refused_by(&person("bob"), create("b", "fs1", "agg1"));
    assert!(refusal.starts_with("Denied: bob: not in group"), "{refusal}");
    assert!(super::super::is_administrator(&db.state, &person("alice")));
    assert!(!super::super::is_administrator(&db.state, &person("bob")));
}

#[test]
fn disabled_machine_is_no_longer_heard() {
    let mut db = Db::with_servers();
    db.done(edit_person("hosts/fs1", None, Some(true)));
    assert_eq!(
        db.refused_by(&host("fs1", 1), claim(1, 1, 1, Epoch::NONE)),
        "Denied: principal hosts/fs1: it is disabled"
    );
}
