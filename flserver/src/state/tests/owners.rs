//! Moves, judgements, and what becomes of an aggregate whose owner is gone (I1, I8).

use baton_types::change::{Grant, Held, Move, Moving, Verdict};
use baton_types::limits::TEXT_BYTES_MAX;
use baton_types::plan::Step;
use baton_types::record::{AggregateState, ServerState, Tenure, TimeLine};

use super::*;

/// What a run of a server says that it seized.
pub(super) fn adopt((server, run_number): (u128, u128), aggregate: u128, epoch: Epoch) -> Change {
    Change::Adopt {
        aggregate: aggregate_id(aggregate),
        server: server_id(server),
        incarnation: run(run_number),
        epoch,
    }
}

/// What the arbiter says of the first run of a server, and of aggregates: (aggregate, the epoch it knows, to whom).
pub(super) fn judged((server, state): (u128, ServerState), grants: &[(u128, Epoch, u128)]) -> Change {
    Change::Judge {
        verdicts: vec![Verdict {
            server: server_id(server),
            incarnation: run(server),
            state,
            evidence: "beat 1.0 s late".to_owned(),
        }],
        grants: grants
            .iter()
            .map(|(aggregate, from, to)| Grant {
                aggregate: aggregate_id(*aggregate),
                from: *from,
                to: server_id(*to),
                run: run(*to),
                disk: *from,
            })
            .collect(),
        asks: Vec::new(),
        silent_micros: 1_050_000,
        reason: format!("fs{server}: beat 1.0 s late"),
    }
}

fn wish(aggregates: &[&str], to: Option<u128>, takeover: Takeover) -> Move {
    Move {
        what: Moving::Aggregates(aggregates.iter().map(|name| on(name)).collect()),
        to: to.map(server_id),
        takeover,
    }
}

fn all_of(server: u128) -> Move {
    Move {
        what: Moving::Server(server_id(server)),
        to: None,
        takeover: Takeover::Planned,
    }
}

fn rows(held: &[(u128, u64)]) -> Vec<Held> {
    let held = held.iter().map(|(aggregate, epoch)| Held {
        aggregate: aggregate_id(*aggregate),
        epoch: Epoch(*epoch),
    });
    held.collect()
}

fn hand_over(server: u128, held: &[(u128, u64)]) -> Change {
    Change::HandOver {
        server: server_id(server),
        rows: rows(held),
    }
}

fn arbiter() -> Who {
    Who::Host {
        name: of("hosts/fl1"),
        server: None,
    }
}

/// `fs1` owns `agg1` and `agg2`; `fs2` sees both, `fs3` the second.
fn two_owned() -> Db {
    let mut db = Db::with_servers();
    db.done(new_person("hosts/fs3", None, &[]));
    db.by(&host("fs3", 3), register("fs3", 3, &["fs3"], 3)).unwrap();
    for number in 1..=3 {
        db.by(&host(&format!("fs{number}"), number), report(number, 2, "agg2"))
            .unwrap();
    }
    for aggregate in [1, 2] {
        db.by(&host("fs1", 1), claim(1, aggregate, 1, Epoch::NONE)).unwrap();
    }
    db
}

/// Owner, epoch, state and target of an aggregate, in words.
fn stands(db: &Db, aggregate: &str) -> String {
    let name = |id: ServerId| db.state.servers.get(&id).unwrap().name.to_string();
    let a = db.aggregate(aggregate);
    let owner = a.owner.map_or("nobody".to_owned(), name);
    let target = a.target.map_or(String::new(), |id| format!(" to {}", name(id)));
    format!("{owner} {} {:?}{target}", a.epoch, a.state).to_lowercase()
}

fn tenures(db: &Db, aggregate: &str) -> Vec<Tenure> {
    let filter = Filter {
        aggregate: Some(on(aggregate)),
        ..Filter::default()
    };
    let tenure = |record| match record {
        Record::Tenure(tenure) => tenure,
        other => panic!("{other:?} among the tenures"),
    };
    db.state.list(Table::Tenure, &filter).unwrap().map(tenure).collect()
}

