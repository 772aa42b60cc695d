//! The file server is killed again and again while programs work: none of them may notice, what was promised must be
//! there, and nothing may be there twice.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;
use rand::RngExt;

use crate::cell::Cell;

/// What each small file holds.
const DATA_BYTES: usize = 5_000;
/// Between a start and the next kill, at most: sometimes in the middle of coming back, sometimes long after.
const BETWEEN_MAX: Duration = Duration::from_millis(1_500);
/// A writer that has not gone on for so long hangs.
const STUCK: Duration = Duration::from_secs(60);
/// A step that takes longer met a kill, or a busy disk.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// What the writers have done so far.
#[derive(Debug, Default)]
struct Progress {
    is_over: AtomicBool,
    done: AtomicU64,
    /// Steps that took longer than others.
    pauses: Mutex<Vec<Duration>>,
}

impl Progress {
    /// A step that was begun then is done.
    fn step(&self, begun: Instant) {
        self.done.fetch_add(1, Ordering::Relaxed);
        let took = begun.elapsed();
        if took >= PAUSE_MIN {
            self.pauses.lock().push(took);
        }
    }

    /// How long programs stood still.
    fn pauses(&self) -> String {
        let mut pauses = self.pauses.lock().clone();
        pauses.sort();
        let Some(longest) = pauses.last() else {
            return format!("no step took {PAUSE_MIN:?}");
        };
        let share = |percent: usize| pauses[(pauses.len() - 1) * percent / 100].as_millis();
        format!(
            "{} steps took longer than {PAUSE_MIN:?}: half of them {} ms at most, 99 % {} ms, all {} ms",
            pauses.len(),
            share(50),
            share(99),
            longest.as_millis()
        )
    }
}

/// What a writer was promised.
struct Promised {
    files: u64,
    records: u64,
    directories: u64,
}

