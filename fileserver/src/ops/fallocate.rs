//! `fallocate`: room for a file, or holes in it.

use baton_aggregate::aggregate::Done;
use baton_aggregate::file;
use baton_aggregate::fileset::Object;
use baton_types::call::Allocate;
use baton_types::{Fid, Result};

use super::Cx;
use crate::right;

pub(super) fn fallocate(cx: &Cx<'_>, fid: Fid, (offset, len): (u64, u64), how: Allocate) -> Result<Done<Object>> {
    let range = offset..offset.saturating_add(len);
    file::fallocate(cx.fileset, &cx.operation, (fid, range), how, &mut |old, new| {
        right::write(cx.who, fid, old)?;
        if !cx.who.is_root() {
            new.mode = right::without_set_ids(new.mode);
        }
        Ok(())
    })
}
