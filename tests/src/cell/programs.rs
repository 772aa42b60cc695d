//! The programs of a cell: found beside the running one, built first where they are missing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

/// What a cell runs, and the crate each is in.
const PROGRAMS: [(&str, &str); 3] = [
    ("flserver", "baton-flserver"),
    ("fileserver", "baton-fileserver"),
    ("baton", "baton-admin"),
];

/// Other names of `baton`, under which a person calls it.
pub const LINKS: [&str; 7] = ["fts", "dfsexport", "newaggr", "growaggr", "salvage", "cm", "acl"];

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
