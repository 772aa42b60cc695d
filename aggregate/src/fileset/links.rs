//! Names given to files, and taken away again; the last one takes the file along.

use baton_types::limits::LINKS_MAX;
use baton_types::{Error, Fid, Kind};

use super::attributes::{kind, load, open_directory, save};
use super::names::{Names, Place, Slot, change, lookup};
use super::object::Object;
use super::orphans::let_go;
use crate::format::{Attributes, FileKind, NameEntry};
use crate::transaction::Transaction;
use crate::tree::Stop;

/// Whether somebody would miss a file that loses its last name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holders {
    /// It goes with its name.
    Nobody,
    /// It stays, without a name, until [`remove_step`](super::remove_step).
    Somebody,
}

/// Gives `file` another name.
///
/// # Errors
/// `Exists`; `NotOwner` (EPERM, as POSIX has it) for a directory or mount point; `TooManyLinks`; `NotFound` for a file
/// or directory without a name; `CrossFileset`; `Stale`; `NotDirectory`.
pub fn link(transaction: &mut Transaction<'_>, names: &Names, place: Place<'_>, file: Fid) -> Result<Object, Stop> {
    if file.fileset != place.directory.fileset {
        return Err(place.error(Kind::CrossFileset).into());
    }
    open_directory(transaction, place)?;
    let mut attributes = load(transaction, file)?;
    let refused = |kind: Kind, why: &str| Stop::from(Error::new(kind, format!("file {file}")).because(why));
    let kind = kind(&attributes)?;
    if matches!(kind, FileKind::Directory | FileKind::MountPoint) {
        return Err(refused(Kind::NotOwner, "a directory has one name only"));
    }
    if attributes.links == 0 {
        return Err(refused(Kind::NotFound, "it was removed"));
    }
    let slot = Slot::find(transaction, names, place)?;
    if slot.has(place) {
        return Err(place.error(Kind::Exists).into());
    }
    if attributes.links >= LINKS_MAX {
        return Err(refused(
            Kind::TooManyLinks,
            &format!("{LINKS_MAX} names, and it has them"),
        ));
    }
    attributes.links += 1;
    attributes.changed = transaction.time();
    save(transaction, file.vnode, &attributes);
    let entry = NameEntry {
        vnode: file.vnode,
        unique: file.unique,
        kind,
        name: Vec::new(),
    };
    slot.change(transaction, place, Some(entry))?;
    Ok(Object { fid: file, attributes })
}

/// Takes a name away from a file that is no directory.
///
/// # Errors
/// `NotFound`; `IsDirectory` for a directory or mount point; `NotDirectory` and `Stale` for the directory.
pub fn unlink(
    transaction: &mut Transaction<'_>,
    names: &Names,
    place: Place<'_>,
    holders: Holders,
) -> Result<Object, Stop> {
    let object = lookup(transaction, names, place)?;
    match kind(&object.attributes)? {
        FileKind::Directory => return Err(place.error(Kind::IsDirectory).into()),
        FileKind::MountPoint => {
            let error = place.error(Kind::IsDirectory).because("it is a mount point");
            return Err(error.remedy("to remove it: fts delmount").into());
        }
        FileKind::Regular
        | FileKind::Symlink
        | FileKind::Fifo
        | FileKind::Socket
        | FileKind::Character
        | FileKind::BlockDevice => {}
    }
    change(transaction, names, place, None)?;
    lose_name(transaction, object, holders)
}

/// Removes an empty directory.
///
/// # Errors
/// `NotEmpty`; `NotDirectory`; `Busy` for a mount point; `NotFound`; `Stale`.
pub fn rmdir(
    transaction: &mut Transaction<'_>,
    names: &Names,
    place: Place<'_>,
    holders: Holders,
) -> Result<Object, Stop> {
    let object = lookup(transaction, names, place)?;
    removable_directory(place, &object.attributes)?;
    change(transaction, names, place, None)?;
    lose_name(transaction, object, holders)
}

/// Removes a mount point; the fileset that it leads to does not notice.
///
/// # Errors
/// `Invalid` for anything else; `NotFound`; `NotDirectory` and `Stale` for the directory.
pub fn remove_mount_point(transaction: &mut Transaction<'_>, names: &Names, place: Place<'_>) -> Result<Object, Stop> {
    let object = lookup(transaction, names, place)?;
    if kind(&object.attributes)? != FileKind::MountPoint {
        return Err(place.error(Kind::Invalid).because("not a mount point").into());
    }
    change(transaction, names, place, None)?;
    lose_name(transaction, object, Holders::Nobody)
}

/// Refuses what `rmdir` does not remove.
pub(super) fn removable_directory(place: Place<'_>, attributes: &Attributes) -> Result<(), Stop> {
    let kind = kind(attributes)?;
    if kind == FileKind::MountPoint {
        let error = place.error(Kind::Busy).because("it is a mount point");
        return Err(error.remedy("to remove it: fts delmount").into());
    }
    if kind != FileKind::Directory {
        return Err(place.error(Kind::NotDirectory).into());
    }
    if attributes.size > 0 {
        let error = place.error(Kind::NotEmpty);
        return Err(error
            .because(format!("not empty: it has {} names", attributes.size))
            .into());
    }
    Ok(())
}

/// What becomes of a file whose name at some place is gone.
pub(super) fn lose_name(transaction: &mut Transaction<'_>, object: Object, holders: Holders) -> Result<Object, Stop> {
    let Object { fid, mut attributes } = object;
    attributes.changed = transaction.time();
    attributes.parent = None;
    attributes.links = match kind(&attributes)? {
        FileKind::Directory | FileKind::MountPoint => 0,
        FileKind::Regular
        | FileKind::Symlink
        | FileKind::Fifo
        | FileKind::Socket
        | FileKind::Character
        | FileKind::BlockDevice => attributes.links - 1,
    };
    match attributes.links {
        0 => let_go(transaction, fid.vnode, attributes, holders)?,
        _ => save(transaction, fid.vnode, &attributes),
    }
    Ok(Object { fid, attributes })
}
