//! The process: registered in the cell, exporting what it owns, for as long as it runs.

use std::sync::Arc;
use std::time::Duration;

use baton_rpc::config::{CellFile, Config, Daemon, PORT_FILES, PORT_FILES_CONTROL, Paths};
use baton_rpc::control::{bind, listen_limits, resolve};
use baton_rpc::daemon::Lock;
use baton_rpc::fldb::Buddies;
use baton_rpc::{FldbClient, Identity, renewal};
use baton_security::listen::Listener;
use baton_security::{Anchor, HostTls, Place, Wire};
use baton_types::beat::Beat;
use baton_types::change::Change;
use baton_types::{Address, BootClock, Clock, EntryName, Error, Incarnation, Kind, Result, ServerId};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::claims::Claims;
use crate::control::Control;
use crate::devices::Devices;
use crate::endings;
use crate::exports::Exports;
use crate::follow::{Heard, follow};
use crate::pulse::{Pulse, Vitals};
use crate::pushes::Pushes;
use crate::serve::{Offer, Server, Setup};
use crate::service::Service;

/// Between two attempts to register while the location database cannot be reached.
const RETRY: Duration = Duration::from_secs(1);

/// Who this server is, as its certificate says.
#[derive(Clone, Debug)]
pub struct Me {
    /// For ever.
    pub id: ServerId,
    /// Of its machine.
    pub name: EntryName,
    /// Where clients reach it.
    pub addresses: Vec<Address>,
    /// This run of it.
    pub incarnation: Incarnation,
}

/// Runs until a signal ends it: as the run that its guard gave a name to.
///
/// # Errors
/// Whatever keeps it from starting, naming the file; what the location database refuses for good.
pub async fn run(paths: &Paths, config: &Config, run: Incarnation) -> Result<()> {
    let _lock = Lock::take(&paths.state(Daemon::Fileserver))?;
    endings::note_in(paths.state(Daemon::Fileserver));
    let clock: Arc<dyn Clock> = Arc::new(BootClock);
    let tls = Arc::new(HostTls::load(Place::host(paths.pki()), clock.clone())?);
    let me = Me::of(&tls, config, run)?;
    me.check_name().await?;
    let cell = tls.with_credential(|credential| credential.anchor().cell().clone());
    let client = FldbClient::new(&CellFile::load(paths, &cell)?, Identity::Host(tls.clone()), &clock)?
        .from_source(config.source(Daemon::Fileserver));
    let devices = Devices::new(&config.fileserver.devices)?;
    let cache_bytes = usize::try_from(config.fileserver.cache).unwrap_or(usize::MAX);
    let heard = Arc::new(Heard::default());
    let pushes = Arc::new(Pushes::default());
    let (scrub_rate, scrub_every) = (config.fileserver.scrub_rate, config.fileserver.scrub_every);
    let exports = Exports::new(cache_bytes).scrubbing(scrub_rate, scrub_every);
    let exports = Arc::new(exports.reclaiming(config.fileserver.reclaim_rate));
    let service = Service::start(exports, heard.registry().clone(), pushes.clone(), clock.clone())?;
    let claims = Arc::new(Claims::new(
        me,
        client.clone(),
        clock.clone(),
        Arc::new(service),
        devices,
    )?);
    let pulse = Arc::new(Pulse::new(clock.clone()));
    tokio::spawn(pulse.mark().keep());
    let vitals = Arc::new(Vitals::new(run, pulse.clone()));
    let control = Control::new(claims.clone(), heard.clone(), vitals.clone(), &tls);

    let mut listeners = Vec::new();
    for socket in bind(config.listen(Daemon::Fileserver), PORT_FILES_CONTROL).await? {
        let limits = listen_limits(&config.limits);
        let (listener, accepted) = Listener::start(socket, tls.clone(), Wire::Control, limits, clock.clone());
        listeners.push(listener);
        tokio::spawn(control.clone().serve(accepted));
    }
    let files = Arc::new(serve_files(config, &claims, &heard, (&tls, pushes, &pulse)).await?);
    let anchor = tls.with_credential(|credential| credential.anchor().clone());
    let socket = paths.socket(Daemon::Fileserver);
    let serve = async {
        let registered = register(&client, &claims.me).await?;
        claims.confess(endings::left_in(&paths.state(Daemon::Fileserver))).await;
        let (known, mine) = (heard.clone(), claims.clone());
        let buddies = client.ask_buddies(move || known.servers(&mine.buddies()))?;
        let _beats = client.beat(beats(&claims, &files, (vitals, buddies)))?;
        let own = |aggregate: &_| claims.heard(aggregate);
        let again = async || {
            let index = register(&client, &claims.me).await?;
            claims.begin_anew().await;
            Ok(index)
        };
        tokio::select! {
            ended = follow(&client, (&claims.me, registered), &heard, paths, (own, again)) => ended,
            ended = control.serve_locally(&socket) => ended,
            () = claims.scan() => Ok(()),
            () = claims.check() => Ok(()),
            () = claims.hand_over() => Ok(()),
            () = offer(&files, &heard, anchor) => Ok(()),
        }
    };
    let ended = tokio::select! {
        ended = serve => ended,
        ended = until_signalled(&tls) => ended,
        () = renewal::keep(&client, &tls, &clock) => Ok(()),
    };
    tracing::info!(server = %claims.me.name, "stopping");
    claims.drain().await;
    ended
}

