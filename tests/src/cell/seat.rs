//! Where commands are typed, and by whom: a machine's root, a person's identity, the programs by their names.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::process::clean;

/// Whether commands are shown as they would be typed, and what they answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// On standard output.
    Commands,
    /// Nothing.
    Nothing,
}

/// A person at a machine.
#[derive(Clone, Debug)]
pub struct Seat {
    pub(super) machine: String,
    pub(super) root: PathBuf,
    pub(super) user: PathBuf,
    pub(super) programs: PathBuf,
    pub(super) show: Show,
}

/// What a command answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// As it was typed.
    pub typed: String,
    /// All of standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
    /// -1 if a signal ended it.
    pub code: i32,
}

impl Seat {
    /// `BATON_ROOT` here.
    pub fn root(&self) -> &PathBuf {
        &self.root
    }

    /// The person's own directory.
    pub fn user(&self) -> &PathBuf {
        &self.user
    }

    /// Types `baton` and `words`.
    ///
    /// # Errors
    /// When the program does not start; whatever it answers is no error.
    pub fn baton(&self, words: &[&str]) -> Result<Output> {
        self.run("baton", words)
    }

    /// Types `fts` and `words`.
    ///
    /// # Errors
    /// When the program does not start.
    pub fn fts(&self, words: &[&str]) -> Result<Output> {
        self.run("fts", words)
    }

    /// A command as it would be started, for those who want its output while it runs.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        clean(&mut command);
        command.env("BATON_ROOT", &self.root).env("BATON_USER_DIR", &self.user);
        command
    }

    /// Types `dfsexport` and `words`.
    ///
    /// # Errors
    /// When the program does not start.
    pub fn dfsexport(&self, words: &[&str]) -> Result<Output> {
        self.run("dfsexport", words)
    }

    /// Types the name of a program and `words`.
    ///
    /// # Errors
    /// When the program does not start.
    pub fn run(&self, program: &str, words: &[&str]) -> Result<Output> {
        let typed = format!("{program} {}", words.join(" "));
        if self.show == Show::Commands {
            println!("{}$ {}", self.machine, shortened(&typed));
        }
        let output = self.command(program).args(words).output();
        let output = output.with_context(|| format!("{program} does not start"))?;
        let output = Output {
            typed,
            stdout: String::from_utf8(output.stdout).context("standard output is no UTF-8")?,
            stderr: String::from_utf8(output.stderr).context("standard error is no UTF-8")?,
            code: output.status.code().unwrap_or(-1),
        };
        if self.show == Show::Commands {
            for line in output.stdout.lines().chain(output.stderr.lines()) {
                println!("{}", shortened(line));
            }
        }
        Ok(output)
    }
}

impl Output {
    /// Standard output of a command that must have succeeded.
    ///
    /// # Errors
    /// All that it said, if it did not.
    pub fn done(self) -> Result<String> {
        ensure!(self.code == 0, "{self}");
        Ok(self.stdout)
    }

    /// Standard error of a command that must have failed with `code`, saying each of `words`.
    ///
    /// # Errors
    /// All that it said, if it did not fail so.
    pub fn refused(self, code: i32, words: &[&str]) -> Result<String> {
        if self.code != code {
            bail!("exit code {code} was to come: {self}");
        }
        for word in words {
            ensure!(self.stderr.contains(word), "'{word}' was to be said: {self}");
        }
        Ok(self.stderr)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "'{}' ended with exit code {}", shortened(&self.typed), self.code)?;
        write!(f, "{}{}", self.stdout, self.stderr)
    }
}

/// A line without the middle of what nobody reads: tokens are long, and secret besides.
fn shortened(line: &str) -> String {
    let short = |word: &str| match word.char_indices().nth(64) {
        Some(_) => {
            let end = word.char_indices().nth(24).map_or(word.len(), |(at, _)| at);
            format!("{}...", &word[..end])
        }
        None => word.to_owned(),
    };
    line.split(' ').map(short).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(code: i32) -> Output {
        Output {
            typed: "fts lsfldb".to_owned(),
            stdout: "nothing\n".to_owned(),
            stderr: "fts: no quorum\n".to_owned(),
            code,
        }
    }

    #[test]
    fn output_is_judged_by_code_and_words() {
        assert_eq!(output(0).done().unwrap(), "nothing\n");
        let error = output(5).done().unwrap_err().to_string();
        assert!(error.contains("exit code 5") && error.contains("no quorum"), "{error}");
        assert!(output(5).refused(5, &["no quorum"]).is_ok());
        assert!(output(1).refused(5, &["no quorum"]).is_err());
        assert!(output(5).refused(5, &["denied"]).is_err());
    }

    #[test]
    fn tokens_are_shown_by_their_beginning() {
        let token = "baton1".repeat(20);
        assert_eq!(
            shortened(&format!("baton join {token}")),
            "baton join baton1baton1baton1baton1..."
        );
        assert_eq!(shortened("fts  status"), "fts  status");
    }
}
