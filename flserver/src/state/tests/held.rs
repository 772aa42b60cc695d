//! What two servers in a row fail on goes to no third one (I10).

use baton_types::change::{Move, Moving};
use baton_types::record::{AggregateState, ServerState, TimeLine};

use super::owners::judged;
use super::*;

/// Three servers see `agg1`; the first owns it.
fn owned() -> Db {
    let mut db = Db::with_servers();
    db.done(new_person("hosts/fs3", None, &[]));
    db.by(&host("fs3", 3), register("fs3", 3, &["fs3"], 3)).unwrap();
    for number in 1..=3 {
        db.by(&host(&format!("fs{number}"), number), report(number, 1, "agg1"))
            .unwrap();
    }
    db.by(&host("fs1", 1), claim(1, 1, 1, Epoch::NONE)).unwrap();
    db
}

fn arbiter() -> Who {
    Who::Host {
        name: of("hosts/fl1"),
        server: None,
    }
}

fn fail(server: u128, epoch: u64) -> Change {
    Change::Fail {
        aggregate: aggregate_id(1),
        server: server_id(server),
        epoch: Epoch(epoch),
        why: "its log does not replay".to_owned(),
    }
}

fn fails(db: &mut Db, server: u128, epoch: u64) {
    db.by(&host(&format!("fs{server}"), server), fail(server, epoch))
        .unwrap();
}

fn granted(db: &mut Db, from: u64, to: u128) -> Outcome {
    db.by(&arbiter(), judged((1, ServerState::Pending), &[(1, Epoch(from), to)]))
}

fn unhold() -> Change {
    Change::SetHeld {
        aggregate: on("agg1"),
        why: None,
    }
}

#[test]
fn second_server_that_fails_on_an_aggregate_is_the_last() {
    let mut db = owned();
    fails(&mut db, 1, 1);
    let left = db.aggregate("agg1");
    assert_eq!(
        (left.state, left.run, &left.held),
        (AggregateState::Unserved, None, &None)
    );
    assert_eq!(left.reason, "fs1 failed on it: its log does not replay");
    fails(&mut db, 1, 1);
    assert_eq!(db.aggregate("agg1"), left, "said again it counts once");
    granted(&mut db, 1, 2).unwrap();
    fails(&mut db, 2, 2);
    let held = db.aggregate("agg1").held.unwrap();
    assert_eq!(held, "fs1 failed on it, then fs2: its log does not replay");
    assert_eq!(
        db.events().last().unwrap(),
        "hosts/fs2 fail on aggregate aggregate agg1 by fs2"
    );

    let refused = db.refused_by(&host("fs3", 3), claim(3, 1, 3, Epoch(2)));
    assert_eq!(
        refused,
        format!(
            "Busy: aggregate agg1: it is held: {held}; look at it: salvage -check; then: fts unhold -aggregate agg1"
        )
    );
    let wish = Move {
        what: Moving::Aggregates(vec![on("agg1")]),
        to: Some(server_id(3)),
        takeover: Takeover::Forced,
    };
    assert!(db.refused(Change::Move(wish)).contains("it is held (fs1 failed on it"));
    let grant = judged((1, ServerState::Pending), &[(1, Epoch(2), 3)]);
    assert_eq!(
        db.refused_by(&arbiter(), grant),
        "Stale: decision: nothing of it fits any more"
    );

    db.done(unhold());
    let free = db.aggregate("agg1");
    assert_eq!((free.held, free.failure), (None, None));
    granted(&mut db, 2, 3).unwrap();
    assert_eq!(db.aggregate("agg1").epoch, Epoch(3));
}

#[test]
fn failures_long_apart_or_with_good_service_between_are_not_in_a_row() {
    let mut db = owned();
    fails(&mut db, 1, 1);
    granted(&mut db, 1, 2).unwrap();
    db.date = db.date.plus_seconds(3_601);
    fails(&mut db, 2, 2);
    assert_eq!(db.aggregate("agg1").held, None, "an hour after");

    let mut db = owned();
    db.by(&host("fs2", 2), register("fs2", 2, &["fs2"], 2)).unwrap();
    let forced = Change::Claim {
        aggregate: aggregate_id(1),
        server: server_id(2),
        incarnation: run(2),
        disk_epoch: Epoch(1),
        takeover: Takeover::Forced,
    };
    db.by(&host("fs2", 2), forced).unwrap();
    let served = Change::ReportTakeover {
        server: server_id(2),
        aggregate: aggregate_id(1),
        epoch: Epoch(2),
        time_line: TimeLine::default(),
    };
    db.by(&host("fs2", 2), served).unwrap();
    fails(&mut db, 1, 1);
    assert_eq!(
        db.aggregate("agg1").failure,
        None,
        "its data did no harm to the next one"
    );
    assert!(
        db.refused_by(&host("fs3", 3), fail(3, 2)).starts_with("WrongEpoch"),
        "it did not own it"
    );
}

#[test]
fn server_alone_with_an_aggregate_may_fail_on_it_twice() {
    let mut db = owned();
    fails(&mut db, 1, 1);
    db.by(&host("fs1", 1), claim(1, 1, 1, Epoch(1))).unwrap();
    fails(&mut db, 1, 2);
    assert_eq!(
        db.aggregate("agg1").held.unwrap(),
        "fs1 failed on it twice, at last: its log does not replay"
    );
}

#[test]
fn administrator_holds_what_is_served_and_its_owner_goes_on() {
    let mut db = owned();
    let hold = |why: &str| Change::SetHeld {
        aggregate: on("agg1"),
        why: Some(why.to_owned()),
    };
    db.done(hold("disk is replaced"));
    let held = db.aggregate("agg1");
    assert_eq!(held.held.unwrap(), "by alice: disk is replaced");
    assert_eq!((held.state, held.epoch), (AggregateState::Exported, Epoch(1)));
    let before = db.events().len();
    db.done(hold("disk is replaced"));
    assert_eq!(db.events().len(), before, "nothing new");
    db.by(&arbiter(), judged((1, ServerState::Dead), &[(1, Epoch(1), 2)]))
        .unwrap();
    let left = db.aggregate("agg1");
    assert_eq!((left.state, left.epoch), (AggregateState::Unserved, Epoch(1)));
    assert!(db.refused_by(&host("fs1", 1), unhold()).starts_with("Denied"));
    db.done(unhold());
    granted(&mut db, 1, 2).unwrap();
    assert_eq!(db.aggregate("agg1").epoch, Epoch(2));
}
