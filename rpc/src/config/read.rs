//! TOML with errors that name file, line and, for an unknown key, the nearest that there is.

use std::path::Path;

use baton_security::files::{self, Readers};
use baton_types::{Error, Kind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

/// Reads `text`, found at `on`, of which `keys` are all the keys there are, written `table.key`.
pub(super) fn parse<T: DeserializeOwned>(on: &str, text: &str, keys: &[&str]) -> Result<T> {
    let bad = |e: toml::de::Error| at(on, text, e.span().map_or(0, |span| span.start)).because(e.message());
    let table = DeTable::parse(text).map_err(bad)?;
    check_keys(on, text, keys, "", table.get_ref())?;
    toml::from_str(text).map_err(bad)
}

/// Reads the file at `path`, with all the keys there are.
pub(super) fn load<T: DeserializeOwned>(path: &Path, keys: &[&str]) -> Result<T> {
    let on = path.display().to_string();
    let bytes = files::read(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::new(Kind::Invalid, on.clone()).because("not UTF-8"))?;
    parse(&on, text, keys)
}

/// Writes `value` in the place of whatever is at `path`, whole or not at all.
pub(super) fn save(path: &Path, value: &impl Serialize) -> Result<()> {
    let on = || path.display().to_string();
    let text = toml::to_string(value).map_err(|e| Error::new(Kind::Invalid, on()).because(e.to_string()))?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|e| Error::io(parent.display().to_string(), e))?;
    }
    files::replace(path, text.as_bytes(), Readers::All)
}

fn check_keys(on: &str, text: &str, keys: &[&str], prefix: &str, table: &DeTable<'_>) -> Result<()> {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        let inside = format!("{name}.");
        match value.get_ref() {
            _ if keys.contains(&name.as_str()) => {}
            DeValue::Table(table) if keys.iter().any(|known| known.starts_with(&inside)) => {
                check_keys(on, text, keys, &inside, table)?;
            }
            _ => return Err(at(on, text, key.span().start).because(unknown(&name, keys))),
        }
    }
    Ok(())
}

fn unknown(name: &str, keys: &[&str]) -> String {
    let distance = |known: &str| strsim::damerau_levenshtein(name, known);
    let nearest = keys.iter().copied().min_by_key(|known| distance(known));
    let advice = match nearest {
        Some(known) if distance(known) <= known.len() / 2 => format!("the nearest there is: '{known}'"),
        _ => format!("there are: {}", keys.join(", ")),
    };
    format!("unknown key '{}'; {advice}", name.escape_debug())
}

fn at(on: &str, text: &str, offset: usize) -> Error {
    let line = 1 + text.bytes().take(offset).filter(|b| *b == b'\n').count();
    Error::new(Kind::Invalid, format!("{on}, line {line}"))
}
