//! The location database and what is really on the disks: lost and wrong entries are mended, files stay, ids are used
//! once.

use anyhow::{Context, Result, ensure};
use baton_tests::cell::{As, Builder, Cell, Trust};
use baton_tests::suites::Stage;
use baton_types::change::{AggregateRef, Change, FilesetRef};
use baton_types::record::{Fileset, VersionState};
use baton_types::{AggregateName, FilesetId};
use serde_json::Value;

/// A fileset's entry.
async fn entry(cell: &Cell, name: &str) -> Result<Fileset> {
    let sought = baton_rpc::fldb::Sought::Fileset(FilesetRef::Name(name.parse()?));
    let found = cell.client(As::User("admin"))?.lookup(&sought).await?;
    found.fileset.context("it has no entry")
}

/// What a command printed for programs.
fn json(cell: &Cell, words: &[&str], code: i32) -> Result<Value> {
    let said = cell.fts(&[words, &["-json"]].concat())?;
    ensure!(said.code == code, "{said}");
    Ok(serde_json::from_str(&said.stdout)?)
}

fn summary(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_entries_come_back_from_the_disks_with_their_files() -> Result<()> {
    let stage = Stage::set(Builder::default(), 1, Trust::UsersAndRoot).await?;
    let cell = &stage.cell;
    std::fs::write(stage.first().join("kept"), b"bytes")?;
    for name in ["user.ito", "user.abe"] {
        cell.fts(&["create", name, "fs1", "lfs01", "-quota", "5GiB"])?.done()?;
    }
    cell.fts(&["clone", "user.ito"])?.done()?;
    let before = cell.fts(&["lsfldb"])?.done()?;
    let highest = entry(cell, "user.abe").await?.id;

    // Without -yes nothing goes; the root of the cell goes only by its name.
    let shown = cell.fts(&["delfldbentry", "-prefix", ""])?;
    ensure!(shown.code == 4 && shown.stderr.contains("-yes"), "{shown}");
    ensure!(
        shown
            .stdout
            .contains("Would delete FLDB entry for fileset user.ito (0,,"),
        "{shown}"
    );
    ensure!(!shown.stdout.contains("root.cell"), "{shown}");
    ensure!(cell.fts(&["lsfldb"])?.done()? == before, "something went");
    let said = cell.fts(&["delfldbentry", "-prefix", "user.", "-yes"])?.done()?;
    ensure!(said.contains("Deleted FLDB entry for fileset user.ito (0,,"), "{said}");
    cell.fts(&["delfldbentry", "stage", "-yes"])?.done()?;
    cell.fts(&["lsfldb", "user.ito"])?.refused(1, &["fileset user.ito"])?;

    // What was said to be gone is gone for good: a new fileset has new ids.
    cell.fts(&["create", "user.new", "fs1", "lfs01"])?.done()?;
    ensure!(entry(cell, "user.new").await?.id > highest, "an id is used again");
    cell.fts(&["delete", "user.new", "fs1", "lfs01"])?.done()?;

    let plan = cell.fts(&["syncfldb", "fs1", "-noaction"])?.done()?;
    ensure!(
        plan.contains("Would create FLDB entry for fileset user.ito (0,,"),
        "{plan}"
    );
    ensure!(
        summary(&plan).contains("to create: 3; to mend: 0; to delete: 0"),
        "{plan}"
    );
    cell.fts(&["lsfldb", "user.ito"])?.refused(1, &["fileset user.ito"])?;
    let done = cell.fts(&["syncfldb", "fs1"])?.done()?;
    ensure!(
        summary(&done).contains("created: 3; mended: 0; deleted: 0; failed: 0"),
        "{done}"
    );
    let after = cell.fts(&["lsfldb"])?.done()?;
    ensure!(after == before, "{after}\nbut it was\n{before}");
    // Whoever has it mounted hears of the entry by itself, sooner or later.
    let kept = stage.first().join("kept");
    let read = async || std::fs::read(&kept).ok().filter(|bytes| bytes == b"bytes");
    cell.wait("the fileset is found again", read).await?;
    let again = cell.fts(&["syncfldb", "fs1", "lfs01"])?.done()?;
    ensure!(
        summary(&again).contains("created: 0; mended: 0; deleted: 0; failed: 0; conflicts: 0"),
        "{again}"
    );
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_and_headers_that_differ_are_mended_from_either_side() -> Result<()> {
    let cell = Cell::builder().flservers(1).servers(2).aggregates(2).start().await?;
    cell.fts(&["create", "user.ito", "fs1", "lfs01"])?.done()?;
    cell.fts(&["create", "user.abe", "fs1", "lfs02"])?.done()?;
    let admin = cell.client(As::User("admin"))?;
    let rename = |name: &str| -> Result<Change> {
        Ok(Change::RenameFileset {
            fileset: FilesetRef::Name("user.ito".parse()?),
            name: name.parse()?,
        })
    };

    // A rename that was cut short is finished by syncserv, and undone by syncfldb.
    admin.change(rename("user.itoh")?).await?;
    let shown = cell.fts(&["syncserv", "fs1", "-noaction"])?.done()?;
    ensure!(shown.contains("Would rename header of fileset 0,,") && shown.contains("from user.ito to user.itoh"));
    let said = cell.fts(&["syncserv", "fs1"])?.done()?;
    ensure!(said.contains("Renamed header of fileset 0,,"), "{said}");
    ensure!(cell.fts(&["lsheader", "fs1"])?.done()?.contains("\nuser.itoh "));
    let back = Change::RenameFileset {
        fileset: FilesetRef::Name("user.itoh".parse()?),
        name: "user.ito".parse()?,
    };
    admin.change(back).await?;
    let said = cell.fts(&["syncfldb", "fs1"])?.done()?;
    ensure!(said.contains("its name was user.ito\n"), "{said}");
    let id = entry(&cell, "user.itoh").await?.id;

    // An entry that is booked on the wrong disk goes where its fileset is.
    admin
        .change(Change::ForgetFileset {
            fileset: FilesetRef::Id(id),
        })
        .await?;
    let wrong = Change::BookFileset {
        fileset: id,
        name: "user.itoh".parse()?,
        server: "fs1".parse()?,
        aggregate: AggregateRef::Name(AggregateName::parse("lfs02")?),
        quota_bytes: 0,
        quota_files: 0,
    };
    admin.change(wrong).await?;
    let said = cell.fts(&["syncserv", "fs1", "lfs01"])?;
    ensure!(
        said.code == 3 && said.stdout.contains("where it is not; fts syncfldb mends"),
        "{said}"
    );
    let said = cell.fts(&["syncfldb", "fs1", "lfs01"])?.done()?;
    ensure!(said.contains("it is on aggregate lfs01, not on lfs02"), "{said}");
    let mended = entry(&cell, "user.itoh").await?;
    let place = cell.aggregate("lfs01").await?.id;
    ensure!(
        (mended.rw, mended.sites[0].aggregate) == (VersionState::Valid, place),
        "{mended:?}"
    );

    // A name that another fileset has by now is left to a person.
    admin
        .change(Change::ForgetFileset {
            fileset: FilesetRef::Id(id),
        })
        .await?;
    let name = Change::RenameFileset {
        fileset: FilesetRef::Name("user.abe".parse()?),
        name: "user.itoh".parse()?,
    };
    admin.change(name).await?;
    cell.fts(&["syncserv", "fs1"])?;
    let told = json(&cell, &["syncfldb", "fs1"], 3)?;
    let conflict = told["conflicts"][0].as_str().context("no conflict")?;
    ensure!(conflict.contains("fts rename user.itoh OTHER"), "{conflict}");
    cell.fts(&["rename", "user.itoh", "user.abe"])?.done()?;
    cell.fts(&["syncfldb", "fs1"])?.done()?;
    ensure!(entry(&cell, "user.itoh").await?.id == id);
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entry_whose_fileset_is_not_on_the_disk_goes_when_its_server_says_so() -> Result<()> {
    let cell = Cell::builder().flservers(1).servers(2).aggregates(1).start().await?;
    let admin = cell.client(As::User("admin"))?;
    let book = Change::BookFileset {
        fileset: FilesetId(3_001),
        name: "user.gone".parse()?,
        server: "fs1".parse()?,
        aggregate: AggregateRef::Name(AggregateName::parse("lfs01")?),
        quota_bytes: 0,
        quota_files: 0,
    };
    admin.change(book).await?;
    // Reserved and not made: it may be under way.
    let said = cell.fts(&["syncfldb", "fs1"])?.done()?;
    ensure!(said.contains("Note: fileset user.gone (0,,3001) has its ids"), "{said}");
    let aggregate = cell.aggregate("lfs01").await?;
    let there = Change::ReportFileset {
        server: cell.file_server("fs1").await?.id,
        aggregate: aggregate.id,
        epoch: aggregate.epoch,
        fileset: FilesetId(3_001),
        state: VersionState::Valid,
    };
    cell.client(As::Machine("fs1"))?.change(there).await?;
    let said = cell.fts(&["syncserv", "fs1"])?;
    ensure!(
        said.code == 3 && said.stdout.contains("fts syncfldb drops the entry"),
        "{said}"
    );
    let said = cell.fts(&["syncfldb", "fs1"])?.done()?;
    ensure!(
        said.contains("Deleted FLDB entry for fileset user.gone (0,,3001): it is not on aggregate lfs01"),
        "{said}"
    );
    cell.fts(&["create", "user.new", "fs1", "lfs01"])?.done()?;
    ensure!(
        entry(&cell, "user.new").await?.id > FilesetId(3_001),
        "an id is used again"
    );

    // Who does not export it cannot say what is on it.
    cell.fts(&["syncfldb", "fs2", "lfs01"])?.refused(
        1,
        &[
            "aggregate lfs01",
            "server fs2 does not export it, fs1 does",
            "-server fs1",
        ],
    )?;
    cell.fts(&["syncfldb", "fs1", "lfs09"])?
        .refused(1, &["there is none of this name"])?;
    cell.fts(&["syncfldb", "fs9"])?.refused(1, &["server fs9"])?;
    cell.fts(&["crfldbentry", "ufs.1", "fs1", "7"])?
        .refused(1, &["crfldbentry: Baton has no entries for partitions", "'fts create'"])?;
    cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repairs_are_for_administrators_of_the_location_database() -> Result<()> {
    let cell = Cell::builder().flservers(1).servers(1).aggregates(1).start().await?;
    for name in ["user.ito", "user.abe"] {
        cell.fts(&["create", name, "fs1", "lfs01"])?.done()?;
        cell.fts(&["lock", name])?.done()?;
    }
    cell.fts(&["delfldbentry", "user.ito", "-yes"])?
        .done()
        .err()
        .context("it is locked")?;
    cell.add_user("alice", &[])?;
    cell.add_user("bob", &["fileset-admin"])?;
    cell.add_user("carol", &["fldb-admin"])?;
    let (alice, bob, carol) = (
        cell.seat("desk", "alice"),
        cell.seat("desk", "bob"),
        cell.seat("desk", "carol"),
    );
    let said = alice.fts(&["unlockfldb"])?;
    ensure!(said.code == 1 && said.stdout.contains("not in group"), "{said}");
    let said = bob.fts(&["unlockfldb", "-server", "fs1"])?.done()?;
    ensure!(
        said == "Unlocked FLDB entry for fileset user.abe\nUnlocked FLDB entry for fileset user.ito\n\
                 Total FLDB entries unlocked: 2; failed: 0\n",
        "{said}"
    );
    ensure!(cell.fts(&["lsfldb", "-locked"])?.done()?.contains("entries: 0"));

    let said = bob.fts(&["delfldbentry", "user.ito", "-yes"])?;
    ensure!(
        said.code == 1 && said.stdout.contains("not in group fldb-admin"),
        "{said}"
    );
    bob.fts(&["syncfldb", "fs1"])?
        .refused(1, &["bob", "not in group fldb-admin"])?;
    alice.fts(&["syncserv", "fs1"])?.done()?;
    carol.fts(&["delfldbentry", "user.ito", "-yes"])?.done()?;
    let said = carol.fts(&["syncfldb", "fs1"])?.done()?;
    ensure!(said.contains("Created FLDB entry for fileset user.ito"), "{said}");
    cell.down()
}
