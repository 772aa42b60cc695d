//! `deny`: what is built upon, by `deny.toml`.
//!
//! Licences, versions and origins are in the crates themselves. Known holes are in a database of its own, on a host
//! that not every machine reaches; so the test run leaves them out, and the chore that asks for them fails without.

use anyhow::{Context, Result};

use crate::run::run;
use crate::workspace::Workspace;

/// Licences, versions and origins.
pub fn offline(workspace: &Workspace) -> Result<()> {
    println!("(known holes are looked up by `cargo xtask deny`, which fetches the advisory database)");
    check(workspace, &["licenses", "bans", "sources"])
}

/// The same and known holes.
pub fn with_advisories(workspace: &Workspace) -> Result<()> {
    run(workspace, &["cargo", "deny", "fetch", "db"])
        .context("without the advisory database no hole can be looked up; cargo-deny comes by `cargo xtask test`")?;
    check(workspace, &["advisories", "licenses", "bans", "sources"])
}

fn check(workspace: &Workspace, what: &[&str]) -> Result<()> {
    run(
        workspace,
        &[&["cargo", "deny", "check", "--hide-inclusion-graph"], what].concat(),
    )
}
