//! Files that tell an `flserver` who it is: written by `baton`, read by the daemon.

use std::path::PathBuf;

use baton_types::{Address, CellName, EntryName, PrincipalName, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Daemon, Paths, read};

/// The file that a member begins with when its cell lost all of them; beside `member.toml`, for its first start.
pub const RESTORE: &str = "restore.fldb";

/// `member.toml`: which member of the location database this machine is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberFile {
    /// Raft's number for it.
    pub number: u64,
    /// The machine's name in the cell.
    pub name: EntryName,
    /// Where the other members find it.
    pub addresses: Vec<Address>,
    /// The members there were when it joined: until its state knows itself, it believes them too.
    #[serde(default)]
    pub founders: Vec<EntryName>,
}

impl MemberFile {
    const KEYS: &'static [&'static str] = &["number", "name", "addresses", "founders"];

    /// Where it lies.
    pub fn path(paths: &Paths) -> PathBuf {
        paths.state(Daemon::Flserver).join("member.toml")
    }

    /// Reads it.
    ///
    /// # Errors
    /// `NotFound` on a machine that is no member; `Invalid`, naming file and line.
    pub fn load(paths: &Paths) -> Result<MemberFile> {
        read::load(&MemberFile::path(paths), MemberFile::KEYS)
    }

    /// Writes it.
    ///
    /// # Errors
    /// Whatever keeps the file from being written.
    pub fn save(&self, paths: &Paths) -> Result<()> {
        read::save(&MemberFile::path(paths), self)
    }
}

/// `genesis.toml`: the first change of a new cell, for its first member's first start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisFile {
    /// The cell's id.
    pub cell_id: Uuid,
    /// Its name.
    pub cell: CellName,
    /// Its first administrator.
    pub administrator: PrincipalName,
    /// The administrator's uid.
    pub administrator_id: u32,
    /// Its first member.
    pub member: EntryName,
    /// Where that is found.
    pub addresses: Vec<Address>,
}

impl GenesisFile {
    const KEYS: &'static [&'static str] = &[
        "cell_id",
        "cell",
        "administrator",
        "administrator_id",
        "member",
        "addresses",
    ];

    /// Where it lies until it was used.
    pub fn path(paths: &Paths) -> PathBuf {
        paths.state(Daemon::Flserver).join("genesis.toml")
    }

    /// Reads it.
    ///
    /// # Errors
    /// `NotFound` where there is none, or no more; `Invalid`, naming file and line.
    pub fn load(paths: &Paths) -> Result<GenesisFile> {
        read::load(&GenesisFile::path(paths), GenesisFile::KEYS)
    }

    /// Writes it.
    ///
    /// # Errors
    /// Whatever keeps the file from being written.
    pub fn save(&self, paths: &Paths) -> Result<()> {
        read::save(&GenesisFile::path(paths), self)
    }
}
