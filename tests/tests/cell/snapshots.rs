//! Snapshots in sight: a user gets an old file back by `cp`, an administrator a whole home, or what differs, and
//! a takeover changes nothing of what was.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use baton_tests::cell::{Builder, Cell, Trust};
use baton_tests::suites::Stage;
use baton_types::change::Takeover;

/// The names in a directory, in order.
fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// All that a tree holds: of each path what it is, whose, its mode and date, its bytes or where it leads.
pub(super) fn tree(root: &Path) -> Result<BTreeMap<String, String>> {
    let (mut found, mut left) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path)?;
        let held = match meta.file_type() {
            kind if kind.is_dir() => {
                let below = fs::read_dir(&path)?.map(|entry| Ok(entry?.path()));
                left.extend(below.collect::<Result<Vec<_>>>()?);
                String::new()
            }
            kind if kind.is_symlink() => fs::read_link(&path)?.display().to_string(),
            _ => String::from_utf8_lossy(&fs::read(&path)?).into_owned(),
        };
        let (mode, uid, gid) = (meta.mode(), meta.uid(), meta.gid());
        let links = if meta.is_dir() { 0 } else { meta.nlink() };
        let date = (meta.mtime(), meta.mtime_nsec());
        let name = path.strip_prefix(root)?.display().to_string();
        found.insert(name, format!("{mode:o} {uid}:{gid} {links} {date:?} {held}"));
    }
    Ok(found)
}

pub(super) fn take(cell: &Cell, fileset: &str, name: &str) -> Result<()> {
    let said = cell.fts(&["snapshot", "create", fileset, name])?.done()?;
    ensure!(
        said == format!("Snapshot {name} of fileset {fileset} taken\n"),
        "{said}"
    );
    Ok(())
}

