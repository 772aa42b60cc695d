//! Two file servers on one disk: it goes from one to the other, and programs see a pause.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, ensure};
use baton_aggregate::format::{Geometry, RootPlace};
use baton_tests::cell::{Builder, Cell, Trust};
use baton_tests::suites::Stage;
use baton_types::Epoch;
use baton_types::change::Takeover;
use baton_types::record::AggregateState;
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::Signal;

/// A program that is promised one thing after the other, and notes what.
struct Writer {
    directory: PathBuf,
    promised: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Writer {
    /// Works in a new directory called `name`, and makes all of it durable.
    fn start(mount: &Path, name: &str) -> Result<Writer> {
        let directory = mount.join(name);
        fs::create_dir(&directory)?;
        let mut journal = OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(directory.join("journal"))?;
        Writer::begin(directory, move |own, number| {
            journal.write_all(&number.to_le_bytes()).context("append")?;
            journal.sync_data().context("fsync")?;
            // Each of these would be refused the second time.
            let (one, other) = (own.join("one"), own.join("other"));
            fs::create_dir(&one).context("mkdir")?;
            fs::rename(&one, &other).context("rename")?;
            fs::remove_dir(&other).context("rmdir")
        })
    }

    /// Works in a new directory called `name`, and makes nothing durable.
    fn hasty(mount: &Path, name: &str) -> Result<Writer> {
        let directory = mount.join(name);
        fs::create_dir(&directory)?;
        Writer::begin(directory, |own, number| {
            let file = own.join(hasty_name(number));
            if number.is_multiple_of(HASTY_FILES) {
                fs::create_dir(file.parent().context("it is in a directory")?).context("mkdir")?;
            }
            let mut made = File::create_new(&file).context("create")?;
            made.write_all(&hasty_bytes(number, 1)).context("write")?;
            made.write_all(&hasty_bytes(number, 2)).context("second write")?;
            drop(made);
            if number % 3 == 0 {
                let aside = file.with_extension("aside");
                fs::rename(&file, &aside).context("rename")?;
                fs::rename(&aside, &file).context("rename back")?;
            }
            Ok(())
        })
    }

    /// Does `once` again and again, each time with the number of what was promised before.
    fn begin(directory: PathBuf, mut once: impl FnMut(&Path, u64) -> Result<()> + Send + 'static) -> Result<Writer> {
        let (promised, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (own, count, stop) = (directory.clone(), promised.clone(), is_over.clone());
        let thread = thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let number = count.load(Ordering::Relaxed);
                once(&own, number)?;
                count.store(number + 1, Ordering::Relaxed);
            }
            Ok(())
        });
        Ok(Writer {
            directory,
            promised,
            is_over,
            thread,
        })
    }

    /// Waits until it was promised something since now.
    async fn goes_on(&self, cell: &Cell) -> Result<()> {
        let before = self.promised.load(Ordering::Relaxed);
        cell.wait("the writer goes on", async || {
            let is_on = self.promised.load(Ordering::Relaxed) > before + 2;
            (is_on || self.thread.is_finished()).then_some(())
        })
        .await
    }

    /// Ends it: it met no error. What it was promised, and its directory as `mount` shows it.
    async fn join(self, mount: &Path) -> Result<(u64, PathBuf)> {
        self.is_over.store(true, Ordering::Relaxed);
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await?;
        match joined {
            Ok(ended) => ended?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        let name = self.directory.file_name().context("it has a name")?;
        Ok((self.promised.load(Ordering::Relaxed), mount.join(name)))
    }

    /// Ends one that was [started](Writer::start): all that it was promised is there, once, as `mount` shows it.
    async fn finish(self, mount: &Path) -> Result<u64> {
        let (promised, directory) = self.join(mount).await?;
        let journal = fs::read(directory.join("journal"))?;
        let records: Vec<u64> = journal
            .as_chunks::<8>()
            .0
            .iter()
            .map(|record| u64::from_le_bytes(*record))
            .collect();
        ensure!(
            records.iter().copied().eq(0..promised) && journal.len() % 8 == 0,
            "{promised} records were promised, and {records:?} are there"
        );
        ensure!(fs::read_dir(&directory)?.count() == 1, "a directory is left");
        Ok(promised)
    }

    /// Ends one that was [hasty](Writer::hasty): every file is there, and nothing else.
    async fn finish_hasty(self, mount: &Path) -> Result<u64> {
        let (promised, directory) = self.join(mount).await?;
        for number in 0..promised {
            let file = directory.join(hasty_name(number));
            let bytes = fs::read(&file).with_context(|| format!("promised: {}", file.display()))?;
            let expected = [hasty_bytes(number, 1), hasty_bytes(number, 2)].concat();
            ensure!(bytes == expected, "{}: {} other bytes", file.display(), bytes.len());
        }
        let mut there = 0;
        for listed in fs::read_dir(&directory)? {
            there += fs::read_dir(listed?.path())?.count() as u64;
        }
        ensure!(
            there == promised,
            "{promised} files were promised, and {there} are there"
        );
        Ok(promised)
    }
}

