//! The extents of a file: which there are in a range, and how a range is taken out of them.

use std::ops::Range;

use baton_types::{Error, Kind, Vnode};
use bytes::Bytes;

use super::BLOCK;
use crate::fileset::{Items, shared};
use crate::format::{BLOCK_BYTES, Block, EXTENT_BLOCKS_MAX, Extent, Key, Lsn, Pointer};
use crate::nodes::Units;
use crate::transaction::{Run, Transaction};
use crate::tree::Stop;

const BLOCK_SHIFT: u8 = BLOCK.ilog2() as u8;

/// An extent and its place in the file.
pub(super) struct Placed {
    /// The first of its blocks, as the file counts them.
    pub first: u64,
    pub extent: Extent,
}

impl Placed {
    fn decode(vnode: Vnode, key: Key, value: &[u8]) -> Result<Placed, Stop> {
        let on = |error| Error {
            on: format!("extent of vnode {} at block {}", vnode.number(), key.sub),
            ..error
        };
        let extent = Extent::decode(value).map_err(on)?;
        Ok(Placed { first: key.sub, extent })
    }

    /// One past the last of its blocks.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.extent.count.into())
    }

    /// The units that have blocks of `range`, which lies within; and how many of their blocks come before it.
    pub fn units(&self, range: &Range<u64>) -> (Units, u64) {
        let unit = u64::from(self.extent.unit_blocks());
        let from = (range.start - self.first) / unit * unit;
        let to = (range.end - self.first)
            .next_multiple_of(unit)
            .min(self.extent.count.into());
        let units = Units {
            block: Block(self.extent.block.0 + from),
            unit_blocks: self.extent.unit_blocks(),
            count: (to - from) as u32,
            checksums: self.extent.checksums[(from / unit) as usize..to.div_ceil(unit) as usize].to_vec(),
        };
        (units, range.start - self.first - from)
    }

    /// Where the blocks of `range`, which lies within, are on the device.
    pub fn run(&self, range: &Range<u64>) -> Run {
        Run {
            block: Block(self.extent.block.0 + (range.start - self.first)),
            count: (range.end - range.start) as u16,
        }
    }

    /// Where one of the file's blocks is, which it has.
    pub fn block_of(&self, block: u64) -> Block {
        Block(self.extent.block.0 + (block - self.first))
    }

    /// A part of it as an extent by itself.
    pub fn part(&self, range: Range<u64>) -> Result<Extent, Stop> {
        let (units, before) = self.units(&range);
        let count = range.end - range.start;
        if before != 0 || u64::from(units.count) != count {
            // Nothing writes such extents yet.
            let on = format!("extent at block {}", self.extent.block);
            let reason = format!("its units of {} blocks cannot be cut", units.unit_blocks);
            return Err(Error::new(Kind::Version, on)
                .because(reason)
                .remedy("use a newer Baton")
                .into());
        }
        Ok(Extent {
            block: units.block,
            count: count as u8,
            checksums: units.checksums,
            ..self.extent.clone()
        })
    }
}

/// The extents that have blocks of `range`, in order.
pub(super) fn overlapping(items: &impl Items, vnode: Vnode, range: &Range<u64>) -> Result<Vec<Placed>, Stop> {
    let mut found = Vec::new();
    if range.is_empty() {
        return Ok(found);
    }
    // Mostly one extent has them all, and is found at once.
    if let Some(placed) = last_until(items, vnode, range.start)?
        && placed.end() > range.start
    {
        let end = placed.end();
        found.push(placed);
        if end >= range.end {
            return Ok(found);
        }
    }
    for item in items.scan(Key::extent(vnode, range.start + 1), Key::extent(vnode, range.end - 1)) {
        let (key, value) = item?;
        let placed = Placed::decode(vnode, key, &value)?;
        if found.last().is_some_and(|last| last.end() > placed.first) {
            let on = format!("extent of vnode {} at block {}", vnode.number(), placed.first);
            return Err(Error::new(Kind::Damaged, on)
                .because("it overlaps the one before")
                .into());
        }
        found.push(placed);
    }
    Ok(found)
}

