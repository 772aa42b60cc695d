//! The process: as whom it asks, what it mounts, how it ends. It is the child of its guard.
//!
//! A machine's certificate is of one cell; in others its users call by their own certificates alone, over
//! connections that show none of the machine's. Without any, it serves only those who have logged in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use baton_rpc::config::{CellFile, Daemon, Paths};
use baton_rpc::daemon::Lock;
use baton_rpc::sessions::Setup;
use baton_rpc::{FldbClient, Identity, renewal};
use baton_security::{ClientTls, HostTls, Place, Wire};
use baton_types::{BootClock, CellName, ClientId, Clock, Error, Kind, Result};
use parking_lot::Mutex;
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::interval;

use crate::control::Control;
use crate::guard::Guardian;
use crate::logins::{Registered, Speaks, Users};
use crate::mounts::{Begun, Mounts, Parts, Plan, take_away_the_dead};
use crate::proof::Proof;

/// How often it is written down where the members of the location databases are, if that is news.
const REMEMBER_EVERY: Duration = Duration::from_secs(60);

/// Runs until a signal ends it; `make` makes what answers the kernel.
///
/// # Errors
/// Whatever keeps it from starting, naming the file.
pub async fn run(paths: Paths, make: fn(Parts) -> Result<Begun>) -> Result<()> {
    let _lock = Lock::take(&paths.state(Daemon::Batond))?;
    let guardian = Guardian::of_this_process()?;
    // Nothing may be cached that nobody guards: without its guard it ends in order.
    set_parent_process_death_signal(Some(Signal::TERM)).map_err(|e| Error::io("guard", e.into()))?;
    tokio::task::spawn_blocking(take_away_the_dead)
        .await
        .map_err(|e| Error::new(Kind::Io, "start").because(e.to_string()))?;

    let machine = Arc::new(Machine::load(paths.clone())?);
    let (asked, renewed) = (machine.clone(), machine.clone());
    let mounts = Mounts::new(
        guardian,
        Box::new(move |plan, proof, device| make(asked.parts(plan, proof, device)?)),
    );
    let control = Control {
        mounts: mounts.clone(),
        registered: machine.registered.clone(),
        identity: Box::new(move |uid| machine.identity(uid)),
        paths: paths.clone(),
    };
    control.listen(&paths.socket(Daemon::Batond))?;
    tracing::info!("ready");
    until_ended(&renewed).await?;
    tracing::info!("ending");
    renewed.remember_members();
    tokio::task::spawn_blocking(move || mounts.end())
        .await
        .map_err(|e| Error::new(Kind::Io, "end").because(e.to_string()))
}

/// Keeps the machine's certificate fresh until a signal says that it is over.
async fn until_ended(machine: &Machine) -> Result<()> {
    let failed = |e| Error::io("signals", e);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(failed)?;
    let renewing = machine.renew();
    tokio::pin!(renewing);
    let mut again = interval(REMEMBER_EVERY);
    loop {
        tokio::select! {
            () = &mut renewing => {}
            _ = again.tick() => machine.remember_members(),
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hang_up.recv() => machine.reload(),
        }
    }
}

/// What all mounts of this machine share.
struct Machine {
    paths: Paths,
    clock: Arc<dyn Clock>,
    host: Option<Arc<HostTls>>,
    registered: Arc<Registered>,
    runtime: Handle,
    /// One conversation with each cell's location database, however many mounts it has.
    databases: Mutex<HashMap<(CellName, Option<IpAddr>), FldbClient>>,
}

