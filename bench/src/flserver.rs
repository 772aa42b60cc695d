//! The location database: three members, real processes, each with its own files on one disk.
//!
//! Members and callers share this machine's processors: what is measured is the whole, not a member alone. What
//! must be compared is measured in turns: a commit beside the write and sync that its disk needs at least.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use baton_rpc::FldbClient;
use baton_rpc::fldb::Sought;
use baton_tests::cell::{As, Builder, Cell, Programs};
use baton_tests::load::creation;
use baton_types::FilesetName;
use baton_types::change::FilesetRef;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::LIMITS;
use crate::figures::{Figures, Samples};

/// Callers that fill the database, and that the changes of many are measured by.
const MANY: usize = 64;
/// Connections that lookups are measured by, besides one.
const CONNECTIONS: usize = 16;
/// How long each rate is measured.
const LONG: Duration = Duration::from_secs(5);
/// Turns of commits and syncs.
const TURNS: usize = 20;
/// Commits or syncs in a turn.
const PER_TURN: usize = 50;
/// Written before each sync: a page, the least that a log writes.
const PAGE: [u8; 4096] = [0x5a; 4096];
/// Clients that wait for the next leader.
const WAITING: usize = 4;
/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In the database before the first measurement.
    pub filesets: usize,
    /// Leaders killed.
    pub kills: usize,
    /// On the disk to be measured; `None`: where the programs are.
    pub directory: Option<PathBuf>,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What this is.
    pub schema: &'static str,
    /// Processors that all of it shares.
    pub processors: usize,
    /// In the database.
    pub filesets: usize,
    /// Filling it, by 64 callers.
    pub load: Figures,
    /// Lookups by one connection.
    pub lookups_1: Figures,
    /// Lookups by 16 connections.
    pub lookups_16: Figures,
    /// Commits by one caller, in turns with the next.
    pub commit: Figures,
    /// A page written and synced, on the same disk.
    pub sync: Figures,
    /// The former's median by the latter's.
    pub commit_by_sync: f64,
    /// Changes by one caller.
    pub changes_1: Figures,
    /// Changes by 64 callers.
    pub changes_64: Figures,
    /// From the leader's death to the first acknowledged change of any client.
    pub failover: Figures,
    /// The same for the last of four clients.
    pub failover_of_all: Figures,
}

/// Measures all of it.
///
/// # Errors
/// When the cell does not start, or a call fails that must not.
pub async fn measure(plan: &Plan, progress: impl Fn(&str)) -> Result<Report> {
    let directory = match &plan.directory {
        Some(directory) => directory.clone(),
        None => Programs::find()?
            .target()
            .join(format!("bench-{:016x}", rand::random::<u64>())),
    };
    progress("a cell of three members");
    let mut cell = Builder::default()
        .servers(1)
        .aggregates(1)
        .directory(directory)
        .limits(LIMITS)
        .start()
        .await?;
    let callers = clients(&cell, MANY)?;
    let names = Arc::new(AtomicUsize::new(0));

    progress(&format!("{} filesets by {MANY} callers", plan.filesets));
    let load = fill(&callers, &names, plan.filesets).await?.figures();
    cell.wait_for_all().await?;
    progress("lookups");
    let lookups_1 = lookups(&clients(&cell, 1)?, plan.filesets).await?.figures();
    let lookups_16 = lookups(&clients(&cell, CONNECTIONS)?, plan.filesets).await?.figures();
    progress("commits and syncs in turns");
    let (commit, sync) = commits_and_syncs(&cell, &callers[0], &names).await?;
    progress("changes");
    let changes_1 = changes(&callers[..1], &names).await?.figures();
    let changes_64 = changes(&callers, &names).await?.figures();
    drop(callers);
    progress(&format!("{} leaders killed", plan.kills));
    let (first, last) = failovers(&mut cell, plan.kills, &names).await?;
    cell.down()?;
    Ok(Report {
        schema: "baton.bench.flserver/1",
        processors: std::thread::available_parallelism()?.get(),
        filesets: plan.filesets,
        load,
        lookups_1,
        lookups_16,
        commit,
        sync,
        commit_by_sync: commit.p50_micros / sync.p50_micros,
        changes_1,
        changes_64,
        failover: first.figures(),
        failover_of_all: last.figures(),
    })
}

