//! `link`: another name for a file.

use baton_aggregate::aggregate::{Done, Need};
use baton_aggregate::fileset::{self as store, Object};
use baton_types::file::Place;
use baton_types::{Fid, Kind, Result};

use super::Cx;
use super::newborn::may_name;
use crate::{right, shape};

pub(super) fn link(cx: &Cx<'_>, fid: Fid, place: &Place) -> Result<Done<Object>> {
    cx.fileset.operate(&cx.operation, Need::GROWTH, |transaction, names| {
        if place.directory.fileset != fid.fileset {
            return Err(right::refused(place, Kind::CrossFileset).into());
        }
        may_name(cx, transaction, names, place)?;
        store::link(transaction, names, shape::place(place), fid)
    })
}
