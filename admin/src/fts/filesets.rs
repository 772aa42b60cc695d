//! `create`, `delete`, `rename`, `lock`, `unlock`: the location database's half of them.

use baton_rpc::FldbClient;
use baton_rpc::fldb::{Freshness, Query};
use baton_types::change::{AggregateRef, Change, FilesetRef};
use baton_types::record::{Fileset, Record, Table, VersionState};
use baton_types::{Error, Kind, Result};
use serde_json::{Value, json};

use super::entry::{self, state_text};
use crate::grammar::fts::{Create, Delete, Rename};
use crate::output::{Output, date};
use crate::session::Session;

/// Reserves ids and a place.
pub async fn create(session: &Session, words: Create) -> Result<Output> {
    let change = Change::CreateFileset {
        name: words.ftname,
        server: words.server.clone(),
        aggregate: words.aggregate.clone(),
        quota_bytes: words.quota.unwrap_or(0),
    };
    let fileset = changed(&session.client()?, change).await?;
    let mut text = format!(
        "Fileset {} created on aggregate {} of {}\n",
        fileset.id,
        shown(&words.aggregate),
        words.server
    );
    if fileset.rw == VersionState::Invalid {
        text += &format!(
            "Fileset {} is 'invalid' until a file server has made it\n",
            fileset.name
        );
    }
    let json = json!({
        "name": fileset.name,
        "id": fileset.id.to_string(),
        "number": fileset.id.0,
        "state": state_text(fileset.rw),
        "server": words.server,
        "aggregate": shown(&words.aggregate),
        "quota_bytes": fileset.quota_bytes,
    });
    Ok(Output::new("baton.fts.create/1", text, json))
}

/// Gives ids and place up.
pub async fn delete(session: &Session, words: Delete) -> Result<Output> {
    let client = session.client()?;
    let before = before(&client, &words.fileset).await?;
    let change = Change::DeleteFileset {
        fileset: FilesetRef::Id(before.id),
        server: words.server.clone(),
        aggregate: words.aggregate.clone(),
    };
    client.change(change).await?;
    let aggregate = shown(&words.aggregate);
    let text = format!(
        "Fileset {} on aggregate {aggregate} server {} deleted\n",
        before.id, words.server
    );
    let json = json!({
        "name": before.name,
        "id": before.id.to_string(),
        "number": before.id.0,
        "server": words.server,
        "aggregate": aggregate,
    });
    Ok(Output::new("baton.fts.delete/1", text, json))
}

/// Gives it another name.
pub async fn rename(session: &Session, words: Rename) -> Result<Output> {
    let client = session.client()?;
    let before = before(&client, &words.oldname).await?;
    let change = Change::RenameFileset {
        fileset: FilesetRef::Id(before.id),
        name: words.newname,
    };
    let fileset = changed(&client, change).await?;
    let text = format!("Renamed fileset {} to {}\n", before.name, fileset.name);
    let json = json!({
        "id": fileset.id.to_string(),
        "number": fileset.id.0,
        "old_name": before.name,
        "new_name": fileset.name,
    });
    Ok(Output::new("baton.fts.rename/1", text, json))
}

/// Keeps other administrators off its entry.
pub async fn lock(session: &Session, fileset: FilesetRef) -> Result<Output> {
    let fileset = changed(&session.client()?, Change::LockFileset { fileset }).await?;
    let mut text = format!("Locked FLDB entry for fileset {}\n", fileset.name);
    if let (true, Some(lock)) = (session.standard.verbose, &fileset.lock) {
        text += &format!("The lock ends by itself at {}\n", date(lock.until));
    }
    Ok(Output::new("baton.fts.lock/1", text, lock_json(&fileset)))
}

/// Lets them at it again.
pub async fn unlock(session: &Session, fileset: FilesetRef) -> Result<Output> {
    let fileset = changed(&session.client()?, Change::UnlockFileset { fileset }).await?;
    let text = format!("Unlocked FLDB entry for fileset {}\n", fileset.name);
    Ok(Output::new("baton.fts.unlock/1", text, lock_json(&fileset)))
}

fn lock_json(fileset: &Fileset) -> Value {
    json!({
        "name": fileset.name,
        "id": fileset.id.to_string(),
        "number": fileset.id.0,
        "lock": fileset.lock.as_ref().map(entry::lock_json),
    })
}

async fn changed(client: &FldbClient, change: Change) -> Result<Fileset> {
    match client.change(change).await?.record {
        Some(Record::Fileset(fileset)) => Ok(fileset),
        _ => Err(Error::new(Kind::Damaged, "fileset").because("the location database answered something else")),
    }
}

/// What it was before the change: the change alone would say only what it is after.
async fn before(client: &FldbClient, fileset: &FilesetRef) -> Result<Fileset> {
    let query = Query {
        fileset: Some(fileset.clone()),
        ..Query::tables(&[Table::Fileset], Freshness::Linearizable)
    };
    match client.list(&query).await?.records.pop() {
        Some(Record::Fileset(fileset)) => Ok(fileset),
        _ => Err(Error::new(Kind::Damaged, "fileset").because("the location database answered something else")),
    }
}

/// As it was typed.
fn shown(aggregate: &AggregateRef) -> String {
    match aggregate {
        AggregateRef::Number(number) => number.to_string(),
        AggregateRef::Name(name) => name.to_string(),
    }
}
