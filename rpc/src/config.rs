//! What a machine knows by its files: where they lie, `baton.toml`, and the cells it can reach.
//!
//! A value given on the command line goes before one of the environment, that before the file, and the file
//! before the default. What concerns the whole cell is in the location database, not here.

mod cell;
mod member;
mod paths;
mod read;
mod settings;

use std::net::IpAddr;
use std::time::Duration;

use baton_types::limits::{
    ADDRESSES_MAX, CONNECTIONS_PER_ADDRESS_MAX, CONNECTS_PER_MINUTE_MAX, RECLAIM_RATE, SCRUB_RATE,
};
use baton_types::{Address, CellName, Error, Kind, Result};
use serde::{Deserialize, Serialize};

pub use cell::CellFile;
pub use member::{GenesisFile, MemberFile, RESTORE};
pub use paths::{Env, Paths, env};
pub use settings::{Origin, Setting};

/// Of the location database.
pub const PORT_FLDB: u16 = 7401;
/// Of the file service.
pub const PORT_FILES: u16 = 7402;
/// Of a file server's control.
pub const PORT_FILES_CONTROL: u16 = 7403;

/// Every key of `baton.toml`.
const KEYS: &[&str] = &[
    "cell",
    "flserver.listen",
    "fileserver.listen",
    "fileserver.devices",
    "fileserver.cache",
    "fileserver.scrub_rate",
    "fileserver.scrub_every",
    "fileserver.reclaim_rate",
    "limits.connections_per_address",
    "limits.connections_per_minute",
];

/// The daemons of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// A member of the location database.
    Flserver,
    /// A file server.
    Fileserver,
    /// The cache manager, which dials and is not dialled.
    Batond,
}

impl Daemon {
    /// Its program, and its directory under `var/lib/baton`.
    pub fn name(self) -> &'static str {
        match self {
            Daemon::Flserver => "flserver",
            Daemon::Fileserver => "fileserver",
            Daemon::Batond => "batond",
        }
    }
}

/// `baton.toml`: the same file on every machine of a pair.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The cell that commands mean when none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell: Option<CellName>,
    /// Of the location database's member here.
    pub flserver: Listen,
    /// Of the file server here.
    pub fileserver: Fileserver,
    /// Of connections.
    pub limits: Limits,
}

/// Where a daemon listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Addresses; without a port, the daemon's own.
    pub listen: Vec<Address>,
}

impl Default for Listen {
    fn default() -> Listen {
        let all = Address::parse("[::]").expect("the unspecified address is an address");
        Listen { listen: vec![all] }
    }
}

/// What the file server here listens on and works with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fileserver {
    /// Addresses; without a port, the daemon's own.
    pub listen: Vec<Address>,
    /// Paths of disks that may hold aggregates; `*`, `?` and `[...]` stand for what they do in a shell.
    pub devices: Vec<String>,
    /// For blocks of all aggregates.
    #[serde(with = "size")]
    pub cache: u64,
    /// So many bytes of an aggregate a second are read to see whether they still can be; fewer beside programs.
    #[serde(with = "size")]
    pub scrub_rate: u64,
    /// How long after the end of such a pass the next one begins; 0 or never: when somebody asks.
    #[serde(with = "interval")]
    pub scrub_every: Option<Duration>,
    /// So many bytes of what was deleted are given back in a second, on each aggregate; 0: as many as can be.
    #[serde(with = "size")]
    pub reclaim_rate: u64,
}

impl Default for Fileserver {
    fn default() -> Fileserver {
        Fileserver {
            listen: Listen::default().listen,
            devices: Vec::new(),
            cache: CACHE_BYTES,
            scrub_rate: SCRUB_RATE,
            scrub_every: Some(SCRUB_EVERY),
            reclaim_rate: RECLAIM_RATE,
        }
    }
}

/// A cache that fits the smallest machine that anybody makes a file server of.
const CACHE_BYTES: u64 = 256 << 20;

/// What rots stays alone for so long: two copies on other disks seldom rot within it.
const SCRUB_EVERY: Duration = Duration::from_hours(14 * 24);

/// Times between two things, with their units.
mod interval {
    use std::time::Duration;

