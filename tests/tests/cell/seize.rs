//! No quorum of the location database is left, and the owner is dead: root of a standby takes the aggregate by hand.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::thread;

use anyhow::{Result, ensure};
use baton_tests::cell::{Cell, Trust};
use baton_tests::suites::Stage;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aggregate_is_seized_without_the_location_database_which_adopts_that() -> Result<()> {
    let cell = Cell::builder().flservers(3).servers(2).aggregates(2).start().await?;
    // Who is started again is back long before he passes for dead, also on a machine that has much to do.
    for (timer, value) in [
        ("isolated-after", "2m"),
        ("dead-after", "90s"),
        ("suspect-after", "60s"),
    ] {
        cell.fts(&["cell", "set", timer, value])?.done()?;
    }
    let mut stage = Stage::within(cell, 1, Trust::UsersAndRoot).await?;
    let place = stage.first().join("journal");
    let mut journal = OpenOptions::new().create_new(true).append(true).open(&place)?;
    journal.write_all(b"before\n")?;
    journal.sync_all()?;
    let (standby, before) = (stage.cell.seat("fs2", "admin"), stage.cell.aggregate("lfs01").await?);
    let seize = ["-aggregate", "lfs01", "-seize", "-yes"];
    standby
        .dfsexport(&seize)?
        .refused(1, &["the location database answers", "-takeover"])?;
    standby
        .dfsexport(&seize[..3])?
        .refused(1, &["nobody granted that", "-yes"])?;

    for member in ["fl2", "fl3", "fs1"] {
        stage.cell.crash(member)?;
    }
    let writing = thread::spawn(move || -> Result<()> {
        journal.write_all(b"meanwhile\n")?;
        Ok(journal.sync_all()?)
    });
    let said = standby.dfsexport(&seize)?.done()?;
    ensure!(said.contains("lfs01: exported, epoch 1:"), "{said}");
    standby.dfsexport(&seize)?.refused(3, &["exported already"])?;
    // The mount finds it, although nobody tells it where.
    let written = tokio::task::spawn_blocking(move || writing.join()).await?;
    written.map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    ensure!(fs::read(&place)? == b"before\nmeanwhile\n");

    // Who owned it before claims what is its own as soon as it runs: not this.
    for member in ["fl2", "fs1"] {
        stage.cell.start(member)?;
    }
    stage.cell.wait_for_leader().await?;
    let epoch = stage.cell.served_by("lfs01", "fs2", before.epoch).await?;
    ensure!(epoch.era() == 1, "{epoch}");
    stage.cell.served_by("lfs02", "fs1", before.epoch).await?;
    let events = stage.cell.fts(&["events"])?.done()?;
    ensure!(events.contains("lfs01 by fs2 under epoch 1:"), "{events}");
    fs::write(&place, b"after")?;
    // From here on all is as ever, in the new era.
    stage
        .cell
        .fts(&["failover", "-aggregate", "lfs01", "-to", "fs1"])?
        .done()?;
    let moved = stage.cell.served_by("lfs01", "fs1", epoch).await?;
    ensure!(moved.era() == 1 && fs::read(&place)? == b"after", "{moved}");
    stage.cell.start("fl3")?;
    stage.cell.down()
}
