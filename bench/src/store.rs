//! The store beside ext4 with its journal and btrfs, on disks of equal making, in one run.
//!
//! Every measurement is done by all three in turn, each time another one first, before the next measurement begins:
//! a machine that is slower for a while is so for all of them. What one has not finished is finished before the next
//! one's turn. What only the store can do (verify, recover, make checkpoints) is measured after that.

mod alone;
mod deletion;
mod difference;
pub(crate) mod disk;
mod mounted;
mod ours;
mod recovery;
mod scale;
mod seat;
mod snapshot;
pub(crate) mod table;

use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

pub use table::{Report, print};

use crate::figures::Samples;
use disk::FileSystem;
use mounted::{Cache, Mounted};
use ours::Ours;
use table::{Against, Table, Target, Unit};

/// What each small file holds.
const DATA_BYTES: usize = 4 << 10;
/// One write or read of a long file.
const PIECE_BYTES: usize = 1 << 20;
/// Files that are made one after another before they are made durable.
const MANY: usize = 5_000;
/// A long file.
const LONG_BYTES: u64 = 1 << 30;
/// Disks at once.
const DISKS: u64 = 3;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the images lie; `None`: where the programs are.
    pub directory: Option<PathBuf>,
    /// How often.
    pub rounds: usize,
}

/// Who does what.
#[derive(Clone, Copy, Debug)]
struct Work {
    threads: usize,
    per_thread: usize,
}

impl Work {
    /// Enough for a 99th percentile in a few rounds, and for most of a second on a disk that takes a millisecond.
    const ALL: [Work; 3] = [Work::of(1, 400), Work::of(4, 200), Work::of(16, 100)];

    const fn of(threads: usize, per_thread: usize) -> Work {
        Work { threads, per_thread }
    }
}

/// What is measured: a place for files.
trait Subject {
    /// As people call it.
    fn name(&self) -> &'static str;
    /// Each thread makes files with data in a directory of its own, each durable before the next.
    fn create_durable(&mut self, work: Work) -> Result<Samples>;
    /// Makes files with data: how long until they were there, and until they were durable.
    fn create_many(&mut self, count: usize) -> Result<[Duration; 2]>;
    /// Makes a long file, durable at the end.
    fn write_long(&mut self, bytes: u64) -> Result<Duration>;
    /// Reads it from the disk.
    fn read_long(&mut self, bytes: u64) -> Result<Duration>;
    /// Removes it.
    fn remove_long(&mut self) -> Result<()>;
    /// Finishes what goes on behind.
    fn settle(&mut self) -> Result<()>;
}

/// Measures all of it; the largest fileset has so many `files`.
///
/// # Errors
/// What this machine lacks; what a disk says.
pub fn measure(plan: &Plan, files: usize, progress: impl Fn(&str)) -> Result<Report> {
    ensure!(plan.rounds > 0, "nothing is measured in no rounds");
    let directory = match &plan.directory {
        Some(directory) => directory.clone(),
        None => std::env::current_exe()?
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default(),
    };
    disk::check(&directory, DISKS)?;
    let (mut table, mut many) = (Table::default(), Table::default());
    // First: what others have used and given back would hide what it takes.
    scale::measure(&directory, files, &mut many, &progress)?;
    side_by_side_with_others(&directory, plan.rounds, &mut table, &progress)?;
    alone::measure(&directory, plan.rounds, &mut table, &progress)?;
    recovery::measure(&directory, (files, plan.rounds), &mut table, &progress)?;
    snapshot::measure(&directory, (files, plan.rounds), &mut table, &progress)?;
    difference::measure(&directory, (files, plan.rounds), &mut table, &progress)?;
    let deleted = files.min(deletion::FILES);
    deletion::measure(&directory, (deleted, plan.rounds), &mut table, &progress)?;
    table.append(many);
    table.report("baton.bench.store/1", plan.rounds)
}

