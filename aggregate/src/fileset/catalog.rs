//! The filesets of an aggregate: items of the system tree.
//!
//! | item | object | sub | value |
//! |---|---|---|---|
//! | header | fileset | 0 | what it is |
//! | name | 0 | hash of the name | the filesets of that hash |
//! | name | 0 | 2^63 and the id | a hidden fileset |
//!
//! A new fileset has no root directory yet: [`make_root`](super::make_root) makes it, by a record of its own. Cut short
//! between the two, a fileset without a root is finished by whoever asks for it again.

use baton_types::{Error, FilesetId, FilesetName, Kind};

use super::items::Items;
use crate::format::{FilesetEntry, FilesetHeader, FilesetKind, HashKey, Key, KeyKind, Lsn, VALUE_BYTES_MAX, name_hash};
use crate::transaction::Transaction;
use crate::tree::Stop;

/// Names of filesets come from administrators: nobody floods a hash here, and so it needs no secret.
const HASH_KEY: HashKey = HashKey([0; 16]);
/// What no hash has.
const HIDDEN: u64 = 1 << 63;

/// Some of an aggregate's filesets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesets {
    /// In no order that means anything.
    pub entries: Vec<FilesetEntry>,
    /// Where to go on; `None` at the end.
    pub next: Option<u64>,
}

/// The header of a fileset, hidden or not.
///
/// # Errors
/// `NotFound`.
pub fn header(items: &impl Items, fileset: FilesetId) -> Result<FilesetHeader, Stop> {
    let value = items
        .get(Key::fileset_header(fileset))?
        .ok_or_else(|| missing(fileset))?;
    Ok(FilesetHeader::decode(&value)?)
}

/// The fileset with this name, unless it is hidden.
///
/// # Errors
/// A miss; damage.
pub fn find(items: &impl Items, name: &FilesetName) -> Result<Option<FilesetId>, Stop> {
    let found = entries(items, key(name))?.into_iter().find(|entry| entry.name == *name);
    Ok(found.map(|entry| entry.fileset))
}

/// Filesets that are not hidden, `count_max` of them or a few more; `from` is 0, or where an earlier list ended.
///
/// # Errors
/// A miss; damage.
pub fn list(items: &impl Items, from: u64, count_max: usize) -> Result<Filesets, Stop> {
    walk(items, (from, HIDDEN - 1), count_max)
}

/// Filesets that are hidden and wait to be taken apart, as [`list`] gives the others.
///
/// # Errors
/// A miss; damage.
pub fn list_hidden(items: &impl Items, from: u64, count_max: usize) -> Result<Filesets, Stop> {
    walk(items, (from.max(HIDDEN), u64::MAX), count_max)
}

/// Makes a fileset.
///
/// # Errors
/// `Exists` if its id or its name does; `Invalid` for an id that is none.
pub fn create(transaction: &mut Transaction<'_>, fileset: FilesetId, header: &FilesetHeader) -> Result<(), Stop> {
    if fileset == FilesetId(0) || fileset.0 >= HIDDEN {
        return Err(Error::new(Kind::Invalid, format!("fileset {fileset}"))
            .because("no fileset has this id")
            .into());
    }
    if transaction.get(Key::fileset_header(fileset))?.is_some() {
        return Err(Error::new(Kind::Exists, format!("fileset {fileset}")).into());
    }
    give_name(transaction, fileset, &header.name)?;
    transaction.put(Key::fileset_header(fileset), header.encode());
    Ok(())
}

/// Gives a fileset another name; its own is no error.
///
/// # Errors
/// `NotFound`, also for a hidden one; `Exists` if another fileset has the name.
pub fn rename(transaction: &mut Transaction<'_>, fileset: FilesetId, name: &FilesetName) -> Result<(), Stop> {
    let mut header = shown(transaction, fileset)?;
    take_name(transaction, key(&header.name), fileset)?;
    give_name(transaction, fileset, name)?;
    header.name = name.clone();
    transaction.put(Key::fileset_header(fileset), header.encode());
    Ok(())
}

/// Sets the limits of a fileset; 0 for none.
///
/// # Errors
/// `NotFound`, also for a hidden one.
pub fn set_quota(transaction: &mut Transaction<'_>, fileset: FilesetId, bytes: u64, files: u64) -> Result<(), Stop> {
    let header = FilesetHeader {
        quota_bytes: bytes,
        quota_files: files,
        ..shown(transaction, fileset)?
    };
    transaction.put(Key::fileset_header(fileset), header.encode());
    Ok(())
}

