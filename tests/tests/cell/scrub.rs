//! Scrub: what rots on a disk is named by its path, those who read it are told, and all else is served.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use baton_tests::cell::{Builder, Cell, Trust};
use baton_tests::suites::Stage;
use serde_json::Value;

const BLOCK: usize = 4_096;
const DISK_BYTES: u64 = 256 << 20;

/// Bytes that are nowhere else on the disk, `blocks` of them.
fn bytes(seed: u64, blocks: usize) -> Vec<u8> {
    let words = (0..(blocks * BLOCK / 8) as u64).map(|word| (seed << 32 | word).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    words.flat_map(u64::to_le_bytes).collect()
}

/// Flips a bit of the block with these bytes, wherever on the disk it lies.
fn rot(disk: &Path, block: &[u8]) -> Result<()> {
    let mut all = Vec::new();
    File::open(disk)?.read_to_end(&mut all)?;
    let found: Vec<usize> = (0..all.len() / BLOCK)
        .map(|index| index * BLOCK)
        .filter(|at| all[*at..*at + BLOCK] == *block)
        .collect();
    ensure!(found.len() == 1, "it lies at {found:?}");
    let at = found[0] + 100;
    File::options()
        .write(true)
        .open(disk)?
        .write_all_at(&[all[at] ^ 4], at as u64)?;
    Ok(())
}

fn status(cell: &Cell) -> Result<(i32, Value)> {
    let said = cell.fts(&["scrub", "-aggregate", "lfs01", "-status", "-json"])?;
    let json: Value = serde_json::from_str(&said.stdout)?;
    Ok((said.code, json["aggregates"][0].clone()))
}

/// A scrub from its beginning to its end: how the command that asks for it exits, and what it found.
async fn scrub(cell: &Cell) -> Result<(i32, Vec<Value>)> {
    // No two of them find the same here; two that begin within a second have the same date.
    let before = status(cell)?.1["finished"].clone();
    cell.fts(&["scrub", "-aggregate", "lfs01", "-rate", "1GiB"])?.done()?;
    let (code, report) = cell
        .wait("the scrub ends", async || {
            let (code, report) = status(cell).ok()?;
            let is_new = report["finished"].is_object() && report["finished"] != before;
            (is_new && report["last"]["end"] == "finished").then_some((code, report))
        })
        .await?;
    let damages = report["finished"]["damages"].as_array().context("a list")?;
    Ok((code, damages.clone()))
}

/// A file answers one block with an error, and each of the others with what was written.
fn rotten_in_one_block(path: &Path, whole: &[u8], rotten: usize) -> Result<()> {
    let file = File::open(path)?;
    for (index, written) in whole.chunks(BLOCK).enumerate() {
        let mut block = vec![0; BLOCK];
        match file.read_at(&mut block, (index * BLOCK) as u64) {
            Err(error) if index == rotten => ensure!(error.raw_os_error() == Some(5), "{error}"),
            Ok(_) if index == rotten => bail!("what rotted was read"),
            Ok(len) => ensure!(len == BLOCK && block == written, "block {index} is another"),
            Err(error) => bail!("block {index}: {error}"),
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rots_on_a_disk_is_named_by_its_path_and_the_rest_is_served() -> Result<()> {
    let builder = Builder::default().flservers(1).servers(2).aggregates(1);
    let cell = builder.disk_bytes(DISK_BYTES).start().await?;
    let stage = Stage::within(cell, 2, Trust::UsersAndRoot).await?;
    let (one, other) = (stage.first().clone(), stage.last().clone());
    let disk = stage.cell.places().disk("lfs01");
    fs::create_dir(one.join("doc"))?;
    for (number, name) in (1..).zip(["doc/rotten", "doc/good", "gone"]) {
        fs::write(one.join(name), bytes(number, 8))?;
        File::open(one.join(name))?.sync_all()?;
    }
    super::snapshots::take(&stage.cell, "stage", "monday")?;
    fs::remove_file(one.join("gone"))?;
    File::open(&one)?.sync_all()?;

    let (code, damages) = scrub(&stage.cell).await?;
    ensure!(code == 0 && damages.is_empty(), "{code}: {damages:?}");
    let said = stage.cell.fts(&["scrub", "-server", "fs1", "-status"])?.done()?;
    ensure!(said.contains("nothing is damaged"), "{said}");

    rot(&disk, &bytes(1, 8)[2 * BLOCK..3 * BLOCK])?;
    rot(&disk, &bytes(3, 8)[..BLOCK])?;
    let (code, mut damages) = scrub(&stage.cell).await?;
    ensure!(code == 1 && damages.len() == 2, "{code}: {damages:?}");
    damages.sort_by_key(|damage| damage["path"].to_string());
    let named = |damage: &Value| {
        let fields = ["fileset", "snapshot", "path", "first_byte", "bytes"];
        fields.map(|field| damage[field].to_string()).join(" ")
    };
    ensure!(
        named(&damages[0]) == "\"stage\" null \"doc/rotten\" 8192 4096",
        "{damages:?}"
    );
    ensure!(
        named(&damages[1]) == "\"stage\" \"monday\" \"gone\" 0 4096",
        "{damages:?}"
    );
    let said = stage.cell.fts(&["scrub", "-aggregate", "lfs01", "-status"])?;
    ensure!(
        said.code == 1 && said.stdout.contains("fileset stage, /doc/rotten, bytes 8192 to 12287"),
        "{said:?}"
    );
    stage
        .cell
        .fts(&["scrub", "-aggregate", "lfs01", "-stop"])?
        .refused(1, &["none goes on"])?;

    // Who reads what rotted is told so, and nothing else; all else is as it was.
    ensure!(fs::read(other.join("doc/good"))? == bytes(2, 8));
    let whole = bytes(1, 8);
    rotten_in_one_block(&other.join("doc/rotten"), &whole, 2)?;
    let error = fs::read(other.join(".snapshots/monday/gone")).err();
    ensure!(
        error.as_ref().and_then(std::io::Error::raw_os_error) == Some(5),
        "{error:?}"
    );
    fs::write(other.join("doc/new"), bytes(4, 8))?;
    ensure!(fs::read(one.join("doc/new"))? == bytes(4, 8));

    // Written anew, it is whole.
    let file = File::options().write(true).open(one.join("doc/rotten"))?;
    file.write_all_at(&whole, 0)?;
    file.sync_all()?;
    ensure!(fs::read(other.join("doc/rotten"))? == whole);
    let (_, damages) = scrub(&stage.cell).await?;
    let places: Vec<String> = damages.iter().map(named).collect();
    ensure!(
        places
            == [
                "\"stage\" \"monday\" \"doc/rotten\" 8192 4096",
                "\"stage\" \"monday\" \"gone\" 0 4096"
            ],
        "{places:?}"
    );
    stage.cell.down()
}
