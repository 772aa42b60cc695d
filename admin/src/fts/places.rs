//! `fts setdomain`, `fts prefer`: what is known of where servers stand, and where aggregates are at home.

use baton_types::change::{AggregateRef, Change};
use baton_types::record::Record;
use baton_types::{Address, EntryName, Error, Kind, Result};
use serde_json::json;

use crate::output::Output;
use crate::servers::Servers;
use crate::session::Session;

fn unexpected(on: &str) -> Error {
    Error::new(Kind::Damaged, on).because("the location database answered something else")
}

/// Says what a server fails together with, or that it shares nothing.
pub async fn setdomain(session: &Session, server: &Address, domain: Option<EntryName>) -> Result<Output> {
    let client = session.client()?;
    let server = Servers::ask(&client).await?.find(server)?.id;
    let changed = client.change(Change::SetDomain { server, domain }).await?;
    let Some(Record::Server(server)) = changed.record else {
        return Err(unexpected("server"));
    };
    let text = match &server.domain {
        Some(domain) => format!(
            "{}: in {domain}; what its servers own goes to servers elsewhere first\n",
            server.name
        ),
        None => format!("{}: in no domain\n", server.name),
    };
    let json = json!({ "server": server.name, "domain": server.domain });
    Ok(Output::new("baton.fts.setdomain/1", text, json))
}

/// Says which server an aggregate goes to before all others.
pub async fn prefer(session: &Session, aggregate: AggregateRef, server: &Address) -> Result<Output> {
    let client = session.client()?;
    let servers = Servers::ask(&client).await?;
    let server = servers.find(server)?.id;
    let changed = client.change(Change::Prefer { aggregate, server }).await?;
    let Some(Record::Aggregate(aggregate)) = changed.record else {
        return Err(unexpected("aggregate"));
    };
    let order: Vec<String> = aggregate.attached.iter().map(|id| servers.name(*id)).collect();
    let text = format!("{}: {}\n", aggregate.name, order.join(", "));
    let json = json!({ "aggregate": aggregate.name, "attached": order });
    Ok(Output::new("baton.fts.prefer/1", text, json))
}
