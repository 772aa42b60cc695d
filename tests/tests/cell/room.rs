//! Room on the disk: copies within a fileset and from its snapshots take none, and what `fallocate` was promised is there.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use baton_tests::cell::{Builder, Cell, Trust};
use baton_tests::suites::Stage;
use rustix::fs::{FallocateFlags, copy_file_range, fallocate};
use serde_json::Value;

use super::snapshots::take;

const MIB: u64 = 1 << 20;
/// As small as an aggregate with room for some writing may be.
const SMALL: u64 = 160 * MIB;

/// What may still be written to the aggregate, in bytes.
fn free(cell: &Cell) -> Result<u64> {
    let text = cell.fts(&["aggrinfo", "fs1", "lfs01", "-json"])?.done()?;
    let json: Value = serde_json::from_str(&text)?;
    json["aggregates"][0]["free_bytes"].as_u64().context("a number")
}

/// Bytes that do not repeat.
fn bytes(seed: u64, len: u64) -> Vec<u8> {
    let words = (0..len.div_ceil(8)).map(|at| (at ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    let mut bytes: Vec<u8> = words.flatten().collect();
    bytes.truncate(len as usize);
    bytes
}

fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes)?;
    Ok(File::open(path)?.sync_all()?)
}

/// Copies all of a file.
fn copy(source: &File, target: &File, len: u64) -> Result<()> {
    let mut copied = 0;
    while copied < len {
        let step = copy_file_range(source, None, target, None, (len - copied) as usize)?;
        ensure!(step > 0, "it ends after {copied} bytes");
        copied += step as u64;
    }
    Ok(())
}

