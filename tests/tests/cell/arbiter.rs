//! The arbiter of real members, before servers that only beat: their certificates are real, their disks are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use baton_rpc::FldbClient;
use baton_rpc::fldb::{Beats, Freshness, Query};
use baton_tests::cell::{As, Cell};
use baton_types::beat::{Beat, Port, PortState};
use baton_types::change::{Change, Takeover};
use baton_types::record::{Aggregate, Record, ServerState, Table};
use baton_types::{AggregateId, EntryName, Epoch, Incarnation, ServerId};

/// A file server, as far as the database can tell.
struct Model {
    id: ServerId,
    run: Incarnation,
    client: FldbClient,
    beats: Option<Beats>,
}

impl Model {
    /// It registers, sees the disk and beats; `disk` is what its owner counts up.
    async fn start(cell: &Cell, name: &str, aggregate: AggregateId, disk: Arc<AtomicU64>) -> Result<Model> {
        let id = cell.host(name)?.with_credential(|credential| credential.names().server);
        let id = id.context("a server's certificate names it")?;
        let (run, client) = (Incarnation::random(), cell.client(As::Machine(name))?);
        let register = Change::RegisterServer {
            id,
            name: EntryName::parse(name)?,
            addresses: vec![name.parse()?],
            incarnation: run,
            beats: true,
        };
        client.change(register).await?;
        let report = Change::ReportAggregate {
            server: id,
            id: aggregate,
            name: "lfs09".parse()?,
        };
        client.change(report).await?;
        let mut sequence = 0;
        let beats = client.beat(move || {
            sequence += 1;
            Beat {
                server: id,
                incarnation: run,
                sequence,
                gate_micros: 0,
                ports: vec![Port {
                    aggregate,
                    newest: Epoch(1),
                    disk_beat: disk.load(Ordering::Relaxed),
                    state: PortState::Good,
                }],
                clients: 0,
                buddies: Vec::new(),
            }
        })?;
        Ok(Model {
            id,
            run,
            client,
            beats: Some(beats),
        })
    }
}

async fn owned(client: &FldbClient) -> Option<Aggregate> {
    let query = Query::tables(&[Table::Aggregate], Freshness::Local);
    let records = client.list(&query).await.ok()?.records;
    records.into_iter().find_map(|record| match record {
        Record::Aggregate(aggregate) if aggregate.name.as_str() == "lfs09" => Some(aggregate),
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_falls_silent_or_is_seen_to_end_is_replaced() -> Result<()> {
    let mut cell = Cell::builder().flservers(3).servers(2).start().await?;
    for name in ["fs1", "fs2"] {
        cell.terminate(name)?;
    }
    let (aggregate, disk) = (AggregateId::random(), Arc::new(AtomicU64::new(0)));
    let mut fs1 = Model::start(&cell, "fs1", aggregate, disk.clone()).await?;
    let fs2 = Model::start(&cell, "fs2", aggregate, disk.clone()).await?;
    let claim = Change::Claim {
        aggregate,
        server: fs1.id,
        incarnation: fs1.run,
        disk_epoch: Epoch::NONE,
        takeover: Takeover::Planned,
    };
    fs1.client.change(claim.clone()).await?;
    let plan = cell.fts(&["failover", "-aggregate", "lfs09", "--dry-run"])?.done()?;
    ensure_says(&plan, &["plan: 1 aggregate", "fs1 hands over to fs2"])?;

    // Nobody says that it ended; it beats no more, nor does its disk.
    fs1.beats = None;
    let taken = cell
        .wait("the silent one to be replaced", async || {
            owned(&fs2.client).await.filter(|a| a.owner == Some(fs2.id))
        })
        .await?;
    ensure!(taken.run == Some(fs2.run) && taken.epoch == Epoch(2), "{taken:?}");
    ensure_says(&taken.reason, &["fs1: beat", "late"])?;
    ensure_says(
        &cell.fts(&["status"])?.done()?,
        &["fs1", "dead (beat", "Start fileserver on fs1"],
    )?;
    ensure_says(
        &cell.fts(&["events"])?.done()?,
        &["judge server fs1 dead, lfs09 to fs2: fs1: beat"],
    )?;

    // It runs again, and what it had is another's; then that one is seen to end, while it still beats.
    let fs1 = Model::start(&cell, "fs1", aggregate, disk).await?;
    let client = cell.client(As::Machine("fs2"))?;
    client.attest(fs2.id, fs2.run).await?;
    let taken = cell
        .wait("the one that ended to be replaced", async || {
            owned(&fs1.client).await.filter(|a| a.owner == Some(fs1.id))
        })
        .await?;
    ensure!(taken.run == Some(fs1.run) && taken.epoch == Epoch(3), "{taken:?}");
    ensure_says(
        &cell.fts(&["history", "-aggregate", "lfs09"])?.done()?,
        &["claimed by fs1", "its guard saw it end"],
    )?;
    let query = Query::tables(&[Table::Server], Freshness::Linearizable);
    let dead = cell.client(As::Machine("fs1"))?.list(&query).await?.records;
    let is_dead = |r: &Record| matches!(r, Record::Server(s) if s.id == fs2.id && s.state == ServerState::Dead);
    ensure!(dead.iter().any(is_dead), "it is not believed any more: {dead:?}");
    cell.down()
}

fn ensure_says(text: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(text.contains(part), "'{part}' is not in:\n{text}");
    }
    Ok(())
}
