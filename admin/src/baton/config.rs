//! `baton config show`: every setting of this machine, and where it comes from.

use baton_rpc::config::{CellFile, Config, Origin, Setting, env};
use baton_types::{CellName, Result};
use serde_json::{Value, json};

use crate::output::{Output, table};
use crate::session::Session;

/// Needs no cell and no server.
pub fn show(session: &Session) -> Result<Output> {
    let settings = Config::settings(&session.paths, &env)?;
    let cells = CellFile::list(&session.paths)?;
    let named = session.standard.cell.as_ref();
    Ok(output(session, &settings, named, &cells))
}

fn output(session: &Session, settings: &[Setting], named: Option<&CellName>, cells: &[CellName]) -> Output {
    let shown: Vec<(&str, String, String)> = settings
        .iter()
        .map(|setting| match named.filter(|_| setting.key == "cell") {
            Some(cell) => (setting.key, format!("\"{cell}\""), "-cell".to_owned()),
            None => {
                let value = setting.value.clone().unwrap_or_else(|| "none".to_owned());
                (setting.key, value, origin(&setting.origin))
            }
        })
        .collect();
    let rows = shown
        .iter()
        .map(|(key, value, from)| vec![(*key).to_owned(), value.clone(), from.clone()]);
    let names: Vec<_> = cells.iter().map(CellName::as_str).collect();
    let text = format!(
        "{}\nEverything lies under {}; the cells known here: {}.\n",
        table(&["SETTING", "VALUE", "FROM"], rows),
        session.paths.root().display(),
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        },
    );
    let settings: Vec<Value> = shown
        .iter()
        .map(|(key, value, from)| json!({ "key": key, "value": value, "from": from }))
        .collect();
    let json = json!({ "root": session.paths.root(), "settings": settings, "cells": cells });
    Output::new("baton.config.show/1", text, json)
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Variable(name) => (*name).to_owned(),
        Origin::File(path) => path.display().to_string(),
        Origin::Default => "default".to_owned(),
    }
}
