//! Watchers: each a connection of its own to one of the members, logged in, following owners and servers as clients do.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
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
    heard: mpsc::UnboundedReceiver<Heard>,
    /// Up to which index each of them has heard everything, and since when: in the order in which it heard.
    reached: Vec<Vec<(u64, Instant)>>,
    /// What the first of them heard and nobody asked for yet.
    news: Vec<(u64, Vec<Record>)>,
    /// Ended with this.
    tasks: JoinSet<()>,
}

/// What one of them says.
enum Heard {
    /// One of them stands at this index.
    Reached(usize, u64, Instant),
    /// By the first alone.
    News(u64, Vec<Record>),
    /// It hears no more, and why.
    Lost(usize, String),
}

impl Listeners {
    /// `count` watchers, one after the other at each of the members, and how long it took them to hear everything there is.
    ///
    /// # Errors
    /// When a member refuses one.
    pub async fn start(cell: &Cell, count: usize) -> Result<(Listeners, Duration)> {
        let members = cell.named(Role::Flserver);
        let (send, heard) = mpsc::unbounded_channel();
        let mut listeners = Listeners {
            heard,
            reached: Vec::new(),
            news: Vec::new(),
            tasks: JoinSet::new(),
        };
        let begun = Instant::now();
        for number in 0..count {
            let member = &members[number % members.len()];
            let talk = cell.talk(member, As::User(ADMINISTRATOR)).await?;
            let heard = send.clone();
            listeners.reached.push(Vec::new());
            listeners.tasks.spawn(async move {
                let why = match listen(talk, number, heard.clone()).await {
                    Ok(()) => "the member ended its watch".to_owned(),
                    Err(error) => format!("{error:#}"),
                };
                let _ = heard.send(Heard::Lost(number, why)); // nobody is left to hear of it
            });
            // A site's clients do not come all at once, and each has everything sent that there is of servers.
            while listeners.reached[number].is_empty() {
                listeners.next().await?;
            }
        }
        Ok((listeners, begun.elapsed()))
    }

    /// Forgets what was heard so far.
    pub fn forget(&mut self) {
        while self.heard.try_recv().is_ok() {}
        self.reached.iter_mut().for_each(Vec::clear);
        self.news.clear();
    }

    /// When the last of them had heard of everything up to `index`, which it has not before they forgot.
    ///
    /// # Errors
    /// When one never does.
    pub async fn last(&mut self, index: u64) -> Result<Instant> {
        loop {
            let first = |reached: &Vec<(u64, Instant)>| {
                let enough = reached.iter().find(|(known, _)| *known >= index);
                enough.map(|(_, at)| *at)
            };
            let all: Option<Vec<Instant>> = self.reached.iter().map(first).collect();
            if let Some(all) = all {
                return all.into_iter().max().context("nobody watches");
            }
            self.next().await?;
            while let Ok(heard) = self.heard.try_recv() {
                self.note(heard)?;
            }
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
            self.next().await?;
        }
    }

    fn note(&mut self, heard: Heard) -> Result<()> {
        match heard {
            Heard::Reached(number, index, at) => self.reached[number].push((index, at)),
            Heard::News(index, records) => self.news.push((index, records)),
            Heard::Lost(number, why) => bail!("watcher {number} hears no more: {why}"),
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<()> {
        let heard = timeout(PATIENCE, self.heard.recv()).await;
        self.note(heard.context("a watcher was not told")?.context("no watcher is left")?)
    }
}

async fn listen(talk: Talk, number: usize, heard: mpsc::UnboundedSender<Heard>) -> Result<()> {
    let tables = [Table::Aggregate, Table::Server].map(|table| v1::Table::from(table) as i32);
    let request = v1::WatchRequest {
        caller: talk.caller,
        tables: tables.to_vec(),
        after: 0,
        changes_only: Vec::new(),
    };
    let mut stream = talk.connection.fldb().watch(request).await?.into_inner();
    while let Some(message) = stream.message().await? {
        let at = Instant::now();
        let index = match message.reply {
            Some(Reply::Changed(changed)) if number == 0 => {
                let changed = Changed::try_from(changed)?;
                heard.send(Heard::News(changed.index, changed.put))?;
                changed.index
            }
            Some(Reply::Changed(changed)) => changed.index,
            // One that is far behind is given the whole again, and stands there then.
            Some(Reply::WholeEnd(index) | Reply::Reached(index)) => index,
            Some(Reply::Whole(_)) | None => continue,
        };
        heard.send(Heard::Reached(number, index, at))?;
    }
    Ok(())
}
