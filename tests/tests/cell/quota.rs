//! Quota: what a fileset may hold is told to the program that wants more, at once, whoever serves it.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use baton_tests::cell::{Builder, Trust};
use baton_tests::suites::Stage;

const KIB: usize = 1 << 10;

/// Writes a file of `len` bytes and has it made durable.
fn fill(path: &Path, len: usize) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&vec![b'q'; len])?;
    file.sync_all()
}

fn is_refused<T>(done: std::io::Result<T>, what: &str) -> Result<()> {
    let kind = done.err().map(|error| error.kind());
    ensure!(kind == Some(ErrorKind::QuotaExceeded), "{what}: {kind:?}");
    Ok(())
}

/// One figure of `df`.
fn df(path: &Path, field: &str) -> Result<u64> {
    let told = Command::new("df")
        .args(["-B1", &format!("--output={field}")])
        .arg(path)
        .output()?;
    let text = String::from_utf8(told.stdout)?;
    let line = text.lines().nth(1).context("df says nothing")?;
    Ok(line.trim().parse()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quota_is_told_to_the_program_that_wants_more() -> Result<()> {
    let mut stage = Stage::set(Builder::default().servers(2), 2, Trust::UsersAndRoot).await?;
    let (one, other) = (stage.first().clone(), stage.last().clone());
    let set = |stage: &Stage, words: &[&str]| {
        let words = [&["setquota", "-fileset", "stage"], words].concat();
        stage.cell.fts(&words)?.done()
    };
    let said = set(&stage, &["-size", "1MiB"])?;
    ensure!(
        said == "Fileset stage may hold 1MiB and any number of files\n",
        "{said}"
    );
    ensure!(df(&one, "size")? == 1 << 20, "df shows the quota");

    fill(&one.join("a"), 600 * KIB)?;
    is_refused(fill(&other.join("b"), 600 * KIB), "more than is left")?;
    fs::remove_file(other.join("b"))?;
    // What is there may be written anew, and what goes makes room at once.
    File::options()
        .write(true)
        .open(one.join("a"))?
        .write_all_at(&[b'z'; 4 * KIB], 0)?;
    fs::remove_file(one.join("a"))?;
    fill(&other.join("b"), 600 * KIB)?;

    let holds = df(&one, "iused")?;
    let said = set(&stage, &["-size", "0", "-files", &(holds + 2).to_string()])?;
    ensure!(
        said.starts_with("Fileset stage may hold any number of bytes and "),
        "{said}"
    );
    for name in ["c", "d"] {
        fill(&other.join(name), 0)?;
    }
    is_refused(File::create(one.join("e")), "one file more")?;
    is_refused(fs::create_dir(other.join("e")), "one directory more")?;
    fs::rename(one.join("c"), one.join("d"))?;
    fs::create_dir(other.join("e"))?;

    // The next owner minds it too.
    let before = stage.cell.aggregate("lfs01").await?.epoch;
    stage.cell.kill("fs1")?;
    stage.cell.served_by("lfs01", "fs2", before).await?;
    is_refused(File::create(one.join("f")), "at the next owner")?;
    set(&stage, &["-size", "1MiB", "-files", "0"])?;
    is_refused(fill(&one.join("g"), 600 * KIB), "at the next owner")?;

    let seat = stage.cell.seat("client1", "admin");
    let place = one.to_str().context("the directory's name is no text")?;
    let listed = seat.fts(&["lsquota", place])?.done()?;
    ensure!(listed.contains("\nstage ") && listed.contains(" 1024 "), "{listed}");
    stage
        .cell
        .fts(&["setquota", "-fileset", "stage", "-size", "5000"])?
        .refused(2, &["no unit", "write 5000K"])?;
    stage
        .cell
        .fts(&["setquota", "-fileset", "nobody", "-size", "1GiB"])?
        .refused(1, &["fileset nobody"])?;
    stage.cell.restart("fs1")?;
    stage.cell.down()
}
