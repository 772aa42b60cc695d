//! The program `harness`: a cell that outlives the command that made it, and the demo.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use baton_tests::cell::Cell;

/// A directory of the test's own; a cell that was left in it is taken down.
struct Folder {
    at: PathBuf,
}

impl Folder {
    fn new() -> Folder {
        Folder {
            at: std::env::temp_dir().join(format!("baton-{:016x}", rand::random::<u64>())),
        }
    }

    fn cell(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
        command.arg("cell").args(words).arg("--dir").arg(&self.at);
        command.output().context("harness does not start")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.at.exists() {
            eprintln!("{:?}", self.cell(&["down"]));
        }
    }
}

fn done(output: Output) -> Result<String> {
    let said = String::from_utf8(output.stdout)? + std::str::from_utf8(&output.stderr)?;
    ensure!(output.status.success(), "{said}");
    Ok(said)
}

fn failed(output: &Output) -> Result<String> {
    ensure!(output.status.code() == Some(1), "{output:?}");
    Ok(String::from_utf8(output.stderr.clone())?)
}

/// What `line` prints in a shell that has read the cell's `env`.
fn typed(at: &Path, line: &str) -> Result<String> {
    let line = format!(". '{}/env'; {line}", at.display());
    done(Command::new("sh").args(["-c", &line]).output()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cell_of_the_harness_lives_until_it_is_taken_down() -> Result<()> {
    let folder = Folder::new();
    let said = failed(&folder.cell(&["up", "--servers", "0", "--aggregates", "0", "--mounts", "1"])?)?;
    ensure!(said.contains("need a server"), "{said}");
    ensure!(!folder.at.exists(), "a refused command left something");
    let said = failed(&folder.cell(&["down"])?)?;
    ensure!(said.contains("no cell there"), "{said}");

    done(folder.cell(&["up", "--flservers", "1", "--servers", "2", "--aggregates", "2"])?)?;
    let said = failed(&folder.cell(&["up"])?)?;
    ensure!(said.contains("is there already"), "{said}");
    let entries = typed(
        &folder.at,
        "fts lsserverentry -all; fts create user.ito fs1 lfs02; fts lsfldb user.ito",
    )?;
    ensure!(
        entries.contains("hosts/fs1") && entries.contains("hosts/fs2") && entries.contains("user.ito"),
        "{entries}"
    );
    let said = failed(&folder.cell(&["remount", "1"])?)?;
    ensure!(said.contains("no machine is called client1"), "{said}");
    let said = failed(&folder.cell(&["kill", "fl7"])?)?;
    ensure!(
        said.contains("no machine is called fl7; there are desk, fl1, fs1, fs2"),
        "{said}"
    );

    done(folder.cell(&["stop", "fl1"])?)?;
    ensure!(
        done(folder.cell(&["status"])?)?.contains("is stopped"),
        "fl1 is not stopped"
    );
    done(folder.cell(&["cont", "fl1"])?)?;
    done(folder.cell(&["kill", "fl1"])?)?;
    let said = failed(&folder.cell(&["kill", "fl1"])?)?;
    ensure!(said.contains("fl1 does not run"), "{said}");
    done(folder.cell(&["restart", "fl1"])?)?;
    ensure!(
        typed(&folder.at, "fts lsfldb user.ito")?.contains("user.ito"),
        "fl1 forgot user.ito"
    );

    // A number that went to somebody else since is nobody of this cell.
    let cell = Cell::open(&folder.at)?;
    let process = cell.process("fs1").context("fs1 does not run")?.pid();
    let number = folder.at.join("pids/fs2");
    let own = fs::read_to_string(&number)?;
    fs::write(&number, format!("{}\n", std::process::id()))?;
    let said = failed(&folder.cell(&["kill", "fs2"])?)?;
    ensure!(said.contains("fs2 does not run"), "{said}");
    fs::write(&number, own)?;

    done(folder.cell(&["down"])?)?;
    ensure!(!folder.at.exists(), "something is left");
    ensure!(!runs(process), "fs1 runs still");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_test_keeps_its_logs_and_no_process() -> Result<()> {
    let cell = Cell::builder().flservers(1).start().await?;
    let (places, process) = (
        cell.places().clone(),
        cell.process("fl1").context("fl1 does not run")?.pid(),
    );
    let kept = cell.kept_logs();
    drop(cell); // as a test that returns early does
    ensure!(
        fs::read_to_string(kept.join("fl1.log"))?.contains("serving"),
        "the log is not kept"
    );
    ensure!(!runs(process), "fl1 runs still");
    ensure!(!places.directory().exists(), "the directory is left");
    fs::remove_dir_all(kept)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemon_that_ended_by_itself_fails_the_test() -> Result<()> {
    let cell = Cell::builder().flservers(1).start().await?;
    let kept = cell.kept_logs();
    let process = cell.process("fl1").context("fl1 does not run")?.pid();
    done(Command::new("kill").args(["-9", &process.to_string()]).output()?)?;
    cell.wait("fl1 has ended", async || {
        (!cell.process("fl1")?.is_running()).then_some(())
    })
    .await?;
    let error = cell.down().expect_err("fl1 ended").to_string();
    ensure!(error.contains("ended by themselves: fl1"), "{error}");
    fs::remove_dir_all(kept)?;
    Ok(())
}

#[test]
fn demo_says_what_it_always_says_and_leaves_nothing() -> Result<()> {
    let folder = Folder::new();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_harness"));
    let said = done(
        demo.args(["demo", "--once", "--fast", "--dir"])
            .arg(&folder.at)
            .output()?,
    )?;
    ensure!(!said.contains('\u{1b}'), "colours where there is no terminal");
    ensure!(!folder.at.exists(), "something is left");
    let target = Path::new(env!("CARGO_BIN_EXE_harness"))
        .ancestors()
        .nth(2)
        .context("a build folder")?;
    let said = said.replace(&folder.at.display().to_string(), "DIR");
    let masked: String = said
        .replace(&target.display().to_string(), "TARGET")
        .lines()
        .map(masked)
        .collect();
    ensure!(
        masked == include_str!("demo.txt"),
        "the demo says this, and not what demo.txt holds:\n{masked}"
    );
    Ok(())
}

/// A line without its figures, and without what is drawn or found out anew each time.
fn masked(line: &str) -> String {
    if line.starts_with("    ") && line.chars().all(|c| " ·▁▂▃▄▅▆█".contains(c)) {
        return "    (drawn)\n".to_owned();
    }
    if line.starts_with("because: ") {
        return "because: (evidence)\n".to_owned();
    }
    if line.starts_with("=== ") || line.contains('·') {
        return format!("{line}\n");
    }
    let is_figure = |c: char| c.is_ascii_digit();
    let words = line.split(' ').map(|word| {
        let figure = word.trim_end_matches([',', ';', ':']);
        let is_number =
            figure != "0" && figure.starts_with(is_figure) && figure.chars().all(|c| is_figure(c) || c == '.');
        if is_number {
            word.replacen(figure, "#", 1)
        } else {
            word.to_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ") + "\n"
}

/// False too for a process that has ended and waits for somebody to take notice: not every first process does.
fn runs(process: impl std::fmt::Display) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
