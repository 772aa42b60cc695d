//! `test`: everything that is asked of a change, cheapest first, up to the first failure.
//!
//! Two compilations of everything, no more: clippy's, which makes no code, and one of all targets of the workspace at
//! once, so that tests, examples and simulations share each dependency with the same features.

use std::time::{SystemTime, UNIX_EPOCH};

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

/// Rounds of the nemesis; `cargo xtask faults nemesis` plays as many as one likes.
const FAULT_ROUNDS: u64 = 3;
/// Seeds from one day to the next: more than anybody plays in a day.
const FAULTS_PER_DAY: u64 = 10_000;
const SECONDS_PER_DAY: u64 = 86_400;

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
    step("faults drawn at random", || faults(workspace))?;
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

/// Others each day, and the same ones for whoever repeats the day's run.
fn faults(workspace: &Workspace) -> Result<()> {
    if !tools::is_root()? {
        println!("*** NOT RUN: mounts, and networks of their own, are for root alone ***");
        return Ok(());
    }
    let today = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / SECONDS_PER_DAY;
    let seed = (today * FAULTS_PER_DAY).to_string();
    let harness = path(workspace, Profile::Dev, "harness");
    let harness = harness.to_str().context("the path of the build folder is no text")?;
    let rounds = FAULT_ROUNDS.to_string();
    run(
        workspace,
        &[harness, "faults", "nemesis", "--rounds", &rounds, "--seed", &seed],
    )
}

fn simulation(workspace: &Workspace, name: &str, seeds: &str) -> Result<()> {
    let sim = path(workspace, Profile::Dev, "sim");
    let sim = sim.to_str().context("the path of the build folder is no text")?;
    run(workspace, &[sim, name, "--seeds", seeds])
}