/// What this server says of itself, each time it is asked.
fn beats(
    claims: &Arc<Claims>,
    files: &Arc<Server>,
    (vitals, buddies): (Arc<Vitals>, Buddies),
) -> impl FnMut() -> Beat + Send + 'static {
    let (claims, files) = (claims.clone(), Arc::downgrade(files));
    move || {
        let sign = vitals.beat();
        Beat {
            server: claims.me.id,
            incarnation: sign.incarnation,
            sequence: sign.sequence,
            gate_micros: sign.gate_micros,
            ports: claims.ports.seen(),
            clients: files.upgrade().map_or(0, |files| files.clients()),
            buddies: buddies.found(),
        }
    }
}

/// The file service, on its port: a loop for each CPU.
async fn serve_files(
    config: &Config,
    claims: &Claims,
    heard: &Heard,
    (tls, pushes, pulse): (&Arc<HostTls>, Arc<Pushes>, &Arc<Pulse>),
) -> Result<Server> {
    Server::start(Setup {
        addresses: resolve(config.listen(Daemon::Fileserver), PORT_FILES).await?,
        tls: tls.clone(),
        anchor: tls.with_credential(|credential| credential.anchor().clone()),
        name: claims.me.name.clone(),
        limits: listen_limits(&config.limits),
        clock: claims.clock.clone(),
        service: claims.service.clone(),
        registry: heard.registry().clone(),
        pushes,
        loops: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        pulse: pulse.clone(),
    })
}

/// Takes logins as the cell's settings say, and ends those that rest on what is so no more.
async fn offer(files: &Arc<Server>, heard: &Heard, anchor: Anchor) {
    let registry = heard.registry().clone();
    let offer = Offer {
        anchor,
        registry: registry.clone(),
    };
    let ending = Arc::downgrade(files);
    registry.on_end(move |principal| {
        if let Some(files) = ending.upgrade() {
            files.end(principal);
        }
    });
    let mut mechanisms = heard.watch_mechanisms();
    loop {
        let offered = mechanisms.borrow_and_update().clone();
        files.offer(&offered, &offer);
        if mechanisms.changed().await.is_err() {
            return;
        }
    }
}

