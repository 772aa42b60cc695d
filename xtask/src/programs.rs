//! Programs of this repository, built and then called with the caller's own words.
//!
//! They are built over the whole workspace: built one by one, each would want its dependencies with other features,
//! and those would be compiled again. `xtask` then becomes the program: exit code and signals are the program's own.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::run::run;
use crate::workspace::Workspace;

/// How a program is built.
#[derive(Clone, Copy)]
pub enum Profile {
    /// For tests: quickly.
    Dev,
    /// For measurements: as it is shipped.
    Release,
}

impl Profile {
    fn flags(self) -> &'static [&'static str] {
        match self {
            Profile::Dev => &[],
            Profile::Release => &["--release"],
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Profile::Dev => "debug",
            Profile::Release => "release",
        }
    }
}

/// Where the program `name` is once it is built.
pub fn path(workspace: &Workspace, profile: Profile, name: &str) -> PathBuf {
    workspace.target.join(profile.folder()).join(name)
}

/// Builds all programs, daemons included, and becomes `name`.
pub fn become_program(workspace: &Workspace, profile: Profile, name: &str, words: &[OsString]) -> Result<()> {
    run_build(workspace, profile, &["--bins"])?;
    replace(workspace, profile, name, words)
}

/// Builds the program `name` alone, which needs no daemon, and becomes it.
pub fn become_only(workspace: &Workspace, profile: Profile, name: &str, words: &[OsString]) -> Result<()> {
    run_build(workspace, profile, &["--bin", name])?;
    replace(workspace, profile, name, words)
}

/// Builds all programs and becomes the harness with `chore` before `words`.
pub fn become_harness(workspace: &Workspace, chore: &str, mut words: Vec<OsString>) -> Result<()> {
    words.insert(0, chore.into());
    become_program(workspace, Profile::Dev, "harness", &words)
}

fn run_build(workspace: &Workspace, profile: Profile, what: &[&str]) -> Result<()> {
    let build = ["cargo", "build", "--quiet", "--workspace", "--exclude", "xtask"];
    run(workspace, &[&build, profile.flags(), what].concat())
}

fn replace(workspace: &Workspace, profile: Profile, name: &str, words: &[impl AsRef<OsStr>]) -> Result<()> {
    let path = path(workspace, profile, name);
    Err(Command::new(&path).args(words).exec()).with_context(|| format!("{} does not start", path.display()))
}