fn salvage(cell: &mut Cell) -> Result<()> {
    for server in ["fs1", "fs2"] {
        cell.terminate(server)?;
    }
    let disk = cell.places().disk("lfs01");
    let disk = disk.to_str().context("the directory's name is no text")?;
    cell.administrator().run("salvage", &["-check", disk])?.done().map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_within_a_fileset_takes_no_room_and_stays_what_it_was() -> Result<()> {
    const LEN: u64 = 24 * MIB + 777;
    let mut stage = Stage::set(Builder::default().servers(2), 2, Trust::UsersAndRoot).await?;
    let (one, other) = (stage.first().clone(), stage.last().clone());
    let first = bytes(1, LEN);
    write_durably(&one.join("a"), &first)?;
    let before = free(&stage.cell)?;
    // The last bytes are still on their way when it begins.
    let source = File::options().read(true).write(true).open(one.join("a"))?;
    source.write_all_at(b"changed", LEN - 10)?;
    let mut first = first;
    first[LEN as usize - 10..][..7].copy_from_slice(b"changed");
    let target = File::options().write(true).create_new(true).open(one.join("b"))?;
    copy(&source, &target, LEN)?;
    target.sync_all()?;
    let taken = before.saturating_sub(free(&stage.cell)?);
    ensure!(taken < 4 * MIB, "a copy of {LEN} bytes took {taken}");
    ensure!(fs::read(other.join("b"))? == first, "the copy is another");

    // Whoever writes to one does not write to the other, and bytes that lie otherwise are copied.
    source.write_all_at(b"only in a", 5 * MIB)?;
    let unlike = copy_file_range(&source, Some(&mut 5), &target, Some(&mut (6 * MIB)), 100_000)?;
    ensure!(unlike > 0, "nothing was copied");
    let mut second = first.clone();
    second[6 * MIB as usize..][..unlike].copy_from_slice(&first[5..][..unlike]);
    first[5 * MIB as usize..][..9].copy_from_slice(b"only in a");
    source.sync_all()?;
    target.sync_all()?;
    ensure!(fs::read(other.join("a"))? == first && fs::read(other.join("b"))? == second);

    let epoch = stage.cell.aggregate("lfs01").await?.epoch;
    stage.cell.kill("fs1")?;
    stage.cell.served_by("lfs01", "fs2", epoch).await?;
    ensure!(fs::read(one.join("a"))? == first && fs::read(other.join("b"))? == second);
    fs::remove_file(one.join("a"))?;
    ensure!(fs::read(other.join("b"))? == second);
    stage.cell.start("fs1")?;
    salvage(&mut stage.cell)?;
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_from_a_snapshot_takes_no_room_and_stays_what_it_was() -> Result<()> {
    const LEN: u64 = 24 * MIB + 777;
    let mut stage = Stage::set(Builder::default().servers(2), 2, Trust::UsersAndRoot).await?;
    let (one, other) = (stage.first().clone(), stage.last().clone());
    let [then, now, later] = [1, 2, 3].map(|seed| bytes(seed, LEN));
    write_durably(&one.join("a"), &then)?;
    take(&stage.cell, "stage", "then")?;
    write_durably(&one.join("a"), &now)?;
    let before = free(&stage.cell)?;
    let source = File::open(one.join(".snapshots/then/a"))?;
    let target = File::options().write(true).create_new(true).open(one.join("b"))?;
    copy(&source, &target, LEN)?;
    target.sync_all()?;
    let taken = before.saturating_sub(free(&stage.cell)?);
    ensure!(taken < 4 * MIB, "a copy of {LEN} bytes took {taken}");
    let is = |name: &str, bytes: &[u8]| -> Result<()> {
        for mount in [&one, &other] {
            ensure!(fs::read(mount.join(name))? == bytes, "{name} at {mount:?} is another");
        }
        Ok(())
    };
    let past = ".snapshots/then/a";
    is("a", &now)?;
    is("b", &then)?;
    is(past, &then)?;

    // Whoever goes first, the other keeps it: over the end of an owner, too.
    let third = File::options().write(true).create_new(true).open(other.join("c"))?;
    copy(&File::open(other.join(past))?, &third, LEN)?;
    target.write_all_at(&later, 0)?;
    target.sync_all()?;
    let epoch = stage.cell.aggregate("lfs01").await?.epoch;
    stage.cell.kill("fs1")?;
    stage.cell.served_by("lfs01", "fs2", epoch).await?;
    is("b", &later)?;
    is("c", &then)?;
    is(past, &then)?;
    third.sync_all()?;
    stage.cell.fts(&["snapshot", "delete", "stage", "then"])?.done()?;
    is("c", &then)?;
    stage.cell.start("fs1")?;
    salvage(&mut stage.cell)?;
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fallocate_was_promised_can_be_written_on_a_full_disk() -> Result<()> {
    const PROMISED: u64 = 16 * MIB;
    let builder = Builder::default().flservers(1).servers(2).aggregates(1);
    let cell = builder.disk_bytes(SMALL).start().await?;
    let mut stage = Stage::within(cell, 1, Trust::UsersAndRoot).await?;
    let directory = stage.first().clone();
    let kept = File::create(directory.join("kept"))?;
    fallocate(&kept, FallocateFlags::empty(), 0, PROMISED)?;
    let full = fill(&directory.join("filler"))?;
    ensure!(full == ErrorKind::StorageFull, "{full}");

    let bytes = bytes(2, PROMISED);
    let (half, rest) = bytes.split_at(PROMISED as usize / 2);
    kept.write_all_at(half, 0)?;
    kept.sync_all()?;
    let epoch = stage.cell.aggregate("lfs01").await?.epoch;
    stage.cell.kill("fs1")?;
    stage.cell.served_by("lfs01", "fs2", epoch).await?;
    kept.write_all_at(rest, PROMISED / 2)?;
    kept.sync_all()?;
    ensure!(fs::read(directory.join("kept"))? == bytes);
    let beyond = fallocate(&kept, FallocateFlags::empty(), 0, 1 << 40).err();
    ensure!(beyond == Some(rustix::io::Errno::NOSPC), "{beyond:?}");
    stage.cell.start("fs1")?;
    salvage(&mut stage.cell)?;
    stage.cell.down()
}

/// Writes until that is refused, and what with.
fn fill(path: &Path) -> Result<ErrorKind> {
    let (file, piece) = (File::create(path)?, vec![b'f'; 1 << 18]);
    for at in 0.. {
        let written = file.write_all_at(&piece, at * piece.len() as u64);
        if let Err(error) = written.and_then(|()| file.sync_all()) {
            return Ok(error.kind());
        }
    }
    unreachable!("a disk has an end")
}
