//! `test`: everything that is asked of a change, cheapest first, up to the first failure.
//!
//! Two compilations of everything, no more: clippy's, which makes no code, and one of all targets of the workspace at
//! once, so that tests, examples and simulations share each dependency with the same features.

use anyhow::{Context, Result};

use crate::programs::{Profile, path};
use crate::run::{run, step, works};
use crate::workspace::Workspace;
use crate::{deny, tidy, tools};

/// Simulations, and how many histories of each: what a promise of the location database, sessions or the store rests on.
const SIMULATIONS: [(&str, &str); 7] = [
    ("arbiter", "2000"),
    ("fldb", "2000"),
    ("fldb-state", "20000"),
    ("session", "2000"),
    ("store", "2000"),
    ("store-fence", "5000"),
    ("store-owners", "2000"),
];

/// Checks everything.
pub fn test(workspace: &Workspace) -> Result<()> {
    let cargo = |words: &[&str]| run(workspace, &[&["cargo"], words].concat());
    step("tools", || tools::ensure_all(workspace))?;
    step("layout of the code", || cargo(&["fmt", "--all", "--check"]))?;
    step("rules of the house", || tidy::tidy(workspace))?;
    step("what is built upon", || deny::offline(workspace))?;
    step("lints", || {
        cargo(&[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ])
    })?;
    step("build", || cargo(&["build", "--quiet", "--workspace", "--all-targets"]))?;
    step("tests", || tests(workspace))?;
    step("examples in docs", || {
        cargo(&["test", "--quiet", "--workspace", "--doc"])
    })?;
    for (name, seeds) in SIMULATIONS {
        step(&format!("simulation {name}"), || simulation(workspace, name, seeds))?;
    }
    println!("\nall checks passed");
    Ok(())
}

fn tests(workspace: &Workspace) -> Result<()> {
    if works(workspace, &["cargo", "nextest", "--version"]) {
        return run(workspace, &["cargo", "nextest", "run", "--workspace"]);
    }
    println!("(cargo-nextest would run them side by side: cargo install cargo-nextest --locked)");
    run(
        workspace,
        &["cargo", "test", "--workspace", "--lib", "--bins", "--tests"],
    )
}

fn simulation(workspace: &Workspace, name: &str, seeds: &str) -> Result<()> {
    let sim = path(workspace, Profile::Dev, "sim");
    let sim = sim.to_str().context("the path of the build folder is no text")?;
    run(workspace, &[sim, name, "--seeds", seeds])
}
