//! Making files: of every kind, under a new name.
//!
//! Vnode and `unique` come with the operation, so that a replay makes the same file (I6).

use baton_types::limits::SYMLINK_BYTES_MAX;
use baton_types::{Error, Fid, FilesetId, Kind, Vnode};

use super::acls::intern;
use super::attributes::{open_directory, read, save};
use super::names::{Names, Place, Slot, fid};
use super::object::Object;
use super::pieces;
use crate::format::{Attributes, FileKind, Key, MODE_TYPE, MountPoint, NameEntry};
use crate::transaction::Transaction;
use crate::tree::Stop;

/// What a new file is born with, besides the owner and group that the operation names.
#[derive(Clone, Copy, Debug)]
pub struct Birth<'a> {
    /// Permission bits, all rules about umask, initial ACLs and set-group-id applied.
    pub mode: u32,
    /// Its ACL, which the store does not read; empty: the mode bits alone count.
    pub acl: &'a [u8],
}

/// Makes an empty regular file.
///
/// # Errors
/// `Exists`; `Invalid` for a vnode in use; `NotFound`, `NotDirectory` and `Stale` for the directory; `TooBig` for the ACL.
pub fn create(
    transaction: &mut Transaction<'_>,
    names: &Names,
    place: Place<'_>,
    birth: Birth<'_>,
) -> Result<Object, Stop> {
    make(transaction, names, place, birth, FileKind::Regular)
}

/// Makes an empty directory.
///
/// # Errors
/// As [`create`]; `TooManyLinks`.
pub fn mkdir(
    transaction: &mut Transaction<'_>,
    names: &Names,
    place: Place<'_>,
    birth: Birth<'_>,
) -> Result<Object, Stop> {
    make(transaction, names, place, birth, FileKind::Directory)
}

/// Makes a symbolic link to `target`.
///
/// # Errors
/// As [`create`]; `Invalid` or `NameTooLong` for the target.
pub fn symlink(
    transaction: &mut Transaction<'_>,
    names: &Names,
    place: Place<'_>,
    birth: Birth<'_>,
    target: &[u8],
) -> Result<Object, Stop> {
    if target.is_empty() || target.contains(&0) {
        return Err(place
            .error(Kind::Invalid)
            .because("its target is empty or has a NUL")
            .into());
    }
    if target.len() > SYMLINK_BYTES_MAX {
        let why = format!("a target of {} bytes, {SYMLINK_BYTES_MAX} at most", target.len());
        return Err(place.error(Kind::NameTooLong).because(why).into());
    }
    let mut object = make(transaction, names, place, birth, FileKind::Symlink)?;
    pieces::write(transaction, Key::inline(object.fid.vnode), 0, target);
    object.attributes.size = target.len() as u64;
    save(transaction, object.fid.vnode, &object.attributes);
    Ok(object)
}

/// Makes a named pipe, a socket or a device node with the number `device`.
///
/// # Errors
/// As [`create`]; `Invalid` for another kind.
pub fn mknod(
    transaction: &mut Transaction<'_>,
    names: &Names,
    place: Place<'_>,
    birth: Birth<'_>,
    (kind, device): (FileKind, u64),
) -> Result<Object, Stop> {
    let device = match kind {
        FileKind::Fifo | FileKind::Socket => 0,
        FileKind::Character | FileKind::BlockDevice => device,
        FileKind::Regular | FileKind::Directory | FileKind::Symlink | FileKind::MountPoint => {
            return Err(place
                .error(Kind::Invalid)
                .because("mknod does not make files of this kind")
                .into());
        }
    };
    let mut object = make(transaction, names, place, birth, kind)?;
    object.attributes.device = device;
    save(transaction, object.fid.vnode, &object.attributes);
    Ok(object)
}

/// Makes a mount point.
///
/// # Errors
/// As [`mkdir`]; `Invalid` if it leads to no fileset.
pub fn create_mount_point(
    transaction: &mut Transaction<'_>,
    names: &Names,
    place: Place<'_>,
    birth: Birth<'_>,
    leads_to: MountPoint,
) -> Result<Object, Stop> {
    let (MountPoint::Regular(fileset) | MountPoint::ReadWrite(fileset)) = leads_to;
    if fileset == FilesetId(0) {
        return Err(place.error(Kind::Invalid).because("no fileset has the id 0").into());
    }
    let object = make(transaction, names, place, birth, FileKind::MountPoint)?;
    transaction.put(Key::mount_point(object.fid.vnode), leads_to.encode());
    Ok(object)
}

/// Makes the root directory of an empty fileset.
///
/// # Errors
/// `Exists`; `TooBig` for the ACL.
pub fn make_root(
    transaction: &mut Transaction<'_>,
    names: &Names,
    fileset: FilesetId,
    birth: Birth<'_>,
) -> Result<Object, Stop> {
    if read(transaction, Vnode::ROOT)?.is_some() {
        return Err(Error::new(Kind::Exists, format!("root of fileset {fileset}")).into());
    }
    let attributes = new_attributes(transaction, names, FileKind::Directory, birth)?;
    save(transaction, Vnode::ROOT, &attributes);
    transaction.usage().files += 1;
    Ok(Object {
        fid: Fid {
            fileset,
            vnode: Vnode::ROOT,
            unique: attributes.unique,
        },
        attributes,
    })
}

fn make(
    transaction: &mut Transaction<'_>,
    names: &Names,
    place: Place<'_>,
    birth: Birth<'_>,
    kind: FileKind,
) -> Result<Object, Stop> {
    open_directory(transaction, place)?;
    let slot = Slot::find(transaction, names, place)?;
    if slot.has(place) {
        return Err(place.error(Kind::Exists).into());
    }
    let invalid = |why: &str| place.error(Kind::Invalid).because(why);
    let vnode = transaction
        .operation()
        .vnode
        .ok_or_else(|| invalid("the operation names no vnode for it"))?;
    if read(transaction, vnode)?.is_some() {
        return Err(invalid("its vnode is in use").into());
    }
    let mut attributes = new_attributes(transaction, names, kind, birth)?;
    attributes.parent = Some(place.directory.vnode);
    save(transaction, vnode, &attributes);
    let entry = NameEntry {
        vnode,
        unique: attributes.unique,
        kind,
        name: Vec::new(),
    };
    slot.change(transaction, place, Some(entry))?;
    transaction.usage().files += 1;
    Ok(Object {
        fid: fid(place.directory, vnode, attributes.unique),
        attributes,
    })
}

fn new_attributes(
    transaction: &mut Transaction<'_>,
    names: &Names,
    kind: FileKind,
    birth: Birth<'_>,
) -> Result<Attributes, Stop> {
    let acl = intern(transaction, names, birth.acl)?;
    let (operation, time) = (transaction.operation(), transaction.time());
    Ok(Attributes {
        mode: kind.mode() | birth.mode & !MODE_TYPE & 0o7777,
        uid: operation.uid,
        gid: operation.gid,
        links: if kind == FileKind::Directory { 2 } else { 1 },
        size: 0,
        blocks: 0,
        data_version: 1,
        unique: operation.unique,
        accessed: time,
        modified: time,
        changed: time,
        created: time,
        parent: None,
        device: 0,
        acl,
        flags: 0,
        promised: 0,
        promised_in: 0,
    })
}
