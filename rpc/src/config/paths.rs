//! Where everything lies on a machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use baton_types::{CellName, Error, Kind, Result};

use super::Daemon;

/// Looks up a variable of the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The environment of this process; a variable that is empty is one that is not set.
pub fn env(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The places of one machine, all under one root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
    /// `None`: the environment names no home.
    user: Option<PathBuf>,
}

impl Paths {
    /// As the environment says: `BATON_ROOT`, else `/`; the user's own under `BATON_USER_DIR`, else
    /// `BATON_ROOT/user`, else `~/.config/baton`.
    pub fn from_env(env: Env<'_>) -> Paths {
        let root = env("BATON_ROOT").map(PathBuf::from);
        let user = env("BATON_USER_DIR")
            .map(PathBuf::from)
            .or_else(|| root.as_ref().map(|root| root.join("user")))
            .or_else(|| env("HOME").map(|home| Path::new(&home).join(".config/baton")));
        Paths {
            root: root.unwrap_or_else(|| PathBuf::from("/")),
            user,
        }
    }

    /// Everything under `root`.
    pub fn under(root: impl Into<PathBuf>) -> Paths {
        let root = root.into();
        Paths {
            user: Some(root.join("user")),
            root,
        }
    }

    /// What goes before all others.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `baton.toml`.
    pub fn config(&self) -> PathBuf {
        self.root.join("etc/baton/baton.toml")
    }

    /// The directory of cells.
    pub fn cells(&self) -> PathBuf {
        self.root.join("etc/baton/cells.d")
    }

    /// The file of one cell.
    pub fn cell(&self, cell: &CellName) -> PathBuf {
        self.cells().join(format!("{cell}.toml"))
    }

    /// The machine's keys and certificates.
    pub fn pki(&self) -> PathBuf {
        self.root.join("etc/baton/pki")
    }

    /// What a daemon keeps.
    pub fn state(&self, daemon: Daemon) -> PathBuf {
        self.root.join("var/lib/baton").join(daemon.name())
    }

    /// A daemon's control socket.
    pub fn socket(&self, daemon: Daemon) -> PathBuf {
        let name = match daemon {
            Daemon::Flserver => "flserver.sock",
            Daemon::Fileserver => "fileserver.sock",
            Daemon::Batond => "client.sock",
        };
        self.root.join("run/baton").join(name)
    }

    /// The calling user's identity in `cell`.
    ///
    /// # Errors
    /// `NotFound` when the environment does not say where a user's files are.
    pub fn user(&self, cell: &CellName) -> Result<PathBuf> {
        match &self.user {
            Some(user) => Ok(user.join(cell.as_str())),
            None => Err(Error::new(Kind::NotFound, "your identity")
                .because("HOME is not set")
                .remedy("set HOME, or BATON_USER_DIR to the directory that holds it")),
        }
    }
}
