//! `copy_file_range` within a fileset: the target gets the source's blocks, and no byte is read or written.
//!
//! What an extent of the source has becomes [shared](crate::fileset::shared), and the target gets an extent with the same
//! blocks and checksums. Whoever writes to one of the two takes new blocks, as always. The source may be in a snapshot: what
//! the fileset still has of it becomes shared in the same way, and of the rest it becomes one more
//! [owner](crate::space::Space::own).

use std::ops::Range;

use baton_types::{Error, Fid, Kind, Result, Vnode, limits};

use super::extents::Placed;
use super::write::{changed, count_blocks, set_inline};
use super::{BLOCK, SIZE_END, believing_of, extents, load, place};
use crate::aggregate::{Done, Fileset, Need};
use crate::fileset::{Object, promises, save, shared};
use crate::format::{Attributes, Extent, Key, Lsn};
use crate::transaction::{Operation, Past, Transaction};
use crate::tree::Stop;

/// Node blocks for the extents of one copy, beyond what any operation may cost.
const NODE_BLOCKS: u64 = 32;
/// The same for who owns the blocks of a snapshot.
const OWNER_NODE_BLOCKS: u64 = 32;

/// What is to be copied.
#[derive(Clone, Copy, Debug)]
pub struct Copy {
    /// From which file, and from which byte on.
    pub source: (Fid, u64),
    /// In which snapshot of the fileset; `None` for now.
    pub past: Option<Lsn>,
    /// To which file of the same fileset, perhaps the same, and from which byte on.
    pub target: (Fid, u64),
    /// How many bytes; all of them the source has.
    pub len: u64,
}

/// What the file server has to say: it sees the source, and the target as it was and as it becomes.
pub type SettleCopy<'a> = dyn FnMut((&Attributes, &Attributes), &mut Attributes) -> Result<(), Stop> + 'a;

/// Copies bytes from file to file, as `settle` allows.
///
/// # Errors
/// As [`Fileset::operate`]. The operation itself may be refused: `Unsupported` for what has to be copied byte by byte
/// (bytes that do not lie alike in their blocks, part of a block, bytes that lie inline, an aggregate made before files
/// could share, bytes that files shared in a snapshot that the fileset went back from), `Stale` if the snapshot was
/// deleted, `Limit` past [`limits::COPY_BYTES_MAX`], `Invalid` for bytes that the source has not got or that are copied
/// onto themselves; `Stale`, `IsDirectory`, `TooBig`, `NoSpace`, or as `settle` says.
pub fn copy_as(
    fileset: &Fileset,
    operation: &Operation,
    copy: Copy,
    settle: &mut SettleCopy<'_>,
) -> Result<Done<Object>> {
    let on = || {
        let then = copy.past.map_or_else(String::new, |at| format!(" in snapshot {at}"));
        let (source, target) = (place(copy.source.0), copy.target.0.vnode.number());
        format!("copy of {source}{then}, to vnode {target}")
    };
    believing_of(fileset, &on, || try_copy(fileset, operation, copy, settle))
}

/// One try. A snapshot that goes meanwhile may look like damage: its nodes are used again.
fn try_copy(fileset: &Fileset, operation: &Operation, copy: Copy, settle: &mut SettleCopy<'_>) -> Result<Done<Object>> {
    if let Some(past) = copy.past {
        match fileset.at(past) {
            // The operation is refused, and will be.
            Err(error) if error.kind == Kind::NotFound => {}
            opened => drop(opened?),
        }
    }
    let features = fileset.engine().label.features;
    let has_sharing = features.has_sharing() && (copy.past.is_none() || features.has_further_owners());
    let need = Need {
        blocks: NODE_BLOCKS + copy.past.map_or(0, |_| OWNER_NODE_BLOCKS),
        ..Need::GROWTH
    };
    fileset.operate_seeing(copy.past, operation, need, |transaction, _| {
        if copy.source.0.fileset != copy.target.0.fileset {
            return Err(copy.refused(Kind::Unsupported, "its target is in another fileset"));
        }
        let source = match transaction.past() {
            Some(past) => load(&past.view, copy.source.0)?,
            None => load(transaction, copy.source.0)?,
        };
        let old = load(transaction, copy.target.0)?;
        let blocks = copy.blocks(&source, &old)?;
        if !has_sharing {
            return Err(copy.refused(
                Kind::Unsupported,
                "its aggregate was made before files could share blocks",
            ));
        }
        let mut attributes = old;
        put(transaction, &copy, &blocks, (&source, &mut attributes))?;
        attributes.size = old.size.max(copy.target.1 + copy.len);
        promises::shrink(transaction, &mut attributes);
        changed(transaction, &mut attributes);
        settle((&source, &old), &mut attributes)?;
        let fid = copy.target.0;
        save(transaction, fid.vnode, &attributes);
        Ok(Object { fid, attributes })
    })
}

