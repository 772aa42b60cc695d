//! `fts hold`, `fts unhold`: whether anybody may become owner of an aggregate.

use baton_types::change::{AggregateRef, Change};
use baton_types::record::Record;
use baton_types::{Error, Kind, Result};
use serde_json::json;

use crate::output::Output;
use crate::session::Session;

/// Holds it, if there is a reason, which may be empty; or holds it no more.
pub async fn hold(session: &Session, aggregate: AggregateRef, why: Option<String>) -> Result<Output> {
    let client = session.client()?;
    let changed = client.change(Change::SetHeld { aggregate, why }).await?;
    let Some(Record::Aggregate(aggregate)) = changed.record else {
        return Err(Error::new(Kind::Damaged, "aggregate").because("the location database answered something else"));
    };
    let name = &aggregate.name;
    let text = match (&aggregate.held, aggregate.owner) {
        (Some(_), Some(_)) => format!("{name}: held; its owner goes on, and nobody else becomes that\n"),
        (Some(_), None) => format!("{name}: held; nobody becomes its owner\n"),
        (None, _) => format!("{name}: held no more\n"),
    };
    let json = json!({ "aggregate": name, "held": aggregate.held, "epoch": aggregate.epoch.0 });
    Ok(Output::new("baton.fts.hold/1", text, json))
}