    use baton_types::units::{format_duration, parse_duration};
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(every: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&every.map_or_else(|| "never".to_owned(), format_duration))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        match String::deserialize(from)?.as_str() {
            "never" | "0" => Ok(None),
            text => parse_duration(text).map(|every| Some(every).filter(|every| !every.is_zero())),
        }
        .map_err(de::Error::custom)
    }
}

/// Sizes with their units.
mod size {
    use baton_types::units::{format_bytes, parse_bytes};
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format_bytes(*bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        parse_bytes(&String::deserialize(from)?).map_err(de::Error::custom)
    }
}

/// How many connections are taken from one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// At once.
    pub connections_per_address: u32,
    /// New ones in a minute.
    pub connections_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_per_address: CONNECTIONS_PER_ADDRESS_MAX,
            connections_per_minute: CONNECTS_PER_MINUTE_MAX,
        }
    }
}

impl Config {
    /// Reads `baton.toml`, and the environment over it. A file that is not there is an empty one.
    ///
    /// # Errors
    /// Naming file and line of what is no good there, or the variable.
    pub fn load(paths: &Paths, env: Env<'_>) -> Result<Config> {
        let mut config: Config = match read::load(&paths.config(), KEYS) {
            Err(e) if e.kind == Kind::NotFound => Config::default(),
            result => result?,
        };
        if let Some(cell) = variable(env, "BATON_CELL")? {
            config.cell = Some(CellName::parse(&cell).map_err(|e| from_variable("BATON_CELL", e))?);
        }
        if let Some(list) = variable(env, "BATON_LISTEN")? {
            let addresses: Result<Vec<_>> = list.split(',').map(|text| Address::parse(text.trim())).collect();
            let listen = addresses.map_err(|e| from_variable("BATON_LISTEN", e))?;
            config.flserver.listen.clone_from(&listen);
            config.fileserver.listen = listen;
        }
        config.check()?;
        Ok(config)
    }

    /// Reads the text of a `baton.toml` found at `on`.
    ///
    /// # Errors
    /// `Invalid`, naming the line; for an unknown key also the nearest that there is.
    pub fn parse(on: &str, text: &str) -> Result<Config> {
        read::parse(on, text, KEYS)
    }

    /// Its text.
    ///
    /// # Errors
    /// `Invalid` when a value cannot be written.
    pub fn to_text(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::new(Kind::Invalid, "baton.toml").because(e.to_string()))
    }

    /// Where `daemon` listens for other machines.
    pub fn listen(&self, daemon: Daemon) -> &[Address] {
        match daemon {
            Daemon::Batond => &[],
            Daemon::Flserver => &self.flserver.listen,
            Daemon::Fileserver => &self.fileserver.listen,
        }
    }

    /// From which address `daemon` dials: the one it listens on, if that is a single one; else the system chooses.
    pub fn source(&self, daemon: Daemon) -> Option<IpAddr> {
        let mut addresses = self.listen(daemon).iter().map(|address| address.host().parse().ok());
        let first: IpAddr = addresses.next().flatten()?;
        let is_only = addresses.all(|other| other == Some(first));
        (is_only && !first.is_unspecified()).then_some(first)
    }

    fn check(&self) -> Result<()> {
        for daemon in [Daemon::Flserver, Daemon::Fileserver] {
            let count = self.listen(daemon).len();
            if !(1..=ADDRESSES_MAX).contains(&count) {
                return Err(Error::new(Kind::Invalid, format!("{}.listen", daemon.name()))
                    .because(format!("{count} addresses"))
                    .remedy(format!("give 1 to {ADDRESSES_MAX}")));
            }
        }
        Ok(())
    }
}

fn variable(env: Env<'_>, name: &str) -> Result<Option<String>> {
    match env(name).map(|value| value.into_string()) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(_)) => Err(Error::new(Kind::Invalid, name).because("not UTF-8")),
    }
}

/// The same error, with the variable that brought it in.
fn from_variable(name: &str, error: Error) -> Error {
    Error {
        on: format!("{name}: {}", error.on),
        ..error
    }
}

#[cfg(test)]
mod tests;
