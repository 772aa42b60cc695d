//! Names: where a directory keeps them, and what they lead to.
//!
//! A name's item is found by its hash under the fileset's secret, and holds all names of that hash.

use baton_types::limits::LINKS_MAX;
use baton_types::{Error, Fid, FileName, Kind, Vnode};

use super::attributes::{directory, named, read, save};
use super::items::Items;
use super::object::Object;
use crate::format::{FileKind, HashKey, Key, NAME_HASH_FIRST, NameEntry, VALUE_BYTES_MAX, name_hash};
use crate::transaction::Transaction;
use crate::tree::Stop;

/// The hash of a fileset's names.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    key: HashKey,
    /// All bits; fewer only in tests that want collisions.
    mask: u64,
}

impl Names {
    /// Under the secret of a fileset's header.
    pub fn new(key: HashKey) -> Names {
        Names { key, mask: u64::MAX }
    }

    /// Keeps only the bits of `mask`, so that names collide.
    #[cfg(any(test, feature = "testing"))]
    pub fn cut(key: HashKey, mask: u64) -> Names {
        Names { key, mask }
    }

    pub(super) fn hash(&self, name: &[u8]) -> u64 {
        (name_hash(&self.key, name) & self.mask).max(NAME_HASH_FIRST)
    }
}

/// A place that a name may stand at.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// In which directory.
    pub directory: Fid,
    /// Under which name.
    pub name: &'a FileName,
}

impl Place<'_> {
    /// An error about this name.
    pub(super) fn error(&self, kind: Kind) -> Error {
        Error::new(kind, format!("'{}' in directory {}", self.name, self.directory))
    }
}

/// What a name leads to.
///
/// # Errors
/// `NotFound`; `NotDirectory` and `Stale` for the directory.
pub fn lookup(items: &impl Items, names: &Names, place: Place<'_>) -> Result<Object, Stop> {
    directory(items, place.directory)?;
    let entry = find(items, names, place)?.ok_or_else(|| place.error(Kind::NotFound))?;
    named(items, place, &entry)
}

/// The directory that a directory is in; the root is in itself.
///
/// # Errors
/// `NotFound` for one that was removed; `NotDirectory`; `Stale`.
pub fn lookup_parent(items: &impl Items, fid: Fid) -> Result<Object, Stop> {
    let attributes = directory(items, fid)?;
    if fid.vnode == Vnode::ROOT {
        return Ok(Object { fid, attributes });
    }
    let error = |kind: Kind, why: &str| Error::new(kind, format!("parent of directory {fid}")).because(why);
    let parent = attributes
        .parent
        .ok_or_else(|| error(Kind::NotFound, "the directory was removed"))?;
    let attributes = read(items, parent)?.ok_or_else(|| error(Kind::Damaged, "it has no attributes"))?;
    Ok(Object {
        fid: Fid {
            vnode: parent,
            unique: attributes.unique,
            ..fid
        },
        attributes,
    })
}

/// The entry at a place, whatever the directory is.
pub(super) fn find(items: &impl Items, names: &Names, place: Place<'_>) -> Result<Option<NameEntry>, Stop> {
    let mut slot = Slot::find(items, names, place)?;
    Ok(slot.take(place))
}

/// Makes `new` the entry at a place, or leaves none there; the directory's own attributes follow.
pub(super) fn change(
    transaction: &mut Transaction<'_>,
    names: &Names,
    place: Place<'_>,
    new: Option<NameEntry>,
) -> Result<(), Stop> {
    Slot::find(transaction, names, place)?.change(transaction, place, new)
}

/// The item that a name is in, or would be: all entries of its hash.
pub(super) struct Slot {
    key: Key,
    entries: Vec<NameEntry>,
}

impl Slot {
    /// That of a place, whatever the directory is.
    pub(super) fn find(items: &impl Items, names: &Names, place: Place<'_>) -> Result<Slot, Stop> {
        let key = Key::name(place.directory.vnode, names.hash(place.name.as_bytes()));
        let entries = match items.get(key)? {
            Some(value) => NameEntry::decode_all(&value)?,
            None => Vec::new(),
        };
        Ok(Slot { key, entries })
    }

    /// True if the name is there.
    pub(super) fn has(&self, place: Place<'_>) -> bool {
        self.entries.iter().any(|entry| entry.name == place.name.as_bytes())
    }

    fn take(&mut self, place: Place<'_>) -> Option<NameEntry> {
        let is_own = |entry: &NameEntry| entry.name == place.name.as_bytes();
        let index = self.entries.iter().position(is_own)?;
        Some(self.entries.remove(index))
    }

    /// As [`change`], of the place that it was found for.
    pub(super) fn change(
        mut self,
        transaction: &mut Transaction<'_>,
        place: Place<'_>,
        new: Option<NameEntry>,
    ) -> Result<(), Stop> {
        let old = self.take(place).map(|entry| entry.kind);
        let kind = new.as_ref().map(|entry| entry.kind);
        self.entries.extend(new.map(|new| NameEntry {
            name: place.name.as_bytes().to_vec(),
            ..new
        }));
        match self.entries.is_empty() {
            true => transaction.delete(self.key),
            false => {
                let value = NameEntry::encode_all(&self.entries);
                if value.len() > VALUE_BYTES_MAX {
                    // With 63 bits under a secret nobody ever sees this.
                    let error = place.error(Kind::NoSpace);
                    return Err(error
                        .because(format!("{} names have its hash", self.entries.len()))
                        .into());
                }
                transaction.put(self.key, value);
            }
        }
        entered(transaction, place, old, kind)
    }
}

/// What a directory tells of itself once `old` (if any) made way for `new` (if any).
fn entered(
    transaction: &mut Transaction<'_>,
    place: Place<'_>,
    old: Option<FileKind>,
    new: Option<FileKind>,
) -> Result<(), Stop> {
    let damaged = |why: &str| place.error(Kind::Damaged).because(why).remedy("run salvage -check");
    let vnode = place.directory.vnode;
    let mut directory = read(transaction, vnode)?.ok_or_else(|| damaged("its directory has no attributes"))?;
    let directories = |kind: Option<FileKind>| u32::from(kind.is_some_and(counts_as_directory));
    let size = directory.size.saturating_add(u64::from(new.is_some()));
    let links = directory.links.saturating_add(directories(new));
    directory.size = size
        .checked_sub(u64::from(old.is_some()))
        .ok_or_else(|| damaged("the directory has no names"))?;
    directory.links = links
        .checked_sub(directories(old))
        .ok_or_else(|| damaged("the directory has no links"))?;
    if directory.links > LINKS_MAX && directories(new) > directories(old) {
        let error = place.error(Kind::TooManyLinks);
        return Err(error
            .because(format!("{LINKS_MAX} links, and its directory has them"))
            .into());
    }
    directory.data_version = transaction.next_version(directory.data_version);
    (directory.modified, directory.changed) = (transaction.time(), transaction.time());
    save(transaction, vnode, &directory);
    Ok(())
}

/// A mount point shows as a directory, and has a way up as one.
pub(super) fn counts_as_directory(kind: FileKind) -> bool {
    matches!(kind, FileKind::Directory | FileKind::MountPoint)
}

/// The FID of an entry in a directory.
pub(super) fn fid(directory: Fid, vnode: Vnode, unique: u64) -> Fid {
    Fid {
        vnode,
        unique,
        ..directory
    }
}
