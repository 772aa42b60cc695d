//! The location database: three members, real processes, each with its own files on one disk.
//!
//! Members, callers, watchers and the program that plays the file servers share this machine's processors: what is
//! measured is the whole, not a member alone. What must be compared is measured in turns: a commit beside the write and
//! sync that its disk needs at least.
//!
//! | file | is |
//! |---|---|
//! | `flserver/fill.rs` | a large cell, made by the state machine |
//! | `flserver/grown.rs` | real members begin with it |
//! | `flserver/rates.rs` | lookups, commits, changes, leaders killed |
//! | `flserver/players.rs` | who plays file servers |
//! | `flserver/listeners.rs` | who watches |
//! | `flserver/events.rs` | failovers and deaths |
//! | `flserver/print.rs` | the table |

mod events;
mod fill;
mod grown;
mod listeners;
mod players;
mod print;
mod rates;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use baton_rpc::FldbClient;
use baton_rpc::fldb::{Freshness, Query};
use baton_tests::cell::{As, Builder, Cell, Programs, Role};
use baton_types::record::{Record, ServerState, Table};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::LIMITS;
use crate::figures::Figures;
use events::{deaths, moves};
use fill::{ADMINISTRATOR, AGGREGATES, FILESETS_OF_FEW, Layout};
use grown::{grow, memory, processor_time};
use listeners::Listeners;
use players::Players;
pub use print::print;
use rates::{Maker, changes, clients, commits_and_syncs, leaders_killed, lookups};

/// Callers that the changes of many are measured by.
const MANY: usize = 64;
/// Connections that lookups are measured by, besides one.
const CONNECTIONS: usize = 16;
/// How long it is measured what beats alone cost.
const BEATING: Duration = Duration::from_secs(5);
/// How long no server may have been late before failovers are measured, and for how long that is waited for.
const CALM: Duration = Duration::from_secs(3);
const CALM_WITHIN: Duration = Duration::from_secs(300);
/// Until leaders and followers have nothing left to do.
const QUIET: Duration = Duration::from_secs(2);

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In the database.
    pub filesets: usize,
    /// File servers that register, claim and beat.
    pub servers: usize,
    /// Connections that watch.
    pub watchers: usize,
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
    /// That beat.
    pub servers: usize,
    /// That watch.
    pub watchers: usize,
    /// How long things took.
    pub times: Vec<Timed>,
    /// Of what there is one figure.
    pub values: Vec<Value>,
}

/// Something that was done often.
#[derive(Clone, Debug, Serialize)]
pub struct Timed {
    /// What.
    pub what: String,
    /// How long it took.
    #[serde(flatten)]
    pub figures: Figures,
    /// Milliseconds that its p99 is to take at most.
    pub wanted_millis: Option<f64>,
}

/// Something that was found once.
#[derive(Clone, Debug, Serialize)]
pub struct Value {
    /// What.
    pub what: String,
    /// How much.
    pub value: f64,
    /// Of which.
    pub unit: &'static str,
}

impl Report {
    fn time(&mut self, what: impl Into<String>, figures: Figures) {
        self.times.push(Timed {
            what: what.into(),
            figures,
            wanted_millis: None,
        });
    }

    fn time_wanted(&mut self, what: impl Into<String>, figures: Figures, millis: f64) {
        self.time(what, figures);
        if let Some(last) = self.times.last_mut() {
            last.wanted_millis = Some(millis);
        }
    }

    fn value(&mut self, what: impl Into<String>, value: f64, unit: &'static str) {
        let what = what.into();
        self.values.push(Value { what, value, unit });
    }

    fn once(&mut self, what: impl Into<String>, took: Duration) {
        self.value(what, took.as_secs_f64() * 1e3, "ms");
    }
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
    let layout = Layout {
        filesets: plan.filesets,
        servers: plan.servers,
    };
    let mut report = Report {
        schema: "baton.bench.flserver/2",
        processors: std::thread::available_parallelism()?.get(),
        filesets: plan.filesets,
        servers: plan.servers,
        watchers: plan.watchers,
        times: Vec::new(),
        values: Vec::new(),
    };
    progress("a cell of three members");
    let mut cell = Builder::default()
        .directory(directory)
        .limits(LIMITS)
        .flservers(3)
        .start()
        .await?;
    let empty = memory(&cell, "fl1")?;
    progress(&format!("{} filesets, {} servers", plan.filesets, plan.servers));
    grown(&mut cell, &layout, &mut report, &progress).await?;
    weigh(&cell, empty, &mut report)?;
    progress("lookups");
    look_ups(&cell, plan, &mut report).await?;
    let maker = Maker::new(layout);
    progress("commits and syncs in turns, changes");
    work(&cell, &maker, &mut report).await?;
    progress(&format!("{} servers register, claim and beat", plan.servers));
    let players = play(&cell, &layout, &mut report).await?;
    for watchers in [1, plan.watchers] {
        progress(&format!("failovers with {watchers} watching"));
        fail_over(&cell, &layout, (&players, watchers), &mut report).await?;
    }
    drop(players);
    progress(&format!("{} leaders killed", plan.kills));
    let [first, last, back] = leaders_killed(&mut cell, plan.kills, &maker).await?;
    report.time("leader killed: first change of any of 4 clients", first);
    report.time("leader killed: first change of the last of them", last);
    report.time("a member starts anew, until it answers", back);
    cell.down()?;
    Ok(report)
}

