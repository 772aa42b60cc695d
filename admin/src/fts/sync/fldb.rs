//! Headers → location database: entries are made, mended and dropped until they say what is on the disks.

use std::collections::BTreeMap;

use baton_rpc::FldbClient;
use baton_types::change::{AggregateRef, Change, FilesetRef};
use baton_types::control::{Carry, FilesetReport};
use baton_types::record::{Aggregate, Fileset, VersionState};
use baton_types::{Address, AggregateId, AggregateName, Error, FilesetId, Kind, Result};

use super::{Deed, Disks, Elsewhere, Left, ask_elsewhere, booked_on, entries, output, verb};
use crate::grammar::fts::SyncDisks;
use crate::output::Output;
use crate::servers::Servers;
use crate::session::Session;

/// Carries it out.
pub async fn syncfldb(session: &Session, words: SyncDisks) -> Result<Output> {
    let client = session.client()?;
    let disks = Disks::read(&client, &words).await?;
    let entries = entries(session, &client).await?;
    let elsewhere = ask_elsewhere(&client, &disks, &entries).await;
    let mut plan = compare(&disks.headers, &disks.aggregates, &entries, &elsewhere);
    plan.left.extend(disks.unread().into_iter().map(Left::note));
    let carry = words.carry();
    if let (Carry::Out, Some(through)) = (carry, plan.through) {
        // Also for those that get no entry: nothing new may have their ids.
        client.change(Change::ReserveFilesetIds { through }).await?;
    }
    let mut deeds = Vec::new();
    for step in &plan.steps {
        let error = match carry {
            Carry::Nothing => None,
            Carry::Out => {
                let done = carry_out(&client, &disks, &words.server, step).await;
                done.err()
            }
        };
        if let Some(gone) = error.as_ref().filter(|error| error.kind == Kind::Unreachable) {
            return Err(gone.clone()); // each of the others would be waited for too
        }
        deeds.push(deed(step, carry, &disks.servers, error.map(|error| error.to_string())));
    }
    let summary = summary(&plan, &deeds, (&words, disks.headers.len()));
    Ok(output("baton.fts.syncfldb/1", carry, (&deeds, &plan.left), &summary))
}

/// Something that an entry says and a header does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Name,
    /// It has it there, or nowhere.
    Place(Option<AggregateId>),
    Quota,
    ReadWrite,
    Backup,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A header without an entry.
    Create(FilesetReport),
    /// An entry that is not as the header of its fileset.
    Mend {
        header: FilesetReport,
        entry: Fileset,
        wrong: Vec<Wrong>,
    },
    /// An entry whose fileset is not where it says.
    Delete { entry: Fileset, aggregate: AggregateName },
}

/// What is to be done, and what is left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Entries go before others take their names.
    pub(super) steps: Vec<Step>,
    pub(super) left: Vec<Left>,
    /// The highest id on these disks.
    pub(super) through: Option<FilesetId>,
}

/// Compares the headers on `aggregates` with all entries.
pub(super) fn compare(
    headers: &[FilesetReport],
    aggregates: &[Aggregate],
    entries: &BTreeMap<FilesetId, Fileset>,
    elsewhere: &BTreeMap<FilesetId, Elsewhere>,
) -> Plan {
    let mut plan = Plan {
        through: headers.iter().map(|header| header.id).max(),
        ..Plan::default()
    };
    let mut going = Vec::new();
    for entry in entries.values() {
        let booked = booked_on(entry);
        let Some(aggregate) = aggregates.iter().find(|known| Some(known.id) == booked) else {
            continue;
        };
        if headers.iter().any(|header| header.id == entry.id) {
            continue; // the header says what becomes of it
        }
        match (entry.rw, entry.ro) {
            (VersionState::Invalid, VersionState::Invalid) => plan.left.push(Left::note(format!(
                "fileset {} ({}) has its ids on aggregate {} and no files yet; give its 'fts create' again, or fts delete \
                 it",
                entry.name, entry.id, aggregate.name
            ))),
            (VersionState::Invalid, VersionState::Valid) => {} // replicas are left of it, and the entry says so
            (VersionState::Valid, _) => {
                going.push(entry.id);
                plan.steps.push(Step::Delete {
                    entry: entry.clone(),
                    aggregate: aggregate.name.clone(),
                });
            }
        }
    }
    for header in headers {
        match step_for(header, (headers, aggregates), entries, elsewhere) {
            Ok(step) => {
                let name = entries
                    .values()
                    .find(|entry| entry.name == header.name && entry.id != header.id && !going.contains(&entry.id));
                match (step, name) {
                    (Some(_), Some(other)) => plan.left.push(Left::conflict(format!(
                        "fileset {} on aggregate {} is called {}, and so is fileset {} in the location database; give \
                         that one another name (fts rename {} OTHER), then do this again",
                        header.id, header.aggregate, header.name, other.id, other.name
                    ))),
                    (step, _) => plan.steps.extend(step),
                }
            }
            Err(left) => plan.left.push(left),
        }
    }
    plan
}

