//! Lookups, commits and changes: how many in a second, and how long each takes.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use baton_proto::v1;
use baton_rpc::FldbClient;
use baton_tests::cell::{As, Cell, Talk};
use baton_types::change::{AggregateRef, Change};
use baton_types::record::Fileset;
use baton_types::{FilesetName, Kind};
use tokio::task::JoinSet;

use super::fill::{self, ADMINISTRATOR, Layout};
use crate::figures::{Figures, Samples};

/// How long each rate is measured.
const LONG: Duration = Duration::from_secs(4);
/// Turns of commits and syncs.
const TURNS: usize = 20;
/// Commits or syncs in a turn.
const PER_TURN: usize = 50;
/// Written before each sync: a page, the least that a log writes.
const PAGE: [u8; 4096] = [0x5a; 4096];
/// Clients that wait for the next leader.
const WAITING: usize = 4;

/// So many clients, each with a connection of its own.
pub fn clients(cell: &Cell, count: usize) -> Result<Vec<FldbClient>> {
    (0..count).map(|_| cell.client(As::User(ADMINISTRATOR))).collect()
}

/// Makes filesets that are not there yet, one after the other, on the servers that are failed over by nobody.
pub struct Maker {
    layout: Layout,
    next: AtomicUsize,
}

impl Maker {
    /// Goes on after the filesets of `layout`.
    pub fn new(layout: Layout) -> Arc<Maker> {
        Arc::new(Maker {
            layout,
            next: AtomicUsize::new(layout.filesets),
        })
    }

    /// Makes the next one.
    ///
    /// # Errors
    /// What the database says.
    pub async fn make(&self, client: &FldbClient) -> Result<Duration> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let server = self.layout.spare(number)?;
        let change = Change::CreateFileset {
            name: FilesetName::parse(&fill::fileset(number))?,
            server: server.address.clone(),
            aggregate: AggregateRef::Name(server.own[0].1.clone()),
            quota_bytes: 0,
        };
        let begun = Instant::now();
        client.change(change).await?;
        Ok(begun.elapsed())
    }
}

/// Lets every caller go on with `call` for as long as it says so.
async fn side_by_side<C, F, Fut>(callers: &[C], call: F) -> Result<Samples>
where
    C: Clone + Send + Sync + 'static,
    F: Fn(C) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Option<Duration>>> + Send,
{
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in callers {
        let (caller, call) = (caller.clone(), call.clone());
        tasks.spawn(async move {
            let mut each = Vec::new();
            while let Some(took) = call(caller.clone()).await? {
                each.push(took);
            }
            anyhow::Ok(each)
        });
    }
    let mut each = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        each.extend(ended??);
    }
    Ok(Samples::new(each, begun.elapsed()))
}

/// Changes by all of `clients` side by side: so many that snapshots are written meanwhile.
///
/// # Errors
/// What the database says.
pub async fn changes(clients: &[FldbClient], maker: &Arc<Maker>) -> Result<Figures> {
    let (maker, end) = (maker.clone(), Instant::now() + LONG);
    let samples = side_by_side(clients, move |client| {
        let maker = maker.clone();
        async move {
            if Instant::now() >= end {
                return Ok(None);
            }
            maker.make(&client).await.map(Some)
        }
    });
    Ok(samples.await?.figures())
}

/// Filesets drawn at random are looked up by name, at one member, by so many connections.
///
/// # Errors
/// When another is found, or none.
pub async fn lookups(cell: &Cell, member: &str, connections: usize, filesets: usize) -> Result<Figures> {
    let mut talks = Vec::new();
    for _ in 0..connections {
        talks.push(Arc::new(cell.talk(member, As::User(ADMINISTRATOR)).await?));
    }
    let end = Instant::now() + LONG;
    let samples = side_by_side(&talks, move |talk| async move {
        if Instant::now() >= end {
            return Ok(None);
        }
        look_up(&talk, rand::random_range(0..filesets)).await.map(Some)
    });
    Ok(samples.await?.figures())
}

/// Looks one up.
///
/// # Errors
/// When another is found, or none.
pub async fn look_up(talk: &Talk, number: usize) -> Result<Duration> {
    let name = fill::fileset(number);
    let begun = Instant::now();
    let found = talk.lookup(&name).await?;
    let took = begun.elapsed();
    let found: Option<Fileset> = found.fileset.map(v1::Fileset::try_into).transpose()?;
    ensure!(
        found.is_some_and(|fileset| fileset.name.as_str() == name),
        "another fileset was found than {name}"
    );
    Ok(took)
}

/// Commits by one caller, in turns with writes and syncs on the same disk.
///
/// # Errors
/// What the database or the disk says.
pub async fn commits_and_syncs(cell: &Cell, client: &FldbClient, maker: &Maker) -> Result<(Figures, Figures)> {
    let path = cell.places().directory().join("synced");
    let mut file = File::create(&path)?;
    let (mut commits, mut syncs) = (Samples::default(), Samples::default());
    for _ in 0..TURNS {
        let (begun, mut each) = (Instant::now(), Vec::new());
        for _ in 0..PER_TURN {
            each.push(maker.make(client).await?);
        }
        commits.extend(Samples::new(each, begun.elapsed()));
        let (begun, mut each) = (Instant::now(), Vec::new());
        for _ in 0..PER_TURN {
            let begun = Instant::now();
            file.write_all(&PAGE)?;
            file.sync_data()?;
            each.push(begun.elapsed());
        }
        syncs.extend(Samples::new(each, begun.elapsed()));
    }
    Ok((commits.figures(), syncs.figures()))
}

/// For each death of a leader, how long until the first client, and until the last of four, has its change
/// acknowledged; and how long until the member that was killed answers again.
///
/// # Errors
/// When nobody leads any more.
pub async fn leaders_killed(cell: &mut Cell, kills: usize, maker: &Arc<Maker>) -> Result<[Figures; 3]> {
    let (mut first, mut last, mut back) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..kills {
        let clients = clients(cell, WAITING)?;
        for client in &clients {
            maker.make(client).await?;
        }
        let leader = cell.wait_for_leader().await?;
        let begun = Instant::now();
        cell.kill(&leader)?;
        let mut waiting = JoinSet::new();
        for client in clients {
            let maker = maker.clone();
            waiting.spawn(async move {
                maker.make(&client).await?;
                anyhow::Ok(begun.elapsed())
            });
        }
        let mut ends = Vec::new();
        while let Some(ended) = waiting.join_next().await {
            ends.push(ended??);
        }
        first.extend(ends.first());
        last.extend(ends.last());
        back.push(restarted(cell, &leader).await?);
        cell.wait_for_all().await?;
    }
    let alone = |each| Samples::new(each, Duration::ZERO).figures(); // one at a time has no rate
    Ok([first, last, back].map(alone))
}

/// From the start of a member's process to its first answer to a lookup.
async fn restarted(cell: &mut Cell, member: &str) -> Result<Duration> {
    let begun = Instant::now();
    cell.start(member)?;
    loop {
        let answered = match cell.talk(member, As::Nobody).await {
            Ok(talk) => talk.lookup(&fill::fileset(0)).await.is_ok(),
            Err(error) => {
                let is_passing = error
                    .downcast_ref::<baton_types::Error>()
                    .is_none_or(|error| error.kind == Kind::Unreachable);
                ensure!(is_passing, error);
                false
            }
        };
        if answered {
            return Ok(begun.elapsed());
        }
        ensure!(
            begun.elapsed() < Duration::from_secs(60),
            "{member} does not answer again"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
