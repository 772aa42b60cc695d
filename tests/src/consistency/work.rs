//! The work: threads at all mounts, random operations on the same few objects, and the judgement of what came of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::history::{Object, Timed, When, check};
use super::objects::{Block, BlockCall, Name, NameCall, Size, SizeCall, Tail, TailCall};

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One directory, as each of the mounts shows it; empty at the start.
    pub directories: Vec<PathBuf>,
    /// Threads at each of them.
    pub threads: usize,
    /// Operations in all.
    pub operations: u64,
    /// Decides them.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Operations done, each explained.
    pub operations: u64,
    /// Objects judged.
    pub objects: usize,
}

/// A round works on so many objects of each sort, and then they are judged: histories stay short.
const ROUND_OPERATIONS: u64 = 4_000;
const BLOCKS: u64 = 4;
const NAMES: u64 = 4;
/// Each block has its own page; only its first word is used, because no file system promises that a reader sees more
/// than a word of a write at once.
const BLOCK_BYTES: u64 = 4_096;
const RECORD_BYTES: usize = 8;
const SIZE_MAX: u64 = 20_000;

/// Does `plan`, and judges it.
///
/// # Errors
/// An operation that failed otherwise than its object can explain; a history that nothing explains, with the calls
/// around the place.
pub fn run(plan: &Plan) -> Result<Verdict> {
    ensure!(!plan.directories.is_empty(), "no directory to work in");
    let mut verdict = Verdict {
        operations: 0,
        objects: 0,
    };
    let mut round = 0;
    while verdict.operations < plan.operations {
        let operations = ROUND_OPERATIONS.min(plan.operations - verdict.operations);
        verdict.objects +=
            one_round(plan, round, operations).with_context(|| format!("round {round} of seed {}", plan.seed))?;
        verdict.operations += operations;
        round += 1;
    }
    Ok(verdict)
}

/// What one thread saw, by object.
#[derive(Default)]
struct Seen {
    blocks: Vec<(u64, Timed<BlockCall>)>,
    names: Vec<(u64, Timed<NameCall>)>,
    tail: Vec<Timed<TailCall>>,
    size: Vec<Timed<SizeCall>>,
}

/// What a thread works with.
struct Worker {
    /// Which mount, from 1 on.
    mount: usize,
    directory: PathBuf,
    rng: StdRng,
    clock: Instant,
    /// Values that nobody else writes.
    values: Arc<AtomicU64>,
    blocks: File,
    tail: File,
    seen: Seen,
}

fn one_round(plan: &Plan, round: u64, operations: u64) -> Result<usize> {
    let name = format!("round-{round}");
    let first = plan.directories[0].join(&name);
    fs::create_dir(&first).with_context(|| first.display().to_string())?;
    for file in ["blocks", "tail", "size"] {
        File::create_new(first.join(file))?;
    }
    OpenOptions::new()
        .write(true)
        .open(first.join("blocks"))?
        .set_len(BLOCKS * BLOCK_BYTES)?;
    // Beside the logs of the cell it says where in them a call was.
    let (clock, began) = (Instant::now(), Timestamp::now());
    let values = Arc::new(AtomicU64::new(1));
    let count = (plan.directories.len() * plan.threads) as u64;
    let mut workers = Vec::new();
    for index in 0..count {
        let mount = index as usize % plan.directories.len();
        let directory = plan.directories[mount].join(&name);
        let open = |file: &str, append| {
            let path = directory.join(file);
            let opened = OpenOptions::new().read(true).write(true).append(append).open(&path);
            opened.with_context(|| path.display().to_string())
        };
        let worker = Worker {
            mount: mount + 1,
            blocks: open("blocks", false)?,
            tail: open("tail", true)?,
            rng: StdRng::seed_from_u64(plan.seed ^ round << 16 ^ index << 48),
            clock,
            values: values.clone(),
            seen: Seen::default(),
            directory,
        };
        let share = operations / count + u64::from(index < operations % count);
        workers.push(thread::spawn(move || worker.work(share)));
    }
    let objects = judge(all(workers)?).with_context(|| format!("counted from {began}"))?;
    fs::remove_dir_all(&first).with_context(|| first.display().to_string())?;
    Ok(objects)
}

