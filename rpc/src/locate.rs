//! `Locator`: which server owns a fileset's aggregate, under which epoch, and where that server is.
//!
//! A watch on the location database keeps aggregates and servers here, so that a look costs no call and an owner's change
//! is known as soon as it is decided. Of a million filesets a mount shows a few: those that were asked for are here, and
//! the watch tells what becomes of them. When it has to begin anew, some of that may have been missed: they stay in use,
//! and each is asked for again. What is here is a hint with an epoch on it (I9): servers refuse what it is wrong about, and then
//! [`Locator::refresh`] asks at once. Where it goes on being wrong, the other servers that see the aggregate are asked
//! in turn: one of them may have seized it while the database could not grant it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use baton_types::change::FilesetRef;
use baton_types::record::{Aggregate, Fileset, Key, Record, Server, Table};
use baton_types::{Address, AggregateId, EntryName, Epoch, Error, FilesetId, FilesetName, Kind, Result, ServerId};
use parking_lot::{Condvar, Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::doubt::{Doubt, LOOK_EVERY, Looks};
use crate::{FldbClient, News, fldb};

/// So often the owner is sought where the location database says, before others are asked.
const TRIES: usize = 4;
/// A member that answers may be behind the one that is watched: so often, and after so long, it is asked again.
const BEHIND_TRIES: usize = 20;
const BEHIND: Duration = Duration::from_millis(50);
/// Until a fileset is asked for again that nobody could say anything about.
const AGAIN: Duration = Duration::from_secs(1);
/// After so long without a search the count begins anew.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// Everything needed to dial the owner of an aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Which aggregate.
    pub aggregate: AggregateId,
    /// Under which the server owns it.
    pub epoch: Epoch,
    /// The server's name, as in its certificate.
    pub server: EntryName,
    /// Where it is, best first.
    pub addresses: Vec<Address>,
}

/// Hears that there is news.
pub type Listener = Box<dyn Fn() + Send>;

/// What the location database says, as last heard.
pub struct Locator {
    fldb: FldbClient,
    runtime: Handle,
    tables: RwLock<Tables>,
    /// Counts the news, for those who wait for some.
    news: Mutex<u64>,
    heard: Condvar,
    listener: Mutex<Option<Listener>>,
    /// How often each was sought in vain, as far as is known: under which epoch, when last, how often.
    sought: Mutex<BTreeMap<AggregateId, (Epoch, Instant, usize)>>,
    watching: Mutex<Option<JoinHandle<()>>>,
    renewing: Mutex<Option<JoinHandle<()>>>,
    doubt: Doubt,
    doubting: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Tables {
    /// Everything up to this index was heard.
    index: u64,
    filesets: BTreeMap<FilesetId, Fileset>,
    names: BTreeMap<FilesetName, FilesetId>,
    aggregates: BTreeMap<AggregateId, Aggregate>,
    servers: BTreeMap<ServerId, Server>,
    /// What the tables were when the watch began anew stays in use until the whole has been heard again.
    incoming: Option<Box<Tables>>,
}

impl Locator {
    /// Follows the location database until this is dropped.
    pub fn start(fldb: &FldbClient, runtime: &Handle) -> Arc<Locator> {
        let locator = Arc::new(Locator {
            fldb: fldb.clone(),
            runtime: runtime.clone(),
            tables: RwLock::default(),
            news: Mutex::new(0),
            heard: Condvar::new(),
            listener: Mutex::new(None),
            sought: Mutex::default(),
            watching: Mutex::new(None),
            renewing: Mutex::new(None),
            doubt: Doubt::default(),
            doubting: Mutex::new(None),
        });
        let (weak, mut looks) = (Arc::downgrade(&locator), Looks::new(fldb));
        let looking = runtime.spawn(async move {
            loop {
                sleep(LOOK_EVERY).await;
                match weak.upgrade() {
                    Some(locator) => looks.look(&locator.doubt, &locator.servers()).await,
                    None => return,
                }
            }
        });
        *locator.doubting.lock() = Some(looking);
        let (weak, client) = (Arc::downgrade(&locator), fldb.clone());
        let task = runtime.spawn(async move {
            let mut watch = client.watch_beside(&[Table::Aggregate, Table::Server], &[Table::Fileset], 0);
            loop {
                match watch.next().await {
                    Ok((_, news)) => match weak.upgrade() {
                        Some(locator) => locator.hear(news),
                        None => return,
                    },
                    Err(error) if error.kind == Kind::Unreachable => {
                        tracing::debug!(%error, "the location database is silent");
                    }
                    Err(error) => {
                        tracing::error!(%error, "the location database is not followed any more");
                        return;
                    }
                }
            }
        });
        *locator.watching.lock() = Some(task);
        locator
    }

