//! `copy_file_range` within a fileset, or from one of its snapshots: the files share the blocks.

use baton_aggregate::aggregate::Done;
use baton_aggregate::file::{self, Copy};
use baton_aggregate::fileset::Object;
use baton_aggregate::format::Lsn;
use baton_types::{Fid, Result};

use super::Cx;
use crate::right;

/// Who copies must be one who may read the source and write to the target.
pub(super) fn copy(cx: &Cx<'_>, copy: Copy) -> Result<Done<Object>> {
    let copy = of_snapshot(cx, copy)?;
    file::copy_as(cx.fileset, &cx.operation, copy, &mut |(source, old), new| {
        right::read(cx.who, copy.source.0, source)?;
        right::write(cx.who, copy.target.0, old)?;
        if !cx.who.is_root() {
            new.mode = right::without_set_ids(new.mode);
        }
        Ok(())
    })
}

/// The same, if the source is in a snapshot of the target's fileset, as the store names that. One that is no more has no
/// place in history, and whoever says the copy again is to hear the same; one that the next owner may not have is waited
/// for, or the copy could not be said again to him.
fn of_snapshot(cx: &Cx<'_>, copy: Copy) -> Result<Copy> {
    let (source, offset) = copy.source;
    let live = copy.target.0.fileset;
    match source.fileset.snapshot_number() {
        Some(number) if source.fileset.live() == live => {
            let snapshot = cx.fileset.snapshot_numbered(number);
            cx.fileset
                .until_snapshots_last(snapshot.as_ref().map(|snapshot| snapshot.id))?;
            Ok(Copy {
                source: (
                    Fid {
                        fileset: live,
                        ..source
                    },
                    offset,
                ),
                past: Some(snapshot.map_or(Lsn(0), |snapshot| snapshot.id)),
                ..copy
            })
        }
        _ => Ok(copy),
    }
}