#[test]
fn dead_server_and_the_new_owners_of_all_it_had_are_one_commit() {
    let mut db = two_owned();
    db.date = db.date.plus_seconds(5);
    let change = judged((1, ServerState::Dead), &[(1, Epoch(1), 2), (2, Epoch(1), 3)]);
    db.by(&arbiter(), change).unwrap();
    let dead = db.server("fs1");
    assert_eq!((dead.state, dead.since), (ServerState::Dead, db.date));
    assert_eq!(dead.evidence, "beat 1.0 s late");
    assert_eq!(stands(&db, "agg1"), "fs2 2 exported");
    assert_eq!(stands(&db, "agg2"), "fs3 2 exported");
    let taken = db.aggregate("agg1");
    assert_eq!((taken.run, taken.since), (Some(run(2)), db.date));
    assert_eq!(taken.reason, "fs1: beat 1.0 s late");
    let history = tenures(&db, "agg1");
    assert_eq!(
        history
            .iter()
            .map(|t| (t.owner, t.epoch, t.silent_micros))
            .collect::<Vec<_>>(),
        [
            (server_id(1), Epoch(1), None),
            (server_id(2), Epoch(2), Some(1_050_000))
        ]
    );
    assert_eq!(
        db.events().last().unwrap(),
        "hosts/fl1 judge server fs1 dead, agg1 to fs2, agg2 to fs3"
    );
    let event = db.state.events.values().next_back().unwrap();
    assert_eq!(event.detail, "fs1: beat 1.0 s late");
}

#[test]
fn decision_on_what_has_moved_since_is_passed_over_row_by_row() {
    let mut db = two_owned();
    db.by(&host("fs1", 1), claim(1, 1, 1, Epoch::NONE)).unwrap();
    db.by(
        &arbiter(),
        judged((1, ServerState::Dead), &[(1, Epoch(1), 2), (2, Epoch(1), 2)]),
    )
    .unwrap();
    assert_eq!(stands(&db, "agg1"), "fs1 2 unserved", "its epoch was another");
    assert_eq!(stands(&db, "agg2"), "fs2 2 exported");
    let again = judged((1, ServerState::Dead), &[(2, Epoch(1), 3)]);
    assert_eq!(
        db.refused_by(&arbiter(), again),
        "Stale: decision: nothing of it fits any more"
    );
    // A run that is over is not judged, and nothing is given to one.
    db.by(&host("fs2", 2), register("fs2", 2, &["fs2"], 22)).unwrap();
    for late in [
        judged((2, ServerState::Dead), &[]),
        judged((1, ServerState::Dead), &[(1, Epoch(2), 2)]),
    ] {
        assert!(db.refused_by(&arbiter(), late).starts_with("Stale: "));
    }
}

#[test]
fn aggregate_detached_on_purpose_is_given_to_nobody() {
    let mut db = two_owned();
    let detach = Change::Detach {
        aggregate: aggregate_id(1),
        server: server_id(1),
        epoch: Epoch(1),
    };
    db.by(&host("fs1", 1), detach).unwrap();
    db.by(&arbiter(), judged((1, ServerState::Dead), &[(1, Epoch(1), 2)]))
        .unwrap();
    assert_eq!(stands(&db, "agg1"), "nobody 1 detached");
    assert_eq!(stands(&db, "agg2"), "fs1 1 unserved", "nobody was named for it");
}

