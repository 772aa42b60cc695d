//! The steps of the demo, in their order.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use baton_tests::cell::{Builder, Cell, Programs, Trust};
use baton_tests::faults::programs::{Wait, Work};
use baton_tests::suites::{Stage, compare, sources};
use baton_types::change::Takeover;
use serde_json::Value;

use super::chart::{LEGEND, chart};
use super::{Heading, Speed};

const AGGREGATE: &str = "lfs01";
/// The fileset of a home, and of whose.
const HOME: &str = "user.ito";
const USER: &str = "ito";
/// Room for the tree: the file that stands for the disk has holes.
const DISK_BYTES: u64 = 4 << 30;
/// Packages in the tree that is unpacked: some thousand files.
const PACKAGES: usize = 40;
/// Drawn before an event, and in all.
const BEFORE: Duration = Duration::from_millis(1_000);
const DRAWN: Duration = Duration::from_millis(6_000);
/// Lines of a log that are shown when a step fails.
const LAST_LINES: usize = 30;

/// The demo while it runs.
pub struct Play {
    heading: Heading,
    stage: Stage,
    /// The home, as each mount shows it.
    home: Vec<PathBuf>,
    work: Option<Work>,
    speed: Speed,
    /// Whose last words are shown if the step fails.
    concerned: &'static str,
}

impl Play {
    /// Shows the programs, makes the cell and mounts it.
    pub async fn begin(mut heading: Heading, speed: Speed, builder: Builder) -> Result<Play> {
        heading.next("Build").await;
        let programs = Programs::find()?;
        println!(
            "flserver, fileserver, batond and baton are in {}",
            programs.target().display()
        );

        heading
            .next("A cell: three flservers, two file servers, one disk that both reach")
            .await;
        let begun = Instant::now();
        let builder = builder.flservers(3).servers(2).aggregates(1).disk_bytes(DISK_BYTES);
        let cell = builder.start().await?;
        println!("made by typed commands in {:.1} s", begun.elapsed().as_secs_f64());
        println!("fs1 owns {AGGREGATE}; fs2 is its standby; their configuration files are the same");

        heading.next("Two machines mount it").await;
        let begun = Instant::now();
        let stage = Stage::within(cell, 2, Trust::UsersAndRoot).await?;
        let home = stage.another(HOME).await?;
        for client in ["client1", "client2"] {
            println!("{client}: {}", stage.cell.places().mount(client).display());
        }
        println!("in {:.1} s, with a fileset {HOME}", begun.elapsed().as_secs_f64());
        Ok(Play {
            heading,
            stage,
            home,
            work: None,
            speed,
            concerned: "client1",
        })
    }

    /// All the rest.
    pub async fn all(&mut self) -> Result<()> {
        self.tree().await?;
        self.writer().await?;
        self.planned().await?;
        self.kill().await?;
        self.freeze().await?;
        self.zombie().await?;
        self.restore().await?;
        self.count().await
    }

    /// The cell, when all is shown.
    pub fn cell(self) -> Cell {
        self.stage.cell
    }

    /// How the log of the process concerned ends.
    pub fn last_words(&self) -> String {
        let lines = self.stage.cell.log_end(self.concerned, LAST_LINES).join("\n");
        format!("the last lines of {}:\n{lines}\n", self.concerned)
    }

    async fn step(&mut self, concerned: &'static str, text: &str) {
        self.concerned = concerned;
        self.heading.next(text).await;
    }

    async fn tree(&mut self) -> Result<()> {
        self.step("client1", "A real tree: untarred by client1, compared by client2")
            .await;
        let sources = tree(self.speed)?;
        let (first, last) = (self.home[0].clone(), self.home[1].clone());
        let begun = Instant::now();
        let files = tokio::task::spawn_blocking(move || {
            untar(&sources, &first)?;
            compared(&sources, &last)
        });
        let files = files.await??;
        println!("{files} files, all the same, in {:.1} s", begun.elapsed().as_secs_f64());
        self.type_fts(&["snapshot", "create", HOME, "evening"])
    }

    async fn writer(&mut self) -> Result<()> {
        self.step(
            "client1",
            "A writer on client1: a line, fsync, the next line; it keeps a list of what it was told is safe",
        )
        .await;
        let mut work = Work::none();
        work.append("journal", self.stage.first(), self.stage.last())?;
        let begun = Instant::now();
        self.work = Some(work);
        self.work()?.goes_on(&self.stage.cell).await?;
        println!("{LEGEND}");
        self.drawn(begun).await
    }

