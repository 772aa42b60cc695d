//! `getattr`: the attributes of a file. Who knows its FID has walked there, and needs no further right.

use baton_aggregate::fileset as store;
use baton_types::call::Answer;
use baton_types::{Fid, Result};

use super::Cx;
use crate::shape;

pub(super) fn getattr(cx: &Cx<'_>, fid: Fid) -> Result<Answer> {
    let object = cx.fileset.read(|view| store::getattr(view, fid))?;
    Ok(Answer::Object(shape::object(&object)?))
}
