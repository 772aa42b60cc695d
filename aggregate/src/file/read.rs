//! `read`: bytes of a file.
//!
//! Its extents are looked up under the lock; then, without it, the bytes are taken from memory or the device.

use std::ops::Range;

use baton_types::{Fid, Result, limits};
use bytes::Bytes;

use super::{BLOCK, believing, extents, load};
use crate::aggregate::Fileset;
use crate::buffer::Buffer;
use crate::engine::{Patience, would_wait};
use crate::fileset::Items;
use crate::format::{Attributes, BLOCK_BYTES, Key};
use crate::nodes::{Nodes, Reuse, Units};
use crate::tree::Stop;

/// Most bytes of one read: what a frame carries.
pub const READ_BYTES_MAX: usize = limits::FRAME_PAYLOAD_BYTES_MAX as usize;

/// A read up to this length is likely to be asked for again, and is kept; longer ones are of streams.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// Reads up to `len` bytes from `offset` of a file: fewer at its end, or at [`READ_BYTES_MAX`].
///
/// # Errors
/// `Stale`, `IsDirectory`, `Invalid`; `Damaged`, if the bytes are not those that were written; what the device says.
pub fn read(fileset: &Fileset, fid: Fid, offset: u64, len: usize) -> Result<Bytes> {
    read_as(fileset, fid, (offset, len), &|_| Ok(()))
}

/// The same, if `judge` allows it, which sees the file's attributes.
///
/// # Errors
/// As [`read`]; what `judge` says.
pub fn read_as(
    fileset: &Fileset,
    fid: Fid,
    (offset, len): (u64, usize),
    judge: &dyn Fn(&Attributes) -> Result<(), Stop>,
) -> Result<Bytes> {
    believing(fileset, fid, || {
        let plan = fileset.read(|view| {
            let attributes = load(view, fid)?;
            judge(&attributes)?;
            Plan::of(view, (fid, &attributes), offset, len)
        })?;
        plan.read(&fileset.engine().nodes, fileset.patience())
    })
}

/// Units of an extent, and where their blocks go.
struct Part {
    units: Units,
    /// Blocks of the units that come before the part.
    before: usize,
    /// Of the blocks that are read.
    blocks: Range<usize>,
}

impl Part {
    /// True if all blocks of the units are wanted.
    fn is_whole(&self) -> bool {
        self.units.count as usize == self.blocks.len()
    }
}

/// Where the bytes of a range of a file are.
struct Plan {
    /// In the file, cut at its end.
    range: Range<u64>,
    inline: Option<Bytes>,
    parts: Vec<Part>,
}

impl Plan {
    /// What a range of a file with these attributes consists of.
    fn of(items: &impl Items, (fid, attributes): (Fid, &Attributes), offset: u64, len: usize) -> Result<Plan, Stop> {
        let end = offset
            .saturating_add(len.min(READ_BYTES_MAX) as u64)
            .min(attributes.size);
        let range = offset.min(end)..end;
        let mut plan = Plan {
            range: range.clone(),
            inline: None,
            parts: Vec::new(),
        };
        if range.is_empty() {
            return Ok(plan);
        }
        if attributes.blocks == 0 {
            plan.inline = items.get(Key::inline(fid.vnode))?;
            return Ok(plan);
        }
        let blocks = plan.blocks();
        for placed in extents::overlapping(items, fid.vnode, &blocks)? {
            let wanted = placed.first.max(blocks.start)..placed.end().min(blocks.end);
            let (units, before) = placed.units(&wanted);
            plan.push(Part {
                units,
                before: before as usize,
                blocks: (wanted.start - blocks.start) as usize..(wanted.end - blocks.start) as usize,
            });
        }
        Ok(plan)
    }

    /// Adds a part; what lies side by side in the file and on the device is one, and read at once.
    fn push(&mut self, part: Part) {
        match self.parts.last_mut() {
            Some(last)
                if last.blocks.end == part.blocks.start
                    && last.is_whole()
                    && part.is_whole()
                    && last.units.are_before(&part.units) =>
            {
                last.units.count += part.units.count;
                last.units.checksums.extend(part.units.checksums);
                last.blocks.end = part.blocks.end;
            }
            _ => self.parts.push(part),
        }
    }

    fn blocks(&self) -> Range<u64> {
        self.range.start / BLOCK..self.range.end.div_ceil(BLOCK)
    }

    /// The bytes; for one who may not wait, only if all of them are in memory.
    fn read(&self, nodes: &Nodes, patience: Patience) -> Result<Bytes> {
        let is_at_hand = |part: &Part| part.units.pointers().all(|pointer| nodes.has_data(&pointer));
        if patience == Patience::None && !self.parts.iter().all(is_at_hand) {
            return Err(would_wait("data"));
        }
        if let Some(bytes) = self.read_one(nodes) {
            return bytes;
        }
        let blocks = self.blocks();
        let count = if self.range.is_empty() {
            0
        } else {
            (blocks.end - blocks.start) as usize
        };
        let mut buffer = Buffer::scratch(count * BLOCK_BYTES);
        let mut filled = 0;
        for part in &self.parts {
            buffer[filled..part.blocks.start * BLOCK_BYTES].fill(0);
            filled = part.blocks.end * BLOCK_BYTES;
            self.read_part(
                (nodes, patience),
                part,
                &mut buffer[part.blocks.start * BLOCK_BYTES..filled],
            )?;
        }
        buffer[filled..].fill(0);
        let first = blocks.start * BLOCK;
        if let Some(inline) = self.inline.as_ref().filter(|_| first == 0) {
            let len = inline.len().min(buffer.len());
            buffer[..len].copy_from_slice(&inline[..len]);
        }
        let within = (self.range.start - first.min(self.range.start)) as usize;
        let len = (self.range.end - self.range.start) as usize;
        Ok(Bytes::from(buffer).slice(if len == 0 { 0..0 } else { within..within + len }))
    }

    /// The bytes, if they lie in one unit: they are shared with the cache.
    fn read_one(&self, nodes: &Nodes) -> Option<Result<Bytes>> {
        let [part] = &self.parts[..] else { return None };
        if part.units.checksums.len() != 1 || part.blocks.len() as u64 != self.blocks().end - self.blocks().start {
            return None;
        }
        let pointer = part.units.pointers().next()?;
        let from = part.before * BLOCK_BYTES + (self.range.start % BLOCK) as usize;
        let to = from + (self.range.end - self.range.start) as usize;
        Some(nodes.read_data(&pointer).map(|bytes| bytes.slice(from..to)))
    }

    fn read_part(&self, (nodes, patience): (&Nodes, Patience), part: &Part, into: &mut [u8]) -> Result<()> {
        let is_short = self.range.end - self.range.start <= KEPT_BYTES_MAX as u64;
        let reuse = match is_short || patience == Patience::None {
            true => Reuse::Likely,
            false => Reuse::Unlikely,
        };
        if part.is_whole() {
            return nodes.read_units(&part.units, into, reuse);
        }
        // A part of a larger unit: its checksum needs the whole.
        let mut whole = Buffer::scratch(part.units.count as usize * BLOCK_BYTES);
        nodes.read_units(&part.units, &mut whole, reuse)?;
        into.copy_from_slice(&whole[part.before * BLOCK_BYTES..][..into.len()]);
        Ok(())
    }
}
