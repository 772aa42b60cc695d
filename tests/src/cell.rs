//! A cell of real processes on this machine, under one directory.
//!
//! Each machine is a folder (its `BATON_ROOT`) and an address of 127.0.0.0/8. A cell is made by the commands that a
//! person would type; only the daemons are started here, so that they can be killed, stopped and started again.
//! Nothing waits on time: [`Cell::wait`] asks until something holds, and when it never does, says how everything was.
//!
//! A cell ends with [`Cell::down`], which finds out daemons that ended by themselves. One that is dropped instead has
//! failed: its logs are kept, and nothing else of it.

mod builder;
mod environment;
mod isolation;
mod links;
mod logs;
mod loopback;
mod machine;
mod mounts;
mod owners;
mod ports;
mod process;
mod programs;
mod seat;
mod talk;
mod wires;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use baton_rpc::Connection;
use baton_rpc::config::Limits;
use parking_lot::Mutex;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

pub use builder::{Builder, Reach};
pub use isolation::{isolate, isolated, run};
pub use links::Links;
pub use machine::{Machine, Places, Role};
pub use mounts::Trust;
pub use ports::Ports;
pub use process::{Life, Process, describe};
pub use programs::Programs;
pub use seat::{Output, Seat, Show};
pub use talk::{As, Talk};
pub use wires::Family;

use loopback::Loopback;
use process::Files;
use wires::Wires;

/// A condition that does not hold by then never will: a hundred times what the slowest takes on two busy cores.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How often a condition is asked for.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// What the harness knows of a cell, kept for later commands.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    cell: String,
    administrator: String,
    network: Network,
    machines: Vec<Machine>,
    /// Set for every daemon besides its own.
    variables: Vec<(String, String)>,
    /// Of connections to every machine, where not as shipped.
    limits: Option<Limits>,
}

/// Where the machines have their addresses.
#[derive(Debug, Serialize, Deserialize)]
enum Network {
    /// All in one.
    Loopback(Loopback),
    /// Each in one of its own.
    Wires(Wires),
}

impl Network {
    /// Makes one more machine part of it, and says its addresses.
    fn connect(&self, machine: &str, role: Role, host: u8) -> Result<Vec<IpAddr>> {
        match self {
            Network::Loopback(loopback) => Ok(vec![loopback.address(host)]),
            Network::Wires(wires) => {
                match role {
                    Role::Desk => wires.sit(host)?,
                    Role::Flserver | Role::Fileserver | Role::Client => wires.plug(machine, host)?,
                }
                Ok(wires.addresses(host))
            }
        }
    }
}

/// What becomes of a cell that is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its processes are killed, its directory is removed, its logs are kept.
    Failure,
    /// Nothing: others look after it.
    None,
}

/// A cell.
#[derive(Debug)]
pub struct Cell {
    description: Description,
    places: Places,
    programs: Programs,
    life: Life,
    show: Show,
    /// By which file servers reach the disks, if not as they are.
    ports: Option<Ports>,
    /// By machine; a daemon that is here is meant to run.
    processes: BTreeMap<String, Process>,
    /// To members that were asked how they are.
    connections: Mutex<BTreeMap<String, Connection>>,
    /// For whom it was made.
    test: String,
    end: End,
}

