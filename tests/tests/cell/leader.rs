//! The leader goes: killed, told to go, stopped; or all go at once.

use anyhow::{Result, ensure};
use baton_tests::cell::{Cell, describe};
use baton_tests::load::Load;

/// Changes between one event and the next.
const CHANGES: usize = 150;

async fn cell() -> Result<Cell> {
    Cell::builder().servers(1).aggregates(1).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_killed_under_a_stream_of_changes() -> Result<()> {
    let mut cell = cell().await?;
    let load = Load::start(&cell, 3)?;
    // Each member is killed once, whoever leads: so every connection of every writer breaks, and the watch's too.
    for _ in 0..3 {
        load.go_on(&cell, CHANGES).await?;
        let leader = cell.wait_for_leader().await?;
        cell.kill(&leader)?;
        let successor = cell.wait_for_leader().await?;
        ensure!(successor != leader, "{leader} was killed and leads");
        load.go_on(&cell, CHANGES).await?;
        cell.start(&leader)?;
        cell.wait_for_all().await?;
    }
    let verdict = load.finish(&cell).await?;
    verdict.check()?;
    ensure!(verdict.doubtful.is_empty(), "callers without an answer: {verdict:?}");
    ensure!(
        verdict.wholes == 1,
        "the watch began anew instead of going on: {verdict:?}"
    );
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_that_is_told_to_end_hands_leadership_on() -> Result<()> {
    let mut cell = cell().await?;
    let load = Load::start(&cell, 2)?;
    load.go_on(&cell, CHANGES).await?;
    let leader = cell.wait_for_leader().await?;
    let term = cell.status(&leader).await?.term;
    let ended = cell.terminate(&leader)?.map(describe);
    ensure!(ended.as_deref() == Some("exit code 0"), "{leader} ended with {ended:?}");
    // Its last act was to hand on: another one stands already, and has not waited for its silence.
    let mut terms = Vec::new();
    for member in cell.members_that_run() {
        terms.push(cell.status(&member).await?.term);
    }
    ensure!(
        terms.iter().any(|of| *of > term),
        "{leader} left in term {term}, and the others are in {terms:?}"
    );
    load.go_on(&cell, CHANGES).await?;
    cell.start(&leader)?;
    cell.wait_for_all().await?;
    let verdict = load.finish(&cell).await?;
    verdict.check()?;
    ensure!(verdict.doubtful.is_empty(), "callers without an answer: {verdict:?}");
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_leader_is_replaced_and_comes_back_as_a_follower() -> Result<()> {
    let cell = cell().await?;
    let load = Load::start(&cell, 2)?;
    load.go_on(&cell, CHANGES).await?;
    let leader = cell.wait_for_leader().await?;
    let term = cell.status(&leader).await?.term;
    cell.stop(&leader)?;
    let successor = cell
        .wait("another leader", async || {
            cell.leader().await.filter(|successor| *successor != leader)
        })
        .await?;
    load.go_on(&cell, CHANGES).await?;
    cell.cont(&leader)?;
    cell.wait("the old leader follows the new one", async || {
        let status = cell.status(&leader).await.ok()?;
        (status.term > term && status.leader.is_some_and(|of| of.as_str() != leader)).then_some(())
    })
    .await?;
    load.go_on(&cell, CHANGES).await?;
    cell.wait_for_all().await?;
    let verdict = load.finish(&cell).await?;
    verdict.check()?;
    ensure!(verdict.doubtful.is_empty(), "callers without an answer: {verdict:?}");
    ensure!(successor != leader, "{leader} was stopped and leads");
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_killed_at_once_and_started_again_lose_nothing() -> Result<()> {
    let mut cell = cell().await?;
    let load = Load::start(&cell, 3)?;
    for _ in 0..2 {
        load.go_on(&cell, CHANGES).await?;
        let members = cell.members_that_run();
        for member in &members {
            cell.stop(member)?; // none has time to see another one's end
        }
        for member in &members {
            cell.kill(member)?;
        }
        for member in &members {
            cell.start(member)?;
        }
        cell.wait_for_all().await?;
    }
    load.go_on(&cell, CHANGES).await?;
    let verdict = load.finish(&cell).await?;
    verdict.check()?;
    cell.down()
}