/// The first extent that has blocks of `range`.
pub(super) fn first_in(items: &impl Items, vnode: Vnode, range: &Range<u64>) -> Result<Option<Placed>, Stop> {
    if range.is_empty() {
        return Ok(None);
    }
    if let Some(placed) = last_until(items, vnode, range.start)?
        && placed.end() > range.start
    {
        return Ok(Some(placed));
    }
    let next = items
        .scan(Key::extent(vnode, range.start + 1), Key::extent(vnode, range.end - 1))
        .next();
    let next = next.transpose()?;
    next.map(|(key, value)| Placed::decode(vnode, key, &value)).transpose()
}

/// The last extent that begins at `block` or before.
pub(super) fn last_until(items: &impl Items, vnode: Vnode, block: u64) -> Result<Option<Placed>, Stop> {
    let last = items.last_at_or_before(Key::extent(vnode, block))?;
    last.map(|(key, value)| Placed::decode(vnode, key, &value)).transpose()
}

/// The unit that has a block of a file, if an extent does; and how many of its blocks come before that one.
pub(crate) fn unit_of(items: &impl Items, vnode: Vnode, block: u64) -> Result<Option<(Pointer, u64)>, Stop> {
    let Some(placed) = last_until(items, vnode, block)?.filter(|placed| placed.end() > block) else {
        return Ok(None);
    };
    let (units, before) = placed.units(&(block..block + 1));
    let Some(pointer) = units.pointers().next() else {
        unreachable!("an extent has a unit for each of its blocks");
    };
    Ok(Some((pointer, before)))
}

/// The bytes of one block, if it is in an extent.
pub(super) fn block_of(transaction: &Transaction<'_>, vnode: Vnode, block: u64) -> Result<Option<Bytes>, Stop> {
    let Some((pointer, before)) = unit_of(transaction, vnode, block)? else {
        return Ok(None);
    };
    let at = before as usize * BLOCK_BYTES;
    Ok(Some(transaction.data(&pointer)?.slice(at..at + BLOCK_BYTES)))
}

/// Takes the blocks of `range` from the file and gives them up; says how many it had.
pub(super) fn cut(transaction: &mut Transaction<'_>, vnode: Vnode, range: &Range<u64>) -> Result<u64, Stop> {
    let mut count = 0;
    for placed in overlapping(transaction, vnode, range)? {
        let (first, end) = (placed.first, placed.end());
        let gone = first.max(range.start)..end.min(range.end);
        // Not to be left half done by an extent that cannot be cut.
        let left = (first < gone.start)
            .then(|| placed.part(first..gone.start))
            .transpose()?;
        let right = (gone.end < end).then(|| placed.part(gone.end..end)).transpose()?;
        match left {
            Some(left) => transaction.put(Key::extent(vnode, first), left.encode()),
            None => transaction.delete(Key::extent(vnode, first)),
        }
        if let Some(right) = right {
            transaction.put(Key::extent(vnode, gone.end), right.encode());
        }
        shared::give_up(transaction, &placed.extent, placed.run(&gone))?;
        count += gone.end - gone.start;
    }
    Ok(count)
}

/// Puts blocks that lie side by side on the device, from `block` on, into the file, from its block `first` on.
pub(super) fn put(
    transaction: &mut Transaction<'_>,
    (vnode, first): (Vnode, u64),
    block: Block,
    checksums: &[crate::format::Checksum],
) {
    for (part, checksums) in (0..).zip(checksums.chunks(EXTENT_BLOCKS_MAX.into())) {
        let before = part * u64::from(EXTENT_BLOCKS_MAX);
        let extent = Extent {
            flags: 0,
            unit_shift: BLOCK_SHIFT,
            block: Block(block.0 + before),
            count: checksums.len() as u8,
            birth: Lsn(0),
            checksums: checksums.to_vec(),
        };
        transaction.put(Key::extent(vnode, first + before), extent.encode());
    }
}
