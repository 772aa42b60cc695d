//! A daemon's process: started, signalled, and known again by a later command.
//!
//! A process is known by its number and by the `BATON_ROOT` in its environment, which only a daemon of this cell has:
//! a number that went to a stranger since is not mistaken for it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How often a process that should end is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// A process that has not ended by then never will: SIGTERM hands leadership on, which takes a second at most.
const END_MAX: Duration = Duration::from_secs(30);

/// Whether a daemon outlives the process that started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It is killed when that ends, however that ends.
    Tied,
    /// It runs until somebody ends it.
    Free,
}

/// A daemon that runs, or has just ended. One with a guard is two processes, and is known by the guard's number.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    root: PathBuf,
    file: PathBuf,
    /// If this process started it, and so has to bury it.
    child: Option<Child>,
}

impl Process {
    /// Starts `program` under `root`, in the network called so, with its output appended to `log` and its number in
    /// `file`.
    pub(super) fn start(
        (program, network): (&Path, Option<&str>),
        root: &Path,
        variables: &[(String, String)],
        files: Files<'_>,
        life: Life,
    ) -> Result<Process> {
        let log = File::options().create(true).append(true).open(files.log)?;
        let mut words: Vec<OsString> = Vec::new();
        if life == Life::Tied {
            words.extend(["setpriv", "--pdeathsig", "KILL", "--"].map(OsString::from));
        }
        if let Some(network) = network {
            words.extend([
                "nsenter".into(),
                format!("--net=/run/netns/{network}").into(),
                "--".into(),
            ]);
        }
        words.push(program.into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        clean(&mut command);
        command
            .env("BATON_ROOT", root)
            .envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = launch(command).with_context(|| format!("{} does not start", program.display()))?;
        let pid = Pid::from_child(&child);
        fs::write(files.pid, format!("{}\n", pid.as_raw_nonzero()))?;
        Ok(Process {
            pid,
            root: root.to_owned(),
            file: files.pid.to_owned(),
            child: Some(child),
        })
    }

    /// The process that `file` names, if it is still the daemon under `root`.
    pub(super) fn find(file: &Path, root: &Path) -> Option<Process> {
        let number = fs::read_to_string(file).ok()?.trim().parse().ok()?;
        let process = Process {
            pid: Pid::from_raw(number)?,
            root: root.to_owned(),
            file: file.to_owned(),
            child: None,
        };
        process.is_running().then_some(process)
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// True until it has ended; a process that waits to be buried has.
    pub fn is_running(&self) -> bool {
        self.runs(self.pid)
    }

    /// The number of the one that serves: the guard's child, if there is a guard.
    pub fn server(&self) -> u32 {
        let server = self.family().last().copied().unwrap_or(self.pid);
        server.as_raw_nonzero().get().unsigned_abs()
    }

    /// Itself, and the child that it guards.
    fn family(&self) -> Vec<Pid> {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let children = children.split_whitespace();
        let children = children.filter_map(|child| Pid::from_raw(child.parse().ok()?));
        std::iter::once(self.pid)
            .chain(children.filter(|child| self.runs(*child)))
            .collect()
    }

    /// Whether `pid` is one of this daemon.
    fn runs(&self, pid: Pid) -> bool {
        let Ok(environment) = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())) else {
            return false;
        };
        if environment.is_empty() && self.child.is_some() {
            return self.letter().is_some_and(|letter| letter != 'Z'); // a moment after its start it has none yet
        }
        let own = format!("BATON_ROOT={}", self.root.display());
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == own.as_bytes())
    }

    /// As the kernel says in one letter: R, S, T (stopped) and so on; `None` once it has ended.
    pub fn state(&self) -> Option<char> {
        self.letter().filter(|_| self.is_running())
    }

    fn letter(&self) -> Option<char> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok()?;
        // The name before the state is in brackets, and may have brackets in it.
        stat.rsplit_once(") ")?.1.chars().next()
    }

    /// Sends `signal`.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if !self.is_running() {
            bail!("process {} has ended", self.pid());
        }
        kill_process(self.pid, signal).with_context(|| format!("signal to process {}", self.pid()))
    }

    /// Sends `signal` to the one that serves; its guard sees what becomes of it.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal_server(&self, signal: Signal) -> Result<()> {
        let server = self.family().last().copied().context("it has ended")?;
        kill_process(server, signal).with_context(|| format!("signal to process {}", server.as_raw_nonzero()))
    }

    /// Sends `signal` to all of it, as what befalls its machine does.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal_all(&self, signal: Signal) -> Result<()> {
        for pid in self.family() {
            kill_process(pid, signal).with_context(|| format!("signal to process {}", pid.as_raw_nonzero()))?;
        }
        Ok(())
    }

    /// Kills all of it.
    ///
    /// # Errors
    /// When it does not end.
    pub(super) fn kill(self) -> Result<Option<ExitStatus>> {
        let family = self.family();
        // One that has ended needs no signal.
        let _ = self.signal_all(Signal::KILL);
        self.gone(&family)
    }

    /// Waits until it has ended. How is known of own children only.
    ///
    /// # Errors
    /// When it does not end.
    pub fn wait(self) -> Result<Option<ExitStatus>> {
        let family = self.family();
        self.gone(&family)
    }

    fn gone(mut self, family: &[Pid]) -> Result<Option<ExitStatus>> {
        let begun = Instant::now();
        while family.iter().any(|pid| self.runs(*pid)) {
            if begun.elapsed() > END_MAX {
                bail!("process {} does not end ({:?} now)", self.pid(), self.state());
            }
            thread::sleep(LOOK_EVERY);
        }
        let status = self.child.take().map(|mut child| child.wait()).transpose()?;
        // Somebody may have started another one since; then the file is about that one.
        if fs::read_to_string(&self.file).is_ok_and(|number| number.trim() == self.pid().to_string()) {
            fs::remove_file(&self.file)?;
        }
        Ok(status)
    }
}

/// Where a process writes, and where its number is written.
#[derive(Clone, Copy)]
pub(super) struct Files<'a> {
    pub log: &'a Path,
    pub pid: &'a Path,
}

/// Takes everything of Baton's out of the environment: what counts is given by name.
pub(super) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BATON_")) {
        command.env_remove(name);
    }
}

/// How a process ended, in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

type Order = (Command, SyncSender<io::Result<Child>>);

/// Spawns from one thread that lives as long as this process: a tied process dies with the *thread* that made it.
fn launch(command: Command) -> io::Result<Child> {
    static LAUNCHER: OnceLock<Sender<Order>> = OnceLock::new();
    let launcher = LAUNCHER.get_or_init(|| {
        let (orders, taken) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in taken {
                // Whoever no longer waits for it has panicked, and its cell ends the process.
                let _ = reply.send(command.spawn());
            }
        });
        orders
    });
    let (reply, child) = sync_channel(1);
    let gone = |_| io::Error::other("the thread that starts processes is gone");
    launcher
        .send((command, reply))
        .map_err(|_| io::Error::other("the thread that starts processes is gone"))?;
    child.recv().map_err(gone)?
}