/// Files that a hasty program puts into one directory.
const HASTY_FILES: u64 = 100;

fn hasty_name(number: u64) -> PathBuf {
    PathBuf::from(format!("d{}", number / HASTY_FILES)).join(format!("f{number}"))
}

fn hasty_bytes(number: u64, part: u64) -> Vec<u8> {
    let words = std::iter::repeat_n([number, part], 100 + number as usize % 400).flatten();
    words.flat_map(u64::to_le_bytes).collect()
}

/// A file that is open and locked, and one that is open and has no name any more.
struct Held {
    file: File,
    unnamed: File,
}

impl Held {
    fn take(directory: &Path) -> Result<Held> {
        let mut file = File::create_new(directory.join("held"))?;
        file.write_all(b"held before\n")?;
        fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let unnamed = directory.join("unnamed");
        let mut file_without = OpenOptions::new()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&unnamed)?;
        file_without.write_all(b"unnamed before\n")?;
        fs::remove_file(&unnamed)?;
        Ok(Held {
            file,
            unnamed: file_without,
        })
    }

    /// All of it goes on; `other` is the same directory as another mount shows it.
    fn check(&mut self, other: &Path, round: &str) -> Result<()> {
        writeln!(self.file, "{round}")?;
        self.file.sync_all()?;
        let seen = File::options().read(true).write(true).open(other.join("held"))?;
        let text = std::io::read_to_string(&seen)?;
        ensure!(text.ends_with(&format!("{round}\n")), "{text}");
        let taken = fcntl_lock(&seen, FlockOperation::NonBlockingLockExclusive);
        ensure!(taken.is_err(), "another one gets the lock");
        writeln!(self.unnamed, "{round}")?;
        self.unnamed.seek(SeekFrom::Start(0))?;
        let text = std::io::read_to_string(&self.unnamed)?;
        ensure!(text.starts_with("unnamed before\n"), "{text}");
        ensure!(text.ends_with(&format!("{round}\n")), "{text}");
        Ok(())
    }
}

