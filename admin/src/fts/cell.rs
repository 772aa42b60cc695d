//! `fts cell show` and `set`: the settings of the cell.

use std::time::Duration;

use baton_rpc::fldb::{Freshness, Query};
use baton_types::change::Change;
use baton_types::record::{Cell, Record, Table};
use baton_types::units::format_duration;
use baton_types::{Error, Kind, Result};
use serde_json::json;

use crate::output::{Output, printable};
use crate::session::Session;

/// Prints them.
pub async fn show(session: &Session) -> Result<Output> {
    let client = session.client()?;
    let query = Query::tables(&[Table::Cell], Freshness::Linearizable);
    let listing = session.list(&client, query).await?;
    let cell = listing.records.into_iter().find_map(|record| match record {
        Record::Cell(cell) => Some(cell),
        _ => None,
    });
    let cell =
        cell.ok_or_else(|| Error::new(Kind::NotFound, "cell").because("the location database holds none yet"))?;
    Ok(Output::new("baton.fts.cell.show/1", print(&cell), to_json(&cell)))
}

/// Changes one, and prints it as it is now.
pub async fn set(session: &Session, key: String, value: String) -> Result<Output> {
    let change = Change::SetCell {
        key: key.clone(),
        value,
    };
    let Some(Record::Cell(cell)) = session.client()?.change(change).await?.record else {
        return Err(Error::new(Kind::Damaged, "cell").because("the location database answered something else"));
    };
    let now = settings(&cell).into_iter().find(|(name, _)| *name == key);
    let text = now
        .map(|(name, value)| format!("{name} = {value}\n"))
        .unwrap_or_default();
    Ok(Output::new("baton.fts.cell.set/1", text, to_json(&cell)))
}

/// By the names under which they are set.
fn settings(cell: &Cell) -> Vec<(&'static str, String)> {
    let duration = |seconds| format_duration(Duration::from_secs(seconds));
    let millis = |millis| format_duration(Duration::from_millis(millis));
    vec![
        ("description", printable(&cell.description)),
        ("auth", printable(&cell.auth.join(","))),
        ("invitation-lifetime", duration(cell.invitation_seconds)),
        ("host-certificate-lifetime", duration(cell.host_certificate_seconds)),
        ("user-certificate-lifetime", duration(cell.user_certificate_seconds)),
        ("lock-lifetime", duration(cell.entry_lock_seconds)),
        ("suspect-after", millis(cell.patience.suspect_millis)),
        ("dead-after", millis(cell.patience.dead_millis)),
        ("isolated-after", millis(cell.patience.isolated_millis)),
        ("fail-back", fail_back(cell).to_owned()),
        ("fail-back-after", duration(cell.fail_back.after_seconds)),
        (
            "fail-back-window",
            cell.fail_back
                .window
                .map_or_else(|| "any".to_owned(), |window| window.to_string()),
        ),
    ]
}

fn fail_back(cell: &Cell) -> &'static str {
    if cell.fail_back.is_auto { "auto" } else { "manual" }
}

fn print(cell: &Cell) -> String {
    let settings = settings(cell);
    let width = settings.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| format!("  {}\n", format!("{name:<width$}  {value}").trim_end());
    let lines: String = settings.iter().map(line).collect();
    format!("{} ({})\n{lines}", cell.name, cell.id)
}

fn to_json(cell: &Cell) -> serde_json::Value {
    json!({
        "cell": cell.name,
        "id": cell.id.to_string(),
        "description": cell.description,
        "auth": cell.auth,
        "invitation_seconds": cell.invitation_seconds,
        "host_certificate_seconds": cell.host_certificate_seconds,
        "user_certificate_seconds": cell.user_certificate_seconds,
        "lock_seconds": cell.entry_lock_seconds,
        "suspect_millis": cell.patience.suspect_millis,
        "dead_millis": cell.patience.dead_millis,
        "isolated_millis": cell.patience.isolated_millis,
        "fail_back": fail_back(cell),
        "fail_back_after_seconds": cell.fail_back.after_seconds,
        "fail_back_window": cell.fail_back.window.map(|window| window.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_types::record::{FailBack, Patience};
    use baton_types::{CellId, CellName};
    use uuid::Uuid;

    #[test]
    fn settings_are_printed_as_they_are_set() {
        let cell = Cell {
            id: CellId(Uuid::from_u128(1)),
            name: CellName::parse("example.org").unwrap(),
            description: String::new(),
            auth: vec!["cert".to_owned(), "host-trust".to_owned()],
            invitation_seconds: 900,
            host_certificate_seconds: 30 * 86_400,
            user_certificate_seconds: 36 * 3_600,
            entry_lock_seconds: 8 * 3_600,
            patience: Patience::default(),
            fail_back: FailBack {
                is_auto: true,
                after_seconds: 600,
                window: Some("22:00-06:00".parse().unwrap()),
            },
        };
        assert_eq!(
            print(&cell),
            "example.org (00000000-0000-0000-0000-000000000001)\n\
             \x20 description\n\
             \x20 auth                       cert,host-trust\n\
             \x20 invitation-lifetime        15m\n\
             \x20 host-certificate-lifetime  30d\n\
             \x20 user-certificate-lifetime  1d12h\n\
             \x20 lock-lifetime              8h\n\
             \x20 suspect-after              600ms\n\
             \x20 dead-after                 1s\n\
             \x20 isolated-after             2s\n\
             \x20 fail-back                  auto\n\
             \x20 fail-back-after            10m\n\
             \x20 fail-back-window           22:00-06:00\n"
        );
        assert_eq!(to_json(&cell)["auth"], json!(["cert", "host-trust"]));
    }
}
