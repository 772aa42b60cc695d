//! `snapshot rollback`, `snapshot clone`: a fileset goes back to a snapshot, and a new one begins as one was.

use baton_types::change::{AggregateRef, Change, FilesetRef};
use baton_types::control::{Carry, RollBackReport};
use baton_types::record::{Fileset, Site};
use baton_types::units::format_bytes;
use baton_types::{Error, Kind, Result};
use serde_json::json;

use super::filesets::{changed, entry, entry_of, unmade};
use super::snapshots::served;
use crate::grammar::fts::{SnapshotClone, SnapshotRollback};
use crate::output::{Output, count, date, printable};
use crate::session::Session;

/// Takes a fileset back, or shows what that would do.
pub async fn rollback(session: &Session, words: SnapshotRollback) -> Result<Output> {
    let (fileset, control) = served(session, words.fileset.clone()).await?;
    let report = control.roll_back(fileset.id, &words.snapshot, words.carry()).await?;
    Ok(rolled_back(
        &fileset,
        (&words.snapshot.to_string(), words.carry()),
        &report,
    ))
}

fn rolled_back(fileset: &Fileset, (to, carry): (&str, Carry), report: &RollBackReport) -> Output {
    let (name, to) = (&fileset.name, printable(to));
    let what = match carry {
        Carry::Out => "Rolled back",
        Carry::Nothing => "Would roll back",
    };
    let taken = date(report.taken);
    let holds = |files, bytes| format!("{}, {}", count(files as usize, "file"), format_bytes(bytes));
    let now = holds(report.now_files, report.now_bytes);
    let then = holds(report.then_files, report.then_bytes);
    let mut text = format!("{what} fileset {name} to its snapshot {to}, taken {taken}: from {now} to {then}\n");
    text += &match carry {
        Carry::Out => {
            let before = printable(&report.before);
            format!(
                "What was there before is in the snapshot {before}; \
                 to bring that back: fts snapshot rollback -fileset {name} -snapshot {before}\n"
            )
        }
        Carry::Nothing => format!("What differs: fts snapshot diff -fileset {name} -from {to}\n"),
    };
    let json = json!({
        "fileset": name,
        "done": carry == Carry::Out,
        "snapshot": to,
        "taken": taken,
        "before": Some(printable(&report.before)).filter(|before| !before.is_empty()),
        "then": { "used_bytes": report.then_bytes, "used_files": report.then_files },
        "now": { "used_bytes": report.now_bytes, "used_files": report.now_files },
    });
    Output::new("baton.fts.snapshot.rollback/1", text, json)
}

/// Reserves ids and a place beside the fileset, and has the aggregate's owner make the clone there. Given again after it
/// was cut short, it goes on.
pub async fn clone(session: &Session, words: SnapshotClone) -> Result<Output> {
    let client = session.client()?;
    let missing = |what: &str| Error::new(Kind::NotFound, what).because("the location database does not know it");
    let (origin, book, servers) = entry_of(session, &client, words.fileset.clone()).await?;
    let site = origin.sites.iter().find(|site| site.versions & Site::RW != 0);
    let site = site.ok_or_else(|| missing("site"))?;
    let aggregate = book.aggregate(site).ok_or_else(|| missing("aggregate"))?;
    let address = book.entry(site).and_then(|entry| entry.addresses.first());
    let server = address.ok_or_else(|| missing("server entry"))?.clone();
    // Before anything is reserved: a snapshot that is not there is the likeliest mistake.
    let control = servers.control_of(&client, aggregate).await?;
    control.roll_back(origin.id, &words.snapshot, Carry::Nothing).await?;
    let change = Change::CreateFileset {
        name: words.name.clone(),
        server,
        aggregate: AggregateRef::Name(aggregate.name.clone()),
        quota_bytes: origin.quota_bytes,
    };
    let mut fileset = entry(&client, change, (&words.name, Some(aggregate))).await?;
    if fileset.quota_files != origin.quota_files {
        let change = Change::SetQuota {
            fileset: FilesetRef::Id(fileset.id),
            bytes: None,
            files: Some(origin.quota_files),
        };
        fileset = changed(&client, change).await?;
    }
    let made = control.clone_snapshot(fileset.id, origin.id, &words.snapshot).await;
    made.map_err(|error| unmade(&fileset, error))?;
    let snapshot = printable(&words.snapshot.to_string());
    let text = format!(
        "Fileset {} made of snapshot {snapshot} of {}: {}\n",
        fileset.name, origin.name, fileset.id
    );
    let json = json!({
        "name": fileset.name,
        "id": fileset.id.to_string(),
        "number": fileset.id.0,
        "fileset": origin.name,
        "snapshot": snapshot,
        "aggregate": aggregate.name,
        "quota_bytes": fileset.quota_bytes,
    });
    Ok(Output::new("baton.fts.snapshot.clone/1", text, json))
}

#[cfg(test)]
mod tests {
    use baton_types::Timestamp;

    use super::*;
    use crate::fts::tests::fileset;

    #[test]
    fn what_was_rolled_back_is_shown_with_the_way_back() {
        let mut report = RollBackReport {
            taken: Timestamp(1_800_000_000 * 1_000_000_000),
            then_bytes: 3 << 20,
            then_files: 12,
            now_bytes: 1 << 20,
            now_files: 1,
            before: "before-rollback.1".to_owned(),
        };
        let told = rolled_back(&fileset(), ("monday", Carry::Out), &report);
        assert_eq!(
            told.text,
            "Rolled back fileset user.ito to its snapshot monday, taken 2027-01-15T08:00:00Z: \
             from 1 file, 1MiB to 12 files, 3MiB\n\
             What was there before is in the snapshot before-rollback.1; to bring that back: \
             fts snapshot rollback -fileset user.ito -snapshot before-rollback.1\n"
        );
        assert_eq!(told.json["then"]["used_files"], json!(12));
        report.before = String::new();
        let told = rolled_back(&fileset(), ("monday", Carry::Nothing), &report);
        assert_eq!(
            told.text,
            "Would roll back fileset user.ito to its snapshot monday, taken 2027-01-15T08:00:00Z: \
             from 1 file, 1MiB to 12 files, 3MiB\n\
             What differs: fts snapshot diff -fileset user.ito -from monday\n"
        );
        assert_eq!(told.json["before"], json!(null));
    }
}
