//! `truncate`: a file gets shorter or longer.

use baton_types::{Error, Fid, Kind, Result};

use super::write::{changed, count_blocks, put_block, set_inline};
use super::{BLOCK, SIZE_END, Settle, believing, extents, load};
use crate::aggregate::{Done, Fileset, Need};
use crate::buffer::Buffer;
use crate::engine::{Patience, would_wait};
use crate::fileset::{Object, Progress, promises, save};
use crate::format::Key;
use crate::transaction::{Operation, Transaction};
use crate::tree::Stop;

/// Extents cut in one step: at 64 blocks each 64 MiB, in a fraction of a millisecond under the fileset's lock.
pub(super) const STEP_EXTENTS_MAX: usize = 256;

/// Sets the length of a file.
///
/// A file with very many extents first gets shorter in steps of their own, which no replay needs: the last step is the
/// operation, and does what is left.
///
/// # Errors
/// `Damaged` if the last block cannot be read; as [`Fileset::operate`]. The operation itself may be refused as `Stale`,
/// `IsDirectory`, `Invalid`, `TooBig`, `NoSpace`.
pub fn truncate(fileset: &Fileset, operation: &Operation, fid: Fid, size: u64) -> Result<Done<Object>> {
    truncate_as(fileset, operation, (fid, size), &mut super::as_it_is)
}

/// The same, as `settle` allows it, which may set other attributes along with the length.
///
/// # Errors
/// As [`truncate`]; what `settle` says.
pub fn truncate_as(
    fileset: &Fileset,
    operation: &Operation,
    (fid, size): (Fid, u64),
    settle: &mut Settle<'_>,
) -> Result<Done<Object>> {
    in_steps(fileset, operation, fid, settle, |transaction, settle| {
        resize(transaction, (fid, size), settle)
    })
}

/// Does `change` as `operation`; while there is more of it than one step may do, steps of their own come first.
pub(super) fn in_steps(
    fileset: &Fileset,
    operation: &Operation,
    fid: Fid,
    settle: &mut Settle<'_>,
    mut change: impl FnMut(&mut Transaction<'_>, &mut Settle<'_>) -> Result<(Object, Progress), Stop>,
) -> Result<Done<Object>> {
    // Blocks that take the place of those at the edges.
    let need = Need {
        blocks: 2,
        ..Need::UPKEEP
    };
    loop {
        let mut is_long = false;
        let done = believing(fileset, fid, || {
            fileset.operate(operation, need, |transaction, _| match change(transaction, settle)? {
                (object, Progress::Done) => Ok(object),
                (_, Progress::More) => {
                    is_long = true;
                    Err(would_wait("file that changes in steps").into())
                }
            })
        });
        if !is_long || fileset.patience() == Patience::None {
            return done;
        }
        let own = Operation {
            time: operation.time,
            ..Operation::default()
        };
        let step = fileset.operate(&own, need, |transaction, _| {
            Ok(change(transaction, &mut super::as_it_is)?.0)
        });
        step?.answer?;
    }
}

/// The change itself, or as much of it as one step may do.
pub(super) fn resize(
    transaction: &mut Transaction<'_>,
    (fid, size): (Fid, u64),
    settle: &mut Settle<'_>,
) -> Result<(Object, Progress), Stop> {
    let old = load(transaction, fid)?;
    let mut attributes = old;
    if size >= SIZE_END {
        return Err(Error::new(Kind::TooBig, format!("file {fid}")).into());
    }
    let (mut reached, mut progress) = (size, Progress::Done);
    if size < attributes.size {
        let kept = size.div_ceil(BLOCK);
        let inline = transaction.get(Key::inline(fid.vnode))?;
        let mut last = u64::MAX;
        for step in 0.. {
            let Some(placed) = extents::last_until(transaction, fid.vnode, last)?.filter(|last| last.end() > kept)
            else {
                break;
            };
            if step == STEP_EXTENTS_MAX {
                (reached, progress) = (placed.end() * BLOCK, Progress::More);
                break;
            }
            let range = kept.max(placed.first)..placed.end();
            let given = extents::cut(transaction, fid.vnode, &range)?;
            count_blocks(transaction, &mut attributes, 0, given);
            let Some(before) = placed.first.checked_sub(1) else {
                break;
            };
            last = before;
        }
        if let Some(inline) = &inline
            && inline.len() as u64 > size
        {
            let kept = inline.get(..size as usize).filter(|kept| !kept.is_empty());
            set_inline(transaction, fid.vnode, Some(inline), kept.map(<[u8]>::to_vec));
        }
        if progress == Progress::Done {
            zero_tail(transaction, fid, size)?;
        }
    }
    attributes.size = reached;
    if reached < old.size {
        promises::shrink(transaction, &mut attributes);
    }
    changed(transaction, &mut attributes);
    settle(&old, &mut attributes)?;
    save(transaction, fid.vnode, &attributes);
    Ok((Object { fid, attributes }, progress))
}

/// Makes the bytes past `size` in the last block zero, if it is in an extent: one block takes its place.
fn zero_tail(transaction: &mut Transaction<'_>, fid: Fid, size: u64) -> Result<(), Stop> {
    let (block, kept) = (size / BLOCK, (size % BLOCK) as usize);
    if kept == 0 {
        return Ok(());
    }
    let Some(old) = extents::block_of(transaction, fid.vnode, block)? else {
        return Ok(());
    };
    if old[kept..].iter().all(|&byte| byte == 0) {
        return Ok(());
    }
    extents::cut(transaction, fid.vnode, &(block..block + 1))?;
    put_block(transaction, (fid.vnode, block), Buffer::padded(&old[..kept]))
}
