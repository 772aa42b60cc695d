//! Programs at work in real mounts, and what they were promised.
//!
//! Each is a thread that does one small thing after the other and notes what it was told is safe. None of them looks
//! for faults: an error that any call gives ends the program, and fails whoever audits it.

mod append;
mod copy;
mod locks;
mod mail;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::cell::Cell;

/// Between two steps of a program: a steady stream, and not all that two busy cores can do.
const PACE: Duration = Duration::from_millis(5);

/// A program: what it does again and again, and what must be there in the end.
trait Program: Send {
    /// Does one thing; a promise that it got is noted by the meter.
    fn step(&mut self, meter: &Meter) -> Result<()>;

    /// Counts what is there of what was promised, as `elsewhere`, the same directory by another mount, shows it.
    fn audit(&self, elsewhere: &Path) -> Result<Count>;
}

/// One promise: when it was asked for, and how long that took.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// When the program asked.
    pub asked: Instant,
    /// Until it was told.
    pub took: Duration,
}

/// What a program has done so far.
#[derive(Debug, Default)]
struct Meter {
    /// Held while a step is under way.
    turn: Mutex<()>,
    steps: AtomicU64,
    waits: Mutex<Vec<Wait>>,
}

impl Meter {
    /// What was asked for then is promised now.
    fn promised(&self, asked: Instant) {
        let took = asked.elapsed();
        self.waits.lock().push(Wait { asked, took });
    }
}

/// What became of what was promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Promises.
    pub promised: u64,
    /// Of these, kept.
    pub found: u64,
    /// There more than once, or held by two at once.
    pub twice: u64,
    /// Other than was written, in another order, or never written at all.
    pub damaged: u64,
}

impl Count {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Count) -> Count {
        Count {
            promised: self.promised + other.promised,
            found: self.found + other.found,
            twice: self.twice + other.twice,
            damaged: self.damaged + other.damaged,
        }
    }

    /// Itself, if all is as was promised.
    ///
    /// # Errors
    /// The count in words, if not.
    pub fn checked(self) -> Result<Count> {
        let is_well = self.promised > 0 && self.found == self.promised && self.twice == 0 && self.damaged == 0;
        ensure!(is_well, "{self}");
        Ok(self)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} promised, {} found, {} twice, {} damaged",
            self.promised, self.found, self.twice, self.damaged
        )
    }
}

/// A program that runs.
struct Running {
    name: String,
    /// Where it works, as another mount shows it.
    elsewhere: PathBuf,
    meter: Arc<Meter>,
    thread: JoinHandle<Result<Box<dyn Program>>>,
}

/// Programs that run.
pub struct Work {
    is_over: Arc<AtomicBool>,
    rests: Arc<AtomicBool>,
    programs: Vec<Running>,
}

impl Work {
    /// All kinds of them, in `directories`: the same one, as each mount shows it.
    ///
    /// # Errors
    /// When they cannot begin.
    pub fn begin(directories: &[PathBuf]) -> Result<Work> {
        let mut work = Work::none();
        let [first, .., last] = directories else {
            anyhow::bail!("programs work in two mounts, so that each sees what the other does");
        };
        for (index, own) in directories.iter().enumerate() {
            let other = if index == 0 { last } else { first };
            work.append(&format!("journal-{index}"), own, other)?;
            let name = format!("mail-{index}");
            work.start(&name, mail::Delivery::begin(&own.join(&name))?, other.join(&name));
        }
        work.start("copies", copy::Copier::begin(first, last)?, last.to_owned());
        for (index, holder) in locks::holders(directories)?.into_iter().enumerate() {
            work.start(&format!("holder-{index}"), holder, last.to_owned());
        }
        Ok(work)
    }

    /// No programs yet.
    pub fn none() -> Work {
        Work {
            is_over: Arc::default(),
            rests: Arc::default(),
            programs: Vec::new(),
        }
    }

    /// Starts one that appends to a file called `name` in `own`, to be read in `other` in the end.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn append(&mut self, name: &str, own: &Path, other: &Path) -> Result<()> {
        self.start(name, append::Appender::begin(&own.join(name))?, other.join(name));
        Ok(())
    }

    fn start(&mut self, name: &str, mut program: impl Program + 'static, elsewhere: PathBuf) {
        let meter = Arc::<Meter>::default();
        let (is_over, rests, own) = (self.is_over.clone(), self.rests.clone(), meter.clone());
        let thread = thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let turn = own.turn.lock();
                if !rests.load(Ordering::Relaxed) {
                    program.step(&own)?;
                    own.steps.fetch_add(1, Ordering::Relaxed);
                }
                drop(turn);
                thread::sleep(PACE);
            }
            Ok(Box::new(program) as Box<dyn Program>)
        });
        self.programs.push(Running {
            name: name.to_owned(),
            elsewhere,
            meter,
            thread,
        });
    }

    /// Waits until every program has done two things that it began since now, or one has ended at an error.
    ///
    /// # Errors
    /// When one never does.
    pub async fn goes_on(&self, cell: &Cell) -> Result<()> {
        let steps = |program: &Running| program.meter.steps.load(Ordering::Relaxed);
        let before: Vec<u64> = self.programs.iter().map(steps).collect();
        let late = || {
            let late = self.programs.iter().zip(&before);
            late.filter(|(program, before)| steps(program) < **before + 2)
                .map(|(program, _)| program.name.as_str())
                .collect::<Vec<_>>()
        };
        let has_failed = || self.programs.iter().any(|program| program.thread.is_finished());
        let waited = cell.wait("every program goes on", async || {
            (has_failed() || late().is_empty()).then_some(())
        });
        waited
            .await
            .with_context(|| format!("these wait: {}", late().join(", ")))
    }

    /// Every program ends the step that it is at, and begins no other until [`Work::resume`].
    pub fn rest(&self) {
        self.rests.store(true, Ordering::Relaxed);
        for program in &self.programs {
            drop(program.meter.turn.lock());
        }
    }

    /// All go on.
    pub fn resume(&self) {
        self.rests.store(false, Ordering::Relaxed);
    }

    /// What was promised since this was last asked.
    pub fn waits(&self) -> Vec<Wait> {
        let taken = self
            .programs
            .iter()
            .map(|program| std::mem::take(&mut *program.meter.waits.lock()));
        taken.flatten().collect()
    }

    /// Ends all programs, and counts by the other mounts.
    ///
    /// # Errors
    /// An error that a program met, or that the count meets.
    pub async fn finish(mut self) -> Result<Count> {
        self.is_over.store(true, Ordering::Relaxed);
        let audits = std::mem::take(&mut self.programs).into_iter().map(|running| {
            let audit = move || {
                let program = match running.thread.join() {
                    Ok(ended) => ended?,
                    Err(panic) => std::panic::resume_unwind(panic),
                };
                program.audit(&running.elsewhere)
            };
            (running.name, tokio::task::spawn_blocking(audit))
        });
        let mut count = Count::default();
        for (name, audit) in audits.collect::<Vec<_>>() {
            count = count.and(audit.await?.with_context(|| format!("program {name}"))?);
        }
        Ok(count)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
