//! Programs of every day: each in the way in which people use it, with a check at its end.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use super::{Stage, program, tree};

fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .ok_or_else(|| anyhow::anyhow!("{} is no text", path.display()))
}

/// One file through one mount, then two files through two mounts at once, each then the same through the other.
pub fn fsx(stage: &Stage, operations: u64) -> Result<String> {
    let count = operations.to_string();
    for seed in ["1", "2"] {
        let words = ["fsx", "-N", &count, "-S", seed, "fsx-alone"];
        program(stage.first(), &words)?;
    }
    let (one, other) = (stage.first().clone(), stage.last().clone());
    let both: Vec<_> = [(one, "fsx-one"), (other, "fsx-other")]
        .into_iter()
        .map(|(directory, name)| {
            let count = count.clone();
            std::thread::spawn(move || program(&directory, &["fsx", "-N", &count, "-S", "3", name]))
        })
        .collect();
    for thread in both {
        match thread.join() {
            Ok(result) => drop(result?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    for name in ["fsx-alone", "fsx-one", "fsx-other"] {
        let (here, there) = (fs::read(stage.first().join(name))?, fs::read(stage.last().join(name))?);
        ensure!(here == there, "{name} is not the same through both mounts");
    }
    Ok(format!("4 runs of {count} operations"))
}

/// A repository of the real tree, cloned within the cell and checked by the other mount.
pub fn git(stage: &Stage) -> Result<String> {
    let (first, last) = (stage.first(), stage.last());
    let repository = first.join("repository");
    fs::create_dir(&repository)?;
    for (index, source) in tree::sources()?.iter().take(60).enumerate() {
        tree::copy(source, &repository.join(format!("package-{index}")))?;
    }
    program(&repository, &["git", "init", "-q", "."])?;
    for (name, value) in [("user.name", "somebody"), ("user.email", "somebody@cell.example")] {
        program(&repository, &["git", "config", name, value])?;
    }
    program(&repository, &["git", "add", "-A", "-f"])?;
    program(&repository, &["git", "commit", "-q", "-m", "all of it"])?;
    program(first, &["git", "clone", "-q", "--no-local", "repository", "clone"])?;
    let clone = last.join("clone");
    program(&clone, &["git", "-c", "safe.directory=*", "fsck", "--full", "--strict"])?;
    let status = program(&clone, &["git", "-c", "safe.directory=*", "status", "--porcelain"])?;
    ensure!(
        status.is_empty(),
        "the clone differs from what was committed:\n{status}"
    );
    let files = program(&clone, &["git", "-c", "safe.directory=*", "ls-files"])?
        .lines()
        .count();
    Ok(format!(
        "{files} files committed, cloned, and found whole by the other mount"
    ))
}

/// There and back.
pub fn archives(stage: &Stage) -> Result<String> {
    let (first, last) = (stage.first(), stage.last());
    let outside = tempfile::tempdir()?;
    let (there, back) = (outside.path().join("there"), outside.path().join("back"));
    fs::create_dir(&there)?;
    fs::create_dir(&back)?;
    for (index, source) in tree::sources()?.iter().take(40).enumerate() {
        tree::copy(source, &there.join(format!("package-{index}")))?;
    }
    fs::hard_link(there.join("package-0/Cargo.toml"), there.join("linked"))?;
    std::os::unix::fs::symlink("package-0", there.join("symbolic"))?;
    program(&there, &["setfattr", "-n", "user.note", "-v", "kept", "linked"])?;
    program(&there, &["chmod", "2750", "package-1"])?;
    program(&there, &["touch", "-d", "1998-05-06 07:08:09.123456789", "package-2"])?;

    program(
        outside.path(),
        &["tar", "--xattrs", "-cf", "there.tar", "-C", text(&there)?, "."],
    )?;
    fs::create_dir(first.join("tar"))?;
    let archive = outside.path().join("there.tar");
    program(first, &["tar", "--xattrs", "-xpf", text(&archive)?, "-C", "tar"])?;
    same(&there, &last.join("tar"))?;
    program(first, &["rsync", "-aHAX", &format!("{}/", text(&there)?), "rsync/"])?;
    same(&there, &last.join("rsync"))?;
    program(last, &["rsync", "-aHAX", "rsync/", &format!("{}/", text(&back)?)])?;
    same(&there, &back)?;
    Ok("tar and rsync: there and back, nothing differs".to_owned())
}

/// Nothing that `rsync` would have to do: contents, modes, owners, times, hard links, attributes.
fn same(one: &Path, other: &Path) -> Result<()> {
    let words = [
        "rsync",
        "-aHAXcni",
        "--delete",
        &format!("{}/", text(one)?),
        &format!("{}/", text(other)?),
    ];
    let differences = program(one, &words)?;
    ensure!(
        differences.trim().is_empty(),
        "{} and {} differ:\n{differences}",
        one.display(),
        other.display()
    );
    Ok(())
}

/// Transactions, a rollback and the database's own check, by both mounts in turn.
pub fn sqlite(stage: &Stage) -> Result<String> {
    let make = "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
        INSERT INTO t SELECT i, hex(randomblob(40)) FROM n;
        BEGIN; DELETE FROM t; ROLLBACK;
        CREATE INDEX tb ON t(b);";
    program(stage.first(), &["sqlite3", "database", make])?;
    for round in 0..20 {
        let directory = if round % 2 == 0 { stage.last() } else { stage.first() };
        program(
            directory,
            &["sqlite3", "database", "INSERT INTO t(b) VALUES (hex(randomblob(40)));"],
        )?;
    }
    let check = program(
        stage.last(),
        &["sqlite3", "database", "PRAGMA integrity_check; SELECT count(*) FROM t;"],
    )?;
    ensure!(check == "ok\n20020\n", "the database says: {check}");
    Ok("20,020 rows by both mounts, and the database is whole".to_owned())
}

/// Random and sequential writes, verified by checksums; with and without the cache.
pub fn fio(stage: &Stage) -> Result<String> {
    for (name, extra) in [("cached", "--direct=0"), ("direct", "--direct=1")] {
        let words = [
            "fio",
            &format!("--name={name}"),
            extra,
            "--rw=randwrite",
            "--bs=4k",
            "--size=32m",
            "--ioengine=psync",
            "--numjobs=2",
            "--verify=crc32c",
            "--do_verify=1",
            "--verify_fatal=1",
            "--end_fsync=1",
        ];
        program(stage.first(), &words)?;
    }
    Ok("4 jobs of 32 MiB, every block verified".to_owned())
}