/// What `salvage` finds on the disk, with every server ended that could write it.
fn salvage(cell: &mut Cell, servers: &[&str]) -> Result<()> {
    for server in servers {
        cell.terminate(server)?;
    }
    let disk = cell.places().disk("lfs01");
    let disk = disk.to_str().context("the directory's name is no text")?;
    cell.administrator().run("salvage", &["-check", disk])?.done().map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_one_disk_are_configured_alike() -> Result<()> {
    let cell = Cell::builder().flservers(1).servers(3).aggregates(2).start().await?;
    let text = |server: &str| fs::read_to_string(cell.places().root(server).join("etc/baton/baton.toml"));
    ensure!(
        text("fs1")? == text("fs2")? && text("fs2")? == text("fs3")?,
        "they differ"
    );
    for name in ["lfs01", "lfs02"] {
        let aggregate = cell.aggregate(name).await?;
        ensure!(aggregate.attached.len() == 3, "{aggregate:?}");
    }
    // Each owns something, and each is the others' standby.
    for (name, server) in [("lfs02", "fs2"), ("lfs01", "fs3"), ("lfs02", "fs1")] {
        let (before, to) = (cell.aggregate(name).await?.epoch, cell.file_server(server).await?.id);
        cell.fail_over(name, to, Takeover::Planned).await?;
        cell.served_by(name, server, before).await?;
    }
    cell.down()
}

/// The stage of all stories here: two servers on one disk, two mounts.
async fn stage(servers: usize) -> Result<Stage> {
    Stage::set(Builder::default().servers(servers), 2, Trust::UsersAndRoot).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planned_move_under_programs_that_work() -> Result<()> {
    let mut stage = stage(2).await?;
    let (one, other) = (stage.first().clone(), stage.last().clone());
    let (writer, shared) = (Writer::start(&one, "writer")?, Writer::start(&other, "other")?);
    let mut held = Held::take(&one)?;
    writer.goes_on(&stage.cell).await?;
    for round in 0..6 {
        let target = ["fs2", "fs1"][round % 2];
        let before = stage.cell.aggregate("lfs01").await?.epoch;
        let to = stage.cell.file_server(target).await?.id;
        stage.cell.fail_over("lfs01", to, Takeover::Planned).await?;
        let epoch = stage.cell.served_by("lfs01", target, before).await?;
        ensure!(Some(epoch) == before.next(), "one commit moves it: {before} to {epoch}");
        writer.goes_on(&stage.cell).await?;
        shared.goes_on(&stage.cell).await?;
        held.check(&other, &format!("round {round}"))?;
    }
    let said = stage.cell.log_end("fs2", 200).concat();
    ensure!(said.contains("handed over"), "{said}");
    writer.finish(&other).await?;
    shared.finish(&one).await?;
    drop(held);
    salvage(&mut stage.cell, &["fs1", "fs2"])?;
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_that_lives_is_fenced_when_another_takes_what_it_has() -> Result<()> {
    let mut stage = stage(2).await?;
    let (one, other) = (stage.first().clone(), stage.last().clone());
    let (writer, shared) = (Writer::start(&one, "writer")?, Writer::start(&other, "other")?);
    let mut held = Held::take(&one)?;
    for round in 0..4 {
        writer.goes_on(&stage.cell).await?;
        let (owner, target) = [("fs1", "fs2"), ("fs2", "fs1")][round % 2];
        let seat = stage.cell.seat(target, "root.here");
        let said = seat.dfsexport(&["-aggregate", "lfs01", "-takeover"])?.done()?;
        ensure!(said.starts_with("lfs01: exported, epoch "), "{said}");
        is_standby(&stage.cell, owner).await?;
        writer.goes_on(&stage.cell).await?;
        shared.goes_on(&stage.cell).await?;
        held.check(&other, &format!("round {round}"))?;
    }
    writer.finish(&other).await?;
    shared.finish(&one).await?;
    drop(held);
    salvage(&mut stage.cell, &["fs1", "fs2"])?;
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_that_is_to_move_what_it_does_not_serve_yet_does_so_as_soon_as_it_can() -> Result<()> {
    let cell = Cell::builder().flservers(1).servers(2).aggregates(1).start().await?;
    let (one, other) = (cell.file_server("fs1").await?.id, cell.file_server("fs2").await?.id);
    let before = cell.served_by("lfs01", "fs1", Epoch::NONE).await?;
    // What is said meanwhile is heard at once when it goes on: before it has read the disk.
    cell.process("fs2").context("it runs")?.signal_server(Signal::STOP)?;
    cell.fail_over("lfs01", other, Takeover::Forced).await?;
    cell.fail_over("lfs01", one, Takeover::Planned).await?;
    cell.process("fs2").context("it runs")?.signal_server(Signal::CONT)?;
    cell.served_by("lfs01", "fs1", before).await?;
    let state = cell.aggregate("lfs01").await?.state;
    ensure!(state == AggregateState::Exported, "{state:?}");
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_every_server_fails_on_is_held_until_an_administrator_lets_it_go() -> Result<()> {
    let mut cell = Cell::builder().flservers(1).servers(3).aggregates(2).start().await?;
    cell.served_by("lfs01", "fs1", Epoch::NONE).await?;
    for server in ["fs1", "fs2", "fs3"] {
        cell.kill(server)?;
    }
    // Its label is right, and no root is: nobody can recover it.
    let disk = cell.places().disk("lfs01");
    let whole = fs::read(&disk)?;
    let file = OpenOptions::new().write(true).open(&disk)?;
    for epoch in 0..8 {
        for place in [RootPlace::A, RootPlace::B] {
            file.write_all_at(&[0; Geometry::ROOT_BYTES_MAX], Geometry::root_offset(epoch, place))?;
        }
    }
    file.sync_all()?;
    for server in ["fs1", "fs2", "fs3"] {
        cell.start(server)?;
    }
    let held = cell
        .wait("it is held", async || cell.aggregate("lfs01").await.ok()?.held)
        .await?;
    ensure!(held.contains("failed on it"), "{held}");
    let epoch = cell.aggregate("lfs01").await?.epoch;
    cell.wait("the other one is served", async || {
        let state = cell.aggregate("lfs02").await.ok()?.state;
        (state == AggregateState::Exported).then_some(())
    })
    .await?;
    let said = cell.fts(&["status"])?;
    ensure!(said.stdout.contains("lfs01 is held and not served"), "{}", said.stdout);
    let seat = cell.seat("fs3", "root.here");
    seat.dfsexport(&["-aggregate", "lfs01"])?
        .refused(1, &["aggregate lfs01: it is held", "fts unhold -aggregate lfs01"])?;
    ensure!(cell.aggregate("lfs01").await?.epoch == epoch, "somebody tried");

    file.write_all_at(&whole, 0)?;
    file.sync_all()?;
    cell.fts(&["unhold", "-aggregate", "lfs01"])?.done()?;
    cell.wait("somebody serves it", async || {
        let row = cell.aggregate("lfs01").await.ok()?;
        (row.state == AggregateState::Exported && row.epoch > epoch).then_some(())
    })
    .await?;
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swap_of_old_with_mounts_that_work() -> Result<()> {
    let mut stage = stage(2).await?;
    let (one, other) = (stage.first().clone(), stage.last().clone());
    let (writer, mut held) = (Writer::start(&one, "writer")?, Held::take(&one)?);
    for round in 0..2 {
        writer.goes_on(&stage.cell).await?;
        let (owner, next) = [("fs1", "fs2"), ("fs2", "fs1")][round % 2];
        let (owner, next) = (stage.cell.seat(owner, "root.here"), stage.cell.seat(next, "root.here"));
        next.dfsexport(&["-aggregate", "lfs01"])?
            .refused(4, &["aggregate lfs01: exported by"])?;
        owner.dfsexport(&["-aggregate", "lfs01", "-detach"])?.done()?;
        next.dfsexport(&["-aggregate", "lfs01"])?.done()?;
        writer.goes_on(&stage.cell).await?;
        held.check(&other, &format!("round {round}"))?;
    }
    writer.finish(&other).await?;
    drop(held);
    salvage(&mut stage.cell, &["fs1", "fs2"])?;
    stage.cell.down()
}

/// What befalls an owner.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// Its guard sees it end, and says so.
    Kill,
    /// Nobody says anything: its beats stay away, and its sign of life on the disk.
    Crash,
    /// It stands still, and goes on when it is followed.
    Freeze,
}

/// Nobody types anything: the standby takes over by itself, under programs that work.
async fn owner_is_followed_by_itself(blow: Blow, rounds: usize) -> Result<()> {
    let mut stage = stage(2).await?;
    let (one, other) = (stage.first().clone(), stage.last().clone());
    let (writer, shared) = (Writer::start(&one, "writer")?, Writer::start(&other, "other")?);
    let mut held = Held::take(&one)?;
    for round in 0..rounds {
        writer.goes_on(&stage.cell).await?;
        let (owner, target) = [("fs1", "fs2"), ("fs2", "fs1")][round % 2];
        let before = stage.cell.aggregate("lfs01").await?.epoch;
        match blow {
            Blow::Kill => stage.cell.kill(owner)?,
            Blow::Crash => stage.cell.crash(owner)?,
            Blow::Freeze => stage.cell.stop(owner)?,
        }
        let epoch = stage.cell.served_by("lfs01", target, before).await?;
        writer.goes_on(&stage.cell).await?;
        shared.goes_on(&stage.cell).await?;
        held.check(&other, &format!("round {round}"))?;
        match blow {
            Blow::Kill | Blow::Crash => stage.cell.start(owner)?,
            Blow::Freeze => stage.cell.cont(owner)?,
        }
        is_standby(&stage.cell, owner).await?;
        ensure!(
            stage.cell.aggregate("lfs01").await?.epoch == epoch,
            "{owner} took it back"
        );
    }
    writer.finish(&other).await?;
    shared.finish(&one).await?;
    drop(held);
    salvage(&mut stage.cell, &["fs1", "fs2"])?;
    stage.cell.down()
}

/// Waits until a server says that it does not export the aggregate, and the location database that it lives.
async fn is_standby(cell: &Cell, server: &str) -> Result<()> {
    let seat = cell.seat(server, "root.here");
    cell.wait(&format!("{server} is a standby"), async || {
        let listed = seat.dfsexport(&[]).ok()?.stdout;
        let record = cell.file_server(server).await.ok()?;
        (listed.contains("lfs01, not exported\n") && record.is_fit()).then_some(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_that_was_killed_is_followed_by_its_standby() -> Result<()> {
    owner_is_followed_by_itself(Blow::Kill, 4).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_whose_machine_crashed_is_followed_by_its_standby() -> Result<()> {
    owner_is_followed_by_itself(Blow::Crash, 2).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_that_stands_still_is_followed_by_its_standby_and_wakes_as_one() -> Result<()> {
    owner_is_followed_by_itself(Blow::Freeze, 2).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_made_durable_comes_along_to_the_next_owner() -> Result<()> {
    let mut stage = stage(2).await?;
    let alone = stage.another("alone").await?;
    let writer = Writer::hasty(&alone[0], "hasty")?;
    for round in 0..6 {
        writer.goes_on(&stage.cell).await?;
        let (owner, target) = [("fs1", "fs2"), ("fs2", "fs1")][round % 2];
        let before = stage.cell.aggregate("lfs01").await?.epoch;
        if round < 3 {
            let to = stage.cell.file_server(target).await?.id;
            stage.cell.fail_over("lfs01", to, Takeover::Planned).await?;
            stage.cell.served_by("lfs01", target, before).await?;
        } else {
            stage.cell.kill(owner)?;
            stage.cell.served_by("lfs01", target, before).await?;
            writer.goes_on(&stage.cell).await?;
            stage.cell.start(owner)?;
            is_standby(&stage.cell, owner).await?;
        }
    }
    writer.goes_on(&stage.cell).await?;
    let promised = writer.finish_hasty(&alone[1]).await?;
    ensure!(promised > 0, "it was promised nothing");
    salvage(&mut stage.cell, &["fs1", "fs2"])?;
    stage.cell.down()
}
