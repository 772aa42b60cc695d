//! The guard: a small parent of the server, which sees its end.
//!
//! A process that was killed says nothing more, and a beat that stays away says little: it takes a second to be sure.
//! Its parent is told by the kernel at once when all of it is gone. So what is started is this parent: it starts the
//! server under a run that it has given a name to, waits, and attests the end of that run to every member of the
//! location database. What the run had in flight on a disk is another matter: its lock there says that (R5).
//!
//! The server does not outlive its guard: nobody would attest its end.

use std::os::unix::process::parent_id;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use baton_rpc::config::{CellFile, Config, Daemon, Paths};
use baton_rpc::daemon::until_it_ends;
use baton_rpc::{FldbClient, Identity};
use baton_security::{HostTls, Place};
use baton_types::{BootClock, Clock, Error, Incarnation, Kind, Result};
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::process::Command;

use crate::daemon::Me;

/// For the members to hear that the server has ended; whoever is to start it again waits so long.
const ATTEST_MAX: Duration = Duration::from_secs(1);

/// Starts `server`, which is to be the run `run`, and waits for its end. Signals that come here go on to it.
///
/// # Errors
/// Whatever keeps it from being started; how it ended is none.
pub async fn run(mut server: Command, run: Incarnation, paths: &Paths, config: &Config) -> Result<ExitStatus> {
    let clock: Arc<dyn Clock> = Arc::new(BootClock);
    let tls = Arc::new(HostTls::load(Place::host(paths.pki()), clock.clone())?);
    let me = Me::of(&tls, config, run)?;
    let on = format!("{:?}", server.as_std().get_program());
    let mut child = server.spawn().map_err(|e| Error::io(on, e))?;
    let status = until_it_ends(&mut child).await?;
    tracing::info!(server = %me.name, %run, %status, "the server has ended");
    // The certificate and the members may be others by now than when it began.
    let attested = async {
        tls.reload()?;
        let cell = tls.with_credential(|credential| credential.anchor().cell().clone());
        let client = FldbClient::new(&CellFile::load(paths, &cell)?, Identity::Host(tls.clone()), &clock)?;
        let client = client.from_source(config.source(Daemon::Fileserver)).within(ATTEST_MAX);
        client.attest(me.id, run).await
    };
    match attested.await {
        Ok(members) => tracing::info!(members, "its end is attested"),
        Err(error) => tracing::warn!(%error, "its end is not attested: it is missed when its beats stay away"),
    }
    Ok(status)
}

/// This process, the server of `guard`, ends when that does, also if it has ended by now.
///
/// # Errors
/// `Unreachable` if it has.
pub fn bind_to(guard: u32) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|e| Error::io("guard", e.into()))?;
    if parent_id() != guard {
        return Err(Error::new(Kind::Unreachable, format!("guard {guard}"))
            .because("this process is not its child")
            .remedy("start fileserver without options"));
    }
    Ok(())
}
