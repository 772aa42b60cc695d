//! A file server and its aggregates: exported, lost with its process, exported again, given up.

use anyhow::{Context, Result, ensure};
use baton_rpc::fldb::{Freshness, Query};
use baton_tests::cell::{As, Cell};
use baton_types::record::{Aggregate, Record, Table};
use baton_types::{AggregateName, Epoch, FilesetId};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_is_killed_exports_again_under_a_new_epoch() -> Result<()> {
    let mut cell = Cell::builder().flservers(1).servers(1).aggregates(1).start().await?;
    let machine = cell.seat("fs1", "root.here");
    let first = owned(&cell, "lfs01").await?.epoch;
    let listed = machine.dfsexport(&[])?.done()?;
    ensure!(
        listed.contains(&format!("lfs01, exported, epoch {first}, 1 fileset\n")),
        "root.cell and no other: {listed}"
    );
    machine
        .dfsexport(&["-aggregate", "lfs01"])?
        .refused(3, &["aggregate lfs01", "exported already, under epoch"])?;

    let made = cell
        .fts(&[
            "create", "user.ito", "fs1", "lfs01", "-quota", "20M", "-owner", "1001:100",
        ])?
        .done()?;
    ensure!(made.contains("created on aggregate lfs01 of fs1"), "{made}");
    cell.fts(&["create", "user.ito", "fs1", "lfs01"])?
        .refused(1, &["fileset user.ito", "it is fileset 0,,"])?;
    headers(&cell, &["root.cell", "user.ito"])?;

    // Killed and restarted, more often than the ring of slots is long: no hand is needed, and no room is lost.
    let mut last = first;
    for _ in 0..10 {
        cell.kill("fs1")?;
        cell.start("fs1")?;
        last = exported_after(&cell, last).await?;
    }
    headers(&cell, &["root.cell", "user.ito"])?;
    let header = cell.fts(&["lsft", "-fileset", "user.ito", "-json"])?.done()?;
    let header: Value = serde_json::from_str(&header)?;
    ensure!(
        header["header"]["quota_bytes"] == 20 << 20 && header["read_write"]["state"] == "valid",
        "{header}"
    );

    cell.fts(&["rename", "user.ito", "user.itoh"])?.done()?;
    headers(&cell, &["root.cell", "user.itoh"])?;
    cell.terminate("fs1")?;
    let said = cell.log_end("fs1", 20).concat();
    ensure!(said.contains("written and closed"), "{said}");
    ensure!(
        owned(&cell, "lfs01").await?.epoch == last,
        "what SIGTERM ends is still its own"
    );
    let disk = cell.places().disks().join("lfs01");
    let disk = disk.to_str().context("no text")?;
    machine.run("salvage", &["-check", disk])?.done()?;
    cell.start("fs1")?;
    exported_after(&cell, last).await?;
    cell.fts(&["delete", "user.itoh", "fs1", "lfs01"])?.done()?;
    headers(&cell, &["root.cell"])?;
    cell.fts(&["lsfldb", "user.itoh"])?.refused(1, &["fileset user.itoh"])?;
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aggregate_is_given_up_by_its_owner_before_another_may_have_it() -> Result<()> {
    let cell = Cell::builder().flservers(1).servers(2).aggregates(2).start().await?;
    let (fs1, fs2) = (cell.seat("fs1", "root.here"), cell.seat("fs2", "root.here"));
    let epoch = owned(&cell, "lfs02").await?.epoch;
    fs2.dfsexport(&["-aggregate", "lfs02"])?.refused(
        4,
        &[
            &format!("aggregate lfs02: exported by fs1 under epoch {epoch}"),
            "its beat goes on. Not taken",
            "on fs1: dfsexport -aggregate lfs02 -detach",
        ],
    )?;
    ensure!(owned(&cell, "lfs02").await?.epoch == epoch, "a refusal changes nothing");
    cell.fts(&["create", "user.ito", "fs1", "lfs02"])?.done()?;

    let detached = fs1.dfsexport(&["-aggregate", "lfs02", "-detach"])?.done()?;
    ensure!(
        detached == format!("lfs02: 1 fileset, 0 holds taken back\nlfs02: detached, last epoch {epoch}\n"),
        "{detached}"
    );
    fs1.dfsexport(&["-aggregate", "lfs02", "-detach"])?
        .refused(1, &["aggregate lfs02", "not exported by this server"])?;
    cell.fts(&["create", "user.abe", "fs1", "lfs02"])?.refused(
        1,
        &["aggregate lfs02", "nobody exports it", ": dfsexport -aggregate lfs02"],
    )?;
    let (left, found) = (fs1.dfsexport(&[])?.done()?, fs2.dfsexport(&["-all"])?);
    ensure!(left.contains("lfs02, not exported\n"), "{left}");
    // It takes what is free, and says of the other why not.
    ensure!(
        found.code == 1 && found.stderr.contains("aggregate lfs01: exported by fs1"),
        "{found}"
    );
    let taken = owned(&cell, "lfs02").await?;
    ensure!(
        found
            .stdout
            .starts_with(&format!("lfs02: exported, epoch {}", taken.epoch))
            && taken.epoch > epoch,
        "{found}"
    );
    let space = cell.fts(&["aggrinfo", "fs2", "lfs02"])?.done()?;
    ensure!(
        space.starts_with("LFS aggregate lfs02 (") && space.contains("K free out of total"),
        "{space}"
    );
    let listed = cell.fts(&["lsaggr", "fs2"])?.done()?;
    ensure!(
        listed.starts_with("There is 1 aggregate on the server fs2 (")
            && listed.contains(&format!("id={} (LFS)", taken.number)),
        "{listed}"
    );
    cell.fts(&["aggrinfo", "fs2", "lfs01"])?
        .refused(1, &["aggregate lfs01", "fs2 does not export it; it exports: lfs02"])?;
    let idle = cell.fts(&["statftserver", "fs2"])?.done()?;
    ensure!(idle == "No active transactions on fs2\n", "{idle}");
    let header = cell.fts(&["lsft", "-fileset", "user.ito"])?.done()?;
    ensure!(
        header.starts_with("user.ito 0,,") && header.contains(&format!("Owned by fs2 under epoch {}", taken.epoch)),
        "{header}"
    );
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_that_make_no_sense_and_callers_without_a_right_change_nothing() -> Result<()> {
    let cell = Cell::builder().flservers(1).servers(1).aggregates(1).start().await?;
    let machine = cell.seat("fs1", "root.here");
    cell.add_user("bob", &[])?;
    machine
        .dfsexport(&["-aggregate", "lfs99"])?
        .refused(1, &["aggregate lfs99", "no device has its label; looked at"])?;
    machine.dfsexport(&["-aggregate", "a/b"])?.refused(2, &["a/b"])?;
    machine.dfsexport(&["-detach"])?.refused(2, &["nothing to detach"])?;
    cell.administrator()
        .dfsexport(&[])?
        .refused(5, &["file server of this machine", "it does not run"])?;
    cell.administrator()
        .dfsexport(&["-server", "fs9"])?
        .refused(1, &["server fs9", "there are: fs1"])?;

    // Over the network whoever is logged in may look, and administrators may more.
    let bob = cell.seat("desk", "bob");
    let looked = bob.dfsexport(&["-server", "fs1"])?.done()?;
    ensure!(looked.contains("lfs01, exported"), "{looked}");
    bob.dfsexport(&["-server", "fs1", "-aggregate", "lfs01", "-detach"])?
        .refused(1, &["bob", "not in group fileset-admin or fldb-admin"])?;
    bob.dfsexport(&["-server", "fs1", "-noauth"])?
        .refused(1, &["not logged in"])?;
    bob.fts(&["delete", "root.cell", "fs1", "lfs01"])?
        .refused(1, &["bob", "not in group"])?;
    let control = cell
        .client(As::User("admin"))?
        .control(&server(&cell, "fs1").await?)
        .await?;
    let error = control
        .create_fileset(FilesetId(999_999), None)
        .await
        .expect_err("no entry");
    ensure!(error.to_string().contains("fileset 0,,999999"), "{error}");
    let unknown: AggregateName = "lfs77".parse()?;
    let error = control.filesets(Some(&unknown), None).await.expect_err("not there");
    ensure!(error.to_string() == "aggregate lfs77: not exported here", "{error}");
    cell.administrator()
        .dfsexport(&["-server", "fs1", "-aggregate", "lfs01", "-detach"])?
        .done()?;
    ensure!(owner(&cell, "lfs01").await?.is_none(), "detached over the network");
    cell.down()
}

/// The filesets that the disk of fs1 has, by name.
fn headers(cell: &Cell, names: &[&str]) -> Result<()> {
    let text = cell.fts(&["lsheader", "fs1", "-json"])?.done()?;
    let json: Value = serde_json::from_str(&text)?;
    let filesets = json["filesets"].as_array().context("a list")?;
    let found: Vec<&str> = filesets.iter().filter_map(|fileset| fileset["name"].as_str()).collect();
    ensure!(found == names, "{text}");
    Ok(())
}

/// Waits until fs1 serves lfs01 under a newer epoch than this, and says so itself.
async fn exported_after(cell: &Cell, epoch: Epoch) -> Result<Epoch> {
    let machine = cell.seat("fs1", "root.here");
    cell.wait("fs1 exports lfs01 again", async || {
        let aggregate = owned(cell, "lfs01")
            .await
            .ok()
            .filter(|aggregate| aggregate.epoch > epoch)?;
        let listed = machine.dfsexport(&[]).ok()?;
        let line = format!("lfs01, exported, epoch {}, ", aggregate.epoch);
        listed.stdout.contains(&line).then_some(aggregate.epoch)
    })
    .await
}

/// What the location database says of an aggregate that somebody owns.
async fn owned(cell: &Cell, name: &str) -> Result<Aggregate> {
    owner(cell, name).await?.with_context(|| format!("nobody owns {name}"))
}

async fn owner(cell: &Cell, name: &str) -> Result<Option<Aggregate>> {
    let records = list(cell, Table::Aggregate).await?;
    Ok(records.into_iter().find_map(|record| match record {
        Record::Aggregate(aggregate) if aggregate.name.as_str() == name && aggregate.owner.is_some() => Some(aggregate),
        _ => None,
    }))
}

async fn server(cell: &Cell, name: &str) -> Result<baton_types::record::Server> {
    let records = list(cell, Table::Server).await?;
    let found = records.into_iter().find_map(|record| match record {
        Record::Server(server) if server.name.as_str() == name => Some(server),
        _ => None,
    });
    found.with_context(|| format!("no server {name}"))
}

async fn list(cell: &Cell, table: Table) -> Result<Vec<Record>> {
    let query = Query::tables(&[table], Freshness::Linearizable);
    Ok(cell.client(As::User("admin"))?.list(&query).await?.records)
}
