//! Files in mounted cells: what one mount writes another sees, and a server may be killed.

use std::fs;

use anyhow::{Result, ensure};
use baton_tests::cell::{Builder, Trust};
use baton_tests::suites::{Stage, Suite, kill_again_and_again};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_mount_writes_the_other_reads() -> Result<()> {
    let stage = Stage::set(Builder::default(), 2, Trust::UsersAndRoot).await?;
    let (one, other) = (stage.first().clone(), stage.last().clone());
    fs::create_dir(one.join("d"))?;
    fs::write(one.join("d/f"), b"first")?;
    ensure!(fs::read(other.join("d/f"))? == b"first");
    // The other has read it, and so has something to forget.
    fs::write(other.join("d/f"), b"second, and longer")?;
    ensure!(fs::read(one.join("d/f"))? == b"second, and longer");
    fs::rename(one.join("d/f"), one.join("g"))?;
    ensure!(!other.join("d/f").exists() && other.join("g").exists());
    fs::remove_file(other.join("g"))?;
    ensure!(!one.join("g").exists());
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_do_not_notice_that_the_server_was_killed() -> Result<()> {
    let mut stage = Stage::set(Builder::default(), 2, Trust::UsersAndRoot).await?;
    kill_again_and_again(&mut stage.cell, &stage.directories, 3).await?;
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_kept_by_two_mounts() -> Result<()> {
    let stage = Stage::set(Builder::default(), 2, Trust::UsersAndRoot).await?;
    let stage = tokio::task::spawn_blocking(move || Suite::Sqlite.run(&stage, 0).map(|_| stage)).await??;
    stage.cell.down()
}
