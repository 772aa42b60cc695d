//! Filesets that go back to snapshots under their mounts, and clones that live on by themselves.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use baton_tests::cell::{Builder, Cell, Trust};
use baton_tests::suites::Stage;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::snapshots::{take, tree};

/// Bytes of the file whose pages are warm: some, and a piece of one.
const WARM_BYTES: usize = 5 * 4_096 + 100;

fn write(path: &Path, byte: u8) -> Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&vec![byte; WARM_BYTES])?;
    Ok(file.sync_all()?)
}

/// What a file holds that was opened before.
fn again(file: &mut File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_stale<T>(done: Result<T>, what: &str) -> Result<()> {
    let error = done.err().and_then(|error| error.downcast::<std::io::Error>().ok());
    let kind = error.as_ref().map(std::io::Error::kind);
    ensure!(kind == Some(ErrorKind::StaleNetworkFileHandle), "{what}: {error:?}");
    Ok(())
}

/// Rolls a fileset back; says by what name what was there before is kept.
fn roll_back(cell: &Cell, fileset: &str, to: &str) -> Result<String> {
    let said = cell
        .fts(&["snapshot", "rollback", "-fileset", fileset, "-snapshot", to])?
        .done()?;
    let first = format!("Rolled back fileset {fileset} to its snapshot {to}, taken ");
    ensure!(said.starts_with(&first), "{said}");
    let before = said.trim_end().rsplit(' ').next().context("no way back")?;
    ensure!(before.starts_with("before-rollback."), "{said}");
    Ok(before.to_owned())
}

/// Everything that the disk holds agrees with everything else.
fn is_sound(cell: &mut Cell, servers: &[&str]) -> Result<()> {
    for server in servers {
        cell.terminate(server)?;
    }
    let disk = cell.places().disk("lfs01");
    let disk = disk.to_str().context("the directory's name is no text")?;
    cell.administrator().run("salvage", &["-check", disk])?.done()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fileset_goes_back_under_open_files_and_warm_pages_and_forth_again() -> Result<()> {
    let mut stage = Stage::set(Builder::default().servers(2), 2, Trust::UsersAndRoot).await?;
    let (one, other) = (stage.first().clone(), stage.last().clone());
    fs::create_dir_all(one.join("doc/deep"))?;
    write(&one.join("doc/letter"), b'1')?;
    fs::write(one.join("doc/deep/gone"), "of then")?;
    fs::hard_link(one.join("doc/letter"), one.join("same"))?;
    take(&stage.cell, "stage", "monday")?;
    let then = tree(&one)?;

    write(&one.join("doc/letter"), b'2')?;
    fs::remove_dir_all(one.join("doc/deep"))?;
    fs::remove_file(one.join("same"))?;
    fs::rename(one.join("doc"), one.join("papers"))?;
    fs::write(one.join("new"), "of now")?;
    fs::set_permissions(one.join("papers/letter"), fs::Permissions::from_mode(0o600))?;
    let now = tree(&other)?;
    let mut open = Vec::new();
    for mount in [&one, &other] {
        let (mut warm, mut late) = (File::open(mount.join("papers/letter"))?, File::open(mount.join("new"))?);
        ensure!(again(&mut warm)? == vec![b'2'; WARM_BYTES] && again(&mut late)? == b"of now");
        open.push((warm, late));
    }

    let dry = [
        "snapshot",
        "rollback",
        "-fileset",
        "stage",
        "-snapshot",
        "monday",
        "-dry-run",
    ];
    let said = stage.cell.fts(&dry)?.done()?;
    ensure!(
        said.starts_with("Would roll back fileset stage to its snapshot monday"),
        "{said}"
    );
    ensure!(tree(&one)? == now);
    stage
        .cell
        .fts(&["snapshot", "rollback", "-fileset", "stage", "-snapshot", "friday"])?
        .refused(1, &["snapshot 'friday' of fileset stage"])?;

    let before = roll_back(&stage.cell, "stage", "monday")?;
    for (mount, (warm, late)) in [&one, &other].into_iter().zip(&mut open) {
        ensure!(again(warm)? == vec![b'1'; WARM_BYTES], "old pages at {mount:?}");
        is_stale(again(late), "what is not there any more")?;
        ensure!(tree(mount)? == then, "{:#?}\n{then:#?}", tree(mount)?);
    }

    // Whoever takes the aggregate over shows the same, and what was there before comes back.
    let epoch = stage.cell.aggregate("lfs01").await?.epoch;
    stage.cell.kill("fs1")?;
    stage.cell.served_by("lfs01", "fs2", epoch).await?;
    for mount in [&one, &other] {
        ensure!(tree(mount)? == then, "{:#?}\n{then:#?}", tree(mount)?);
    }
    write(&other.join("doc/letter"), b'3')?;
    ensure!(again(&mut open[0].0)? == vec![b'3'; WARM_BYTES]);
    let third = roll_back(&stage.cell, "stage", &before)?;
    for (mount, (warm, late)) in [&one, &other].into_iter().zip(&mut open) {
        ensure!(tree(mount)? == now, "{:#?}\n{now:#?}", tree(mount)?);
        ensure!(again(warm)? == vec![b'2'; WARM_BYTES] && again(late)? == b"of now");
    }
    let listed = stage.cell.fts(&["snapshot", "list", "stage"])?.done()?;
    for name in ["monday", &before, &third] {
        ensure!(listed.contains(name), "{listed}");
        stage.cell.fts(&["snapshot", "delete", "stage", name])?.done()?;
    }
    ensure!(tree(&one)? == now);
    drop(open);
    is_sound(&mut stage.cell, &["fs2"])?;
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mount_that_is_alone_forgets_what_it_cached_when_its_fileset_goes_back() -> Result<()> {
    let mut stage = Stage::set(Builder::default(), 1, Trust::UsersAndRoot).await?;
    let one = stage.first().clone();
    write(&one.join("f"), b'1')?;
    fs::write(one.join("gone"), "of then")?;
    File::open(&one)?.sync_all()?;
    take(&stage.cell, "stage", "monday")?;
    write(&one.join("f"), b'2')?;
    fs::remove_file(one.join("gone"))?;
    fs::write(one.join("new"), "of now")?;
    let (mut warm, mut late) = (File::open(one.join("f"))?, File::open(one.join("new"))?);
    ensure!(again(&mut warm)? == vec![b'2'; WARM_BYTES] && again(&mut late)? == b"of now");
    ensure!(!one.join("gone").exists() && one.join("new").exists());

    roll_back(&stage.cell, "stage", "monday")?;
    ensure!(again(&mut warm)? == vec![b'1'; WARM_BYTES], "old pages");
    is_stale(again(&mut late), "what is not there any more")?;
    ensure!(one.join("gone").exists() && !one.join("new").exists());
    // It works on, alone again by and by, in files that were there and in new ones.
    for round in 0..8 {
        let name = one.join(format!("new{round}"));
        write(&name, b'a' + round)?;
        write(&one.join("f"), b'a' + round)?;
        ensure!(fs::read(&name)? == vec![b'a' + round; WARM_BYTES]);
        ensure!(again(&mut warm)? == vec![b'a' + round; WARM_BYTES]);
        sleep(Duration::from_secs(1)).await;
    }
    is_sound(&mut stage.cell, &["fs1"])?;
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clone_lives_on_by_itself_when_its_origin_is_deleted() -> Result<()> {
    let mut stage = Stage::set(Builder::default().servers(2), 2, Trust::UsersAndRoot).await?;
    let homes = stage.another("user.ito").await?;
    let (home, place) = (&homes[0], homes[0].with_file_name("copy"));
    let seen = homes[1].with_file_name("copy");
    write(&home.join("f"), b'1')?;
    fs::create_dir(home.join("doc"))?;
    take(&stage.cell, "user.ito", "monday")?;
    let then = tree(home)?;
    write(&home.join("f"), b'2')?;
    let clone = |of: &str, snapshot: &str, name: &str| {
        let words = [
            "snapshot",
            "clone",
            "-fileset",
            of,
            "-snapshot",
            snapshot,
            "-name",
            name,
        ];
        stage.cell.fts(&words)
    };
    clone("user.ito", "friday", "copy")?.refused(1, &["snapshot 'friday' of fileset user.ito"])?;
    let said = clone("user.ito", "monday", "copy")?.done()?;
    ensure!(
        said.starts_with("Fileset copy made of snapshot monday of user.ito: "),
        "{said}"
    );
    clone("user.ito", "monday", "copy")?.refused(1, &["copy"])?;
    let seat = stage.cell.seat("client1", "root.here");
    let text = place.to_str().context("the directory's name is no text")?;
    seat.fts(&["crmount", "-dir", text, "-fileset", "copy"])?.done()?;
    let shows = async || tree(&place).ok().filter(|found| *found == then);
    stage.cell.wait("the clone is seen", shows).await?;

    // Each by itself.
    write(&place.join("f"), b'3')?;
    fs::write(seen.join("doc/own"), "of the clone")?;
    ensure!(fs::read(home.join("f"))? == vec![b'2'; WARM_BYTES] && !home.join("doc/own").exists());
    ensure!(tree(&home.join(".snapshots/monday"))? == then);
    write(&home.join("f"), b'4')?;
    ensure!(fs::read(seen.join("f"))? == vec![b'3'; WARM_BYTES] && !seen.join(".snapshots/monday").exists());
    take(&stage.cell, "copy", "own")?;
    clone("copy", "own", "copy2")?.done()?;
    let now = tree(&place)?;

    stage.cell.fts(&["delete", "user.ito", "fs1", "lfs01"])?.done()?;
    let epoch = stage.cell.aggregate("lfs01").await?.epoch;
    stage.cell.kill("fs1")?;
    stage.cell.served_by("lfs01", "fs2", epoch).await?;
    ensure!(tree(&place)? == now && tree(&seen)? == now);
    write(&seen.join("f"), b'5')?;
    roll_back(&stage.cell, "copy", "own")?;
    ensure!(tree(&place)? == now && tree(&seen)? == now);
    let listed = stage.cell.fts(&["lsfldb"])?.done()?;
    ensure!(listed.contains("copy2") && !listed.contains("user.ito"), "{listed}");
    stage.cell.fts(&["delete", "copy2", "fs1", "lfs01"])?.done()?;
    ensure!(tree(&seen)? == now);
    is_sound(&mut stage.cell, &["fs2"])?;
    stage.cell.down()
}

/// When the server is killed while a clone is asked for: from before anything is reserved until it is all over.
const KILLED_AFTER_MILLIS: [u64; 9] = [0, 10, 20, 25, 30, 35, 40, 60, 100];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clone_whose_server_is_killed_is_whole_once_it_is_asked_for_again() -> Result<()> {
    let mut stage = Stage::set(Builder::default().servers(2), 1, Trust::UsersAndRoot).await?;
    let homes = stage.another("user.ito").await?;
    let home = &homes[0];
    write(&home.join("f"), b'1')?;
    take(&stage.cell, "user.ito", "monday")?;
    let then = tree(home)?;
    write(&home.join("f"), b'2')?;
    let (desk, seat) = (stage.cell.administrator(), stage.cell.seat("client1", "root.here"));
    let clone = |name: String| {
        let desk = desk.clone();
        spawn_blocking(move || {
            let of = ["snapshot", "clone", "-fileset", "user.ito", "-snapshot", "monday"];
            desk.fts(&[&of[..], &["-name", &name]].concat())
        })
    };
    let (mut owner, mut next) = ("fs1", "fs2");
    for millis in KILLED_AFTER_MILLIS {
        let name = format!("copy{millis}");
        let epoch = stage.cell.aggregate("lfs01").await?.epoch;
        let first = clone(name.clone());
        sleep(Duration::from_millis(millis)).await;
        stage.cell.kill(owner)?;
        stage.cell.served_by("lfs01", next, epoch).await?;
        let first = first.await??.done();
        let was_cut_short = first.is_err();
        eprintln!("{name}: cut short: {was_cut_short}");
        if let Err(first) = first {
            let again = clone(name.clone()).await??;
            // Made and booked, and only the answer was lost.
            if !again.stderr.contains("it is fileset") {
                again.done().with_context(|| format!("{name}, after {first}"))?;
            }
        }
        let place = home.with_file_name(&name);
        let text = place.to_str().context("the directory's name is no text")?;
        seat.fts(&["crmount", "-dir", text, "-fileset", &name])?.done()?;
        let shows = async || tree(&place).ok().filter(|found| *found == then);
        let what = format!("{name} is seen, cut short: {was_cut_short}");
        stage.cell.wait(&what, shows).await?;
        write(&place.join("f"), b'3')?;
        stage.cell.start(owner)?;
        (owner, next) = (next, owner);
    }
    ensure!(fs::read(home.join("f"))? == vec![b'2'; WARM_BYTES]);
    is_sound(&mut stage.cell, &["fs1", "fs2"])?;
    stage.cell.down()
}
