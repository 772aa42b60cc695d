//! The making of a cell, step by step, by the commands that a person would type.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use baton_rpc::config::{Config, Fileserver, Limits, Paths};
use baton_rpc::fldb::{Freshness, Query};
use baton_types::record::{Record, Table};
use parking_lot::Mutex;

use super::environment::link_programs;
use super::isolation::test_name;
use super::loopback::{self, Loopback};
use super::wires::{Family, Wires};
use super::{As, Cell, Description, End, Life, Machine, Network, Places, Ports, Programs, Role, Show, Trust};

/// The machine that people sit at.
pub(super) const DESK: &str = "desk";
/// The first administrator.
const ADMINISTRATOR: &str = "admin";
/// The name of every cell made here: reserved for such by RFC 2606.
const CELL: &str = "cell.example";

/// Of an aggregate's disk: a file with holes, twice the smallest there may be.
const DISK_BYTES: u64 = 256 << 20;
/// Of each file server: there are several on this machine.
const CACHE_BYTES: u64 = 64 << 20;

/// What a cell is to be.
#[derive(Clone, Debug)]
pub struct Builder {
    flservers: usize,
    servers: usize,
    aggregates: usize,
    disk_bytes: u64,
    mounts: usize,
    directory: Option<PathBuf>,
    cell: String,
    variables: Vec<(String, String)>,
    limits: Option<Limits>,
    life: Life,
    show: Show,
    reach: Reach,
    wires: Option<(u8, Family)>,
}

/// How file servers reach the disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// As they are.
    Directly,
    /// By ports, which can be shut.
    ByPorts,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            flservers: 3,
            servers: 0,
            aggregates: 0,
            disk_bytes: DISK_BYTES,
            mounts: 0,
            directory: None,
            cell: CELL.to_owned(),
            variables: vec![("BATON_LOG".to_owned(), "info".to_owned())],
            limits: None,
            life: Life::Tied,
            show: Show::Nothing,
            reach: Reach::Directly,
            wires: None,
        }
    }
}

impl Builder {
    /// Members of the location database: 3 unless said otherwise.
    #[must_use]
    pub fn flservers(mut self, count: usize) -> Builder {
        self.flservers = count;
        self
    }

    /// File servers: none unless said otherwise.
    #[must_use]
    pub fn servers(mut self, count: usize) -> Builder {
        self.servers = count;
        self
    }

    /// File servers: so many, if it would be fewer.
    #[must_use]
    pub fn servers_at_least(mut self, count: usize) -> Builder {
        self.servers = self.servers.max(count);
        self
    }

    /// Client machines, each with the cell mounted; the servers believe them who their users are, root included.
    #[must_use]
    pub fn mounts(mut self, count: usize) -> Builder {
        self.mounts = count;
        self
    }

    /// Bytes of each disk. The files have holes: only what is written takes room.
    #[must_use]
    pub fn disk_bytes(mut self, bytes: u64) -> Builder {
        self.disk_bytes = bytes;
        self
    }

    /// Aggregates, which every file server sees and the first one exports.
    #[must_use]
    pub fn aggregates(mut self, count: usize) -> Builder {
        self.aggregates = count;
        self
    }

