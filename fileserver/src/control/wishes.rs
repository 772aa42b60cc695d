//! What is asked for, out of the messages that ask for it.

use baton_proto::{FromWire, v1};
use baton_types::control::{Carry, Moment};
use baton_types::{AggregateName, FileName, FilesetId, Result, Timestamp};

use crate::{branches, difference, growth, restore, scrub};

/// How large an aggregate is to be.
pub(super) fn growth(ask: &v1::GrowAggregateRequest) -> Result<growth::Wish> {
    Ok(growth::Wish {
        aggregate: AggregateName::from_wire(&ask.aggregate)?,
        bytes: (ask.bytes > 0).then_some(ask.bytes),
        carry: carry(ask.dry_run),
    })
}

/// What is asked of the scrub of an aggregate.
pub(super) fn scrub(ask: &v1::ScrubRequest) -> Result<scrub::Wish> {
    Ok(scrub::Wish {
        aggregate: AggregateName::from_wire(&ask.aggregate)?,
        wish: ask.try_into()?,
    })
}

/// What is to be brought back.
pub(super) fn restore(ask: v1::RestoreFilesetRequest) -> restore::Wish {
    restore::Wish {
        fileset: FilesetId(ask.fileset),
        moment: ask.at.map_or(Moment::BeforeLast, |at| Moment::At(Timestamp(at))),
        path: ask.path,
        carry: carry(ask.dry_run),
    }
}

/// Where a fileset is to go back to.
pub(super) fn roll_back(ask: &v1::RollBackFilesetRequest) -> Result<branches::Back> {
    Ok(branches::Back {
        fileset: FilesetId(ask.fileset),
        to: FileName::parse(&ask.snapshot)?,
        carry: carry(ask.dry_run),
    })
}

/// What is to be cloned.
pub(super) fn clone(ask: &v1::CloneSnapshotRequest) -> Result<branches::Cloning> {
    Ok(branches::Cloning {
        clone: FilesetId(ask.clone),
        origin: FilesetId(ask.fileset),
        snapshot: FileName::parse(&ask.snapshot)?,
    })
}

/// What is to be compared.
pub(super) fn difference(ask: v1::DiffSnapshotsRequest) -> Result<difference::Wish> {
    let to = Some(ask.to).filter(|to| !to.is_empty());
    Ok(difference::Wish {
        fileset: FilesetId(ask.fileset),
        from: FileName::parse(&ask.from)?,
        to: to.map(|to| FileName::parse(&to)).transpose()?,
        path: ask.path,
    })
}

fn carry(is_dry: bool) -> Carry {
    if is_dry { Carry::Nothing } else { Carry::Out }
}
