//! Files in a mounted cell, alone in their fileset, beside local ext4 with its journal, in one run.
//!
//! Each measurement is done by both in turn, each time the other one first. What is read cold is read after the
//! kernel was told to drop all that it caches; the store of the file server has a cache of its own, which stays. What
//! the kernel's way to a daemon costs by itself is shown beside, by a file system that does nothing. Both disks are loop devices over images in one directory; the cell's is seen by one file server.

mod bare;
mod work;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use baton_tests::cell::{Builder, Trust};
use baton_tests::suites::Stage;

use crate::store::disk::{self, Disk, FileSystem, WRITTEN_BYTES};
use crate::store::table::{Against, Table, Target, Unit};
use crate::store::{Plan, Report};
use work::{Archive, Place};

/// Disks at once: one for ext4, as much again for the cell and for what is unpacked.
const DISKS: u64 = 2;

/// A measurement: what, in which unit, how many times as good as ext4 it is to be, and what does it.
type Work = (&'static str, Unit, Option<f64>, fn(&mut Place, &Archive) -> Result<f64>);

const CREATES: Work = ("5,000 creates of 4 KiB", Unit::Millis, Some(0.1), |place, _| {
    place.create()
});
const DELIVERIES: Work = (
    "delivery into a Maildir: write, fsync, rename",
    Unit::PerSecond,
    Some(1.0 / 1.5),
    |place, _| place.deliver(),
);
const UNTAR: Work = ("untar", Unit::Millis, Some(0.25), Place::untar);

/// In this order: what one makes, the next one finds.
const WORKS: [Work; 13] = [
    CREATES,
    ("stat of 5,000 files, cold", Unit::Millis, None, |place, _| {
        place.stat_cold()
    }),
    ("stat of 5,000 files, warm", Unit::PerSecond, Some(0.5), |place, _| {
        place.stat_warm()
    }),
    ("read of 5,000 files, cold", Unit::Millis, None, |place, _| {
        place.read_cold()
    }),
    ("read of 5,000 files, warm", Unit::Millis, None, |place, _| {
        place.read_warm()
    }),
    DELIVERIES,
    UNTAR,
    ("rm -rf of that tree", Unit::Millis, None, |place, _| {
        place.remove_tree()
    }),
    (
        "sequential write of 1 GiB",
        Unit::MegabytesPerSecond,
        Some(0.4),
        |place, _| place.write_long(),
    ),
    (
        "sequential read of 1 GiB, cold",
        Unit::MegabytesPerSecond,
        Some(0.4),
        |place, _| place.read_long(),
    ),
    (
        "sequential read of 1 GiB, warm",
        Unit::MegabytesPerSecond,
        None,
        |place, _| place.read_again(),
    ),
    ("random reads of 4 KiB, cold", Unit::PerSecond, None, |place, _| {
        place.read_random()
    }),
    ("random writes of 4 KiB", Unit::PerSecond, None, |place, _| {
        place.write_random()
    }),
];

/// Measures all of it.
///
/// # Errors
/// What this machine lacks; what a command, a disk or the mount says.
pub async fn measure(plan: &Plan, progress: impl Fn(&str)) -> Result<Report> {
    ensure!(plan.rounds > 0, "nothing is measured in no rounds");
    let directory = match &plan.directory {
        Some(directory) => directory.clone(),
        None => std::env::current_exe()?
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default(),
    };
    disk::check(&directory, DISKS)?;
    progress("a disk with ext4, a cell, and a tree to unpack");
    let disk = Disk::new(&directory, WRITTEN_BYTES)?;
    let ext4 = disk.format(FileSystem::Ext4)?;
    let cell = directory.join(format!("bench-{:016x}", rand::random::<u64>()));
    let stage = Stage::set(Builder::default().directory(cell), 1, Trust::UsersAndRoot).await?;
    let archive = Archive::new()?;
    let rounds = plan.rounds;
    let pids = pids(&stage)?;
    let mut table = Table::default();
    for round in 0..rounds {
        progress(&format!("round {} of {rounds}", round + 1));
        let mut ours = Place::new("baton", stage.first().join(format!("round-{round}")))?;
        let mut theirs = Place::new("ext4", ext4.path().join(format!("round-{round}")))?;
        for work in &WORKS {
            let mut both = [&mut ours, &mut theirs];
            if round % 2 == 1 {
                both.reverse();
            }
            for place in both {
                one(work, place, &archive, &pids, &mut table).with_context(|| format!("{}: {}", place.name, work.0))?;
            }
        }
        alone(&archive, &mut table)?;
        ours.remove()?;
        theirs.remove()?;
    }
    stage.cell.down()?;
    table.report("baton.bench.files/1", rounds)
}

/// What the kernel and the way to a daemon cost alone, where that decides.
fn alone(archive: &Archive, table: &mut Table) -> Result<()> {
    let bare = bare::Mounted::new()?;
    let mut place = Place::new("bare", bare.path().join("round"))?;
    for (what, unit, _, measured) in [CREATES, DELIVERIES, UNTAR] {
        let figure = measured(&mut place, archive)?;
        table.row(what, unit, None).side("bare").add(figure);
    }
    Ok(())
}

fn one(work: &Work, place: &mut Place, archive: &Archive, pids: &Pids, table: &mut Table) -> Result<()> {
    let (what, unit, least, measured) = *work;
    let before = pids.spent()?;
    let figure = measured(place, archive)?;
    // What was taken and not done yet costs, too, and is in nobody else's way.
    place.settle()?;
    let target = least.map(|least| Target::at_least(least, Against::Ext4));
    table.row(what, unit, target).side(place.name).add(figure);
    if place.name == "baton" {
        let after = pids.spent()?;
        for (index, who) in ["client", "server"].into_iter().enumerate() {
            let spent = after[index].saturating_sub(before[index]);
            let each = spent.as_secs_f64() * 1e6 / place.count as f64;
            let what = format!("{what}: CPU of the {who} for each");
            table.row(&what, Unit::Micros, None).side("baton").add(each);
        }
    }
    Ok(())
}

/// The processes of client and server.
struct Pids {
    client: Vec<u32>,
    server: Vec<u32>,
}

fn pids(stage: &Stage) -> Result<Pids> {
    let of = |machine: &str| -> Result<Vec<u32>> {
        let process = stage.cell.process(machine).context("it has a process")?;
        Ok(family(process.pid()))
    };
    Ok(Pids {
        client: of("client1")?,
        server: of("fs1")?,
    })
}

/// A process and its children: a daemon has a guard.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
        all.extend(family(child));
    }
    all
}

impl Pids {
    /// CPU time of each so far.
    fn spent(&self) -> Result<[Duration; 2]> {
        Ok([spent(&self.client)?, spent(&self.server)?])
    }
}

fn spent(pids: &[u32]) -> Result<Duration> {
    let mut all = Duration::ZERO;
    for pid in pids {
        // Of the scheduler, in nanoseconds, thread by thread: /proc/PID/stat counts in hundredths of a second.
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let path: PathBuf = task?.path().join("schedstat");
            let text = fs::read_to_string(path).unwrap_or_default();
            let nanos = text.split(' ').next().and_then(|word| word.parse().ok());
            all += Duration::from_nanos(nanos.unwrap_or(0));
        }
    }
    Ok(all)
}
