//! This machine: its name, where others find it, who calls, and its daemons.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use baton_rpc::config::{Daemon, PORT_FLDB, Paths};
use baton_types::{Address, EntryName, Error, Kind, PrincipalName, Result};

/// What the first administrator is called where root makes the cell: `root` is nobody's name in a cell.
const ADMINISTRATOR: &str = "admin";
/// The uid of the first person on most systems.
const FIRST_UID: u32 = 1_000;

/// This machine's name: all of it if a cell can take that, else its first part.
///
/// # Errors
/// `Invalid` when it is no name for a machine of a cell.
pub fn name() -> Result<EntryName> {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .to_ascii_lowercase();
    let first = name.split('.').next().unwrap_or_default();
    EntryName::parse(&name)
        .or_else(|_| EntryName::parse(first))
        .map_err(|e| e.remedy("give the machine another name in the cell: --host NAME"))
}

/// Where others find this machine: by `name` if that leads to it, else by its address on the network.
pub fn address(name: &EntryName) -> Address {
    let by_name = (name.as_str(), PORT_FLDB).to_socket_addrs();
    let is_found = by_name.is_ok_and(|mut found| found.any(|address| !address.ip().is_loopback()));
    let address = match is_found {
        true => name.to_string(),
        false => network_address().to_string(),
    };
    Address::parse(&address).unwrap_or_else(|_| panic!("{address}: neither a host's name nor an IP address"))
}

/// The address that this machine would call another network from; nothing is sent to find it out.
fn network_address() -> IpAddr {
    let outside = (Ipv4Addr::new(192, 0, 2, 1), 9); // of no network (RFC 5737)
    let found = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect(outside)?;
        socket.local_addr()
    });
    found.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}

/// Who types this, and with which uid: behind `sudo`, who typed that.
///
/// # Errors
/// `Invalid` when the user's name is none for a principal.
pub fn caller() -> Result<(PrincipalName, u32)> {
    let uid = rustix::process::getuid().as_raw();
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (name, uid) = match uid {
        0 => match (
            variable("SUDO_USER"),
            variable("SUDO_UID").and_then(|uid| uid.parse().ok()),
        ) {
            (Some(name), Some(uid)) if uid != 0 => (name, uid),
            _ => (ADMINISTRATOR.to_owned(), FIRST_UID),
        },
        uid => (name_of(uid).or_else(|| variable("USER")).unwrap_or_default(), uid),
    };
    let name = PrincipalName::parse(&name).map_err(|e| e.remedy("name the administrator: --admin USER"))?;
    Ok((name, uid))
}

/// The uid of the person called `name` on this machine; else the first that people have.
pub fn uid_of(name: &PrincipalName) -> u32 {
    let uid = passwd()
        .into_iter()
        .find(|(user, _)| user == name.as_str())
        .map(|(_, uid)| uid);
    uid.filter(|uid| *uid != 0).unwrap_or(FIRST_UID)
}

fn name_of(uid: u32) -> Option<String> {
    passwd()
        .into_iter()
        .find(|(_, other)| *other == uid)
        .map(|(name, _)| name)
}

/// Names and uids of the people that this machine knows by itself.
fn passwd() -> Vec<(String, u32)> {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let person = |line: &str| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(person).collect()
}

/// A daemon that was started.
#[derive(Debug)]
pub struct Started {
    child: Child,
    daemon: Daemon,
    /// Where it says what it does.
    pub log: PathBuf,
}

impl Started {
    /// Starts `daemon`, which lives on when this process and its terminal are gone.
    ///
    /// # Errors
    /// Naming the program or the log that is not there.
    pub fn start(daemon: Daemon, paths: &Paths) -> Result<Started> {
        let program = program(daemon.name())?;
        let log = paths.state(daemon).join("log");
        let failed = |e| Error::io(log.display().to_string(), e);
        let stdout = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(failed)?;
        let stderr = stdout.try_clone().map_err(failed)?;
        let mut command = Command::new(&program);
        command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .current_dir("/");
        in_a_session_of_its_own(&mut command);
        let child = command
            .spawn()
            .map_err(|e| Error::io(program.display().to_string(), e))?;
        Ok(Started { child, daemon, log })
    }

    /// # Errors
    /// When it has ended already, with the last that it said.
    pub fn check(&mut self) -> Result<()> {
        let Ok(Some(status)) = self.child.try_wait() else {
            return Ok(());
        };
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        let last = said
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("nothing");
        Err(Error::new(Kind::Io, self.daemon.name())
            .because(format!(
                "it ended at once ({status}), and said: {}",
                crate::output::printable(last)
            ))
            .remedy(format!("mend that, and start it again: {}", self.daemon.name())))
    }
}

#[expect(
    unsafe_code,
    reason = "the standard library has no safe way to a session of one's own"
)]
fn in_a_session_of_its_own(command: &mut Command) {
    let leave = || rustix::process::setsid().map(drop).map_err(io::Error::from);
    // SAFETY: between fork and exec `setsid` alone is called, which is safe in a signal handler and allocates nothing.
    unsafe { command.pre_exec(leave) };
}

/// A program of ours: beside this one, else where the shell would find it.
fn program(name: &str) -> Result<PathBuf> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| own.parent().map(Path::to_path_buf));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
        .ok_or_else(|| {
            Error::new(Kind::NotFound, name.to_owned())
                .because("it is neither beside this program nor in PATH")
                .remedy("install it, and start it by hand")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_name_and_an_address() {
        let name = name().unwrap();
        assert!(!address(&name).host().is_empty());
    }

    #[test]
    fn root_is_nobody_of_the_cell() {
        let (name, uid) = caller().unwrap();
        assert_ne!(name.as_str(), "root");
        assert_ne!(uid, 0);
        assert_ne!(uid_of(&PrincipalName::parse("root").unwrap()), 0);
    }

    #[test]
    fn a_program_that_is_nowhere_is_named() {
        let error = program("no-such-daemon").unwrap_err();
        assert!(
            error.to_string().starts_with("no-such-daemon: it is neither beside"),
            "{error}"
        );
    }
}
