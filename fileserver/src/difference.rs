//! In what two snapshots of a fileset differ, or one and now: found by the store, told a piece at a time.
//!
//! Who compares with now comes to the fileset for a moment as a client of its own: whoever was alone there gives that
//! back first, so that the server knows what was done. Snapshots need nobody, for nothing in them changes.
//!
//! A reader who is slow makes the comparison wait; one who is gone ends it, and so does the aggregate's next owner.

use std::sync::Arc;

use baton_aggregate::aggregate::{Comparison, Fileset, Pair, Renames, SnapshotInfo, Step};
use baton_types::control::Difference;
use baton_types::limits::{DIFFERENCE_PATH_BYTES_MAX, DIFFERENCES_PIECE_BYTES};
use baton_types::record;
use baton_types::{Error, FileName, FilesetId, Kind, Result};

use crate::claims::{Claims, blocking};
use crate::exports::Export;
use crate::filesets::booked;
use crate::inside::Inside;
use crate::snapshots::named;

/// What a difference takes in a message besides its paths.
const BYTES: usize = 24;

/// What is asked for.
pub struct Wish {
    /// Of which fileset.
    pub fileset: FilesetId,
    /// From which snapshot.
    pub from: FileName,
    /// To which one; `None`: to now.
    pub to: Option<FileName>,
    /// From its root; empty: all of it.
    pub path: Vec<u8>,
}

/// Tells all differences, in pieces that a message has room for.
///
/// # Errors
/// `NotFound` without such a snapshot, without the path in either, or if a snapshot is deleted meanwhile; `Moved` if the
/// fileset is booked elsewhere; `Detached` if it goes there meanwhile; `Limit` for a path that no message has room for;
/// what `tell` says; damage.
pub async fn difference(
    claims: &Arc<Claims>,
    wish: Wish,
    tell: impl FnMut(Vec<Difference>) -> Result<()> + Send + 'static,
) -> Result<()> {
    let (fileset, export) = booked(claims, wish.fileset).await?;
    let claims = claims.clone();
    blocking(move || run(&claims, &export, (&fileset, &wish), tell)).await
}

fn run(
    claims: &Claims,
    export: &Export,
    (fileset, wish): (&record::Fileset, &Wish),
    tell: impl FnMut(Vec<Difference>) -> Result<()>,
) -> Result<()> {
    let live = export.aggregate().fileset(fileset.id)?;
    let snapshot = |name: &FileName| named(&live, &fileset.name, name);
    let from = snapshot(&wish.from)?;
    let to = wish.to.as_ref().map(snapshot).transpose()?;
    live.until_snapshots_last(None)?;
    let present = match to {
        Some(_) => None,
        None => Some(Inside::join(&claims.service, &*claims.clock, export, fileset.id)?),
    };
    let compared = begin(&live, (&from, to.as_ref()), &wish.path).and_then(|comparison| {
        drop(present);
        comparison.map_or(Ok(()), |comparison| told(export, comparison, tell))
    });
    let is_kept = |snapshot: &&SnapshotInfo| live.snapshots().iter().any(|kept| kept.id == snapshot.id);
    compared.map_err(|error| {
        let mut both = std::iter::once(&from).chain(&to);
        let Some(gone) = both.find(|snapshot| !is_kept(snapshot)) else {
            return error;
        };
        Error::new(
            Kind::NotFound,
            format!("snapshot '{}' of fileset {}", gone.name, fileset.name),
        )
        .because("it was deleted while it was compared")
        .remedy(format!("those that are kept: fts snapshot list {}", fileset.name))
    })
}

/// `None` where nothing can differ.
fn begin(
    live: &Fileset,
    (from, to): (&SnapshotInfo, Option<&SnapshotInfo>),
    path: &[u8],
) -> Result<Option<Comparison>> {
    let target = match to {
        Some(to) if to.id == from.id => return Ok(None),
        Some(to) => live.at(to.id)?,
        None => live.clone(),
    };
    let mut comparison = Comparison::new(&live.at(from.id)?, &target, Renames::Told)?;
    comparison.begin(path)?;
    Ok(Some(comparison))
}

