//! A test in a network and a mount table of its own: what it cuts and mounts is nobody else's, and ends with it.
//!
//! The test calls itself again, under `unshare`. Only root may; elsewhere such a test says loudly that it did not run.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Set in the inner process, to the test's name: its thread there has another.
const INSIDE: &str = "BATON_TEST_ISOLATED";

/// What is a process's own, as `unshare` has it.
const UNSHARED: [&str; 5] = ["--net", "--mount", "--propagation", "private", "--"];

/// The test that runs in this thread, if one does.
pub(super) fn test_name() -> String {
    let thread = std::thread::current();
    let inside = std::env::var(INSIDE).ok();
    inside.or_else(|| thread.name().map(str::to_owned)).unwrap_or_default()
}

/// True if the caller is to go on: it is the inner process. Else the inner process has run, and succeeded, or the
/// machine does not allow it, which was said.
///
/// # Errors
/// What the inner process said, if it failed.
pub fn isolated(test: &str) -> Result<bool> {
    if std::env::var_os(INSIDE).is_some() {
        run("ip", &["link", "set", "lo", "up"])?;
        return Ok(true);
    }
    if !may_isolate() {
        eprintln!("\n*** {test} DID NOT RUN: it needs root, unshare, ip and nft ***\n");
        return Ok(false);
    }
    let own = std::env::current_exe().context("where this test is")?;
    let mut inner = Command::new("setpriv");
    inner.args(["--pdeathsig", "KILL", "--", "unshare"]).args(UNSHARED);
    inner
        .arg(own)
        .args(["--exact", test, "--nocapture", "--test-threads", "1"]);
    let output = inner
        .env(INSIDE, test)
        .stdin(Stdio::null())
        .output()
        .context("setpriv does not start")?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "within its own network:\n{said}");
    ensure!(said.contains("1 passed"), "no test is called {test}:\n{said}");
    Ok(false)
}

/// Has a program go on in a network and a mount table of its own: it calls itself again, as `name`.
///
/// # Errors
/// When the machine does not allow it.
pub fn isolate(name: &str) -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return run("ip", &["link", "set", "lo", "up"]).map(drop);
    }
    ensure!(may_isolate(), "{name} needs root, unshare, ip and nft");
    let own = std::env::current_exe().context("where this program is")?;
    let mut inner = Command::new("unshare");
    inner.args(UNSHARED).arg(own).args(std::env::args_os().skip(1));
    Err(inner.env(INSIDE, name).exec()).context("unshare does not start")
}

fn may_isolate() -> bool {
    rustix::process::geteuid().is_root() && run("nft", &["--version"]).is_ok()
}

/// Runs a tool of the system.
///
/// # Errors
/// What it said, if it failed.
pub fn run(program: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(program).args(words).output();
    let output = output.with_context(|| format!("{program} does not start"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {said}", words.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
