//! What only the store does: it verifies what it reads, and makes checkpoints behind what is done.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use baton_aggregate::buffer::Buffer;
use baton_aggregate::device::{Access, Device, FileDevice};
use baton_aggregate::file;
use rand::seq::{IndexedRandom, SliceRandom};

use super::ours::Ours;
use super::table::{Against, OWN, Table, Target, Unit};
use super::{DATA_BYTES, LONG_BYTES, Subject};
use crate::figures::Samples;

/// Reads in a round, by turns of so many.
const READS: usize = 4_000;
const READS_PER_TURN: usize = 100;
/// How long files are made at full speed in a round.
const LONG: Duration = Duration::from_secs(3);
/// Directories that files are made in at random.
const FOLDERS: usize = 1_000;

/// Measures it.
pub(super) fn measure(directory: &Path, rounds: usize, table: &mut Table, progress: &impl Fn(&str)) -> Result<()> {
    let mut ours = Ours::new(directory)?;
    progress("random reads, verified and not");
    reads(&mut ours, rounds, table)?;
    progress("creates at full speed");
    let what = |folders: usize| match folders {
        1 => "creates at full speed, checkpoints behind: one directory".to_owned(),
        folders => format!("creates at full speed, checkpoints behind: {folders} directories at random"),
    };
    for _ in 0..rounds {
        for folders in [1, FOLDERS] {
            let samples = full_speed(&ours, folders)?;
            let rate = samples.figures().per_second.unwrap_or_default();
            let side = table.row(&what(folders), Unit::PerSecond, None).side(OWN);
            side.add(rate);
            side.add_each(samples);
            ours.settle()?;
        }
    }
    Ok(())
}

/// Random reads of the long file, in turns with reads of as many random blocks of its disk that nobody verifies. Each
/// offset is used once: nothing comes from memory.
fn reads(ours: &mut Ours, rounds: usize, table: &mut Table) -> Result<()> {
    let long = ours.long(LONG_BYTES)?;
    ours.settle()?;
    let fileset = ours.fileset()?;
    let device = FileDevice::open(ours.path(), Access::Read)?;
    let mut block = Buffer::scratch(DATA_BYTES);
    let mut offsets: Vec<u64> = (0..LONG_BYTES).step_by(DATA_BYTES).collect();
    offsets.shuffle(&mut rand::rng());
    let mut turns = offsets.chunks(READS_PER_TURN).cycle();
    let mut turn = |samples: &mut Samples, read: &mut dyn FnMut(u64) -> Result<()>| {
        let (begun, mut each) = (Instant::now(), Vec::new());
        for offset in turns.next().into_iter().flatten() {
            let begun = Instant::now();
            read(*offset)?;
            each.push(begun.elapsed());
        }
        samples.extend(Samples::new(each, begun.elapsed()));
        anyhow::Ok(())
    };
    for _ in 0..rounds {
        let (mut verified, mut unverified) = (Samples::default(), Samples::default());
        for _ in 0..READS / READS_PER_TURN {
            turn(&mut verified, &mut |offset| {
                let read = file::read(&fileset, long, offset, DATA_BYTES)?;
                ensure!(read.len() == DATA_BYTES, "a read came back short");
                Ok(())
            })?;
            turn(&mut unverified, &mut |offset| Ok(device.read(offset, &mut block)?))?;
        }
        let target = Some(Target::at_least(0.9, Against::Unverified));
        let row = table.row("random reads of 4 KiB, verified", Unit::Micros, target);
        for (name, samples) in [(OWN, verified), (Against::Unverified.name(), unverified)] {
            let side = row.side(name);
            side.add(samples.figures().p50_micros);
            side.add_each(samples);
        }
    }
    Ok(())
}

fn full_speed(ours: &Ours, folders: usize) -> Result<Samples> {
    let mut seat = ours.seat()?;
    let folders = (0..folders)
        .map(|_| ours.folder(&mut seat))
        .collect::<Result<Vec<_>>>()?;
    let (begun, mut each) = (Instant::now(), Vec::new());
    let mut random = rand::rng();
    while begun.elapsed() < LONG {
        let folder = folders.choose(&mut random).copied().context("there is a directory")?;
        let name = format!("f{:09}", each.len());
        let begun = Instant::now();
        seat.create(folder, &name)?.answer?;
        each.push(begun.elapsed());
    }
    Ok(Samples::new(each, begun.elapsed()))
}
