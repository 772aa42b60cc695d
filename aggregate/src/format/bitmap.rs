//! Which blocks of a segment are used: a bit each, set for used, the first block in the lowest bit.

/// The bitmap of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap(Box<[u8]>);

impl Bitmap {
    /// All free; `blocks` is a multiple of 8.
    pub fn free(blocks: u32) -> Bitmap {
        Bitmap(vec![0; blocks as usize / 8].into())
    }

    /// As it lies on the disk.
    pub fn from_bytes(bytes: &[u8]) -> Bitmap {
        Bitmap(bytes.into())
    }

    /// As it lies on the disk.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Blocks it speaks of.
    pub fn len(&self) -> u32 {
        self.0.len() as u32 * 8
    }

    /// True if it speaks of none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if the block is used.
    pub fn is_used(&self, index: u32) -> bool {
        self.0[index as usize / 8] >> (index % 8) & 1 == 1
    }

    /// Marks it used; false if it was.
    pub fn take(&mut self, index: u32) -> bool {
        let was_free = !self.is_used(index);
        self.0[index as usize / 8] |= 1 << (index % 8);
        was_free
    }

    /// Marks it free; false if it was.
    pub fn give(&mut self, index: u32) -> bool {
        let was_used = self.is_used(index);
        self.0[index as usize / 8] &= !(1 << (index % 8));
        was_used
    }

    /// How many are used.
    pub fn used(&self) -> u32 {
        self.0.iter().map(|byte| byte.count_ones()).sum()
    }

    /// How many are free.
    pub fn room(&self) -> u32 {
        self.len() - self.used()
    }

    /// The first run of free blocks at or after `from`: its start and length, at most `want`.
    pub fn free_run(&self, from: u32, want: u32) -> Option<(u32, u32)> {
        let start = (from..self.len()).find(|&index| !self.is_used(index))?;
        let end = (start..self.len())
            .take(want as usize)
            .find(|&index| self.is_used(index));
        let end = end.unwrap_or(self.len().min(start.saturating_add(want)));
        (end > start).then_some((start, end - start))
    }
}
