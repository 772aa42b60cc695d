//! The rules hold, the histories come across what they are for, and each rule left out is found out.

use super::*;

/// What the seeds below `count` come across, all together.
fn seen(store: Store, count: u64) -> Seen {
    let mut all = Seen::default();
    for number in 0..count {
        let (_, seen) = history_of(number, Habit::Sound, store).unwrap_or_else(|violation| panic!("{violation}"));
        all = all.and(seen);
    }
    all
}

/// What the first violation among the seeds below `count` says; the same seed finds the same again.
fn found(habit: Habit, store: Store, count: u64) -> String {
    let mut violations = (0..count).filter_map(|number| history_of(number, habit, store).err());
    let violation = violations
        .next()
        .unwrap_or_else(|| panic!("{habit:?} went unnoticed {count} times"));
    let again = history_of(violation.seed, habit, store).expect_err("a seed decides everything");
    assert_eq!(again, violation);
    println!("{habit:?}: {violation}");
    violation.what
}

#[test]
fn histories_hold_and_come_across_what_they_are_for() {
    let seen = seen(Store::Ledger, 400);
    let Seen {
        granted,
        served,
        told,
        fenced,
        crashed,
        rotted,
        torn,
        held,
        older_base,
        thawed,
        eras,
        wrapped,
    } = seen;
    let often = [granted, served, told, fenced, crashed, thawed, wrapped];
    assert!(often.iter().all(|count| *count > 400), "{seen:?}");
    let sometimes = [rotted, torn, eras];
    assert!(sometimes.iter().all(|count| *count > 20), "{seen:?}");
    assert!(held + older_base > 0, "{seen:?}");
}

#[test]
fn look_before_the_write_is_found() {
    let what = found(Habit::LooksBefore, Store::Ledger, 500);
    let signs = ["is missing in", "no longer holds", "finds damage"];
    assert!(signs.iter().any(|sign| what.contains(sign)), "{what}");
}

#[test]
fn seal_without_a_look_is_found() {
    let what = found(Habit::SealUnlooked, Store::Ledger, 2_000);
    assert!(what.contains("comes back in"), "{what}");
}

#[test]
fn unreadable_slot_taken_for_a_blank_one_is_found() {
    let what = found(Habit::UnreadableIsBlank, Store::Ledger, 2_000);
    assert!(what.contains("passed a look at a slot that does not verify"), "{what}");
}

#[test]
fn seal_in_one_place_is_found() {
    let what = found(Habit::SealOnce, Store::Ledger, 1_000);
    assert!(what.contains("has nothing to begin with"), "{what}");
}

#[test]
fn slot_that_names_no_root_is_found() {
    let what = found(Habit::NamesNoRoot, Store::Ledger, 6_000);
    assert!(what.contains("is missing in"), "{what}");
}

#[test]
fn reserve_used_before_its_look_is_found() {
    let what = found(Habit::ReserveUnlooked, Store::Ledger, 1_000);
    assert!(
        what.contains("no longer holds") || what.contains("does not verify"),
        "{what}"
    );
}

#[test]
fn taking_back_without_a_look_is_found() {
    let what = found(Habit::ThawUnlooked, Store::Ledger, 2_000);
    assert!(
        what.contains("no longer holds") || what.contains("does not verify"),
        "{what}"
    );
}

#[test]
fn room_of_one_who_may_still_write_is_found() {
    let what = found(Habit::NoQuarantine, Store::Ledger, 500);
    assert!(
        what.contains("no longer holds") || what.contains("does not verify"),
        "{what}"
    );
}

#[test]
fn whole_store_holds_too() {
    let seen = seen(Store::Whole, 150);
    let often = [seen.granted, seen.served, seen.told];
    assert!(often.iter().all(|count| *count > 150), "{seen:?}");
    let sometimes = [seen.fenced, seen.crashed, seen.wrapped, seen.rotted];
    assert!(sometimes.iter().all(|count| *count > 20), "{seen:?}");
}

#[test]
fn rules_left_out_are_found_under_the_whole_store_too() {
    for (habit, sign) in [
        (Habit::LooksBefore, "is missing in"),
        (Habit::UnreadableIsBlank, "passed a look at a slot that does not verify"),
        (Habit::SealOnce, "has nothing to begin with"),
    ] {
        let what = found(habit, Store::Whole, 1_000);
        assert!(
            what.contains(sign) || what.contains("finds damage"),
            "{habit:?}: {what}"
        );
    }
}
