//! Bringing the past back: what a fileset held at a snapshot, all of it or one path.
//!
//! 1. This server comes to the fileset as a client of its own: whoever was alone there gives that back.
//! 2. A snapshot of the present is taken, so that this can be undone.
//! 3. Now and then are compared, and where they differ, then is made to be (`walk`).
//!
//! What is cut short is given again: the walk does what is left. A dry run walks and changes nothing.

mod bytes;
pub(crate) mod walk;

use std::sync::Arc;

use baton_aggregate::aggregate::{Comparison, Namesake, Renames, SnapshotInfo};
use baton_types::control::{Carry, Moment, RestoreReport};
use baton_types::file::{FileKind, Object, Place};
use baton_types::{Error, Fid, FileName, FilesetId, Kind, Result};

use crate::claims::{Claims, blocking};
use crate::exports::Export;
use crate::filesets::booked;
use crate::inside::Inside;
use crate::snapshots;
use walk::Walk;

/// Names of snapshots that were taken before the past was brought back begin so.
const BEFORE_RESTORE: &str = "before-restore.";
/// The same, when that was undone.
const BEFORE_UNDO: &str = "before-undo.";

/// What is asked for.
pub struct Wish {
    /// Of which fileset.
    pub fileset: FilesetId,
    /// To when.
    pub moment: Moment,
    /// From its root; empty: all of it.
    pub path: Vec<u8>,
    /// Whether it is done.
    pub carry: Carry,
}

/// Brings the past of a fileset back.
///
/// # Errors
/// `NotFound` without a snapshot of that moment, or without the path in it; `Moved` if it is booked elsewhere; what
/// the service says of a change: then what was done before it is done, and the snapshot of before is there.
pub async fn restore(claims: &Arc<Claims>, wish: Wish) -> Result<RestoreReport> {
    let (fileset, export) = booked(claims, wish.fileset).await?;
    let claims = claims.clone();
    let done = blocking(move || run(&claims, &export, &wish)).await;
    match &done {
        Ok(report) => {
            let steps = report.steps.len();
            tracing::info!(name = %fileset.name, from = %report.from, before = %report.before, steps, "fileset restored");
        }
        Err(error) => tracing::warn!(%error, name = %fileset.name, "fileset not restored"),
    }
    done
}

fn run(claims: &Claims, export: &Export, wish: &Wish) -> Result<RestoreReport> {
    let from = source(export, wish)?;
    let (inside, now) = Inside::join(&claims.service, &*claims.clock, export, wish.fileset)?;
    let past = wish.fileset.snapshot(from.number);
    let then = inside.attributes(Fid {
        fileset: past,
        ..now.fid
    })?;
    let place = find(&inside, (then, now), &wish.path)?;
    let before = match wish.carry {
        Carry::Nothing => String::new(),
        Carry::Out => snapshot_of_now(claims, export, wish)?,
    };
    let fileset = export.aggregate().fileset(wish.fileset)?;
    let mut comparison = Comparison::new(&fileset, &fileset.at(from.id)?, Renames::Apart)?;
    let mut walk = Walk::new(&inside, wish.carry, past, place);
    let walked = comparison.begin(&wish.path).and_then(|()| walk.along(comparison));
    let done = walked.and_then(|()| match wish.carry {
        Carry::Nothing => Ok(()),
        Carry::Out => inside.sync(),
    });
    done.map_err(|error| match before.as_str() {
        "" => error,
        before => error.remedy(format!(
            "give the command again; what was there before is in the snapshot {before}"
        )),
    })?;
    Ok(RestoreReport {
        from: from.name.to_string(),
        taken: from.taken,
        steps: walk.steps,
        before,
    })
}

/// The snapshot that is wished for.
fn source(export: &Export, wish: &Wish) -> Result<SnapshotInfo> {
    let fileset = export.aggregate().fileset(wish.fileset)?;
    let all = fileset.snapshots();
    fileset.until_snapshots_last(None)?;
    let none = |why: String, remedy: &str| {
        let error = Error::new(Kind::NotFound, format!("fileset {}", wish.fileset));
        error.because(why).remedy(remedy)
    };
    match &wish.moment {
        Moment::At(at) => {
            let oldest = all.first().map(|oldest| oldest.taken);
            let found = all.into_iter().rev().find(|snapshot| snapshot.taken <= *at);
            found.ok_or_else(|| match oldest {
                Some(_) => none(
                    "all its snapshots are younger than that".to_owned(),
                    "fts snapshot list shows when they were taken",
                ),
                None => none(
                    "it has no snapshot".to_owned(),
                    "snapshots are taken by fts snapshot create and fts clone",
                ),
            })
        }
        Moment::BeforeLast => {
            let is_it = |snapshot: &SnapshotInfo| snapshot.name.as_bytes().starts_with(BEFORE_RESTORE.as_bytes());
            let found = all.into_iter().rev().find(is_it);
            found.ok_or_else(|| {
                none(
                    format!("it was never restored: no snapshot's name begins with '{BEFORE_RESTORE}'"),
                    "fts restorehome -at brings back any moment that there is a snapshot of",
                )
            })
        }
    }
}

fn snapshot_of_now(claims: &Claims, export: &Export, wish: &Wish) -> Result<String> {
    let first = match wish.moment {
        Moment::At(_) => BEFORE_RESTORE,
        Moment::BeforeLast => BEFORE_UNDO,
    };
    let name = FileName::parse(format!("{first}{}", claims.clock.date()).as_bytes())?;
    snapshots::take_now(claims, export, wish.fileset, (&name, Namesake::Refuse))?;
    Ok(name.to_string())
}

/// Goes to the path, then and now; where it is now, unless it is the root.
fn find(inside: &Inside<'_>, (mut then, mut now): (Object, Object), path: &[u8]) -> Result<Option<Place>> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
    let mut names = names.map(FileName::parse).collect::<Result<Vec<_>>>()?;
    let Some(last) = names.pop() else { return Ok(None) };
    let missing = |name: &FileName, why: &str| Error::new(Kind::NotFound, format!("'{name}' of the path")).because(why);
    for name in &names {
        let below = |directory: Fid| {
            let name = name.clone();
            let found = inside.lookup(Place { directory, name })?;
            Ok::<_, Error>(found.filter(|found| found.attributes.kind == FileKind::Directory))
        };
        then = below(then.fid)?.ok_or_else(|| missing(name, "it was no directory then"))?;
        now = below(now.fid)?.ok_or_else(|| {
            missing(name, "it is no directory any more").remedy("bring the directory back first: a shorter -path")
        })?;
    }
    let at = |directory: Fid| Place {
        directory,
        name: last.clone(),
    };
    match (inside.lookup(at(then.fid))?, inside.lookup(at(now.fid))?) {
        (None, None) => Err(missing(&last, "there was no such file, and there is none")),
        _ => Ok(Some(at(now.fid))),
    }
}