fn told(export: &Export, comparison: Comparison, mut tell: impl FnMut(Vec<Difference>) -> Result<()>) -> Result<()> {
    let (mut piece, mut bytes) = (Vec::new(), 0);
    for step in comparison {
        let pair = match step? {
            Step::Enter(pair) | Step::File(pair) => pair,
            Step::Leave => continue,
        };
        for path in [&pair.from, &pair.to].into_iter().flatten().map(|found| &found.path) {
            check(path)?;
            bytes += path.len() + BYTES;
        }
        of(pair, &mut piece);
        if bytes >= DIFFERENCES_PIECE_BYTES {
            bytes = 0;
            tell(std::mem::take(&mut piece))?;
        }
        if !export.accepting() {
            let error = Error::new(Kind::Detached, format!("aggregate {}", export.name));
            return Err(error
                .because("another server takes it")
                .remedy("give the command again"));
        }
    }
    match piece.is_empty() {
        true => Ok(()),
        false => tell(piece),
    }
}

fn check(path: &[u8]) -> Result<()> {
    if path.len() <= DIFFERENCE_PATH_BYTES_MAX {
        return Ok(());
    }
    let begin = path[..DIFFERENCE_PATH_BYTES_MAX / 1_024].escape_ascii();
    let error = Error::new(Kind::Limit, format!("path of {} bytes: '{begin}'...", path.len()));
    Err(error
        .because(format!("an answer has room for {DIFFERENCE_PATH_BYTES_MAX}"))
        .remedy("compare less at once: -path"))
}

/// What is to be told of a pair: nothing, or up to two differences.
fn of(pair: Pair, piece: &mut Vec<Difference>) {
    let (old, new) = match (pair.from, pair.to) {
        (Some(from), Some(to)) => (from.path, to.path),
        (Some(from), None) => return piece.push(Difference::Removed(from.path)),
        (None, Some(to)) => return piece.push(Difference::Added(to.path)),
        (None, None) => return,
    };
    if pair.differing.is_renamed {
        let new = new.clone();
        piece.push(Difference::Renamed { old, new });
    }
    if pair.differing.is_content {
        piece.push(Difference::Content(new));
    } else if pair.differing.is_attributes {
        piece.push(Difference::Attributes(new));
    }
}

#[cfg(test)]
mod tests {
    use baton_aggregate::aggregate::{Differing, Found};
    use baton_aggregate::fileset::Object;
    use baton_aggregate::format::Attributes;
    use baton_types::{Fid, Timestamp, Vnode};

    use super::*;

    fn found(path: &[u8]) -> Found {
        let date = Timestamp(0);
        let attributes = Attributes {
            mode: 0o100_644,
            uid: 0,
            gid: 0,
            links: 1,
            size: 0,
            blocks: 0,
            data_version: 0,
            unique: 0,
            accessed: date,
            modified: date,
            changed: date,
            created: date,
            parent: None,
            device: 0,
            acl: 0,
            flags: 0,
            promised: 0,
            promised_in: 0,
        };
        let fid = Fid {
            fileset: FilesetId(1),
            vnode: Vnode::ROOT,
            unique: 0,
        };
        Found {
            path: path.to_vec(),
            object: Object { fid, attributes },
        }
    }

    #[test]
    fn what_was_renamed_and_changed_is_told_twice_and_what_is_the_same_not_at_all() {
        let mut piece = Vec::new();
        let both = |differing| Pair {
            from: Some(found(b"a")),
            to: Some(found(b"b")),
            differing,
        };
        of(both(Differing::default()), &mut piece);
        assert!(piece.is_empty());
        let differing = Differing {
            is_renamed: true,
            is_content: true,
            is_attributes: true,
        };
        of(both(differing), &mut piece);
        let (old, new) = (b"a".to_vec(), b"b".to_vec());
        assert_eq!(
            piece,
            [Difference::Renamed { old, new: new.clone() }, Difference::Content(new)]
        );
    }

    #[test]
    fn path_that_no_message_has_room_for_is_refused_with_its_beginning() {
        assert!(check(&[b'x'; DIFFERENCE_PATH_BYTES_MAX]).is_ok());
        let error = check(&[b'x'; DIFFERENCE_PATH_BYTES_MAX + 1]).unwrap_err();
        assert_eq!(error.kind, Kind::Limit);
        assert!(error.to_string().len() < 300, "{error}");
    }
}
