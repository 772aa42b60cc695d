//! Tests of the simulation `fldb`. They are here because only this program seeds what the libraries draw.

use std::ops::Range;

use baton_flserver::store::Lie;
use baton_tests::sim::fldb::{
    Disks, Restart, history_of, leader_with_an_unsynced_entry, power_cut, retired_leader, second_candidate,
};
use baton_tests::sim::registry::{self, Simulation};
use baton_tests::sim::{Trace, Violation, runner};

/// What the histories of these seeds found, in a sentence each.
fn found(seeds: Range<u64>, history: fn(u64) -> Result<Trace, Violation>) -> Vec<String> {
    let simulation = Simulation {
        name: "test",
        about: "a test",
        history,
    };
    let violations = seeds.filter_map(|seed| runner::history(&simulation, seed, 0).err());
    violations.map(|violation| violation.what).collect()
}

#[test]
fn same_seed_gives_the_same_trace() {
    let simulation = registry::find("fldb").unwrap();
    for seed in 0..20 {
        if let Err(violation) = runner::history_twice(simulation, seed, 40) {
            panic!("{violation}");
        }
    }
}

#[test]
fn regression_log_id_reused_after_restart() {
    let none: [String; 0] = [];
    assert_eq!(
        found(0..60, |seed| leader_with_an_unsynced_entry(seed, Restart::Voted)),
        none
    );
    // Under half of these seeds the power cut takes the entry; where it does not, there is nothing to reuse.
    let reused = found(0..20, |seed| leader_with_an_unsynced_entry(seed, Restart::LeadsOn));
    assert!(reused.len() >= 5, "{reused:?}");
    assert!(
        reused.iter().all(|what| what.starts_with("two commands at index")),
        "{reused:?}"
    );
}

#[test]
fn regression_retired_leader_changes_the_membership() {
    let none: [String; 0] = [];
    assert_eq!(found(0..20, retired_leader), none);
}

#[test]
fn a_forgotten_vote_is_caught() {
    let none: [String; 0] = [];
    assert_eq!(found(0..20, |seed| second_candidate(seed, Disks::Honest)), none);
    // Where the first candidate needs another term, the two lead in different ones, and all is well.
    let forgotten = found(0..20, |seed| second_candidate(seed, Disks::ForgetVotes));
    let leaders = forgotten.iter().filter(|what| what.starts_with("two leaders in term"));
    assert!(leaders.count() >= 10, "{forgotten:?}");
}

#[test]
fn a_store_that_loses_a_synced_entry_is_caught() {
    let none: [String; 0] = [];
    assert_eq!(found(0..20, |seed| power_cut(seed, Disks::Honest)), none);
    // Where not all disks had the entry yet, the library may notice first that a follower went back.
    let lost = found(0..20, |seed| power_cut(seed, Disks::LoseEntries));
    let commands = lost.iter().filter(|what| what.starts_with("two commands at index"));
    assert!(commands.count() >= 10, "{lost:?}");
    // In drawn histories, of which many have no crash, or one that costs an entry which nobody needed.
    let lost = found(0..40, |seed| {
        history_of(seed, |plan| plan.with_lie(Lie::LosesLastEntry))
    });
    assert!(lost.len() >= 15, "{lost:?}");
}