    /// Where to make it: a directory that is not there yet. Else it is a new one among the temporary ones.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Builder {
        self.directory = Some(directory.into());
        self
    }

    /// Its name.
    #[must_use]
    pub fn cell(mut self, name: &str) -> Builder {
        name.clone_into(&mut self.cell);
        self
    }

    /// Set for each of its daemons.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Builder {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How many connections its machines take from one address: as shipped, unless said otherwise. All clients here
    /// share one address, as a whole site behind NAT does.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Builder {
        self.limits = Some(limits);
        self
    }

    /// Whether its daemons outlive this process: not, unless said otherwise.
    #[must_use]
    pub fn life(mut self, life: Life) -> Builder {
        self.life = life;
        self
    }

    /// Whether the commands are shown.
    #[must_use]
    pub fn show(mut self, show: Show) -> Builder {
        self.show = show;
        self
    }

    /// How its file servers reach the disks: directly, unless said otherwise.
    #[must_use]
    pub fn reach(mut self, reach: Reach) -> Builder {
        self.reach = reach;
        self
    }

    /// A network of its own for each machine, with `links` cables: all are on this machine's loopback, unless said
    /// otherwise. Whoever asks for it is [`isolated`](super::isolated).
    #[must_use]
    pub fn wires(mut self, links: u8, family: Family) -> Builder {
        self.wires = Some((links, family));
        self
    }

    /// Makes it, and waits until all of it serves.
    ///
    /// # Errors
    /// What a command said that failed; the logs are kept then.
    pub async fn start(self) -> Result<Cell> {
        ensure!(
            (1..=5).contains(&self.flservers),
            "a location database has one to five members"
        );
        ensure!(
            self.servers > 0 || self.aggregates + self.mounts == 0,
            "aggregates and mounts need a server"
        );
        let mut cell = self.empty()?;
        match self.fill(&mut cell).await {
            Ok(()) => Ok(cell),
            Err(error) => Err(error.context(cell.log_ends())),
        }
    }

    fn empty(&self) -> Result<Cell> {
        let programs = Programs::find()?;
        let directory = match &self.directory {
            Some(directory) => directory.clone(),
            None => std::env::temp_dir().join(format!("baton-{:016x}", rand::random::<u64>())),
        };
        let directory = std::path::absolute(directory)?;
        if directory.exists() {
            bail!("{} is there already; give a directory that is not", directory.display());
        }
        std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        let places = Places::new(directory);
        std::fs::create_dir(places.pids())?;
        std::fs::create_dir(places.disks())?;
        link_programs(&places, &programs)?;
        let test = test_name().replace("::", "-");
        Ok(Cell {
            description: Description {
                cell: self.cell.clone(),
                administrator: ADMINISTRATOR.to_owned(),
                network: match self.wires {
                    None => Network::Loopback(Loopback::draw()?),
                    Some((links, family)) => Network::Wires(Wires::lay(links, family)?),
                },
                machines: Vec::new(),
                variables: self.variables.clone(),
                limits: self.limits,
            },
            places,
            programs,
            life: self.life,
            show: self.show,
            ports: None,
            processes: BTreeMap::new(),
            connections: Mutex::default(),
            test,
            end: End::Failure,
        })
    }

    async fn fill(&self, cell: &mut Cell) -> Result<()> {
        cell.add_machine(DESK, Role::Desk)?;
        cell.first_member().await?;
        for index in 1..self.flservers {
            cell.add_member(&format!("fl{}", index + 1)).await?;
        }
        cell.wait_for_all().await?;
        cell.people()?;
        let aggregates: Vec<String> = (0..self.aggregates)
            .map(|index| format!("lfs{:02}", index + 1))
            .collect();
        for name in &aggregates {
            cell.make_aggregate(name, self.disk_bytes)?;
        }
        if self.reach == Reach::ByPorts {
            cell.ports = Some(Ports::mount(&cell.places.disks(), &cell.places.ports())?);
        }
        for index in 0..self.servers {
            cell.add_server(&format!("fs{}", index + 1)).await?;
        }
        for name in &aggregates {
            cell.export("fs1", name).await?;
        }
        cell.wait_for_labels(&aggregates).await?;
        for index in 0..self.mounts {
            cell.add_client(&format!("client{}", index + 1), Trust::UsersAndRoot)
                .await?;
        }
        let description = serde_json::to_vec_pretty(&cell.description)?;
        std::fs::write(cell.places.description(), description)?;
        cell.write_environment()
    }
}

