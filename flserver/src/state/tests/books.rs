//! Entries after what is on the disks, and without them; ids that are never used again.

use baton_types::record::Site;

use super::*;

fn book(id: u64, name: &str, server: &str, aggregate: &str) -> Change {
    Change::BookFileset {
        fileset: FilesetId(id),
        name: of(name),
        server: of(server),
        aggregate: on(aggregate),
        quota_bytes: 5 << 20,
        quota_files: 9,
    }
}

fn forget(fileset: FilesetRef) -> Change {
    Change::ForgetFileset { fileset }
}

fn reserve(through: u64) -> Change {
    Change::ReserveFilesetIds {
        through: FilesetId(through),
    }
}

/// Two servers, each with an aggregate of its own besides the one that both see; each owns its own.
fn db() -> Db {
    let mut db = Db::with_servers();
    for (name, number) in [("fs1", 1), ("fs2", 2)] {
        let own = number + 1;
        db.by(&host(name, number), report(number, own, &format!("agg{own}")))
            .unwrap();
        db.by(&host(name, number), claim(number, own, number, Epoch::NONE))
            .unwrap();
    }
    db
}

/// The owner of `agg2` or `agg3` says whether it has a version of a fileset.
fn says_there(db: &mut Db, aggregate: u128, version: u64, valid: bool) {
    let (name, number) = match aggregate {
        2 => ("fs1", 1),
        _ => ("fs2", 2),
    };
    db.by(
        &host(name, number),
        report_fileset((number, aggregate, Epoch(1)), version, valid),
    )
    .unwrap();
}

#[test]
fn header_without_an_entry_gets_one_and_its_owner_says_that_it_is_there() {
    let mut db = db();
    let Some(Record::Fileset(made)) = db.done(book(40, "user.ito", "fs1", "agg2")) else {
        panic!("a fileset is given back")
    };
    let entry = db.entry("fs1").number;
    assert_eq!(
        (made.id, made.rw, made.backup, made.quota_bytes, made.quota_files),
        (FilesetId(40), VersionState::Invalid, VersionState::Invalid, 5 << 20, 9)
    );
    assert_eq!(
        made.sites,
        [Site {
            entry,
            aggregate: aggregate_id(2),
            versions: Site::RW
        }]
    );
    assert_eq!(db.events().last().unwrap(), "alice book fileset fileset user.ito");
    says_there(&mut db, 2, 40, true);
    says_there(&mut db, 2, 42, true);
    assert_eq!(db.entry("fs1").uses, 2);
    let events = db.events().len();
    db.done(book(40, "user.ito", "fs1", "agg2"));
    assert_eq!(
        (db.events().len(), db.fileset("user.ito").rw),
        (events, VersionState::Valid)
    );
}

#[test]
fn entry_takes_name_and_quota_of_the_header() {
    let mut db = db();
    db.done(create("a", "fs1", "agg2"));
    let id = db.fileset("a").id.0;
    says_there(&mut db, 2, id, true);
    db.done(book(id, "b", "fs1", "agg2"));
    let fileset = db.fileset("b");
    assert_eq!(
        (fileset.id.0, fileset.rw, fileset.quota_files),
        (id, VersionState::Valid, 9)
    );
    assert!(db.state.fileset(&named("a")).is_err());
}

#[test]
fn entry_moves_only_from_where_its_fileset_is_not() {
    let mut db = db();
    db.done(create("a", "fs1", "agg2"));
    let id = db.fileset("a").id.0;
    says_there(&mut db, 2, id, true);
    assert_eq!(
        db.refused(book(id, "a", "fs2", "agg3")),
        "Busy: fileset a: its entry says that it is on aggregate agg2; if it is not: fts syncfldb of the server that has \
         aggregate agg2, then this again"
    );
    says_there(&mut db, 2, id, false);
    db.done(book(id, "a", "fs2", "agg3"));
    assert_eq!(db.fileset("a").sites[0].aggregate, aggregate_id(3));
    assert_eq!((db.entry("fs1").uses, db.entry("fs2").uses), (0, 1));
}

