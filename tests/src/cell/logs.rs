//! What is left of a cell that failed: how every machine was, and the logs.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use super::{Cell, Process, Role};

/// Lines of each log that are shown.
const LINES: usize = 20;

impl Cell {
    /// How every machine is, and how its log ends.
    pub async fn condition(&self) -> String {
        self.states().await.join("\n") + "\n" + &self.log_ends()
    }

    /// How every machine is, in a line.
    pub async fn states(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for machine in self.machines() {
            let Some(program) = machine.role.program() else {
                continue;
            };
            let process = self
                .process(&machine.name)
                .map_or("does not run".to_owned(), process_text);
            let status = match machine.role {
                Role::Flserver => self.status_text(&machine.name).await,
                Role::Fileserver | Role::Client | Role::Desk => String::new(),
            };
            lines.push(format!(
                "{} {program} {}: {process}{status}",
                machine.name, machine.address
            ));
        }
        lines
    }

    async fn status_text(&self, member: &str) -> String {
        match self.status(member).await {
            Ok(status) => {
                let leader = status.leader.map_or("nobody".to_owned(), |leader| leader.to_string());
                format!(
                    "; it follows {leader} in term {}, has applied {}",
                    status.term, status.applied
                )
            }
            Err(error) => format!("; {error:#}"),
        }
    }

    /// The last lines of every log.
    pub fn log_ends(&self) -> String {
        let mut text = String::new();
        for machine in self
            .machines()
            .iter()
            .filter(|machine| machine.role.program().is_some())
        {
            let _ = writeln!(text, "--- log of {}", machine.name);
            for line in self.log_end(&machine.name, LINES) {
                let _ = writeln!(text, "{line}");
            }
        }
        text
    }

    /// The last `count` lines that the daemon of `machine` wrote.
    pub fn log_end(&self, machine: &str, count: usize) -> Vec<String> {
        let log = fs::read(self.places().log(machine)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(count)..]
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// Where the logs are kept if this cell fails: where the next build leaves them alone.
    pub fn kept_logs(&self) -> PathBuf {
        self.programs.target().join("cell-logs").join(&self.test)
    }

    /// Copies the logs there.
    pub(super) fn keep_logs(&self) -> Result<PathBuf> {
        let kept = self.kept_logs();
        if kept.exists() {
            fs::remove_dir_all(&kept)?;
        }
        fs::create_dir_all(&kept)?;
        for machine in self.machines() {
            let log = self.places().log(&machine.name);
            if log.exists() {
                fs::copy(log, kept.join(format!("{}.log", machine.name)))?;
            }
        }
        Ok(kept)
    }
}

fn process_text(process: &Process) -> String {
    match process.state() {
        Some('T') => format!("process {} is stopped", process.pid()),
        Some(_) => format!("process {} runs", process.pid()),
        None => "ended by itself".to_owned(),
    }
}
