//! What several operations have in common: FIDs, places, attributes, times, locks.

use std::fmt;

use baton_types::call::{Lock, LockKind, Newborn};
use baton_types::file::{Attributes, FileKind, MountPoint, Object, Place, SetAttributes, SetTime};
use baton_types::{Error, Fid, FileName, FilesetId, Kind, Result, Timestamp, Vnode};

use crate::v1;
use crate::wire::missing;

pub fn bad(what: &str, value: impl fmt::Display) -> Error {
    Error::new(Kind::Invalid, "frame").because(format!("{value} is no {what}"))
}

impl From<Fid> for v1::Fid {
    fn from(fid: Fid) -> v1::Fid {
        v1::Fid {
            fileset: fid.fileset.0,
            vnode: fid.vnode.number(),
            unique: fid.unique,
        }
    }
}

pub fn fid(wire: Option<v1::Fid>) -> Result<Fid> {
    let wire = wire.ok_or_else(|| missing("fid"))?;
    Ok(Fid {
        fileset: FilesetId(wire.fileset),
        vnode: Vnode::new(wire.vnode)?,
        unique: wire.unique,
    })
}

impl From<&Place> for v1::FilePlace {
    fn from(place: &Place) -> v1::FilePlace {
        v1::FilePlace {
            directory: Some(place.directory.into()),
            name: place.name.as_bytes().to_vec(),
        }
    }
}

pub fn place(wire: Option<v1::FilePlace>) -> Result<Place> {
    let wire = wire.ok_or_else(|| missing("place"))?;
    Ok(Place {
        directory: fid(wire.directory)?,
        name: FileName::parse(&wire.name)?,
    })
}

impl From<Newborn> for v1::Newborn {
    fn from(newborn: Newborn) -> v1::Newborn {
        v1::Newborn {
            vnode: newborn.vnode.number(),
            unique: newborn.unique,
            mode: newborn.mode,
        }
    }
}

pub fn newborn(wire: Option<v1::Newborn>) -> Result<Newborn> {
    let wire = wire.ok_or_else(|| missing("newborn"))?;
    Ok(Newborn {
        vnode: Vnode::new(wire.vnode)?,
        unique: wire.unique,
        mode: mode(wire.mode)?,
    })
}

fn mode(mode: u32) -> Result<u32> {
    match mode {
        0..=0o7777 => Ok(mode),
        _ => Err(bad("mode", format!("{mode:#o}"))),
    }
}

pub fn kind(number: u32) -> Result<FileKind> {
    FileKind::from_number(number).ok_or_else(|| bad("kind of file", number))
}

impl From<Attributes> for v1::FileAttributes {
    fn from(a: Attributes) -> v1::FileAttributes {
        v1::FileAttributes {
            kind: a.kind as u32,
            mode: a.mode,
            uid: a.uid,
            gid: a.gid,
            links: a.links,
            size: a.size,
            blocks: a.blocks,
            data_version: a.data_version,
            accessed: a.accessed.0,
            modified: a.modified.0,
            changed: a.changed.0,
            created: a.created.0,
            parent: a.parent.map_or(0, Vnode::number),
            device: a.device,
            acl: a.acl,
        }
    }
}

pub fn attributes(a: v1::FileAttributes) -> Result<Attributes> {
    Ok(Attributes {
        kind: kind(a.kind)?,
        mode: mode(a.mode)?,
        uid: a.uid,
        gid: a.gid,
        links: a.links,
        size: a.size,
        blocks: a.blocks,
        data_version: a.data_version,
        accessed: Timestamp(a.accessed),
        modified: Timestamp(a.modified),
        changed: Timestamp(a.changed),
        created: Timestamp(a.created),
        parent: match a.parent {
            0 => None,
            parent => Some(Vnode::new(parent)?),
        },
        device: a.device,
        acl: a.acl,
    })
}

impl From<Object> for v1::FileObject {
    fn from(object: Object) -> v1::FileObject {
        v1::FileObject {
            fid: Some(object.fid.into()),
            attributes: Some(object.attributes.into()),
        }
    }
}

pub fn object(wire: Option<v1::FileObject>) -> Result<Object> {
    let wire = wire.ok_or_else(|| missing("object"))?;
    Ok(Object {
        fid: fid(wire.fid)?,
        attributes: attributes(wire.attributes.ok_or_else(|| missing("attributes"))?)?,
    })
}

impl From<MountPoint> for v1::MountPoint {
    fn from(mount_point: MountPoint) -> v1::MountPoint {
        let (fileset, read_write) = match mount_point {
            MountPoint::Regular(fileset) => (fileset.0, false),
            MountPoint::ReadWrite(fileset) => (fileset.0, true),
        };
        v1::MountPoint { fileset, read_write }
    }
}

pub fn mount_point(wire: v1::MountPoint) -> MountPoint {
    let fileset = FilesetId(wire.fileset);
    match wire.read_write {
        false => MountPoint::Regular(fileset),
        true => MountPoint::ReadWrite(fileset),
    }
}

fn time(set: SetTime) -> v1::FileTime {
    match set {
        SetTime::Now => v1::FileTime { now: true, to: 0 },
        SetTime::To(to) => v1::FileTime { now: false, to: to.0 },
    }
}

fn set_time(wire: v1::FileTime) -> SetTime {
    match wire.now {
        true => SetTime::Now,
        false => SetTime::To(Timestamp(wire.to)),
    }
}

impl From<SetAttributes> for v1::FileSet {
    fn from(set: SetAttributes) -> v1::FileSet {
        v1::FileSet {
            mode: set.mode,
            uid: set.uid,
            gid: set.gid,
            size: set.size,
            accessed: set.accessed.map(time),
            modified: set.modified.map(time),
        }
    }
}

pub fn set_attributes(wire: Option<v1::FileSet>) -> Result<SetAttributes> {
    let wire = wire.ok_or_else(|| missing("set"))?;
    Ok(SetAttributes {
        mode: wire.mode.map(mode).transpose()?,
        uid: wire.uid,
        gid: wire.gid,
        size: wire.size,
        accessed: wire.accessed.map(set_time),
        modified: wire.modified.map(set_time),
    })
}

impl From<Lock> for v1::FileLock {
    fn from(lock: Lock) -> v1::FileLock {
        v1::FileLock {
            owner: lock.owner,
            first: lock.first,
            last: lock.last,
            kind: match lock.kind {
                LockKind::Read => 1,
                LockKind::Write => 2,
                LockKind::Unlock => 3,
            },
            pid: lock.pid,
        }
    }
}

pub fn lock(wire: Option<v1::FileLock>) -> Result<Lock> {
    let wire = wire.ok_or_else(|| missing("lock"))?;
    if wire.first > wire.last {
        return Err(bad("range of bytes", format!("{} to {}", wire.first, wire.last)));
    }
    Ok(Lock {
        owner: wire.owner,
        first: wire.first,
        last: wire.last,
        kind: match wire.kind {
            1 => LockKind::Read,
            2 => LockKind::Write,
            3 => LockKind::Unlock,
            other => return Err(bad("kind of lock", other)),
        },
        pid: wire.pid,
    })
}
