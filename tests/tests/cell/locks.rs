//! Locks of programs on two machines: a wait ends with whoever waits.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use baton_tests::cell::{Builder, Trust};
use baton_tests::suites::Stage;
use rustix::process::{Pid, Signal, kill_process};

/// Waits for a lock on all of a file, says what came of it, and keeps it until its input ends.
const LOCKER: &str = r#"
use Fcntl; use Errno qw(EINTR); $| = 1; $SIG{USR1} = sub {};
open(F, '+<', $ARGV[0]) or die;
my $done = fcntl(F, F_SETLKW, pack('s s x4 q q l', F_WRLCK, 0, 0, 0, 0));
print $done ? "locked\n" : $!{EINTR} ? "interrupted\n" : "$!\n";
<STDIN> if $done;
"#;

fn locker(path: &Path) -> Result<Child> {
    let mut command = Command::new("perl");
    command.args(["-e", LOCKER]).arg(path);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().context("perl does not start")
}

fn said(locker: &mut Child) -> Result<String> {
    let mut line = String::new();
    let output = locker.stdout.as_mut().context("it has an output")?;
    BufReader::new(output).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_signalled_or_killed_waits_for_its_lock_no_more() -> Result<()> {
    let stage = Stage::set(Builder::default(), 2, Trust::UsersAndRoot).await?;
    let (here, there) = (stage.first().join("f"), stage.last().join("f"));
    fs::write(&here, b"to be locked")?;
    let mut holder = locker(&here)?;
    ensure!(said(&mut holder)? == "locked");

    let mut signalled = locker(&there)?;
    let pid = Pid::from_child(&signalled);
    let signaller = std::thread::spawn(move || {
        // It may not wait yet: its handler takes what comes too early.
        while kill_process(pid, Signal::USR1).is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    ensure!(said(&mut signalled)? == "interrupted");
    signalled.wait()?;
    ensure!(signaller.join().is_ok());

    let mut killed = locker(&there)?;
    killed.kill()?;
    killed.wait()?;

    // Neither of them has it when it is given back.
    drop(holder.stdin.take());
    holder.wait()?;
    let mut next = locker(&here)?;
    ensure!(said(&mut next)? == "locked");
    drop(next.stdin.take());
    next.wait()?;
    stage.cell.down()
}
