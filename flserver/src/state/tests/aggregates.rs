//! Servers, aggregates, and who owns what (I1).

use super::*;

fn detach(number: u128, aggregate: u128, epoch: Epoch) -> Change {
    Change::Detach {
        aggregate: aggregate_id(aggregate),
        server: server_id(number),
        epoch,
    }
}

fn epoch(count: u64) -> Epoch {
    Epoch::new(0, count)
}

#[test]
fn registration_makes_a_server_and_the_entry_that_was_missing() {
    let mut db = Db::new();
    let fs1 = host("fs1", 1);
    db.done(new_person("hosts/fs1", None, &[]));
    db.by(&fs1, register("fs1", 1, &["192.0.2.1", "fs1", "192.0.2.1"], 1))
        .unwrap();
    let server = db.server("fs1");
    assert_eq!(server.addresses, names::<Address>(&["192.0.2.1", "fs1"]));
    assert_eq!((server.incarnation, server.registered), (Some(run(1)), db.date));
    let entry = db.entry("fs1");
    assert_eq!((entry.name.as_str(), entry.principal.as_str()), ("fs1", "hosts/fs1"));
    assert_eq!(entry.addresses, server.addresses);

    db.date = db.date.plus_seconds(60);
    db.by(&fs1, register("fs1", 1, &["fs1", "198.51.100.1"], 2)).unwrap();
    let server = db.server("fs1");
    assert_eq!((server.incarnation, server.registered), (Some(run(2)), db.date));
    assert_eq!(db.entry("fs1"), entry, "an entry is edited by administrators only");

    db.by(&fs1, register("fs1", 1, &["203.0.113.1"], 3)).unwrap();
    let second = db.entry("203.0.113.1");
    assert_eq!(
        (second.number, second.name.as_str()),
        (entry.number + 1, "fs1-2"),
        "nothing named it any more"
    );
    assert_eq!(db.events().last().unwrap(), "hosts/fs1 register server server fs1");
}

#[test]
fn registration_is_refused_for_another_machine_name_or_address() {
    let mut db = Db::with_servers();
    let fs2 = host("fs2", 2);
    for (who, change, refusal) in [
        (
            &fs2,
            register("fs1", 2, &["fs2"], 9),
            "Denied: server fs1: its certificate is of another machine",
        ),
        (
            &fs2,
            register("fs2", 2, &[], 9),
            "Invalid: server fs2: it named no address",
        ),
        (
            &fs2,
            register("fs2", 2, &["fs9", "fs1"], 9),
            "Exists: server fs2: server fs1 has one of its addresses",
        ),
        (
            &host("fs2", 3),
            register("fs2", 3, &["fs3"], 9),
            "Exists: server fs2: the name belongs to server 00000000-0000-0000-0000-000000000002; \
             a rebuilt machine keeps its identity if it is invited again: baton cell invite",
        ),
    ] {
        assert_eq!(db.refused_by(who, change), refusal);
    }
}

#[test]
fn renamed_machine_leaves_its_old_name_to_others() {
    let mut db = Db::with_servers();
    for name in ["fs3", "fs4"] {
        db.done(new_person(&format!("hosts/{name}"), None, &[]));
    }
    db.by(&host("fs3", 1), register("fs3", 1, &["fs1"], 4)).unwrap();
    assert!(db.state.server_named("fs1").is_none());
    assert_eq!(db.server("fs3").id, server_id(1));
    db.by(&host("fs1", 4), register("fs1", 4, &["fs4"], 4)).unwrap();
    assert_eq!(db.server("fs1").id, server_id(4));
}

#[test]
fn report_attaches_once_and_is_no_event_again() {
    let mut db = Db::with_servers();
    let aggregate = db.aggregate("agg1");
    assert_eq!(
        (aggregate.number, aggregate.attached.clone()),
        (1, vec![server_id(1), server_id(2)])
    );
    assert_eq!((aggregate.owner, aggregate.epoch), (None, Epoch::NONE));
    let events = db.events();
    assert_eq!(events.last().unwrap(), "hosts/fs2 attach aggregate aggregate agg1");
    let again = db.by(&host("fs1", 1), report(1, 1, "agg1")).unwrap();
    assert_eq!((again, db.events()), (Some(Record::Aggregate(aggregate)), events));
}

#[test]
fn report_of_a_label_that_cannot_be_is_refused() {
    let mut db = Db::with_servers();
    assert_eq!(
        db.refused_by(&host("fs3", 3), report(3, 1, "agg1")),
        "NotFound: server 00000000-0000-0000-0000-000000000003: it has not registered"
    );
    assert_eq!(
        db.refused_by(&host("fs1", 1), report(1, 2, "agg1")),
        "Exists: aggregate agg1: the cell has another aggregate of this name, 00000000-0000-0000-0000-00000000a001; \
         one of the two needs another name in its label"
    );
    assert_eq!(
        db.refused_by(&host("fs1", 1), report(1, 1, "agg2")),
        "Exists: aggregate agg2: the cell knows this disk as aggregate agg1; \
         a label that was copied needs an id of its own"
    );
}

