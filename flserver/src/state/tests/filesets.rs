//! Filesets: ids, counts, quotas of entries, locks.

use baton_types::change::OwnerEdit;
use baton_types::record::{EntryLock, Site};

use super::*;

fn rename(fileset: FilesetRef, name: &str) -> Change {
    Change::RenameFileset {
        fileset,
        name: of(name),
    }
}

fn lock(name: &str) -> Change {
    Change::LockFileset { fileset: named(name) }
}

fn unlock(name: &str) -> Change {
    Change::UnlockFileset { fileset: named(name) }
}

fn set_entry_quota(at: &str, quota: u32) -> Change {
    Change::EditServerEntry {
        address: of(at),
        addresses: None,
        principal: None,
        quota: Some(quota),
        owner: None::<OwnerEdit>,
    }
}

#[test]
fn new_fileset_is_three_ids_and_a_place_and_nothing_there_yet() {
    let mut db = Db::with_servers();
    let made = Change::CreateFileset {
        name: of("user.ito"),
        server: of("fs2"),
        aggregate: AggregateRef::Number(1),
        quota_bytes: 5 << 20,
    };
    let Some(Record::Fileset(fileset)) = db.done(made) else {
        panic!("a fileset is given back")
    };
    assert_eq!(
        fileset,
        Fileset {
            id: FilesetId(1),
            name: of("user.ito"),
            rw: VersionState::Invalid,
            ro: VersionState::Invalid,
            backup: VersionState::Invalid,
            sites: vec![Site {
                entry: db.entry("fs2").number,
                aggregate: aggregate_id(1),
                versions: Site::RW,
            }],
            quota_bytes: 5 << 20,
            quota_files: 0,
            lock: None,
        }
    );
    assert_eq!((db.entry("fs1").uses, db.entry("fs2").uses), (0, 1));
    assert_eq!(db.events().last().unwrap(), "alice create fileset fileset user.ito");
}

