//! Listings: with the names the kernel learns what each of them leads to, and that must break nothing that it knows.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use baton_tests::cell::{Builder, Trust};
use baton_tests::suites::Stage;

use super::snapshots::take;

/// Written so often while the directory is listed.
const WRITES: u64 = 20_000;
/// Writes between two looks: meanwhile nobody waits for the server to have them.
const BURST: u64 = 50;

/// Writes to an open file; what was written is there, and the file as long as that makes it.
fn write_and_look(directory: &Path) -> Result<()> {
    let path = directory.join("written");
    let mut file = File::options().append(true).read(true).create_new(true).open(&path)?;
    for number in 0..WRITES {
        file.write_all(&number.to_le_bytes()).context("write")?;
        if number % BURST == 0 {
            let mut back = [0; 8];
            file.read_exact_at(&mut back, number * 8).context("read")?;
            ensure!(u64::from_le_bytes(back) == number, "{number} is read as {back:?}");
            let (len, due) = (fs::metadata(&path).context("stat")?.len(), (number + 1) * 8);
            ensure!(len == due, "after {due} bytes it is {len} long");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_that_is_written_while_its_directory_is_listed_is_left_as_it_is() -> Result<()> {
    let stage = Stage::set(Builder::default(), 1, Trust::UsersAndRoot).await?;
    let directory = stage.first().join("listed");
    fs::create_dir(&directory)?;
    for number in 0..50 {
        fs::write(directory.join(number.to_string()), b"beside it")?;
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let lister = {
        let (directory, is_over) = (directory.clone(), is_over.clone());
        thread::spawn(move || -> Result<usize> {
            let mut times = 0;
            while !is_over.load(Ordering::Relaxed) {
                let count = fs::read_dir(&directory)?.count();
                ensure!(count >= 50, "{count} names");
                times += 1;
            }
            Ok(times)
        })
    };
    let written = tokio::task::spawn_blocking(move || write_and_look(&directory)).await?;
    is_over.store(true, Ordering::Relaxed);
    let times = lister.join().map_err(|_| anyhow::anyhow!("the lister panicked"))??;
    written.with_context(|| format!("listed {times} times"))?;
    stage.cell.down()
}

/// The path by which a directory is known that a program has open, or is in.
fn path_of(directory: &File) -> Result<PathBuf> {
    Ok(fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd()))?)
}

/// Listing `above` leaves whoever is in `below` there.
fn is_left_alone(above: &Path, below: &Path) -> Result<()> {
    let seat = File::open(below)?;
    for _ in 0..3 {
        ensure!(fs::read_dir(above)?.count() > 0, "{} is empty", above.display());
        let path = path_of(&seat)?;
        ensure!(path == below, "{} has become {}", below.display(), path.display());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_in_a_fileset_or_a_snapshot_keeps_his_path_when_others_list_what_is_above() -> Result<()> {
    let stage = Stage::set(Builder::default(), 1, Trust::UsersAndRoot).await?;
    let root = stage.first();
    fs::write(root.join("f"), b"bytes")?;
    take(&stage.cell, "stage", "one")?;
    take(&stage.cell, "stage", "two")?;
    is_left_alone(root.parent().context("it is in the root of the cell")?, root).context("a fileset")?;
    let snapshots = root.join(".snapshots");
    ensure!(fs::read(snapshots.join("two/f"))? == b"bytes");
    is_left_alone(&snapshots, &snapshots.join("one")).context("a snapshot")?;
    stage.cell.down()
}