#[test]
fn server_found_alive_after_all_goes_on_with_what_nobody_took() {
    let mut db = two_owned();
    db.by(&arbiter(), judged((1, ServerState::Pending), &[])).unwrap();
    assert_eq!(stands(&db, "agg1"), "fs1 1 exported", "late is not dead");
    db.by(&arbiter(), judged((1, ServerState::Dead), &[(1, Epoch(1), 2)]))
        .unwrap();
    let give_up = Change::GiveUp {
        aggregate: aggregate_id(1),
        server: server_id(2),
        epoch: Epoch(2),
        why: "its log does not replay".to_owned(),
    };
    db.by(&host("fs2", 2), give_up.clone()).unwrap();
    assert_eq!(stands(&db, "agg1"), "fs2 2 unserved");
    assert!(
        db.refused_by(&host("fs2", 2), hand_over(2, &[(1, 2)]))
            .starts_with("Invalid: aggregate agg1: it is not draining")
    );
    db.by(&arbiter(), judged((1, ServerState::Alive), &[])).unwrap();
    assert_eq!(stands(&db, "agg1"), "fs2 2 unserved");
    assert_eq!(stands(&db, "agg2"), "fs1 1 exported", "it served all the time");
    for state in [ServerState::Pending, ServerState::Alive] {
        db.by(&arbiter(), judged((2, state), &[])).unwrap();
    }
    assert_eq!(stands(&db, "agg1"), "fs2 2 unserved", "it said itself that it cannot");
    assert!(db.refused_by(&host("fs1", 1), give_up).starts_with("Denied"));
}

/// A record longer than the wire allows would be read by no watcher, and by no member that starts (checked at each step).
#[test]
fn reasons_as_long_as_they_may_be_are_kept_as_far_as_a_record_goes() {
    let mut db = two_owned();
    let long = "\u{fc}".repeat(TEXT_BYTES_MAX / 2);
    let give_up = Change::GiveUp {
        aggregate: aggregate_id(1),
        server: server_id(1),
        epoch: Epoch(1),
        why: long.clone(),
    };
    db.by(&host("fs1", 1), give_up).unwrap();
    let reason = db.aggregate("agg1").reason;
    assert!(reason.starts_with("given up by fs1: \u{fc}"), "{reason}");
    assert!(reason.len() + 2 > TEXT_BYTES_MAX, "{}", reason.len());
    let verdict = Verdict {
        server: server_id(1),
        incarnation: run(1),
        state: ServerState::Dead,
        evidence: long.clone(),
    };
    let judged = Change::Judge {
        verdicts: vec![verdict],
        grants: Vec::new(),
        asks: Vec::new(),
        silent_micros: 0,
        reason: long,
    };
    db.by(&arbiter(), judged).unwrap();
    db.by(&host("fs2", 2), claim(2, 2, 2, Epoch(1))).unwrap();
    assert!(db.aggregate("agg2").reason.starts_with("fs1 is dead: \u{fc}"));
}

#[test]
fn new_run_of_a_dead_server_is_alive_and_claims_what_is_left() {
    let mut db = two_owned();
    db.by(&arbiter(), judged((1, ServerState::Dead), &[])).unwrap();
    assert_eq!(stands(&db, "agg1"), "fs1 1 unserved");
    db.by(&host("fs1", 1), register("fs1", 1, &["fs1"], 11)).unwrap();
    assert_eq!(db.server("fs1").state, ServerState::Alive);
    assert_eq!(stands(&db, "agg1"), "fs1 1 unserved", "an epoch is used by one run");
    db.by(&host("fs1", 1), claim(1, 1, 11, Epoch(1))).unwrap();
    assert_eq!(stands(&db, "agg1"), "fs1 2 exported");
}

#[test]
fn move_is_one_commit_of_intent_and_one_of_owners() {
    let mut db = two_owned();
    db.done(Change::Move(all_of(1)));
    assert_eq!(stands(&db, "agg1"), "fs1 1 draining to fs2");
    assert_eq!(stands(&db, "agg2"), "fs1 1 draining to fs2");
    assert_eq!(db.events().last().unwrap(), "alice move agg1 to fs2, agg2 to fs2");
    let index = db.state.applied();
    db.by(&host("fs1", 1), hand_over(1, &[(1, 1), (2, 1)])).unwrap();
    assert_eq!(db.state.applied(), index + 1);
    assert_eq!(stands(&db, "agg1"), "fs2 2 exported");
    assert_eq!(stands(&db, "agg2"), "fs2 2 exported");
    assert_eq!(db.aggregate("agg2").reason, "moved by alice");
    assert_eq!(db.aggregate("agg2").run, Some(run(2)));
    assert_eq!(
        db.refused_by(&host("fs1", 1), hand_over(1, &[(1, 1)])),
        "WrongEpoch: aggregate agg1: it is under epoch 2 now; who owns it, and since when: fts history -aggregate agg1"
    );
}

