//! `rename`: a name moves; what stood at its new place goes, stays, or takes the old one.

use baton_aggregate::aggregate::{Done, Need};
use baton_aggregate::fileset::{self as store, Holders, Names, Object};
use baton_aggregate::format::{Attributes, FileKind};
use baton_aggregate::transaction::Transaction;
use baton_aggregate::tree::Stop;
use baton_types::call::{Keep, Onto};
use baton_types::file::Place;
use baton_types::{Kind, Result};

use super::Cx;
use super::unlink::may_take;
use crate::right::{self, WRITE};
use crate::shape;

pub(super) fn rename(cx: &Cx<'_>, source: &Place, target: &Place, onto: Onto) -> Result<Done<Object>> {
    cx.fileset.operate(&cx.operation, Need::GROWTH, |transaction, names| {
        cx.lost.set(None);
        if source.directory.fileset != target.directory.fileset {
            return Err(right::refused(target, Kind::CrossFileset).into());
        }
        let moved = may_take(cx, transaction, names, source)?;
        let there = may_arrive(cx, transaction, names, target)?;
        if source.directory != target.directory {
            may_have_another_parent(cx, &moved)?;
        }
        let onto = match (onto, &there) {
            (Onto::Nothing, _) => store::Onto::Nothing,
            (Onto::Exchange, there) => {
                if let Some(there) = there.as_ref().filter(|_| source.directory != target.directory) {
                    may_have_another_parent(cx, there)?;
                }
                store::Onto::Exchange
            }
            (Onto::Anything(keep), there) => store::Onto::Anything(holders(cx, (&moved, there.as_ref()), keep)?),
        };
        store::rename(transaction, names, shape::place(source), shape::place(target), onto)
    })
}

/// What stands at a place that the caller may move something to.
fn may_arrive(
    cx: &Cx<'_>,
    transaction: &Transaction<'_>,
    names: &Names,
    target: &Place,
) -> Result<Option<Object>, Stop> {
    let directory = right::search(cx.who, transaction, target.directory)?;
    if right::is_reserved(target) {
        return Err(right::refused(target, Kind::Exists).into());
    }
    let there = match store::lookup(transaction, names, shape::place(target)) {
        Ok(there) => there,
        Err(Stop::Failed(error)) if error.kind == Kind::NotFound => {
            right::must(cx.who, target.directory, &directory, WRITE)?;
            return Ok(None);
        }
        Err(stop) => return Err(stop),
    };
    right::take_away(cx.who, (target.directory, &directory), (there.fid, &there.attributes))?;
    Ok(Some(there))
}

/// A directory that moves gets another way up: that is a change of itself.
fn may_have_another_parent(cx: &Cx<'_>, moved: &Object) -> Result<(), Stop> {
    match is_directory(&moved.attributes)? {
        true => right::must(cx.who, moved.fid, &moved.attributes, WRITE),
        false => Ok(()),
    }
}

/// Whether what makes way stays, if it makes way.
fn holders(cx: &Cx<'_>, (moved, there): (&Object, Option<&Object>), keep: Keep) -> Result<Holders, Stop> {
    let Some(there) = there.filter(|there| there.fid != moved.fid) else {
        return Ok(Holders::Nobody);
    };
    let goes = match is_directory(&moved.attributes)? {
        true => is_directory(&there.attributes)? && there.attributes.size == 0,
        false => !is_directory(&there.attributes)?,
    };
    match goes {
        true => cx.holders(there, keep),
        false => Ok(Holders::Nobody),
    }
}

fn is_directory(attributes: &Attributes) -> Result<bool> {
    let kind = shape::kind_of(attributes)?;
    Ok(matches!(kind, FileKind::Directory | FileKind::MountPoint))
}