/// Until SIGTERM or SIGINT; SIGHUP reads the certificate again.
async fn until_signalled(tls: &HostTls) -> Result<()> {
    let no_signals = |e| Error::io("signals", e);
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(no_signals)?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hang_up.recv() => match tls.reload() {
                Ok(()) => tracing::info!("certificate read again"),
                Err(error) => tracing::error!(%error, "certificate not read again; the old one stays in use"),
            },
        }
    }
}

impl Me {
    /// As the certificate and the settings of this machine say.
    ///
    /// # Errors
    /// `Invalid` if the certificate is no file server's.
    pub(crate) fn of(tls: &HostTls, config: &Config, run: Incarnation) -> Result<Me> {
        let (name, id) = tls.with_credential(|credential| {
            let names = credential.names();
            (names.host().map(str::to_owned), names.server)
        });
        let certificate = || Error::new(Kind::Invalid, tls.place().certificate().display().to_string());
        let name = name.ok_or_else(|| certificate().because("it is not a machine's"))?;
        let id = id.ok_or_else(|| certificate().because("it has no server id in it").remedy("join again"))?;
        let is_specific = |a: &&Address| !matches!(a.host(), "::" | "0.0.0.0");
        let mut addresses: Vec<Address> = config
            .listen(Daemon::Fileserver)
            .iter()
            .filter(is_specific)
            .cloned()
            .collect();
        if addresses.is_empty() {
            addresses.push(Address::parse(&name)?); // it listens everywhere: its name leads to it
        }
        Ok(Me {
            id,
            name: EntryName::parse(&name)?,
            addresses,
            incarnation: run,
        })
    }
}

impl Me {
    /// Whether others can reach a server that listens everywhere: then its name is all they have.
    ///
    /// # Errors
    /// `Invalid` if the name leads nowhere.
    async fn check_name(&self) -> Result<()> {
        let named = self
            .addresses
            .iter()
            .find(|address| address.host() == self.name.as_str());
        let Some(address) = named else { return Ok(()) };
        let remedy = "set fileserver.listen to the addresses at which clients reach this machine";
        let found = tokio::net::lookup_host((address.host(), PORT_FILES)).await;
        let mut found = found.map_err(|error| {
            Error::new(Kind::Invalid, format!("name {}", self.name))
                .because(format!(
                    "clients are to find this server by it, and it leads nowhere: {error}"
                ))
                .remedy(remedy)
        })?;
        if found.all(|at| at.ip().is_loopback()) {
            tracing::warn!(name = %self.name, "by its name only clients of this machine find this server; for others, {remedy}");
        }
        Ok(())
    }
}

/// Registers, however long the location database is away; says at which index.
async fn register(client: &FldbClient, me: &Me) -> Result<u64> {
    let change = Change::RegisterServer {
        id: me.id,
        name: me.name.clone(),
        addresses: me.addresses.clone(),
        incarnation: me.incarnation,
        beats: true,
    };
    loop {
        match client.change(change.clone()).await {
            Ok(done) => {
                tracing::info!(server = %me.name, id = %me.id, index = done.index, "registered");
                return Ok(done.index);
            }
            Err(error) if matches!(error.kind, Kind::Unreachable | Kind::TimedOut | Kind::SessionLost) => {
                tracing::warn!(%error, "not registered yet");
                sleep(RETRY).await;
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me(name: &str, address: &str) -> Me {
        Me {
            id: ServerId(uuid::Uuid::nil()),
            name: EntryName::parse(name).unwrap(),
            addresses: vec![Address::parse(address).unwrap()],
            incarnation: Incarnation::random(),
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_nowhere_is_refused_with_the_way_out() {
        let error = me("nowhere.invalid", "nowhere.invalid").check_name().await.unwrap_err();
        assert!(error.to_string().contains("leads nowhere"), "{error}");
        assert!(error.to_string().contains("fileserver.listen"), "{error}");
        assert!(
            me("nowhere.invalid", "127.0.0.9").check_name().await.is_ok(),
            "its address was given"
        );
        assert!(me("localhost", "localhost").check_name().await.is_ok());
    }
}
