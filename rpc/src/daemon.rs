//! What every daemon does before anything else: one of a kind, a log, and no half-dead process. And what a guard
//! does: it starts its daemon, passes signals on, and sees its end.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};

use baton_security::files::make_directory;
use baton_types::{Error, Kind, Result};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Held for the life of a daemon: one of a kind under one root.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the lock is the open file")] File);

impl Lock {
    /// Takes the lock of the daemon whose state lies in `directory`, which is made if need be.
    ///
    /// # Errors
    /// `Busy` if such a daemon runs already.
    pub fn take(directory: &Path) -> Result<Lock> {
        make_directory(directory)?;
        let path = directory.join("lock");
        let on = || path.display().to_string();
        let open = File::options().create(true).truncate(false).write(true).open(&path);
        let mut file = open.map_err(|e| Error::io(on(), e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(Kind::Busy, on())
                    .because("another process holds it: this daemon runs already")
                    .remedy("one daemon of a kind runs under one root; BATON_ROOT names another"));
            }
            Err(TryLockError::Error(e)) => return Err(Error::io(on(), e)),
        }
        // For people only: the lock itself says whether anybody runs.
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(|e| Error::io(on(), e))?;
        Ok(Lock(file))
    }

    /// Whether such a daemon runs, or is just starting.
    pub fn is_held(directory: &Path) -> bool {
        let open = File::options().write(true).open(directory.join("lock"));
        open.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }
}

/// Takes as many descriptors as this process may have: each connection is one, and the usual 1,024 are too few for a
/// thousand servers and a thousand watchers.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, at_most = limit.current, "the limit of open files stays as it is");
    }
}

/// Logs to standard error: what `BATON_LOG` says, or else `usual`.
pub fn log_to_stderr(usual: &str) {
    let filter = EnvFilter::try_from_env("BATON_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}

/// Makes any panic the end of the process: a broken invariant must not leave half a daemon serving (I10).
pub fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

/// Passes signals on to the daemon `child`, until it ends.
///
/// # Errors
/// When signals cannot be heard, or its end cannot.
pub async fn until_it_ends(child: &mut Child) -> Result<ExitStatus> {
    let failed = |e| Error::io("signals", e);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(failed)?;
    loop {
        let pass_on = tokio::select! {
            status = child.wait() => return status.map_err(|e| Error::io("the daemon", e)),
            _ = terminate.recv() => Signal::TERM,
            _ = interrupt.recv() => Signal::INT,
            _ = hang_up.recv() => Signal::HUP,
        };
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(pid) = pid {
            let _ = kill_process(pid, pass_on); // it may have ended just now
        }
    }
}

/// How a guard ends whose daemon ended so: as a shell says it.
pub fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1);
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_under_one_root_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let first = Lock::take(directory.path()).unwrap();
        let error = Lock::take(directory.path()).unwrap_err();
        assert_eq!(error.kind, Kind::Busy);
        assert!(Lock::is_held(directory.path()));
        drop(first);
        assert!(!Lock::is_held(directory.path()));
        Lock::take(directory.path()).unwrap();
    }
}