/// The blocks of both files.
struct Blocks {
    source: Range<u64>,
    target: Range<u64>,
}

impl Copy {
    fn refused(&self, kind: Kind, reason: &str) -> Stop {
        Error::new(kind, format!("copy of file {}", self.source.0))
            .because(reason)
            .into()
    }

    /// Which blocks these bytes are, if they are whole ones.
    fn blocks(&self, source: &Attributes, target: &Attributes) -> Result<Blocks, Stop> {
        let (from, to) = (self.source.1, self.target.1);
        let ends = [from, to].map(|start| start.checked_add(self.len).filter(|end| *end < SIZE_END));
        let [Some(from_end), Some(to_end)] = ends else {
            return Err(self.refused(Kind::TooBig, "it ends past what a file can have"));
        };
        if self.len == 0 || from_end > source.size {
            return Err(self.refused(Kind::Invalid, "the source has not got these bytes"));
        }
        if self.len > limits::COPY_BYTES_MAX {
            return Err(self.refused(Kind::Limit, "it is more than is copied at once"));
        }
        let is_onto_itself = self.past.is_none() && self.source.0 == self.target.0 && from < to_end && to < from_end;
        if is_onto_itself {
            return Err(self.refused(Kind::Invalid, "source and target overlap"));
        }
        // A last block goes whole where neither file has anything behind the copy in it: past the end it is zero.
        let is_end = from_end == source.size && to_end >= target.size;
        if !(from.is_multiple_of(BLOCK) && to.is_multiple_of(BLOCK) && (is_end || self.len.is_multiple_of(BLOCK))) {
            return Err(self.refused(Kind::Unsupported, "these bytes are no whole blocks"));
        }
        Ok(Blocks {
            source: from / BLOCK..from_end.div_ceil(BLOCK),
            target: to / BLOCK..to_end.div_ceil(BLOCK),
        })
    }
}

/// The change itself.
fn put(
    transaction: &mut Transaction<'_>,
    copy: &Copy,
    blocks: &Blocks,
    (source, target): (&Attributes, &mut Attributes),
) -> Result<(), Stop> {
    let [from, to] = [copy.source.0, copy.target.0].map(|fid| fid.vnode);
    let past = transaction.past();
    let source_get = |key| past.map_or_else(|| transaction.get(key), |past| past.view.get(key));
    if source.blocks == 0 && source_get(Key::inline(from))?.is_some() {
        return Err(copy.refused(Kind::Unsupported, "its bytes lie inline"));
    }
    if let Some(inline) = transaction.get(Key::inline(to))? {
        let is_replaced = copy.target.1 == 0 && copy.len >= target.size;
        if !is_replaced {
            return Err(copy.refused(Kind::Unsupported, "the target's bytes lie inline"));
        }
        set_inline(transaction, to, Some(&inline), None);
    }
    let (taken, given) = match past {
        Some(past) => take_back(transaction, &past, (from, &blocks.source), (to, &blocks.target))?,
        None => share_all(transaction, (from, &blocks.source), (to, &blocks.target))?,
    };
    count_blocks(transaction, target, taken, given);
    Ok(())
}

/// The target's blocks become the source's: how many it got, and how many it gave up.
fn share_all(
    transaction: &mut Transaction<'_>,
    (from, source): (Vnode, &Range<u64>),
    (to, target): (Vnode, &Range<u64>),
) -> Result<(u64, u64), Stop> {
    let given = extents::cut(transaction, to, target)?;
    let mut taken = 0;
    for placed in extents::overlapping(transaction, from, source)? {
        let both = placed.first.max(source.start)..placed.end().min(source.end);
        let part = share(transaction, from, &placed, &both)?;
        let at = target.start + (both.start - source.start);
        transaction.put(Key::extent(to, at), part.encode());
        taken += both.end - both.start;
    }
    Ok((taken, given))
}

