//! How long a snapshot takes, of few files and of many.
//!
//! What is measured is the call and, beside it, the call and its way to the disk. Between two snapshots a file is made,
//! so that each has something of its own; checkpoints go on behind.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use baton_aggregate::aggregate::Namesake;
use baton_aggregate::transaction::Operation;
use baton_types::{BootClock, Clock, FileName};

use super::Subject;
use super::ours::Ours;
use super::recovery::fill;
use super::table::{OWN, Table, Target, Unit};

/// Files of the fileset.
const FILES: [usize; 3] = [10, 10_000, 1_000_000];
/// Snapshots in a round.
const SNAPSHOTS: usize = 50;
/// Each of them.
const MILLIS_MAX: f64 = 1.0;

/// Measures it, with no more files than `files`.
pub(super) fn measure(
    directory: &Path,
    (files, rounds): (usize, usize),
    table: &mut Table,
    progress: &impl Fn(&str),
) -> Result<()> {
    for count in FILES.into_iter().filter(|count| *count <= files) {
        progress(&format!("snapshots of {count} files"));
        let mut ours = Ours::new(directory)?;
        let (_, folder) = fill(&ours, count)?;
        ours.settle()?;
        let mut seat = ours.seat()?;
        for round in 0..rounds {
            for index in 0..SNAPSHOTS {
                let name = format!("{round}.{index}");
                seat.create(folder, &name)?.answer?;
                let [taken, durable] = take(&ours, &name)?;
                for (what, took, target) in [
                    ("", taken, Some(Target::Most(MILLIS_MAX))),
                    (", durable", durable, None),
                ] {
                    let what = format!("snapshot of {count} files{what}");
                    let side = table.row(&what, Unit::Millis, target).side(OWN);
                    side.add(took.as_secs_f64() * 1e3);
                }
            }
        }
    }
    Ok(())
}

/// Takes one; how long until it was there, and until it was durable.
pub(super) fn take(ours: &Ours, name: &str) -> Result<[Duration; 2]> {
    let operation = Operation {
        time: BootClock.date(),
        ..Operation::default()
    };
    let (fileset, name) = (ours.fileset()?, FileName::parse(name.as_bytes())?);
    let begun = Instant::now();
    let done = fileset.take_snapshot(&operation, &name, Namesake::Refuse)?;
    let taken = begun.elapsed();
    done.answer?;
    ours.aggregate().wait(done.lsn)?;
    Ok([taken, begun.elapsed()])
}
