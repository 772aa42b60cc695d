//! A stream of changes with watchers beside it, and the account of what became of every change.
//!
//! Each writer makes filesets under names that nobody used, one after the other, by the client library: it sends a
//! change again that got no answer. A change done twice shows as a refusal, as two events, or as two notices of the
//! watch; one that was acknowledged and lost shows in the list at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use baton_rpc::fldb::{Done, Freshness, Query, Watch};
use baton_rpc::{FldbClient, News};
use baton_types::change::{AggregateRef, Change};
use baton_types::record::{Fileset, Key, Record, Table};
use baton_types::{Address, AggregateName, FilesetId, FilesetName, Kind};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::cell::{As, Cell};

/// Between two changes of a writer: a steady stream, and not all that two busy cores can do.
const PACE: Duration = Duration::from_millis(2);

/// Writers and a watcher at work.
#[derive(Debug)]
pub struct Load {
    is_over: Arc<AtomicBool>,
    writers: Vec<JoinHandle<()>>,
    watcher: JoinHandle<()>,
    account: Arc<Mutex<Account>>,
    seen: Arc<Mutex<Seen>>,
}

/// What the writers were told.
#[derive(Debug, Default)]
struct Account {
    acknowledged: BTreeSet<String>,
    doubtful: Vec<String>,
    refused: Vec<String>,
    longest: Duration,
}

impl Account {
    fn wrote(&self, name: &str) -> bool {
        self.acknowledged.contains(name) || self.doubtful.iter().any(|doubtful| doubtful == name)
    }
}

/// What the watcher was told.
#[derive(Debug, Default)]
struct Seen {
    index: u64,
    filesets: BTreeMap<FilesetId, Fileset>,
    /// By name.
    notices: BTreeMap<String, u32>,
    /// The whole state came anew: more than once, if a member no longer kept what was asked for.
    wholes: u32,
    failure: Option<String>,
}

/// What became of the changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Changes that their writers were told are done.
    pub acknowledged: usize,
    /// Of these, in the database at the end.
    pub found: usize,
    /// Done more than once.
    pub twice: Vec<String>,
    /// Changes of which the writer was told neither way.
    pub doubtful: Vec<String>,
    /// Changes that were refused, and why: none should be.
    pub refused: Vec<String>,
    /// Acknowledged changes that the watcher did not hear of.
    pub missed: usize,
    /// How often the watcher was given the whole state.
    pub wholes: u32,
    /// The longest that a writer waited from one answer to the next.
    pub longest: Duration,
}

impl Load {
    /// Sets `writers` to work, and a watcher. The cell has a file server `fs1` and an aggregate `lfs01`.
    ///
    /// # Errors
    /// When there is no client to be had.
    pub fn start(cell: &Cell, writers: usize) -> Result<Load> {
        let account = Arc::new(Mutex::new(Account::default()));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let is_over = Arc::new(AtomicBool::new(false));
        let client = || cell.client(As::User("admin"));
        let mut tasks = Vec::new();
        for writer in 1..=writers {
            tasks.push(tokio::spawn(write(writer, client()?, is_over.clone(), account.clone())));
        }
        let watch = client()?.watch(&[Table::Fileset], 0);
        Ok(Load {
            is_over,
            writers: tasks,
            watcher: tokio::spawn(listen(watch, seen.clone())),
            account,
            seen,
        })
    }

    /// Changes acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.account.lock().acknowledged.len()
    }

    /// The longest that a writer has waited from one answer to the next.
    pub fn longest(&self) -> Duration {
        self.account.lock().longest
    }

    /// Forgets how long the writers have waited: before the moment that is to be measured.
    pub fn measure_anew(&self) {
        self.account.lock().longest = Duration::ZERO;
    }

    /// Waits until `count` more changes are acknowledged.
    ///
    /// # Errors
    /// When they never are.
    pub async fn go_on(&self, cell: &Cell, count: usize) -> Result<()> {
        let enough = self.acknowledged() + count;
        let what = format!("{count} more changes");
        cell.wait(&what, async || (self.acknowledged() >= enough).then_some(()))
            .await
    }

    /// Lets the writers end, and counts.
    ///
    /// # Errors
    /// When the database cannot be read, or the watcher does not get to its end.
    pub async fn finish(mut self, cell: &Cell) -> Result<Verdict> {
        self.is_over.store(true, Ordering::Relaxed);
        for writer in std::mem::take(&mut self.writers) {
            writer.await?;
        }
        let fresh = |tables: &[Table]| Query::tables(tables, Freshness::Linearizable);
        // One that knows the members as they are now.
        let client = cell.client(As::User("admin"))?;
        let filesets = client.list(&fresh(&[Table::Fileset])).await?;
        let events = client.list(&fresh(&[Table::Event])).await?.records;
        let what = format!("the watcher hears of everything up to {}", filesets.index);
        cell.wait(&what, async || (self.seen.lock().index >= filesets.index).then_some(()))
            .await?;

        let account = self.account.lock();
        let seen = self.seen.lock();
        ensure!(seen.failure.is_none(), "the watch ended: {:?}", seen.failure);
        let filesets: BTreeMap<FilesetId, Fileset> = filesets.records.into_iter().filter_map(fileset).collect();
        ensure!(
            filesets == seen.filesets,
            "the watcher knows other filesets than the database"
        );
        let names: BTreeSet<String> = filesets.values().map(|fileset| fileset.name.to_string()).collect();
        let is_seen = |name: &&String| seen.notices.contains_key(*name);
        Ok(Verdict {
            acknowledged: account.acknowledged.len(),
            found: account.acknowledged.intersection(&names).count(),
            twice: twice(&events, &seen, &account),
            doubtful: account.doubtful.clone(),
            refused: account.refused.clone(),
            missed: account.acknowledged.len() - account.acknowledged.iter().filter(is_seen).count(),
            wholes: seen.wholes,
            longest: account.longest,
        })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.writers.iter().for_each(JoinHandle::abort);
        self.watcher.abort();
    }
}

