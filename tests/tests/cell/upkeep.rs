//! Planned work on a database in use: its members are restarted, and all of them replaced.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use baton_rpc::News;
use baton_rpc::config::Paths;
use baton_rpc::fldb::Sought;
use baton_tests::cell::{As, Cell, Role, describe};
use baton_tests::load::Load;
use baton_types::FilesetName;
use baton_types::change::FilesetRef;
use baton_types::record::{AggregateState, Record, Table};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

/// Who looks up, each by a connection of its own.
const LOOKERS: usize = 6;
/// Changes between one step and the next.
const CHANGES: usize = 100;
/// Lookups between one step and the next.
const LOOKUPS: usize = 500;

/// Lookups without a pause, and those that had no answer.
struct Lookups {
    is_over: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    refused: Arc<Mutex<Vec<String>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Lookups {
    fn start(cell: &Cell, name: &str) -> Result<Lookups> {
        let mut lookups = Lookups {
            is_over: Arc::default(),
            count: Arc::default(),
            refused: Arc::default(),
            tasks: Vec::new(),
        };
        let sought = Sought::Fileset(FilesetRef::Name(FilesetName::parse(name)?));
        for _ in 0..LOOKERS {
            let (client, sought) = (cell.client(As::Nobody)?, sought.clone());
            let (is_over, count, refused) = (lookups.is_over.clone(), lookups.count.clone(), lookups.refused.clone());
            lookups.tasks.push(tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    match client.lookup(&sought).await {
                        Ok(_) => drop(count.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => refused.lock().push(error.to_string()),
                    }
                }
            }));
        }
        Ok(lookups)
    }

    async fn go_on(&self, cell: &Cell) -> Result<()> {
        let enough = self.count.load(Ordering::Relaxed) + LOOKUPS;
        cell.wait(&format!("{LOOKUPS} more lookups"), async || {
            (self.count.load(Ordering::Relaxed) >= enough).then_some(())
        })
        .await
    }

    async fn finish(self) -> Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await?;
        }
        let refused = self.refused.lock();
        ensure!(
            refused.is_empty(),
            "{} lookups were refused: {refused:?}",
            refused.len()
        );
        Ok(())
    }
}

