//! Tools that the checks need: found, or installed, never without a word about what and why.

use std::process::Command;

use anyhow::{Context, Result};

use crate::run::{run, works};
use crate::workspace::Workspace;

/// One of Debian's packages, the command that shows that it is there, and the reason for it.
type Package = (&'static str, &'static [&'static str], &'static str);

/// What tests call.
const FOR_TESTS: [Package; 3] = [
    (
        "nftables",
        &["nft", "--version"],
        "partition tests cut links between network namespaces",
    ),
    (
        "iproute2",
        &["ip", "-Version"],
        "partition tests make network namespaces",
    ),
    ("sqlite3", &["sqlite3", "--version"], "a database is kept by two mounts"),
];

/// What the measurement of the store calls.
const FOR_STORE_BENCH: [Package; 3] = [
    (
        "mount",
        &["losetup", "--version"],
        "the store is measured on loop devices",
    ),
    ("e2fsprogs", &["mkfs.ext4", "-V"], "the store is measured beside ext4"),
    (
        "btrfs-progs",
        &["mkfs.btrfs", "--version"],
        "the store is measured beside btrfs",
    ),
];

/// What the suites call.
const FOR_SUITES: [Package; 5] = [
    ("attr", &["setfattr", "--version"], "archives keep extended attributes"),
    ("fio", &["fio", "--version"], "it writes and verifies"),
    ("git", &["git", "--version"], "a repository is cloned in the cell"),
    ("rsync", &["rsync", "--version"], "a tree goes there and back"),
    ("sqlite3", &["sqlite3", "--version"], "a database is kept in the cell"),
];

/// Suites that others wrote, from source: they are run, never linked.
const SUITES: [(&str, &str); 2] = [("fsx", "^0.3"), ("pjdfstest", "^0.2")];

/// Makes sure of everything that `cargo xtask suite` calls.
pub fn ensure_for_suites(workspace: &Workspace) -> Result<()> {
    ensure_packages(workspace, &FOR_SUITES)?;
    for (suite, version) in SUITES {
        if works(workspace, &[suite, "--version"]) {
            continue;
        }
        println!("{suite} is missing: it tries file systems");
        let install = ["cargo", "install", suite, "--version", version, "--locked", "--quiet"];
        run(workspace, &install)?;
    }
    Ok(())
}

/// Makes sure of everything that `cargo xtask faults` calls.
pub fn ensure_for_faults(workspace: &Workspace) -> Result<()> {
    ensure_packages(workspace, &FOR_TESTS[..2])
}

/// Makes sure of everything that `cargo xtask test` calls.
pub fn ensure_all(workspace: &Workspace) -> Result<()> {
    ensure_packages(workspace, &FOR_TESTS)?;
    ensure_deny(workspace)
}

/// Makes sure of everything that `cargo xtask bench store` calls.
pub fn ensure_for_store_bench(workspace: &Workspace) -> Result<()> {
    ensure_packages(workspace, &FOR_STORE_BENCH)
}

fn ensure_packages(workspace: &Workspace, packages: &[Package]) -> Result<()> {
    let missing = packages.iter().filter(|(_, shows, _)| !works(workspace, shows));
    let missing: Vec<_> = missing.collect();
    for (package, _, reason) in &missing {
        println!("{package} is missing: {reason}");
    }
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|(package, ..)| *package).collect();
    if !is_root()? || !works(workspace, &["apt-get", "--version"]) {
        println!(
            "only root can install them, with apt-get; what needs {} says that it cannot run",
            names.join(" or ")
        );
        return Ok(());
    }
    run(workspace, &["apt-get", "update", "--quiet"])?;
    let install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"];
    run(workspace, &[&install, names.as_slice()].concat())
}

/// cargo-deny from source, without optimisation: a minute on two cores instead of nearly three, and its check
/// takes one second either way.
fn ensure_deny(workspace: &Workspace) -> Result<()> {
    if works(workspace, &["cargo", "deny", "--version"]) {
        return Ok(());
    }
    println!("cargo-deny is missing: it checks licences and origins of what is built upon");
    let quickly = ["--debug", "--config", "profile.dev.debug=0", "--quiet"];
    let install = ["cargo", "install", "cargo-deny", "--version", "^0.20", "--locked"];
    run(workspace, &[install.as_slice(), &quickly].concat())
}

/// Whether root runs this.
pub fn is_root() -> Result<bool> {
    let output = Command::new("id").arg("--user").output().context("id does not start")?;
    Ok(output.stdout.trim_ascii() == b"0")
}
