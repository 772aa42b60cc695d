//! Members that cannot hear each other, in a network made for the test.
//!
//! Links are cut by the addresses that packets come from and go to: silently, as a broken network does.

use anyhow::{Result, ensure};
use baton_tests::cell::{As, Cell, Links, isolated};
use baton_tests::load::{Load, creation};
use baton_types::Kind;

/// Changes between one event and the next.
const CHANGES: usize = 150;

async fn cell() -> Result<(Cell, Links)> {
    let cell = Cell::builder().servers(1).aggregates(1).start().await?;
    Ok((cell, Links::new()?))
}

fn others(cell: &Cell, member: &str) -> Vec<String> {
    cell.members_that_run()
        .into_iter()
        .filter(|other| other != member)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_in_the_minority_is_replaced_and_decides_nothing() -> Result<()> {
    if !isolated("partition::leader_in_the_minority_is_replaced_and_decides_nothing")? {
        return Ok(());
    }
    let (cell, links) = cell().await?;
    cell.fts(&["create", "spare", "fs1", "lfs01"])?.done()?;
    let load = Load::start(&cell, 2)?;
    load.go_on(&cell, CHANGES).await?;

    let alone = cell.wait_for_leader().await?;
    let here = cell.address(&alone)?;
    for other in others(&cell, &alone) {
        links.cut_both(&here, &cell.address(&other)?)?;
        links.cut_both(Links::COMMANDS, &cell.address(&other)?)?;
    }
    cell.wait("the majority has a leader", async || {
        for other in others(&cell, &alone) {
            if cell.status(&other).await.is_ok_and(|status| status.has_quorum) {
                return Some(());
            }
        }
        None
    })
    .await?;
    load.go_on(&cell, CHANGES).await?;

    // What somebody sees who reaches only the minority: places are found, nothing is changed.
    let minority = cell.talk(&alone, As::User("admin")).await?;
    let found = minority.lookup("w1.1").await?;
    ensure!(found.fileset.is_some(), "a lookup needs no quorum");
    let refused = minority.change(creation("of.the.minority")).await;
    ensure!(
        refused
            .as_ref()
            .is_err_and(|e| e.kind == Kind::Unreachable && e.to_string().contains("no quorum")),
        "{refused:?}"
    );
    cell.fts(&["lock", "spare"])?.refused(5, &["no quorum"])?;
    let listed = cell.fts(&["lsfldb", "w1.1"])?;
    ensure!(listed.code == 0 && listed.stdout.contains("w1.1"), "{listed}");
    ensure!(
        listed.stderr.contains("no quorum"),
        "that the list may be old was not said: {listed}"
    );

    links.heal()?;
    cell.wait_for_all().await?;
    load.go_on(&cell, CHANGES).await?;
    cell.fts(&["lock", "spare"])?.done()?;
    cell.fts(&["unlock", "spare"])?.done()?;
    let verdict = load.finish(&cell).await?;
    verdict.check()?;
    ensure!(verdict.doubtful.is_empty(), "callers without an answer: {verdict:?}");
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member_cut_off_and_back_does_not_unseat_the_leader() -> Result<()> {
    if !isolated("partition::member_cut_off_and_back_does_not_unseat_the_leader")? {
        return Ok(());
    }
    let (cell, links) = cell().await?;
    let load = Load::start(&cell, 2)?;
    load.go_on(&cell, CHANGES).await?;

    let leader = cell.wait_for_leader().await?;
    let term = cell.status(&leader).await?.term;
    let alone = others(&cell, &leader).remove(0);
    for other in others(&cell, &alone) {
        links.cut_both(&cell.address(&alone)?, &cell.address(&other)?)?;
    }
    cell.wait("the member knows that it has no leader", async || {
        let status = cell.status(&alone).await.ok()?;
        status.leader.is_none().then_some(())
    })
    .await?;
    load.go_on(&cell, CHANGES).await?;
    links.heal()?;
    cell.wait_for_all().await?;
    load.go_on(&cell, CHANGES).await?;

    let status = cell.status(&leader).await?;
    ensure!(
        status.has_quorum && status.term == term,
        "{leader} led in term {term}, and now: {status:?}"
    );
    let verdict = load.finish(&cell).await?;
    verdict.check()?;
    ensure!(verdict.doubtful.is_empty(), "callers without an answer: {verdict:?}");
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_that_is_not_heard_is_replaced() -> Result<()> {
    if !isolated("partition::leader_that_is_not_heard_is_replaced")? {
        return Ok(());
    }
    let (cell, links) = cell().await?;
    let load = Load::start(&cell, 2)?;
    load.go_on(&cell, CHANGES).await?;

    // It hears the others; they do not hear it.
    let mute = cell.wait_for_leader().await?;
    for other in others(&cell, &mute) {
        links.cut(&cell.address(&mute)?, &cell.address(&other)?)?;
    }
    cell.wait("another leader", async || {
        for other in others(&cell, &mute) {
            if cell.status(&other).await.is_ok_and(|status| status.has_quorum) {
                return Some(());
            }
        }
        None
    })
    .await?;
    load.go_on(&cell, CHANGES).await?;
    links.heal()?;
    cell.wait_for_all().await?;
    let verdict = load.finish(&cell).await?;
    verdict.check()?;
    ensure!(verdict.doubtful.is_empty(), "callers without an answer: {verdict:?}");
    cell.down()
}