async fn cell() -> Result<(Cell, Load, Lookups)> {
    let cell = Cell::builder().servers(1).aggregates(1).mounts(1).start().await?;
    let load = Load::start(&cell, 2)?;
    load.go_on(&cell, CHANGES).await?;
    let lookups = Lookups::start(&cell, "w1.1")?;
    Ok((cell, load, lookups))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_restart_refuses_no_lookup() -> Result<()> {
    let (mut cell, load, lookups) = cell().await?;
    for member in cell.named(Role::Flserver) {
        lookups.go_on(&cell).await?;
        let ended = cell.terminate(&member)?.map(describe);
        ensure!(ended.as_deref() == Some("exit code 0"), "{member} ended with {ended:?}");
        lookups.go_on(&cell).await?;
        load.go_on(&cell, CHANGES).await?;
        cell.start(&member)?;
        cell.wait_for_all().await?;
    }
    lookups.finish().await?;
    let verdict = load.finish(&cell).await?;
    verdict.check()?;
    ensure!(verdict.doubtful.is_empty(), "callers without an answer: {verdict:?}");
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_members_replaced_one_by_one_under_load() -> Result<()> {
    let (mut cell, load, lookups) = cell().await?;
    let before = cell.named(Role::Flserver);
    for (number, old) in before.iter().enumerate() {
        cell.add_member(&format!("fl{}", before.len() + 1 + number)).await?;
        cell.wait_for_all().await?;
        lookups.go_on(&cell).await?;
        if number == 0 {
            // The first one alone can certify others: it is not let go before another one can.
            let alone = "it alone holds the authority's key";
            cell.baton(&["cell", "remove", old])?.refused(1, &[alone, "ca.key"])?;
            let key = |member: &str| Paths::under(cell.places().root(member)).pki().join("ca.key");
            std::fs::copy(key(old), key("fl4"))?;
            cell.restart("fl4")?;
            cell.wait_for_all().await?;
        }
        cell.baton(&["cell", "remove", old])?.done()?;
        let ended = cell.ended(old)?.map(describe);
        ensure!(ended.as_deref() == Some("exit code 1"), "{old} ended with {ended:?}");
        ensure!(cell.log_end(old, 2).concat().contains("the cell has removed it"));
        cell.wait_for_all().await?;
        load.go_on(&cell, CHANGES).await?;
        lookups.go_on(&cell).await?;
    }
    lookups.finish().await?;
    let verdict = load.finish(&cell).await?;
    verdict.check()?;
    ensure!(verdict.doubtful.is_empty(), "callers without an answer: {verdict:?}");

    // Who begins anew knows where they are now, although none is left of those it once was told of.
    cell.restart("fs1")?;
    cell.wait("fs1 serves again", async || {
        let listed = cell.seat("fs1", "admin").dfsexport(&[]).ok()?.stdout;
        listed.contains("lfs01, exported").then_some(())
    })
    .await?;
    cell.restart("client1")?;
    cell.wait("batond runs again", async || {
        cell.log_end("client1", 1).concat().contains("ready").then_some(())
    })
    .await?;
    let mount = cell.remount(1).await?;
    std::fs::create_dir(mount.join("after"))?;
    let status = cell.baton(&["cell", "members"])?.done()?;
    ensure!(
        before.iter().all(|old| !status.contains(&format!("{old} "))),
        "{status}"
    );
    cell.fts(&["lock", "w1.1"])?.done()?;
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_is_drained_one_aggregate_after_the_other() -> Result<()> {
    let cell = Cell::builder().servers(2).aggregates(3).mounts(1).start().await?;
    let client = cell.client(As::User("admin"))?;
    let mut watch = client.watch(&[Table::Aggregate], 0);
    cell.fts(&["hold", "-aggregate", "lfs02", "-why", "being looked at"])?
        .done()?;
    let drain = ["drain", "-server", "fs1"];
    let said = cell.fts(&drain)?;
    ensure!(said.code == 3, "some of them: {said}");
    ensure!(said.stdout.contains("done: 2/3"), "{said}");
    ensure!(
        said.stdout.contains("lfs02") && said.stdout.contains("being looked at"),
        "{said}"
    );
    let owners = async || {
        let (one, other) = (cell.file_server("fs1").await?.id, cell.file_server("fs2").await?.id);
        let mut owners = Vec::new();
        for name in ["lfs01", "lfs02", "lfs03"] {
            let owner = cell.aggregate(name).await?.owner;
            owners.push(if owner == Some(one) {
                1
            } else {
                2 * usize::from(owner == Some(other))
            });
        }
        anyhow::Ok(owners)
    };
    ensure!(owners().await? == [2, 1, 2], "what is held stays, and keeps nobody");
    cell.fts(&["unhold", "-aggregate", "lfs02"])?.done()?;
    let said = cell.fts(&drain)?.done()?;
    ensure!(said.contains("done: 1/1"), "{said}");
    ensure!(owners().await? == [2, 2, 2], "the same command goes on");
    let said = cell.fts(&drain)?.done()?;
    ensure!(said.contains("it owns nothing"), "{said}");

    // Never did two of them have their pause at once.
    let last = cell.aggregate("lfs02").await?.epoch;
    let (mut draining, mut most, mut is_over) = (BTreeSet::new(), 0, false);
    while !is_over {
        let records = match watch.next().await?.1 {
            News::Put(records) => records,
            News::Changed(changed) => changed.put,
            News::Forget | News::Complete(_) | News::Reached(_) => continue,
        };
        for record in records {
            let Record::Aggregate(aggregate) = record else { continue };
            match aggregate.state {
                AggregateState::Draining => draining.insert(aggregate.id),
                _ => draining.remove(&aggregate.id),
            };
            most = most.max(draining.len());
            is_over |= aggregate.name.as_str() == "lfs02" && aggregate.epoch == last;
        }
    }
    ensure!(most == 1, "{most} were on their way at once");
    cell.down()
}