#[test]
fn owner_that_cannot_freeze_keeps_what_it_has() {
    let mut db = two_owned();
    db.done(Change::Move(all_of(1)));
    let abandon = Change::AbandonMove {
        server: server_id(1),
        rows: rows(&[(1, 1), (2, 9)]),
        why: "calls do not end".to_owned(),
    };
    db.by(&host("fs1", 1), abandon.clone()).unwrap();
    assert_eq!(stands(&db, "agg1"), "fs1 1 exported");
    assert_eq!(db.aggregate("agg1").reason, "not moved: calls do not end");
    assert_eq!(
        stands(&db, "agg2"),
        "fs1 1 draining to fs2",
        "it was named under another epoch"
    );
    assert_eq!(
        db.refused_by(&host("fs1", 1), abandon),
        "WrongEpoch: aggregate agg2: it is under epoch 1 now; who owns it, and since when: fts history -aggregate agg2"
    );
    assert!(
        db.refused_by(&host("fs1", 1), hand_over(1, &[(1, 1)]))
            .starts_with("Invalid: aggregate agg1")
    );
}

#[test]
fn target_that_died_meanwhile_is_replaced_and_if_nobody_is_fit_the_owner_keeps_it() {
    let mut db = two_owned();
    db.done(Change::Move(wish(&["agg1", "agg2"], Some(2), Takeover::Planned)));
    db.by(&arbiter(), judged((2, ServerState::Dead), &[])).unwrap();
    db.by(&host("fs1", 1), hand_over(1, &[(1, 1), (2, 1)])).unwrap();
    assert_eq!(stands(&db, "agg2"), "fs3 2 exported");
    assert_eq!(stands(&db, "agg1"), "fs1 1 draining to fs2");
    assert_eq!(
        db.refused_by(&host("fs1", 1), hand_over(1, &[(1, 1)])),
        "Busy: aggregate agg1: fs2 is dead (beat 1.0 s late)"
    );
}

#[test]
fn takeover_does_not_ask_the_owner() {
    let mut db = two_owned();
    db.done(Change::Move(wish(&["agg1"], Some(2), Takeover::Forced)));
    assert_eq!(stands(&db, "agg1"), "fs2 2 exported");
    assert_eq!(db.aggregate("agg1").reason, "taken by alice");
    // A dead owner cannot be asked.
    db.by(&arbiter(), judged((2, ServerState::Dead), &[])).unwrap();
    db.done(Change::Move(wish(&["agg1"], None, Takeover::Planned)));
    assert_eq!(stands(&db, "agg1"), "fs1 3 exported");
}

