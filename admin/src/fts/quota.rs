//! `setquota`, `lsquota`: what filesets may hold, and what they hold.

use std::path::{Path, PathBuf};

use baton_types::change::{Change, FilesetRef};
use baton_types::control::{AggregateExport, FilesetReport};
use baton_types::record::{Fileset, VersionState};
use baton_types::units::format_bytes;
use baton_types::{Error, FilesetId, Kind, Result};
use serde_json::{Value, json};

use super::filesets::changed;
use super::snapshots::served;
use crate::cm;
use crate::exit::Exit;
use crate::grammar::fts::{LsQuota, SetQuota};
use crate::output::Output;
use crate::session::Session;

/// Of its quota a fileset may hold this much without a warning, in percent.
const FILESET_WARNING: u64 = 90;
/// Of its room an aggregate.
const AGGREGATE_WARNING: u64 = 97;

/// Sets it: in the entry, then on the disk, where the next change is held against it.
pub async fn set(session: &Session, words: SetQuota) -> Result<Output> {
    let meant = match words.fileset {
        Some(fileset) => fileset,
        None => of_path(session, words.path.as_deref().unwrap_or(Path::new(".")))?,
    };
    let change = Change::SetQuota {
        fileset: meant,
        bytes: words.size,
        files: words.files,
    };
    let fileset = changed(&session.client()?, change).await?;
    // One that was not made yet takes its quota from its entry.
    if fileset.rw == VersionState::Valid
        && let Err(error) = on_disk(session, &fileset).await
    {
        return Err(error.remedy("the disk has the old quota still: give the command again"));
    }
    let text = format!(
        "Fileset {} may hold {} and {}\n",
        fileset.name,
        limit(fileset.quota_bytes, "any number of bytes", format_bytes),
        limit(fileset.quota_files, "any number of files", |files| format!(
            "{files} files"
        ))
    );
    let json = json!({
        "name": fileset.name,
        "id": fileset.id.to_string(),
        "quota_bytes": fileset.quota_bytes,
        "quota_files": fileset.quota_files,
    });
    Ok(Output::new("baton.fts.setquota/1", text, json))
}

fn limit(limit: u64, none: &str, shown: impl Fn(u64) -> String) -> String {
    match limit {
        0 => none.to_owned(),
        limit => shown(limit),
    }
}

async fn on_disk(session: &Session, fileset: &Fileset) -> Result<()> {
    let (fileset, control) = served(session, FilesetRef::Id(fileset.id)).await?;
    control.set_quota(fileset.id).await
}

/// Lists them: of filesets, or of those that paths are in.
pub async fn list(session: &Session, words: LsQuota) -> Result<Output> {
    let mut meant = words.fileset;
    let here = [PathBuf::from(".")];
    let paths = match (meant.is_empty(), words.path.is_empty()) {
        (true, true) => &here[..],
        _ => &words.path,
    };
    for path in paths {
        meant.push(of_path(session, path)?);
    }
    let (mut found, mut failed) = (Vec::new(), 0);
    for fileset in &meant {
        match held(session, fileset).await {
            Ok(held) => found.push(held),
            Err(error) if meant.len() == 1 => return Err(error),
            Err(error) => {
                session.warn(&error.to_string());
                failed += 1;
            }
        }
    }
    let exit = if failed > 0 { Exit::Partly } else { Exit::Done };
    Ok(Output {
        exit: exit as u8,
        ..listed(&found)
    })
}

/// The fileset that a file is in: this machine's batond says.
fn of_path(session: &Session, path: &Path) -> Result<FilesetRef> {
    let place = cm::place_of(&session.paths, path)?;
    Ok(FilesetRef::Id(FilesetId(place.fileset)))
}

/// What a fileset holds, and the room on its aggregate.
type Held = (FilesetReport, Option<AggregateExport>);

async fn held(session: &Session, fileset: &FilesetRef) -> Result<Held> {
    let (fileset, control) = served(session, fileset.clone()).await?;
    let report = control.filesets(None, Some(fileset.id)).await?.pop();
    let report = report.ok_or_else(|| {
        Error::new(Kind::NotFound, format!("fileset {}", fileset.name))
            .because("its file server has not made it")
            .remedy("make it: fts create")
    })?;
    let aggregates = control.aggregates().await?;
    let aggregate = aggregates.into_iter().find(|known| known.name == report.aggregate);
    Ok((report, aggregate.and_then(|aggregate| aggregate.exported)))
}

