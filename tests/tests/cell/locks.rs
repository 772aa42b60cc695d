//! Locks of programs on two machines: a wait ends with whoever waits.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use baton_tests::cell::{Builder, Trust};
use baton_tests::suites::Stage;
use rustix::process::{Pid, Signal, kill_process};

/// Says that it listens to signals, waits for a lock on all of a file, says what came of it, and keeps it until its
/// input ends.
const LOCKER: &str = r#"
use Fcntl; use Errno qw(EINTR); $| = 1; $SIG{USR1} = sub {};
open(F, '+<', $ARGV[0]) or die;
my $lock = pack('s s x4 q q l', F_WRLCK, 0, 0, 0, 0);
print "listens\n";
my $done = fcntl(F, F_SETLKW, $lock);
print $done ? "locked\n" : $!{EINTR} ? "interrupted\n" : "$!\n";
<STDIN> if $done;
"#;

struct Locker {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Locker {
    fn start(path: &Path) -> Result<Locker> {
        let mut command = Command::new("perl");
        command.args(["-e", LOCKER]).arg(path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("perl does not start")?;
        let output = process.stdout.take().context("it has an output")?;
        let output = BufReader::new(output);
        let mut locker = Locker { process, output };
        ensure!(locker.said()? == "listens");
        Ok(locker)
    }

    fn said(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// Its input ends, and so does it.
    fn end(mut self) -> Result<()> {
        drop(self.process.stdin.take());
        self.process.wait()?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_signalled_or_killed_waits_for_its_lock_no_more() -> Result<()> {
    let stage = Stage::set(Builder::default(), 2, Trust::UsersAndRoot).await?;
    let (here, there) = (stage.first().join("f"), stage.last().join("f"));
    fs::write(&here, b"to be locked")?;
    let mut holder = Locker::start(&here)?;
    ensure!(holder.said()? == "locked");

    let mut signalled = Locker::start(&there)?;
    let pid = Pid::from_child(&signalled.process);
    let signaller = std::thread::spawn(move || {
        // It may not wait yet: its handler takes what comes too early.
        while kill_process(pid, Signal::USR1).is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    ensure!(signalled.said()? == "interrupted");
    signalled.end()?;
    ensure!(signaller.join().is_ok());

    let mut killed = Locker::start(&there)?;
    killed.process.kill()?;
    killed.end()?;

    // Neither of them has it when it is given back.
    holder.end()?;
    let mut next = Locker::start(&here)?;
    ensure!(next.said()? == "locked");
    next.end()?;
    stage.cell.down()
}
