//! How long it takes to delete a snapshot and a fileset: until they are gone, durably, and until all their space is
//! given back.
//!
//! In service space comes back a step at a time, with a pause after each; here, in an aggregate without threads, the
//! steps follow one another, and a checkpoint is made where they wait for one.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use baton_aggregate::aggregate::{Aggregate, Reclaimed};
use baton_aggregate::fileset::catalog;
use baton_aggregate::format::Lsn;
use baton_aggregate::transaction::Operation;

use super::ours::{FILESET, Ours};
use super::recovery::FILES_PER_FOLDER;
use super::snapshot::take;
use super::table::{OWN, Table, Unit};
use super::{DATA_BYTES, Subject};

/// Files of the fileset, with data.
pub(super) const FILES: usize = 100_000;
/// Of so many one is written again after the snapshot: what that has alone.
const ONE_OF: usize = 10;

/// Measures it over a fileset of so many files.
pub(super) fn measure(
    directory: &Path,
    (files, rounds): (usize, usize),
    table: &mut Table,
    progress: &impl Fn(&str),
) -> Result<()> {
    progress(&format!("deletions of {files} files"));
    for _ in 0..rounds {
        let mut ours = Ours::new(directory)?;
        furnish(&mut ours, files)?;
        let (aggregate, _disk) = ours.into_quiet();
        let fileset = aggregate.fileset(FILESET)?;
        let snapshot = fileset.snapshots().pop().context("a snapshot was taken")?;
        let what = format!("snapshot of {files} files, {} written since", files / ONE_OF);
        delete(&aggregate, &what, table, || {
            let done = fileset.delete_snapshot(&Operation::default(), snapshot.id)?;
            done.answer?;
            Ok(done.lsn)
        })?;
        delete(&aggregate, &format!("fileset of {files} files"), table, || {
            Ok(aggregate.change_fileset(FILESET, &Operation::default(), |transaction| {
                catalog::hide(transaction, FILESET)
            })?)
        })?;
    }
    Ok(())
}

/// Files with data, a snapshot of them, and new data in some.
fn furnish(ours: &mut Ours, files: usize) -> Result<()> {
    let mut seat = ours.seat()?;
    let mut folder = ours.folder(&mut seat)?;
    let mut data = vec![0; DATA_BYTES];
    rand::fill(&mut data[..]);
    let mut again = Vec::with_capacity(files / ONE_OF);
    for index in 0..files {
        if index % FILES_PER_FOLDER == 0 {
            folder = ours.folder(&mut seat)?;
        }
        let file = seat.create(folder, &format!("f{index:07}"))?.answer?.fid;
        seat.write(file, 0, &data)?;
        if index % ONE_OF == 0 {
            again.push(file);
        }
    }
    ours.settle()?;
    take(ours, "then")?;
    for file in again {
        seat.write(file, 0, &data)?;
    }
    ours.settle()
}

fn delete(aggregate: &Aggregate, what: &str, table: &mut Table, delete: impl FnOnce() -> Result<Lsn>) -> Result<()> {
    let mut add = |what: String, since: Instant| {
        let side = table.row(&what, Unit::Millis, None).side(OWN);
        side.add(since.elapsed().as_secs_f64() * 1e3);
    };
    let begun = Instant::now();
    let lsn = delete()?;
    aggregate.wait(lsn)?;
    add(format!("deletion of a {what}"), begun);
    let (begun, mut given) = (Instant::now(), 0);
    loop {
        match aggregate.reclaim()? {
            Reclaimed::Blocks(blocks) => given += blocks,
            Reclaimed::Later => aggregate.checkpoint()?,
            Reclaimed::Nothing => break,
        }
    }
    ensure!(given > 0, "no space was given back by {what}");
    add(format!("deletion of a {what}: until its space is given back"), begun);
    Ok(())
}
