//! `fallocate`: a file gets longer, or a range of it becomes a hole.
//!
//! Room is not set aside: what is asked to be allocated is refused if there is too little now, and written when it is
//! written.

use std::ops::Range;

use baton_types::call::Allocate;
use baton_types::{Error, Fid, Kind, Result};
use bytes::Bytes;

use super::resize::{STEP_EXTENTS_MAX, in_steps, resize};
use super::write::{changed, count_blocks, put_block, set_inline};
use super::{BLOCK, SIZE_END, Settle, extents, load};
use crate::aggregate::{Done, Fileset};
use crate::buffer::Buffer;
use crate::engine::Engine;
use crate::fileset::{Object, Progress, save};
use crate::format::{Attributes, Key};
use crate::space::{Purpose, no_space};
use crate::transaction::{Operation, Transaction};
use crate::tree::Stop;

/// Does with `range` of a file what `how` says, as `settle` allows it.
///
/// # Errors
/// `Damaged` if a block at the edge cannot be read; as [`Fileset::operate`]. The operation itself may be refused as
/// `Stale`, `IsDirectory`, `Invalid`, `TooBig`, `NoSpace`, or as `settle` says.
pub fn fallocate(
    fileset: &Fileset,
    operation: &Operation,
    (fid, range): (Fid, Range<u64>),
    how: Allocate,
    settle: &mut Settle<'_>,
) -> Result<Done<Object>> {
    in_steps(fileset, operation, fid, settle, |transaction, settle| {
        if range.is_empty() {
            return Err(Error::new(Kind::Invalid, format!("file {fid}"))
                .because("an empty range")
                .into());
        }
        if range.end >= SIZE_END {
            return Err(Error::new(Kind::TooBig, format!("file {fid}")).into());
        }
        match how {
            Allocate::Extend | Allocate::KeepSize => {
                let attributes = load(transaction, fid)?;
                has_room(fileset.engine(), &attributes, &range)?;
                match how == Allocate::Extend && range.end > attributes.size {
                    true => resize(transaction, (fid, range.end), settle),
                    false => stay(transaction, (fid, attributes), settle),
                }
            }
            Allocate::PunchHole => punch(transaction, (fid, &range), |size| size, settle),
            Allocate::Zero => punch(transaction, (fid, &range), |size| size.max(range.end), settle),
        }
    })
}

/// Refuses what there is no room for, as far as it is not there already.
fn has_room(engine: &Engine, attributes: &Attributes, range: &Range<u64>) -> Result<(), Stop> {
    let wanted = (range.end.div_ceil(BLOCK) - range.start / BLOCK).saturating_sub(attributes.blocks);
    match wanted > engine.space.lock().available(Purpose::Growth) {
        true => Err(no_space().into()),
        false => Ok(()),
    }
}

/// Changes no byte.
fn stay(
    transaction: &mut Transaction<'_>,
    (fid, old): (Fid, Attributes),
    settle: &mut Settle<'_>,
) -> Result<(Object, Progress), Stop> {
    let mut attributes = old;
    attributes.changed = transaction.time();
    settle(&old, &mut attributes)?;
    save(transaction, fid.vnode, &attributes);
    Ok((Object { fid, attributes }, Progress::Done))
}

/// Makes `range` a hole, or as much of it as one step may; `length` gives the file's size after it.
fn punch(
    transaction: &mut Transaction<'_>,
    (fid, range): (Fid, &Range<u64>),
    length: impl Fn(u64) -> u64,
    settle: &mut Settle<'_>,
) -> Result<(Object, Progress), Stop> {
    let old = load(transaction, fid)?;
    let mut attributes = old;
    let bytes = range.start.min(old.size)..range.end.min(old.size);
    let inline = transaction.get(Key::inline(fid.vnode))?;
    let mut progress = Progress::Done;
    if let Some(inline) = &inline {
        punch_inline(transaction, fid, inline, &bytes);
    } else if !bytes.is_empty() {
        // The last block goes whole: past the end it is zero.
        let last = if bytes.end == old.size {
            bytes.end.next_multiple_of(BLOCK)
        } else {
            bytes.end
        };
        let whole = bytes.start.div_ceil(BLOCK)..last / BLOCK;
        progress = cut_some(transaction, (fid, &mut attributes), whole)?;
        if progress == Progress::Done {
            punch_edges(transaction, (fid, &mut attributes), &bytes)?;
        }
    }
    attributes.size = length(old.size);
    changed(transaction, &mut attributes);
    settle(&old, &mut attributes)?;
    save(transaction, fid.vnode, &attributes);
    Ok((Object { fid, attributes }, progress))
}

fn punch_inline(transaction: &mut Transaction<'_>, fid: Fid, inline: &Bytes, bytes: &Range<u64>) {
    let len = inline.len() as u64;
    let mut new = inline.to_vec();
    new[bytes.start.min(len) as usize..bytes.end.min(len) as usize].fill(0);
    set_inline(transaction, fid.vnode, Some(inline), Some(new));
}

/// Cuts at most [`STEP_EXTENTS_MAX`] extents out of `blocks`.
fn cut_some(
    transaction: &mut Transaction<'_>,
    (fid, attributes): (Fid, &mut Attributes),
    blocks: Range<u64>,
) -> Result<Progress, Stop> {
    let mut at = blocks.start;
    for step in 0.. {
        let left = at..blocks.end;
        let Some(placed) = extents::first_in(transaction, fid.vnode, &left)? else {
            break;
        };
        if step == STEP_EXTENTS_MAX {
            return Ok(Progress::More);
        }
        let gone = placed.first.max(left.start)..placed.end().min(left.end);
        let given = extents::cut(transaction, fid.vnode, &gone)?;
        count_blocks(transaction, attributes, 0, given);
        at = gone.end;
    }
    Ok(Progress::Done)
}

/// Zeroes the blocks of which `bytes` has a part.
fn punch_edges(
    transaction: &mut Transaction<'_>,
    (fid, attributes): (Fid, &mut Attributes),
    bytes: &Range<u64>,
) -> Result<(), Stop> {
    let [first, last] = [bytes.start, bytes.end].map(|at| (!at.is_multiple_of(BLOCK)).then_some(at / BLOCK));
    for block in first.into_iter().chain(last.filter(|last| first != Some(*last))) {
        let Some(old) = extents::block_of(transaction, fid.vnode, block)? else {
            continue;
        };
        let start = block * BLOCK;
        let [from, to] = [bytes.start, bytes.end].map(|at| (at.clamp(start, start + BLOCK) - start) as usize);
        let mut new = old.to_vec();
        new[from..to].fill(0);
        let given = extents::cut(transaction, fid.vnode, &(block..block + 1))?;
        let is_hole = new.iter().all(|byte| *byte == 0);
        if !is_hole {
            put_block(transaction, (fid.vnode, block), Buffer::padded(&new))?;
        }
        count_blocks(transaction, attributes, u64::from(!is_hole), given);
    }
    Ok(())
}