impl Machine {
    /// Of the caller's runtime.
    fn load(paths: Paths) -> Result<Machine> {
        let clock: Arc<dyn Clock> = Arc::new(BootClock);
        let place = Place::host(paths.pki());
        let host = match HostTls::load(place, clock.clone()) {
            Ok(host) => Some(Arc::new(host)),
            Err(error) if error.kind == Kind::NotFound => {
                tracing::warn!(%error, "this machine is of no cell: only users who have logged in are known");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Machine {
            paths,
            clock,
            host,
            registered: Arc::default(),
            runtime: Handle::current(),
            databases: Mutex::default(),
        })
    }

    /// The machine's certificate, if it is of `cell`.
    fn host_in(&self, cell: &CellName) -> Option<&Arc<HostTls>> {
        let is_of = |host: &&Arc<HostTls>| host.with_credential(|credential| credential.anchor().cell() == cell);
        self.host.as_ref().filter(is_of)
    }

    fn users(&self, cell: &CellName) -> Users {
        let speaks = match self.host_in(cell) {
            Some(_) => Speaks::ForAll,
            None => Speaks::ForNobody,
        };
        Users::new(cell.clone(), self.registered.clone(), speaks, self.clock.clone())
    }

    /// The next start finds a member, also if none is left of those that this one was told of.
    fn remember_members(&self) {
        for ((cell, _), client) in self.databases.lock().iter() {
            if let Err(error) = CellFile::learn(&self.paths, cell, &client.members()) {
                tracing::warn!(%error, %cell, "where the members are is not written down");
            }
        }
    }

    fn database(&self, cell: &CellName, source: Option<IpAddr>) -> Result<FldbClient> {
        let mut databases = self.databases.lock();
        if let Some(client) = databases.get(&(cell.clone(), source)) {
            return Ok(client.clone());
        }
        let identity = self
            .host_in(cell)
            .map_or(Identity::Nobody, |host| Identity::Host(host.clone()));
        let client = FldbClient::new(&CellFile::load(&self.paths, cell)?, identity, &self.clock)?.from_source(source);
        databases.insert((cell.clone(), source), client.clone());
        Ok(client)
    }

    fn parts(&self, plan: &Plan, proof: Arc<Proof>, device: OwnedFd) -> Result<Parts> {
        let anchor = CellFile::load(&self.paths, &plan.cell)?.anchor()?;
        let anonymous = ClientTls::anonymous(&anchor, Wire::Files, &self.clock)?;
        let host = self.host_in(&plan.cell).cloned();
        let tls = move || {
            host.as_ref()
                .map_or_else(|| anonymous.clone(), |host| host.client(Wire::Files))
        };
        Ok(Parts {
            sessions: Setup {
                client: ClientId::random(),
                fldb: self.database(&plan.cell, plan.source)?,
                tls: Arc::new(tls),
                source: plan.source,
                logins: Arc::new(self.users(&plan.cell)),
                clock: self.clock.clone(),
                runtime: self.runtime.clone(),
            },
            access: plan.options.access,
            proof,
            device,
        })
    }

    /// As whom a user calls in the cell that this machine is of, else in the only one it knows.
    fn identity(&self, uid: u32) -> Result<Option<(String, &'static str)>> {
        let cell = match &self.host {
            Some(host) => host.with_credential(|credential| credential.anchor().cell().clone()),
            None => CellFile::only(&self.paths)?.cell,
        };
        let identity = self.users(&cell).identity(uid)?;
        Ok(identity.map(|(principal, mech)| (format!("{principal}@{cell}"), mech)))
    }

    fn reload(&self) {
        match self.host.as_ref().map(|host| host.reload()) {
            None => {}
            Some(Ok(())) => tracing::info!("certificate read again"),
            Some(Err(error)) => tracing::error!(%error, "certificate not read again; the old one stays in use"),
        }
    }

    /// Never ends: where there is nothing to renew, it waits for ever.
    async fn renew(&self) {
        let Some(host) = &self.host else {
            return std::future::pending().await;
        };
        let cell = host.with_credential(|credential| credential.anchor().cell().clone());
        match self.database(&cell, None) {
            Ok(client) => renewal::keep(&client, host, &self.clock).await,
            Err(error) => {
                tracing::error!(%error, "this machine's certificate is not renewed");
                std::future::pending::<()>().await;
            }
        }
    }
}