    /// A fileset's record, by any of its three ids or that of a snapshot.
    pub fn fileset(&self, id: FilesetId) -> Option<Fileset> {
        self.tables.read().fileset(id).cloned()
    }

    /// A fileset's record, by its name.
    pub fn named(&self, name: &FilesetName) -> Option<Fileset> {
        let tables = self.tables.read();
        tables.names.get(name).and_then(|id| tables.filesets.get(id)).cloned()
    }

    /// An aggregate's record.
    pub fn aggregate(&self, id: AggregateId) -> Option<Aggregate> {
        self.tables.read().aggregates.get(&id).cloned()
    }

    /// All file servers.
    pub fn servers(&self) -> Vec<Server> {
        self.tables.read().servers.values().cloned().collect()
    }

    /// The aggregate that a fileset is on; `None` if it is not known (yet).
    pub fn aggregate_of(&self, fileset: FilesetId) -> Option<AggregateId> {
        self.tables.read().aggregate_of(fileset)
    }

    /// Who owns an aggregate.
    ///
    /// # Errors
    /// `NotFound` if it is not known (yet); `Detached` if nobody does just now.
    pub fn owner(&self, aggregate: AggregateId) -> Result<Owner> {
        let tables = self.tables.read();
        let on = || format!("aggregate {aggregate}");
        let record = tables.aggregates.get(&aggregate);
        let record = record
            .ok_or_else(|| Error::new(Kind::NotFound, on()).because("the location database has not told of it"))?;
        let nobody =
            || Error::new(Kind::Detached, format!("aggregate {}", record.name)).because("nobody owns it just now");
        let owner = record.owner.filter(|_| record.state.is_served());
        let asked = match self.in_vain(record) {
            Some(tries) => {
                let others = record.attached.iter().filter(|id| Some(**id) != record.owner);
                let all: Vec<ServerId> = owner.into_iter().chain(others.copied()).collect();
                all.get(tries % all.len().max(1)).copied()
            }
            None => owner,
        };
        let server = asked.and_then(|id| tables.servers.get(&id)).ok_or_else(nobody)?;
        self.doubt.uses(server.id);
        Ok(Owner {
            aggregate,
            epoch: record.epoch,
            server: server.name.clone(),
            addresses: server.addresses.clone(),
        })
    }

    /// How often more than a few times the owner was sought in vain.
    fn in_vain(&self, record: &Aggregate) -> Option<usize> {
        let sought = self.sought.lock();
        let (epoch, last, tries) = sought.get(&record.id)?;
        let counts = *epoch == record.epoch && last.elapsed() < FORGOTTEN;
        tries.checked_sub(TRIES).filter(|_| counts)
    }

    fn count_search(&self, aggregate: AggregateId) {
        let epoch = self.aggregate(aggregate).map_or(Epoch::NONE, |known| known.epoch);
        let mut sought = self.sought.lock();
        let (of, last, tries) = sought.entry(aggregate).or_insert((epoch, Instant::now(), 0));
        if *of != epoch || last.elapsed() >= FORGOTTEN {
            *tries = 0;
        }
        (*of, *last, *tries) = (epoch, Instant::now(), *tries + 1);
    }

    /// Who may own one of `aggregates` next: servers that see it, live, and do not own it now. Each once.
    pub fn standbys(&self, aggregates: &[AggregateId]) -> Vec<Owner> {
        let tables = self.tables.read();
        let mut standbys = BTreeMap::new();
        for record in aggregates.iter().filter_map(|id| tables.aggregates.get(id)) {
            let others = record.attached.iter().filter(|id| Some(**id) != record.owner);
            for server in others
                .filter_map(|id| tables.servers.get(id))
                .filter(|server| server.is_fit())
            {
                standbys.entry(server.id).or_insert_with(|| Owner {
                    aggregate: record.id,
                    epoch: record.epoch,
                    server: server.name.clone(),
                    addresses: server.addresses.clone(),
                });
            }
        }
        standbys.into_values().collect()
    }

