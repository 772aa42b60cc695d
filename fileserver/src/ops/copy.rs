//! `copy_file_range` within a fileset: the files share the blocks.

use baton_aggregate::aggregate::Done;
use baton_aggregate::file::{self, Copy};
use baton_aggregate::fileset::Object;
use baton_types::Result;

use super::Cx;
use crate::right;

/// Who copies must be one who may read the source and write to the target.
pub(super) fn copy(cx: &Cx<'_>, copy: Copy) -> Result<Done<Object>> {
    file::copy_as(cx.fileset, &cx.operation, copy, &mut |(source, old), new| {
        right::read(cx.who, copy.source.0, source)?;
        right::write(cx.who, copy.target.0, old)?;
        if !cx.who.is_root() {
            new.mode = right::without_set_ids(new.mode);
        }
        Ok(())
    })
}
