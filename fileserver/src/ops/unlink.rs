//! `unlink`, `rmdir`, `remove_mount_point`: a name goes, and with the last one what it led to, unless it is held open.

use baton_aggregate::aggregate::{Done, Need};
use baton_aggregate::fileset::{self as store, Holders, Names, Object};
use baton_aggregate::format::FileKind;
use baton_aggregate::transaction::Transaction;
use baton_aggregate::tree::Stop;
use baton_types::call::Keep;
use baton_types::file::Place;
use baton_types::{Kind, Result};

use super::Cx;
use crate::{right, shape};

pub(super) fn unlink(cx: &Cx<'_>, place: &Place, keep: Keep) -> Result<Done<Object>> {
    take_away(cx, place, keep, store::unlink, |kind, _| {
        !matches!(kind, FileKind::Directory | FileKind::MountPoint)
    })
}

pub(super) fn rmdir(cx: &Cx<'_>, place: &Place, keep: Keep) -> Result<Done<Object>> {
    take_away(cx, place, keep, store::rmdir, |kind, object| {
        kind == FileKind::Directory && object.attributes.size == 0
    })
}

pub(super) fn remove_mount_point(cx: &Cx<'_>, place: &Place) -> Result<Done<Object>> {
    let remove = |transaction: &mut Transaction<'_>, names: &Names, place: store::Place<'_>, _| {
        store::remove_mount_point(transaction, names, place)
    };
    take_away(cx, place, Keep::Closed, remove, |kind, _| kind == FileKind::MountPoint)
}

/// `goes` says whether the store will do it: what it refuses is not asked whether it is kept.
fn take_away(
    cx: &Cx<'_>,
    place: &Place,
    keep: Keep,
    mut remove: impl FnMut(&mut Transaction<'_>, &Names, store::Place<'_>, Holders) -> Result<Object, Stop>,
    goes: impl Fn(FileKind, &Object) -> bool,
) -> Result<Done<Object>> {
    cx.fileset.operate(&cx.operation, Need::UPKEEP, |transaction, names| {
        cx.lost.set(None);
        let object = may_take(cx, transaction, names, place)?;
        let holders = match goes(shape::kind_of(&object.attributes)?, &object) {
            true => cx.holders(&object, keep)?,
            false => Holders::Nobody,
        };
        remove(transaction, names, shape::place(place), holders)
    })
}

/// What stands at a place whose name the caller may take away.
pub(super) fn may_take(
    cx: &Cx<'_>,
    transaction: &Transaction<'_>,
    names: &Names,
    place: &Place,
) -> Result<Object, Stop> {
    let directory = right::search(cx.who, transaction, place.directory)?;
    if right::is_reserved(place) {
        return Err(right::refused(place, Kind::NotOwner).into());
    }
    let object = store::lookup(transaction, names, shape::place(place))?;
    right::take_away(cx.who, (place.directory, &directory), (object.fid, &object.attributes))?;
    Ok(object)
}
