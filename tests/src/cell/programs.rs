//! The programs of a cell: found beside the running one, built first where they are missing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

/// What a cell runs, and the crate each is in.
const PROGRAMS: [(&str, &str); 4] = [
    ("flserver", "baton-flserver"),
    ("fileserver", "baton-fileserver"),
    ("batond", "baton-client-fuse"),
    ("baton", "baton-admin"),
];

/// Other names of `baton`, under which a person calls it.
pub const LINKS: [&str; 8] = [
    "fts",
    "dfsexport",
    "newaggr",
    "growaggr",
    "salvage",
    "cm",
    "acl",
    "mount.baton",
];

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Those of the build that the running program belongs to. What is there is taken as it is.
    ///
    /// # Errors
    /// When one is missing and cannot be built.
    pub fn find() -> Result<Programs> {
        static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let folder = BUILT.get_or_init(|| find_or_build().map_err(|e| format!("{e:#}")));
        match folder {
            Ok(folder) => Ok(Programs { folder: folder.clone() }),
            Err(why) => anyhow::bail!("{why}"),
        }
    }

    /// The program called `name`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What the build has made, the programs among it.
    pub fn target(&self) -> &Path {
        self.folder.parent().unwrap_or(&self.folder)
    }
}

fn find_or_build() -> Result<PathBuf> {
    let own = std::env::current_exe().context("where this program is")?;
    let mut folder = own.parent().context("this program is in no folder")?;
    if folder.ends_with("deps") {
        folder = folder.parent().context("this program is in no build folder")?;
    }
    if PROGRAMS.iter().all(|(name, _)| folder.join(name).is_file()) {
        warn_of_older(folder);
        return Ok(folder.to_owned());
    }
    build(folder)?;
    for (name, _) in PROGRAMS {
        let path = folder.join(name);
        ensure!(
            path.is_file(),
            "{} was built elsewhere than beside {}",
            name,
            own.display()
        );
    }
    Ok(folder.to_owned())
}

/// A program that is older than its own sources is tested all the same; whoever wonders at the result is told.
fn warn_of_older(folder: &Path) {
    for (name, package) in PROGRAMS {
        let crate_folder = package.trim_start_matches("baton-");
        let sources = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .join(crate_folder)
            .join("src");
        let built = folder.join(name).metadata().and_then(|program| program.modified());
        if built.is_ok_and(|built| newest(&sources) > Some(built)) {
            eprintln!(
                "note: {name} is older than {crate_folder}/src; to build it anew: cargo build --workspace --bins"
            );
        }
    }
}

/// When something under `folder` was last written; tests are no part of a program.
fn newest(folder: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let entries = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with("tests"));
    entries
        .filter_map(|entry| match entry.file_type().ok()?.is_dir() {
            true => newest(&entry.path()),
            false => entry.metadata().ok()?.modified().ok(),
        })
        .max()
}

/// Two processes that come here at once wait for each other at cargo's own lock.
fn build(folder: &Path) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--bins"]);
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    for (_, package) in PROGRAMS {
        cargo.args(["--package", package]);
    }
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let output = cargo.output().context("cargo does not start")?;
    ensure!(
        output.status.success(),
        "cargo build of the programs failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
