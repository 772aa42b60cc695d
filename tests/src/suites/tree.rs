//! A real tree: the sources of everything that Baton is built upon, some ten thousand files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Fewer would be no real tree.
const FILES_MIN: usize = 5_000;

/// What is compared of a file.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    Directory,
    Symlink(PathBuf),
    File { mode: u32, size: u64, hash: blake3::Hash },
}

/// Copies the tree to `first/tree`, and compares it by `last`, the same directory as another mount shows it.
///
/// # Errors
/// The first difference.
pub fn copy_and_compare(first: &Path, last: &Path) -> Result<String> {
    let target = first.join("tree");
    let sources = sources()?;
    fs::create_dir(&target)?;
    for source in &sources {
        let name = source.file_name().context("a package lies in a folder")?;
        copy(source, &target.join(name))?;
    }
    let mut files = 0;
    for source in &sources {
        let name = source.file_name().context("a package lies in a folder")?;
        files += compare(source, &last.join("tree").join(name))?;
    }
    ensure!(files >= FILES_MIN, "only {files} files were there to be copied");
    Ok(format!("{files} files copied in, and the same by the other mount"))
}

/// The folders of all packages that Baton is built upon.
///
/// # Errors
/// When cargo does not say.
pub fn sources() -> Result<Vec<PathBuf>> {
    // What only other systems build upon was not downloaded for the build: then it is now.
    let words = ["metadata", "--format-version", "1", "--locked"];
    let output = Command::new("cargo")
        .args(words)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .context("cargo does not start")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo names no packages")?;
    let foreign = packages.iter().filter(|package| !package["source"].is_null());
    let mut folders: Vec<PathBuf> = foreign
        .filter_map(|package| package["manifest_path"].as_str())
        .filter_map(|path| Path::new(path).parent().map(Path::to_owned))
        .collect();
    folders.sort();
    Ok(folders)
}

/// Copies a folder with all in it.
///
/// # Errors
/// The first thing that cannot be copied.
pub fn copy(source: &Path, target: &Path) -> Result<()> {
    let failed = || target.display().to_string();
    fs::create_dir(target).with_context(failed)?;
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let (kind, path, to) = (entry.file_type()?, entry.path(), target.join(entry.file_name()));
        if kind.is_dir() {
            copy(&path, &to)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&path)?, &to).with_context(failed)?;
        } else {
            fs::copy(&path, &to).with_context(|| to.display().to_string())?;
        }
    }
    Ok(())
}

fn listing(root: &Path) -> Result<BTreeMap<PathBuf, Entry>> {
    let mut all = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path).with_context(|| path.display().to_string())?;
            let seen = if metadata.is_dir() {
                open.push(path.clone());
                Entry::Directory
            } else if metadata.is_symlink() {
                Entry::Symlink(fs::read_link(&path)?)
            } else {
                let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
                Entry::File {
                    mode: metadata.mode() & 0o777,
                    size: metadata.size(),
                    hash: blake3::hash(&bytes),
                }
            };
            all.insert(path.strip_prefix(root)?.to_owned(), seen);
        }
    }
    Ok(all)
}

/// Compares a folder with its copy: how many are the same.
///
/// # Errors
/// The first difference.
pub fn compare(source: &Path, copied: &Path) -> Result<usize> {
    let (there, seen) = (listing(source)?, listing(copied)?);
    for (path, entry) in &there {
        match seen.get(path) {
            Some(same) if same == entry => {}
            other => bail!(
                "{}: {entry:?} was copied, {other:?} is seen",
                source.join(path).display()
            ),
        }
    }
    ensure!(
        seen.len() == there.len(),
        "{}: {} names were copied, {} are seen",
        source.display(),
        there.len(),
        seen.len()
    );
    Ok(there.len())
}