    async fn planned(&mut self) -> Result<()> {
        self.step("fs1", "Planned failover: fts failover -server fs1 -to fs2")
            .await;
        let begun = self.wait_before().await?;
        let cell = &self.stage.cell;
        let (from, to) = (cell.file_server("fs1").await?.id, cell.file_server("fs2").await?.id);
        cell.fail_over_all(from, to, Takeover::Planned).await?;
        self.taken("fs2", begun).await
    }

    async fn kill(&mut self) -> Result<()> {
        self.step("fs2", "kill -9 of the owner, fs2").await;
        let begun = self.wait_before().await?;
        self.stage.cell.kill("fs2")?;
        self.taken("fs1", begun).await?;
        self.stage.cell.start("fs2")?;
        self.is_standby("fs2").await?;
        println!("fs2 is started again, as the standby");
        Ok(())
    }

    async fn freeze(&mut self) -> Result<()> {
        self.step("fs1", "Freeze of the owner, fs1 (SIGSTOP)").await;
        let begun = self.wait_before().await?;
        self.stage.cell.stop("fs1")?;
        self.taken("fs2", begun).await
    }

    /// Whatever it had begun when it was stopped it ends now; what the new owner has is read from the disk after that.
    async fn zombie(&mut self) -> Result<()> {
        self.step(
            "fs1",
            "The zombie wakes: fs1 goes on (SIGCONT), and believes itself owner",
        )
        .await;
        self.work()?.rest();
        self.stage.cell.cont("fs1")?;
        self.is_standby("fs1").await?;
        let report = self
            .stage
            .cell
            .wait("the disk is at rest, and sound", async || self.salvage().ok());
        let report = report.await?;
        println!("it read the slots, told nobody anything, and is the standby of fs2");
        println!(
            "every block of {} files and {} nodes read from the disk and held against its checksum",
            report["files"], report["nodes"]
        );
        let findings = report["findings"].as_array().context("salvage -check lists findings")?;
        println!("of these damaged by it: {}", findings.len());
        self.work()?.resume();
        self.work()?.goes_on(&self.stage.cell).await
    }

    async fn restore(&mut self) -> Result<()> {
        self.step("fs2", "A home is deleted, and restored from its snapshot")
            .await;
        let home = self.home[0].clone();
        let begun = Instant::now();
        let deleted = tokio::task::spawn_blocking(move || empty(&home)).await??;
        println!("rm -rf: {deleted} names gone in {:.1} s", begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        self.type_fts(&["restorehome", USER, "-at", "1 second ago"])?;
        let took = begun.elapsed();
        let (sources, last) = (tree(self.speed)?, self.home[1].clone());
        let files = tokio::task::spawn_blocking(move || compared(&sources, &last)).await??;
        println!("{files} files are back, all the same, in {:.1} s", took.as_secs_f64());
        Ok(())
    }

    async fn count(&mut self) -> Result<()> {
        self.step("fs2", "The count").await;
        let work = self.work.take().context("no writer")?;
        let count = work.finish().await?;
        println!("promised {}", count.promised);
        println!("found    {}", count.found);
        println!("twice    {}", count.twice);
        println!("damaged  {}", count.damaged);
        count.checked()?;
        let report = self
            .stage
            .cell
            .wait("the disk is at rest, and sound", async || self.salvage().ok());
        let report = report.await?;
        println!(
            "salvage -check: sound; {} filesets, {} files",
            report["filesets"], report["files"]
        );
        Ok(())
    }
}

/// What steps have in common.
impl Play {
    fn work(&self) -> Result<&Work> {
        self.work.as_ref().context("no writer")
    }

    /// Forgets what was waited for before, and lets the writer go on for a moment.
    async fn wait_before(&self) -> Result<Instant> {
        self.work()?.goes_on(&self.stage.cell).await?;
        self.work()?.waits();
        let begun = Instant::now();
        tokio::time::sleep(BEFORE).await;
        Ok(begun)
    }