impl Verdict {
    /// Says whether nothing was lost, nothing done twice, and everybody answered.
    ///
    /// # Errors
    /// The whole account, if not.
    pub fn check(&self) -> Result<()> {
        let is_well = self.acknowledged > 0
            && self.found == self.acknowledged
            && self.twice.is_empty()
            && self.refused.is_empty()
            && self.missed == 0;
        ensure!(is_well, "{self}\n{self:?}");
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} changes acknowledged, {} of them found, {} done twice, {} missed by the watcher",
            self.acknowledged,
            self.found,
            self.twice.len(),
            self.missed
        )
    }
}

/// Makes filesets until it is over.
async fn write(writer: usize, client: FldbClient, is_over: Arc<AtomicBool>, account: Arc<Mutex<Account>>) {
    let mut last = Instant::now();
    for count in 1.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("w{writer}.{count}");
        let outcome = client.change(creation(&name)).await;
        account.lock().enter(name, last.elapsed(), outcome);
        last = Instant::now();
        sleep(PACE).await;
    }
}

impl Account {
    fn enter(&mut self, name: String, waited: Duration, outcome: baton_types::Result<Done>) {
        self.longest = self.longest.max(waited);
        match outcome {
            Ok(_) => drop(self.acknowledged.insert(name)),
            Err(error) if error.kind == Kind::Unreachable => self.doubtful.push(name),
            Err(error) => self.refused.push(format!("{name}: {error}")),
        }
    }
}

/// The change that makes a fileset called `name`, where a load makes them.
pub fn creation(name: &str) -> Change {
    Change::CreateFileset {
        name: FilesetName::parse(name).expect("a good name"),
        server: Address::parse("fs1").expect("a good name"),
        aggregate: AggregateRef::Name(AggregateName::parse("lfs01").expect("a good name")),
        quota_bytes: 0,
    }
}

/// Writes down what the watch says, until a member decides against it.
async fn listen(mut watch: Watch, seen: Arc<Mutex<Seen>>) {
    loop {
        match watch.next().await {
            Ok((index, news)) => seen.lock().take(index, news),
            Err(error) if error.kind == Kind::Unreachable => {}
            Err(error) => {
                seen.lock().failure = Some(error.to_string());
                return;
            }
        }
    }
}

impl Seen {
    fn take(&mut self, index: u64, news: News) {
        match news {
            News::Forget => {
                self.filesets.clear();
                self.wholes += 1;
            }
            News::Put(records) => {
                for (id, fileset) in records.into_iter().filter_map(fileset) {
                    self.notices.entry(fileset.name.to_string()).or_default();
                    self.filesets.insert(id, fileset);
                }
            }
            News::Changed(changed) => {
                if changed.index <= self.index {
                    self.failure = Some(format!("change {} came after {}", changed.index, self.index));
                }
                for (id, fileset) in changed.put.into_iter().filter_map(fileset) {
                    *self.notices.entry(fileset.name.to_string()).or_default() += 1;
                    self.filesets.insert(id, fileset);
                }
                for key in changed.gone {
                    if let Key::Fileset(id) = key {
                        self.filesets.remove(&id);
                    }
                }
            }
            News::Complete(_) | News::Reached(_) => {}
        }
        self.index = self.index.max(index);
    }
}

fn fileset(record: Record) -> Option<(FilesetId, Fileset)> {
    if let Record::Fileset(fileset) = record {
        Some((fileset.id, fileset))
    } else {
        None
    }
}

/// Names of the writers under which something happened more than once, by the events and by the watch.
fn twice(events: &[Record], seen: &Seen, account: &Account) -> Vec<String> {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for event in events {
        if let Record::Event(event) = event
            && let Some(name) = event.on.strip_prefix("fileset ")
        {
            *counts.entry(name).or_default() += 1;
        }
    }
    let noticed = seen.notices.iter().map(|(name, count)| (name.as_str(), *count));
    let mut twice: Vec<String> = counts
        .into_iter()
        .chain(noticed)
        .filter(|(name, count)| *count > 1 && account.wrote(name))
        .map(|(name, _)| name.to_owned())
        .collect();
    twice.sort();
    twice.dedup();
    twice
}
