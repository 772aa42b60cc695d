//! Many of everything on a large disk: filesets, snapshots of one, terabytes of room of which little is used.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use baton_aggregate::aggregate::{Aggregate, Namesake, Reclaimed};
use baton_aggregate::fileset::root;
use baton_aggregate::transaction::Operation;
use baton_types::{BootClock, Clock, FileName, FilesetId, FilesetName};
use rand::seq::SliceRandom;

use super::ours::{BIRTH, FILESET, Ours, header, take_over};
use super::seat::Seat;
use super::table::{OWN, Table, Target, Unit};

/// The device, of which no more is there than is written.
const BYTES: u64 = 8 << 40;
/// Filesets on it.
const FILESETS: u64 = 10_000;
/// Snapshots of one of them.
const SNAPSHOTS: usize = 1_000;
/// Files of that one that change between two.
const CHANGES: usize = 10;
/// A snapshot, however many there are.
const SNAPSHOT_MILLIS_MAX: f64 = 1.0;
/// From the label to service, with all of them.
const TAKEOVER_MILLIS_MAX: f64 = 200.0;

/// Measures it once, with fewer of everything for fewer than 1,000,000 `files`.
pub(super) fn measure(directory: &Path, files: usize, table: &mut Table, progress: &impl Fn(&str)) -> Result<()> {
    let part = (files as u64 / 1_000).clamp(10, 1_000);
    let (filesets, snapshots) = (FILESETS * part / 1_000, SNAPSHOTS * part as usize / 1_000);
    progress(&format!("{filesets} filesets, {snapshots} snapshots of one, 8 TiB"));
    let ours = Ours::of(directory, BYTES)?;
    let before = resident()?;
    make_filesets(ours.aggregate(), filesets, table)?;
    let taken = take_snapshots(&ours, snapshots, table)?;
    let (aggregate, disk) = ours.into_quiet();
    let last = aggregate.last();
    aggregate.wait(last)?;
    drop(aggregate);

    let begun = Instant::now();
    let aggregate = take_over(disk.path(), 2)?;
    let took = begun.elapsed();
    ensure!(aggregate.last() >= last, "records are lost");
    let what = format!("recovery, {filesets} filesets, {snapshots} snapshots");
    let target = Some(Target::Most(TAKEOVER_MILLIS_MAX));
    table
        .row(&what, Unit::Millis, target)
        .side(OWN)
        .add(took.as_secs_f64() * 1e3);

    let begun = Instant::now();
    for number in 0..filesets {
        let id = FilesetId(FILESET.0 + number);
        aggregate.fileset(id)?.read(|view| root(view, id))?;
    }
    let what = format!("root of each of {filesets} filesets, first read");
    let each = begun.elapsed().as_secs_f64() * 1e6 / filesets as f64;
    table.row(&what, Unit::Micros, None).side(OWN).add(each);
    let what = format!("memory of {filesets} filesets and {snapshots} snapshots, cache included");
    let grown = resident()?.saturating_sub(before);
    table
        .row(&what, Unit::Mebibytes, None)
        .side(OWN)
        .add(grown as f64 / f64::from(1 << 20));
    delete_snapshots(&aggregate, taken, table)
}

fn make_filesets(aggregate: &Aggregate, count: u64, table: &mut Table) -> Result<()> {
    let begun = Instant::now();
    for number in 1..count {
        let mut header = header()?;
        header.name = FilesetName::parse(&format!("user.{number}"))?;
        let operation = Operation {
            unique: 1,
            time: BootClock.date(),
            ..Operation::default()
        };
        let id = FilesetId(FILESET.0 + number);
        aggregate.create_fileset(id, &header, &operation, BIRTH)?.answer?;
    }
    aggregate.wait(aggregate.last())?;
    let what = format!("fileset made, of {count}");
    let each = begun.elapsed().as_secs_f64() * 1e6 / count as f64;
    table.row(&what, Unit::Micros, None).side(OWN).add(each);
    Ok(())
}

fn take_snapshots(ours: &Ours, count: usize, table: &mut Table) -> Result<Vec<FileName>> {
    let (mut seat, fileset) = (ours.seat()?, ours.fileset()?);
    let folder = ours.folder(&mut seat)?;
    let files = (0..CHANGES * 10).map(|index| Ok(seat.create(folder, &format!("f{index}"))?.answer?.fid));
    let files = files.collect::<Result<Vec<_>>>()?;
    let what = format!("snapshot, of {count} of one fileset");
    let mut taken = Vec::with_capacity(count);
    for number in 0..count {
        for index in 0..CHANGES {
            seat.write(files[(number + index * 7) % files.len()], 0, &[number as u8; 4_096])?;
        }
        let (operation, name) = (dated(), FileName::parse(format!("s{number}").as_bytes())?);
        let begun = Instant::now();
        fileset.take_snapshot(&operation, &name, Namesake::Refuse)?.answer?;
        let target = Some(Target::Most(SNAPSHOT_MILLIS_MAX));
        let side = table.row(&what, Unit::Millis, target).side(OWN);
        side.add(begun.elapsed().as_secs_f64() * 1e3);
        taken.push(name);
    }
    Ok(taken)
}

/// In any order, until all space is back.
fn delete_snapshots(aggregate: &Aggregate, mut taken: Vec<FileName>, table: &mut Table) -> Result<()> {
    let count = taken.len();
    taken.shuffle(&mut rand::rng());
    let fileset = aggregate.fileset(FILESET)?;
    let begun = Instant::now();
    for name in taken {
        let found = fileset.snapshot_named(name.as_bytes()).context("a snapshot is gone")?;
        fileset.delete_snapshot(&dated(), found.id)?.answer?;
    }
    loop {
        match aggregate.reclaim()? {
            Reclaimed::Blocks(_) => {}
            Reclaimed::Later => aggregate.checkpoint()?,
            Reclaimed::Nothing => break,
        }
    }
    let what = format!("{count} snapshots deleted in any order, all space back, each");
    let each = begun.elapsed().as_secs_f64() * 1e3 / count as f64;
    table.row(&what, Unit::Millis, None).side(OWN).add(each);
    // Whoever goes on finds it usable.
    Seat::new(aggregate, FILESET).map(drop)
}

fn dated() -> Operation {
    Operation {
        time: BootClock.date(),
        ..Operation::default()
    }
}

/// Bytes of this process that are in memory (`proc_pid_status(5)`).
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kibibytes.context("the kernel does not say it")?.parse::<u64>()? << 10)
}
