//! `Workspace`: where this repository is and what its crates import, as cargo tells it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The part of `cargo metadata` that matters here.
#[derive(Deserialize)]
pub struct Workspace {
    /// The folder of the repository.
    #[serde(rename = "workspace_root")]
    pub root: PathBuf,
    /// Where cargo puts what it builds.
    #[serde(rename = "target_directory")]
    pub target: PathBuf,
    /// Our own crates.
    pub packages: Vec<Package>,
}

/// One crate of ours.
#[derive(Deserialize)]
pub struct Package {
    /// As in its Cargo.toml.
    pub name: String,
    /// Its Cargo.toml.
    pub manifest_path: PathBuf,
    /// What it imports, for itself, its tests or its build.
    pub dependencies: Vec<Dependency>,
}

/// One import of a crate.
#[derive(Deserialize)]
pub struct Dependency {
    /// The crate imported.
    pub name: String,
}

impl Workspace {
    /// Asks cargo.
    pub fn read() -> Result<Workspace> {
        let mut cargo = Command::new("cargo");
        cargo.args(["metadata", "--format-version", "1", "--no-deps"]);
        let output = cargo.output().context("cargo metadata does not start")?;
        ensure!(
            output.status.success(),
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).context("cargo metadata prints something new")
    }
}
