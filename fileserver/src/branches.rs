//! Filesets that go on from snapshots: back to one of their own, or a new one from another's.
//!
//! Going back:
//! 1. This server comes to the fileset as a client of its own: whoever was alone there gives that back, and nobody is
//!    while it goes on. What clients had cached they have forgotten, and what they changed is in the log.
//! 2. The store goes back, in one record. The present is kept as a snapshot, so that this can be undone.
//! 3. What has no name then and is held open by nobody goes.
//!
//! Whoever has something open that is not there any more is told so (`ESTALE`); what is there under its name for ever
//! stays open, with the bytes of then.
//!
//! A clone is made like any other fileset: entry, *invalid*; on the disk, in one record; *valid*. Each step is done again
//! without harm.

use std::sync::Arc;

use baton_aggregate::aggregate::{Fileset, SnapshotInfo};
use baton_aggregate::fileset::catalog;
use baton_aggregate::format::{Base, FilesetHeader, FilesetKind, HashKey, Key, Lsn};
use baton_aggregate::transaction::Operation;
use baton_types::control::{Carry, RollBackReport};
use baton_types::record::{self, VersionState};
use baton_types::{Error, FileName, FilesetId, Kind, Result, Timestamp};

use crate::claims::{Claims, blocking};
use crate::exports::Export;
use crate::filesets::{booked, report};
use crate::inside::Inside;
use crate::snapshots::named;

/// Names of snapshots that were taken before a fileset went back begin so.
const BEFORE: &str = "before-rollback.";

/// A fileset is to go back.
pub struct Back {
    /// Which.
    pub fileset: FilesetId,
    /// To its snapshot of this name.
    pub to: FileName,
    /// Whether it is done.
    pub carry: Carry,
}

/// A fileset is to be made of a snapshot of another one.
pub struct Cloning {
    /// Its entry in the location database.
    pub clone: FilesetId,
    /// Whose snapshot.
    pub origin: FilesetId,
    /// Its name.
    pub snapshot: FileName,
}

/// Takes a fileset back to one of its snapshots, or says what that would do.
///
/// # Errors
/// `NotFound` without such a snapshot; `Moved` if the fileset is booked elsewhere; `Busy` while an administrator works on
/// its aggregate; `Limit` with as many snapshots as there may be; what the service and the store say.
pub async fn roll_back(claims: &Arc<Claims>, wish: Back) -> Result<RollBackReport> {
    let (fileset, export) = booked(claims, wish.fileset).await?;
    let claims = claims.clone();
    blocking(move || back(&claims, &export, (&fileset, &wish))).await
}

fn back(claims: &Claims, export: &Export, (entry, wish): (&record::Fileset, &Back)) -> Result<RollBackReport> {
    let fileset = export.aggregate().fileset(entry.id)?;
    let to = named(&fileset, &entry.name, &wish.to)?;
    if wish.carry == Carry::Nothing {
        return Ok(told(&fileset, &to, String::new()));
    }
    let (inside, _) = Inside::join(&claims.service, &*claims.clock, export, entry.id)?;
    let _turn = claims.works.begin("roll back", &export.name)?;
    let date = claims.clock.date();
    let before = FileName::parse(format!("{BEFORE}{date}").as_bytes())?;
    let report = told(&fileset, &to, before.to_string());
    let operation = Operation {
        time: date,
        ..Operation::default()
    };
    claims.service.change_whole(export, (entry.id, inside.client()), || {
        let done = fileset.roll_back(&operation, to.id, &before)?;
        done.answer.map(|_| done.lsn)
    })?;
    tracing::info!(name = %entry.name, to = %to.name, %before, "fileset rolled back");
    Ok(report)
}

fn told(fileset: &Fileset, to: &SnapshotInfo, before: String) -> RollBackReport {
    let now = fileset.usage();
    RollBackReport {
        taken: to.taken,
        then_bytes: to.usage.bytes,
        then_files: to.usage.files,
        now_bytes: now.bytes,
        now_files: now.files,
        before,
    }
}

