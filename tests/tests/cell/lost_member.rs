//! A member is lost for good, with its disks, and another one takes its place.

use anyhow::{Context, Result, ensure};
use baton_flserver::store::{LogStore, RedbStore};
use baton_tests::cell::{As, Cell, describe};
use baton_tests::load::Load;

/// Entries between two snapshots: low, so that the log of the others does not reach back to the beginning.
const SNAPSHOT_EVERY: usize = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_member_is_replaced_by_one_that_catches_up_by_snapshot() -> Result<()> {
    let builder = Cell::builder().servers(1).aggregates(1);
    let mut cell = builder
        .variable("BATON_SNAPSHOT_EVERY", &SNAPSHOT_EVERY.to_string())
        .start()
        .await?;
    let load = Load::start(&cell, 2)?;
    load.go_on(&cell, SNAPSHOT_EVERY).await?;

    cell.kill("fl3")?;
    cell.rebuild("fl3")?;
    // An empty machine is no member, whatever its name and address.
    cell.start("fl3")?;
    let ended = cell.ended("fl3")?.map(describe);
    ensure!(
        ended.as_deref() == Some("exit code 1"),
        "without a word of who it is, fl3 ended with {ended:?}"
    );
    let said = cell.log_end("fl3", 1).concat();
    ensure!(
        said.contains("member.toml") && said.contains("baton join TOKEN"),
        "{said}"
    );

    // Its name is taken until it is removed.
    cell.baton(&["cell", "invite", "fl3", "--member"])?
        .refused(1, &["member fl3", "baton cell remove fl3"])?;
    cell.baton(&["cell", "remove", "fl3"])?.done()?;
    load.go_on(&cell, 4 * SNAPSHOT_EVERY).await?;
    cell.join_member("fl3").await?;
    cell.wait_for_all().await?;
    load.go_on(&cell, SNAPSHOT_EVERY).await?;
    let verdict = load.finish(&cell).await?;
    verdict.check()?;
    cell.wait_for_all().await?;

    // It answers like the others, and counts: with another one gone, changes go on.
    let name = "w1.1";
    let found = cell.talk("fl3", As::Nobody).await?.lookup(name).await?;
    ensure!(
        found.fileset.is_some_and(|fileset| fileset.name == name.as_bytes()),
        "fl3 has another {name}"
    );
    cell.kill("fl2")?;
    cell.wait_for_leader().await?;
    cell.fts(&["lock", name])?.done()?;

    // What came before it joined came as a snapshot: its log begins after that.
    cell.terminate("fl3")?;
    let store = RedbStore::open(&cell.places().state("fl3"))?;
    let first = store.marks()?.first().context("its log is empty")?;
    ensure!(
        first > u64::try_from(2 * SNAPSHOT_EVERY)?,
        "its log reaches back to {first}"
    );
    ensure!(store.load_snapshot()?.is_some(), "it has no snapshot");
    cell.down()
}
