//! Every setting, its value, and where that comes from.

use std::path::PathBuf;

use baton_types::{Error, Kind, Result};

use super::{Config, Env, KEYS, Paths};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This variable of the environment.
    Variable(&'static str),
    /// This file.
    File(PathBuf),
    /// Nobody said otherwise.
    Default,
}

/// One setting of this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// As in `baton.toml`: `table.key`.
    pub key: &'static str,
    /// As in `baton.toml`; `None` where there is none.
    pub value: Option<toml::Value>,
    /// Why it is so.
    pub origin: Origin,
}

impl Config {
    /// All settings, as [`Config::load`] would find them.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn settings(paths: &Paths, env: Env<'_>) -> Result<Vec<Setting>> {
        let path = paths.config();
        let in_file: toml::Table = match super::read::load(&path, KEYS) {
            Err(e) if e.kind == Kind::NotFound => toml::Table::new(),
            result => result?,
        };
        let bad = |e: toml::ser::Error| Error::new(Kind::Invalid, "baton.toml").because(e.to_string());
        let values = toml::Table::try_from(Config::load(paths, env)?).map_err(bad)?;
        let origin = |key: &str| match variable_of(key).filter(|name| env(name).is_some()) {
            Some(name) => Origin::Variable(name),
            None if find(&in_file, key).is_some() => Origin::File(path.clone()),
            None => Origin::Default,
        };
        let setting = |key: &&'static str| Setting {
            key,
            value: find(&values, key).cloned(),
            origin: origin(key),
        };
        Ok(KEYS.iter().map(setting).collect())
    }
}

/// The variable that goes before the file.
fn variable_of(key: &str) -> Option<&'static str> {
    match key {
        "cell" => Some("BATON_CELL"),
        "flserver.listen" | "fileserver.listen" => Some("BATON_LISTEN"),
        _ => None,
    }
}

fn find<'a>(table: &'a toml::Table, key: &str) -> Option<&'a toml::Value> {
    match key.split_once('.') {
        Some((first, rest)) => find(table.get(first)?.as_table()?, rest),
        None => table.get(key),
    }
}