/// What an entry needs to be as a header says; nothing, if it is.
fn step_for(
    header: &FilesetReport,
    (headers, aggregates): (&[FilesetReport], &[Aggregate]),
    entries: &BTreeMap<FilesetId, Fileset>,
    elsewhere: &BTreeMap<FilesetId, Elsewhere>,
) -> Result<Option<Step>, Left> {
    let on = |what: String| {
        Left::conflict(format!(
            "fileset {} ({}) on aggregate {}: {what}",
            header.name, header.id, header.aggregate
        ))
    };
    let here = aggregates.iter().find(|known| known.name == header.aggregate);
    let Some(entry) = entries.get(&header.id) else {
        let twin = headers
            .iter()
            .find(|other| other.id == header.id && other.aggregate != header.aggregate);
        return match twin {
            None => Ok(Some(Step::Create(header.clone()))),
            Some(twin) => Err(on(format!(
                "aggregate {} has it too, and none of the two has an entry; do this again with -aggregate and the one that \
                 is right",
                twin.aggregate
            ))),
        };
    };
    let mut wrong = Vec::new();
    let booked = booked_on(entry);
    if booked != here.map(|here| here.id) {
        match elsewhere.get(&header.id) {
            Some(Elsewhere::NotThere) | None => {}
            Some(Elsewhere::There) => {
                return Err(on(
                    "its entry has it on another aggregate, and it is there; this copy is left over, and nobody is led to it"
                        .to_owned(),
                ));
            }
            Some(Elsewhere::Unknown(why)) => {
                return Err(on(format!(
                    "its entry has it elsewhere, and nobody can say whether it is there ({why}); export that aggregate and \
                     do this again, or drop the entry if that disk is lost: fts delfldbentry {} -yes",
                    entry.name
                )));
            }
        }
        wrong.push(Wrong::Place(booked));
    }
    let is_valid = |state| state == VersionState::Valid;
    let checks = [
        (entry.name != header.name, Wrong::Name),
        (
            (entry.quota_bytes, entry.quota_files) != (header.quota_bytes, header.quota_files),
            Wrong::Quota,
        ),
        (!is_valid(entry.rw), Wrong::ReadWrite),
        (is_valid(entry.backup) != header.has_backup, Wrong::Backup),
    ];
    wrong.extend(checks.into_iter().filter_map(|(is_so, wrong)| is_so.then_some(wrong)));
    let mend = || Step::Mend {
        header: header.clone(),
        entry: entry.clone(),
        wrong: wrong.clone(),
    };
    Ok((!wrong.is_empty()).then(mend))
}

async fn carry_out(client: &FldbClient, disks: &Disks, server: &Address, step: &Step) -> Result<()> {
    let (header, wrong) = match step {
        Step::Create(header) => (header, &[Wrong::Name, Wrong::ReadWrite][..]),
        Step::Mend { header, wrong, .. } => (header, wrong.as_slice()),
        Step::Delete { entry, .. } => return delete(client, disks, entry).await,
    };
    for before in wrong {
        if let Wrong::Place(Some(before)) = before {
            // Its owner says that it is not there: no entry goes away from a disk that has its fileset.
            let known = disks.servers.aggregates.iter().find(|known| known.id == *before);
            if let Some(aggregate) = known {
                let control = disks.servers.control_of(client, aggregate).await?;
                control.check_fileset(header.id).await?;
            }
        }
    }
    let is_booking = |wrong: &Wrong| matches!(wrong, Wrong::Name | Wrong::Place(_) | Wrong::Quota);
    if wrong.iter().any(is_booking) {
        let change = Change::BookFileset {
            fileset: header.id,
            name: header.name.clone(),
            server: server.clone(),
            aggregate: AggregateRef::Name(header.aggregate.clone()),
            quota_bytes: header.quota_bytes,
            quota_files: header.quota_files,
        };
        client.change(change).await?;
    }
    let is_version = |wrong: &Wrong| matches!(wrong, Wrong::Place(_) | Wrong::ReadWrite | Wrong::Backup);
    if wrong.iter().any(is_version) {
        disks.control.check_fileset(header.id).await?;
    }
    Ok(())
}

