//! Machines with cables: one of two is pulled; nobody speaks IPv4.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow, ensure};
use baton_tests::cell::{Cell, Family, Trust, isolated};
use baton_tests::suites::Stage;
use baton_types::record::{AggregateState, ServerState};

/// Files that are made one after the other, each made durable, until somebody says that it is enough.
struct Writer {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Result<usize>>,
}

impl Writer {
    fn start(directory: &Path) -> Writer {
        let is_over = Arc::new(AtomicBool::new(false));
        let (directory, ends) = (directory.to_owned(), is_over.clone());
        let write = move || {
            let mut count = 0;
            while !ends.load(Ordering::Relaxed) {
                let path = directory.join(format!("file{count}"));
                let file = fs::File::create(&path).with_context(|| path.display().to_string())?;
                file.sync_all()?;
                count += 1;
            }
            Ok(count)
        };
        Writer {
            is_over,
            thread: thread::spawn(write),
        }
    }

    /// So many were made, and all are there.
    fn finish(self, directory: &Path) -> Result<usize> {
        self.is_over.store(true, Ordering::Relaxed);
        let made = self.thread.join().map_err(|_| anyhow!("the writer panicked"))??;
        let found = fs::read_dir(directory)?.count();
        ensure!(made == found, "{made} files were made, {found} are there");
        Ok(made)
    }
}

/// Waits until the writer is further by that many files.
async fn goes_on(cell: &Cell, directory: &Path, count: usize) -> Result<()> {
    let enough = fs::read_dir(directory)?.count() + count;
    cell.wait(&format!("{count} more files"), async || {
        (fs::read_dir(directory).ok()?.count() >= enough).then_some(())
    })
    .await
}

async fn stage(links: u8, family: Family) -> Result<Stage> {
    let builder = Cell::builder().servers(2).aggregates(1).wires(links, family);
    Stage::within(builder.start().await?, 1, Trust::UsersAndRoot).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_cables_pulled_moves_nothing() -> Result<()> {
    if !isolated("wired::one_of_two_cables_pulled_moves_nothing")? {
        return Ok(());
    }
    let stage = stage(2, Family::V4).await?;
    let cell = &stage.cell;
    let directory = stage.first().join("files");
    fs::create_dir(&directory)?;
    let epoch = cell.aggregate("lfs01").await?.epoch;
    let writer = Writer::start(&directory);
    goes_on(cell, &directory, 20).await?;
    let leader = cell.wait_for_leader().await?;
    for machine in ["fs1", "client1", leader.as_str()] {
        for link in 1..=2 {
            cell.pull(machine, link)?;
            goes_on(cell, &directory, 50).await?;
            let (aggregate, server) = (cell.aggregate("lfs01").await?, cell.file_server("fs1").await?);
            ensure!(
                aggregate.epoch == epoch && aggregate.state == AggregateState::Exported,
                "cable {link} of {machine} is pulled: {aggregate:?}"
            );
            ensure!(server.state != ServerState::Dead, "{server:?}");
            cell.plug(machine, link)?;
            goes_on(cell, &directory, 50).await?;
        }
    }
    // With both pulled it is gone.
    cell.pull("fs1", 1)?;
    cell.pull("fs1", 2)?;
    cell.served_by("lfs01", "fs2", epoch).await?;
    goes_on(cell, &directory, 20).await?;
    writer.finish(&directory)?;
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cell_that_speaks_no_ipv4_fails_over_like_any_other() -> Result<()> {
    if !isolated("wired::cell_that_speaks_no_ipv4_fails_over_like_any_other")? {
        return Ok(());
    }
    let mut stage = stage(1, Family::V6).await?;
    let directory = stage.first().join("files");
    fs::create_dir(&directory)?;
    let epoch = stage.cell.aggregate("lfs01").await?.epoch;
    let writer = Writer::start(&directory);
    goes_on(&stage.cell, &directory, 20).await?;
    let said = stage
        .cell
        .fts(&["failover", "-aggregate", "lfs01", "-to", "fs2"])?
        .done()?;
    let epoch = stage.cell.served_by("lfs01", "fs2", epoch).await.context(said)?;
    goes_on(&stage.cell, &directory, 20).await?;
    stage.cell.crash("fs2")?;
    stage.cell.served_by("lfs01", "fs1", epoch).await?;
    goes_on(&stage.cell, &directory, 20).await?;
    let leader = stage.cell.wait_for_leader().await?;
    stage.cell.crash(&leader)?;
    stage.cell.wait_for_leader().await?;
    goes_on(&stage.cell, &directory, 20).await?;
    writer.finish(&directory)?;

    // Whatever people type and read, such an address is one.
    let status = stage.cell.baton(&["cell", "members"])?.done()?;
    ensure!(status.contains("fd00:77:1::"), "{status}");
    let cm = stage
        .cell
        .seat("client1", "admin")
        .run("cm", &["whereis", "-path", &directory.display().to_string()])?;
    ensure!(cm.done()?.contains("fs1"));
    stage.cell.start(&leader)?;
    stage.cell.start("fs2")?;
    stage.cell.wait_for_all().await?;
    stage.cell.down()
}