#[test]
fn seventeenth_server_at_one_disk_is_refused() {
    let mut db = Db::with_servers();
    for number in 3..=17 {
        let name = format!("fs{number}");
        db.by(&host(&name, number), register(&name, number, &[&name], number))
            .unwrap();
    }
    for number in 3..=16 {
        db.by(&host(&format!("fs{number}"), number), report(number, 1, "agg1"))
            .unwrap();
    }
    assert_eq!(
        db.refused_by(&host("fs17", 17), report(17, 1, "agg1")),
        "Limit: aggregate agg1: 16 servers are attached already"
    );
}

#[test]
fn claim_gives_one_owner_under_a_new_epoch() {
    let mut db = Db::with_servers();
    db.by(&host("fs1", 1), claim(1, 1, 1, Epoch::NONE)).unwrap();
    assert_eq!(db.owner("agg1"), (Some(of("fs1")), epoch(1)));
    assert_eq!(
        db.events().last().unwrap(),
        "hosts/fs1 claim aggregate aggregate agg1 for fs1 under epoch 1"
    );
    assert_eq!(
        db.refused_by(&host("fs2", 2), claim(2, 1, 2, Epoch::NONE)),
        "Busy: aggregate agg1: exported by fs1 under epoch 1; planned: fts failover -aggregate agg1 -to fs2 \
         (or on fs1: dfsexport -aggregate agg1 -detach); if fs1 must be stopped: add -takeover, \
         it is fenced by the next epoch"
    );
    // The next run of the owner: an epoch is used by one run of one process.
    db.by(&host("fs1", 1), register("fs1", 1, &["fs1"], 11)).unwrap();
    assert_eq!(
        db.refused_by(&host("fs1", 1), claim(1, 1, 1, epoch(1))),
        "Stale: aggregate agg1: fs1 runs again since: register first"
    );
    db.by(&host("fs1", 1), claim(1, 1, 11, epoch(1))).unwrap();
    assert_eq!(db.owner("agg1"), (Some(of("fs1")), epoch(2)));
}

#[test]
fn claim_by_a_stranger_is_refused() {
    let mut db = Db::with_servers();
    db.by(&host("fs1", 1), report(1, 2, "agg2")).unwrap();
    assert_eq!(
        db.refused_by(&host("fs2", 2), claim(2, 2, 2, Epoch::NONE)),
        "Denied: aggregate agg2: fs2 has not reported its label; let fs2 see the disk: 'devices' in its baton.toml says where it looks"
    );
    assert_eq!(
        db.refused_by(&host("fs3", 3), claim(3, 2, 3, Epoch::NONE)),
        "Stale: aggregate agg2: 00000000-0000-0000-0000-000000000003 runs again since: register first"
    );
    assert_eq!(
        db.refused_by(&host("fs1", 1), claim(1, 9, 1, Epoch::NONE)),
        "NotFound: aggregate 00000000-0000-0000-0000-00000000a009: no server has reported it"
    );
}

#[test]
fn epoch_is_above_the_disks_and_every_earlier_one_and_keeps_the_era() {
    for (known, disk, granted) in [
        (epoch(4), epoch(2), epoch(5)),
        (epoch(4), epoch(9), epoch(10)),
        (epoch(900), Epoch::new(1, 3), Epoch::new(1, 4)),
        (Epoch::new(2, 7), epoch(900), Epoch::new(2, 8)),
    ] {
        let mut db = Db::with_servers();
        let mut aggregate = db.aggregate("agg1");
        aggregate.epoch = known;
        db.state.aggregates.insert_mut(aggregate.id, aggregate);
        db.by(&host("fs2", 2), claim(2, 1, 2, disk)).unwrap();
        assert_eq!(db.owner("agg1"), (Some(of("fs2")), granted), "{known} {disk}");
    }
    let mut db = Db::with_servers();
    assert_eq!(
        db.refused_by(&host("fs2", 2), claim(2, 1, 2, epoch(u64::MAX))),
        "Limit: aggregate agg1: the epochs of this era are used up"
    );
}

#[test]
fn detach_is_the_owners_word_under_its_epoch() {
    let mut db = Db::with_servers();
    db.by(&host("fs1", 1), claim(1, 1, 1, Epoch::NONE)).unwrap();
    db.by(&host("fs1", 1), claim(1, 1, 1, Epoch::NONE)).unwrap();
    for (who, change) in [
        (host("fs1", 1), detach(1, 1, epoch(1))),
        (host("fs2", 2), detach(2, 1, epoch(2))),
    ] {
        assert_eq!(
            db.refused_by(&who, change),
            "WrongEpoch: aggregate agg1: it is under epoch 2 now; who owns it, and since when: fts history -aggregate agg1"
        );
    }
    db.by(&host("fs1", 1), detach(1, 1, epoch(2))).unwrap();
    assert_eq!(db.owner("agg1"), (None, epoch(2)));
    assert!(
        db.refused_by(&host("fs1", 1), detach(1, 1, epoch(2)))
            .starts_with("WrongEpoch")
    );
    db.by(&host("fs2", 2), claim(2, 1, 2, epoch(2))).unwrap();
    assert_eq!(db.owner("agg1"), (Some(of("fs2")), epoch(3)));
}
