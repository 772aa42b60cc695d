//! Files in mounted cells: what one mount writes another sees, and a server may be killed.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use baton_tests::cell::{Builder, Cell, Trust};
use baton_tests::suites::{Server, Stage, Suite, consistency, kill_again_and_again};
use rustix::process::{Pid, Signal, kill_process};

/// Of all mounts together: as many as take about a minute on two processors.
const OPERATIONS: u64 = 40_000;
/// The same while the server dies.
const OPERATIONS_KILLED: u64 = 4_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_mount_writes_the_other_reads() -> Result<()> {
    let stage = Stage::set(Builder::default(), 2, Trust::UsersAndRoot).await?;
    let (one, other) = (stage.first().clone(), stage.last().clone());
    fs::create_dir(one.join("d"))?;
    fs::write(one.join("d/f"), b"first")?;
    ensure!(fs::read(other.join("d/f"))? == b"first");
    // The other has read it, and so has something to forget.
    fs::write(other.join("d/f"), b"second, and longer")?;
    ensure!(fs::read(one.join("d/f"))? == b"second, and longer");
    fs::rename(one.join("d/f"), one.join("g"))?;
    ensure!(!other.join("d/f").exists() && other.join("g").exists());
    fs::remove_file(other.join("g"))?;
    ensure!(!one.join("g").exists());
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_do_not_notice_that_the_server_was_killed() -> Result<()> {
    let mut stage = Stage::set(Builder::default(), 2, Trust::UsersAndRoot).await?;
    kill_again_and_again(&mut stage.cell, &stage.directories, 3).await?;
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_kept_by_two_mounts() -> Result<()> {
    let stage = Stage::set(Builder::default(), 2, Trust::UsersAndRoot).await?;
    let stage = tokio::task::spawn_blocking(move || Suite::Sqlite.run(&stage, 0).map(|_| stage)).await??;
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_through_three_mounts_are_explained_by_one_order() -> Result<()> {
    let mut stage = Stage::set(Builder::default(), 3, Trust::UsersAndRoot).await?;
    consistency(&mut stage, OPERATIONS, 1, Server::Lives).await?;
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_through_two_mounts_are_explained_by_one_order_when_the_server_is_killed() -> Result<()> {
    let mut stage = Stage::set(Builder::default(), 2, Trust::UsersAndRoot).await?;
    consistency(&mut stage, OPERATIONS_KILLED, 2, Server::Dies).await?;
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_runs_is_not_emptied() -> Result<()> {
    let stage = Stage::set(Builder::default(), 1, Trust::UsersAndRoot).await?;
    let path = stage.first().join("sleep");
    fs::copy("/bin/sleep", &path)?;
    let len = fs::metadata(&path)?.len();
    let mut program = Command::new(&path).arg("60").spawn()?;
    let opened = File::options().read(true).write(true).truncate(true).open(&path);
    let refused = opened.expect_err("it runs").raw_os_error();
    ensure!(refused == Some(rustix::io::Errno::TXTBSY.raw_os_error()), "{refused:?}");
    ensure!(fs::metadata(&path)?.len() == len);
    ensure!(program.try_wait()?.is_none(), "it runs on");
    program.kill()?;
    program.wait()?;
    let _ = File::create(&path)?;
    ensure!(fs::metadata(&path)?.len() == 0, "emptied by who may");
    stage.cell.down()
}

/// Replaced so often while another mount looks at it.
const REPLACED: u64 = 1_000;

/// Puts one file after the other under a name.
fn replace(directory: &Path) -> Result<()> {
    for number in 0..REPLACED {
        let next = directory.join("next");
        fs::write(&next, number.to_le_bytes())?;
        fs::rename(&next, directory.join("name"))?;
    }
    Ok(())
}

/// Uses a name by every call that takes a path and that another mount may cross.
fn use_name(name: &Path) -> Result<()> {
    let mut bytes = [0; 8];
    File::open(name).context("open")?.read_exact_at(&mut bytes, 0)?;
    fs::metadata(name).context("stat")?;
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(name)
        .context("open or create")?;
    fs::set_permissions(name, fs::metadata(name).context("stat")?.permissions()).context("chmod")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_replaced_all_the_time_always_leads_to_a_file() -> Result<()> {
    let stage = Stage::set(Builder::default(), 2, Trust::UsersAndRoot).await?;
    fs::write(stage.first().join("name"), [0; 8])?;
    let is_over = Arc::new(AtomicBool::new(false));
    let users: Vec<_> = (0..2)
        .map(|_| {
            let (name, is_over) = (stage.first().join("name"), is_over.clone());
            thread::spawn(move || -> Result<()> {
                while !is_over.load(Ordering::Relaxed) {
                    use_name(&name)?;
                }
                Ok(())
            })
        })
        .collect();
    let directory = stage.last().clone();
    let replaced = tokio::task::spawn_blocking(move || replace(&directory)).await?;
    is_over.store(true, Ordering::Relaxed);
    for user in users {
        user.join().map_err(|_| anyhow::anyhow!("a user panicked"))??;
    }
    replaced?;
    stage.cell.down()
}

/// The first byte of a file, by way of the kernel's pages, about which nobody is asked while they are there.
fn first_by_pages(file: &File) -> Option<u8> {
    let sent = tempfile::NamedTempFile::new().ok()?;
    rustix::fs::sendfile(sent.as_file(), file, Some(&mut 0), 1).ok()?;
    fs::read(sent.path()).ok()?.first().copied()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_before_are_forgotten_by_who_is_alone_again() -> Result<()> {
    let mut stage = Stage::set(Builder::default(), 2, Trust::UsersAndRoot).await?;
    let (one, other) = (stage.first().join("f"), stage.last().join("f"));
    fs::write(&one, b"1")?;
    ensure!(fs::read(&other)? == b"1");
    // Opened among others, and its page is in the kernel all the same.
    let file = File::open(&one)?;
    ensure!(first_by_pages(&file) == Some(b'1'));
    fs::write(&other, b"2")?;
    stage.cell.terminate("client2")?;
    stage
        .cell
        .wait("the page is forgotten", async || {
            (first_by_pages(&file)? == b'2').then_some(())
        })
        .await?;
    stage.cell.down()
}

fn has(file: &Path, text: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|all| all.contains(text))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_waits_can_be_killed_while_its_mount_ends() -> Result<()> {
    let mut stage = Stage::set(Builder::default(), 1, Trust::UsersAndRoot).await?;
    // What the mount has to say before it ends.
    fs::write(stage.first().join("f"), b"not durable yet")?;
    stage.cell.stop("fs1")?;
    let mut waits = Command::new("stat")
        .arg(stage.first().join("a-name-nobody-asked-for"))
        .spawn()?;
    let waiting = PathBuf::from(format!("/proc/{}/wchan", waits.id()));
    stage
        .cell
        .wait("the program waits", async || {
            has(&waiting, "request_wait").then_some(())
        })
        .await?;
    let daemon = stage.cell.process("client1").context("it runs")?.pid();
    kill_process(Pid::from_raw(daemon.cast_signed()).context("a process")?, Signal::TERM)?;
    let log = stage.cell.places().log("client1");
    stage
        .cell
        .wait("the mount ends", async || has(&log, "are cut off").then_some(()))
        .await?;
    waits.kill()?;
    tokio::task::spawn_blocking(move || waits.wait()).await??;
    ensure!(
        !has(&log, "ended before it had said all"),
        "it was the end of the mount that ended the program"
    );
    stage.cell.cont("fs1")?;
    stage.cell.ended("client1")?;
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_of_a_file_before_it_is_made_is_so() -> Result<()> {
    let stage = Stage::set(Builder::default(), 2, Trust::UsersAndRoot).await?;
    let (made, seen) = (stage.first().join("made"), stage.last().join("made"));
    fs::create_dir(&made)?;
    for number in 0..20 {
        fs::write(made.join(format!("file-{number}")), b"bytes")?;
        // Asked for while the file is on its way to the server.
        ensure!(fs::metadata(&made)?.len() == number + 1);
    }
    let mut names = vec![String::new()];
    for number in 0..10 {
        let (above, below) = (format!("above-{number}"), format!("above-{number}/below"));
        fs::create_dir(made.join(&above))?;
        fs::create_dir(made.join(&below))?;
        fs::write(made.join(&below).join("file"), b"bytes")?;
        match number % 3 {
            0 => fs::set_permissions(made.join(&above), Permissions::from_mode(0o700))?,
            1 => File::open(made.join(&below))?.set_modified(SystemTime::UNIX_EPOCH)?,
            _ => {}
        }
        ensure!(fs::metadata(&made)?.nlink() == number + 3);
        names.extend([above, below]);
    }
    // What is made in there inherits more than its group.
    fs::set_permissions(made.join("above-2"), Permissions::from_mode(0o2755))?;
    fs::create_dir(made.join("above-2/inherits"))?;
    names.push("above-2/inherits".to_owned());
    let foretold: Vec<String> = names
        .iter()
        .map(|name| shown(&made.join(name)))
        .collect::<Result<_>>()?;
    File::open(&made)?.sync_all()?;
    let log = fs::read_to_string(stage.cell.places().log("client1"))?;
    ensure!(!log.contains("not as foretold"), "{log}");
    for (name, foretold) in names.iter().zip(foretold) {
        // The other mount asks the server.
        let is = shown(&seen.join(name))?;
        ensure!(foretold == is, "{name}: {foretold}, and it is {is}");
    }
    stage.cell.down()
}

/// What a program sees of a directory, but for when it was last read.
fn shown(directory: &Path) -> Result<String> {
    let meta = fs::metadata(directory)?;
    let dates = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
    let (mode, uid, gid, links) = (meta.mode(), meta.uid(), meta.gid(), meta.nlink());
    Ok(format!(
        "{} bytes, {links} links, {mode:o} {uid}:{gid}, {dates:?}",
        meta.len()
    ))
}

/// A write is under way after this.
const WRITE_ARRIVES: Duration = Duration::from_millis(300);
/// Whatever does not wait for a server has ended long before.
const PATIENCE: Duration = Duration::from_secs(20);

/// The least that a server serves with room to fill.
const SMALL_DISK_BYTES: u64 = 256 << 20;
/// What is put there again and again.
const PIECE_BYTES: usize = 1 << 20;
/// Refusals that end it.
const REFUSALS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_full_disk_did_not_take_is_told_when_the_file_is_closed() -> Result<()> {
    let builder = Cell::builder().flservers(1).servers(1).aggregates(1);
    let mut cell = builder.disk_bytes(SMALL_DISK_BYTES).start().await?;
    let one = cell.add_client("client1", Trust::UsersAndRoot).await?.join("full");
    cell.wait("the root is there", async || fs::create_dir(&one).ok())
        .await?;
    let piece: Vec<u8> = (0..PIECE_BYTES).map(|index| ((index * index) >> 7) as u8).collect();
    let source = cell.places().directory().join("piece");
    fs::write(&source, &piece)?;
    let (mut kept, mut refused) = (Vec::new(), 0);
    for number in 0..2 * SMALL_DISK_BYTES as usize / PIECE_BYTES {
        let name = format!("piece-{number}");
        // It writes in eight steps, and says whether each of them and the close went well.
        let copied = Command::new("dd")
            .args([
                format!("if={}", source.display()),
                format!("of={}", one.join(&name).display()),
            ])
            .args(["bs=128k", "conv=excl"])
            .output()?;
        match copied.status.success() {
            true => kept.push(name),
            false => {
                let said = String::from_utf8_lossy(&copied.stderr).into_owned();
                ensure!(said.contains("No space left on device"), "{name}: {said}");
                refused += 1;
            }
        }
        if refused == REFUSALS {
            break;
        }
    }
    ensure!(
        refused == REFUSALS && !kept.is_empty(),
        "{refused} refused, {} kept",
        kept.len()
    );
    let other = cell.add_client("client2", Trust::UsersAndRoot).await?.join("full");
    cell.wait("the other mount is there", async || fs::metadata(&other).ok())
        .await?;
    for name in kept {
        ensure!(fs::read(other.join(&name))? == piece, "{name} was said to be well");
    }
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_begun_does_not_wait_for_bytes_of_the_one_that_begins_it() -> Result<()> {
    let mut cell = Cell::builder().flservers(1).servers(1).aggregates(1).start().await?;
    let path = cell.add_client("client1", Trust::UsersAndRoot).await?.join("inherited");
    cell.wait("the root is there", async || File::create(&path).ok())
        .await?;
    let mut file = File::options().append(true).open(&path)?;
    file.write_all(b"before")?;
    cell.kill("fs1")?;
    let (begin, begun) = std::sync::mpsc::channel();
    let writer = thread::spawn(move || {
        begin.send(()).context("somebody waits")?;
        file.write_all(b", after").context("write")
    });
    begun.recv()?;
    thread::sleep(WRITE_ARRIVES);
    // It closes the file, which it does not inherit, while no server is there that takes the bytes.
    let program = tokio::task::spawn_blocking(|| Command::new("true").status());
    let ended = tokio::time::timeout(PATIENCE, program).await;
    cell.start("fs1")?;
    ensure!(
        ended.context("it waits for the server")???.success(),
        "it did not end well"
    );
    let joined = tokio::task::spawn_blocking(move || writer.join()).await?;
    joined.map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    ensure!(fs::read(&path)? == b"before, after", "other bytes than were written");
    cell.down()
}
