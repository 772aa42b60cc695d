//! A machine whose daemon is stopped: its kernel shows nothing that another machine has replaced since (I4).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use baton_tests::cell::{Builder, Trust};
use baton_tests::suites::Stage;
use rustix::process::{Pid, Signal, kill_process};

const OLD: &[u8; 4096] = &[b'o'; 4096];
const NEW: &[u8; 4096] = &[b'n'; 4096];
/// Between two reads of what may be old.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often it is read after the other machine's write has returned.
const LOOKS: u32 = 50;

/// The daemon whose guard is `guard`.
fn daemon(guard: u32) -> Result<Pid> {
    let children = fs::read_to_string(format!("/proc/{guard}/task/{guard}/children"))?;
    let child = children.split_whitespace().next().context("the guard has a daemon")?;
    Pid::from_raw(child.parse()?).context("a process")
}

/// The first page, if it can still be read.
fn page(file: &File) -> io::Result<[u8; 4096]> {
    let mut page = [0; 4096];
    file.read_exact_at(&mut page, 0).map(|()| page)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_daemon_leaves_no_old_byte_to_its_machine() -> Result<()> {
    let stage = Stage::set(Builder::default(), 2, Trust::UsersAndRoot).await?;
    let (path, elsewhere) = (stage.first().join("f"), stage.last().join("f"));
    fs::write(&path, OLD)?;
    let open = File::open(&path)?;
    ensure!(page(&open)? == *OLD);

    let guard = stage.cell.process("client1").context("a daemon")?.pid();
    let daemon = daemon(guard)?;
    kill_process(daemon, Signal::STOP)?;
    ensure!(
        page(&open)? == *OLD,
        "the kernel keeps it, and nobody has asked for the hold yet"
    );

    let mut written = tokio::task::spawn_blocking(move || fs::write(elsewhere, NEW));
    loop {
        let is_done = tokio::time::timeout(LOOK_EVERY, &mut written).await;
        if let Ok(done) = is_done {
            done??;
            break;
        }
        ensure!(page(&open).is_err() || page(&open).is_ok_and(|seen| seen == *OLD));
    }
    for _ in 0..LOOKS {
        ensure!(page(&open).is_err(), "by a descriptor");
        let again = File::open(&path).and_then(|file| page(&file));
        ensure!(again.is_err(), "by its name: {:?}", again.map(|page| page[0]));
        tokio::time::sleep(LOOK_EVERY).await;
    }
    ensure!(fs::read(stage.last().join("f"))? == NEW);

    kill_process(daemon, Signal::CONT)?;
    stage.cell.down()
}
