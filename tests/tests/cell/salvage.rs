//! Salvage: an aggregate that was harmed while nobody served it is repaired where its disk is, and served again.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use baton_aggregate::create::read_label;
use baton_aggregate::device::{Access, FileDevice};
use baton_aggregate::fence::read_roots;
use baton_aggregate::format::Pointer;
use baton_tests::cell::{Builder, Trust};
use baton_tests::suites::Stage;
use serde_json::Value;

const DISK_BYTES: u64 = 256 << 20;

/// The space tree of the newest root, if a checkpoint has made one.
fn space_tree(path: &Path) -> Result<Option<Pointer>> {
    let device = FileDevice::open(path, Access::Read)?;
    let roots = read_roots(&device, read_label(&device)?.id)?;
    let newest = roots.into_iter().max_by_key(|found| found.root.name());
    Ok(newest.and_then(|found| found.root.space))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repaired_aggregate_is_served_again_with_its_files() -> Result<()> {
    let builder = Builder::default().flservers(1).servers(2).aggregates(1);
    let cell = builder.disk_bytes(DISK_BYTES).start().await?;
    let mut stage = Stage::within(cell, 1, Trust::UsersAndRoot).await?;
    let path = stage.cell.places().disk("lfs01");
    let disk = path.to_str().context("the directory's name is no text")?.to_owned();
    let file = stage.first().join("kept");
    fs::write(&file, "as it was")?;
    File::open(&file)?.sync_all()?;

    let seat = stage.cell.administrator();
    let salvage = |words: &[&str]| seat.run("salvage", words);
    salvage(&["-repair", &disk, "-yes"])?.refused(16, &["aggregate lfs01", "serves it under epoch"])?;
    let before = stage.cell.aggregate("lfs01").await?.epoch;
    let checkpointed = async || space_tree(&path).ok().flatten();
    stage.cell.wait("a checkpoint", checkpointed).await?;
    // One says goodbye, the other does not: what it had in flight has ended, and its lock says so.
    stage.cell.terminate("fs2")?;
    stage.cell.kill("fs1")?;

    // The space tree and the second copy of the label.
    let device = FileDevice::open(&path, Access::Read)?;
    let label = read_label(&device)?;
    let space = space_tree(&path)?.context("a root with a space tree")?;
    drop(device);
    let harmed = File::options().read(true).write(true).open(&path)?;
    for at in [space.block.offset() + 100, label.geometry.label_offsets()[1] + 100] {
        let mut byte = [0];
        harmed.read_exact_at(&mut byte, at)?;
        harmed.write_all_at(&[byte[0] ^ 1], at)?;
    }

    salvage(&["-check", &disk])?.refused(1, &[])?;
    let said = salvage(&["-repair", &disk, "-noaction"])?;
    ensure!(said.code == 1, "{said:?}");
    ensure!(
        said.stdout.contains("second copy of the label") && said.stdout.contains("the record of space made anew"),
        "{said:?}"
    );
    salvage(&["-repair", &disk])?.refused(16, &["-yes"])?;
    let said = salvage(&["-repair", &disk, "-yes", "-json"])?;
    ensure!(said.code == 3, "{said:?}");
    let json: Value = serde_json::from_str(&said.stdout)?;
    ensure!(json["sound"] == true && json["repaired"] == true, "{json}");
    salvage(&["-check", &disk])?.done()?;
    let said = salvage(&["-aggregate", &disk, "-yes"])?.done()?;
    ensure!(said.contains("0 repairs done, sound"), "{said}");

    stage.cell.start("fs1")?;
    stage.cell.start("fs2")?;
    let epoch = stage.cell.served_by("lfs01", "fs1", before).await?;
    ensure!(epoch.era() == 2, "each repair begins an era: {epoch}");
    ensure!(fs::read_to_string(&file)? == "as it was");
    fs::write(stage.first().join("new"), "after it")?;
    // And fails over as ever.
    stage.cell.kill("fs1")?;
    stage.cell.served_by("lfs01", "fs2", epoch).await?;
    ensure!(fs::read_to_string(&file)? == "as it was");
    ensure!(fs::read_to_string(stage.first().join("new"))? == "after it");
    stage.cell.start("fs1")?;
    for server in ["fs1", "fs2"] {
        stage.cell.terminate(server)?;
    }
    stage.cell.administrator().run("salvage", &["-check", &disk])?.done()?;
    stage.cell.down()
}
