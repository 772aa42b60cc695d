//! What a repair changes in a fileset: one thing at a time, whatever the things around it are like. What a directory
//! tells of itself is no part of it: that is put right afterwards, from what is there then.

use baton_types::{Error, Fid, FileName, Kind, Vnode};

use super::attributes::{kind, read, save};
use super::names::{Names, Place, Slot};
use super::shared::{change, give_up, shared_at};
use crate::format::{Attributes, Extent, FileKind, Key, KeyKind, Lsn, NameEntry, Shared};
use crate::transaction::{Run, Transaction};
use crate::tree::Stop;

/// Changes the attributes of a file.
///
/// # Errors
/// `Damaged` if it has none; a miss.
pub(crate) fn set(
    transaction: &mut Transaction<'_>,
    vnode: Vnode,
    change: impl FnOnce(&mut Attributes),
) -> Result<(), Stop> {
    let mut attributes = present(transaction, vnode)?;
    change(&mut attributes);
    attributes.changed = transaction.time();
    save(transaction, vnode, &attributes);
    Ok(())
}

/// Says of the name in the item `key` what kind of file it leads to; without one it goes.
///
/// # Errors
/// Damage; a miss.
pub(crate) fn change_entry(
    transaction: &mut Transaction<'_>,
    key: Key,
    name: &[u8],
    kind: Option<FileKind>,
) -> Result<(), Stop> {
    let mut entries = match transaction.get(key)? {
        Some(value) => NameEntry::decode_all(&value)?,
        None => return Ok(()),
    };
    match kind {
        None => entries.retain(|entry| entry.name != name),
        Some(kind) => entries
            .iter_mut()
            .filter(|entry| entry.name == name)
            .for_each(|entry| entry.kind = kind),
    }
    match entries.is_empty() {
        true => transaction.delete(key),
        false => transaction.put(key, NameEntry::encode_all(&entries)),
    }
    // Whoever has the directory in a cache is to read it again.
    let directory = Vnode::new(key.object)?;
    if let Some(mut attributes) = read(transaction, directory)? {
        attributes.data_version = transaction.next_version(attributes.data_version);
        (attributes.modified, attributes.changed) = (transaction.time(), transaction.time());
        save(transaction, directory, &attributes);
    }
    Ok(())
}

/// Takes a name away, and asks nothing of its directory: what that says of itself may not be there to be read.
///
/// # Errors
/// Damage; a miss.
pub(crate) fn drop_name(transaction: &mut Transaction<'_>, key: Key, name: &[u8]) -> Result<(), Stop> {
    let Some(value) = transaction.get(key)? else {
        return Ok(());
    };
    let mut entries = NameEntry::decode_all(&value)?;
    entries.retain(|entry| entry.name != name);
    match entries.is_empty() {
        true => transaction.delete(key),
        false => transaction.put(key, NameEntry::encode_all(&entries)),
    }
    Ok(())
}

/// Takes an item away that belongs to no file, and gives up what it refers to.
///
/// # Errors
/// A miss.
pub(crate) fn drop_item(transaction: &mut Transaction<'_>, key: Key) -> Result<(), Stop> {
    let Some(value) = transaction.get(key)? else {
        return Ok(());
    };
    if key.kind == KeyKind::Extent
        && let Ok(extent) = Extent::decode(&value)
    {
        let run = Run {
            block: extent.block,
            count: extent.count.into(),
        };
        give_up(transaction, &extent, run)?;
    }
    transaction.delete(key);
    Ok(())
}

/// Says in how many places the shared blocks of `run` are, of which it is said of all alike or of none. In none they are
/// free.
///
/// # Errors
/// Damage; a miss.
pub(crate) fn set_places(transaction: &mut Transaction<'_>, run: Run, birth: Lsn, places: u32) -> Result<(), Stop> {
    match shared_at(transaction, run.block.0)? {
        Some(_) => change(transaction, run, |_| Some(places)),
        None if places == 0 => Ok(()),
        None => {
            let count = run.count;
            let shared = Shared { count, places, birth };
            transaction.put(Key::shared(run.block), shared.encode());
            Ok(())
        }
    }
}

/// Gives a file that no name leads to the first of `called` that is not taken in a directory. Gives that one.
///
/// # Errors
/// `Exists` if all are taken; `TooManyLinks` if the directory is full; damage; a miss.
pub(crate) fn adopt(
    transaction: &mut Transaction<'_>,
    names: &Names,
    (directory, called): (Fid, &[FileName]),
    vnode: Vnode,
) -> Result<FileName, Stop> {
    let mut attributes = present(transaction, vnode)?;
    let kind = kind(&attributes)?;
    for name in called {
        let place = Place { directory, name };
        let slot = Slot::find(transaction, names, place)?;
        if slot.has(place) {
            continue;
        }
        let entry = NameEntry {
            vnode,
            unique: attributes.unique,
            kind,
            name: Vec::new(),
        };
        slot.change(transaction, place, Some(entry))?;
        attributes.links = match kind {
            FileKind::Directory => attributes.links.max(2),
            FileKind::Regular
            | FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::Character
            | FileKind::BlockDevice
            | FileKind::MountPoint => 1,
        };
        attributes.parent = Some(directory.vnode);
        attributes.changed = transaction.time();
        save(transaction, vnode, &attributes);
        return Ok(name.clone());
    }
    Err(Error::new(Kind::Exists, format!("name for vnode {} in lost+found", vnode.number())).into())
}

fn present(transaction: &Transaction<'_>, vnode: Vnode) -> Result<Attributes, Stop> {
    let lost = || Error::new(Kind::Damaged, format!("vnode {}", vnode.number())).because("it has no attributes");
    Ok(read(transaction, vnode)?.ok_or_else(lost)?)
}