fn is_read_only<T>(done: std::io::Result<T>, what: &str) -> Result<()> {
    let kind = done.err().map(|error| error.kind());
    ensure!(kind == Some(ErrorKind::ReadOnlyFilesystem), "{what}: {kind:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_file_comes_back_by_cp() -> Result<()> {
    let stage = Stage::set(Builder::default(), 2, Trust::UsersAndRoot).await?;
    let (one, other) = (stage.first().clone(), stage.last().clone());
    fs::create_dir(one.join("doc"))?;
    fs::write(one.join("doc/letter"), "first")?;
    take(&stage.cell, "stage", "monday")?;
    fs::write(one.join("doc/letter"), "second, and longer")?;
    let monday = other.join(".snapshots/monday");
    ensure!(fs::read(monday.join("doc/letter"))? == b"first");
    fs::remove_dir_all(one.join("doc"))?;
    ensure!(fs::read(monday.join("doc/letter"))? == b"first");

    // It is there for those who know it, and seen by nobody who lists.
    ensure!(names(&one)?.is_empty() && names(&other.join(".snapshots"))? == ["monday"]);
    ensure!(!monday.join(".snapshots").exists());
    let status = Command::new("cp")
        .arg("-a")
        .arg(one.join(".snapshots/monday/doc"))
        .arg(&one)
        .status()?;
    ensure!(status.success() && fs::read(other.join("doc/letter"))? == b"first");

    let letter = monday.join("doc/letter");
    is_read_only(OpenOptions::new().append(true).open(&letter), "append")?;
    is_read_only(File::create(monday.join("new")), "create")?;
    is_read_only(fs::remove_file(&letter), "unlink")?;
    is_read_only(fs::create_dir(other.join(".snapshots/tuesday")), "mkdir")?;
    is_read_only(fs::set_permissions(&letter, Permissions::from_mode(0o600)), "chmod")?;
    let moved = fs::rename(&letter, other.join("letter"))
        .err()
        .map(|error| error.kind());
    ensure!(moved == Some(ErrorKind::CrossesDevices), "{moved:?}");

    // What was not there a moment ago is there when it was taken, and gone when it was deleted.
    ensure!(!other.join(".snapshots/tuesday").exists());
    take(&stage.cell, "stage", "tuesday")?;
    ensure!(names(&other.join(".snapshots"))? == ["monday", "tuesday"]);
    ensure!(fs::read(other.join(".snapshots/tuesday/doc/letter"))? == b"first");
    let twice = ["snapshot", "create", "stage", "tuesday"];
    stage.cell.fts(&twice)?.refused(1, &["snapshot 'tuesday'"])?;
    let listed = stage.cell.fts(&["snapshot", "list", "stage"])?.done()?;
    ensure!(listed.lines().count() == 3 && listed.contains("monday"), "{listed}");
    stage.cell.fts(&["snapshot", "delete", "stage", "monday"])?.done()?;
    ensure!(!one.join(".snapshots/monday").exists() && !other.join(".snapshots/monday").exists());
    stage
        .cell
        .fts(&["snapshot", "delete", "stage", "monday"])?
        .refused(1, &["snapshot 'monday' of fileset stage", "fts snapshot list stage"])?;
    stage
        .cell
        .fts(&["snapshot", "create", "stage", "backup"])?
        .refused(1, &["it is the fileset's backup version", "fts clone"])?;
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshot_shows_to_each_what_he_might_see_then() -> Result<()> {
    let mut stage = Stage::set(Builder::default(), 1, Trust::UsersAndRoot).await?;
    let one = stage.first().clone();
    for (name, mode) in [("open", 0o644), ("shut", 0o600)] {
        fs::write(one.join(name), name)?;
        fs::set_permissions(one.join(name), Permissions::from_mode(mode))?;
    }
    take(&stage.cell, "stage", "then")?;
    fs::set_permissions(one.join("open"), Permissions::from_mode(0o600))?;
    fs::set_permissions(one.join("shut"), Permissions::from_mode(0o644))?;
    // Somebody else looks from within, whoever may walk there.
    let read = |name: &str| {
        let then = File::open(one.join(".snapshots/then"))?;
        let path = Path::new("/proc/self/fd/0").join(name);
        let read = Command::new("cat")
            .arg(path)
            .stdin(then)
            .uid(4_711)
            .gid(4_711)
            .output()?;
        anyhow::Ok(read.status.success())
    };
    ensure!(read("open")? && !read("shut")?);
    stage.cell.restart("fs1")?;
    stage
        .cell
        .wait("the server serves again", async || read("open").ok().filter(|is| *is))
        .await?;
    ensure!(!read("shut")?);
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backup_is_a_version_that_is_mounted_and_replaced() -> Result<()> {
    let stage = Stage::set(Builder::default(), 2, Trust::UsersAndRoot).await?;
    let (one, other) = (stage.first().clone(), stage.last().clone());
    stage.another("spare").await?;
    fs::write(one.join("f"), "old")?;
    let said = stage.cell.fts(&["clone", "stage"])?.done()?;
    ensure!(said == "Created backup fileset for stage\n", "{said}");
    let entry = stage.cell.fts(&["lsfldb", "stage"])?.done()?;
    let backup = entry
        .lines()
        .find(|line| line.contains("backupID"))
        .context("no backup")?;
    ensure!(backup.trim_end().ends_with(" valid"), "{entry}");
    fs::write(one.join("f"), "new")?;
    let place = one.parent().context("the root of the cell")?.join("yesterday");
    let seat = stage.cell.seat("client1", "admin");
    let place = place.to_str().context("the directory's name is no text")?;
    seat.fts(&["crmount", "-dir", place, "-fileset", "stage.backup"])?
        .done()?;
    let seen = other.parent().context("the root of the cell")?.join("yesterday/f");
    let reads = |wanted: &str| fs::read_to_string(&seen).ok().filter(|text| text == wanted);
    stage.cell.wait("the backup is seen", async || reads("old")).await?;
    is_read_only(fs::write(&seen, "x"), "write")?;
    ensure!(fs::read(one.join(".snapshots/backup/f"))? == b"old");

    let said = stage.cell.fts(&["clonesys", "-prefix", "s"])?.done()?;
    ensure!(
        said == "Total FLDB entries that were successfully backed up: 2 (0 failed; 0 wrong aggr type)\n",
        "{said}"
    );
    ensure!(reads("new").is_some() && names(&one.join(".snapshots"))? == ["backup"]);
    stage.cell.fts(&["delete", "spare", "fs1", "lfs01"])?.done()?;
    let said = stage
        .cell
        .fts(&["clonesys", "-server", "fs1", "-aggregate", "lfs01"])?
        .done()?;
    ensure!(said.contains("backed up: 2 (0 failed"), "{said}");
    stage.cell.down()
}

/// A home with a bit of everything.
fn furnish(home: &Path) -> Result<()> {
    fs::create_dir_all(home.join("doc/deep/er"))?;
    fs::write(home.join("doc/letter"), "dear all")?;
    fs::write(home.join("doc/deep/er/thesis"), vec![b'x'; 3 << 20])?;
    fs::hard_link(home.join("doc/letter"), home.join("same"))?;
    symlink("doc/letter", home.join("link"))?;
    fs::write(home.join("script"), "true")?;
    fs::set_permissions(home.join("script"), Permissions::from_mode(0o4711))?;
    std::os::unix::fs::chown(home.join("script"), Some(1_001), Some(100))?;
    fs::set_permissions(home.join("script"), Permissions::from_mode(0o4711))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn home_is_deleted_and_restored() -> Result<()> {
    let stage = Stage::set(Builder::default(), 2, Trust::UsersAndRoot).await?;
    let homes = stage.another("user.ito").await?;
    let (home, other) = (homes.first().context("a home")?, homes.last().context("a home")?);
    let cell = &stage.cell;
    cell.fts(&["restorehome", "ito", "-at", "1 minute ago"])?
        .refused(1, &["it has no snapshot", "fts snapshot create"])?;
    cell.fts(&["restorehome", "ito"])?.refused(2, &["-at"])?;
    furnish(home)?;
    take(cell, "user.ito", "monday")?;
    let then = tree(home)?;
    cell.fts(&["restorehome", "ito", "-at", "1 hour ago"])?
        .refused(1, &["all its snapshots are younger", "fts snapshot list"])?;
    cell.fts(&["restorehome", "ito", "-undo"])?
        .refused(1, &["it was never restored"])?;

    // Everything goes, and something else comes.
    for name in names(home)? {
        let path = home.join(name);
        match fs::symlink_metadata(&path)?.is_dir() {
            true => fs::remove_dir_all(path)?,
            false => fs::remove_file(path)?,
        }
    }
    fs::create_dir_all(home.join("new/er"))?;
    fs::write(home.join("new/er/file"), "not from then")?;
    fs::write(home.join("same"), "another file")?;
    let later = tree(other)?;

    let far = ["restorehome", "ito", "-at", "2099-01-01", "-dry-run"];
    let said = cell.fts(&far)?.done()?;
    ensure!(
        said.starts_with("Would restore fileset user.ito from its snapshot monday"),
        "{said}"
    );
    for line in [
        "back     doc/deep/er/thesis",
        "gone     new/er/file",
        "gone     same",
        "back     same",
    ] {
        ensure!(said.contains(&format!("  {line}\n")), "{line}: {said}");
    }
    ensure!(tree(home)? == later && cell.fts(&["snapshot", "list", "user.ito"])?.done()?.lines().count() == 2);

    // One path first, then all of it; a program keeps what it has open.
    cell.fts(&["restorehome", "ito", "-at", "2099-01-01", "-path", "doc/letter"])?
        .refused(1, &["'doc' of the path", "it is no directory any more"])?;
    let mut open = File::open(home.join("new/er/file"))?;
    cell.fts(&["restorehome", "ito", "-at", "2099-01-01", "-path", "doc"])?
        .done()?;
    ensure!(fs::read(other.join("doc/letter"))? == b"dear all" && other.join("new").exists());
    let monday = cell.fts(&["snapshot", "list", "user.ito", "-json"])?.done()?;
    ensure!(monday.contains("\"name\":\"before-restore."), "{monday}");
    restore_to(cell, "monday")?;
    ensure!(tree(home)? == then, "{:#?}\n{then:#?}", tree(home)?);
    ensure!(tree(other)? == then);
    let mut text = String::new();
    open.read_to_string(&mut text)?;
    ensure!(text == "not from then");

    // Nothing differs now; and all of that is undone.
    let undone = cell.fts(&["restorehome", "-fileset", "user.ito", "-undo"])?.done()?;
    ensure!(undone.contains("from its snapshot before-restore."), "{undone}");
    ensure!(!home.join("script").exists() && home.join("new/er/file").exists());
    stage.cell.down()
}

/// Brings a home back to the snapshot that lies before all that restoring took: the others are deleted first.
fn restore_to(cell: &Cell, name: &str) -> Result<()> {
    let listed = cell.fts(&["snapshot", "list", "user.ito"])?.done()?;
    let others = listed.lines().skip(1).filter_map(|line| line.split(' ').next());
    for other in others.filter(|other| *other != name) {
        cell.fts(&["snapshot", "delete", "user.ito", other])?.done()?;
    }
    let said = cell.fts(&["restorehome", "ito", "-at", "2099-01-01"])?.done()?;
    ensure!(
        said.starts_with(&format!("Restored fileset user.ito from its snapshot {name}, taken ")),
        "{said}"
    );
    ensure!(said.contains("fts restorehome -fileset user.ito -undo\n"), "{said}");
    let again = cell
        .fts(&["restorehome", "ito", "-at", "2099-01-01", "-dry-run"])?
        .done()?;
    ensure!(again.contains("from its snapshot before-restore."), "{again}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_are_compared_by_paths_and_with_now() -> Result<()> {
    let stage = Stage::set(Builder::default(), 1, Trust::UsersAndRoot).await?;
    let one = stage.first().clone();
    let diff = |more: &[&str]| {
        let words = ["snapshot", "diff", "-fileset", "stage", "-from", "monday"];
        stage.cell.fts(&[&words, more].concat())
    };
    fs::create_dir_all(one.join("doc/deep"))?;
    for name in ["doc/letter", "doc/deep/name", "keep", "away"] {
        fs::write(one.join(name), name)?;
    }
    diff(&[])?.refused(
        1,
        &[
            "snapshot 'monday' of fileset stage",
            "it has no snapshot",
            "fts snapshot create",
        ],
    )?;
    take(&stage.cell, "stage", "monday")?;
    for same in [diff(&[])?, diff(&["-to", "monday"])?] {
        ensure!(same.done()? == "Nothing differs\n");
    }

    fs::write(one.join("doc/letter"), "another")?;
    fs::rename(one.join("doc/deep"), one.join("deep"))?;
    fs::rename(one.join("deep/name"), one.join("deep/new\nname"))?;
    fs::set_permissions(one.join("keep"), Permissions::from_mode(0o600))?;
    fs::remove_file(one.join("away"))?;
    fs::write(one.join(OsStr::from_bytes(b"\xa4\xa2")), "an old name")?;
    let now = diff(&[])?.done()?;
    take(&stage.cell, "stage", "tuesday")?;
    fs::remove_dir_all(one.join("deep"))?;
    let told = diff(&["-to", "tuesday"])?.done()?;
    ensure!(now == told, "{now}{told}");
    let lines: BTreeSet<&str> = told.lines().collect();
    let wanted = [
        "M doc/letter",
        "R doc/deep -> deep",
        "R doc/deep/name -> deep/new\\u{a}name",
        "A keep",
        "- away",
        "+ \\xa4\\xa2",
        "6 differences: 1 added, 1 removed, 1 modified, 1 in attributes only, 2 renamed",
    ];
    ensure!(lines == BTreeSet::from(wanted), "{told}");

    let told = diff(&["-to", "tuesday", "-path", "doc", "-0"])?.done()?;
    let records: BTreeSet<&str> = told.split_terminator('\0').collect();
    // What went out of the directory is gone from it.
    ensure!(
        records == BTreeSet::from(["M doc/letter", "- doc/deep", "- doc/deep/name"]),
        "{told:?}"
    );
    let told = diff(&["-to", "tuesday", "-json"])?.done()?;
    ensure!(told.contains("\"path\":{\"b64\":\"pKI=\"}"), "{told}");
    ensure!(told.contains("\"old\":\"doc/deep/name\""), "{told}");
    let last = told.lines().last().context("the end of the list")?;
    ensure!(last.contains("baton.fts.snapshot.diff.end/1"), "{told}");

    let missing = ["'friday'", "the newest: tuesday, monday", "fts snapshot list stage"];
    diff(&["-to", "friday"])?.refused(1, &missing)?;
    diff(&["-path", "no/where"])?.refused(1, &["'no/where'", "no such file in either"])?;
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_name_of_a_file_that_has_another_is_a_name_of_it_again() -> Result<()> {
    let stage = Stage::set(Builder::default(), 1, Trust::UsersAndRoot).await?;
    let one = stage.first().clone();
    fs::write(one.join("a"), "then")?;
    fs::hard_link(one.join("a"), one.join("b"))?;
    take(&stage.cell, "stage", "monday")?;
    let then = tree(&one)?;
    fs::write(one.join("a"), "since")?;
    fs::remove_file(one.join("b"))?;
    let words = ["restorehome", "-fileset", "stage", "-at", "2099-01-01"];
    stage.cell.fts(&words)?.done()?;
    ensure!(tree(&one)? == then, "{:?}", tree(&one)?);
    ensure!(fs::metadata(one.join("a"))?.ino() == fs::metadata(one.join("b"))?.ino());
    stage.cell.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takeover_keeps_all_snapshots_readable() -> Result<()> {
    let mut stage = Stage::set(Builder::default().servers(2), 2, Trust::UsersAndRoot).await?;
    let (one, other) = (stage.first().clone(), stage.last().clone());
    let mut open = Vec::new();
    for round in 0..4 {
        fs::write(one.join("f"), format!("round {round}"))?;
        fs::write(one.join(format!("only-{round}")), "x")?;
        take(&stage.cell, "stage", &format!("s{round}"))?;
        open.push(File::open(other.join(format!(".snapshots/s{round}/f")))?);
        fs::remove_file(one.join(format!("only-{round}")))?;
    }
    stage.cell.fts(&["snapshot", "delete", "stage", "s1"])?.done()?;
    for (round, kill) in [false, true].into_iter().enumerate() {
        let (owner, target) = [("fs1", "fs2"), ("fs2", "fs1")][round];
        let before = stage.cell.aggregate("lfs01").await?.epoch;
        match kill {
            false => {
                let to = stage.cell.file_server(target).await?.id;
                stage.cell.fail_over("lfs01", to, Takeover::Planned).await?;
            }
            true => stage.cell.kill(owner)?,
        }
        stage.cell.served_by("lfs01", target, before).await?;
        for kept in [0, 2, 3] {
            for mount in [&one, &other] {
                let snapshot = mount.join(format!(".snapshots/s{kept}"));
                ensure!(fs::read_to_string(snapshot.join("f"))? == format!("round {kept}"));
                ensure!(snapshot.join(format!("only-{kept}")).exists());
            }
            let mut text = String::new();
            open[kept].read_to_string(&mut text)?;
            std::io::Seek::rewind(&mut open[kept])?;
            ensure!(text == format!("round {kept}"), "{text}");
        }
        ensure!(names(&other.join(".snapshots"))? == ["s0", "s2", "s3"]);
        take(&stage.cell, "stage", &format!("under-{target}"))?;
        stage
            .cell
            .fts(&["snapshot", "delete", "stage", &format!("under-{target}")])?
            .done()?;
    }
    drop(open);
    stage.cell.start("fs2")?;
    for server in ["fs1", "fs2"] {
        stage.cell.terminate(server)?;
    }
    let disk = stage.cell.places().disk("lfs01");
    let disk = disk.to_str().context("the directory's name is no text")?;
    stage.cell.administrator().run("salvage", &["-check", disk])?.done()?;
    stage.cell.down()
}