#[test]
fn quota_of_a_fileset_is_changed_in_part_or_whole_by_who_may() {
    let mut db = Db::with_servers();
    db.done(create("user.ito", "fs1", "agg1"));
    let mut quota = |bytes, files| {
        let change = Change::SetQuota {
            fileset: named("user.ito"),
            bytes,
            files,
        };
        match db.done(change) {
            Some(Record::Fileset(fileset)) => (fileset.quota_bytes, fileset.quota_files),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(quota(Some(20 << 20), None), (20 << 20, 0));
    assert_eq!(quota(None, Some(1_000)), (20 << 20, 1_000));
    assert_eq!(quota(Some(0), Some(0)), (0, 0));
    assert_eq!(
        db.events().last().unwrap(),
        "alice set quota fileset user.ito: 0 bytes, 0 files"
    );
}

#[test]
fn owner_of_the_aggregate_says_whether_a_fileset_is_there() {
    let mut db = Db::with_servers();
    let fs1 = host("fs1", 1);
    db.done(create("a", "fs1", "agg1"));
    let id = db.fileset("a").id.0;
    let refused = |db: &mut Db, change| db.refused_by(&fs1, change);
    let early = refused(&mut db, report_fileset((1, 1, Epoch(1)), id, true));
    assert_eq!(
        early,
        "WrongEpoch: aggregate agg1: it is under epoch 0 now; who owns it, and since when: fts history -aggregate agg1"
    );
    db.by(&fs1, claim(1, 1, 1, Epoch::NONE)).unwrap();
    db.by(&fs1, report_fileset((1, 1, Epoch(1)), id, true)).unwrap();
    assert_eq!(db.fileset("a").rw, VersionState::Valid);
    let events = db.events().len();
    db.by(&fs1, report_fileset((1, 1, Epoch(1)), id, true)).unwrap();
    assert_eq!(db.events().len(), events, "said again, it is no event");
    assert!(db.refused(delete("a", "fs1", "agg1")).starts_with("Busy"));

    db.by(&fs1, claim(1, 1, 1, Epoch::NONE)).unwrap();
    let late = refused(&mut db, report_fileset((1, 1, Epoch(1)), id, false));
    assert_eq!(
        late,
        "WrongEpoch: aggregate agg1: it is under epoch 2 now; who owns it, and since when: fts history -aggregate agg1"
    );
    let unknown = refused(&mut db, report_fileset((1, 1, Epoch(2)), 99, true));
    assert!(unknown.starts_with("NotFound: fileset 0,,99"), "{unknown}");
    db.by(&fs1, report_fileset((1, 1, Epoch(2)), id, false)).unwrap();
    db.done(delete("a", "fs1", "agg1"));
}

#[test]
fn backup_is_booked_where_its_fileset_is_and_counted_once() {
    let mut db = Db::with_servers();
    let fs1 = host("fs1", 1);
    db.done(create("a", "fs1", "agg1"));
    db.by(&fs1, claim(1, 1, 1, Epoch::NONE)).unwrap();
    let id = db.fileset("a").id;
    let report = |version: FilesetId, valid| report_fileset((1, 1, Epoch(1)), version.0, valid);
    db.by(&fs1, report(id, true)).unwrap();
    for _ in 0..2 {
        db.by(&fs1, report(id.backup(), true)).unwrap();
        let fileset = db.fileset("a");
        assert_eq!((fileset.rw, fileset.backup), (VersionState::Valid, VersionState::Valid));
        assert_eq!(fileset.sites[0].versions, Site::RW | Site::BACKUP);
        assert_eq!(db.entry("fs1").uses, 2);
    }
    db.by(&fs1, report(id.backup(), false)).unwrap();
    db.by(&fs1, report(id, false)).unwrap();
    assert_eq!((db.fileset("a").sites[0].versions, db.entry("fs1").uses), (Site::RW, 1));
    db.done(delete("a", "fs1", "agg1"));
}

#[test]
fn ids_are_taken_three_at_a_time_and_never_again() {
    let mut db = Db::with_servers();
    for (name, id) in [("a", 1), ("b", 4), ("c", 7)] {
        db.done(create(name, "fs1", "agg1"));
        assert_eq!(db.fileset(name).id, FilesetId(id));
    }
    db.done(delete("c", "fs1", "agg1"));
    db.done(delete("a", "fs1", "agg1"));
    assert!(db.refused(create("b", "fs1", "agg1")).starts_with("Exists"));
    db.done(create("a", "fs1", "agg1"));
    assert_eq!(
        db.fileset("a").id,
        FilesetId(10),
        "a refused change takes no ids, a deleted fileset keeps its own"
    );
    assert_eq!(db.entry("fs1").uses, 2);
}

#[test]
fn last_ids_are_not_given_out_twice() {
    let mut db = Db::with_servers();
    db.state.next.fileset = FilesetId::END - 4;
    db.done(create("last", "fs1", "agg1"));
    assert_eq!(
        db.refused(create("one-more", "fs1", "agg1")),
        "Limit: fileset ids: all 48 bits are used up"
    );
}

#[test]
fn place_of_a_fileset_must_be_there() {
    let mut db = Db::with_servers();
    db.by(&host("fs1", 1), report(1, 2, "agg2")).unwrap();
    for (change, refusal) in [
        (
            create("a", "fs3", "agg1"),
            "NotFound: server entry fs3: no entry has this address; fts lsserverentry -all lists them",
        ),
        (
            create("a", "fs1", "agg3"),
            "NotFound: aggregate agg3: no server has reported it; fts status lists the aggregates of the cell",
        ),
        (
            create("a", "fs2", "agg2"),
            "Invalid: aggregate agg2: fs2 is not attached to it; attached are: fs1",
        ),
    ] {
        assert_eq!(db.refused(change), refusal);
    }
    db.done(create("a", "fs1", "agg1"));
    assert_eq!(
        db.refused(create("a", "fs2", "agg1")),
        "Exists: fileset a: it is fileset 0,,1"
    );
}

#[test]
fn server_is_meant_by_an_address_of_its_entry_or_else_by_its_name() {
    let mut db = Db::with_servers();
    db.done(new_person("hosts/FS3", None, &[]));
    db.by(&host("FS3", 3), register("FS3", 3, &["192.0.2.3"], 3)).unwrap();
    db.by(&host("FS3", 3), report(3, 1, "agg1")).unwrap();
    for (name, server) in [("a", "192.0.2.3"), ("b", "FS3"), ("c", "fs3")] {
        db.done(create(name, server, "agg1"));
    }
    assert_eq!(db.entry("192.0.2.3").uses, 3);
    db.done(delete("a", "fs3", "agg1"));
    // Once an entry has the address fs3, that goes first, as in DFS.
    db.done(Change::CreateServerEntry {
        address: of("fs3"),
        principal: of("hosts/fs1"),
        quota: 0,
        owner: None,
    });
    assert!(
        db.refused(create("d", "fs3", "agg1"))
            .contains("fs3 is not attached to it")
    );
}

#[test]
fn quota_of_an_entry_holds_new_filesets_off() {
    let mut db = Db::with_servers();
    db.done(set_entry_quota("fs1", 2));
    db.done(create("a", "fs1", "agg1"));
    db.done(create("b", "fs1", "agg1"));
    assert_eq!(
        db.refused(create("c", "fs1", "agg1")),
        "Quota: server entry fs1: its quota of 2 fileset versions is used up; \
         fts edserverentry ADDRESS -quota N raises it"
    );
    db.done(create("c", "fs2", "agg1"));
    db.done(set_entry_quota("fs1", 1));
    db.done(delete("a", "fs1", "agg1"));
    assert!(db.refused(create("a", "fs1", "agg1")).starts_with("Quota"));
    db.done(set_entry_quota("fs1", 0));
    db.done(create("a", "fs1", "agg1"));
}

#[test]
fn delete_must_name_the_place_where_it_is() {
    let mut db = Db::with_servers();
    db.by(&host("fs1", 1), report(1, 2, "agg2")).unwrap();
    db.done(create("a", "fs1", "agg1"));
    for (server, aggregate) in [("fs2", "agg1"), ("fs1", "agg2")] {
        assert_eq!(
            db.refused(delete("a", server, aggregate)),
            format!(
                "NotFound: fileset a: its RW version is not on aggregate {aggregate} of {server}; \
                 fts lsfldb -fileset a says where it is"
            )
        );
    }
    assert_eq!(
        db.refused(delete("b", "fs1", "agg1")),
        "NotFound: fileset b: no such thing; fts lsfldb lists them"
    );
    assert_eq!(db.done(delete("a", "fs1", "agg1")), None);
    assert!(db.state.fileset(&named("a")).is_err());
}

#[test]
fn fileset_that_a_server_has_made_is_not_forgotten() {
    let mut db = Db::with_servers();
    db.done(create("a", "fs1", "agg1"));
    let mut made = db.fileset("a");
    made.rw = VersionState::Valid;
    db.state.filesets.put(&made);
    assert_eq!(
        db.refused(delete("a", "fs1", "agg1")),
        "Busy: fileset a: a server has made it, and must delete its files first; fts delete a fs1 agg1 does both; if its disk is lost: fts delfldbentry -fileset a"
    );
}

#[test]
fn delete_of_a_fileset_with_several_sites_counts_them_all() {
    let mut db = Db::with_servers();
    db.done(create("a", "fs1", "agg1"));
    let mut wide = db.fileset("a");
    wide.sites[0].versions |= Site::BACKUP;
    wide.sites.push(Site {
        entry: 2,
        aggregate: aggregate_id(1),
        versions: Site::RO,
    });
    db.state.filesets.put(&wide);
    for (number, uses) in [(1, 2), (2, 1)] {
        let mut entry = db.state.entries.get(&number).unwrap().clone();
        entry.uses = uses;
        db.state.entries.insert_mut(number, entry);
    }
    db.done(delete("a", "fs1", "agg1"));
    assert_eq!((db.entry("fs1").uses, db.entry("fs2").uses), (0, 0));
}

#[test]
fn rename_takes_a_free_name() {
    let mut db = Db::with_servers();
    db.done(create("a", "fs1", "agg1"));
    db.done(create("b", "fs1", "agg1"));
    assert_eq!(
        db.refused(rename(named("a"), "b")),
        "Exists: fileset b: it is fileset 0,,4"
    );
    // It has the name already: whoever did not hear the answer asks again.
    db.done(rename(named("a"), "a"));
    assert!(db.refused(rename(named("c"), "d")).starts_with("NotFound: fileset c"));
    db.done(rename(numbered(2), "c"));
    assert_eq!(db.fileset("c").id, FilesetId(1));
    assert!(db.state.fileset(&named("a")).is_err());
    db.done(rename(named("b"), "a"));
    assert_eq!(db.events().last().unwrap(), "alice rename fileset fileset b to a");
}

#[test]
fn lock_keeps_everybody_out_until_unlocked() {
    let mut db = Db::with_servers();
    db.done(create("a", "fs1", "agg1"));
    assert_eq!(db.refused(unlock("a")), "Invalid: fileset a: not locked");
    db.done(lock("a"));
    let held = EntryLock {
        holder: of("alice"),
        since: db.date,
        until: db.date.plus_seconds(8 * 3_600),
    };
    assert_eq!(db.fileset("a").lock, Some(held));
    for change in [lock("a"), rename(named("a"), "b"), delete("a", "fs1", "agg1")] {
        assert_eq!(
            db.refused(change),
            "Busy: fileset a: its entry is locked by alice; when that work is done: fts unlock -fileset a"
        );
    }
    db.done(unlock("a"));
    db.done(rename(named("a"), "b"));
}

#[test]
fn lock_ends_by_its_date() {
    let mut db = Db::with_servers();
    db.done(create("a", "fs1", "agg1"));
    db.done(lock("a"));
    let until = db.fileset("a").lock.unwrap().until;
    db.date = Timestamp(until.0 - 1);
    assert!(db.refused(rename(named("a"), "b")).starts_with("Busy"));
    db.date = until;
    db.done(rename(named("a"), "b"));
    db.done(lock("b"));
    assert_eq!(db.fileset("b").lock.unwrap().since, until);
    db.done(Change::SetCell {
        key: "lock-lifetime".to_owned(),
        value: "1m".to_owned(),
    });
    db.done(unlock("b"));
    db.done(lock("b"));
    assert_eq!(db.fileset("b").lock.unwrap().until, until.plus_seconds(60));
}