/// What all of them saw; else what each of them failed with, since one failure may be the cause of another.
fn all(workers: Vec<JoinHandle<Result<Seen>>>) -> Result<Vec<Seen>> {
    let (mut seen, mut failures) = (Vec::new(), Vec::new());
    for worker in workers {
        match worker.join() {
            Ok(Ok(result)) => seen.push(result),
            Ok(Err(failure)) => failures.push(format!("{failure:#}")),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    match failures[..] {
        [] => Ok(seen),
        _ => bail!("{}", failures.join("\n")),
    }
}

fn judge(seen: Vec<Seen>) -> Result<usize> {
    let (mut blocks, mut names): (Vec<Vec<_>>, Vec<Vec<_>>) = Default::default();
    blocks.resize_with(BLOCKS as usize, Vec::new);
    names.resize_with(NAMES as usize, Vec::new);
    let (mut tail, mut size) = (Vec::new(), Vec::new());
    for seen in seen {
        seen.blocks
            .into_iter()
            .for_each(|(at, call)| blocks[at as usize].push(call));
        seen.names
            .into_iter()
            .for_each(|(at, call)| names[at as usize].push(call));
        tail.extend(seen.tail);
        size.extend(seen.size);
    }
    for (at, calls) in blocks.iter().enumerate() {
        explain(&format!("block {at}"), &Block, calls)?;
    }
    for (at, calls) in names.iter().enumerate() {
        explain(&format!("name {at}"), &Name, calls)?;
    }
    explain("the end of a file", &Tail, &tail)?;
    explain("a file's size", &Size, &size)?;
    Ok(blocks.len() + names.len() + 2)
}

fn explain<O: Object>(what: &str, object: &O, calls: &[Timed<O::Call>]) -> Result<()> {
    match check(object, calls) {
        Ok(()) => Ok(()),
        Err(violation) => bail!("{what}: no order explains the last of\n{}", violation.lines.join("\n")),
    }
}

impl Worker {
    fn work(mut self, operations: u64) -> Result<Seen> {
        for _ in 0..operations {
            match self.rng.random_range(0..100) {
                0..20 => self.write_block(),
                20..40 => self.read_block(),
                40..50 => self.link(),
                50..57 => self.rename(),
                57..67 => self.unlink(),
                67..77 => self.read_name(),
                77..80 => self.list(),
                80..84 => self.append(),
                84..88 => self.read_tail(),
                88..94 => self.truncate(),
                _ => self.stat(),
            }
            .with_context(|| self.directory.display().to_string())?;
        }
        Ok(self.seen)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::Relaxed)
    }

    fn timed<T>(&mut self, work: impl FnOnce(&mut Worker) -> Result<T>) -> Result<(T, When)> {
        let (mount, begun) = (self.mount, self.now());
        let result = work(self)?;
        let ended = self.now();
        Ok((result, When { mount, begun, ended }))
    }

    fn write_block(&mut self) -> Result<()> {
        let (at, value) = (self.rng.random_range(0..BLOCKS), self.value());
        let bytes: Vec<u8> = value.to_le_bytes().repeat(BLOCK_BYTES as usize / 8);
        let ((), when) = self.timed(|me| {
            me.blocks
                .write_all_at(&bytes, at * BLOCK_BYTES)
                .context("write of a block")
        })?;
        let call = BlockCall::Write(value);
        self.seen.blocks.push((at, Timed { when, call }));
        Ok(())
    }

    fn read_block(&mut self) -> Result<()> {
        let at = self.rng.random_range(0..BLOCKS);
        let mut bytes = [0; 8];
        let mut read = |me: &mut Worker| me.blocks.read_exact_at(&mut bytes, at * BLOCK_BYTES);
        let ((), when) = self.timed(|me| read(me).context("read of a block"))?;
        let call = BlockCall::Read(u64::from_le_bytes(bytes));
        self.seen.blocks.push((at, Timed { when, call }));
        Ok(())
    }

    fn name(&mut self) -> (u64, PathBuf) {
        let at = self.rng.random_range(0..NAMES);
        (at, self.directory.join(format!("name-{at}")))
    }

    /// A file of its own with a new value in it.
    fn own_file(&mut self) -> Result<(u64, PathBuf)> {
        let value = self.value();
        let path = self.directory.join(format!("own-{value}"));
        fs::write(&path, value.to_le_bytes()).context("making of a file")?;
        Ok((value, path))
    }

    fn link(&mut self) -> Result<()> {
        let (value, own) = self.own_file()?;
        let (at, name) = self.name();
        let (done, when) = self.timed(|_| unless(fs::hard_link(&own, &name), ErrorKind::AlreadyExists, "link"))?;
        fs::remove_file(&own).context("unlink of one's own file")?;
        let call = NameCall::Link(value, done);
        self.seen.names.push((at, Timed { when, call }));
        Ok(())
    }

    fn rename(&mut self) -> Result<()> {
        let (value, own) = self.own_file()?;
        let (at, name) = self.name();
        let ((), when) = self.timed(|_| fs::rename(&own, &name).context("rename"))?;
        let call = NameCall::Rename(value);
        self.seen.names.push((at, Timed { when, call }));
        Ok(())
    }

    fn unlink(&mut self) -> Result<()> {
        let (at, name) = self.name();
        let (done, when) = self.timed(|_| unless(fs::remove_file(&name), ErrorKind::NotFound, "unlink"))?;
        let call = NameCall::Unlink(done);
        self.seen.names.push((at, Timed { when, call }));
        Ok(())
    }

    fn read_name(&mut self) -> Result<()> {
        let (at, name) = self.name();
        let (found, when) = self.timed(|_| match File::open(&name) {
            Ok(file) => {
                let mut value = [0; 8];
                file.read_exact_at(&mut value, 0)
                    .context("read of a file behind a name")?;
                Ok(Some(u64::from_le_bytes(value)))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).context("open of a name"),
        })?;
        let call = NameCall::Read(found);
        self.seen.names.push((at, Timed { when, call }));
        Ok(())
    }

    fn list(&mut self) -> Result<()> {
        let directory = self.directory.clone();
        let (listed, when) = self.timed(|_| names_in(&directory).context("listing"))?;
        for at in 0..NAMES {
            let is_there = listed.iter().any(|name| *name == format!("name-{at}"));
            let call = NameCall::Listed(is_there);
            self.seen.names.push((at, Timed { when, call }));
        }
        Ok(())
    }

    fn append(&mut self) -> Result<()> {
        let value = self.value();
        let ((), when) = self.timed(|me| me.tail.write_all(&value.to_le_bytes()).context("append"))?;
        let call = TailCall::Append(value);
        self.seen.tail.push(Timed { when, call });
        Ok(())
    }

    fn read_tail(&mut self) -> Result<()> {
        let (bytes, when) = self.timed(|me| whole(&me.tail).context("read of a whole file"))?;
        ensure!(bytes.len() % RECORD_BYTES == 0, "{} bytes are no records", bytes.len());
        let records = bytes.as_chunks::<RECORD_BYTES>().0;
        let call = TailCall::Read(records.iter().map(|record| u64::from_le_bytes(*record)).collect());
        self.seen.tail.push(Timed { when, call });
        Ok(())
    }

    fn truncate(&mut self) -> Result<()> {
        let (path, size) = (self.directory.join("size"), self.rng.random_range(0..SIZE_MAX));
        let ((), when) = self.timed(|_| {
            let file = OpenOptions::new()
                .write(true)
                .open(&path)
                .context("open for truncate")?;
            file.set_len(size).context("truncate")
        })?;
        let call = SizeCall::Truncate(size);
        self.seen.size.push(Timed { when, call });
        Ok(())
    }

    fn stat(&mut self) -> Result<()> {
        let path = self.directory.join("size");
        let (size, when) = self.timed(|_| Ok(fs::metadata(&path).context("stat")?.size()))?;
        let call = SizeCall::Stat(size);
        self.seen.size.push(Timed { when, call });
        Ok(())
    }
}

/// True if it was done, false if it was refused with `kind`.
fn unless(result: io::Result<()>, kind: ErrorKind, what: &'static str) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == kind => Ok(false),
        Err(e) => Err(e).context(what),
    }
}

fn names_in(directory: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// All bytes of a file, in one read: two of them would be two moments.
fn whole(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 1 << 16];
    let count = file.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Plan, run};

    #[test]
    fn a_local_directory_is_consistent_with_itself() {
        let directory = tempfile::tempdir().unwrap();
        let plan = Plan {
            directories: vec![directory.path().to_owned(); 2],
            threads: 2,
            operations: 10_000,
            seed: 1,
        };
        assert_eq!(run(&plan).unwrap().operations, 10_000);
    }
}