async fn grown(cell: &mut Cell, layout: &Layout, report: &mut Report, progress: &impl Fn(&str)) -> Result<()> {
    let cost = grow(cell, layout, progress).await?;
    let each = cost.made.as_secs_f64() * 1e6 / layout.filesets as f64;
    report.value("a change in the state machine alone", each, "us");
    report.once("snapshot: the state as bytes", cost.dumped);
    report.once("snapshot: written and synced", cost.saved);
    report.once("snapshot: read back into a state", cost.loaded);
    report.value("snapshot", cost.bytes as f64 / f64::from(1 << 20), "MiB");
    report.once("a member begins with a file, until it leads", cost.restored);
    report.once("another joins, until it has it all and a vote", cost.joined);
    Ok(())
}

fn weigh(cell: &Cell, empty: u64, report: &mut Report) -> Result<()> {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    report.value("memory of a member with nothing", mib(empty), "MiB");
    for member in cell.named(Role::Flserver) {
        let full = memory(cell, &member)?;
        report.value(format!("memory of {member} with all"), mib(full), "MiB");
        let each = full.saturating_sub(empty) as f64 / report.filesets as f64;
        report.value(format!("memory of {member}, each fileset"), each, "bytes");
    }
    Ok(())
}

async fn look_ups(cell: &Cell, plan: &Plan, report: &mut Report) -> Result<()> {
    for member in cell.named(Role::Flserver) {
        for connections in [1, CONNECTIONS] {
            let figures = lookups(cell, &member, connections, plan.filesets).await?;
            report.time(format!("lookups at {member}, connections: {connections}"), figures);
        }
    }
    Ok(())
}

async fn work(cell: &Cell, maker: &Arc<Maker>, report: &mut Report) -> Result<()> {
    let callers = clients(cell, MANY)?;
    let (commit, sync) = commits_and_syncs(cell, &callers[0], maker).await?;
    report.time("commits, 1 caller", commit);
    report.time("write of 4 KiB and fdatasync, in turns", sync);
    report.value(
        "a commit by its sync, medians",
        commit.p50_micros / sync.p50_micros,
        "times",
    );
    report.time("changes, 1 caller", changes(&callers[..1], maker).await?);
    report.time("changes, 64 callers, with snapshots", changes(&callers, maker).await?);
    Ok(())
}

/// The servers, and what a member has to do when nothing happens but their beats.
async fn play(cell: &Cell, layout: &Layout, report: &mut Report) -> Result<Players> {
    let directory = cell.places().directory().join("played");
    let mut players = Players::certified(cell, layout, &directory).await?;
    // Beats first: a run that has registered and is not heard is soon held to be dead.
    players.beat(cell)?;
    sleep(QUIET).await;
    let begun = Instant::now();
    players.register().await?;
    report.once("all servers register and claim", begun.elapsed());
    sleep(QUIET).await;
    let leader = cell.wait_for_leader().await?;
    let follower = cell.named(Role::Flserver).into_iter().find(|member| *member != leader);
    for (what, member) in [("the leader", Some(leader)), ("a follower", follower)] {
        let Some(member) = member else { continue };
        let before = processor_time(cell, &member)?;
        sleep(BEATING).await;
        let share = (processor_time(cell, &member)? - before).as_secs_f64() / BEATING.as_secs_f64();
        report.value(
            format!("beats of all servers, {what}"),
            share * 100.0,
            "% of a processor",
        );
    }
    Ok(players)
}

async fn fail_over(
    cell: &Cell,
    layout: &Layout,
    (players, watchers): (&Players, usize),
    report: &mut Report,
) -> Result<()> {
    let (mut listeners, whole) = Listeners::start(cell, watchers).await?;
    report.once(format!("watchers: {watchers}, until all have heard everything"), whole);
    let client = cell.client(As::User(ADMINISTRATOR))?;
    calm(&client).await?;
    for (server, filesets) in [(0, FILESETS_OF_FEW), (2, layout.filesets_of_many())] {
        let [commits, told] = moves(&client, players, &mut listeners, server).await?;
        let what = format!("failover, {AGGREGATES} aggregates, {filesets} filesets");
        report.time_wanted(format!("{what}: committed"), commits, 50.0);
        report.time_wanted(format!("{what}: the last of {watchers} told"), told, 250.0);
    }
    let deaths = deaths(players, &mut listeners, 0).await?;
    report.time(
        format!("guard saw it end, until the last of {watchers} is told"),
        deaths.attested,
    );
    report.time(
        format!("silent, until pending, the last of {watchers} told"),
        deaths.pending,
    );
    report.time(format!("silent, until dead, the last of {watchers} told"), deaths.dead);
    Ok(())
}

/// Until every server has been alive for a while: so many connections on few processors are late themselves.
async fn calm(client: &FldbClient) -> Result<()> {
    let query = Query::tables(&[Table::Server], Freshness::Local);
    let mut since = Instant::now();
    let until = since + CALM_WITHIN;
    while since.elapsed() < CALM {
        ensure!(Instant::now() < until, "some server is late all the time");
        sleep(Duration::from_millis(200)).await;
        let records = client.list(&query).await?.records;
        let is_late = |record: &Record| matches!(record, Record::Server(server) if server.state != ServerState::Alive);
        if records.iter().any(is_late) {
            since = Instant::now();
        }
    }
    Ok(())
}
