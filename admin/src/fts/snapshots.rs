//! `snapshot create|list|delete`, `clone`, `clonesys`: moments of filesets, kept by the servers that own them.

use std::collections::BTreeMap;

use baton_rpc::FldbClient;
use baton_rpc::fldb::{ControlClient, Freshness, Query};
use baton_types::change::FilesetRef;
use baton_types::control::SnapshotReport;
use baton_types::record::{Fileset, Record, Site, Table, VersionState};
use baton_types::units::format_bytes;
use baton_types::{AggregateId, Error, FileName, Kind, Result};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::exit::Exit;
use crate::grammar::fts::CloneSys;
use crate::output::{Output, date, printable, table};
use crate::servers::Servers;
use crate::session::Session;

/// Takes one.
pub async fn create(session: &Session, fileset: FilesetRef, name: FileName) -> Result<Output> {
    let (fileset, control) = served(session, fileset).await?;
    let snapshot = control.take_snapshot(fileset.id, &name).await?;
    let text = format!("Snapshot {} of fileset {} taken\n", shown(&snapshot), fileset.name);
    let json = json!({ "fileset": fileset.name, "snapshot": to_json(&snapshot) });
    Ok(Output::new("baton.fts.snapshot.create/1", text, json))
}

/// Lists them, the newest last.
pub async fn list(session: &Session, fileset: FilesetRef) -> Result<Output> {
    let (fileset, control) = served(session, fileset).await?;
    let snapshots = control.snapshots(fileset.id).await?;
    Ok(listed(&fileset, &snapshots))
}

fn listed(fileset: &Fileset, snapshots: &[SnapshotReport]) -> Output {
    let row = |snapshot: &SnapshotReport| {
        vec![
            shown(snapshot),
            date(snapshot.taken),
            snapshot.used_files.to_string(),
            format_bytes(snapshot.used_bytes),
            format_bytes(snapshot.unique_bytes),
        ]
    };
    let text = match snapshots {
        [] => format!("Fileset {} has no snapshots\n", fileset.name),
        _ => table(&["NAME", "TAKEN", "FILES", "HOLDS", "ALONE"], snapshots.iter().map(row)),
    };
    let snapshots: Vec<Value> = snapshots.iter().map(to_json).collect();
    let json = json!({ "fileset": fileset.name, "snapshots": snapshots });
    Output::new("baton.fts.snapshot.list/1", text, json)
}

/// Deletes one.
pub async fn delete(session: &Session, fileset: FilesetRef, name: FileName) -> Result<Output> {
    let (fileset, control) = served(session, fileset).await?;
    control.delete_snapshot(fileset.id, &name).await?;
    let name = printable(&name.to_string());
    let text = format!("Snapshot {name} of fileset {} deleted\n", fileset.name);
    let json = json!({ "fileset": fileset.name, "snapshot": name });
    Ok(Output::new("baton.fts.snapshot.delete/1", text, json))
}

/// Makes a fileset's backup version.
pub async fn clone(session: &Session, fileset: FilesetRef) -> Result<Output> {
    let (fileset, control) = served(session, fileset).await?;
    let snapshot = control.clone_fileset(fileset.id).await?;
    let text = format!("Created backup fileset for {}\n", fileset.name);
    let json = json!({
        "fileset": fileset.name,
        "backup_id": fileset.id.backup().to_string(),
        "snapshot": to_json(&snapshot),
    });
    Ok(Output::new("baton.fts.clone/1", text, json))
}

/// Makes the backup versions of all filesets that are meant: of each aggregate one after the other, of all aggregates
/// at once.
pub async fn clonesys(session: &Session, words: CloneSys) -> Result<Output> {
    let client = session.client()?;
    let query = Query {
        entry: words.server,
        aggregate: words.aggregate,
        ..Query::tables(&[Table::Fileset], Freshness::Linearizable)
    };
    let records = session.list(&client, query).await?.records;
    let prefix = words.prefix.unwrap_or_default();
    let mut on: BTreeMap<Option<AggregateId>, Vec<Fileset>> = BTreeMap::new();
    for record in records {
        if let Record::Fileset(fileset) = record
            && fileset.rw == VersionState::Valid
            && fileset.name.as_str().starts_with(&prefix)
        {
            on.entry(site_of(&fileset)).or_default().push(fileset);
        }
    }
    let servers = std::sync::Arc::new(Servers::ask(&client).await?);
    let mut aggregates = JoinSet::new();
    for (aggregate, filesets) in on {
        let (client, servers) = (client.clone(), servers.clone());
        aggregates.spawn(async move {
            let control = control_of(&client, &servers, aggregate).await;
            let mut done = Vec::new();
            for fileset in filesets {
                let cloned = match &control {
                    Ok(control) => control.clone_fileset(fileset.id).await.map(drop),
                    Err(error) => Err(error.clone()),
                };
                done.push((fileset, cloned));
            }
            done
        });
    }
    let mut all = aggregates.join_all().await.concat();
    all.sort_by(|one, other| one.0.name.cmp(&other.0.name));
    for (fileset, cloned) in &all {
        match cloned {
            Ok(()) if session.standard.verbose => session.note(&format!("Created backup fileset for {}", fileset.name)),
            Ok(()) => {}
            Err(error) => session.warn(&format!("no backup of fileset {}: {error}", fileset.name)),
        }
    }
    Ok(summary(&all))
}