#[test]
fn entry_stays_under_its_server_when_another_one_has_its_aggregate() {
    let mut db = db();
    db.done(create("a", "fs1", "agg1"));
    let before = db.fileset("a");
    db.done(book(before.id.0, "a", "fs2", "agg1"));
    assert_eq!(db.fileset("a").sites, before.sites);
}

#[test]
fn no_two_entries_have_one_name_or_one_id() {
    let mut db = db();
    db.done(create("a", "fs1", "agg2"));
    db.done(book(40, "b", "fs1", "agg2"));
    assert_eq!(
        db.refused(book(60, "a", "fs1", "agg2")),
        "Exists: fileset a: it is fileset 0,,1; fts rename a OTHER gives that one another name; then do this again"
    );
    for id in [38, 39, 41, 42] {
        let refused = db.refused(book(id, "c", "fs1", "agg2"));
        assert!(
            refused.starts_with(&format!(
                "Exists: fileset id 0,,{id}: fileset b (0,,40) has some of the same"
            )),
            "{refused}"
        );
    }
    db.done(book(37, "c", "fs1", "agg2"));
    db.done(book(43, "d", "fs1", "agg2"));
}

#[test]
fn what_no_fileset_can_have_is_not_booked() {
    let mut db = db();
    for id in [
        0,
        FilesetId::END - 3,
        FilesetId::END,
        FilesetId(40).snapshot(2).0,
        u64::MAX,
    ] {
        for change in [book(id, "a", "fs1", "agg2"), reserve(id)] {
            let refused = db.refused(change);
            assert_eq!(refused, format!("Invalid: fileset id {id}: no fileset can have it"));
        }
    }
    assert!(
        db.refused(book(40, "a", "fs2", "agg2"))
            .contains("fs2 is not attached to it")
    );
    assert!(
        db.refused(book(40, "a", "fs9", "agg2"))
            .starts_with("NotFound: server entry fs9")
    );
}

#[test]
fn ids_that_a_disk_has_are_given_to_nothing_new() {
    let mut db = db();
    db.done(book(40, "a", "fs1", "agg2"));
    db.done(create("b", "fs1", "agg2"));
    assert_eq!(db.fileset("b").id, FilesetId(43));
    db.done(reserve(60));
    assert_eq!(db.events().last().unwrap(), "alice reserve fileset ids to 0,,62");
    let events = db.events().len();
    db.done(reserve(50));
    assert_eq!(db.events().len(), events, "it was so before");
    db.done(create("c", "fs1", "agg2"));
    assert_eq!(db.fileset("c").id, FilesetId(63));
}

#[test]
fn forgotten_entry_keeps_its_ids_used_up() {
    let mut db = db();
    db.done(create("a", "fs1", "agg2"));
    let id = db.fileset("a").id.0;
    says_there(&mut db, 2, id, true);
    says_there(&mut db, 2, id + 2, true);
    assert_eq!(db.done(forget(named("a"))), None);
    assert!(db.state.fileset(&numbered(id)).is_err());
    assert_eq!(db.entry("fs1").uses, 0);
    assert_eq!(db.events().last().unwrap(), "alice delete fldb entry fileset a");
    db.done(create("b", "fs1", "agg2"));
    assert_eq!(db.fileset("b").id.0, id + FilesetId::STEP);
    // The fileset is on its disk all the time: with its entry all is as it was.
    db.done(book(id, "a", "fs1", "agg2"));
    assert_eq!(db.fileset("a").id.0, id);
}

#[test]
fn locked_entry_is_neither_booked_nor_forgotten() {
    let mut db = db();
    db.done(create("a", "fs1", "agg2"));
    db.done(Change::LockFileset { fileset: named("a") });
    let id = db.fileset("a").id.0;
    for change in [forget(named("a")), book(id, "b", "fs1", "agg2")] {
        assert!(
            db.refused(change)
                .starts_with("Busy: fileset a: its entry is locked by alice")
        );
    }
}
