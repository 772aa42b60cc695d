//! `copy_file_range` within a fileset: the target gets the source's blocks, and no byte is read or written.
//!
//! What an extent of the source has becomes [shared](crate::fileset::shared), and the target gets an extent with the same
//! blocks and checksums. Whoever writes to one of the two takes new blocks, as always.

use std::ops::Range;

use baton_types::{Error, Fid, Kind, Result, limits};

use super::write::{changed, count_blocks, set_inline};
use super::{BLOCK, SIZE_END, extents, load};
use crate::aggregate::{Done, Fileset, Need};
use crate::fileset::{Object, promises, save, shared};
use crate::format::{Attributes, Extent, Key};
use crate::transaction::{Operation, Transaction};
use crate::tree::Stop;

/// Node blocks for the extents of one copy, beyond what any operation may cost.
const NODE_BLOCKS: u64 = 32;

/// What is to be copied.
#[derive(Clone, Copy, Debug)]
pub struct Copy {
    /// From which file, and from which byte on.
    pub source: (Fid, u64),
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
/// could share), `Limit` past [`limits::COPY_BYTES_MAX`], `Invalid` for bytes that the source has not got or that are copied onto
/// themselves; `Stale`, `IsDirectory`, `TooBig`, `NoSpace`, or as `settle` says.
pub fn copy_as(
    fileset: &Fileset,
    operation: &Operation,
    copy: Copy,
    settle: &mut SettleCopy<'_>,
) -> Result<Done<Object>> {
    let has_sharing = fileset.engine().label.features.has_sharing();
    let need = Need {
        blocks: NODE_BLOCKS,
        ..Need::GROWTH
    };
    fileset.operate(operation, need, |transaction, _| {
        if copy.source.0.fileset != copy.target.0.fileset {
            return Err(copy.refused(Kind::Unsupported, "its target is in another fileset"));
        }
        let (source, old) = (load(transaction, copy.source.0)?, load(transaction, copy.target.0)?);
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
        let is_onto_itself = self.source.0 == self.target.0 && from < to_end && to < from_end;
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
    if source.blocks == 0 && transaction.get(Key::inline(from))?.is_some() {
        return Err(copy.refused(Kind::Unsupported, "its bytes lie inline"));
    }
    if let Some(inline) = transaction.get(Key::inline(to))? {
        let is_replaced = copy.target.1 == 0 && copy.len >= target.size;
        if !is_replaced {
            return Err(copy.refused(Kind::Unsupported, "the target's bytes lie inline"));
        }
        set_inline(transaction, to, Some(&inline), None);
    }
    let given = extents::cut(transaction, to, &blocks.target)?;
    let mut taken = 0;
    for placed in extents::overlapping(transaction, from, &blocks.source)? {
        let (first, end) = (placed.first, placed.end());
        let both = first.max(blocks.source.start)..end.min(blocks.source.end);
        let part = Extent {
            flags: Extent::SHARED,
            ..placed.part(both.clone())?
        };
        shared::share(transaction, &placed.extent, placed.run(&both))?;
        if !placed.extent.is_shared() {
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
        let at = blocks.target.start + (both.start - blocks.source.start);
        transaction.put(Key::extent(to, at), part.encode());
        taken += both.end - both.start;
    }
    count_blocks(transaction, target, taken, given);
    Ok(())
}
