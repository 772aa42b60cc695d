//! Watchers: each a connection of its own to one of the members, logged in, following owners and servers as clients do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use baton_proto::v1::{self, watch_reply::Reply};
use baton_tests::cell::{As, Cell, Role, Talk};
use baton_types::record::{Changed, Record, Table};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::fill::ADMINISTRATOR;

/// For what is to be heard to be heard by the last.
const PATIENCE: Duration = Duration::from_secs(60);

/// All watchers, until this is dropped.
pub struct Listeners {
    count: usize,
    heard: mpsc::UnboundedReceiver<Heard>,
    /// When each index was heard, by as many as have heard it.
    indexes: BTreeMap<u64, Vec<Instant>>,
    /// What the first of them heard and nobody asked for yet.
    news: Vec<(u64, Vec<Record>)>,
    _tasks: JoinSet<Result<()>>,
}

/// What one of them says.
enum Heard {
    Whole,
    Changed(u64, Instant),
    /// By the first alone.
    News(u64, Vec<Record>),
}

impl Listeners {
    /// `count` watchers, one after the other at each of the members, and how long it took them to hear everything there is.
    ///
    /// # Errors
    /// When a member refuses one.
    pub async fn start(cell: &Cell, count: usize) -> Result<(Listeners, Duration)> {
        let members = cell.named(Role::Flserver);
        let mut talks = Vec::new();
        for number in 0..count {
            let member = &members[number % members.len()];
            talks.push(cell.talk(member, As::User(ADMINISTRATOR)).await?);
        }
        let (send, heard) = mpsc::unbounded_channel();
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        for (number, talk) in talks.into_iter().enumerate() {
            tasks.spawn(listen(talk, number == 0, send.clone()));
        }
        let mut listeners = Listeners {
            count,
            heard,
            indexes: BTreeMap::new(),
            news: Vec::new(),
            _tasks: tasks,
        };
        let mut whole = 0;
        while whole < count {
            match listeners.next().await? {
                Heard::Whole => whole += 1,
                other => listeners.note(other),
            }
        }
        Ok((listeners, begun.elapsed()))
    }

    /// Forgets what was heard so far.
    pub fn forget(&mut self) {
        while self.heard.try_recv().is_ok() {}
        self.indexes.clear();
        self.news.clear();
    }

    /// When the last of them heard of the change at `index`.
    ///
    /// # Errors
    /// When one never does.
    pub async fn last(&mut self, index: u64) -> Result<Instant> {
        loop {
            if let Some(times) = self.indexes.get(&index)
                && times.len() >= self.count
            {
                return times.iter().max().copied().context("nobody watches");
            }
            let heard = self.next().await?;
            self.note(heard);
        }
    }

    /// The index of the first change with a record that is wanted.
    ///
    /// # Errors
    /// When none comes.
    pub async fn change_with(&mut self, wanted: impl Fn(&Record) -> bool) -> Result<u64> {
        loop {
            if let Some((index, _)) = self.news.iter().find(|(_, records)| records.iter().any(&wanted)) {
                return Ok(*index);
            }
            let heard = self.next().await?;
            self.note(heard);
        }
    }

    fn note(&mut self, heard: Heard) {
        match heard {
            Heard::Whole => {}
            Heard::Changed(index, at) => self.indexes.entry(index).or_default().push(at),
            Heard::News(index, records) => self.news.push((index, records)),
        }
    }

    async fn next(&mut self) -> Result<Heard> {
        let heard = timeout(PATIENCE, self.heard.recv()).await;
        heard.context("a watcher was not told")?.context("no watcher is left")
    }
}

async fn listen(talk: Talk, is_first: bool, heard: mpsc::UnboundedSender<Heard>) -> Result<()> {
    let tables = [Table::Aggregate, Table::Server].map(|table| v1::Table::from(table) as i32);
    let request = v1::WatchRequest {
        caller: talk.caller,
        tables: tables.to_vec(),
        after: 0,
    };
    let mut stream = talk.connection.fldb().watch(request).await?.into_inner();
    while let Some(message) = stream.message().await? {
        let at = Instant::now();
        match message.reply {
            Some(Reply::Changed(changed)) => {
                heard.send(Heard::Changed(changed.index, at))?;
                if is_first {
                    let changed = Changed::try_from(changed)?;
                    heard.send(Heard::News(changed.index, changed.put))?;
                }
            }
            Some(Reply::WholeEnd(_)) => heard.send(Heard::Whole)?,
            Some(Reply::Whole(_) | Reply::Reached(_)) | None => {}
        }
    }
    Ok(())
}