/// Kills `fs1` so often while programs work in `directories`, the same one as each mount shows it; and counts.
///
/// # Errors
/// An error in any program; something promised that is not there, or is there twice; what `salvage -check` finds.
pub async fn kill_again_and_again(cell: &mut Cell, directories: &[PathBuf], kills: usize) -> Result<String> {
    let progress = Arc::new(Progress::default());
    let mut writers = Vec::new();
    for (index, directory) in directories.iter().enumerate() {
        let own = directory.join(format!("writer-{index}"));
        fs::create_dir(&own)?;
        writers.push((own.clone(), Writer::start(own, progress.clone())));
    }
    for kill in 0..kills {
        let pause = rand::rng().random_range(Duration::ZERO..BETWEEN_MAX);
        tokio::time::sleep(pause).await;
        cell.kill("fs1").with_context(|| format!("kill {kill}"))?;
        cell.start("fs1")?;
        if kill % 5 == 4 {
            goes_on(cell, &progress, &writers).await?;
        }
    }
    goes_on(cell, &progress, &writers).await?;
    progress.is_over.store(true, Ordering::Relaxed);
    let mut promised = Vec::new();
    for (own, writer) in writers {
        let joined = tokio::task::spawn_blocking(move || writer.join()).await?;
        match joined {
            Ok(result) => promised.push((own, result?)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    let (mut files, mut records) = (0, 0);
    let last = directories.last().context("a writer needs a mount")?;
    for (own, promised) in promised {
        let name = own.file_name().context("a writer's directory has a name")?;
        check(&last.join(name), &promised)?;
        files += promised.files;
        records += promised.records + promised.directories;
    }
    salvage(cell)?;
    Ok(format!(
        "{kills} kills: {files} files and {records} other changes promised, 0 missing, 0 twice, salvage finds nothing; {}",
        progress.pauses()
    ))
}

/// Waits until every program has done something since now.
async fn goes_on(
    cell: &Cell,
    progress: &Arc<Progress>,
    writers: &[(PathBuf, JoinHandle<Result<Promised>>)],
) -> Result<()> {
    let (begun, before) = (Instant::now(), progress.done.load(Ordering::Relaxed));
    while progress.done.load(Ordering::Relaxed) < before + 10 {
        if writers.iter().any(|(_, writer)| writer.is_finished()) {
            // Its own error says more.
            return Ok(());
        }
        ensure!(
            begun.elapsed() < STUCK,
            "the programs hang since {STUCK:?}\n{}",
            cell.log_ends()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

struct Writer {
    directory: PathBuf,
    progress: Arc<Progress>,
    promised: Promised,
    journal: File,
}

impl Writer {
    fn start(directory: PathBuf, progress: Arc<Progress>) -> JoinHandle<Result<Promised>> {
        thread::spawn(move || {
            let path = directory.join("journal");
            let journal = OpenOptions::new().create_new(true).append(true).open(&path)?;
            let promised = Promised {
                files: 0,
                records: 0,
                directories: 0,
            };
            let mut writer = Writer {
                directory,
                progress,
                promised,
                journal,
            };
            while !writer.progress.is_over.load(Ordering::Relaxed) {
                writer.file()?;
                writer.record()?;
                writer.directory()?;
            }
            Ok(writer.promised)
        })
    }

    /// As mail is delivered: written, made safe, renamed.
    fn file(&mut self) -> Result<()> {
        let (begun, number) = (Instant::now(), self.promised.files);
        let (tmp, name) = (self.directory.join("tmp"), self.directory.join(format!("f{number}")));
        let mut file = File::create_new(&tmp).context("create")?;
        file.write_all(&contents(number)).context("write")?;
        file.sync_all().context("fsync")?;
        fs::rename(&tmp, &name).context("rename")?;
        self.promised.files += 1;
        self.progress.step(begun);
        Ok(())
    }

    /// A record at the end of a file: twice would show.
    fn record(&mut self) -> Result<()> {
        let begun = Instant::now();
        self.journal
            .write_all(&self.promised.records.to_le_bytes())
            .context("append")?;
        self.promised.records += 1;
        self.progress.step(begun);
        Ok(())
    }

    /// Made, moved, removed: each would be refused the second time.
    fn directory(&mut self) -> Result<()> {
        let begun = Instant::now();
        let (one, other) = (self.directory.join("one"), self.directory.join("other"));
        fs::create_dir(&one).context("mkdir")?;
        fs::hard_link(self.directory.join("f0"), one.join("link")).context("link")?;
        fs::rename(&one, &other).context("rename of a directory")?;
        fs::remove_file(other.join("link")).context("unlink")?;
        fs::remove_dir(&other).context("rmdir")?;
        self.promised.directories += 5;
        self.progress.step(begun);
        Ok(())
    }
}

fn contents(number: u64) -> Vec<u8> {
    number.to_le_bytes().iter().copied().cycle().take(DATA_BYTES).collect()
}

fn check(directory: &Path, promised: &Promised) -> Result<()> {
    for number in 0..promised.files {
        let path = directory.join(format!("f{number}"));
        let bytes = fs::read(&path).with_context(|| format!("promised: {}", path.display()))?;
        ensure!(
            bytes == contents(number),
            "{} holds other bytes than were promised",
            path.display()
        );
    }
    let mut journal = Vec::new();
    File::open(directory.join("journal"))?.read_to_end(&mut journal)?;
    let records = journal.as_chunks::<8>().0;
    for (at, record) in records.iter().enumerate() {
        ensure!(
            u64::from_le_bytes(*record) == at as u64,
            "record {at} of the journal is {}",
            u64::from_le_bytes(*record)
        );
    }
    ensure!(
        records.len() as u64 == promised.records && journal.len() % 8 == 0,
        "{} records were promised, {} bytes are there",
        promised.records,
        journal.len()
    );
    let names = fs::read_dir(directory)?.count() as u64;
    ensure!(
        names == promised.files + 1,
        "{names} names, {} were promised",
        promised.files + 1
    );
    Ok(())
}

/// With the server ended: what is on the disk.
fn salvage(cell: &mut Cell) -> Result<()> {
    cell.terminate("fs1")?;
    let disk = cell.places().disk("lfs01");
    let disk = disk.to_str().context("the directory's name is no text")?;
    let said = cell.administrator().run("salvage", &["-check", disk])?;
    if said.code != 0 {
        bail!("{said}");
    }
    cell.start("fs1")
}
