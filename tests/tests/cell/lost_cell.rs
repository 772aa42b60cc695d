//! All members of the location database are lost with their state, and the cell comes back from a file.

use std::fs;

use anyhow::{Context, Result, ensure};
use baton_rpc::fldb::Sought;
use baton_tests::cell::{As, Cell, Role, Trust};
use baton_tests::suites::Stage;
use baton_types::FilesetId;
use baton_types::change::FilesetRef;

async fn id_of(cell: &Cell, name: &str) -> Result<FilesetId> {
    let sought = Sought::Fileset(FilesetRef::Name(name.parse()?));
    let found = cell.client(As::User("admin"))?.lookup(&sought).await?;
    Ok(found.fileset.context("it has no entry")?.id)
}

/// Ends all members, and takes away what they know.
fn lose_all(cell: &mut Cell) -> Result<()> {
    for member in cell.named(Role::Flserver) {
        if cell.process(&member).is_some() {
            cell.kill(&member)?;
            fs::remove_dir_all(cell.places().state(&member))?;
        }
    }
    Ok(())
}

/// fl1 begins anew with what is in `file`, and the file servers find it.
async fn restore(cell: &mut Cell, file: &str) -> Result<()> {
    let address = cell.machine("fl1")?.address.to_string();
    let seat = cell.seat("fl1", "admin");
    let words = ["cell", "restore", file, "--address", &address, "--no-start"];
    seat.baton(&words)?.done()?;
    cell.start("fl1")?;
    cell.wait_for_leader().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cell_that_lost_all_members_comes_back_from_a_file_and_uses_no_id_twice() -> Result<()> {
    let cell = Cell::builder().flservers(3).servers(2).aggregates(1).start().await?;
    let mut stage = Stage::within(cell, 1, Trust::UsersAndRoot).await?;
    let place = stage.first().join("kept");
    fs::write(&place, b"before")?;
    // As many people as make the file larger than any that a machine has besides.
    let passwd = stage.cell.places().directory().join("passwd");
    let line = |number| format!("user{number}:x:{}:50:::\n", 10_000 + number);
    fs::write(&passwd, (0..8_000).map(line).collect::<String>())?;
    let passwd = passwd.to_str().context("its path is no text")?;
    stage.cell.baton(&["cell", "import", "-passwd", passwd])?.done()?;
    let file = stage.cell.places().directory().join("backup.fldb");
    let file = file.to_str().context("its path is no text")?.to_owned();
    stage.cell.baton(&["cell", "backup", &file])?.done()?;
    ensure!(fs::metadata(&file)?.len() > 64 << 10, "it is a large one");
    stage
        .cell
        .baton(&["cell", "backup", &file])?
        .refused(1, &["never overwritten"])?;
    stage.cell.add_user("bob", &["fldb-admin"])?;
    stage
        .cell
        .seat("desk", "bob")
        .baton(&["cell", "backup", "/tmp/never-written"])?
        .refused(1, &["a backup is for administrators of the cell"])?;
    // What is newer than the file is on the disk alone, when the members are gone.
    stage.cell.fts(&["create", "user.new", "fs1", "lfs01"])?.done()?;
    let (before, newest) = (
        stage.cell.aggregate("lfs01").await?.epoch,
        id_of(&stage.cell, "user.new").await?,
    );
    // Beside a database that lives there is to be no second one.
    stage
        .cell
        .seat("fs1", "admin")
        .baton(&["cell", "restore", &file, "--no-start"])?
        .refused(1, &["answers: the location database is not lost"])?;

    lose_all(&mut stage.cell)?;
    ensure!(fs::read(&place)? == b"before", "no member is needed to read");
    restore(&mut stage.cell, &file).await?;
    let epoch = stage.cell.served_by("lfs01", "fs1", before).await?;
    ensure!(epoch.era() == before.era() + 1, "{epoch} after {before}");
    fs::write(&place, b"after")?;
    ensure!(fs::read(&place)? == b"after");

    let said = stage.cell.fts(&["syncfldb", "fs1"])?.done()?;
    ensure!(said.contains("Created FLDB entry for fileset user.new"), "{said}");
    ensure!(id_of(&stage.cell, "user.new").await? == newest);
    stage.cell.fts(&["create", "user.newer", "fs1", "lfs01"])?.done()?;
    let first = id_of(&stage.cell, "user.newer").await?;
    ensure!(first.0 > newest.0 + (1 << 19), "{first} after {newest}");
    let status = stage.cell.fts(&["events"])?.done()?;
    ensure!(status.contains("restore"), "{status}");

    // The same file once more: neither an id nor an epoch is used twice.
    let before = epoch;
    lose_all(&mut stage.cell)?;
    restore(&mut stage.cell, &file).await?;
    let epoch = stage.cell.served_by("lfs01", "fs1", before).await?;
    ensure!(epoch.era() == before.era() + 1, "{epoch} after {before}");
    ensure!(fs::read(&place)? == b"after");
    let said = stage.cell.fts(&["syncfldb", "fs1"])?.done()?;
    ensure!(said.contains("Created FLDB entry for fileset user.newer"), "{said}");
    stage.cell.fts(&["create", "user.newest", "fs1", "lfs01"])?.done()?;
    let second = id_of(&stage.cell, "user.newest").await?;
    ensure!(second != first && second.0 > newest.0, "{second} beside {first}");

    // The others join anew.
    let token = stage.cell.invite(&["fl4", "--member"])?;
    ensure!(!token.is_empty());
    stage.cell.forget_the_dead();
    stage.cell.down()
}
