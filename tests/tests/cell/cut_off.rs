//! A server that some hear and others do not: who hears it decides whether it is left alone.
//!
//! Links are cut silently, by the addresses that packets come from and go to.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use baton_tests::cell::{Builder, Cell, Links, Role, Trust, isolated};
use baton_tests::suites::Stage;
use baton_types::Epoch;
use baton_types::record::{AggregateState, ServerState};

/// Bytes are written and made durable by this name.
fn write(mount: &Path, name: &str) -> Result<()> {
    let file = fs::File::create(mount.join(name))?;
    Ok(file.sync_all()?)
}

/// Nothing passes between `server` and those machines.
fn cut(cell: &Cell, links: &Links, server: &str, others: &[String]) -> Result<()> {
    for other in others.iter().filter(|other| *other != server) {
        links.cut_both(&cell.address(server)?, &cell.address(other)?)?;
    }
    Ok(())
}

/// Until the record of `server` says so.
async fn said_of(cell: &Cell, server: &str, state: ServerState, words: &str) -> Result<()> {
    let what = format!("{server} is {state:?}, '{words}'");
    cell.wait(&what, async || {
        let known = cell.file_server(server).await.ok()?;
        (known.state == state && known.evidence.contains(words)).then_some(())
    })
    .await
}

/// Nothing has moved.
async fn is_still(cell: &Cell, server: &str, epoch: Epoch) -> Result<()> {
    let (aggregate, owner) = (cell.aggregate("lfs01").await?, cell.file_server(server).await?.id);
    ensure!(
        aggregate.owner == Some(owner) && aggregate.epoch == epoch && aggregate.state == AggregateState::Exported,
        "{aggregate:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_only_its_buddy_hears_keeps_what_it_has() -> Result<()> {
    if !isolated("cut_off::server_that_only_its_buddy_hears_keeps_what_it_has")? {
        return Ok(());
    }
    let stage = Stage::set(Builder::default().servers(2), 1, Trust::UsersAndRoot).await?;
    let (cell, links, mount) = (&stage.cell, Links::new()?, stage.first().clone());
    let epoch = cell.aggregate("lfs01").await?.epoch;
    cut(cell, &links, "fs1", &cell.named(Role::Flserver))?;
    said_of(cell, "fs1", ServerState::Alive, "fs2 hears it beat").await?;
    write(&mount, "meanwhile")?;
    is_still(cell, "fs1", epoch).await?;
    let status = cell.fts(&["status"])?;
    ensure!(status.stdout.contains("fs2 hears it beat"), "{status}");

    // Cut off from its buddy too, and unheard by clients that could say so, it is replaced.
    cut(cell, &links, "fs1", &cell.named(Role::Fileserver))?;
    links.cut_both(Links::COMMANDS, &cell.address("fs1")?)?;
    cell.served_by("lfs01", "fs2", epoch).await?;
    write(&mount, "after")?;
    links.heal()?;
    said_of(cell, "fs1", ServerState::Alive, "it beats").await?;
    ensure!(mount.join("meanwhile").exists() && mount.join("after").exists());
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_only_its_clients_hear_serves_on() -> Result<()> {
    if !isolated("cut_off::server_that_only_its_clients_hear_serves_on")? {
        return Ok(());
    }
    let stage = Stage::set(Builder::default().servers(2), 1, Trust::UsersAndRoot).await?;
    let (cell, links, mount) = (&stage.cell, Links::new()?, stage.first().clone());
    let epoch = cell.aggregate("lfs01").await?.epoch;
    write(&mount, "before")?;
    cut(
        cell,
        &links,
        "fs1",
        &[cell.named(Role::Flserver), cell.named(Role::Fileserver)].concat(),
    )?;
    said_of(cell, "fs1", ServerState::Pending, "its clients do: it serves on").await?;
    write(&mount, "meanwhile")?;
    is_still(cell, "fs1", epoch).await?;
    links.heal()?;
    said_of(cell, "fs1", ServerState::Alive, "it beats").await?;
    is_still(cell, "fs1", epoch).await?;
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_its_clients_do_not_reach_hands_over_to_one_that_they_do() -> Result<()> {
    if !isolated("cut_off::server_that_its_clients_do_not_reach_hands_over_to_one_that_they_do")? {
        return Ok(());
    }
    let stage = Stage::set(Builder::default().servers(2), 3, Trust::UsersAndRoot).await?;
    let (cell, links, mount) = (&stage.cell, Links::new()?, stage.first().clone());
    let epoch = cell.aggregate("lfs01").await?.epoch;
    write(&mount, "before")?;
    links.cut_both(Links::COMMANDS, &cell.address("fs1")?)?;
    let after = cell.served_by("lfs01", "fs2", epoch).await?;
    ensure!(Some(after) == epoch.next(), "handed over once: {epoch} to {after}");
    write(&mount, "after")?;
    let history = cell.fts(&["history", "-aggregate", "lfs01"])?.done()?;
    ensure!(history.contains("get no answer from it"), "{history}");
    ensure!(
        cell.file_server("fs1").await?.state == ServerState::Alive,
        "nobody is dead because clients say so"
    );
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_and_leader_on_one_machine_die_at_once() -> Result<()> {
    let cell = Cell::builder().flservers(3).servers(2).aggregates(1).start().await?;
    let mut stage = Stage::within(cell, 1, Trust::UsersAndRoot).await?;
    let (mount, epoch) = (stage.first().clone(), stage.cell.aggregate("lfs01").await?.epoch);
    write(&mount, "before")?;
    // One machine in life: nobody of it lives to say what happened.
    let leader = stage.cell.wait_for_leader().await?;
    stage.cell.crash(&leader)?;
    stage.cell.crash("fs1")?;
    write(&mount, "after")?;
    stage.cell.served_by("lfs01", "fs2", epoch).await?;
    let history = stage.cell.fts(&["history", "-aggregate", "lfs01"])?.done()?;
    ensure!(
        history.contains("late"),
        "its death was found out by its silence: {history}"
    );
    stage.cell.start(&leader)?;
    stage.cell.start("fs1")?;
    stage.cell.wait_for_all().await?;
    stage.cell.down()
}
