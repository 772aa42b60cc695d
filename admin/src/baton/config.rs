//! `baton config show`: every setting of this machine, and where it comes from.

use std::path::Path;

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
    let rows: Vec<Row> = settings.iter().map(|setting| row(setting, named)).collect();
    Ok(output(session.paths.root(), &rows, &cells))
}

struct Row {
    key: &'static str,
    value: Option<toml::Value>,
    from: String,
}

/// What was said on the command line goes before the rest.
fn row(setting: &Setting, named: Option<&CellName>) -> Row {
    let (value, from) = match (named.filter(|_| setting.key == "cell"), &setting.origin) {
        (Some(cell), _) => (Some(cell.to_string().into()), "-cell".to_owned()),
        (None, Origin::Variable(name)) => (setting.value.clone(), (*name).to_owned()),
        (None, Origin::File(path)) => (setting.value.clone(), path.display().to_string()),
        (None, Origin::Default) => (setting.value.clone(), "default".to_owned()),
    };
    Row {
        key: setting.key,
        value,
        from,
    }
}

fn output(root: &Path, rows: &[Row], cells: &[CellName]) -> Output {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    let line = |row: &Row| {
        let value = or_none(row.value.as_ref().map(ToString::to_string));
        vec![row.key.to_owned(), value, row.from.clone()]
    };
    let names: Vec<_> = cells.iter().map(CellName::as_str).collect();
    let text = format!(
        "{}\nEverything lies under {}; the cells known here: {}.\n",
        table(&["SETTING", "VALUE", "FROM"], rows.iter().map(line)),
        root.display(),
        or_none((!names.is_empty()).then(|| names.join(", "))),
    );
    let setting = |row: &Row| json!({ "key": row.key, "value": row.value, "from": row.from });
    let settings: Vec<Value> = rows.iter().map(setting).collect();
    let json = json!({ "root": root, "settings": settings, "cells": cells });
    Output::new("baton.config.show/1", text, json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(key: &'static str, value: Option<toml::Value>, origin: Origin) -> Setting {
        Setting { key, value, origin }
    }

    #[test]
    fn every_setting_says_where_it_comes_from() {
        let cell = CellName::parse("example.org").unwrap();
        let settings = [
            setting("cell", None, Origin::Default),
            setting(
                "limits.connections_per_address",
                Some(7.into()),
                Origin::File("/b.toml".into()),
            ),
            setting(
                "flserver.listen",
                Some(vec!["127.0.0.11"].into()),
                Origin::Variable("BATON_LISTEN"),
            ),
        ];
        let rows: Vec<Row> = settings.iter().map(|setting| row(setting, None)).collect();
        let shown = output(Path::new("/"), &rows, &[]);
        assert_eq!(
            shown.text,
            "SETTING                         VALUE           FROM\n\
             cell                            none            default\n\
             limits.connections_per_address  7               /b.toml\n\
             flserver.listen                 [\"127.0.0.11\"]  BATON_LISTEN\n\
             \n\
             Everything lies under /; the cells known here: none.\n"
        );
        assert_eq!(
            shown.json["settings"][2],
            json!({ "key": "flserver.listen", "value": ["127.0.0.11"], "from": "BATON_LISTEN" })
        );
        let named = row(&settings[0], Some(&cell));
        assert_eq!(
            (named.value, named.from.as_str()),
            (Some("example.org".into()), "-cell")
        );
    }
}
