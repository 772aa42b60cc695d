//! The process: one member of the location database, from its files to its last word.
//!
//! It listens before it has read its log to the end, because the others may need its vote; whoever asks
//! for more is told that it is starting.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use baton_rpc::config::{CellFile, Config, Daemon, GenesisFile, MemberFile, PORT_FLDB, Paths};
use baton_rpc::control;
use baton_rpc::daemon::Lock;
use baton_rpc::renewal;
use baton_rpc::{FldbClient, Identity};
use baton_security::listen::Listener;
use baton_security::{Authority, HostTls, Place, Wire};
use baton_types::change::{Change, ChangeSession, Proposal, Who};
use baton_types::{BootClock, CellId, Clock, Error, Kind, PrincipalName, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{interval, sleep, timeout};

use crate::peers::Peers;
use crate::publish::Published;
use crate::raft::{Member, Parts, Peer, Timing, Work, Writer};
use crate::restore;
use crate::serve::Server;
use crate::store::{LogStore, RedbStore};

/// How long to wait for the log to be applied up to where it was before the last end. Without a quorum
/// it may never be; then lookups are answered from what there is.
const RECOVERY: Duration = Duration::from_secs(3);
/// Between two looks whether the membership is as the records say.
const RECONCILE: Duration = Duration::from_millis(500);
/// Between two signs of life to watchers.
const TICK: Duration = Duration::from_secs(1);
/// Looks at which a removed member has heard of no leader, before it concludes that nobody talks to it any more.
const UNLED_MAX: u32 = 5;
/// For changes that this member itself makes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs one member until a signal or a failure ends it.
///
/// # Errors
/// Whatever keeps it from starting or going on, naming the file or address.
pub async fn run(paths: &Paths, config: &Config, snapshot_every: Option<u64>) -> Result<()> {
    let directory = paths.state(Daemon::Flserver);
    let _lock = Lock::take(&directory)?;
    let clock: Arc<dyn Clock> = Arc::new(BootClock);
    let (me, tls) = identify(paths, &clock)?;
    let anchor = tls.with_credential(|credential| credential.anchor().clone());
    let authority = load_authority(paths)?;
    let store: Arc<dyn LogStore> = Arc::new(RedbStore::open(&directory)?);
    let me = match restore::begin(paths, (&me, authority.is_some()), (&tls, &store), &clock)? {
        Some(restored) => restored,
        None => me,
    };
    let published = Arc::new(Published::default());
    let parts = Parts {
        number: me.number,
        store: store.clone(),
        wire: Arc::new(Peers::new(tls.clone(), config.source(Daemon::Flserver))),
        published: published.clone(),
        clock: clock.clone(),
        timing: Timing::default(),
        work: Work::Threads,
        snapshot_every,
    };
    let member = Member::start(parts, |writer| write_on_a_thread(writer, store)).await?;
    let issuer = authority.is_some();
    let founders: BTreeSet<String> = me.founders.iter().map(ToString::to_string).collect();
    let server = Server::new(
        member.clone(),
        me.name.clone(),
        anchor,
        authority,
        founders,
        clock.clone(),
    );

    let limits = control::listen_limits(&config.limits);
    let mut listeners = Vec::new();
    for socket in control::bind(config.listen(Daemon::Flserver), PORT_FLDB).await? {
        let (listener, accepted) = Listener::start(socket, tls.clone(), Wire::Control, limits, clock.clone());
        listeners.push(listener);
        tokio::spawn(server.clone().run(accepted));
    }
    let genesis = genesis(paths)?;
    if genesis.is_some() {
        member
            .initialize(Peer {
                name: me.name.to_string(),
                addresses: me.addresses.clone(),
            })
            .await?;
    }
    tokio::spawn(reconcile(member.clone()));
    tokio::spawn(tick(member.clone()));
    tokio::spawn(server.bench.clone().run());
    tokio::spawn(keep_members_known(paths.clone(), published.clone()));
    let start = start(
        member.clone(),
        server.clone(),
        me.clone(),
        issuer,
        genesis,
        paths.clone(),
    );
    tokio::spawn(start);
    tokio::spawn(renew(paths.clone(), config.clone(), tls.clone(), clock));
    until_the_end(&member, &tls).await
}

/// Who this member is, by its file and by its certificate, which must agree.
fn identify(paths: &Paths, clock: &Arc<dyn Clock>) -> Result<(MemberFile, Arc<HostTls>)> {
    let me = MemberFile::load(paths).map_err(|e| match e.kind {
        Kind::NotFound => e.remedy("make a cell (baton cell create NAME) or join one (baton join TOKEN) first"),
        _ => e,
    })?;
    let tls = Arc::new(HostTls::load(Place::host(paths.pki()), clock.clone())?);
    let host = tls.with_credential(|credential| credential.names().host().map(str::to_owned));
    if host.as_deref() != Some(me.name.as_str()) {
        return Err(
            Error::new(Kind::Invalid, MemberFile::path(paths).display().to_string()).because(format!(
                "it says {}, the machine's certificate {}",
                me.name,
                host.unwrap_or_default()
            )),
        );
    }
    Ok((me, tls))
}

/// What follows once the log has been read: the first change of a new cell, and what this member is.
async fn start(
    member: Member,
    server: Arc<Server>,
    me: MemberFile,
    issuer: bool,
    genesis: Option<GenesisFile>,
    paths: Paths,
) {
    if !member.recovered(RECOVERY).await {
        tracing::warn!("no quorum yet: lookups are answered from what is here");
    }
    if let Some(genesis) = genesis {
        let change = Change::Genesis {
            cell_id: CellId(genesis.cell_id),
            cell: genesis.cell,
            administrator: genesis.administrator,
            administrator_id: genesis.administrator_id,
            member: genesis.member,
            addresses: genesis.addresses,
        };
        match propose(&member, &server, Who::Database, change).await {
            Err(error) if error.kind != Kind::Exists => tracing::error!(%error, "the cell was not made"),
            Ok(()) | Err(_) => {
                let from = GenesisFile::path(&paths);
                if let Err(error) = fs::rename(&from, from.with_extension("done")) {
                    tracing::error!(%error, file = %from.display(), "cannot be renamed");
                }
            }
        }
    }
    server.open();
    tracing::info!(member = %me.name, applied = member.published().state().applied(), "serving");
    announce(&member, &server, &me, issuer).await;
}

/// Tells the others where this member listens and whether it can issue certificates, until they know.
async fn announce(member: &Member, server: &Server, me: &MemberFile, issuer: bool) {
    loop {
        let state = member.published().state();
        let known = state.members().find(|m| m.name == me.name);
        if known.is_some_and(|m| m.addresses == me.addresses && m.issuer == issuer) {
            return;
        }
        if known.is_some() {
            let who = Who::Host {
                name: PrincipalName::host(&me.name),
                server: None,
            };
            let change = Change::AnnounceMember {
                name: me.name.clone(),
                addresses: me.addresses.clone(),
                issuer,
            };
            if let Err(error) = propose(member, server, who, change).await {
                tracing::info!(%error, "not announced yet");
            }
        }
        sleep(TICK).await;
    }
}

async fn propose(member: &Member, server: &Server, who: Who, change: Change) -> Result<()> {
    let proposal = Proposal {
        session: ChangeSession(rand::random()),
        sequence: 1,
        born: member.published().state().applied(),
        date: server.clock.date(),
        who,
        change,
    };
    member.propose(proposal, PATIENCE).await.map(drop)
}

fn load_authority(paths: &Paths) -> Result<Option<Authority>> {
    match Authority::load(&paths.pki()) {
        Ok(authority) => Ok(Some(authority)),
        Err(e) if e.kind == Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn genesis(paths: &Paths) -> Result<Option<GenesisFile>> {
    match GenesisFile::load(paths) {
        Ok(genesis) => Ok(Some(genesis)),
        Err(e) if e.kind == Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The log's writer waits for the disk; it has a thread of its own, and nothing else does.
fn write_on_a_thread(mut writer: Writer, store: Arc<dyn LogStore>) {
    let write = move || {
        while let Some(pending) = writer.next_blocking() {
            let result = store.commit(&pending.batch);
            pending.finish(&result);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("log-writer".to_owned()).spawn(write) {
        panic!("no thread for the log's writer: {error}");
    }
}

async fn reconcile(member: Member) {
    let mut again = interval(RECONCILE);
    loop {
        again.tick().await;
        let records: Vec<_> = member.published().state().members().cloned().collect();
        if let Err(error) = member.reconcile(&records).await {
            tracing::debug!(%error, "membership step not made yet");
        }
    }
}

async fn tick(member: Member) {
    let mut again = interval(TICK);
    loop {
        again.tick().await;
        member.tick(TICK).await;
    }
}

/// Keeps the machine's file of the cell up to date: commands and daemons here look there first.
async fn keep_members_known(paths: Paths, published: Arc<Published>) {
    let mut progress = published.progress();
    let mut written = Vec::new();
    while progress.changed().await.is_ok() {
        let state = published.state();
        let members: Vec<_> = state.members().cloned().collect();
        let Some(cell) = state.cell().filter(|_| members != written) else {
            continue;
        };
        match CellFile::learn(&paths, &cell.name, &members) {
            Ok(_) => written = members,
            Err(error) => tracing::warn!(%error, "where the members are is not written down"),
        }
    }
}

async fn renew(paths: Paths, config: Config, tls: Arc<HostTls>, clock: Arc<dyn Clock>) {
    let cell = tls.with_credential(|credential| credential.anchor().cell().clone());
    let client = CellFile::load(&paths, &cell)
        .and_then(|file| FldbClient::new(&file, Identity::Host(tls.clone()), &clock))
        .map(|client| client.from_source(config.source(Daemon::Flserver)));
    match client {
        Ok(client) => renewal::keep(&client, &tls, &clock).await,
        Err(error) => tracing::error!(%error, "this machine's certificate will not be renewed"),
    }
}

/// Returns when the cell has removed this member: its record is gone that was there before, and Raft needs it
/// no more. Until then it stays, because its own vote may be what its removal still takes.
async fn removed(member: &Member) {
    let number = member.status().number;
    let has_record = || member.published().state().members().any(|m| m.number == number);
    let mut progress = member.published().progress();
    while !has_record() {
        drop(progress.changed().await); // fails only when this member has ended
    }
    while has_record() {
        drop(progress.changed().await);
    }
    let mut unled = 0;
    while member.peers().contains_key(&number) && unled < UNLED_MAX {
        sleep(TICK).await;
        unled = if member.status().leader.is_none() { unled + 1 } else { 0 };
    }
}

/// Until SIGTERM or SIGINT, which hand leadership on first, or until the member fails.
async fn until_the_end(member: &Member, tls: &HostTls) -> Result<()> {
    let no_signals = |e| Error::io("signals", e);
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(no_signals)?;
    loop {
        tokio::select! {
            () = removed(member) => {
                return Err(Error::new(Kind::NotFound, "this member")
                    .because("the cell has removed it")
                    .remedy("to come back, move its state directory and its certificates away and join anew"));
            }
            error = member.failed() => return Err(error.remedy("what it wrote is safe; mend the cause and start it again")),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => match tls.reload() {
                Ok(()) => tracing::info!("certificate read again"),
                Err(error) => tracing::error!(%error, "certificate not read again; the old one stays in use"),
            },
        }
    }
    tracing::info!("stopping");
    member.hand_over().await;
    drop(timeout(PATIENCE, member.stop()).await);
    Ok(())
}
