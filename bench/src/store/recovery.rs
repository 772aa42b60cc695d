//! How long a takeover takes when the log is as long as it may be, over few files and over many.
//!
//! The log is filled in a quiet aggregate, whose one thread is this one, until the next operation would have to wait
//! for a checkpoint. Then the aggregate is dropped as a crash drops it. Every takeover after that finds the same log,
//! for none makes a checkpoint; the cache of each is empty.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use baton_aggregate::aggregate::Aggregate;
use baton_aggregate::format::Lsn;
use baton_types::Fid;
use rand::seq::IndexedRandom;

use super::ours::{FILESET, Ours, take_over};
use super::seat::Seat;
use super::table::{OWN, Table, Target, Unit};

/// Files before the log is filled.
const FILES: [usize; 2] = [10_000, 1_000_000];
/// Files in a directory.
pub(super) const FILES_PER_FOLDER: usize = 1_000;
/// Of what fits: not all records are equally long.
const FULL_PERCENT: usize = 98;
/// From the label to service.
const MILLIS_MAX: f64 = 200.0;

/// Measures it, with no more files than `files`.
pub(super) fn measure(
    directory: &Path,
    (files, rounds): (usize, usize),
    table: &mut Table,
    progress: &impl Fn(&str),
) -> Result<()> {
    for count in FILES.into_iter().filter(|count| *count <= files) {
        progress(&format!("recovery over {count} files"));
        let ours = Ours::new(directory)?;
        let files = fill(&ours, count)?;
        let (aggregate, disk) = ours.into_quiet();
        let last = fill_log(&aggregate, &files)?;
        drop(aggregate);
        let what = format!("recovery, log at its hard bound, {count} files");
        for round in 0..rounds {
            // The first epoch filled it.
            let epoch = 2 + round as u64;
            let begun = Instant::now();
            let aggregate = take_over(disk.path(), epoch)?;
            let took = begun.elapsed();
            ensure!(aggregate.last() >= last, "records are lost");
            let side = table.row(&what, Unit::Millis, Some(Target::Most(MILLIS_MAX))).side(OWN);
            side.add(took.as_secs_f64() * 1e3);
        }
    }
    Ok(())
}

/// Makes so many files; gives them, and a directory for more.
pub(super) fn fill(ours: &Ours, count: usize) -> Result<(Vec<Fid>, Fid)> {
    let mut seat = ours.seat()?;
    let mut files = Vec::with_capacity(count);
    let mut folder = ours.folder(&mut seat)?;
    for index in 0..count {
        if index % FILES_PER_FOLDER == 0 {
            folder = ours.folder(&mut seat)?;
        }
        files.push(seat.create(folder, &format!("f{index:07}"))?.answer?.fid);
    }
    Ok((files, ours.folder(&mut seat)?))
}

/// Fills the log of an aggregate without threads until a little more would begin a checkpoint, with new files and
/// changes of old ones by halves; says what was last.
fn fill_log(aggregate: &Aggregate, (files, folder): &(Vec<Fid>, Fid)) -> Result<Lsn> {
    aggregate.checkpoint()?;
    let mut seat = Seat::new(aggregate, FILESET)?;
    let mut changes = 0..;
    let mut change = || {
        let index = changes.next().unwrap_or_default();
        seat.create(*folder, &format!("g{index:07}"))?.answer?;
        let file = files.choose(&mut rand::rng()).copied();
        seat.touch(file.context("there are files")?)?;
        anyhow::Ok(())
    };
    let generation = aggregate.generation();
    let mut fits = 0;
    while aggregate.generation() == generation {
        change()?;
        fits += 1;
    }
    let generation = aggregate.generation();
    for _ in 0..fits * FULL_PERCENT / 100 {
        change()?;
    }
    ensure!(aggregate.generation() == generation, "a checkpoint has emptied the log");
    let last = aggregate.last();
    aggregate.wait(last)?;
    Ok(last)
}
