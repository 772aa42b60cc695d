//! What this server hears of the cell: who is who, how callers may log in, who owns what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use baton_rpc::config::{CellFile, Paths};
use baton_rpc::{FldbClient, News};
use baton_types::record::{Aggregate, Key, Record, Server, Table};
use baton_types::{Error, GroupName, Incarnation, Kind, Result, ServerId};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::daemon::Me;
use crate::keepers::Keepers;
use crate::who::Registry;

/// What a file server hears of.
const TABLES: [Table; 7] = [
    Table::Cell,
    Table::Member,
    Table::Server,
    Table::Entry,
    Table::Principal,
    Table::Group,
    Table::Aggregate,
];

/// What is known of the cell so far.
#[derive(Default)]
pub struct Heard {
    registry: Arc<Registry>,
    /// Mechanisms by which callers may log in, best first.
    mechanisms: watch::Sender<Vec<String>>,
    servers: Mutex<BTreeMap<ServerId, Server>>,
    /// Server entries, and who shares disks.
    keepers: RwLock<Keepers>,
    /// The whole state was heard, and everything up to this index since; 0 until then.
    index: AtomicU64,
}

impl Heard {
    /// The registry.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// What is known of the servers among `wanted`.
    pub fn servers(&self, wanted: &BTreeSet<ServerId>) -> Vec<Server> {
        let servers = self.servers.lock();
        wanted.iter().filter_map(|id| servers.get(id)).cloned().collect()
    }

    /// The groups that somebody must be in, all of them, to administrate this server; none if nobody does so.
    pub fn owners(&self, me: &Me) -> Vec<GroupName> {
        self.keepers.read().owners(me.id)
    }

    /// Mechanisms by which callers may log in, best first.
    pub fn mechanisms(&self) -> Vec<String> {
        self.mechanisms.borrow().clone()
    }

    /// The same, and whenever they change.
    pub fn watch_mechanisms(&self) -> watch::Receiver<Vec<String>> {
        self.mechanisms.subscribe()
    }

    /// How far the location database is known here.
    pub fn index(&self) -> u64 {
        self.index.load(Ordering::Acquire)
    }

    /// These are no more.
    fn forget(&self, gone: &[Key]) {
        for key in gone {
            match key {
                Key::Principal(name) => self.registry.remove(name),
                Key::Group(name) => self.registry.remove_group(name),
                _ => {}
            }
            self.keepers.write().remove(key);
        }
    }

    /// Refuses as long as nobody is known.
    ///
    /// # Errors
    /// `Unreachable`.
    pub fn check(&self) -> Result<()> {
        if self.index() > 0 {
            return Ok(());
        }
        Err(Error::new(Kind::Unreachable, "file server").because("it is starting, and does not know its cell yet"))
    }
}

/// Hears of every change for as long as it lives. Another run of this same server ends this one; what was so before
/// this one registered, and is heard late, does not. `owned` is told of every aggregate's record; `register` makes this
/// run known again to a database that came back from a file, and says at which index.
///
/// # Errors
/// `Stale` if another run has registered; what a member decided.
pub async fn follow(
    client: &FldbClient,
    (me, mut registered): (&Me, u64),
    heard: &Heard,
    paths: &Paths,
    (owned, register): (impl Fn(&Aggregate), impl AsyncFn() -> Result<u64>),
) -> Result<()> {
    let mut watch = client.watch(&TABLES, 0);
    let mut members = BTreeMap::new();
    // The run of this server that was told of, until it is known as of when.
    let mut told = None;
    loop {
        let (index, news) = match watch.next().await {
            // What is known goes on to count; the watch goes on by itself.
            Err(error) if error.kind == Kind::Unreachable => {
                tracing::warn!(%error, "nothing new is heard of the cell");
                continue;
            }
            news => news?,
        };
        let records = match news {
            News::Put(records) => records,
            News::Changed(changed) => {
                heard.forget(&changed.gone);
                members.retain(|number, _| !changed.gone.contains(&Key::Member(*number)));
                heard.index.store(index, Ordering::Release);
                changed.put
            }
            News::Complete(_) | News::Reached(_) => {
                heard.index.store(index, Ordering::Release);
                registered = still(me, told.take(), (registered, index), &register).await?;
                // A sign of life comes every second, so a file that could not be written is written soon.
                if let Err(error) = CellFile::learn(paths, client.cell(), members.values()) {
                    tracing::warn!(%error, "where the members are is not written down");
                }
                continue;
            }
            News::Forget => {
                members.clear();
                heard.registry.clear();
                *heard.keepers.write() = Keepers::default();
                told = None;
                continue;
            }
        };
        for record in records {
            heard.keepers.write().put(&record);
            match record {
                Record::Server(server) => {
                    if server.id == me.id {
                        told = Some(server.incarnation);
                    }
                    heard.servers.lock().insert(server.id, server);
                }
                Record::Aggregate(aggregate) => owned(&aggregate),
                Record::Member(member) => drop(members.insert(member.number, member)),
                Record::Principal(principal) => heard.registry.put(principal),
                Record::Group(group) => heard.registry.put_group(group),
                Record::Cell(cell) => drop(heard.mechanisms.send_replace(cell.auth)),
                Record::Entry(_)
                | Record::Fileset(_)
                | Record::Invitation(_)
                | Record::Event(_)
                | Record::Tenure(_) => {}
            }
        }
        if index > 0 {
            registered = still(me, told.take(), (registered, index), &register).await?;
        }
    }
}

/// As of which index this run is registered, when `told` was heard of it as of `index`.
async fn still(
    me: &Me,
    told: Option<Option<Incarnation>>,
    (registered, index): (u64, u64),
    register: &impl AsyncFn() -> Result<u64>,
) -> Result<u64> {
    match told.filter(|_| index > registered) {
        None => Ok(registered),
        Some(Some(run)) if run == me.incarnation => Ok(registered),
        Some(Some(_)) => Err(Error::new(Kind::Stale, format!("server {}", me.name))
            .because("another process has registered under this identity since")),
        Some(None) => register().await,
    }
}
