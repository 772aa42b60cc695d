//! A state that comes back from a file gives out nothing twice.

use super::super::restored::Restoration;
use super::*;
use baton_types::record::AggregateState;

fn restoration(jumps: u64) -> Restoration {
    Restoration {
        member: of("fl9"),
        addresses: names(&["fl9"]),
        issuer: true,
        jumps,
        date: Timestamp(5_000_000_000),
    }
}

/// A cell with a fileset on `agg1`, which fs1 owns under epoch 1.
fn db() -> Db {
    let mut db = Db::with_servers();
    db.by(&host("fs1", 1), claim(1, 1, 1, Epoch::NONE)).unwrap();
    db.done(create("a", "fs1", "agg1"));
    db.done(invite(3, InvitationKind::Host, "hosts/fs9"));
    db
}

/// The cell as `jumps` restore it from what `db` was.
fn restored(db: &Db, jumps: u64) -> Db {
    let file = Fldb::load(&db.state.dump()).unwrap();
    let (state, number) = file.restored(&restoration(jumps)).unwrap();
    let members: Vec<u64> = state.members().map(|member| member.number).collect();
    assert_eq!(members, [number]);
    Db { state, ..db.clone() }
}

#[test]
fn ids_jump_and_the_same_file_gives_none_twice() {
    let before = db();
    let mut ids = BTreeSet::new();
    for jumps in [1, 2, 700, Restoration::JUMPS_MAX] {
        let mut db = restored(&before, jumps);
        assert!(db.state.applied() >= before.state.applied() + (1 << 20));
        assert_eq!(db.fileset("a"), before.fileset("a"));
        db.done(create("b", "fs1", "agg1"));
        let id = db.fileset("b").id.0;
        assert!(id >= before.state.next.fileset + (1 << 20), "{id}");
        assert!(ids.insert(id), "{id} is given out twice");
    }
}

#[test]
fn index_does_not_go_back_when_the_same_file_is_restored_again() {
    let before = db();
    let mut first = restored(&before, Restoration::JUMPS_MAX);
    first.done(create("b", "fs1", "agg1"));
    let later = Restoration {
        date: Timestamp(restoration(1).date.0 + 1_000_000_000),
        ..restoration(1)
    };
    let again = Fldb::load(&before.state.dump()).unwrap().restored(&later).unwrap().0;
    assert!(again.applied() > first.state.applied());
}

#[test]
fn aggregates_are_served_by_nobody_in_the_next_era_and_the_disk_says_where_it_begins() {
    let before = db();
    let mut db = restored(&before, 1);
    let row = db.aggregate("agg1");
    assert_eq!(
        (row.owner, row.run, row.state, row.epoch),
        (
            Some(server_id(1)),
            Some(Incarnation(Uuid::nil())),
            AggregateState::Unserved,
            Epoch::new(1, 0)
        )
    );
    // Whoever ran does not count as running until it says so.
    let late = db.refused_by(&host("fs1", 1), claim(1, 1, 1, Epoch::new(0, 57)));
    assert!(late.starts_with("Stale"), "{late}");
    db.by(&host("fs1", 1), register("fs1", 1, &["fs1"], 1)).unwrap();
    // Half the ring past what is on the disk; and the era after that which a disk knows.
    let mut again = db.clone();
    db.by(&host("fs1", 1), claim(1, 1, 1, Epoch::new(0, 57))).unwrap();
    assert_eq!(db.owner("agg1").1, Epoch::new(1, 5));
    db.by(&host("fs1", 1), claim(1, 1, 1, Epoch::new(1, 5))).unwrap();
    assert_eq!(db.owner("agg1").1, Epoch::new(1, 6));
    again.by(&host("fs1", 1), claim(1, 1, 1, Epoch::new(1, 4))).unwrap();
    assert_eq!(again.owner("agg1").1, Epoch::new(2, 8));
}

#[test]
fn words_of_an_owner_from_before_change_nothing() {
    let mut db = restored(&db(), 1);
    let late = db.refused_by(&host("fs1", 1), report_fileset((1, 1, Epoch(1)), 1, true));
    assert!(late.starts_with("WrongEpoch"), "{late}");
}

#[test]
fn changes_and_invitations_from_before_are_refused() {
    let before = db();
    let mut db = restored(&before, 1);
    assert!(db.invitation(3).is_none());
    // Whoever goes on as if nothing had been lost is told that it was.
    let proposal = Proposal {
        session: SESSION,
        sequence: before.sequence + 1,
        born: before.state.applied(),
        date: db.date,
        who: person("alice"),
        change: create("late", "fs1", "agg1"),
    };
    let late = db.step(proposal).0.outcome.unwrap_err();
    assert_eq!(late.kind, baton_types::Kind::SessionLost);
}

#[test]
fn era_after_the_last_one_there_is_not() {
    let mut db = db();
    let mut row = db.aggregate("agg1");
    row.epoch = Epoch::new(u16::MAX, 3);
    db.state.aggregates.insert_mut(row.id, row);
    let error = db.state.restored(&restoration(1)).unwrap_err();
    assert_eq!(says(&error), "Limit: eras: they are used up");
    let error = Fldb::default().restored(&restoration(1)).unwrap_err();
    assert_eq!(says(&error), "Invalid: backup: there is no cell in it");
}
