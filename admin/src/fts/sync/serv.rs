//! Location database → headers: headers take name and quota of their entries, and what is missing is named.

use std::collections::BTreeMap;

use baton_types::control::{Carry, FilesetReport};
use baton_types::record::{Aggregate, Fileset, VersionState};
use baton_types::{FilesetId, Result};

use super::{Deed, Disks, Elsewhere, Left, ask_elsewhere, booked_on, entries, output, verb};
use crate::grammar::fts::SyncDisks;
use crate::output::Output;
use crate::session::Session;

/// Carries it out.
pub async fn syncserv(session: &Session, words: SyncDisks) -> Result<Output> {
    let client = session.client()?;
    let disks = Disks::read(&client, &words).await?;
    let entries = entries(session, &client).await?;
    let elsewhere = ask_elsewhere(&client, &disks, &entries).await;
    let (steps, mut left) = compare(&disks.headers, &disks.aggregates, &entries, &elsewhere);
    left.extend(disks.unread().into_iter().map(Left::note));
    let carry = words.carry();
    let mut deeds = Vec::new();
    for step in &steps {
        let error = match (carry, step.what) {
            (Carry::Nothing, _) => None,
            (Carry::Out, What::Name) => disks.control.rename_fileset(step.entry.id).await.err(),
            (Carry::Out, What::Quota) => disks.control.set_quota(step.entry.id).await.err(),
        };
        deeds.push(step.deed(carry, error.map(|error| error.to_string())));
    }
    let done = deeds.iter().filter(|deed| deed.error.is_none()).count();
    let summary = format!(
        "Total FLDB entries on server {}: {}; headers {}: {done}; failed: {}; conflicts: {}\n",
        words.server,
        booked(&disks.aggregates, &entries).count(),
        if carry == Carry::Out { "mended" } else { "to mend" },
        deeds.len() - done,
        left.iter().filter(|left| left.is_conflict).count()
    );
    Ok(output("baton.fts.syncserv/1", carry, (&deeds, &left), &summary))
}

/// What a header takes from its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Name,
    Quota,
}

/// A header that is not as its entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) what: What,
    pub(super) header: FilesetReport,
    pub(super) entry: Fileset,
}

impl Step {
    pub(super) fn deed(&self, carry: Carry, error: Option<String>) -> Deed {
        let (header, entry) = (&self.header, &self.entry);
        let (action, line) = match self.what {
            What::Name => {
                let renamed = verb(carry, "Renamed", "rename");
                let line = format!(
                    "{renamed} header of fileset {} from {} to {}",
                    entry.id, header.name, entry.name
                );
                ("rename", line)
            }
            What::Quota => {
                let set = verb(carry, "Set", "set");
                let line = format!(
                    "{set} quota of fileset {} ({}) to {} bytes and {} files",
                    entry.name, entry.id, entry.quota_bytes, entry.quota_files
                );
                ("set_quota", line)
            }
        };
        Deed {
            action,
            fileset: entry.name.to_string(),
            id: entry.id,
            lines: vec![line],
            error,
        }
    }
}

/// Entries whose RW version is on one of these aggregates, with the aggregate.
fn booked<'a>(
    aggregates: &'a [Aggregate],
    entries: &'a BTreeMap<FilesetId, Fileset>,
) -> impl Iterator<Item = (&'a Fileset, &'a Aggregate)> {
    entries.values().filter_map(|entry| {
        let booked = booked_on(entry);
        let aggregate = aggregates.iter().find(|known| Some(known.id) == booked);
        aggregate.map(|aggregate| (entry, aggregate))
    })
}

/// Compares the entries of filesets on `aggregates` with the headers there.
pub(super) fn compare(
    headers: &[FilesetReport],
    aggregates: &[Aggregate],
    entries: &BTreeMap<FilesetId, Fileset>,
    elsewhere: &BTreeMap<FilesetId, Elsewhere>,
) -> (Vec<Step>, Vec<Left>) {
    let (mut steps, mut left) = (Vec::new(), Vec::new());
    for (entry, aggregate) in booked(aggregates, entries) {
        let is_its = |header: &&FilesetReport| header.id == entry.id && header.aggregate == aggregate.name;
        let Some(header) = headers.iter().find(is_its) else {
            left.push(missing(entry, aggregate));
            continue;
        };
        let has_quota = (header.quota_bytes, header.quota_files) == (entry.quota_bytes, entry.quota_files);
        for (is_so, what) in [(header.name == entry.name, What::Name), (has_quota, What::Quota)] {
            if !is_so {
                let (header, entry) = (header.clone(), entry.clone());
                steps.push(Step { what, header, entry });
            }
        }
        left.extend(versions(entry, header));
    }
    for header in headers {
        let on = format!(
            "fileset {} ({}) on aggregate {}",
            header.name, header.id, header.aggregate
        );
        let told = match (entries.get(&header.id), elsewhere.get(&header.id)) {
            (None, _) => Some("it has no entry; fts syncfldb makes one".to_owned()),
            (Some(_), None) => None,
            (Some(_), Some(Elsewhere::There)) => {
                Some("its entry has it on another aggregate, and it is there; this copy is left over".to_owned())
            }
            (Some(_), Some(Elsewhere::NotThere)) => {
                Some("its entry has it on another aggregate, where it is not; fts syncfldb mends the entry".to_owned())
            }
            (Some(_), Some(Elsewhere::Unknown(why))) => Some(format!(
                "its entry has it elsewhere, and nobody can say whether it is there ({why})"
            )),
        };
        left.extend(told.map(|told| Left::conflict(format!("{on}: {told}"))));
    }
    (steps, left)
}

/// What is said of an entry without a header.
fn missing(entry: &Fileset, aggregate: &Aggregate) -> Left {
    let on = format!("fileset {} ({})", entry.name, entry.id);
    match entry.rw {
        VersionState::Valid => Left::conflict(format!(
            "{on} is not on aggregate {}, where its entry has it; fts syncfldb drops the entry",
            aggregate.name
        )),
        VersionState::Invalid => Left::note(format!(
            "{on} has its ids on aggregate {} and no files yet; give its 'fts create' again, or fts delete it",
            aggregate.name
        )),
    }
}

/// What is said of versions that an entry and the disk do not both have.
fn versions(entry: &Fileset, header: &FilesetReport) -> Vec<Left> {
    let on = format!("fileset {} ({})", entry.name, entry.id);
    let checks = [
        (
            entry.rw == VersionState::Invalid,
            "its entry does not say that it is there; fts syncfldb mends the entry".to_owned(),
        ),
        (
            entry.backup == VersionState::Valid && !header.has_backup,
            format!("its backup version is not there; fts clone {} makes one", entry.name),
        ),
        (
            entry.backup == VersionState::Invalid && header.has_backup,
            "it has a backup version that its entry does not know; fts syncfldb mends the entry".to_owned(),
        ),
        (
            !header.is_online,
            format!("it is off-line: aggregate {} is being detached", header.aggregate),
        ),
    ];
    let told = checks.into_iter().filter(|(is_so, _)| *is_so);
    told.map(|(_, what)| Left::conflict(format!("{on}: {what}"))).collect()
}
