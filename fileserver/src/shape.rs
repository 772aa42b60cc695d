//! The store's values as the wire knows them, and back.

use baton_aggregate::fileset as store;
use baton_aggregate::format::{self, Lsn};
use baton_types::call::Answer;
use baton_types::file::{Attributes, FileKind, MountPoint, Object, Place};
use baton_types::{Error, Kind, Result};

/// A file and its attributes.
///
/// # Errors
/// `Damaged` if its mode is none.
pub fn object(object: &store::Object) -> Result<Object> {
    Ok(Object {
        fid: object.fid,
        attributes: attributes(&object.attributes)?,
    })
}

/// The version of a file's data to clients, in a fileset whose branch began at `began`: of what was not changed since,
/// that of the branch. Its own comes again when the fileset goes back, while other bytes had later ones meanwhile: a
/// client would take its pages of those for good.
pub fn version_in(began: Lsn, version: u64) -> u64 {
    version.max(began.0)
}

/// The same in whatever files an answer tells of.
pub fn in_branch(mut answer: Answer, began: Lsn) -> Answer {
    answer.each_attributes(|attributes| attributes.data_version = version_in(began, attributes.data_version));
    answer
}

/// What `stat` tells.
///
/// # Errors
/// `Damaged` if the mode is none.
pub fn attributes(from: &format::Attributes) -> Result<Attributes> {
    Ok(Attributes {
        kind: kind(kind_of(from)?),
        mode: from.mode & 0o7777,
        uid: from.uid,
        gid: from.gid,
        links: from.links,
        size: from.size,
        blocks: from.blocks,
        data_version: from.data_version,
        accessed: from.accessed,
        modified: from.modified,
        changed: from.changed,
        created: from.created,
        parent: from.parent,
        device: from.device,
        acl: from.acl,
    })
}

/// What a file is, by its mode.
///
/// # Errors
/// `Damaged` if it is nothing.
pub fn kind_of(attributes: &format::Attributes) -> Result<format::FileKind> {
    let mode = attributes.mode;
    let damaged = || Error::new(Kind::Damaged, "attributes").because(format!("their mode is {mode:#o}"));
    format::FileKind::from_mode(mode).ok_or_else(damaged)
}

/// A kind for the wire.
pub fn kind(from: format::FileKind) -> FileKind {
    match from {
        format::FileKind::Regular => FileKind::Regular,
        format::FileKind::Directory => FileKind::Directory,
        format::FileKind::Symlink => FileKind::Symlink,
        format::FileKind::Fifo => FileKind::Fifo,
        format::FileKind::Socket => FileKind::Socket,
        format::FileKind::Character => FileKind::Character,
        format::FileKind::BlockDevice => FileKind::BlockDevice,
        format::FileKind::MountPoint => FileKind::MountPoint,
    }
}

/// A kind for the store.
pub fn stored_kind(from: FileKind) -> format::FileKind {
    match from {
        FileKind::Regular => format::FileKind::Regular,
        FileKind::Directory => format::FileKind::Directory,
        FileKind::Symlink => format::FileKind::Symlink,
        FileKind::Fifo => format::FileKind::Fifo,
        FileKind::Socket => format::FileKind::Socket,
        FileKind::Character => format::FileKind::Character,
        FileKind::BlockDevice => format::FileKind::BlockDevice,
        FileKind::MountPoint => format::FileKind::MountPoint,
    }
}

/// Where a mount point leads, for the wire.
pub fn mount_point(from: format::MountPoint) -> MountPoint {
    match from {
        format::MountPoint::Regular(fileset) => MountPoint::Regular(fileset),
        format::MountPoint::ReadWrite(fileset) => MountPoint::ReadWrite(fileset),
    }
}

/// Where a mount point leads, for the store.
pub fn stored_mount_point(from: MountPoint) -> format::MountPoint {
    match from {
        MountPoint::Regular(fileset) => format::MountPoint::Regular(fileset),
        MountPoint::ReadWrite(fileset) => format::MountPoint::ReadWrite(fileset),
    }
}

/// A place for the store.
pub fn place(from: &Place) -> store::Place<'_> {
    store::Place {
        directory: from.directory,
        name: &from.name,
    }
}
