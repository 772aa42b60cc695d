//! `lseek` to the next data or hole.

use baton_types::{Fid, Result};

use super::{BLOCK, extents, load};
use crate::aggregate::Fileset;
use crate::fileset::Items;
use crate::format::Key;
use crate::tree::Stop;

/// Blocks of extents looked at under one lock: what a hundred extents hold.
const STEP_BLOCKS: u64 = 6_400;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// Bytes that are somewhere.
    Data,
    /// Bytes that are nowhere, or the end of the file.
    Hole,
}

/// The first byte at `offset` or after it that is what is sought; `None` if there is none in the file.
///
/// # Errors
/// `Stale`, `IsDirectory`, `Invalid`; damage; what the device says.
pub fn seek(fileset: &Fileset, fid: Fid, offset: u64, sought: Sought) -> Result<Option<u64>> {
    let mut from = offset;
    loop {
        match fileset.read(|view| step(view, fid, from, sought))? {
            Step::Found(at) => return Ok(at),
            Step::Further(at) => from = at,
        }
    }
}

/// How far a search came.
pub(super) enum Step {
    /// There it is, or nowhere.
    Found(Option<u64>),
    /// Not before this byte.
    Further(u64),
}

/// Searches as much as one lock is good for.
pub(super) fn step(items: &impl Items, fid: Fid, from: u64, sought: Sought) -> Result<Step, Stop> {
    let attributes = load(items, fid)?;
    let size = attributes.size;
    if from >= size {
        return Ok(Step::Found(None));
    }
    if attributes.blocks == 0 {
        let inline = items.get(Key::inline(fid.vnode))?;
        let data_end = inline.map_or(0, |inline| inline.len() as u64);
        return Ok(Step::Found(match sought {
            Sought::Data => (from < data_end).then_some(from),
            Sought::Hole => Some(from.max(data_end)),
        }));
    }
    let first = from / BLOCK;
    match sought {
        Sought::Data => {
            let last = extents::last_until(items, fid.vnode, first)?;
            if last.is_some_and(|placed| placed.end() > first) {
                return Ok(Step::Found(Some(from)));
            }
            let next = items
                .scan(Key::extent(fid.vnode, first), Key::extent(fid.vnode, u64::MAX))
                .next();
            let next = next.transpose()?.map(|(key, _)| key.sub * BLOCK);
            Ok(Step::Found(next.filter(|next| *next < size)))
        }
        Sought::Hole => {
            let range = first..first.saturating_add(STEP_BLOCKS);
            let mut end = first;
            for placed in extents::overlapping(items, fid.vnode, &range)? {
                if placed.first > end {
                    break;
                }
                end = placed.end();
            }
            let at = from.max(end.saturating_mul(BLOCK)).min(size);
            Ok(match end >= range.end && at < size {
                true => Step::Further(at),
                false => Step::Found(Some(at)),
            })
        }
    }
}
