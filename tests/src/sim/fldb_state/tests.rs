//! The histories hold, come across what they are for, and every bug put in on purpose is found by its oracle.

use std::collections::BTreeSet;

use super::*;

/// What `one` and `two` came across.
fn both(one: Seen, two: Seen) -> Seen {
    Seen {
        done: one.done + two.done,
        refused: one.refused + two.refused,
        repeated: one.repeated + two.repeated,
        given_up: one.given_up + two.given_up,
        sessions_lost: one.sessions_lost + two.sessions_lost,
        lost: one.lost + two.lost,
        leaders: one.leaders + two.leaders,
        installed: one.installed + two.installed,
        wholes: one.wholes + two.wholes,
        completed: one.completed + two.completed,
        streams_refused: one.streams_refused + two.streams_refused,
        resumed: one.resumed + two.resumed,
        granted: one.granted + two.granted,
    }
}

/// What the seeds below `count` come across, all together.
fn seen(count: u64) -> Seen {
    let mut all = Seen::default();
    for number in 0..count {
        let (_, seen) = history_of(number, Habit::Sound).unwrap_or_else(|violation| panic!("{violation}"));
        all = both(all, seen);
    }
    all
}

/// The first violation among the seeds below `count`; the same seed finds the same again.
fn found(habit: Habit, count: u64) -> String {
    let mut violations = (0..count).filter_map(|number| history_of(number, habit).err());
    let violation = violations
        .next()
        .unwrap_or_else(|| panic!("{habit:?} went unnoticed {count} times"));
    let again = history_of(violation.seed, habit).expect_err("a seed decides everything");
    assert_eq!(again, violation);
    violation.what
}

#[test]
fn same_seed_gives_the_same_trace() {
    let hashes = |seeds: std::ops::Range<u64>| seeds.map(|seed| history(seed).unwrap().hash()).collect::<Vec<_>>();
    let first = hashes(0..30);
    assert_eq!(hashes(0..30), first);
    assert_eq!(
        first.iter().collect::<BTreeSet<_>>().len(),
        first.len(),
        "two seeds went the same way"
    );
}

#[test]
fn histories_hold_and_come_across_what_they_are_for() {
    let seen = seen(200);
    let Seen {
        done,
        refused,
        repeated,
        given_up,
        sessions_lost,
        lost,
        leaders,
        installed,
        wholes,
        completed,
        streams_refused,
        resumed,
        granted,
    } = seen;
    let often = [done, refused, repeated, wholes, completed, resumed, granted, leaders];
    assert!(often.iter().all(|count| *count > 400), "{seen:?}");
    let sometimes = [given_up, sessions_lost, lost, installed];
    assert!(sometimes.iter().all(|count| *count > 20), "{seen:?}");
    assert!(streams_refused > 0, "{seen:?}");
}

#[test]
fn state_that_forgets_sessions_is_found() {
    let what = found(Habit::ForgetsSessions, 20);
    // By two answers, or by one that is not the one that was told.
    let twice = what.starts_with("one change was answered at");
    assert!(twice || what.starts_with("a change was acknowledged with"), "{what}");
}

#[test]
fn epoch_granted_twice_is_found() {
    let what = found(Habit::GrantsOldEpoch, 20);
    let twice = what.contains("was granted twice");
    assert!(twice || what.contains("under the old epoch"), "{what}");
}

#[test]
fn answer_before_agreement_is_found() {
    let what = found(Habit::AnswersBeforeCommit, 20);
    assert!(what.ends_with("but nobody ever applied it"), "{what}");
}

#[test]
fn member_with_a_date_of_its_own_is_found() {
    let what = found(Habit::OwnDate, 20);
    assert!(what.starts_with("fl3 made "), "{what}");
}

#[test]
fn member_that_starts_empty_is_found() {
    let what = found(Habit::StartsEmpty, 100);
    assert!(what.contains("has another state at index"), "{what}");
}

#[test]
fn watch_that_resumes_too_late_is_found() {
    let what = found(Habit::ResumesTooLate, 20);
    assert!(what.contains(" missed Changed"), "{what}");
}

#[test]
fn watcher_that_is_taken_back_is_found() {
    let what = found(Habit::ForgetsFloor, 200);
    assert!(what.contains("was taken back to"), "{what}");
}