#[test]
fn move_that_cannot_be_whole_is_not_made_and_its_plan_says_why() {
    let mut db = two_owned();
    let stays = |db: &Db, wish: &Move| match &db.state.plan(wish).unwrap()[0].step {
        Step::Stay { why } => why.clone(),
        step => panic!("{step:?}"),
    };
    let before = stands(&db, "agg2");
    let to_three = wish(&["agg1", "agg2"], Some(3), Takeover::Planned);
    assert_eq!(
        db.refused(Change::Move(to_three)),
        "Busy: aggregate agg1: fs3 has not reported its label; \
         fts failover --dry-run shows the whole plan; nothing was moved"
    );
    assert_eq!(stands(&db, "agg2"), before);
    assert_eq!(
        stays(&db, &wish(&["agg1"], Some(1), Takeover::Planned)),
        "fs1 owns it already, under epoch 1"
    );
    db.done(Change::SetDrained {
        server: server_id(2),
        drained: true,
    });
    assert_eq!(
        stays(&db, &wish(&["agg1"], None, Takeover::Planned)),
        "fs2 is drained; to have it back: fts undrain fs2"
    );
    let plan = db.state.plan(&all_of(1)).unwrap();
    assert_eq!(plan[1].step, Step::HandOver { to: server_id(3) }, "the next in order");
    assert_eq!(
        says(&db.state.plan(&all_of(3)).unwrap_err()),
        "NotFound: server fs3: it owns no aggregate"
    );
    let lone = Change::ReportAggregate {
        server: server_id(2),
        id: aggregate_id(4),
        name: of("agg4"),
    };
    db.by(&host("fs2", 2), lone).unwrap();
    assert_eq!(
        stays(&db, &wish(&["agg4"], None, Takeover::Planned)),
        "nobody owns it; to export it: dfsexport -aggregate agg4, on a server that sees it"
    );
    db.done(Change::SetDrained {
        server: server_id(2),
        drained: false,
    });
    db.by(&host("fs2", 2), claim(2, 4, 2, Epoch::NONE)).unwrap();
    assert_eq!(stays(&db, &all_of(2)), "no other server is attached to it");
}

#[test]
fn claim_from_a_living_owner_needs_to_insist_and_from_a_dead_one_does_not() {
    let mut db = two_owned();
    let insist = Change::Claim {
        aggregate: aggregate_id(1),
        server: server_id(2),
        incarnation: run(2),
        disk_epoch: Epoch(1),
        takeover: Takeover::Forced,
    };
    db.by(&host("fs2", 2), insist).unwrap();
    assert_eq!(stands(&db, "agg1"), "fs2 2 exported");
    assert_eq!(db.aggregate("agg1").reason, "taken by fs2 from fs1, which lives");
    db.by(&arbiter(), judged((2, ServerState::Dead), &[])).unwrap();
    db.by(&host("fs1", 1), claim(1, 1, 1, Epoch(2))).unwrap();
    assert_eq!(db.aggregate("agg1").reason, "fs2 is dead: beat 1.0 s late");
    db.done(Change::SetDrained {
        server: server_id(3),
        drained: true,
    });
    db.by(&arbiter(), judged((1, ServerState::Dead), &[])).unwrap();
    assert_eq!(
        db.refused_by(&host("fs3", 3), claim(3, 2, 3, Epoch(1))),
        "Busy: aggregate agg2: fs3 is drained; to have it back: fts undrain fs3"
    );
}

#[test]
fn drained_server_is_given_nothing_and_keeps_what_it_has() {
    let mut db = two_owned();
    let drained = |drained| Change::SetDrained {
        server: server_id(1),
        drained,
    };
    db.done(drained(true));
    assert_eq!(db.events().last().unwrap(), "alice drain server fs1");
    let events = db.events().len();
    db.done(drained(true));
    assert_eq!(db.events().len(), events, "said again it is no event");
    db.by(&host("fs1", 1), register("fs1", 1, &["fs1"], 1)).unwrap();
    assert!(db.server("fs1").drained, "it outlives a restart");
    db.by(&host("fs1", 1), claim(1, 1, 1, Epoch(1))).unwrap();
    assert_eq!(stands(&db, "agg1"), "fs1 2 exported");
    db.done(Change::Move(wish(&["agg1"], None, Takeover::Forced)));
    assert!(
        db.refused(Change::Move(wish(&["agg1"], Some(1), Takeover::Forced)))
            .contains("fs1 is drained")
    );
    db.done(drained(false));
    db.done(Change::Move(wish(&["agg1"], Some(1), Takeover::Forced)));
}

