//! Changes of filesets between their typed form and the wire.

use baton_types::change::{AggregateRef, Change, FilesetRef};
use baton_types::record::VersionState;
use baton_types::{Address, AggregateId, Epoch, FilesetId, FilesetName, Result, ServerId};
use v1::change::Change as Wire;

use super::{aggregate_bytes, fileset_bytes};
use crate::v1;
use crate::wire::{FromWire, bytes};

pub(super) fn to_wire(change: Change) -> Wire {
    match change {
        Change::CreateFileset {
            name,
            server,
            aggregate,
            quota_bytes,
        } => Wire::CreateFileset(v1::CreateFileset {
            name: bytes(name),
            server: bytes(server),
            aggregate: aggregate_bytes(aggregate),
            quota_bytes,
        }),
        Change::DeleteFileset {
            fileset,
            server,
            aggregate,
        } => Wire::DeleteFileset(v1::DeleteFileset {
            fileset: fileset_bytes(fileset),
            server: bytes(server),
            aggregate: aggregate_bytes(aggregate),
        }),
        Change::RenameFileset { fileset, name } => Wire::RenameFileset(v1::RenameFileset {
            fileset: fileset_bytes(fileset),
            name: bytes(name),
        }),
        Change::SetQuota { fileset, bytes, files } => Wire::SetQuota(v1::SetQuota {
            fileset: fileset_bytes(fileset),
            bytes,
            files,
        }),
        Change::LockFileset { fileset } => Wire::LockFileset(v1::LockFileset {
            fileset: fileset_bytes(fileset),
        }),
        Change::UnlockFileset { fileset } => Wire::UnlockFileset(v1::UnlockFileset {
            fileset: fileset_bytes(fileset),
        }),
        Change::BookFileset {
            fileset,
            name,
            server,
            aggregate,
            quota_bytes,
            quota_files,
        } => Wire::BookFileset(v1::BookFileset {
            fileset: fileset.0,
            name: bytes(name),
            server: bytes(server),
            aggregate: aggregate_bytes(aggregate),
            quota_bytes,
            quota_files,
        }),
        Change::ReserveFilesetIds { through } => Wire::ReserveFilesetIds(v1::ReserveFilesetIds { through: through.0 }),
        Change::ForgetFileset { fileset } => Wire::ForgetFileset(v1::ForgetFileset {
            fileset: fileset_bytes(fileset),
        }),
        Change::ReportFileset {
            server,
            aggregate,
            epoch,
            fileset,
            state,
        } => Wire::ReportFileset(v1::ReportFileset {
            server: server.0.as_bytes().to_vec(),
            aggregate: aggregate.0.as_bytes().to_vec(),
            epoch: epoch.0,
            fileset: fileset.0,
            valid: state == VersionState::Valid,
        }),
        other => unreachable!("{other:?} is no change of a fileset"),
    }
}

pub(super) fn create(c: v1::CreateFileset) -> Result<Change> {
    Ok(Change::CreateFileset {
        name: FilesetName::from_wire(&c.name)?,
        server: Address::from_wire(&c.server)?,
        aggregate: AggregateRef::from_wire(&c.aggregate)?,
        quota_bytes: c.quota_bytes,
    })
}

pub(super) fn delete(c: v1::DeleteFileset) -> Result<Change> {
    Ok(Change::DeleteFileset {
        fileset: FilesetRef::from_wire(&c.fileset)?,
        server: Address::from_wire(&c.server)?,
        aggregate: AggregateRef::from_wire(&c.aggregate)?,
    })
}

pub(super) fn rename(c: v1::RenameFileset) -> Result<Change> {
    Ok(Change::RenameFileset {
        fileset: FilesetRef::from_wire(&c.fileset)?,
        name: FilesetName::from_wire(&c.name)?,
    })
}

pub(super) fn set_quota(c: v1::SetQuota) -> Result<Change> {
    Ok(Change::SetQuota {
        fileset: FilesetRef::from_wire(&c.fileset)?,
        bytes: c.bytes,
        files: c.files,
    })
}

pub(super) fn book(c: v1::BookFileset) -> Result<Change> {
    Ok(Change::BookFileset {
        fileset: FilesetId(c.fileset),
        name: FilesetName::from_wire(&c.name)?,
        server: Address::from_wire(&c.server)?,
        aggregate: AggregateRef::from_wire(&c.aggregate)?,
        quota_bytes: c.quota_bytes,
        quota_files: c.quota_files,
    })
}

pub(super) fn report(c: v1::ReportFileset) -> Result<Change> {
    Ok(Change::ReportFileset {
        server: ServerId::from_wire(&c.server)?,
        aggregate: AggregateId::from_wire(&c.aggregate)?,
        epoch: Epoch(c.epoch),
        fileset: FilesetId(c.fileset),
        state: match c.valid {
            true => VersionState::Valid,
            false => VersionState::Invalid,
        },
    })
}