    /// `server` takes the aggregate, the writer goes on; and how that was.
    async fn taken(&self, server: &str, begun: Instant) -> Result<()> {
        let cell = &self.stage.cell;
        cell.has_all(cell.file_server(server).await?.id).await?;
        self.drawn(begun).await?;
        let history = cell.wait("the takeover is in the history", async || {
            let said = cell
                .fts(&["history", "-aggregate", AGGREGATE, "-last", "1", "-json"])
                .ok()?
                .done()
                .ok()?;
            let history: Value = serde_json::from_str(&said).ok()?;
            let tenure = history["tenures"].get(0)?.clone();
            tenure["takeover"].is_object().then_some(tenure)
        });
        let tenure = history.await?;
        let millis = |what: &str| tenure["takeover"][what].as_f64().map(|micros| micros / 1_000.0);
        println!(
            "{server} serves it under epoch {}; from the grant: fenced {:.1} ms, replayed {:.1} ms, serving {:.1} ms",
            tenure["epoch"],
            millis("fenced_micros").context("a phase")?,
            millis("replayed_micros").context("a phase")?,
            millis("serving_micros").context("a phase")?,
        );
        println!("because: {}", tenure["reason"].as_str().unwrap_or_default());
        Ok(())
    }

    /// What the writer waited for since `begun`.
    async fn drawn(&self, begun: Instant) -> Result<()> {
        tokio::time::sleep_until((begun + DRAWN).into()).await;
        self.work()?.goes_on(&self.stage.cell).await?;
        let waits: Vec<Wait> = self.work()?.waits();
        println!("    {}", chart(&waits, begun, begun + DRAWN));
        let slowest = waits
            .iter()
            .map(|wait| wait.took)
            .max()
            .context("nothing was promised")?;
        println!(
            "{} messages safe; the slowest took {} ms",
            waits.len(),
            slowest.as_millis()
        );
        Ok(())
    }

    async fn is_standby(&self, server: &str) -> Result<()> {
        let cell = &self.stage.cell;
        let seat = cell.seat(server, "root.here");
        cell.wait(&format!("{server} is a standby"), async || {
            let listed = seat.dfsexport(&[]).ok()?.stdout;
            let record = cell.file_server(server).await.ok()?;
            (listed.contains("not exported") && record.is_fit()).then_some(())
        })
        .await
    }

    /// What `salvage -check` says of the disk, if that is that all is sound.
    fn salvage(&self) -> Result<Value> {
        let disk = self.stage.cell.places().disk(AGGREGATE);
        let disk = disk.to_str().context("the directory's name is no text")?;
        let seat = self.stage.cell.administrator();
        Ok(serde_json::from_str(
            &seat.run("salvage", &["-check", disk, "-json"])?.done()?,
        )?)
    }

    fn type_fts(&self, words: &[&str]) -> Result<()> {
        println!("$ fts {}", words.join(" "));
        self.stage.cell.fts(words)?.done().map(drop)
    }
}

/// Folders to be packed.
fn tree(speed: Speed) -> Result<Vec<PathBuf>> {
    match speed {
        Speed::Usual => Ok(sources()?.into_iter().take(PACKAGES).collect()),
        Speed::Fast => Ok(vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../types")]),
    }
}

/// `tar` here, untar there.
fn untar(sources: &[PathBuf], target: &Path) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let archive = directory.path().join("tree.tar");
    let mut pack = Command::new("tar");
    pack.arg("-cf").arg(&archive);
    for source in sources {
        let (folder, name) = (
            source.parent().context("a folder")?,
            source.file_name().context("a name")?,
        );
        pack.arg("-C").arg(folder).arg(name);
    }
    let mut unpack = Command::new("tar");
    unpack.arg("-xf").arg(&archive).arg("-C").arg(target);
    for mut tar in [pack, unpack] {
        let output = tar.output().context("tar does not start")?;
        ensure!(
            output.status.success(),
            "tar: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// How many names are the same in `copied` as in the folders that they came from.
fn compared(sources: &[PathBuf], copied: &Path) -> Result<usize> {
    let mut files = 0;
    for source in sources {
        files += compare(source, &copied.join(source.file_name().context("a name")?))?;
    }
    Ok(files)
}

/// Removes all that is in `directory`: how many names there were at its top.
fn empty(directory: &Path) -> Result<usize> {
    let mut names = 0;
    for entry in fs::read_dir(directory)? {
        fs::remove_dir_all(entry?.path())?;
        names += 1;
    }
    ensure!(
        fs::read_dir(directory)?.next().is_none(),
        "{} is not empty",
        directory.display()
    );
    Ok(names)
}