    /// Asks the location database about an aggregate now, without waiting for the answer.
    pub fn refresh(self: &Arc<Self>, aggregate: AggregateId) {
        self.count_search(aggregate);
        if let Some(owner) = self.aggregate(aggregate).and_then(|known| known.owner) {
            self.doubt.doubts(owner);
        }
        let locator = self.clone();
        self.runtime.spawn(async move {
            let sought = fldb::Sought::Aggregate(aggregate);
            match locator.ask(&sought).await {
                Ok(location) => locator.learn(location),
                Err(error) => tracing::debug!(%error, %aggregate, "not located"),
            }
        });
    }

    /// Asks the location database for a fileset that is not in the tables, and waits. Not for a thread that may not.
    ///
    /// # Errors
    /// `NotFound`; `Unreachable` when nobody answers.
    pub fn look_up(self: &Arc<Self>, fileset: &FilesetRef) -> Result<Fileset> {
        let (send, answer) = std::sync::mpsc::sync_channel(1);
        self.look_up_then(fileset.clone(), move |found| drop(send.send(found)));
        answer
            .recv()
            .unwrap_or_else(|_| Err(Error::new(Kind::Unreachable, "location database").because("the mount is ending")))
    }

    /// The same without waiting: `then` runs where the answer arrives.
    pub fn look_up_then(self: &Arc<Self>, fileset: FilesetRef, then: impl FnOnce(Result<Fileset>) + Send + 'static) {
        let locator = self.clone();
        self.runtime.spawn(async move {
            let found = locator.ask(&fldb::Sought::Fileset(fileset.clone())).await;
            then(found.and_then(|location| {
                let record = location.fileset.clone();
                locator.learn(location);
                record.ok_or_else(|| Error::new(Kind::NotFound, format!("fileset {fileset:?}")))
            }));
        });
    }

    /// What a member says that knows no less than the watch has told.
    async fn ask(&self, sought: &fldb::Sought) -> Result<fldb::Location> {
        for _ in 0..BEHIND_TRIES {
            let location = self.fldb.lookup(sought).await?;
            if location.index >= self.tables.read().index {
                return Ok(location);
            }
            sleep(BEHIND).await;
        }
        self.fldb.lookup(sought).await
    }

    /// Asks for filesets that are known again: what became of them may have been missed.
    fn renew(self: &Arc<Self>, filesets: Vec<FilesetId>) {
        let weak = Arc::downgrade(self);
        let renewing = self.runtime.spawn(async move {
            for fileset in filesets {
                let sought = fldb::Sought::Fileset(FilesetRef::Id(fileset));
                loop {
                    let Some(locator) = weak.upgrade() else { return };
                    match locator.ask(&sought).await {
                        Ok(location) => break locator.learn(location),
                        Err(error) if error.kind == Kind::NotFound => {
                            locator.tables.write().remove(&Key::Fileset(fileset));
                            break locator.tell();
                        }
                        Err(error) => tracing::debug!(%error, %fileset, "not located"),
                    }
                    drop(locator);
                    sleep(AGAIN).await;
                }
            }
        });
        if let Some(before) = self.renewing.lock().replace(renewing) {
            before.abort(); // all that it still had to ask for is asked for now
        }
    }

    /// Calls `listener` whenever something was heard, from any thread; it may not wait.
    pub fn on_news(&self, listener: Listener) {
        *self.listener.lock() = Some(listener);
    }

    /// How often something was heard so far.
    pub fn news(&self) -> u64 {
        *self.news.lock()
    }

    /// Waits until something was heard after the first `seen` news, or `within` is over.
    pub fn wait(&self, seen: u64, within: Duration) {
        let mut news = self.news.lock();
        if *news == seen {
            self.heard.wait_for(&mut news, within);
        }
    }

    /// Takes news in, and says that there is some.
    pub(crate) fn hear(self: &Arc<Self>, news: News) {
        let doubtful = self.tables.write().hear(news);
        if !doubtful.is_empty() {
            self.renew(doubtful);
        }
        self.tell();
    }

    /// Takes over what was looked up, where it is newer than the tables.
    fn learn(&self, location: fldb::Location) {
        let mut tables = self.tables.write();
        for aggregate in location.aggregates {
            let is_newer = |known: &Aggregate| aggregate.epoch >= known.epoch;
            if tables.aggregates.get(&aggregate.id).is_none_or(is_newer) {
                tables.aggregates.insert(aggregate.id, aggregate);
            }
        }
        for server in location.servers {
            tables.servers.insert(server.id, server);
        }
        if let Some(fileset) = location.fileset {
            tables.put(Record::Fileset(fileset));
        }
        drop(tables);
        self.tell();
    }

