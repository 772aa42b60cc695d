//! `lookup`: what a name leads to; `lookup_parent`: the directory that a directory is in.

use baton_aggregate::fileset as store;
use baton_types::call::Answer;
use baton_types::file::Place;
use baton_types::{Fid, Kind, Result, Vnode};

use super::{Cx, snapshots};
use crate::{right, shape};

pub(super) fn lookup(cx: &Cx<'_>, place: &Place) -> Result<Answer> {
    let names = cx.fileset.names();
    let is_reserved = right::is_reserved(place);
    let object = cx.fileset.read(|view| {
        right::search(cx.who, view, place.directory)?;
        match (is_reserved, cx.fileset.snapshot()) {
            (false, _) => store::lookup(view, &names, shape::place(place)),
            (true, None) => store::root(view, place.directory.fileset),
            (true, Some(_)) => Err(right::refused(place, Kind::NotFound).into()),
        }
    })?;
    Ok(Answer::Object(match is_reserved {
        true => snapshots::directory(&object)?,
        false => shape::object(&object)?,
    }))
}

pub(super) fn lookup_parent(cx: &Cx<'_>, fid: Fid) -> Result<Answer> {
    let is_snapshot = fid.vnode == Vnode::ROOT && fid.fileset.snapshot_number().is_some();
    let object = cx.fileset.read(|view| {
        right::search(cx.who, view, fid)?;
        match is_snapshot {
            true => store::root(view, fid.fileset),
            false => store::lookup_parent(view, fid),
        }
    })?;
    Ok(Answer::Object(match is_snapshot {
        true => snapshots::directory(&object)?,
        false => shape::object(&object)?,
    }))
}
