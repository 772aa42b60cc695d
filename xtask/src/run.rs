//! `Step`: a command that is shown, carried out and timed.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// A command that runs at the root of the repository.
pub fn command(workspace: &Workspace, words: &[&str]) -> Command {
    let (program, arguments) = words.split_first().expect("a command has a name");
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&workspace.root);
    command
}

/// Shows `words`, carries them out and waits.
///
/// # Errors
/// The command as it could be typed again, if it fails.
pub fn run(workspace: &Workspace, words: &[&str]) -> Result<()> {
    let typed = words.join(" ");
    println!("$ {typed}");
    let status = command(workspace, words)
        .status()
        .with_context(|| format!("{typed} does not start"))?;
    if !status.success() {
        bail!("failed: {typed} ({status})");
    }
    Ok(())
}

/// Does `work` under a heading and says how long it took.
pub fn step(heading: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("\n=== {heading}");
    let began = Instant::now();
    work().with_context(|| heading.to_owned())?;
    println!("=== {heading}: {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// True if `words` can be carried out: the way to ask whether a tool is there.
pub fn works(workspace: &Workspace, words: &[&str]) -> bool {
    command(workspace, words)
        .output()
        .is_ok_and(|output| output.status.success())
}
