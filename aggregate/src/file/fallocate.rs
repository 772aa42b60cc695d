//! `fallocate`: a file gets longer, or a range of it becomes a hole.
//!
//! What is asked to be allocated is [promised](promises): it has no place before it is written, and there is room for it
//! then.

use std::ops::Range;

use baton_types::call::Allocate;
use baton_types::{Error, Fid, Kind, Result};
use bytes::Bytes;

use super::resize::{STEP_EXTENTS_MAX, in_steps};
use super::write::{changed, count_blocks, put_block, set_inline};
use super::{BLOCK, SIZE_END, Settle, extents, load};
use crate::aggregate::{Done, Fileset};
use crate::buffer::Buffer;
use crate::fileset::{Object, Progress, promises, save};
use crate::format::{Attributes, Key};
use crate::space::no_space;
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
    if matches!(how, Allocate::Extend | Allocate::KeepSize) {
        let blocks = fileset.read(|view| match load(view, fid) {
            Ok(attributes) => Ok(promise_of(&attributes, &range)),
            // What is no file is refused where that is recorded.
            Err(Stop::Failed(error)) if error.kind != Kind::Damaged => Ok(0),
            Err(stop) => Err(stop),
        })?;
        fileset.gather(blocks)?;
    }
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
                let blocks = holes(transaction, fid, &range)?;
                let mut promised = attributes;
                let grows = how == Allocate::Extend && range.end > attributes.size;
                match fileset.engine().label.features.has_promises() {
                    true => promises::promise(transaction, &mut promised, (&range, blocks)),
                    // Its aggregate was made before: there is room now, and there may be none when it is written.
                    false if !fileset.has_room(blocks) => return Err(no_space().into()),
                    false => {}
                }
                extend(
                    transaction,
                    fid,
                    (attributes, promised),
                    grows.then_some(range.end),
                    settle,
                )
            }
            Allocate::PunchHole => punch(transaction, (fid, &range), |size| size, settle),
            Allocate::Zero => punch(transaction, (fid, &range), |size| size.max(range.end), settle),
        }
    })
}

/// The blocks of `range`.
fn blocks_of(range: &Range<u64>) -> Range<u64> {
    range.start / BLOCK..range.end.div_ceil(BLOCK)
}

/// Blocks that a promise of `range` may come to, as far as the attributes tell.
fn promise_of(attributes: &Attributes, range: &Range<u64>) -> u64 {
    let blocks = blocks_of(range);
    (blocks.end.saturating_sub(blocks.start)).saturating_sub(attributes.blocks)
}

/// Blocks of `range` that no extent has.
fn holes(transaction: &Transaction<'_>, fid: Fid, range: &Range<u64>) -> Result<u64, Stop> {
    let (mut left, mut holes) = (blocks_of(range), 0);
    while let Some(placed) = extents::first_in(transaction, fid.vnode, &left)? {
        holes += placed.first.saturating_sub(left.start);
        left.start = placed.end().min(left.end);
    }
    Ok(holes + (left.end - left.start))
}

/// Gives a file its new attributes, and its new end, if it has one; changes no byte.
fn extend(
    transaction: &mut Transaction<'_>,
    fid: Fid,
    (old, mut attributes): (Attributes, Attributes),
    end: Option<u64>,
    settle: &mut Settle<'_>,
) -> Result<(Object, Progress), Stop> {
    match end {
        Some(end) => {
            attributes.size = end;
            changed(transaction, &mut attributes);
        }
        None => attributes.changed = transaction.time(),
    }
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
