//! Which blocks of a segment are used: a bit each, set for used, the first block in the lowest bit.

use std::ops::Range;

/// The bitmap of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    bits: Box<[u8]>,
    /// How many are set: asked for far more often than it changes.
    used: u32,
}

impl Bitmap {
    /// All free; `blocks` is a multiple of 8.
    pub fn free(blocks: u32) -> Bitmap {
        Bitmap {
            bits: vec![0; blocks as usize / 8].into(),
            used: 0,
        }
    }

    /// As it lies on the disk.
    pub fn from_bytes(bytes: &[u8]) -> Bitmap {
        Bitmap {
            bits: bytes.into(),
            used: bytes.iter().map(|byte| byte.count_ones()).sum(),
        }
    }

    /// As it lies on the disk.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    /// Blocks it speaks of.
    pub fn len(&self) -> u32 {
        self.bits.len() as u32 * 8
    }

    /// True if it speaks of none.
    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// True if the block is used.
    pub fn is_used(&self, index: u32) -> bool {
        self.bits[index as usize / 8] >> (index % 8) & 1 == 1
    }

    /// Marks it used; false if it was.
    pub fn take(&mut self, index: u32) -> bool {
        let was_free = !self.is_used(index);
        self.bits[index as usize / 8] |= 1 << (index % 8);
        self.used += u32::from(was_free);
        was_free
    }

    /// Marks it free; false if it was.
    pub fn give(&mut self, index: u32) -> bool {
        let was_used = self.is_used(index);
        self.bits[index as usize / 8] &= !(1 << (index % 8));
        self.used -= u32::from(was_used);
        was_used
    }

    /// Marks blocks used; true if all of them were free.
    pub fn take_range(&mut self, range: Range<u32>) -> bool {
        let mut were_free = true;
        for index in range {
            were_free &= self.take(index);
        }
        were_free
    }

    /// Marks blocks free; true if all of them were used.
    pub fn give_range(&mut self, range: Range<u32>) -> bool {
        let mut were_used = true;
        for index in range {
            were_used &= self.give(index);
        }
        were_used
    }

    /// The first free blocks, at most `most` of them side by side.
    pub fn first_run(&self, most: u32) -> Option<Range<u32>> {
        self.free_run(0, most).map(|(start, count)| start..start + count)
    }

    /// The first `count` free blocks side by side.
    pub fn run_of(&self, count: u32) -> Option<Range<u32>> {
        let mut from = 0;
        loop {
            let (start, found) = self.free_run(from, count)?;
            if found == count {
                return Some(start..start + count);
            }
            from = start + found + 1;
        }
    }

    /// How many are used.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// How many are free.
    pub fn room(&self) -> u32 {
        self.len() - self.used()
    }

    /// The first run of free blocks at or after `from`: its start and length, at most `want`.
    pub fn free_run(&self, from: u32, want: u32) -> Option<(u32, u32)> {
        let whole = self.bits.iter().skip(from.div_ceil(8) as usize);
        let full = whole.take_while(|byte| **byte == 0xff).count() as u32 * 8;
        let ahead = (from..from.next_multiple_of(8).min(self.len())).find(|&index| !self.is_used(index));
        let start =
            ahead.or_else(|| (from.next_multiple_of(8) + full..self.len()).find(|&index| !self.is_used(index)))?;
        let end = (start..self.len())
            .take(want as usize)
            .find(|&index| self.is_used(index));
        let end = end.unwrap_or(self.len().min(start.saturating_add(want)));
        (end > start).then_some((start, end - start))
    }
}