    fn tell(&self) {
        *self.news.lock() += 1;
        self.heard.notify_all();
        if let Some(listener) = &*self.listener.lock() {
            listener();
        }
    }
}

impl Drop for Locator {
    fn drop(&mut self) {
        let tasks = [&mut self.watching, &mut self.doubting, &mut self.renewing].map(|task| task.get_mut().take());
        tasks.into_iter().flatten().for_each(|task| task.abort());
    }
}

impl Tables {
    fn fileset(&self, id: FilesetId) -> Option<&Fileset> {
        let id = id.live();
        let (_, record) = self.filesets.range(..=id).next_back()?;
        (id.0 - record.id.0 < FilesetId::STEP).then_some(record)
    }

    fn aggregate_of(&self, id: FilesetId) -> Option<AggregateId> {
        use baton_types::record::Site;
        let record = self.fileset(id)?;
        // A snapshot is where its fileset is.
        let version = match id.live().0 - record.id.0 {
            0 => Site::RW,
            1 => Site::RO,
            _ => Site::BACKUP,
        };
        let site = record.sites.iter().find(|site| site.versions & version != 0)?;
        Some(site.aggregate)
    }

    /// Says of which filesets some news may have been missed.
    fn hear(&mut self, news: News) -> Vec<FilesetId> {
        match news {
            News::Forget => self.incoming = Some(Box::default()),
            News::Put(records) => {
                let mut incoming = self.incoming.take();
                let into = incoming.as_deref_mut().unwrap_or(self);
                records.into_iter().for_each(|record| into.put(record));
                self.incoming = incoming;
            }
            News::Complete(index) => {
                let Some(incoming) = self.incoming.take() else {
                    return Vec::new();
                };
                let before = std::mem::replace(self, *incoming);
                self.index = index;
                let is_doubtful = |known: &Fileset| !self.filesets.contains_key(&known.id);
                let doubtful: Vec<Fileset> = before.filesets.into_values().filter(is_doubtful).collect();
                let ids = doubtful.iter().map(|known| known.id).collect();
                doubtful.into_iter().for_each(|known| self.put(Record::Fileset(known)));
                return ids;
            }
            News::Changed(changed) => {
                self.index = changed.index;
                changed.gone.iter().for_each(|key| self.remove(key));
                let is_wanted = |record: &Record| match record {
                    Record::Fileset(new) => self.filesets.contains_key(&new.id) || self.names.contains_key(&new.name),
                    _ => true,
                };
                let wanted: Vec<Record> = changed.put.into_iter().filter(is_wanted).collect();
                wanted.into_iter().for_each(|record| self.put(record));
            }
            News::Reached(index) => self.index = index,
        }
        Vec::new()
    }

    fn put(&mut self, record: Record) {
        match record {
            Record::Fileset(fileset) => {
                self.remove(&Key::Fileset(fileset.id));
                self.names.insert(fileset.name.clone(), fileset.id);
                self.filesets.insert(fileset.id, fileset);
            }
            Record::Aggregate(aggregate) => drop(self.aggregates.insert(aggregate.id, aggregate)),
            Record::Server(server) => drop(self.servers.insert(server.id, server)),
            Record::Cell(_)
            | Record::Member(_)
            | Record::Entry(_)
            | Record::Principal(_)
            | Record::Invitation(_)
            | Record::Event(_)
            | Record::Tenure(_)
            | Record::Group(_) => {}
        }
    }

    fn remove(&mut self, key: &Key) {
        match key {
            Key::Fileset(id) => {
                if let Some(old) = self.filesets.remove(id)
                    && self.names.get(&old.name) == Some(id)
                {
                    self.names.remove(&old.name);
                }
            }
            Key::Aggregate(id) => drop(self.aggregates.remove(id)),
            Key::Server(id) => drop(self.servers.remove(id)),
            Key::Cell
            | Key::Member(_)
            | Key::Entry(_)
            | Key::Principal(_)
            | Key::Invitation(_)
            | Key::Event(_)
            | Key::Tenure(..)
            | Key::Group(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