/// An entry goes when the owner of its aggregate says that the fileset is not there, and no replica is left.
async fn delete(client: &FldbClient, disks: &Disks, entry: &Fileset) -> Result<()> {
    if disks.control.check_fileset(entry.id).await?.has_rw {
        return Err(Error::new(Kind::Busy, format!("fileset {}", entry.name)).because("it has just been made"));
    }
    if entry.ro == VersionState::Valid {
        return Ok(());
    }
    let fileset = FilesetRef::Id(entry.id);
    client.change(Change::ForgetFileset { fileset }).await.map(drop)
}

/// What is said of a step.
pub(super) fn deed(step: &Step, carry: Carry, servers: &Servers, error: Option<String>) -> Deed {
    let (action, name, id, lines) = match step {
        Step::Create(header) => {
            let created = verb(carry, "Created", "create");
            let line = format!(
                "{created} FLDB entry for fileset {} ({}) on aggregate {}",
                header.name, header.id, header.aggregate
            );
            ("create", &header.name, header.id, vec![line])
        }
        Step::Mend { header, entry, wrong } => {
            let lines = wrong
                .iter()
                .map(|wrong| mended(header, entry, *wrong, (carry, servers)));
            ("mend", &header.name, header.id, lines.collect())
        }
        Step::Delete { entry, aggregate } if entry.ro == VersionState::Valid => {
            let mend = verb(carry, "Mended", "mend");
            let line = format!(
                "{mend} FLDB entry for fileset {} ({}): its RW version is not on aggregate {aggregate}",
                entry.name, entry.id
            );
            ("mend", &entry.name, entry.id, vec![line])
        }
        Step::Delete { entry, aggregate } => {
            let deleted = verb(carry, "Deleted", "delete");
            let line = format!(
                "{deleted} FLDB entry for fileset {} ({}): it is not on aggregate {aggregate}",
                entry.name, entry.id
            );
            ("delete", &entry.name, entry.id, vec![line])
        }
    };
    Deed {
        action,
        fileset: name.to_string(),
        id,
        lines,
        error,
    }
}

fn mended(header: &FilesetReport, entry: &Fileset, wrong: Wrong, (carry, servers): (Carry, &Servers)) -> String {
    let mend = verb(carry, "Mended", "mend");
    let what = match wrong {
        Wrong::Name => format!("its name was {}", entry.name),
        Wrong::Place(None) => format!("it is on aggregate {}, and was nowhere", header.aggregate),
        Wrong::Place(Some(before)) => {
            let known = servers.aggregates.iter().find(|known| known.id == before);
            let before = known.map_or_else(|| before.to_string(), |known| known.name.to_string());
            format!("it is on aggregate {}, not on {before}", header.aggregate)
        }
        Wrong::Quota => format!(
            "its quota is {} bytes and {} files, not {} and {}",
            header.quota_bytes, header.quota_files, entry.quota_bytes, entry.quota_files
        ),
        Wrong::ReadWrite => "its RW version is there".to_owned(),
        Wrong::Backup if header.has_backup => "its backup version is there".to_owned(),
        Wrong::Backup => "its backup version is not there".to_owned(),
    };
    format!("{mend} FLDB entry for fileset {} ({}): {what}", header.name, header.id)
}

fn summary(plan: &Plan, deeds: &[Deed], (words, headers): (&SyncDisks, usize)) -> String {
    let count = |action: &str| {
        let done = deeds
            .iter()
            .filter(|deed| deed.action == action && deed.error.is_none());
        done.count()
    };
    let failed = deeds.iter().filter(|deed| deed.error.is_some()).count();
    let conflicts = plan.left.iter().filter(|left| left.is_conflict).count();
    format!(
        "Total filesets on server {}: {headers}; FLDB entries {}: {}; {}: {}; {}: {}; failed: {failed}; conflicts: \
         {conflicts}\n",
        words.server,
        if words.carry() == Carry::Out {
            "created"
        } else {
            "to create"
        },
        count("create"),
        if words.carry() == Carry::Out {
            "mended"
        } else {
            "to mend"
        },
        count("mend"),
        if words.carry() == Carry::Out {
            "deleted"
        } else {
            "to delete"
        },
        count("delete"),
    )
}
