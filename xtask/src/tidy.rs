//! `tidy`: the rules of the house that no compiler knows.
//!
//! What it forbids today it never allows again. Every rule works on text, so that a test shows it one line that it
//! has to find and one that it has to leave alone. Length of functions, `unwrap` and the like are clippy's business.

mod imports;
mod source;
mod text;

use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::Workspace;

/// Something that must not stay: where, what, and the way out.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// From the root of the repository.
    path: String,
    /// Counted from 1.
    line: usize,
    what: String,
    way_out: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.path, self.line, self.what, self.way_out)
    }
}

/// Goes through the whole repository.
pub fn tidy(workspace: &Workspace) -> Result<()> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let manifest = std::fs::read_to_string(&package.manifest_path)?;
        let path = package.manifest_path.strip_prefix(&workspace.root)?.to_string_lossy();
        let imported = package.dependencies.iter().map(|dependency| dependency.name.as_str());
        findings.extend(imports::check(&package.name, imported, &path, &manifest));
    }
    let files = files(&workspace.root)?;
    for path in &files {
        let text = std::fs::read_to_string(workspace.root.join(path)).with_context(|| path.clone())?;
        findings.extend(source::check(path, &text));
    }
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings in {} files", findings.len(), files.len());
    }
    println!("{} files are tidy", files.len());
    Ok(())
}

/// Our own texts, by git: what is ignored is not ours.
fn files(root: &Path) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root);
    let output = git.output().context("git does not start")?;
    ensure!(
        output.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let listed = String::from_utf8(output.stdout).context("a file's name is no text")?;
    // A file that was deleted and not yet committed is listed still.
    let ours = listed
        .split('\0')
        .filter(|path| source::is_ours(path) && root.join(path).is_file());
    Ok(ours.map(str::to_owned).collect())
}