/// `both`, a part of an extent of the file `from`, becomes shared: gives it as it is in another place.
fn share(transaction: &mut Transaction<'_>, from: Vnode, placed: &Placed, both: &Range<u64>) -> Result<Extent, Stop> {
    let part = Extent {
        flags: Extent::SHARED,
        ..placed.part(both.clone())?
    };
    shared::share(transaction, &placed.extent, placed.run(both))?;
    if !placed.extent.is_shared() {
        let (first, end) = (placed.first, placed.end());
        if first < both.start {
            let left = placed.part(first..both.start)?;
            transaction.put(Key::extent(from, first), left.encode());
        }
        if both.end < end {
            let right = placed.part(both.end..end)?;
            transaction.put(Key::extent(from, both.end), right.encode());
        }
        transaction.put(Key::extent(from, both.start), part.encode());
    }
    Ok(part)
}

/// The target's blocks become those that the source had in a snapshot of the fileset, as [`Transaction::past`] shows it:
/// how many it got, and how many it gave up. What it has already it keeps.
///
/// A block that is an extent's own does not move: if the tree has it still so, then where the snapshot has it. Of a snapshot
/// that the fileset went back from that is not so of what was shared *there*: here it may be an extent's own, anywhere.
pub(crate) fn take_back(
    transaction: &mut Transaction<'_>,
    past: &Past<'_>,
    (from, source): (Vnode, &Range<u64>),
    (to, target): (Vnode, &Range<u64>),
) -> Result<(u64, u64), Stop> {
    let placed = extents::overlapping(&past.view, from, source)?;
    let mut wanted: Vec<(&Placed, Range<u64>)> = Vec::new();
    let (mut at, mut given) = (target.start, 0);
    for placed in &placed {
        let mut next = placed.first.max(source.start);
        let end = placed.end().min(source.end);
        let there = (next - source.start) + target.start..(end - source.start) + target.start;
        for own in extents::overlapping(transaction, to, &there)? {
            let both = own.first.max(there.start)..own.end().min(there.end);
            let of_source = both.start - target.start + source.start;
            if own.block_of(both.start) != placed.block_of(of_source) {
                continue;
            }
            given += extents::cut(transaction, to, &(at..both.start))?;
            wanted.extend((next < of_source).then_some((placed, next..of_source)));
            at = both.end;
            next = both.end - target.start + source.start;
        }
        wanted.extend((next < end).then_some((placed, next..end)));
    }
    given += extents::cut(transaction, to, &(at..target.end))?;
    let mut taken = 0;
    for (placed, range) in wanted {
        for (first, part) in parts_of(transaction, past, (from, placed), &range)? {
            taken += u64::from(part.count);
            let at = first - source.start + target.start;
            transaction.put(Key::extent(to, at), part.encode());
        }
    }
    Ok((taken, given))
}

/// What the tree has for `range` of an extent that the file `from` has in a snapshot, as shared extents: each with its
/// first block in that file.
fn parts_of(
    transaction: &mut Transaction<'_>,
    past: &Past<'_>,
    (from, placed): (Vnode, &Placed),
    range: &Range<u64>,
) -> Result<Vec<(u64, Extent)>, Stop> {
    if placed.extent.is_shared() && !past.is_behind && !shared::knows(transaction, placed.run(range))? {
        let error = Error::new(Kind::Unsupported, format!("blocks of vnode {}", from.number())).because(
            "files shared them in a snapshot that the fileset went back from, and where it has them is not known",
        );
        return Err(error.into());
    }
    let (mut parts, mut at) = (Vec::new(), range.start);
    let others = |transaction: &mut Transaction<'_>, range: Range<u64>| -> Result<_, Stop> {
        let mut parts = Vec::new();
        if range.is_empty() {
            return Ok(parts);
        }
        let mut at = range.start;
        for (run, birth) in shared::take_back(transaction, placed.run(&range))? {
            let end = at + u64::from(run.count);
            let flags = Extent::SHARED;
            let part = placed.part(at..end)?;
            parts.push((at, Extent { flags, birth, ..part }));
            at = end;
        }
        Ok(parts)
    };
    if !placed.extent.is_shared() {
        for own in extents::overlapping(transaction, from, range)? {
            let both = own.first.max(range.start)..own.end().min(range.end);
            if own.extent.is_shared() || own.block_of(both.start) != placed.block_of(both.start) {
                continue;
            }
            parts.extend(others(transaction, at..both.start)?);
            parts.push((both.start, share(transaction, from, &own, &both)?));
            at = both.end;
        }
    }
    parts.extend(others(transaction, at..range.end)?);
    Ok(parts)
}
