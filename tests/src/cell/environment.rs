//! What a shell needs to work in a cell: links to the programs, and a file that sets its variables.

use std::fmt::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};

use super::programs::LINKS;
use super::{Cell, Places, Programs};

/// Links to the programs under all their names.
pub(super) fn link_programs(places: &Places, programs: &Programs) -> Result<()> {
    let folder = places.programs();
    std::fs::create_dir_all(&folder)?;
    for name in ["baton", "flserver", "fileserver", "batond"] {
        symlink(programs.path(name), folder.join(name))?;
    }
    for name in LINKS {
        symlink(programs.path("baton"), folder.join(name))?;
    }
    Ok(())
}

impl Cell {
    /// Writes `env`, after which `. DIR/env; fts status` works.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_environment(&self) -> Result<()> {
        let seat = self.administrator();
        let mut text = String::new();
        let mut set = |name: &str, value: &Path| -> Result<()> {
            let value = value.to_str().context("the directory's name is no text")?;
            writeln!(text, "export {name}={}", quoted(value)).map_err(Into::into)
        };
        set("BATON_ROOT", seat.root())?;
        set("BATON_USER_DIR", seat.user())?;
        set("BATON_CELL_DIR", self.places().directory())?;
        set("BATON_CELL_PIDS", &self.places().pids())?;
        let programs = self.places().programs();
        let programs = programs.to_str().context("the directory's name is no text")?;
        writeln!(text, "export PATH={}:\"$PATH\"", quoted(programs))?;
        std::fs::write(self.places().environment(), text)?;
        Ok(())
    }
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_survive_a_shell() {
        let path = "/tmp/it's a cell";
        let echo = format!("printf %s {}", quoted(path));
        let output = std::process::Command::new("sh").args(["-c", &echo]).output().unwrap();
        assert_eq!(output.stdout, path.as_bytes());
    }
}
