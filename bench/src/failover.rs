//! What programs feel of a failover: fifteen aggregates with eight hundred filesets change servers again and again.
//!
//! Programs in three real mounts append a line to a file and make it safe, one after the other, in a fileset on each
//! aggregate. The figure of an event is the longest that any of them waited for one promise, from before the event until
//! all have gone on after it. Everything shares the processors of one machine.

mod typed;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use baton_tests::cell::{Builder, Cell, Programs, Trust};
use baton_tests::faults::programs::Work;
use baton_tests::suites::Stage;
use baton_types::change::Takeover;
use serde::Serialize;

use crate::LIMITS;
use crate::figures::{Figures, Samples};

/// As many as the servers had that this was first asked of.
const AGGREGATES: usize = 15;
/// Likewise.
const FILESETS: usize = 800;
/// Machines of users.
const MOUNTS: usize = 3;
/// Members of the location database.
const MEMBERS: usize = 3;
/// Commands side by side that make filesets.
const SIDE_BY_SIDE: usize = 5;
/// From an event to the next: the standby has seen all disks again, and what the last event left behind is done.
const SETTLE: Duration = Duration::from_secs(2);
/// How often the commands of old are typed: there and back.
const TYPED: usize = 4;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of each kind.
    pub events: usize,
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
    /// That changed servers, each time.
    pub aggregates: usize,
    /// On them.
    pub filesets: usize,
    /// The longest wait of each event, by what befell the owner.
    pub rows: Vec<Row>,
}

/// Events of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What befell the owner.
    pub what: &'static str,
    /// The longest waits, or how long the commands took.
    pub figures: Figures,
    /// What the p99 is to be, at most.
    pub p99_target_micros: Option<f64>,
}

/// What befalls the owner of all aggregates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Planned,
    Kill,
    Freeze,
}

/// In this order, with the p99 that each is to have at most.
const EVENTS: [(&str, Event, Duration); 3] = [
    ("planned move", Event::Planned, Duration::from_millis(300)),
    ("the owner is killed", Event::Kill, Duration::from_millis(800)),
    ("the owner stands still", Event::Freeze, Duration::from_millis(3_000)),
];

/// Measures all of it.
///
/// # Errors
/// When the cell does not start, a program meets an error, or something promised is not there in the end.
pub async fn measure(plan: &Plan, progress: impl Fn(&str)) -> Result<Report> {
    ensure!(plan.events > 0, "nothing is measured in no events");
    progress(&format!("a cell with {AGGREGATES} aggregates and {FILESETS} filesets"));
    let (mut stage, work) = begin(plan).await?;
    let mut rows = Vec::new();
    for (what, event, target) in EVENTS {
        let mut longest = Vec::new();
        for number in 0..plan.events {
            progress(&format!("{what}, {} of {}", number + 1, plan.events));
            longest.push(one(event, &mut stage.cell, &work).await?);
        }
        rows.push(row(what, longest, Some(target)));
    }
    let (mut took, mut longest) = (Vec::new(), Vec::new());
    for number in 0..TYPED {
        progress(&format!("the commands of old, {} of {TYPED}", number + 1));
        let (typed, waited) = typed::swap(&stage.cell, &work).await?;
        took.push(typed);
        longest.push(waited);
    }
    rows.push(row("the swap by 35 typed commands: a program", longest, None));
    rows.push(row("the swap by 35 typed commands: all of it", took, None));
    work.finish().await?.checked()?;
    stage.cell.down()?;
    Ok(Report {
        schema: "baton.bench.failover/1",
        processors: std::thread::available_parallelism()?.get(),
        aggregates: AGGREGATES,
        filesets: FILESETS,
        rows,
    })
}

fn row(what: &'static str, each: Vec<Duration>, target: Option<Duration>) -> Row {
    Row {
        what,
        figures: Samples::new(each, Duration::ZERO).figures(),
        p99_target_micros: target.map(|target| target.as_secs_f64() * 1e6),
    }
}