impl Cell {
    async fn first_member(&mut self) -> Result<()> {
        let machine = self.add_machine("fl1", Role::Flserver)?;
        let (cell, administrator) = (self.name().to_owned(), self.description.administrator.clone());
        let addresses = address_words(&machine);
        let mut words = vec!["cell", "create", &cell, "--host", "fl1", "--admin", &administrator];
        words.extend(addresses.iter().map(String::as_str));
        words.push("--no-start");
        self.seat("fl1", &administrator).baton(&words)?.done()?;
        self.start("fl1")?;
        self.wait_for_leader().await.map(drop)
    }

    /// Sets up a machine, and makes it one more member.
    ///
    /// # Errors
    /// What a command said that failed.
    pub async fn add_member(&mut self, name: &str) -> Result<()> {
        self.add_machine(name, Role::Flserver)?;
        self.join_member(name).await
    }

    /// Puts an empty machine in the place of one that is lost with all its disks. It has the name and the address.
    ///
    /// # Errors
    /// When the daemon runs still.
    pub fn rebuild(&self, name: &str) -> Result<()> {
        ensure!(self.process(name).is_none(), "{name} runs");
        let root = self.places.root(name);
        std::fs::remove_dir_all(&root)?;
        self.set_up(name, self.machine(name)?.role)
    }

    /// Invites a machine, lets it join, and starts it as a member.
    ///
    /// # Errors
    /// What a command said that failed.
    pub async fn join_member(&mut self, name: &str) -> Result<()> {
        let machine = self.machine(name)?.clone();
        let token = self.invite(&[name, "--member"])?;
        let addresses = address_words(&machine);
        let mut words = vec!["join", &token, "--no-start"];
        words.extend(addresses.iter().map(String::as_str));
        let seat = self.seat(name, &self.description.administrator);
        seat.baton(&words)?.done()?;
        self.start(name)?;
        let what = format!("{name} knows the cell");
        self.wait(&what, async || {
            self.status(name).await.ok().filter(|status| status.applied > 0)
        })
        .await?;
        Ok(())
    }

    /// The machine that people sit at joins last: then it hears of all members.
    fn people(&self) -> Result<()> {
        let token = self.invite(&[DESK])?;
        self.administrator().baton(&["join", &token])?.done()?;
        Ok(())
    }

    /// Invites a person, who logs in where people sit.
    ///
    /// # Errors
    /// What a command said that failed.
    pub fn add_user(&self, name: &str, groups: &[&str]) -> Result<()> {
        let mut words = vec!["--user", name];
        for group in groups {
            words.extend(["--group", group]);
        }
        let token = self.invite(&words)?;
        self.seat(DESK, name).baton(&["login", "--invite", &token])?.done()?;
        Ok(())
    }

    /// Invites a machine, lets it join, and starts it as one more file server.
    ///
    /// # Errors
    /// What a command said that failed.
    pub async fn add_server(&mut self, name: &str) -> Result<()> {
        self.add_machine(name, Role::Fileserver)?;
        let token = self.invite(&[name])?;
        self.seat(name, &self.description.administrator)
            .baton(&["join", &token, "--no-start"])?
            .done()?;
        self.start(name)?;
        let client = self.client(As::Machine(name))?;
        let what = format!("{name} has registered");
        self.wait(&what, async || {
            let listing = client
                .list(&Query::tables(&[Table::Server], Freshness::Local))
                .await
                .ok()?;
            let is_it = |record: &Record| matches!(record, Record::Server(server) if server.name.as_str() == name);
            listing.records.iter().any(is_it).then_some(())
        })
        .await
    }

    /// Makes a disk that every file server sees, with an aggregate on it.
    ///
    /// # Errors
    /// What the command said, if it failed.
    pub fn make_aggregate(&self, name: &str, bytes: u64) -> Result<()> {
        let path = self.places.disks().join(name);
        let disk = std::fs::File::create_new(&path).with_context(|| path.display().to_string())?;
        disk.set_len(bytes)?;
        let path = path.to_str().context("the directory's name is no text")?;
        let words = ["-aggregate", path, "-name", name];
        self.administrator().run("newaggr", &words)?.done().map(drop)
    }