impl Cell {
    /// How to begin one.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The one that an earlier command left running in `directory`.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(directory: &Path) -> Result<Cell> {
        let directory = std::path::absolute(directory)?;
        let places = Places::new(directory);
        let path = places.description();
        let text = std::fs::read(&path)
            .with_context(|| format!("{}: no cell there; make one: cell up --dir DIR", path.display()))?;
        let description: Description = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        let mut cell = Cell {
            description,
            places,
            programs: Programs::find()?,
            life: Life::Free,
            show: Show::Nothing,
            ports: None,
            processes: BTreeMap::new(),
            connections: Mutex::default(),
            test: String::new(),
            end: End::None,
        };
        for machine in &cell.description.machines {
            if let Some(process) = Process::find(&cell.places.pid(&machine.name), &cell.places.root(&machine.name)) {
                cell.processes.insert(machine.name.clone(), process);
            }
        }
        Ok(cell)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.description.cell
    }

    /// Where everything is.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Its machines, in the order of their making.
    pub fn machines(&self) -> &[Machine] {
        &self.description.machines
    }

    /// The machine called `name`.
    ///
    /// # Errors
    /// Naming those there are.
    pub fn machine(&self, name: &str) -> Result<&Machine> {
        let machines = &self.description.machines;
        let found = machines.iter().find(|machine| machine.name == name);
        found.with_context(|| {
            let names: Vec<&str> = machines.iter().map(|machine| machine.name.as_str()).collect();
            format!("no machine is called {name}; there are {}", names.join(", "))
        })
    }

    /// The names of the machines with this role.
    pub fn named(&self, role: Role) -> Vec<String> {
        let machines = self.description.machines.iter();
        machines
            .filter(|machine| machine.role == role)
            .map(|machine| machine.name.clone())
            .collect()
    }

    /// The daemon of a machine, if it is meant to run.
    pub fn process(&self, name: &str) -> Option<&Process> {
        self.processes.get(name)
    }

    /// The ports of the disks, if the cell was made with some.
    pub fn ports(&self) -> Option<&Ports> {
        self.ports.as_ref()
    }

    /// Starts the daemon of a machine. That it serves is something to wait for.
    ///
    /// # Errors
    /// When it runs already, or does not start.
    pub fn start(&mut self, name: &str) -> Result<()> {
        let machine = self.machine(name)?.clone();
        let program = machine
            .role
            .program()
            .with_context(|| format!("{name} has no daemon"))?;
        if self.processes.get(name).is_some_and(Process::is_running) {
            bail!("{name} runs already");
        }
        let mut variables = self.description.variables.clone();
        let addresses: Vec<String> = machine.addresses().map(|address| address.to_string()).collect();
        variables.push(("BATON_LISTEN".to_owned(), addresses.join(",")));
        let (root, log, pid) = (self.places.root(name), self.places.log(name), self.places.pid(name));
        let files = Files { log: &log, pid: &pid };
        let network = match self.description.network {
            Network::Loopback(_) => None,
            Network::Wires(_) => Some(name),
        };
        let program = self.programs.path(program);
        let process = Process::start((&program, network), &root, &variables, files, self.life)?;
        self.processes.insert(name.to_owned(), process);
        Ok(())
    }

    /// Kills a daemon: it has no chance to say or write anything more. A guard sees its end, and ends too.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        let process = self.running(name)?;
        match self.machine(name)?.role {
            Role::Fileserver => {
                process.signal_server(Signal::KILL)?;
                let _ = process.signal(Signal::CONT); // a stopped guard sees nothing; one that has ended need not
            }
            Role::Flserver | Role::Client | Role::Desk => process.signal(Signal::KILL)?,
        }
        process.wait().map(drop)
    }

    /// Kills a daemon and its guard at once, as the end of their machine does: nobody attests it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn crash(&mut self, name: &str) -> Result<()> {
        self.running(name)?.kill().map(drop)
    }

    /// Asks a daemon to end, and waits until it has.
    ///
    /// # Errors
    /// When it does not run, or does not end.
    pub fn terminate(&mut self, name: &str) -> Result<Option<ExitStatus>> {
        self.end_by(name, Signal::TERM)
    }

    /// Waits until a daemon has ended by itself, as it is meant to.
    ///
    /// # Errors
    /// When it does not end.
    pub fn ended(&mut self, name: &str) -> Result<Option<ExitStatus>> {
        let process = self.running(name)?;
        process.wait()
    }

    /// Stops a daemon where it stands, and its guard; its sockets stay open.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop(&self, name: &str) -> Result<()> {
        self.look(name)?.signal_all(Signal::STOP)
    }

    /// Lets a stopped daemon go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn cont(&self, name: &str) -> Result<()> {
        self.look(name)?.signal_all(Signal::CONT)
    }

    /// Ends a daemon, if it runs, and starts it anew.
    ///
    /// # Errors
    /// When it does not end, or does not start.
    pub fn restart(&mut self, name: &str) -> Result<()> {
        if self.processes.get(name).is_some_and(Process::is_running) {
            let process = self.running(name)?;
            process.signal(Signal::TERM)?;
            process.signal_all(Signal::CONT)?; // a stopped one hears nothing else
            process.wait()?;
        }
        self.start(name)
    }

    fn end_by(&mut self, name: &str, signal: Signal) -> Result<Option<ExitStatus>> {
        let process = self.running(name)?;
        process.signal(signal)?;
        process.wait()
    }

    /// Takes the process out of those that are meant to run.
    fn running(&mut self, name: &str) -> Result<Process> {
        self.machine(name)?;
        self.processes
            .remove(name)
            .with_context(|| format!("{name} does not run"))
    }

    fn look(&self, name: &str) -> Result<&Process> {
        self.machine(name)?;
        self.processes.get(name).with_context(|| format!("{name} does not run"))
    }

    /// The first administrator, where people sit.
    pub fn administrator(&self) -> Seat {
        self.seat(builder::DESK, &self.description.administrator)
    }

    /// The first administrator's name.
    pub(crate) fn administrator_name(&self) -> &str {
        &self.description.administrator
    }

    /// The person called `user`, at the machine called `machine`.
    pub fn seat(&self, machine: &str, user: &str) -> Seat {
        Seat {
            machine: machine.to_owned(),
            root: self.places.root(machine),
            user: self.places.user(user),
            programs: self.places.programs(),
            show: self.show,
        }
    }

    /// Types `baton` and `words` as the first administrator.
    ///
    /// # Errors
    /// When the program does not start.
    pub fn baton(&self, words: &[&str]) -> Result<Output> {
        self.administrator().baton(words)
    }

    /// Types `fts` and `words` as the first administrator.
    ///
    /// # Errors
    /// When the program does not start.
    pub fn fts(&self, words: &[&str]) -> Result<Output> {
        self.administrator().fts(words)
    }

    /// Asks until `condition` has an answer.
    ///
    /// # Errors
    /// How every machine was, and the ends of the logs, if it never has.
    pub async fn wait<T>(&self, what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Ok(Some(answer)) = tokio::time::timeout(WAIT_MAX, condition()).await {
                return Ok(answer);
            }
            ensure!(
                begun.elapsed() < WAIT_MAX,
                "waited in vain for this: {what}\n{}",
                self.condition().await
            );
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Daemons that have ended are not meant to run: whoever had the cell may have killed them by hand.
    pub fn forget_the_dead(&mut self) {
        self.processes.retain(|_, process| process.is_running());
    }

    /// Ends everything and removes the directory.
    ///
    /// # Errors
    /// When a daemon that was meant to run had ended: then the logs are kept.
    pub fn down(mut self) -> Result<()> {
        let lost: Vec<&str> = self
            .processes
            .iter()
            .filter(|(_, process)| !process.is_running())
            .map(|(name, _)| name.as_str())
            .collect();
        ensure!(
            lost.is_empty(),
            "ended by themselves: {}\n{}",
            lost.join(", "),
            self.log_ends()
        );
        self.end_processes();
        self.end = End::None;
        std::fs::remove_dir_all(self.places.directory())?;
        Ok(())
    }

    /// Leaves everything as it is to whoever comes next.
    pub fn leave(mut self) -> PathBuf {
        self.end = End::None;
        self.places.directory().to_owned()
    }

    fn end_processes(&mut self) {
        for (name, process) in std::mem::take(&mut self.processes) {
            if let Err(error) = process.kill() {
                eprintln!("{name}: {error}");
            }
        }
        self.unmount_all();
        self.ports = None;
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        if self.end == End::None {
            return;
        }
        self.end_processes();
        match self.keep_logs() {
            Ok(kept) => eprintln!("the logs of the cell are kept in {}", kept.display()),
            Err(error) => eprintln!("the logs of the cell could not be kept: {error:#}"),
        }
        if let Err(error) = std::fs::remove_dir_all(self.places.directory()) {
            eprintln!("{}: {error}", self.places.directory().display());
        }
    }
}
