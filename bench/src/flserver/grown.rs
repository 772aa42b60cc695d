//! A cell of real members that has grown large: what the state machine made is given to it as a backup is.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use baton_flserver::state::Fldb;
use baton_flserver::store::{LogStore, RedbStore, Snapshot};
use baton_tests::cell::{As, Cell, Role};

use super::fill::{ADMINISTRATOR, Layout, fill};

/// What the state costs by itself, in a process without anything else.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Every change of it, one after the other.
    pub made: Duration,
    /// Written as bytes.
    pub dumped: Duration,
    /// These, on the disk and synced.
    pub saved: Duration,
    /// A state out of them.
    pub loaded: Duration,
    /// How many they are.
    pub bytes: usize,
    /// From the start of the first member to its first answer.
    pub restored: Duration,
    /// From the start of the second to its vote: it has got all of it from the first.
    pub joined: Duration,
}

/// Ends all members, and begins anew with what `layout` adds to their state.
///
/// # Errors
/// What a command said that failed.
pub async fn grow(cell: &mut Cell, layout: &Layout, progress: &impl Fn(&str)) -> Result<Cost> {
    let backup = cell.client(As::User(ADMINISTRATOR))?.backup().await?;
    let begun = Instant::now();
    let layout = *layout;
    let state = tokio::task::spawn_blocking(move || fill(Fldb::load(&backup.bytes)?, &layout)).await??;
    let made = begun.elapsed();
    let begun = Instant::now();
    let bytes = state.dump();
    let dumped = begun.elapsed();
    drop(state);
    let saved = save(&cell.places().directory().join("store"), &bytes)?;
    let begun = Instant::now();
    let loaded = Fldb::load(&bytes)?;
    let loading = begun.elapsed();
    ensure!(loaded.fileset_count() == layout.filesets, "filesets were lost");
    drop(loaded);

    let file = cell.places().directory().join("large.fldb");
    fs::write(&file, &bytes)?;
    progress("its members begin anew with that");
    let members = cell.named(Role::Flserver);
    for member in &members {
        cell.kill(member)?;
    }
    let (restored, joined) = begin(cell, &members, &file).await?;
    Ok(Cost {
        made,
        dumped,
        saved,
        loaded: loading,
        bytes: bytes.len(),
        restored,
        joined,
    })
}

/// As a member does it.
fn save(directory: &Path, bytes: &[u8]) -> Result<Duration> {
    fs::create_dir(directory)?;
    let store = RedbStore::open(directory)?;
    let snapshot = Snapshot {
        meta: vec![0; 64],
        data: bytes.to_vec(),
    };
    let begun = Instant::now();
    store.save_snapshot(&snapshot)?;
    Ok(begun.elapsed())
}

async fn begin(cell: &mut Cell, members: &[String], file: &Path) -> Result<(Duration, Duration)> {
    let (first, others) = members.split_first().context("a cell has members")?;
    fs::remove_dir_all(cell.places().state(first))?;
    let address = cell.machine(first)?.address.to_string();
    let file = file.to_str().context("the path of the directory is no text")?;
    let words = ["cell", "restore", file, "--address", &address, "--no-start"];
    cell.seat(first, ADMINISTRATOR).baton(&words)?.done()?;
    let begun = Instant::now();
    cell.start(first)?;
    cell.wait_for_leader().await?;
    let restored = begun.elapsed();
    let mut joined = Duration::ZERO;
    for member in others {
        cell.rebuild(member)?;
        let begun = Instant::now();
        cell.join_member(member).await?;
        cell.wait_for_all().await?;
        joined = begun.elapsed();
    }
    Ok((restored, joined))
}

/// Bytes of memory that a member's process has.
///
/// # Errors
/// When it does not run.
pub fn memory(cell: &Cell, member: &str) -> Result<u64> {
    let process = cell.process(member).with_context(|| format!("{member} does not run"))?;
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .context("it has no memory")?;
    Ok(kib.parse::<u64>()? * 1_024)
}

/// Time that a member's process has had of the processors.
///
/// # Errors
/// When it does not run.
pub fn processor_time(cell: &Cell, member: &str) -> Result<Duration> {
    let process = cell.process(member).with_context(|| format!("{member} does not run"))?;
    let mut all = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{}/task", process.pid()))? {
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        let nanos = text.split_whitespace().next().context("it has no time")?.parse()?;
        all += Duration::from_nanos(nanos);
    }
    Ok(all)
}