fn listed(found: &[Held]) -> Output {
    let mut text = format!(
        "{:<20} {:>11} {:>11} {:>8}   Aggregate\n",
        "Fileset Name", "Quota", "Used", "% Used"
    );
    text.extend(found.iter().map(line));
    let json: Vec<Value> = found.iter().map(to_json).collect();
    Output::new("baton.fts.lsquota/1", text, json!({ "filesets": json }))
}

fn percent(used: u64, of: u64) -> u64 {
    (u128::from(used) * 100)
        .checked_div(of.into())
        .map_or(0, |percent| u64::try_from(percent).unwrap_or(u64::MAX))
}

/// In units of 1,024 bytes, as DFS has it.
fn line((report, aggregate): &Held) -> String {
    let used = report.used_bytes.div_ceil(1_024);
    let (quota, share) = match report.quota_bytes {
        0 => ("none".to_owned(), 0),
        quota => ((quota / 1_024).to_string(), percent(report.used_bytes, quota)),
    };
    let share_of_files = percent(report.used_files, report.quota_files);
    let (room, fullness) = match aggregate {
        Some(aggregate) => {
            let total = aggregate.total_bytes / 1_024;
            let used = total - (aggregate.free_bytes / 1_024).min(total);
            let fullness = percent(used, total);
            (format!("{fullness}% = {used}/{total} (LFS)"), fullness)
        }
        None => ("not exported".to_owned(), 0),
    };
    let is_full = share.max(share_of_files) > FILESET_WARNING;
    let warning = |is_given| if is_given { "<<" } else { "" };
    let (fileset, aggregate) = (warning(is_full), warning(fullness > AGGREGATE_WARNING));
    let last = if is_full || fullness > AGGREGATE_WARNING {
        "\t<<WARNING"
    } else {
        ""
    };
    format!(
        "{:<20} {quota:>11} {used:>11} {:>8}   {room}{aggregate}{last}\n",
        report.name.as_str(),
        format!("{share}%{fileset}"),
    )
}

fn to_json((report, aggregate): &Held) -> Value {
    json!({
        "name": report.name,
        "id": report.id.to_string(),
        "used_bytes": report.used_bytes,
        "quota_bytes": report.quota_bytes,
        "used_files": report.used_files,
        "quota_files": report.quota_files,
        "aggregate": {
            "name": report.aggregate,
            "total_bytes": aggregate.as_ref().map(|aggregate| aggregate.total_bytes),
            "free_bytes": aggregate.as_ref().map(|aggregate| aggregate.free_bytes),
        },
    })
}

#[cfg(test)]
mod tests {
    use baton_types::{AggregateName, Epoch, FilesetName, Timestamp};

    use super::*;

    fn held(used: u64, quota: u64, free: u64) -> Held {
        let report = FilesetReport {
            id: FilesetId(1_201),
            name: FilesetName::parse("user.ito").unwrap(),
            aggregate: AggregateName::parse("lfs03").unwrap(),
            used_bytes: used,
            used_files: 17,
            quota_bytes: quota,
            quota_files: 0,
            created: Timestamp(0),
            version: 0,
            is_online: true,
            has_backup: false,
        };
        let aggregate = AggregateExport {
            total_bytes: 2_100_000 << 10,
            free_bytes: free,
            epoch: Epoch(3),
            filesets: 54,
        };
        (report, Some(aggregate))
    }

    #[test]
    fn quotas_are_listed_as_in_dfs() {
        let all = [
            held(12_480 << 10, 20_000 << 10, 609_000 << 10),
            held(12_480 << 10, 0, 609_000 << 10),
            held(19_000 << 10, 20_000 << 10, 9_000 << 10),
        ];
        assert_eq!(
            listed(&all).text,
            "Fileset Name               Quota        Used   % Used   Aggregate\n\
             user.ito                   20000       12480      62%   71% = 1491000/2100000 (LFS)\n\
             user.ito                    none       12480       0%   71% = 1491000/2100000 (LFS)\n\
             user.ito                   20000       19000    95%<<   99% = 2091000/2100000 (LFS)<<\t<<WARNING\n"
        );
    }
}
