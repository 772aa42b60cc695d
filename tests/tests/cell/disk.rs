//! A member's disk is full.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use baton_tests::cell::{Cell, describe, isolated, run};
use baton_tests::load::Load;

/// Changes between one event and the next.
const CHANGES: usize = 150;

/// A small disk, mounted until this is dropped.
struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Puts what is at `at` on a disk of its own.
    fn mount(at: PathBuf, size: &str) -> Result<Disk> {
        let before = at.with_extension("before");
        std::fs::rename(&at, &before)?;
        std::fs::create_dir(&at)?;
        let path = at.to_str().context("no text")?;
        run(
            "mount",
            &["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "baton", path],
        )?;
        let disk = Disk { at };
        for entry in std::fs::read_dir(&before)? {
            let entry = entry?;
            std::fs::copy(entry.path(), disk.at.join(entry.file_name()))?;
        }
        Ok(disk)
    }

    /// Writes until nothing more fits.
    fn fill(&self) -> Result<PathBuf> {
        let path = self.at.join("something.else");
        let mut file = File::create(&path)?;
        let block = [b'x'; 4096];
        let error = loop {
            if let Err(error) = file.write_all(&block) {
                break error;
            }
        };
        ensure!(error.kind() == std::io::ErrorKind::StorageFull, "{error}");
        Ok(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = run("umount", &["--lazy", &self.at.to_string_lossy()]) {
            eprintln!("{error:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member_whose_disk_is_full_ends_and_comes_back_when_there_is_room() -> Result<()> {
    if !isolated("disk::member_whose_disk_is_full_ends_and_comes_back_when_there_is_room")? {
        return Ok(());
    }
    let mut cell = Cell::builder().servers(1).aggregates(1).start().await?;
    // The leader: that is the worst one to lose.
    let full = cell.wait_for_leader().await?;
    cell.terminate(&full)?;
    let disk = Disk::mount(cell.places().state(&full), "32m")?;
    cell.start(&full)?;
    cell.wait_for_all().await?;
    let load = Load::start(&cell, 2)?;
    load.go_on(&cell, CHANGES).await?;

    let something_else = disk.fill()?;
    let ended = cell.ended(&full)?.map(describe);
    ensure!(ended.as_deref() == Some("exit code 1"), "{full} ended with {ended:?}");
    let said = cell.log_end(&full, 1).concat();
    for word in ["log.redb", "No space left on device", "start it again"] {
        ensure!(said.contains(word), "'{word}' was to be said last: {said}");
    }
    load.go_on(&cell, CHANGES).await?;

    std::fs::remove_file(something_else)?;
    cell.start(&full)?;
    cell.wait_for_all().await?;
    load.go_on(&cell, CHANGES).await?;
    let verdict = load.finish(&cell).await?;
    verdict.check()?;
    ensure!(verdict.doubtful.is_empty(), "callers without an answer: {verdict:?}");
    cell.terminate(&full)?;
    drop(disk);
    cell.down()
}
