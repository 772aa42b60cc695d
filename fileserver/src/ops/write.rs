//! `write`: bytes into a file, at a place or at its end.

use baton_aggregate::aggregate::Done;
use baton_aggregate::file;
use baton_aggregate::fileset::Object;
use baton_types::call::At;
use baton_types::{Fid, Result};
use bytes::Bytes;

use super::Cx;
use crate::right;

pub(super) fn write(cx: &Cx<'_>, fid: Fid, at: At, payload: &Bytes) -> Result<Done<Object>> {
    file::write_as(cx.fileset, &cx.operation, (fid, at), payload, &mut |old, new| {
        right::write(cx.who, fid, old)?;
        if !cx.who.is_root() {
            new.mode = right::without_set_ids(new.mode);
        }
        Ok(())
    })
}
