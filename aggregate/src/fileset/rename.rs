//! `rename`: a name moves; what stood at its new place goes, stays, or takes the old one.

use baton_types::limits::DEPTH_MAX;
use baton_types::{Kind, Vnode};

use super::attributes::{kind, named, open_directory, read, save};
use super::links::{Holders, lose_name, removable_directory};
use super::names::{Names, Place, change, counts_as_directory, find};
use super::object::Object;
use crate::format::{FileKind, NameEntry};
use crate::transaction::Transaction;
use crate::tree::Stop;

/// What may stand at the new place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onto {
    /// Anything that the moved file may replace; and whether somebody would miss it.
    Anything(Holders),
    /// Nothing (`RENAME_NOREPLACE`).
    Nothing,
    /// Something, which gets the old place (`RENAME_EXCHANGE`).
    Exchange,
}

/// Moves what stands at `source` to `target`. Two names of one file are left as they are, as POSIX has it.
///
/// # Errors
/// `NotFound`; `Exists`; `Invalid` for a directory that would lie below itself; `IsDirectory`, `NotDirectory`,
/// `NotEmpty`, and `Busy` for a mount point, about what stands at `target`; `TooManyLinks`; `CrossFileset`; `Loop` for
/// a directory too deep to be moved; `Stale`.
pub fn rename(
    transaction: &mut Transaction<'_>,
    names: &Names,
    source: Place<'_>,
    target: Place<'_>,
    onto: Onto,
) -> Result<Object, Stop> {
    if source.directory.fileset != target.directory.fileset {
        return Err(target.error(Kind::CrossFileset).into());
    }
    open_directory(transaction, source)?;
    open_directory(transaction, target)?;
    let moved = find(transaction, names, source)?.ok_or_else(|| source.error(Kind::NotFound))?;
    let object = named(transaction, source, &moved)?;
    let there = find(transaction, names, target)?;
    match (onto, there) {
        (Onto::Nothing, Some(_)) => Err(target.error(Kind::Exists).into()),
        (Onto::Exchange, None) => Err(target.error(Kind::NotFound).into()),
        (Onto::Exchange | Onto::Anything(_), Some(there)) if there.vnode == moved.vnode => Ok(object),
        (Onto::Exchange, Some(there)) => {
            outside(transaction, &moved, source, target)?;
            outside(transaction, &there, target, source)?;
            arrive(transaction, names, source, there)?;
            arrive(transaction, names, target, moved)
        }
        (Onto::Anything(holders), Some(there)) => {
            outside(transaction, &moved, source, target)?;
            let lost = named(transaction, target, &there)?;
            replaceable(target, &moved, &lost)?;
            change(transaction, names, source, None)?;
            let object = arrive(transaction, names, target, moved)?;
            lose_name(transaction, lost, holders)?;
            Ok(object)
        }
        (Onto::Anything(_) | Onto::Nothing, None) => {
            outside(transaction, &moved, source, target)?;
            change(transaction, names, source, None)?;
            arrive(transaction, names, target, moved)
        }
    }
}

/// Puts `entry` at `place`, over what stands there; its file knows where it is.
fn arrive(
    transaction: &mut Transaction<'_>,
    names: &Names,
    place: Place<'_>,
    entry: NameEntry,
) -> Result<Object, Stop> {
    let vnode = entry.vnode;
    let mut object = named(transaction, place, &entry)?;
    object.attributes.changed = transaction.time();
    object.attributes.parent = Some(place.directory.vnode);
    save(transaction, vnode, &object.attributes);
    change(transaction, names, place, Some(entry))?;
    Ok(object)
}

/// Refuses what `moved` may not replace.
fn replaceable(target: Place<'_>, moved: &NameEntry, lost: &Object) -> Result<(), Stop> {
    if counts_as_directory(moved.kind) {
        return removable_directory(target, &lost.attributes);
    }
    if counts_as_directory(kind(&lost.attributes)?) {
        return Err(target.error(Kind::IsDirectory).into());
    }
    Ok(())
}

/// Refuses to move a directory from `source` to a place within itself.
fn outside(transaction: &Transaction<'_>, moved: &NameEntry, source: Place<'_>, target: Place<'_>) -> Result<(), Stop> {
    if moved.kind != FileKind::Directory || source.directory == target.directory {
        return Ok(());
    }
    let mut at = target.directory.vnode;
    for _ in 0..DEPTH_MAX {
        if at == moved.vnode {
            return Err(target
                .error(Kind::Invalid)
                .because("it lies within the directory to be moved")
                .into());
        }
        if at == Vnode::ROOT {
            return Ok(());
        }
        let parent = read(transaction, at)?.and_then(|attributes| attributes.parent);
        let lost = || {
            target
                .error(Kind::Damaged)
                .because("no way leads from its directory to the root")
        };
        at = parent.ok_or_else(|| lost().remedy("run salvage -check"))?;
    }
    let error = target.error(Kind::Loop);
    Err(error
        .because(format!("its directory lies more than {DEPTH_MAX} directories deep"))
        .into())
}