fn aggregate(index: usize) -> String {
    format!("lfs{:02}", index + 1)
}

/// A cell with programs at work on every aggregate.
async fn begin(plan: &Plan) -> Result<(Stage, Work)> {
    let directory = match &plan.directory {
        Some(directory) => directory.clone(),
        None => Programs::find()?
            .target()
            .join(format!("bench-{:016x}", rand::random::<u64>())),
    };
    let builder = Builder::default().flservers(MEMBERS).servers(2).aggregates(AGGREGATES);
    let cell = builder.directory(directory).limits(LIMITS).start().await?;
    let stage = Stage::within(cell, MOUNTS, Trust::UsersAndRoot).await?;
    fill(&stage.cell)?;
    let mut work = Work::none();
    for index in 0..AGGREGATES {
        let directories = stage.another_on(&aggregate(index), &format!("home.{index}")).await?;
        let (own, other) = (&directories[index % MOUNTS], &directories[(index + 1) % MOUNTS]);
        work.append("journal", own, other)?;
    }
    work.goes_on(&stage.cell).await?;
    Ok((stage, work))
}

/// Makes the filesets that nobody works in: all but one of each aggregate, and the stage's own. Those of one aggregate
/// one after the other: its server does not make two at once.
fn fill(cell: &Cell) -> Result<()> {
    let make = |index: usize| {
        let (name, aggregate) = (format!("user.{index}"), aggregate(index % AGGREGATES));
        cell.fts(&["create", &name, "fs1", &aggregate])?.done().map(drop)
    };
    let names = 0..FILESETS - AGGREGATES - 1;
    std::thread::scope(|scope| {
        let start = |maker: usize| {
            let mut own = names
                .clone()
                .filter(move |index| index % AGGREGATES % SIDE_BY_SIDE == maker);
            scope.spawn(move || own.try_for_each(make))
        };
        let makers: Vec<_> = (0..SIDE_BY_SIDE).map(start).collect();
        for maker in makers {
            let made = maker.join();
            made.map_err(|_| anyhow::anyhow!("a thread that makes filesets has panicked"))??;
        }
        Ok(())
    })
}

/// The server that has all aggregates, and the other one.
async fn pair(cell: &Cell) -> Result<[&'static str; 2]> {
    let owner = cell.aggregate("lfs01").await?.owner.context("nobody owns lfs01")?;
    let pair = match cell.file_server("fs1").await?.id == owner {
        true => ["fs1", "fs2"],
        false => ["fs2", "fs1"],
    };
    cell.has_all(owner).await?;
    Ok(pair)
}

/// One event: the longest wait of any program.
async fn one(event: Event, cell: &mut Cell, work: &Work) -> Result<Duration> {
    let [owner, other] = pair(cell).await?;
    let (from, to) = (cell.file_server(owner).await?.id, cell.file_server(other).await?.id);
    tokio::time::sleep(SETTLE).await;
    work.goes_on(cell).await?;
    work.waits();
    let begun = Instant::now();
    match event {
        Event::Planned => cell.fail_over_all(from, to, Takeover::Planned).await?,
        Event::Kill => cell.kill(owner)?,
        Event::Freeze => cell.stop(owner)?,
    }
    cell.has_all(to).await?;
    work.goes_on(cell).await?;
    let longest = longest(work, begun);
    match event {
        Event::Planned => {}
        Event::Kill => cell.start(owner)?,
        Event::Freeze => cell.cont(owner)?,
    }
    cell.wait("the other server is a standby again", async || {
        cell.file_server(owner).await.ok()?.is_fit().then_some(())
    })
    .await?;
    longest
}

/// The longest that any program waited for something that it asked for before now and was promised after `begun`.
fn longest(work: &Work, begun: Instant) -> Result<Duration> {
    let waits = work.waits().into_iter().filter(|wait| wait.asked + wait.took > begun);
    waits
        .map(|wait| wait.took)
        .max()
        .context("nothing was promised to any program")
}
