//! Snapshots of filesets: the server's half of taking, listing and deleting them.
//!
//! One of them may be the fileset's backup version: a snapshot by the name of [`BACKUP`], which the location database
//! knows as a version of its own. A new backup takes the place of the old one in one record, so that there is always
//! one. Each step is done again without harm.

use std::sync::Arc;

use baton_aggregate::aggregate::{Fileset, Namesake, SnapshotInfo};
use baton_aggregate::format::BLOCK_BYTES;
use baton_aggregate::transaction::Operation;
use baton_types::control::{BACKUP, SnapshotReport};
use baton_types::record::VersionState;
use baton_types::{Clock, Error, FileName, FilesetId, FilesetName, Kind, Result};

use crate::claims::{Claims, blocking};
use crate::exports::Export;
use crate::filesets::{booked, report};
use crate::inside::Inside;
use crate::service::Service;

/// Snapshots that an error names.
const NAMED_AT_ONCE: usize = 3;

/// Takes a snapshot.
///
/// # Errors
/// `NotFound` without an entry; `Moved` if the fileset is booked elsewhere; `Exists`; `Invalid` for the backup's name.
pub async fn take(claims: &Arc<Claims>, id: FilesetId, name: FileName) -> Result<SnapshotReport> {
    not_backup(&name).map_err(|error| error.remedy("fts clone makes the backup version"))?;
    taken(claims, id, (name, Namesake::Refuse))
        .await
        .map(|(report, _)| report)
}

/// Makes the backup version, or puts a new one in its place.
///
/// # Errors
/// As [`take`].
pub async fn clone(claims: &Arc<Claims>, id: FilesetId) -> Result<SnapshotReport> {
    let name = FileName::parse(BACKUP.as_bytes())?;
    let (snapshot, export) = taken(claims, id, (name, Namesake::Replace)).await?;
    report(claims, &export, id.backup(), VersionState::Valid).await?;
    Ok(snapshot)
}

async fn taken(
    claims: &Arc<Claims>,
    id: FilesetId,
    (name, namesake): (FileName, Namesake),
) -> Result<(SnapshotReport, Arc<Export>)> {
    let (fileset, export) = booked(claims, id).await?;
    let (taking, on) = (claims.clone(), export.clone());
    let id = fileset.id;
    let report = blocking(move || {
        let taken = take_now(&taking, &on, id, (&name, namesake))?;
        told(&on.aggregate().fileset(id)?, taken)
    })
    .await?;
    tracing::info!(fileset = %fileset.name, snapshot = %report.name, "snapshot taken");
    Ok((report, export))
}

/// Takes a snapshot of a fileset that is here, and waits until it is durable.
///
/// # Errors
/// `Busy` while an administrator works on the aggregate; what the store says.
pub fn take_now(
    claims: &Claims,
    export: &Export,
    id: FilesetId,
    (name, namesake): (&FileName, Namesake),
) -> Result<SnapshotInfo> {
    let _everybody = after_grace((&claims.service, &*claims.clock), export, id)?;
    let _turn = claims.works.begin("take snapshot", &export.name)?;
    let fileset = export.aggregate().fileset(id)?;
    let operation = Operation {
        time: claims.clock.date(),
        ..Operation::default()
    };
    let done = fileset.take_snapshot(&operation, name, namesake)?;
    done.answer?;
    export.aggregate().wait(done.lsn)?;
    let gone = || Error::new(Kind::Stale, format!("snapshot '{name}' of fileset {id}")).because("deleted at once");
    fileset.snapshot_named(name.as_bytes()).ok_or_else(gone)
}

/// All of them, oldest first.
///
/// # Errors
/// `NotFound` without an entry; `Moved` if the fileset is booked elsewhere; damage.
pub async fn list(claims: &Claims, id: FilesetId) -> Result<Vec<SnapshotReport>> {
    let (fileset, export) = booked(claims, id).await?;
    blocking(move || {
        let fileset = export.aggregate().fileset(fileset.id)?;
        let all = fileset.snapshots().into_iter();
        fileset.until_snapshots_last(None)?;
        // One that goes meanwhile is none any more.
        let still = |report: &Result<SnapshotReport>| !matches!(report, Err(error) if error.kind == Kind::NotFound);
        all.map(|snapshot| told(&fileset, snapshot)).filter(still).collect()
    })
    .await
}

/// Deletes one; what it alone had is given back by and by.
///
/// # Errors
/// `NotFound`; `Invalid` for the backup's name; `Moved` if the fileset is booked elsewhere.
pub async fn delete(claims: &Arc<Claims>, id: FilesetId, name: FileName) -> Result<()> {
    not_backup(&name).map_err(|error| error.remedy("fts clone puts a new one in its place"))?;
    let (fileset, export) = booked(claims, id).await?;
    let claims = claims.clone();
    blocking(move || {
        let _everybody = after_grace((&claims.service, &*claims.clock), &export, fileset.id)?;
        let _turn = claims.works.begin("delete snapshot", &export.name)?;
        let files = export.aggregate().fileset(fileset.id)?;
        let snapshot = named(&files, &fileset.name, &name)?;
        let done = files.delete_snapshot(&Operation::default(), snapshot.id)?;
        done.answer?;
        export.aggregate().wait(done.lsn)
    })
    .await
}

/// Waits until all clients of the last owner have said again what was accepted: a new snapshot is to have that, and they may
/// have copied from one that is about to go.
pub(crate) fn after_grace<'a>(
    (service, clock): (&'a Service, &'a dyn Clock),
    export: &Export,
    id: FilesetId,
) -> Result<Option<Inside<'a>>> {
    match service.awaits(export, id)? {
        true => Ok(Some(Inside::join(service, clock, export, id)?.0)),
        false => Ok(None),
    }
}

/// The snapshot of this name.
///
/// # Errors
/// `NotFound`, with some that there are.
pub fn named(fileset: &Fileset, of: &FilesetName, name: &FileName) -> Result<SnapshotInfo> {
    fileset.snapshot_named(name.as_bytes()).ok_or_else(|| {
        let all = fileset.snapshots();
        let newest = all.iter().rev().take(NAMED_AT_ONCE);
        let newest: Vec<String> = newest.map(|snapshot| snapshot.name.to_string()).collect();
        let missing = Error::new(Kind::NotFound, format!("snapshot '{name}' of fileset {of}"));
        match all.len() {
            0 => missing
                .because("it has no snapshot")
                .remedy(format!("fts snapshot create {of} NAME takes one")),
            count => missing
                .because(format!("of {count} that it has the newest: {}", newest.join(", ")))
                .remedy(format!("all of them: fts snapshot list {of}")),
        }
    })
}

fn told(fileset: &Fileset, snapshot: SnapshotInfo) -> Result<SnapshotReport> {
    Ok(SnapshotReport {
        unique_bytes: fileset.unique_blocks(snapshot.id)? * BLOCK_BYTES as u64,
        name: snapshot.name,
        taken: snapshot.taken,
        used_bytes: snapshot.usage.bytes,
        used_files: snapshot.usage.files,
    })
}

fn not_backup(name: &FileName) -> Result<()> {
    match name.as_bytes() == BACKUP.as_bytes() {
        true => {
            Err(Error::new(Kind::Invalid, format!("snapshot '{name}'")).because("it is the fileset's backup version"))
        }
        false => Ok(()),
    }
}