    /// Has a file server export an aggregate, as root of its machine.
    ///
    /// # Errors
    /// When it does not.
    pub async fn export(&self, server: &str, name: &str) -> Result<()> {
        let seat = self.seat(server, &self.description.administrator);
        let what = format!("{server} exports {name}");
        self.wait(&what, async || {
            let output = seat.dfsexport(&["-aggregate", name]).ok()?;
            // Its socket comes a moment after it has registered.
            (output.code == 0).then_some(())
        })
        .await
    }

    /// Waits until every file server has reported the labels of these aggregates.
    ///
    /// # Errors
    /// When one does not.
    async fn wait_for_labels(&self, names: &[String]) -> Result<()> {
        let client = self.client(As::User(&self.description.administrator))?;
        let servers = self.named(Role::Fileserver).len();
        self.wait("every file server sees every disk", async || {
            let query = Query::tables(&[Table::Aggregate], Freshness::Local);
            let records = client.list(&query).await.ok()?.records;
            let is_seen = |record: &&Record| match record {
                Record::Aggregate(aggregate) => aggregate.attached.len() == servers,
                _ => false,
            };
            (records.iter().filter(is_seen).count() >= names.len()).then_some(())
        })
        .await
    }

    /// A token, good once.
    ///
    /// # Errors
    /// What the command said, if it failed.
    pub fn invite(&self, words: &[&str]) -> Result<String> {
        let machine = if self.has_joined(DESK) { DESK } else { "fl1" };
        let seat = self.seat(machine, &self.description.administrator);
        let said = seat.baton(&[&["cell", "invite"], words].concat())?.done()?;
        let token = said.split_whitespace().last().context("no token was printed")?;
        Ok(token.to_owned())
    }

    pub(super) fn add_machine(&mut self, name: &str, role: Role) -> Result<Machine> {
        let first = match role {
            Role::Flserver => loopback::FLSERVERS,
            Role::Fileserver => loopback::FILESERVERS,
            Role::Client => loopback::CLIENTS,
            Role::Desk => loopback::DESK,
        };
        let host = loopback::host(first, self.named(role).len())?;
        let mut addresses = self.description.network.connect(name, role, host)?.into_iter();
        let machine = Machine {
            name: name.to_owned(),
            role,
            address: addresses.next().context("a machine has an address")?,
            others: addresses.collect(),
        };
        self.set_up(name, role)?;
        self.description.machines.push(machine.clone());
        Ok(machine)
    }

    /// An empty machine; with a `baton.toml` only where something belongs there.
    fn set_up(&self, name: &str, role: Role) -> Result<()> {
        let root = self.places.root(name);
        std::fs::create_dir(&root).with_context(|| format!("machine {name}"))?;
        let devices = match role {
            Role::Fileserver => {
                let disks = match self.ports {
                    Some(_) => self.places.ports(),
                    None => self.places.disks(),
                };
                vec![disks.join("*").display().to_string()]
            }
            Role::Flserver | Role::Client | Role::Desk => Vec::new(),
        };
        if self.description.limits.is_none() && devices.is_empty() {
            return Ok(());
        }
        let usual = Config::default();
        let config = Config {
            cell: Some(self.cell_name()?),
            limits: self.description.limits.unwrap_or(usual.limits),
            fileserver: Fileserver {
                devices,
                cache: CACHE_BYTES,
                ..usual.fileserver
            },
            flserver: usual.flserver,
        };
        let path = Paths::under(root).config();
        let folder = path.parent().context("a file lies in a folder")?;
        std::fs::create_dir_all(folder)?;
        std::fs::write(&path, config.to_text()?).with_context(|| path.display().to_string())
    }
}

/// The addresses of a member, as words of a command.
fn address_words(machine: &Machine) -> Vec<String> {
    let words = machine.addresses();
    words
        .flat_map(|address| ["--address".to_owned(), address.to_string()])
        .collect()
}
