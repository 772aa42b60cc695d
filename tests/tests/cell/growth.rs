//! Growth: a disk becomes larger under the server that serves it, and programs that had no room go on.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use baton_tests::cell::{Builder, Cell, Trust};
use baton_tests::suites::Stage;
use serde_json::Value;

/// Of the disk at first: some hundred segments that may be filled.
const SMALL: u64 = 160 << 20;
/// Of the disk later.
const LARGE: u64 = 400 << 20;
const FILE_BYTES: usize = 1 << 20;
/// Files that fit into what is added, and not into what was there.
const MORE_FILES: u64 = 60;

/// A program that writes file after file, and waits where there is no room.
struct Writer {
    directory: PathBuf,
    written: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<()>>,
}

fn bytes(number: u64) -> Vec<u8> {
    let words = std::iter::repeat_n(number, FILE_BYTES / 8);
    words.flat_map(u64::to_le_bytes).collect()
}

fn write(path: &Path, number: u64) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&bytes(number))?;
    file.sync_all()
}

impl Writer {
    fn start(directory: &Path) -> Writer {
        let (written, refused, is_over) = <(Arc<AtomicU64>, Arc<AtomicU64>, Arc<AtomicBool>)>::default();
        let (own, done, full, stop) = (directory.to_owned(), written.clone(), refused.clone(), is_over.clone());
        let thread = thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let number = done.load(Ordering::Relaxed);
                match write(&own.join(number.to_string()), number) {
                    Ok(()) => done.store(number + 1, Ordering::Relaxed),
                    Err(error) if error.kind() == ErrorKind::StorageFull => {
                        full.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(Duration::from_millis(50));
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        });
        Writer {
            directory: directory.to_owned(),
            written,
            refused,
            is_over,
            thread,
        }
    }

    async fn is_refused(&self, cell: &Cell) -> Result<()> {
        self.reaches(cell, &self.refused, 1, "the writer finds no room").await
    }

    async fn has_written(&self, cell: &Cell, files: u64) -> Result<()> {
        self.reaches(cell, &self.written, files, "the writer goes on").await
    }

    async fn reaches(&self, cell: &Cell, count: &AtomicU64, least: u64, what: &str) -> Result<()> {
        cell.wait(what, async || {
            (count.load(Ordering::Relaxed) >= least || self.thread.is_finished()).then_some(())
        })
        .await?;
        ensure!(!self.thread.is_finished(), "the writer has ended");
        Ok(())
    }

    /// Ends it, and reads all that it was promised.
    fn finish(self) -> Result<u64> {
        self.is_over.store(true, Ordering::Relaxed);
        let joined = self.thread.join();
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let written = self.written.load(Ordering::Relaxed);
        for number in 0..written {
            let found = fs::read(self.directory.join(number.to_string()))?;
            ensure!(found == bytes(number), "file {number} has other bytes");
        }
        Ok(written)
    }
}

/// What `fts aggrinfo` says of lfs01: all bytes, and those that are free.
fn space(cell: &Cell, server: &str) -> Result<(u64, u64)> {
    let text = cell.fts(&["aggrinfo", server, "lfs01", "-json"])?.done()?;
    let json: Value = serde_json::from_str(&text)?;
    let figure = |name: &str| json["aggregates"][0][name].as_u64().context("a number");
    Ok((figure("total_bytes")?, figure("free_bytes")?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_grows_under_the_server_and_the_writer_goes_on() -> Result<()> {
    let builder = Builder::default().flservers(1).servers(2).aggregates(1);
    let cell = builder.disk_bytes(SMALL).start().await?;
    let mut stage = Stage::within(cell, 1, Trust::UsersAndRoot).await?;
    let disk = stage.cell.places().disk("lfs01");
    let owner = stage.cell.seat("fs1", "root.here");
    let grow = |words: &[&str]| owner.run("growaggr", &[&["-aggregate", "lfs01"], words].concat());

    let writer = Writer::start(stage.first());
    writer.is_refused(&stage.cell).await?;
    let (total, free) = space(&stage.cell, "fs1")?;
    grow(&[])?.refused(1, &["aggregate lfs01", "no room more", "its device before it"])?;
    let said = grow(&["-noaction"])?.done()?;
    ensure!(
        said.starts_with("aggregate lfs01: 163840 K, and its device has 163840 K"),
        "{said}"
    );
    let standby = stage.cell.seat("fs2", "root.here");
    standby
        .run("growaggr", &["-aggregate", "lfs01"])?
        .refused(1, &["aggregate lfs01", "not exported here", "growaggr -server"])?;

    File::options().write(true).open(&disk)?.set_len(LARGE)?;
    grow(&["-aggrsize", "100000"])?.refused(1, &["no aggregate shrinks"])?;
    grow(&["-aggrsize", "500000"])?.refused(1, &["more than the 419430400 of its device"])?;
    let said = grow(&["-noaction"])?.done()?;
    ensure!(said.ends_with("to 409600 K; would be made 409600 K\n"), "{said}");
    ensure!(space(&stage.cell, "fs1")?.0 == total, "nothing was to be done");

    let before = writer.written.load(Ordering::Relaxed);
    let said = grow(&[])?.done()?;
    ensure!(said == "aggregate lfs01: grown from 163840 K to 409600 K\n", "{said}");
    writer.has_written(&stage.cell, before + MORE_FILES).await?;
    let grown = space(&stage.cell, "fs1")?;
    ensure!(
        grown.0 - total > 200 << 20 && grown.1 > free + (60 << 20),
        "{total} and {free} before, {grown:?} now"
    );

    // The standby takes what the root says.
    let epoch = stage.cell.aggregate("lfs01").await?.epoch;
    stage.cell.kill("fs1")?;
    stage.cell.served_by("lfs01", "fs2", epoch).await?;
    ensure!(space(&stage.cell, "fs2")?.0 == grown.0, "it has shrunk");
    writer.has_written(&stage.cell, before + MORE_FILES + 10).await?;
    let written = writer.finish()?;
    ensure!(written > before + MORE_FILES, "{written}");
    stage.cell.start("fs1")?;
    for server in ["fs1", "fs2"] {
        stage.cell.terminate(server)?;
    }
    let disk = disk.to_str().context("the directory's name is no text")?;
    stage.cell.administrator().run("salvage", &["-check", disk])?.done()?;
    stage.cell.down()
}
