//! The oracles bite: servers that do it wrong are found.

use std::collections::BTreeSet;

use super::world::{Habit, World};
use super::*;

fn broken(habit: Habit, seeds: u64) -> Vec<String> {
    let ended = (0..seeds).filter_map(|seed| World::new(seed, habit).run().err());
    ended.map(|violation| violation.what).collect()
}

#[test]
fn same_seed_gives_the_same_trace() {
    let hashes: Vec<u64> = (0..20).map(|seed| history(seed).unwrap().hash()).collect();
    for (seed, hash) in (0..).zip(&hashes) {
        assert_eq!(history(seed).unwrap().hash(), *hash, "seed {seed}");
    }
    assert_eq!(hashes.iter().collect::<BTreeSet<_>>().len(), hashes.len());
}

#[test]
fn a_server_that_syncs_too_soon_is_caught() {
    let found = broken(Habit::SyncsTooSoon, 100);
    assert!(found.iter().any(|what| what.contains("durable")), "{found:?}");
}

#[test]
fn a_server_that_forgets_replies_is_caught() {
    let found = broken(Habit::ForgetsReplies, 100);
    assert!(found.iter().any(|what| what.contains("twice")), "{found:?}");
}

#[test]
fn a_server_without_grace_is_caught() {
    let found = broken(Habit::NoGrace, 400);
    assert!(found.iter().any(|what| what.contains("did not show it")), "{found:?}");
}

#[test]
fn a_server_that_runs_the_ordered_stream_as_it_comes_is_caught() {
    let found = broken(Habit::NoOrder, 400);
    assert!(!found.is_empty());
}

#[test]
fn a_server_that_forgets_who_waits_for_a_change_to_end_is_caught() {
    let found = broken(Habit::ForgetsWhoWaits, 400);
    assert!(found.iter().any(|what| what.contains("waits for")), "{found:?}");
}