fn clients(cell: &Cell, count: usize) -> Result<Vec<FldbClient>> {
    (0..count).map(|_| cell.client(As::User("admin"))).collect()
}

fn name(number: usize) -> String {
    format!("f{number:07}")
}

/// Makes the next fileset.
async fn make_one(client: &FldbClient, names: &AtomicUsize) -> Result<Duration> {
    let name = name(names.fetch_add(1, Ordering::Relaxed));
    let begun = Instant::now();
    client.change(creation(&name)).await?;
    Ok(begun.elapsed())
}

/// Lets every client go on with `call` for as long as it says so.
async fn side_by_side<F, Fut>(clients: &[FldbClient], call: F) -> Result<Samples>
where
    F: Fn(FldbClient) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Option<Duration>>> + Send,
{
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for client in clients {
        let (client, call) = (client.clone(), call.clone());
        tasks.spawn(async move {
            let mut each = Vec::new();
            while let Some(took) = call(client.clone()).await? {
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

async fn fill(clients: &[FldbClient], names: &Arc<AtomicUsize>, count: usize) -> Result<Samples> {
    let names = names.clone();
    side_by_side(clients, move |client| {
        let names = names.clone();
        async move {
            if names.load(Ordering::Relaxed) >= count {
                return Ok(None);
            }
            make_one(&client, &names).await.map(Some)
        }
    })
    .await
}

async fn changes(clients: &[FldbClient], names: &Arc<AtomicUsize>) -> Result<Samples> {
    let (names, end) = (names.clone(), Instant::now() + LONG);
    side_by_side(clients, move |client| {
        let names = names.clone();
        async move {
            if Instant::now() >= end {
                return Ok(None);
            }
            make_one(&client, &names).await.map(Some)
        }
    })
    .await
}

/// Filesets drawn at random are looked up by name.
async fn lookups(clients: &[FldbClient], filesets: usize) -> Result<Samples> {
    for client in clients {
        look_up(client, 0).await?; // connects
    }
    let end = Instant::now() + LONG;
    side_by_side(clients, move |client| async move {
        if Instant::now() >= end {
            return Ok(None);
        }
        look_up(&client, rand::random_range(0..filesets)).await.map(Some)
    })
    .await
}

async fn look_up(client: &FldbClient, number: usize) -> Result<Duration> {
    let name = FilesetName::parse(&name(number))?;
    let begun = Instant::now();
    let found = client.lookup(&Sought::Fileset(FilesetRef::Name(name.clone()))).await?;
    let took = begun.elapsed();
    ensure!(
        found.fileset.is_some_and(|fileset| fileset.name == name),
        "another fileset was found than {name}"
    );
    Ok(took)
}

async fn commits_and_syncs(cell: &Cell, client: &FldbClient, names: &AtomicUsize) -> Result<(Figures, Figures)> {
    let path = cell.places().directory().join("synced");
    let mut file = File::create(&path)?;
    let (mut commits, mut syncs) = (Samples::default(), Samples::default());
    for _ in 0..TURNS {
        let (begun, mut each) = (Instant::now(), Vec::new());
        for _ in 0..PER_TURN {
            each.push(make_one(client, names).await?);
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

/// For each death, how long until the first client, and until the last, has its change acknowledged.
async fn failovers(cell: &mut Cell, kills: usize, names: &Arc<AtomicUsize>) -> Result<(Samples, Samples)> {
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for _ in 0..kills {
        let clients = clients(cell, WAITING)?;
        for client in &clients {
            make_one(client, names).await?;
        }
        let leader = cell.wait_for_leader().await?;
        let begun = Instant::now();
        cell.kill(&leader)?;
        let mut waiting = JoinSet::new();
        for client in clients {
            let names = names.clone();
            waiting.spawn(async move {
                make_one(&client, &names).await?;
                anyhow::Ok(begun.elapsed())
            });
        }
        let mut ends = Vec::new();
        while let Some(ended) = waiting.join_next().await {
            ends.push(ended??);
        }
        first.extend(ends.first());
        last.extend(ends.last());
        cell.start(&leader)?;
        cell.wait_for_all().await?;
    }
    let alone = |each| Samples::new(each, Duration::ZERO); // one at a time has no rate
    Ok((alone(first), alone(last)))
}
