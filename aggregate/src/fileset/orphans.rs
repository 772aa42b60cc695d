//! Files without a name: kept while somebody has them open, then taken apart, a bounded step at a time.
//!
//! Steps are resumed from the tree alone: what is gone is gone, and the orphan item says up to where, so that no step
//! walks over what earlier ones deleted.

use baton_types::{Error, Kind, Vnode};

use super::attributes::{read, save};
use super::items::Items;
use super::links::Holders;
use super::{promises, shared};
use crate::format::{Attributes, BLOCK_BYTES, Extent, Key, KeyKind, Orphan};
use crate::transaction::{Run, Transaction};
use crate::tree::Stop;

/// Extents and extended attributes that one step deletes: 36 KiB of record, and well below a millisecond.
pub const STEP_ITEMS_MAX: usize = 1_000;
/// The same within the operation that takes the last name: a file of a few MiB goes at once.
const UNLINK_ITEMS_MAX: usize = 64;

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Another step is needed.
    More,
    /// Nothing is left.
    Done,
}

/// A file without a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nameless {
    /// Which.
    pub vnode: Vnode,
    /// As in its FID.
    pub unique: u64,
    /// What becomes of it.
    pub orphan: Orphan,
}

/// The first `count_max` files without a name whose vnodes come after `after`.
///
/// # Errors
/// A miss; damage.
pub fn orphans(items: &impl Items, after: Option<Vnode>, count_max: usize) -> Result<Vec<Nameless>, Stop> {
    let from = Key::new(0, KeyKind::Orphan, after.map_or(0, |vnode| vnode.number() + 1));
    let found = items.scan(from, Key::new(0, KeyKind::Orphan, u64::MAX)).take(count_max);
    found
        .map(|item| {
            let (key, value) = item?;
            let vnode = Vnode::new(key.sub)?;
            let unique = present(items, vnode)?.unique;
            Ok(Nameless {
                vnode,
                unique,
                orphan: Orphan::decode(&value)?,
            })
        })
        .collect()
}

/// Whether a file without a name is still there.
///
/// # Errors
/// A miss; damage.
pub fn is_orphan(items: &impl Items, vnode: Vnode) -> Result<bool, Stop> {
    Ok(items.get(Key::orphan(vnode))?.is_some())
}

/// Takes a piece of a file away that has no name and nobody holds any more. Begun, it is not kept any longer.
///
/// # Errors
/// A miss; damage.
pub fn remove_step(transaction: &mut Transaction<'_>, vnode: Vnode) -> Result<Progress, Stop> {
    let Some(orphan) = transaction.get(Key::orphan(vnode))? else {
        return Ok(Progress::Done);
    };
    let from = match Orphan::decode(&orphan)? {
        Orphan::Held => 0,
        Orphan::Removing(from) => from,
    };
    let attributes = present(transaction, vnode)?;
    take_apart(transaction, vnode, attributes, (from, STEP_ITEMS_MAX))
}

/// What becomes of a file that has lost its last name.
pub(super) fn let_go(
    transaction: &mut Transaction<'_>,
    vnode: Vnode,
    attributes: Attributes,
    holders: Holders,
) -> Result<(), Stop> {
    match holders {
        Holders::Somebody => {
            save(transaction, vnode, &attributes);
            transaction.put(Key::orphan(vnode), Orphan::Held.encode());
        }
        Holders::Nobody => {
            take_apart(transaction, vnode, attributes, (0, UNLINK_ITEMS_MAX))?;
        }
    }
    Ok(())
}

/// Whether a file without a name is on its way out.
pub(super) fn is_removing(items: &impl Items, vnode: Vnode) -> Result<bool, Stop> {
    Ok(match items.get(Key::orphan(vnode))? {
        Some(orphan) => Orphan::decode(&orphan)? != Orphan::Held,
        None => false,
    })
}

/// Deletes at most `items_max` of a file's extents, from its block `from` on, and other items.
fn take_apart(
    transaction: &mut Transaction<'_>,
    vnode: Vnode,
    mut attributes: Attributes,
    (mut from, items_max): (u64, usize),
) -> Result<Progress, Stop> {
    promises::forget(transaction, &mut attributes);
    let mut left = items_max - delete_all(transaction, (vnode, KeyKind::Xattr), items_max)?;
    let extents: Vec<_> = transaction
        .scan(Key::extent(vnode, from), Key::extent(vnode, u64::MAX))
        .take(left)
        .collect::<Result<_, _>>()?;
    left -= extents.len();
    for (key, value) in extents {
        let extent = Extent::decode(&value)?;
        let blocks = u64::from(extent.count);
        let run = Run {
            block: extent.block,
            count: extent.count.into(),
        };
        shared::give_up(transaction, &extent, run)?;
        transaction.delete(key);
        attributes.blocks = attributes.blocks.saturating_sub(blocks);
        let bytes = &mut transaction.usage().bytes;
        *bytes = bytes.saturating_sub(blocks * BLOCK_BYTES as u64);
        from = key.sub.saturating_add(blocks);
    }
    if left == 0 {
        save(transaction, vnode, &attributes);
        transaction.put(Key::orphan(vnode), Orphan::Removing(from).encode());
        return Ok(Progress::More);
    }
    delete_all(transaction, (vnode, KeyKind::Inline), usize::MAX)?;
    transaction.delete(Key::mount_point(vnode));
    transaction.delete(Key::orphan(vnode));
    transaction.delete(Key::attributes(vnode));
    let files = &mut transaction.usage().files;
    *files = files.saturating_sub(1);
    Ok(Progress::Done)
}

/// Deletes at most `count_max` items of one kind, which are used bytes; says how many.
fn delete_all(
    transaction: &mut Transaction<'_>,
    (vnode, kind): (Vnode, KeyKind),
    count_max: usize,
) -> Result<usize, Stop> {
    let [first, last] = [0, u64::MAX].map(|sub| Key::new(vnode.number(), kind, sub));
    let items: Vec<_> = transaction
        .scan(first, last)
        .take(count_max)
        .collect::<Result<_, _>>()?;
    for (key, value) in &items {
        transaction.delete(*key);
        let bytes = &mut transaction.usage().bytes;
        *bytes = bytes.saturating_sub(value.len() as u64);
    }
    Ok(items.len())
}

fn present(items: &impl Items, vnode: Vnode) -> Result<Attributes, Stop> {
    let lost = || Error::new(Kind::Damaged, format!("orphan {vnode:?}")).because("it has no attributes");
    Ok(read(items, vnode)?.ok_or_else(lost)?)
}
