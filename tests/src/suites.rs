//! What other people wrote to try file systems, and everyday programs, run in a mounted cell.
//!
//! Each suite works in a directory that one or two mounts of one fileset show, and ends with a line that counts.

mod consistency;
mod everyday;
mod pjdfstest;
mod restarts;
mod stage;
mod tree;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

pub use consistency::{Server, consistency};
pub use pjdfstest::{Expected, Report};
pub use restarts::kill_again_and_again;
pub use stage::Stage;
pub use tree::{compare, copy, copy_and_compare, sources};

/// The suites by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// POSIX, as root whom the servers believe.
    Pjdfstest,
    /// The same, as root whom they do not.
    PjdfstestPlain,
    /// Random reads, writes, truncates and maps of one file; then of two through two mounts.
    Fsx,
    /// A tree of real files copied in, and compared by the second mount.
    Tree,
    /// `git clone` and `git fsck` of that tree.
    Git,
    /// There and back by `tar` and by `rsync`.
    Archives,
    /// A database.
    Sqlite,
    /// `fio`, which verifies what it wrote.
    Fio,
}

impl Suite {
    /// All of them.
    pub const ALL: [(&str, Suite); 8] = [
        ("pjdfstest", Suite::Pjdfstest),
        ("pjdfstest-plain", Suite::PjdfstestPlain),
        ("fsx", Suite::Fsx),
        ("tree", Suite::Tree),
        ("git", Suite::Git),
        ("archives", Suite::Archives),
        ("sqlite", Suite::Sqlite),
        ("fio", Suite::Fio),
    ];

    /// Runs it in the directories of `stage`; says what was counted.
    ///
    /// # Errors
    /// The first thing that was not as it should be.
    pub fn run(self, stage: &Stage, size: u64) -> Result<String> {
        match self {
            Suite::Pjdfstest | Suite::PjdfstestPlain => pjdfstest::run(stage, self),
            Suite::Fsx => everyday::fsx(stage, size),
            Suite::Tree => copy_and_compare(stage.first(), stage.last()),
            Suite::Git => everyday::git(stage),
            Suite::Archives => everyday::archives(stage),
            Suite::Sqlite => everyday::sqlite(stage),
            Suite::Fio => everyday::fio(stage),
        }
    }
}

/// Runs a program in `directory`; what it printed, if it succeeded.
fn program(directory: &Path, words: &[&str]) -> Result<String> {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(directory);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("LC_ALL", "C");
    let output = command
        .output()
        .with_context(|| format!("{} does not start; is it installed?", words[0]))?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(
        output.status.success(),
        "'{}' ended with {}:\n{}",
        words.join(" "),
        output.status,
        tail(&said)
    );
    Ok(said)
}

/// The end of a long text.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
