//! Faults under programs that work, once each; `cargo xtask faults` has them strike more often, and at random.

use anyhow::Result;
use baton_tests::cell::isolated;
use baton_tests::faults::Scenario;

/// Lets a fault strike once, where the test is alone in a network of its own.
async fn strikes(test: &str, fault: &str) -> Result<()> {
    if !isolated(test)? {
        return Ok(());
    }
    Scenario::named(fault)?.run(1, |_| {}).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_is_killed_and_then_its_successor() -> Result<()> {
    strikes("faults::owner_is_killed_and_then_its_successor", "successor").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_servers_are_killed_and_come_back() -> Result<()> {
    strikes("faults::all_servers_are_killed_and_come_back", "all").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_ends_together_with_the_leader() -> Result<()> {
    strikes("faults::owner_ends_together_with_the_leader", "leader").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_goes_on_without_a_quorum_and_nothing_moves() -> Result<()> {
    strikes("faults::service_goes_on_without_a_quorum_and_nothing_moves", "quorum").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_cut_off_from_the_location_database_is_followed() -> Result<()> {
    strikes("faults::owner_cut_off_from_the_location_database_is_followed", "cut").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_whose_port_fails_is_followed() -> Result<()> {
    strikes("faults::owner_whose_port_fails_is_followed", "port").await
}

#[test]
fn fault_that_there_is_not_is_answered_by_those_there_are() {
    let error = Scenario::named("flood").unwrap_err().to_string();
    assert!(
        error.contains("no fault is called flood; there are planned, kill,"),
        "{error}"
    );
}
