//! `create`, `delete`, `rename`, `lock`, `unlock`: the location database's half of them, and the file server's.

use baton_rpc::FldbClient;
use baton_rpc::fldb::{Freshness, Query};
use baton_types::change::{AggregateRef, Change, FilesetRef};
use baton_types::record::{Aggregate, Fileset, Record, Site, Table, VersionState};
use baton_types::{Error, FilesetName, Kind, Result};
use serde_json::{Value, json};

use super::entry::{self, Book, state_text};
use crate::grammar::fts::{Create, Delete, Rename};
use crate::output::{Output, date};
use crate::servers::Servers;
use crate::session::Session;

/// Reserves ids and a place, and has the aggregate's owner make the fileset there. Given again after it was cut
/// short, it goes on.
pub async fn create(session: &Session, words: Create) -> Result<Output> {
    let client = session.client()?;
    let servers = Servers::ask(&client).await?;
    // What the location database does not know it refuses in its own words.
    let aggregate = servers.aggregate(&words.aggregate);
    if let Some(unowned) = aggregate.filter(|aggregate| aggregate.owner.is_none()) {
        return Err(servers.unowned(unowned));
    }
    let change = Change::CreateFileset {
        name: words.ftname.clone(),
        server: words.server.clone(),
        aggregate: words.aggregate.clone(),
        quota_bytes: words.quota.unwrap_or(0),
    };
    let fileset = entry(&client, change, (&words.ftname, aggregate)).await?;
    let aggregate = aggregate.ok_or_else(|| Error::new(Kind::NotFound, shown(&words.aggregate)))?;
    let control = servers.control_of(&client, aggregate).await;
    let made = match control {
        Ok(control) => control.create_fileset(fileset.id, words.owner).await,
        Err(error) => Err(error),
    };
    made.map_err(|error| unmade(&fileset, error))?;
    let text = format!(
        "Fileset {} created on aggregate {} of {}\n",
        fileset.id,
        shown(&words.aggregate),
        words.server
    );
    let json = json!({
        "name": fileset.name,
        "id": fileset.id.to_string(),
        "number": fileset.id.0,
        "state": state_text(VersionState::Valid),
        "server": words.server,
        "aggregate": shown(&words.aggregate),
        "quota_bytes": fileset.quota_bytes,
    });
    Ok(Output::new("baton.fts.create/1", text, json))
}

/// What to do when a fileset has an entry and nothing more.
pub(super) fn unmade(fileset: &Fileset, error: Error) -> Error {
    let remedy = format!(
        "fileset {} has its ids and no files yet: give the command again",
        fileset.id
    );
    let remedy = match error.remedy.as_str() {
        "" => remedy,
        before => format!("{before}; {remedy}"),
    };
    error.remedy(remedy)
}

/// A new entry, by `change`, or the one that an earlier try has left in the same place.
pub(super) async fn entry(
    client: &FldbClient,
    change: Change,
    (name, aggregate): (&FilesetName, Option<&Aggregate>),
) -> Result<Fileset> {
    let exists = match changed(client, change).await {
        Err(error) if error.kind == Kind::Exists => error,
        made => return made,
    };
    let left = before(client, &FilesetRef::Name(name.clone())).await?;
    let is_here = |site: &Site| aggregate.is_some_and(|aggregate| aggregate.id == site.aggregate);
    match left.rw == VersionState::Invalid && left.sites.iter().any(is_here) {
        true => Ok(left),
        false => Err(exists),
    }
}

/// A fileset's newest entry, and what it refers to.
pub(super) async fn entry_of(
    session: &Session,
    client: &FldbClient,
    fileset: FilesetRef,
) -> Result<(Fileset, Book, Servers)> {
    let tables = [Table::Server, Table::Entry, Table::Aggregate, Table::Fileset];
    let query = Query {
        fileset: Some(fileset),
        ..Query::tables(&tables, Freshness::Linearizable)
    };
    let records = client.list(&query).await?.records;
    let mut book = Book::of(records.clone(), session.clock.date());
    let fileset = book.filesets.pop();
    let fileset = fileset.ok_or_else(|| Error::new(Kind::NotFound, "fileset"))?;
    Ok((fileset, book, Servers::of(records)))
}

/// Has the files deleted by the aggregate's owner, and gives ids and place up.
pub async fn delete(session: &Session, words: Delete) -> Result<Output> {
    let client = session.client()?;
    let (fileset, book, servers) = entry_of(session, &client, words.fileset.clone()).await?;
    // A wrong place or a lock is refused by the location database below, before anything is lost.
    let is_meant = |site: &&Site| book.is_at(site, &words.server, &words.aggregate) && site.versions & Site::RW != 0;
    let site = fileset.sites.iter().find(is_meant).filter(|_| fileset.lock.is_none());
    if let Some(aggregate) = site.and_then(|site| book.aggregate(site))
        && (fileset.rw == VersionState::Valid || aggregate.owner.is_some())
    {
        let control = servers.control_of(&client, aggregate).await?;
        control.delete_fileset(fileset.id).await?;
    }
    let change = Change::DeleteFileset {
        fileset: FilesetRef::Id(fileset.id),
        server: words.server.clone(),
        aggregate: words.aggregate.clone(),
    };
    client.change(change).await?;
    let aggregate = shown(&words.aggregate);
    let text = format!(
        "Fileset {} on aggregate {aggregate} server {} deleted\n",
        fileset.id, words.server
    );
    let json = json!({
        "name": fileset.name,
        "id": fileset.id.to_string(),
        "number": fileset.id.0,
        "server": words.server,
        "aggregate": aggregate,
    });
    Ok(Output::new("baton.fts.delete/1", text, json))
}

/// Gives it another name: its entry, and what the disk says.
pub async fn rename(session: &Session, words: Rename) -> Result<Output> {
    let client = session.client()?;
    let before = before(&client, &words.oldname).await?;
    let change = Change::RenameFileset {
        fileset: FilesetRef::Id(before.id),
        name: words.newname,
    };
    let fileset = changed(&client, change).await?;
    if let Err(error) = rename_on_disk(&client, &fileset).await {
        session.warn(&format!(
            "the disk has the old name still: {error}; then: fts rename {} {}",
            fileset.id, fileset.name
        ));
    }
    let text = format!("Renamed fileset {} to {}\n", before.name, fileset.name);
    let json = json!({
        "id": fileset.id.to_string(),
        "number": fileset.id.0,
        "old_name": before.name,
        "new_name": fileset.name,
    });
    Ok(Output::new("baton.fts.rename/1", text, json))
}

async fn rename_on_disk(client: &FldbClient, fileset: &Fileset) -> Result<()> {
    if fileset.rw == VersionState::Invalid {
        return Ok(()); // it takes its name from its entry when it is made
    }
    let servers = Servers::ask(client).await?;
    let is_here = |aggregate: &&Aggregate| fileset.sites.iter().any(|site| site.aggregate == aggregate.id);
    match servers.aggregates.iter().find(is_here) {
        Some(aggregate) => {
            let control = servers.control_of(client, aggregate).await?;
            control.rename_fileset(fileset.id).await
        }
        None => Err(Error::new(Kind::NotFound, "aggregate").because("the location database does not know it")),
    }
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

pub(super) async fn changed(client: &FldbClient, change: Change) -> Result<Fileset> {
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