/// Hides a fileset for good: its name is free at once, its room when it has been taken apart. Nobody holds anything in it
/// any more: no next owner waits for whoever did.
///
/// # Errors
/// `NotFound`, also for one that is hidden already.
pub fn hide(transaction: &mut Transaction<'_>, fileset: FilesetId) -> Result<(), Stop> {
    let header = FilesetHeader {
        kind: FilesetKind::Deleting,
        ..shown(transaction, fileset)?
    };
    take_name(transaction, key(&header.name), fileset)?;
    let entry = FilesetEntry {
        fileset,
        name: header.name.clone(),
    };
    transaction.put(
        Key::fileset_name(HIDDEN | fileset.0),
        FilesetEntry::encode_all(&[entry]),
    );
    transaction.put(Key::fileset_header(fileset), header.encode());
    let hold = |sub| Key::new(fileset.0, KeyKind::Hold, sub);
    let holds = transaction.scan(hold(0), hold(u64::MAX));
    let holds = holds
        .map(|item| item.map(|(key, _)| key))
        .collect::<Result<Vec<_>, _>>()?;
    holds.into_iter().for_each(|key| transaction.delete(key));
    Ok(())
}

/// Takes a hidden fileset off the list, once nothing of it is left: with what it used, who held something in it, and a
/// tree in which only damage is left.
///
/// # Errors
/// `NotFound`.
pub(crate) fn remove(transaction: &mut Transaction<'_>, fileset: FilesetId) -> Result<(), Stop> {
    header(transaction, fileset)?;
    let [first, last] = [0, u64::MAX].map(|sub| Key::new(fileset.0, KeyKind::Hold, sub));
    let holds = transaction.scan(first, last).map(|item| Ok(item?.0));
    for key in holds.collect::<Result<Vec<_>, Stop>>()? {
        transaction.delete(key);
    }
    transaction.delete(Key::fileset_name(HIDDEN | fileset.0));
    transaction.delete(Key::fileset_header(fileset));
    transaction.delete(Key::fileset_usage(fileset));
    if transaction.get(Key::fileset_tree(fileset))?.is_some() {
        transaction.delete(Key::fileset_tree(fileset));
    }
    transaction.delete(Key::cursor(fileset));
    let bases = transaction.scan(Key::base(fileset, Lsn(0)), Key::base(fileset, Lsn(u64::MAX)));
    for key in bases.map(|item| Ok(item?.0)).collect::<Result<Vec<_>, Stop>>()? {
        transaction.delete(key);
    }
    Ok(())
}

/// The header of a fileset that is not hidden.
///
/// # Errors
/// `NotFound`; a miss; damage.
pub(crate) fn shown(items: &impl Items, fileset: FilesetId) -> Result<FilesetHeader, Stop> {
    match header(items, fileset)? {
        header if header.kind == FilesetKind::Deleting => Err(missing(fileset).into()),
        header => Ok(header),
    }
}

fn give_name(transaction: &mut Transaction<'_>, fileset: FilesetId, name: &FilesetName) -> Result<(), Stop> {
    let mut entries = entries(transaction, key(name))?;
    if let Some(other) = entries.iter().find(|entry| entry.name == *name) {
        let error = Error::new(Kind::Exists, format!("fileset {name}"));
        return Err(error
            .because(format!("fileset {} of this aggregate has the name", other.fileset))
            .into());
    }
    entries.push(FilesetEntry {
        fileset,
        name: name.clone(),
    });
    let value = FilesetEntry::encode_all(&entries);
    if value.len() > VALUE_BYTES_MAX {
        let error = Error::new(Kind::NoSpace, format!("fileset {name}"));
        return Err(error
            .because(format!("{} names have its hash", entries.len()))
            .remedy("choose another")
            .into());
    }
    transaction.put(key(name), value);
    Ok(())
}

fn take_name(transaction: &mut Transaction<'_>, key: Key, fileset: FilesetId) -> Result<(), Stop> {
    let mut entries = entries(transaction, key)?;
    entries.retain(|entry| entry.fileset != fileset);
    match entries.is_empty() {
        true => transaction.delete(key),
        false => transaction.put(key, FilesetEntry::encode_all(&entries)),
    }
    Ok(())
}

fn entries(items: &impl Items, key: Key) -> Result<Vec<FilesetEntry>, Stop> {
    match items.get(key)? {
        Some(value) => Ok(FilesetEntry::decode_all(&value)?),
        None => Ok(Vec::new()),
    }
}

fn walk(items: &impl Items, (from, to): (u64, u64), count_max: usize) -> Result<Filesets, Stop> {
    let mut filesets = Filesets {
        entries: Vec::new(),
        next: None,
    };
    for item in items.scan(Key::fileset_name(from), Key::fileset_name(to)) {
        let (key, value) = item?;
        if filesets.entries.len() >= count_max {
            filesets.next = Some(key.sub);
            break;
        }
        filesets.entries.extend(FilesetEntry::decode_all(&value)?);
    }
    Ok(filesets)
}

fn key(name: &FilesetName) -> Key {
    Key::fileset_name(name_hash(&HASH_KEY, name.as_str().as_bytes()))
}

fn missing(fileset: FilesetId) -> Error {
    Error::new(Kind::NotFound, format!("fileset {fileset}")).because("it is not on this aggregate")
}
