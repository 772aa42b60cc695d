//! Extended attributes: what programs hang onto a file. All whose names have one hash lie together.

use baton_types::limits::{XATTR_NAME_BYTES_MAX, XATTR_VALUE_BYTES_MAX, XATTRS_BYTES_MAX};
use baton_types::{Error, Fid, Kind};
use bytes::Bytes;

use super::attributes::{load, save};
use super::items::Items;
use super::names::Names;
use super::object::Object;
use super::pieces;
use crate::format::{Key, KeyKind, PIECES_MAX, XattrEntry};
use crate::transaction::Transaction;
use crate::tree::Stop;

/// What must be there before an extended attribute is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetXattr {
    /// It does not matter.
    Always,
    /// Nothing (`XATTR_CREATE`).
    Create,
    /// It itself (`XATTR_REPLACE`).
    Replace,
}

/// The value of an extended attribute.
///
/// # Errors
/// `NoAttribute`; `NameTooLong` or `Invalid` for the name; `Stale`.
pub fn get_xattr(items: &impl Items, names: &Names, fid: Fid, name: &[u8]) -> Result<Bytes, Stop> {
    check(fid, name)?;
    load(items, fid)?;
    let found = group(items, key(names, fid, name))?
        .into_iter()
        .find(|entry| entry.name == name);
    Ok(found
        .map(|entry| entry.value)
        .ok_or_else(|| error(Kind::NoAttribute, fid, name))?)
}

/// The names of a file's extended attributes, in no order that means anything.
///
/// # Errors
/// `Stale`.
pub fn list_xattrs(items: &impl Items, fid: Fid) -> Result<Vec<Vec<u8>>, Stop> {
    load(items, fid)?;
    let mut names = Vec::new();
    let mut sub = 0;
    // From one group to the next: long values are passed over.
    while let Some(item) = items
        .scan(Key::new(fid.vnode.number(), KeyKind::Xattr, sub), last(fid))
        .next()
    {
        let (first, _) = item?;
        names.extend(group(items, first)?.into_iter().map(|entry| entry.name));
        match (first.sub | (PIECES_MAX - 1)).checked_add(1) {
            Some(next) => sub = next,
            None => break,
        }
    }
    Ok(names)
}

/// Sets an extended attribute.
///
/// # Errors
/// `Exists`; `NoAttribute`; `TooBig` for the value; `NoSpace` if the file would have more than 1 MiB of them;
/// `NameTooLong` or `Invalid` for the name; `Stale`.
pub fn set_xattr(
    transaction: &mut Transaction<'_>,
    names: &Names,
    fid: Fid,
    (name, value): (&[u8], &[u8]),
    set: SetXattr,
) -> Result<Object, Stop> {
    check(fid, name)?;
    if value.len() > XATTR_VALUE_BYTES_MAX {
        let why = format!("a value of {} bytes, {XATTR_VALUE_BYTES_MAX} at most", value.len());
        return Err(error(Kind::TooBig, fid, name).because(why).into());
    }
    let object = Object {
        fid,
        attributes: load(transaction, fid)?,
    };
    let key = key(names, fid, name);
    let old = group(transaction, key)?;
    let there = old.iter().any(|entry| entry.name == name);
    match set {
        SetXattr::Create if there => return Err(error(Kind::Exists, fid, name).into()),
        SetXattr::Replace if !there => return Err(error(Kind::NoAttribute, fid, name).into()),
        SetXattr::Always | SetXattr::Create | SetXattr::Replace => {}
    }
    let mut new: Vec<XattrEntry> = old.iter().filter(|entry| entry.name != name).cloned().collect();
    new.push(XattrEntry {
        name: name.to_vec(),
        value: Bytes::copy_from_slice(value),
    });
    replace(transaction, object, key, &old, &new)
}

/// Removes an extended attribute.
///
/// # Errors
/// `NoAttribute`; `NameTooLong` or `Invalid` for the name; `Stale`.
pub fn remove_xattr(transaction: &mut Transaction<'_>, names: &Names, fid: Fid, name: &[u8]) -> Result<Object, Stop> {
    check(fid, name)?;
    let object = Object {
        fid,
        attributes: load(transaction, fid)?,
    };
    let key = key(names, fid, name);
    let old = group(transaction, key)?;
    let new: Vec<XattrEntry> = old.iter().filter(|entry| entry.name != name).cloned().collect();
    if new.len() == old.len() {
        return Err(error(Kind::NoAttribute, fid, name).into());
    }
    replace(transaction, object, key, &old, &new)
}

/// Puts the group `new` where `old` is.
fn replace(
    transaction: &mut Transaction<'_>,
    mut object: Object,
    key: Key,
    old: &[XattrEntry],
    new: &[XattrEntry],
) -> Result<Object, Stop> {
    let [old, new] = [old, new].map(XattrEntry::encode_all);
    if new.len() > old.len() {
        let first = Key::new(object.fid.vnode.number(), KeyKind::Xattr, 0);
        let mut bytes = new.len() - old.len();
        for item in transaction.scan(first, last(object.fid)) {
            bytes += item?.1.len();
        }
        if bytes > XATTRS_BYTES_MAX {
            let why = format!("{bytes} bytes of extended attributes, {XATTRS_BYTES_MAX} at most");
            return Err(Error::new(Kind::NoSpace, format!("file {}", object.fid))
                .because(why)
                .into());
        }
    }
    pieces::write(transaction, key, old.len(), &new);
    object.attributes.changed = transaction.time();
    save(transaction, object.fid.vnode, &object.attributes);
    Ok(object)
}

/// All of one hash.
fn group(items: &impl Items, first: Key) -> Result<Vec<XattrEntry>, Stop> {
    let value = pieces::read(items, first)?;
    Ok(if value.is_empty() {
        Vec::new()
    } else {
        XattrEntry::decode_all(&value)?
    })
}

fn key(names: &Names, fid: Fid, name: &[u8]) -> Key {
    Key::xattr(fid.vnode, names.hash(name))
}

/// After all of a file.
fn last(fid: Fid) -> Key {
    Key::new(fid.vnode.number(), KeyKind::Xattr, u64::MAX)
}

fn check(fid: Fid, name: &[u8]) -> Result<(), Stop> {
    if name.len() > XATTR_NAME_BYTES_MAX {
        let why = format!("{} bytes, {XATTR_NAME_BYTES_MAX} at most", name.len());
        return Err(error(Kind::NameTooLong, fid, b"").because(why).into());
    }
    if name.is_empty() || name.contains(&0) {
        return Err(error(Kind::Invalid, fid, name)
            .because("its name is empty or has a NUL")
            .into());
    }
    Ok(())
}

fn error(kind: Kind, fid: Fid, name: &[u8]) -> Error {
    Error::new(
        kind,
        format!("extended attribute '{}' of file {fid}", name.escape_ascii()),
    )
}
