//! Attributes: whose FID is still good, what `stat` tells, and what may be set.

use baton_types::{Error, Fid, FilesetId, Kind, Timestamp, Vnode};

use super::items::Items;
use super::names::{Place, fid};
use super::object::Object;
use super::orphans::is_removing;
use crate::format::{Attributes, FileKind, Key, MODE_TYPE, NameEntry};
use crate::transaction::Transaction;
use crate::tree::Stop;

/// What `setattr` changes. `ctime` always becomes the operation's time; the size is [`crate::file`]'s, the ACL
/// [`set_acl`](super::set_acl)'s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttributes {
    /// Permission bits; the type stays.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last access.
    pub accessed: Option<Timestamp>,
    /// Last change of bytes or entries.
    pub modified: Option<Timestamp>,
}

impl SetAttributes {
    /// Sets them.
    pub(super) fn apply(&self, attributes: &mut Attributes) {
        if let Some(mode) = self.mode {
            attributes.mode = attributes.mode & MODE_TYPE | mode & !MODE_TYPE & 0o7777;
        }
        attributes.uid = self.uid.unwrap_or(attributes.uid);
        attributes.gid = self.gid.unwrap_or(attributes.gid);
        attributes.accessed = self.accessed.unwrap_or(attributes.accessed);
        attributes.modified = self.modified.unwrap_or(attributes.modified);
    }
}

/// The attributes of a file.
///
/// # Errors
/// `Stale`.
pub fn getattr(items: &impl Items, fid: Fid) -> Result<Object, Stop> {
    Ok(Object {
        fid,
        attributes: load(items, fid)?,
    })
}

/// The root directory of a fileset.
///
/// # Errors
/// `NotFound` if the fileset was never finished.
pub fn root(items: &impl Items, fileset: FilesetId) -> Result<Object, Stop> {
    let missing = || Error::new(Kind::NotFound, format!("root of fileset {fileset}"));
    let attributes = read(items, Vnode::ROOT)?.ok_or_else(missing)?;
    let fid = Fid {
        fileset,
        vnode: Vnode::ROOT,
        unique: attributes.unique,
    };
    Ok(Object { fid, attributes })
}

/// Sets attributes of a file.
///
/// # Errors
/// `Stale`.
pub fn setattr(transaction: &mut Transaction<'_>, fid: Fid, set: &SetAttributes) -> Result<Object, Stop> {
    let mut attributes = load(transaction, fid)?;
    set.apply(&mut attributes);
    attributes.changed = transaction.time();
    save(transaction, fid.vnode, &attributes);
    Ok(Object { fid, attributes })
}

/// The attributes of the file that a FID names: it must be this one, and not on its way out.
pub(crate) fn load(items: &impl Items, fid: Fid) -> Result<Attributes, Stop> {
    let gone = || Stop::from(Error::new(Kind::Stale, format!("file {fid}")).because("it is gone"));
    let attributes = read(items, fid.vnode)?
        .filter(|attributes| attributes.unique == fid.unique)
        .ok_or_else(gone)?;
    match attributes.links == 0 && is_removing(items, fid.vnode)? {
        true => Err(gone()),
        false => Ok(attributes),
    }
}

/// What an entry leads to.
pub(super) fn named(items: &impl Items, place: Place<'_>, entry: &NameEntry) -> Result<Object, Stop> {
    let lost = |why: &str| place.error(Kind::Damaged).because(why).remedy("run salvage -check");
    let attributes = read(items, entry.vnode)?.ok_or_else(|| lost("it leads to no file"))?;
    if attributes.unique != entry.unique || kind(&attributes)? != entry.kind || attributes.links == 0 {
        return Err(lost("it leads to another file").into());
    }
    Ok(Object {
        fid: fid(place.directory, entry.vnode, entry.unique),
        attributes,
    })
}

/// The attributes of a directory.
pub(super) fn directory(items: &impl Items, fid: Fid) -> Result<Attributes, Stop> {
    let attributes = load(items, fid)?;
    if kind(&attributes)? != FileKind::Directory {
        return Err(Error::new(Kind::NotDirectory, format!("file {fid}")).into());
    }
    Ok(attributes)
}

/// The attributes of a directory that may take a new name: one that was removed may not.
pub(super) fn open_directory(items: &impl Items, place: Place<'_>) -> Result<Attributes, Stop> {
    let attributes = directory(items, place.directory)?;
    if attributes.links == 0 {
        return Err(place.error(Kind::NotFound).because("the directory was removed").into());
    }
    Ok(attributes)
}

/// What a vnode is, by its mode.
pub(crate) fn kind(attributes: &Attributes) -> Result<FileKind, Stop> {
    let mode = attributes.mode;
    let kind = FileKind::from_mode(mode);
    Ok(kind.ok_or_else(|| Error::new(Kind::Damaged, "attributes").because(format!("their mode is {mode:#o}")))?)
}

/// The attributes of a vnode, if it has any.
pub(super) fn read(items: &impl Items, vnode: Vnode) -> Result<Option<Attributes>, Stop> {
    let value = items.get(Key::attributes(vnode))?;
    Ok(value.map(|value| Attributes::decode(&value)).transpose()?)
}

/// Sets them.
pub(crate) fn save(transaction: &mut Transaction<'_>, vnode: Vnode, attributes: &Attributes) {
    transaction.put(Key::attributes(vnode), attributes.encode());
}
