//! One machine of a cell: a directory that stands for its file system, an address, at most one daemon.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What a machine is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A member of the location database.
    Flserver,
    /// A file server.
    Fileserver,
    /// Its users see the cell's files.
    Client,
    /// People type commands there; no daemon runs.
    Desk,
}

impl Role {
    /// Its daemon.
    pub fn program(self) -> Option<&'static str> {
        match self {
            Role::Flserver => Some("flserver"),
            Role::Fileserver => Some("fileserver"),
            Role::Client => Some("batond"),
            Role::Desk => None,
        }
    }
}

/// A machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// In the cell, and of its directory.
    pub name: String,
    /// What for.
    pub role: Role,
    /// Its own; by its first link, if it has several.
    pub address: IpAddr,
    /// By its further links.
    #[serde(default)]
    pub others: Vec<IpAddr>,
}

impl Machine {
    /// All its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        std::iter::once(self.address).chain(self.others.iter().copied())
    }
}

/// The places in a cell's directory.
#[derive(Clone, Debug)]
pub struct Places {
    directory: PathBuf,
}

impl Places {
    pub(super) fn new(directory: PathBuf) -> Places {
        Places { directory }
    }

    /// All of it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// `BATON_ROOT` of a machine.
    pub fn root(&self, machine: &str) -> PathBuf {
        self.directory.join(machine)
    }

    /// `BATON_USER_DIR` of a person.
    pub fn user(&self, name: &str) -> PathBuf {
        self.directory.join("users").join(name)
    }

    /// What a machine's daemon says.
    pub fn log(&self, machine: &str) -> PathBuf {
        self.root(machine).join("log")
    }

    /// What a member of the location database keeps.
    pub fn state(&self, member: &str) -> PathBuf {
        self.root(member).join("var/lib/baton/flserver")
    }

    /// The disks, which every file server sees: a file for each aggregate.
    pub fn disks(&self) -> PathBuf {
        self.directory.join("disks")
    }

    /// The disk with the aggregate `name`.
    pub fn disk(&self, name: &str) -> PathBuf {
        self.disks().join(name)
    }

    /// The disks as file servers see them by ports of their own.
    pub fn ports(&self) -> PathBuf {
        self.directory.join("ports")
    }

    /// The process numbers of the daemons, a file for each.
    pub fn pids(&self) -> PathBuf {
        self.directory.join("pids")
    }

    pub(super) fn pid(&self, machine: &str) -> PathBuf {
        self.pids().join(machine)
    }

    /// Links to the programs, under all their names.
    pub fn programs(&self) -> PathBuf {
        self.directory.join("bin")
    }

    /// What the harness knows of the cell.
    pub(super) fn description(&self) -> PathBuf {
        self.directory.join("cell.json")
    }

    /// For a shell.
    pub fn environment(&self) -> PathBuf {
        self.directory.join("env")
    }
}
