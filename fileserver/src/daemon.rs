//! The process: registered in the cell for as long as it runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use baton_rpc::config::{CellFile, Config, Daemon, Paths};
use baton_rpc::daemon::Lock;
use baton_rpc::{FldbClient, Identity, News, renewal};
use baton_security::{HostTls, Place};
use baton_types::change::Change;
use baton_types::record::{Key, Record, Table};
use baton_types::{Address, BootClock, Clock, EntryName, Error, Incarnation, Kind, Result, ServerId};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

/// Between two attempts to register while the location database cannot be reached.
const RETRY: Duration = Duration::from_secs(1);

/// Who this server is, as its certificate says.
struct Me {
    id: ServerId,
    name: EntryName,
    addresses: Vec<Address>,
    incarnation: Incarnation,
}

/// Runs until a signal ends it.
///
/// # Errors
/// Whatever keeps it from starting, naming the file; what the location database refuses for good.
pub async fn run(paths: &Paths, config: &Config) -> Result<()> {
    let _lock = Lock::take(&paths.state(Daemon::Fileserver))?;
    let clock: Arc<dyn Clock> = Arc::new(BootClock);
    let tls = Arc::new(HostTls::load(Place::host(paths.pki()), clock.clone())?);
    let me = Me::of(&tls, config)?;
    let cell = tls.with_credential(|credential| credential.anchor().cell().clone());
    let client = FldbClient::new(&CellFile::load(paths, &cell)?, Identity::Host(tls.clone()), &clock)?
        .from_source(config.source(Daemon::Fileserver));

    let mut terminate = signal(SignalKind::terminate()).map_err(|e| Error::io("signals", e))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| Error::io("signals", e))?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(|e| Error::io("signals", e))?;
    let serve = async {
        let registered = register(&client, &me).await?;
        follow(&client, &me, registered, paths).await
    };
    let renewing = renewal::keep(&client, &tls, &clock);
    tokio::pin!(serve, renewing);
    loop {
        tokio::select! {
            ended = &mut serve => return ended,
            () = &mut renewing => {}
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => match tls.reload() {
                Ok(()) => tracing::info!("certificate read again"),
                Err(error) => tracing::error!(%error, "certificate not read again; the old one stays in use"),
            },
        }
    }
    tracing::info!(server = %me.name, "stopping");
    Ok(())
}

impl Me {
    fn of(tls: &HostTls, config: &Config) -> Result<Me> {
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
            incarnation: Incarnation::random(),
        })
    }
}

/// Registers, however long the location database is away; says at which index.
async fn register(client: &FldbClient, me: &Me) -> Result<u64> {
    let change = Change::RegisterServer {
        id: me.id,
        name: me.name.clone(),
        addresses: me.addresses.clone(),
        incarnation: me.incarnation,
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

/// Hears of every change of servers and aggregates. Another run of this same server ends this one; what
/// was so before this one registered, and is heard late, does not.
async fn follow(client: &FldbClient, me: &Me, registered: u64, paths: &Paths) -> Result<()> {
    let mut watch = client.watch(&[Table::Member, Table::Server, Table::Aggregate], 0);
    let mut members = BTreeMap::new();
    loop {
        let (index, news) = watch.next().await?;
        let records = match news {
            News::Put(records) => records,
            News::Changed(changed) => {
                members.retain(|number, _| !changed.gone.contains(&Key::Member(*number)));
                changed.put
            }
            News::Complete(_) | News::Reached(_) => {
                // A sign of life comes every second, so a file that could not be written is written soon.
                if let Err(error) = CellFile::learn(paths, client.cell(), members.values()) {
                    tracing::warn!(%error, "where the members are is not written down");
                }
                continue;
            }
            News::Forget => {
                members.clear();
                continue;
            }
        };
        for record in records {
            match record {
                Record::Server(server)
                    if server.id == me.id && server.incarnation != Some(me.incarnation) && index > registered =>
                {
                    return Err(Error::new(Kind::Stale, format!("server {}", me.name))
                        .because("another process has registered under this identity since"));
                }
                Record::Aggregate(aggregate) if aggregate.attached.contains(&me.id) => {
                    tracing::info!(index, aggregate = %aggregate.name, epoch = %aggregate.epoch, "aggregate");
                }
                Record::Member(member) => drop(members.insert(member.number, member)),
                Record::Cell(_)
                | Record::Server(_)
                | Record::Entry(_)
                | Record::Aggregate(_)
                | Record::Fileset(_)
                | Record::Principal(_)
                | Record::Invitation(_)
                | Record::Event(_) => {}
            }
        }
    }
}
