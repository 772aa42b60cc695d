//! Results that add up: lines of JSON in a file, so that a long run may end and go on another day.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Appends a line to `results`.
///
/// # Errors
/// When it cannot be written.
pub fn append(results: &Path, line: &impl Serialize) -> Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(results);
    let mut file = file.with_context(|| results.display().to_string())?;
    Ok(writeln!(file, "{}", serde_json::to_string(line)?)?)
}

/// All lines of `results`; none if there is no such file.
///
/// # Errors
/// A line that is none, by its number.
pub fn read<T: DeserializeOwned>(results: &Path) -> Result<Vec<T>> {
    let text = match fs::read_to_string(results) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| results.display().to_string()),
    };
    let lines = text.lines().enumerate();
    let read = lines.map(|(index, line)| {
        serde_json::from_str(line).with_context(|| format!("{}, line {}", results.display(), index + 1))
    });
    read.collect()
}