/// Makes the fileset that has this entry of a snapshot of another one, on the same aggregate.
///
/// # Errors
/// `NotFound` without entries or snapshot; `Moved` if one of them is booked elsewhere; `Invalid` if they are booked on two
/// aggregates; `Exists` if it is there and went on from something else; `NoSpace`; damage.
pub async fn clone(claims: &Arc<Claims>, wish: Cloning) -> Result<()> {
    let (clone, export) = booked(claims, wish.clone).await?;
    let (origin, on) = booked(claims, wish.origin).await?;
    if on.id != export.id {
        let error = Error::new(Kind::Invalid, format!("fileset {}", clone.name));
        return Err(error.because(format!(
            "it is booked on {}, and {} on {}",
            export.name, origin.name, on.name
        )));
    }
    let _turn = claims.works.begin("clone snapshot", &export.name)?;
    let (making, entry, date) = (export.clone(), clone.clone(), claims.clock.date());
    let name = origin.name.clone();
    blocking(move || {
        let origin = making.aggregate().fileset(wish.origin)?;
        let snapshot = named(&origin, &name, &wish.snapshot)?;
        make(&making, (&origin, snapshot.id), &entry, date)
    })
    .await?;
    claims.exports.add_fileset(&export, clone.id);
    let (service, swept) = (claims.service.clone(), export.clone());
    blocking(move || service.sweep(&swept, clone.id)).await?;
    report(claims, &export, clone.id, VersionState::Valid).await?;
    tracing::info!(fileset = %clone.id, name = %clone.name, of = %origin.name, "snapshot cloned");
    Ok(())
}

/// A clone on the disk, durable; one that was made before, of the same snapshot, is as good.
fn make(export: &Export, (origin, snapshot): (&Fileset, Lsn), entry: &record::Fileset, date: Timestamp) -> Result<()> {
    let aggregate = export.aggregate();
    let there = aggregate.read_system(|system| {
        let header = catalog::header(system, entry.id)?;
        let base = system.last_at_or_before(Key::base(entry.id, Lsn(u64::MAX)))?;
        let base = base.map(|(_, base)| Base::decode(&base)).transpose()?;
        Ok((header, base))
    });
    let (header, base) = match there {
        Err(error) if error.kind == Kind::NotFound => {
            let header = FilesetHeader {
                kind: FilesetKind::ReadWrite,
                name: entry.name.clone(),
                hash_key: HashKey([0; 16]), // it takes its origin's
                created: date,
                quota_bytes: entry.quota_bytes,
                quota_files: entry.quota_files,
                newest_snapshot: Lsn(0),
                origin: origin.id().0,
                snapshots_taken: 0,
                version: 0,
            };
            let operation = Operation {
                time: date,
                ..Operation::default()
            };
            let lsn = origin.make_clone(&operation, snapshot, entry.id, &header)?;
            return aggregate.wait(lsn);
        }
        there => there?,
    };
    let is_it = |base: &Base| (base.origin, base.snapshot) == (origin.id(), snapshot);
    match header.kind == FilesetKind::ReadWrite && base.as_ref().is_some_and(is_it) {
        true => aggregate.wait(aggregate.last()),
        false => Err(Error::new(Kind::Exists, format!("fileset {}", entry.name))
            .because("it is there, and is no clone of this snapshot")
            .remedy("delete it first, or take another name")),
    }
}

#[cfg(test)]
mod tests {
    use baton_aggregate::aggregate::Namesake;
    use baton_types::Epoch;
    use baton_types::record::VersionState;

    use super::*;
    use crate::testing::{export, make_fileset, new_disk};

    #[test]
    fn clone_that_was_made_is_made_again_without_harm_and_for_nothing_else() {
        let export = export(&new_disk(81), Epoch(1));
        make_fileset(export.aggregate(), 4, "home");
        let origin = export.aggregate().fileset(FilesetId(4)).unwrap();
        let take = |name: &[u8]| {
            let name = FileName::parse(name).unwrap();
            let done = origin.take_snapshot(&Operation::default(), &name, Namesake::Refuse);
            done.unwrap().answer.unwrap()
        };
        let (monday, tuesday) = (take(b"monday"), take(b"tuesday"));
        let entry = |id, name: &str| record::Fileset {
            id: FilesetId(id),
            name: name.parse().unwrap(),
            rw: VersionState::Invalid,
            ro: VersionState::Invalid,
            backup: VersionState::Invalid,
            sites: Vec::new(),
            quota_bytes: 1 << 30,
            quota_files: 7,
            lock: None,
        };
        let make = |of, entry: &record::Fileset| make(&export, (&origin, of), entry, Timestamp(5)).map_err(|e| e.kind);
        let copy = entry(8, "copy");
        for _ in 0..2 {
            make(monday, &copy).unwrap();
        }
        let header = export.aggregate().fileset(copy.id).unwrap().header();
        assert_eq!((header.origin, header.quota_bytes, header.quota_files), (4, 1 << 30, 7));
        assert_eq!(make(tuesday, &copy), Err(Kind::Exists));
        assert_eq!(make(monday, &entry(4, "home")), Err(Kind::Exists));
        assert_eq!(make(monday, &entry(12, "copy")), Err(Kind::Exists));
    }
}
