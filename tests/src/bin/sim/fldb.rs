//! Tests of the simulation `fldb`. They are here because only this program seeds what the libraries draw.

use baton_flserver::store::Lie;
use baton_tests::sim::fldb::{Disks, Restart, history_of, leader_with_an_unsynced_entry, second_candidate};
use baton_tests::sim::registry::{self, Simulation};
use baton_tests::sim::runner;
use baton_tests::sim::{Trace, Violation};

/// What the histories of these seeds found.
fn found(seeds: std::ops::Range<u64>, history: fn(u64) -> Result<Trace, Violation>) -> Vec<Violation> {
    let simulation = Simulation {
        name: "test",
        about: "a test",
        history,
    };
    let violations = seeds.filter_map(|seed| runner::history(&simulation, seed, 40).err());
    violations.collect()
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
    let voted = found(0..20, |seed| leader_with_an_unsynced_entry(seed, Restart::Voted));
    assert_eq!(voted, []);
    let leads_on = found(0..20, |seed| leader_with_an_unsynced_entry(seed, Restart::LeadsOn));
    for v in &leads_on {
        println!("{}", v.what)
    }
    assert!(
        leads_on
            .iter()
            .any(|violation| violation.what.starts_with("two commands at index"))
    );
}

#[test]
fn a_forgotten_vote_is_caught() {
    let honest = found(0..10, |seed| second_candidate(seed, Disks::Honest));
    for v in &honest {
        println!("{v}")
    }
    assert_eq!(honest, []);
    let forgotten = found(0..10, |seed| second_candidate(seed, Disks::ForgetVotes));
    for v in &forgotten {
        println!("{}", v.what)
    }
    assert!(
        forgotten
            .iter()
            .all(|violation| violation.what.starts_with("two leaders in term"))
    );
    assert_eq!(forgotten.len(), 10);
}

#[test]
fn a_store_that_loses_a_synced_entry_is_caught() {
    let lost = found(0..40, |seed| {
        history_of(seed, |plan| plan.with_lie(Lie::LosesLastEntry))
    });
    for v in &lost {
        println!("{}", v.what)
    }
    assert!(lost.len() >= 20);
}