#[test]
fn time_line_of_a_takeover_is_kept_with_its_tenure_and_told_once() {
    let mut db = two_owned();
    db.by(&arbiter(), judged((1, ServerState::Dead), &[(1, Epoch(1), 2)]))
        .unwrap();
    let time_line = TimeLine {
        fenced_micros: 1_250,
        replayed_micros: 12_300,
        records: 120,
        first_reclaim_micros: Some(30_000),
        last_reclaim_micros: Some(45_900),
        serving_micros: 46_000,
    };
    let report = |epoch| Change::ReportTakeover {
        server: server_id(2),
        aggregate: aggregate_id(1),
        epoch: Epoch(epoch),
        time_line,
    };
    db.by(&host("fs2", 2), report(2)).unwrap();
    assert_eq!(tenures(&db, "agg1")[1].time_line, Some(time_line));
    let events = db.events();
    assert_eq!(
        events.last().unwrap(),
        "hosts/fs2 serve aggregate agg1 by fs2 under epoch 2"
    );
    assert_eq!(
        db.state.events.values().next_back().unwrap().detail,
        "detected after 1050.0 ms, fenced 1.2 ms, replayed 12.3 ms (120 records), reclaims 30.0 ms to 45.9 ms, serving 46.0 ms"
    );
    db.by(&host("fs2", 2), report(2)).unwrap();
    assert_eq!(db.events(), events);
    assert!(db.refused_by(&host("fs2", 2), report(1)).starts_with("WrongEpoch"));
}

#[test]
fn last_sixteen_owners_are_remembered() {
    let mut db = Db::with_servers();
    for _ in 0..20 {
        db.by(&host("fs1", 1), claim(1, 1, 1, Epoch::NONE)).unwrap();
    }
    let epochs: Vec<u64> = tenures(&db, "agg1").iter().map(|t| t.epoch.0).collect();
    assert_eq!(epochs, (5..=20).collect::<Vec<u64>>());
}

#[test]
fn state_of_an_aggregate_says_whether_its_owner_answers_for_it() {
    assert!(AggregateState::Exported.is_served() && AggregateState::Draining.is_served());
    assert!(!AggregateState::Detached.is_served() && !AggregateState::Unserved.is_served());
}

#[test]
fn what_was_seized_is_adopted_and_nothing_is_granted_from_an_older_era() {
    let mut db = Db::with_servers();
    db.by(&host("fs1", 1), claim(1, 1, 1, Epoch::NONE)).unwrap();
    let seized = Epoch::new(1, 5);
    let refused = db.refused_by(&host("fs1", 1), adopt((2, 2), 1, seized));
    assert!(refused.starts_with("Denied"), "{refused}");
    let refused = db.refused_by(&host("fs2", 2), adopt((2, 9), 1, seized));
    assert!(refused.starts_with("Stale"), "{refused}");
    db.by(&host("fs2", 2), adopt((2, 2), 1, seized)).unwrap();
    let row = db.aggregate("agg1");
    assert_eq!(
        (row.owner, row.epoch, row.run),
        (Some(server_id(2)), seized, Some(run(2)))
    );
    assert_eq!(row.reason, "seized by fs2");
    let told = db.events().last().unwrap().clone();
    assert_eq!(told, "hosts/fs2 seize aggregate aggregate agg1 by fs2 under epoch 1:5");
    db.by(&host("fs2", 2), adopt((2, 2), 1, seized)).unwrap();
    assert_eq!(db.aggregate("agg1"), row, "said again it changes nothing");
    // Another one that was seized meanwhile, with less right: the later era stands.
    let refused = db.refused_by(&host("fs1", 1), adopt((1, 1), 1, Epoch::new(1, 7)));
    assert!(refused.starts_with("WrongEpoch"), "{refused}");
    // What is granted next is above it, whatever the disk was thought to say.
    db.by(&host("fs2", 2), claim(2, 1, 2, Epoch(57))).unwrap();
    assert_eq!(db.owner("agg1").1, Epoch::new(1, 6));
}
