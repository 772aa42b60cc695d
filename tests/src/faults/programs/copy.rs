//! `Copier`: a tree copied in, compared by another mount, and removed again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Count, Meter, Program};
use crate::suites::{compare, copy};

/// A real tree of some dozen files, there wherever this is built.
const TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../types/src");

pub(super) struct Copier {
    own: PathBuf,
    other: PathBuf,
    rounds: u64,
    compared: u64,
}

impl Copier {
    /// Copies to `own`, and compares in `other`: the same directory as another mount shows it.
    pub(super) fn begin(own: &Path, other: &Path) -> Result<Copier> {
        Ok(Copier {
            own: own.to_owned(),
            other: other.to_owned(),
            rounds: 0,
            compared: 0,
        })
    }

    fn name(&self) -> String {
        format!("tree-{}", self.rounds)
    }
}

impl Program for Copier {
    fn step(&mut self, _: &Meter) -> Result<()> {
        let before = self.own.join(self.name());
        self.rounds += 1;
        let name = self.name();
        copy(Path::new(TREE), &self.own.join(&name))?;
        self.compared += compare(Path::new(TREE), &self.other.join(&name))? as u64;
        if self.rounds > 1 {
            fs::remove_dir_all(&before).with_context(|| before.display().to_string())?;
        }
        Ok(())
    }

    /// What was compared was found; the last copy is the only one, and as it was.
    fn audit(&self, elsewhere: &Path) -> Result<Count> {
        let mut count = Count {
            promised: self.compared,
            found: self.compared,
            ..Count::default()
        };
        for entry in fs::read_dir(elsewhere)? {
            let name = entry?.file_name();
            let is_other = name
                .to_str()
                .is_some_and(|name| name.starts_with("tree-") && name != self.name());
            count.damaged += u64::from(is_other);
        }
        if self.rounds > 0 {
            compare(Path::new(TREE), &elsewhere.join(self.name()))?;
        }
        Ok(count)
    }
}