fn side_by_side_with_others(
    directory: &Path,
    rounds: usize,
    table: &mut Table,
    progress: &impl Fn(&str),
) -> Result<()> {
    progress("disks for the store, ext4 and btrfs");
    let mut ours = Ours::new(directory)?;
    let [mut ext4, mut btrfs] = [
        Mounted::new(FileSystem::Ext4, directory)?,
        Mounted::new(FileSystem::Btrfs, directory)?,
    ];
    for round in 0..rounds {
        progress(&format!("round {} of {rounds}", round + 1));
        for work in Work::ALL {
            let mut all: [&mut dyn Subject; 3] = [&mut ours, &mut ext4, &mut btrfs];
            in_turn(&mut all, round, |subject| creates_durable(subject, work, table))?;
        }
        let mut all: [&mut dyn Subject; 3] = [&mut ours, &mut ext4, &mut btrfs];
        in_turn(&mut all, round, |subject| creates(subject, table))?;
        for cache in [Cache::Kept, Cache::Bypassed] {
            ext4.set_cache(cache);
            btrfs.set_cache(cache);
            let mut all: [&mut dyn Subject; 3] = [&mut ours, &mut ext4, &mut btrfs];
            in_turn(&mut all, round, |subject| long_file(subject, cache, table))?;
        }
    }
    Ok(())
}

/// Lets each have its turn, in an order that changes with the round.
fn in_turn(
    subjects: &mut [&mut dyn Subject],
    round: usize,
    mut measure: impl FnMut(&mut dyn Subject) -> Result<()>,
) -> Result<()> {
    let count = subjects.len();
    for index in 0..count {
        let subject = &mut *subjects[(round + index) % count];
        measure(subject)
            .and_then(|()| subject.settle())
            .with_context(|| subject.name())?;
    }
    Ok(())
}

fn creates_durable(subject: &mut dyn Subject, work: Work, table: &mut Table) -> Result<()> {
    let what = format!("create, write 4 KiB, durable: {} threads", work.threads);
    let target = match work.threads {
        1 => Some(Target::at_least(2.0, Against::Ext4)),
        16 => Some(Target::at_least(1.0, Against::Ext4)),
        _ => None,
    };
    let samples = subject.create_durable(work)?;
    let rate = samples.figures().per_second.unwrap_or_default();
    let side = table.row(&what, Unit::PerSecond, target).side(subject.name());
    side.add(rate);
    side.add_each(samples);
    Ok(())
}

fn creates(subject: &mut dyn Subject, table: &mut Table) -> Result<()> {
    let whats = ["5,000 creates of 4 KiB", "5,000 creates of 4 KiB, then durable"];
    for (what, took) in whats.iter().zip(subject.create_many(MANY)?) {
        let target = Some(Target::at_least(2.0, Against::Ext4));
        let side = table.row(what, Unit::Millis, target).side(subject.name());
        side.add(took.as_secs_f64() * 1e3);
    }
    Ok(())
}

fn long_file(subject: &mut dyn Subject, cache: Cache, table: &mut Table) -> Result<()> {
    let way = match cache {
        Cache::Kept => "",
        Cache::Bypassed => "; the others by direct I/O",
    };
    let rate = |took: Duration| LONG_BYTES as f64 / 1e6 / took.as_secs_f64();
    let written = rate(subject.write_long(LONG_BYTES)?);
    subject.settle()?;
    let read = rate(subject.read_long(LONG_BYTES)?);
    subject.remove_long()?;
    for (what, rate, least) in [("write", written, 1.0), ("read", read, 0.8)] {
        let what = format!("sequential {what} of 1 GiB{way}");
        let target = Some(Target::at_least(least, Against::Ext4));
        table
            .row(&what, Unit::MegabytesPerSecond, target)
            .side(subject.name())
            .add(rate);
    }
    Ok(())
}

/// Lets each of `seats` do `work` so often, side by side; each time is measured, and all together.
fn side_by_side<T: Send>(
    seats: Vec<T>,
    count: usize,
    work: impl Fn(&mut T, usize) -> Result<()> + Sync,
) -> Result<Samples> {
    let ready = Barrier::new(seats.len());
    let (ready, work) = (&ready, &work);
    let run = move |mut seat: T| {
        ready.wait();
        let begun = Instant::now();
        let mut each = Vec::with_capacity(count);
        for index in 0..count {
            let begun = Instant::now();
            work(&mut seat, index)?;
            each.push(begun.elapsed());
        }
        anyhow::Ok((begun, each, Instant::now()))
    };
    let ended: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = seats.into_iter().map(|seat| scope.spawn(move || run(seat))).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let (mut begins, mut each, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for ended in ended {
        let (begun, own, end) = ended.map_err(|_| anyhow::anyhow!("a thread of the bench panicked"))??;
        begins.push(begun);
        each.extend(own);
        ends.push(end);
    }
    let (Some(begun), Some(end)) = (begins.iter().min(), ends.iter().max()) else {
        return Ok(Samples::default());
    };
    Ok(Samples::new(each, end.duration_since(*begun)))
}
