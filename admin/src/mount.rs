//! `mount.baton`: asks this machine's batond to mount, and starts one if none runs.
//!
//! Nothing here or there waits for the cell: a machine boots whether or not its servers answer.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use baton_proto::v1;
use baton_proto::v1::client_request::What as Question;
use baton_rpc::config::{Daemon, Paths, env};
use baton_rpc::daemon::Lock;
use baton_security::files;
use baton_types::{Error, Kind, Result};

use crate::batond::{Batond, on};
use crate::exit;
use crate::grammar::Mount;
use crate::machine::Started;
use crate::program::Program;

/// How long a batond may take until it answers: it asks nobody for that.
const START: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Carries it out.
pub fn run(command: &Mount) -> ExitCode {
    exit::print_result(Program::MountBaton, mount(command))
}

fn mount(command: &Mount) -> Result<String> {
    let paths = Paths::from_env(&env);
    let options = command.options()?;
    let directory = directory(&command.directory)?;
    if command.fake {
        return Ok(String::new());
    }
    let mount = v1::ClientMount {
        cell: command.cell.as_str().as_bytes().to_vec(),
        directory: directory.as_os_str().as_bytes().to_vec(),
        read_only: options.read_only == Some(true),
        suid: options.suid == Some(true),
        dev: options.dev == Some(true),
        no_exec: options.exec == Some(false),
        source: options
            .source
            .map(|source| source.to_string())
            .unwrap_or_default()
            .into_bytes(),
    };
    connected(&paths)?.ask(Question::Mount(mount))?;
    Ok(match command.verbose {
        true => format!("{} is mounted at {}\n", command.cell, directory.display()),
        false => String::new(),
    })
}

fn directory(path: &Path) -> Result<std::path::PathBuf> {
    // The place itself is not looked into: a mount whose daemon is gone may be there.
    let canonical = fs::canonicalize(path).map_err(|e| on(path, Error::io("", e)))?;
    match rustix::fs::statx(
        rustix::fs::CWD,
        &canonical,
        rustix::fs::AtFlags::STATX_DONT_SYNC,
        rustix::fs::StatxFlags::TYPE,
    ) {
        Ok(found) if !rustix::fs::FileType::from_raw_mode(found.stx_mode.into()).is_dir() => {
            Err(on(&canonical, Error::new(Kind::NotDirectory, "")))
        }
        _ => Ok(canonical),
    }
}

/// Held while batond is started: at boot there is one of us for each line of `/etc/fstab`.
fn take_turn(path: &Path) -> Result<fs::File> {
    let file = fs::File::options().create(true).truncate(false).write(true).open(path);
    file.and_then(|file| file.lock().map(|()| file))
        .map_err(|e| Error::io(path.display().to_string(), e))
}

/// A conversation with batond, which is started if need be.
fn connected(paths: &Paths) -> Result<Batond> {
    match Batond::connect(paths) {
        Err(e) if e.kind == Kind::Unreachable => {}
        result => return result,
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Error::new(Kind::Denied, "mount").because("root alone may do that"));
    }
    let state = paths.state(Daemon::Batond);
    files::make_directory(&state)?;
    let _turn = take_turn(&state.join("start"))?;
    if let Ok(batond) = Batond::connect(paths) {
        return Ok(batond); // somebody else has started it meanwhile
    }
    let begun = Instant::now();
    let mut started = match Lock::is_held(&state) {
        true => None, // one is just coming up
        false => Some(Started::start(Daemon::Batond, paths)?),
    };
    loop {
        match Batond::connect(paths) {
            Err(e) if e.kind == Kind::Unreachable && begun.elapsed() < START => {}
            Err(e) if e.kind == Kind::Unreachable => {
                return Err(Error::new(Kind::TimedOut, "batond")
                    .because(format!("it does not answer after {} s", START.as_secs()))
                    .remedy("look into its log"));
            }
            result => return result,
        }
        // One that ended because another has the lock leaves it to that one.
        if let Some(started) = started.as_mut().filter(|_| !Lock::is_held(&state)) {
            started.check()?;
        }
        std::thread::sleep(LOOK);
    }
}
