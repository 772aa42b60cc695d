//! The histories hold, come across what they are for, and every bug put in on purpose is found by the oracle.

use super::*;

/// Among the seeds below `count` one is broken in these words; the same seed finds the same again.
fn finds(habit: Habit, count: u64, words: &str) {
    let mut violations = (0..count).filter_map(|number| history_of(number, habit).err());
    let violation = violations
        .find(|violation| violation.what.contains(words))
        .unwrap_or_else(|| panic!("{habit:?} went unnoticed {count} times"));
    let again = history_of(violation.seed, habit).expect_err("a seed decides everything");
    assert_eq!(again, violation);
}

#[test]
fn same_seed_gives_the_same_trace() {
    let hashes = || (0..10).map(|seed| history(seed).unwrap().hash()).collect::<Vec<_>>();
    assert_eq!(hashes(), hashes());
}

#[test]
fn histories_hold_and_come_across_what_they_are_for() {
    let mut all = Seen::default();
    for number in 0..60 {
        let (_, seen) = history_of(number, Habit::Sound).unwrap_or_else(|violation| panic!("{violation}"));
        all = Seen {
            buried: all.buried + seen.buried,
            attested: all.attested + seen.attested,
            late: all.late + seen.late,
            revived: all.revived + seen.revived,
            lost: all.lost + seen.lost,
            leaders: all.leaders + seen.leaders,
            handed_over: all.handed_over + seen.handed_over,
            relayed: all.relayed + seen.relayed,
            asked: all.asked + seen.asked,
        };
    }
    let Seen {
        buried,
        attested,
        late,
        revived,
        lost,
        leaders,
        handed_over,
        relayed,
        asked,
    } = all;
    for (what, count) in [
        ("buried", buried),
        ("attested", attested),
        ("late", late),
        ("revived", revived),
        ("lost", lost),
        ("leaders", leaders),
        ("handed over", handed_over),
        ("relayed", relayed),
        ("asked", asked),
    ] {
        assert!(count > 0, "{what}: {all:?}");
    }
}

#[test]
fn leader_that_has_not_watched_is_noticed() {
    finds(Habit::NeverWatches, 1_000, "has not watched");
}

#[test]
fn server_that_takes_what_was_granted_to_an_earlier_run_is_noticed() {
    finds(Habit::ForgetsRuns, 200, "which another run had");
}

#[test]
fn decision_that_is_waited_for_in_vain_is_noticed() {
    finds(Habit::WaitsForEver, 400, "all was calm");
}

#[test]
fn absurd_timers_cost_moves_and_double_no_owner() {
    let mut buried = 0;
    for number in 0..150 {
        let (_, seen) = history_of(number, Habit::Absurd).unwrap_or_else(|violation| panic!("{violation}"));
        buried += seen.buried;
    }
    assert!(buried > 300, "servers that live are buried all the time: {buried}");
}