fn summary(all: &[(Fileset, Result<()>)]) -> Output {
    let (done, failed): (Vec<_>, Vec<_>) = all.iter().partition(|(_, cloned)| cloned.is_ok());
    // An aggregate of another type than Baton's own there is not.
    let text = format!(
        "Total FLDB entries that were successfully backed up: {} ({} failed; 0 wrong aggr type)\n",
        done.len(),
        failed.len()
    );
    let why = |(fileset, cloned): &&(Fileset, Result<()>)| {
        let error = cloned.as_ref().err().map(ToString::to_string);
        json!({ "fileset": fileset.name, "error": error })
    };
    let failed: Vec<Value> = failed.iter().map(why).collect();
    let done: Vec<&str> = done.iter().map(|(fileset, _)| fileset.name.as_str()).collect();
    let exit = match failed.is_empty() {
        true => Exit::Done,
        false => Exit::Failed,
    };
    let json = json!({ "backed_up": done, "failed": failed });
    Output {
        exit: exit as u8,
        ..Output::new("baton.fts.clonesys/1", text, json)
    }
}

/// A fileset, and the control of the server that owns its aggregate.
///
/// # Errors
/// `NotFound`; `Detached` when nobody serves it.
pub async fn served(session: &Session, fileset: FilesetRef) -> Result<(Fileset, ControlClient)> {
    let client = session.client()?;
    let query = Query {
        fileset: Some(fileset),
        ..Query::tables(&[Table::Fileset], Freshness::Linearizable)
    };
    let fileset = match client.list(&query).await?.records.pop() {
        Some(Record::Fileset(fileset)) => fileset,
        _ => return Err(Error::new(Kind::Damaged, "fileset").because("the location database answered something else")),
    };
    let servers = Servers::ask(&client).await?;
    let control = control_of(&client, &servers, site_of(&fileset)).await?;
    Ok((fileset, control))
}

async fn control_of(client: &FldbClient, servers: &Servers, aggregate: Option<AggregateId>) -> Result<ControlClient> {
    let found = servers.aggregates.iter().find(|known| Some(known.id) == aggregate);
    let unknown = || Error::new(Kind::NotFound, "aggregate").because("the location database does not know it");
    servers.control_of(client, found.ok_or_else(unknown)?).await
}

/// Where its read-write version is.
fn site_of(fileset: &Fileset) -> Option<AggregateId> {
    let site = fileset.sites.iter().find(|site| site.versions & Site::RW != 0);
    site.map(|site| site.aggregate)
}

fn shown(snapshot: &SnapshotReport) -> String {
    printable(&snapshot.name.to_string())
}

fn to_json(snapshot: &SnapshotReport) -> Value {
    json!({
        "name": shown(snapshot),
        "taken": date(snapshot.taken),
        "used_bytes": snapshot.used_bytes,
        "used_files": snapshot.used_files,
        "unique_bytes": snapshot.unique_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fts::tests::fileset;
    use baton_types::Timestamp;

    #[test]
    fn snapshots_are_listed_with_what_they_hold_alone() {
        let snapshot = |name: &str, unique_bytes| SnapshotReport {
            name: FileName::parse(name.as_bytes()).unwrap(),
            taken: Timestamp(1_800_000_000 * 1_000_000_000),
            used_bytes: 3 << 20,
            used_files: 12,
            unique_bytes,
        };
        let told = listed(&fileset(), &[snapshot("monday", 8_192), snapshot("tuesday", 0)]);
        assert_eq!(
            told.text,
            "NAME     TAKEN                 FILES  HOLDS  ALONE\n\
             monday   2027-01-15T08:00:00Z  12     3MiB   8KiB\n\
             tuesday  2027-01-15T08:00:00Z  12     3MiB   0B\n"
        );
        assert_eq!(told.json["snapshots"][0]["unique_bytes"], json!(8_192));
        assert_eq!(listed(&fileset(), &[]).text, "Fileset user.ito has no snapshots\n");
    }

    #[test]
    fn summary_of_backups_counts_as_dfs_did() {
        let failed = Err(Error::new(Kind::Unreachable, "server mlserva").because("silent"));
        let told = summary(&[(fileset(), Ok(())), (fileset(), failed)]);
        assert_eq!(
            told.text,
            "Total FLDB entries that were successfully backed up: 1 (1 failed; 0 wrong aggr type)\n"
        );
        assert_eq!((told.exit, &told.json["failed"][0]["fileset"]), (1, &json!("user.ito")));
        assert_eq!(summary(&[(fileset(), Ok(()))]).exit, 0);
    }
}
