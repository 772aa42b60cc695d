//! `lookup`: what a name leads to; `lookup_parent`: the directory that a directory is in.

use baton_aggregate::fileset as store;
use baton_types::call::Answer;
use baton_types::file::Place;
use baton_types::{Fid, Kind, Result};

use super::Cx;
use crate::{right, shape};

pub(super) fn lookup(cx: &Cx<'_>, place: &Place) -> Result<Answer> {
    let names = cx.fileset.names();
    let object = cx.fileset.read(|view| {
        right::search(cx.who, view, place.directory)?;
        if right::is_reserved(place) {
            return Err(right::refused(place, Kind::NotFound).into());
        }
        store::lookup(view, &names, shape::place(place))
    })?;
    Ok(Answer::Object(shape::object(&object)?))
}

pub(super) fn lookup_parent(cx: &Cx<'_>, fid: Fid) -> Result<Answer> {
    let object = cx.fileset.read(|view| {
        right::search(cx.who, view, fid)?;
        store::lookup_parent(view, fid)
    })?;
    Ok(Answer::Object(shape::object(&object)?))
}
