//! `create`, `mkdir`, `symlink`, `mknod`, `create_mount_point`: something new under a new name.

use baton_aggregate::aggregate::{Done, Need};
use baton_aggregate::fileset::{self as store, Birth, Names, Object, SetAttributes};
use baton_aggregate::format::FileKind as Stored;
use baton_aggregate::transaction::Transaction;
use baton_aggregate::tree::Stop;
use baton_types::call::Newborn;
use baton_types::file::{FileKind, MountPoint, Place};
use baton_types::{Kind, Result};

use super::Cx;
use crate::right::{self, WRITE};
use crate::shape;

pub(super) fn create(cx: &Cx<'_>, place: &Place, newborn: &Newborn) -> Result<Done<Object>> {
    make(cx, place, (Stored::Regular, newborn.mode), store::create)
}

pub(super) fn mkdir(cx: &Cx<'_>, place: &Place, newborn: &Newborn) -> Result<Done<Object>> {
    make(cx, place, (Stored::Directory, newborn.mode), store::mkdir)
}

pub(super) fn symlink(cx: &Cx<'_>, place: &Place, _newborn: &Newborn, target: &[u8]) -> Result<Done<Object>> {
    make(
        cx,
        place,
        (Stored::Symlink, 0o777),
        |transaction, names, place, birth| store::symlink(transaction, names, place, birth, target),
    )
}

pub(super) fn mknod(
    cx: &Cx<'_>,
    place: &Place,
    newborn: &Newborn,
    (kind, device): (FileKind, u64),
) -> Result<Done<Object>> {
    let kind = shape::stored_kind(kind);
    make(cx, place, (kind, newborn.mode), |transaction, names, place, birth| {
        if matches!(kind, Stored::Character | Stored::BlockDevice) {
            right::root(cx.who, "device node")?;
        }
        store::mknod(transaction, names, place, birth, (kind, device))
    })
}

pub(super) fn create_mount_point(
    cx: &Cx<'_>,
    place: &Place,
    newborn: &Newborn,
    leads_to: MountPoint,
) -> Result<Done<Object>> {
    let leads_to = shape::stored_mount_point(leads_to);
    make(
        cx,
        place,
        (Stored::MountPoint, newborn.mode),
        |transaction, names, place, birth| store::create_mount_point(transaction, names, place, birth, leads_to),
    )
}

/// What all of them check, and how what they make comes to its mode and group.
fn make(
    cx: &Cx<'_>,
    place: &Place,
    (kind, mode): (Stored, u32),
    mut build: impl FnMut(&mut Transaction<'_>, &Names, store::Place<'_>, Birth<'_>) -> Result<Object, Stop>,
) -> Result<Done<Object>> {
    cx.fileset.operate(&cx.operation, Need::GROWTH, |transaction, names| {
        let directory = may_name(cx, transaction, names, place)?;
        let (mode, gid) = right::inherited(cx.who, &directory, kind, mode);
        let object = build(transaction, names, shape::place(place), Birth { mode, acl: &[] })?;
        if object.attributes.gid == gid {
            return Ok(object);
        }
        let set = SetAttributes {
            gid: Some(gid),
            ..SetAttributes::default()
        };
        store::setattr(transaction, object.fid, &set)
    })
}

/// Refuses a name that is there, or that the caller may not make; gives the attributes of its directory.
pub(super) fn may_name(
    cx: &Cx<'_>,
    transaction: &Transaction<'_>,
    names: &Names,
    place: &Place,
) -> Result<baton_aggregate::format::Attributes, Stop> {
    let directory = right::search(cx.who, transaction, place.directory)?;
    if right::is_reserved(place) {
        return Err(right::refused(place, Kind::Exists).into());
    }
    match store::lookup(transaction, names, shape::place(place)) {
        Ok(_) => return Err(right::refused(place, Kind::Exists).into()),
        Err(Stop::Failed(error)) if error.kind == Kind::NotFound => {}
        Err(stop) => return Err(stop),
    }
    right::must(cx.who, place.directory, &directory, WRITE)?;
    Ok(directory)
}
