//! Memory that a device can be read into and written from: aligned as direct I/O wants it, and used again.
//!
//! A buffer of a page from the allocator costs a search for an aligned place, a long one a page fault for each of its
//! pages, as much as reading it from a fast disk. So memory is used again: short buffers go back to a small pool when they
//! are dropped, long ones to [slabs](slab) of huge pages.

mod slab;

use std::fmt;
use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use parking_lot::Mutex;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use slab::{GRANULE_BYTES, SLAB_BYTES, Slot};

/// Memory given to a device begins at a multiple of this: the page, which is enough for every disk there is.
pub const ALIGNMENT: usize = 4096;
/// Pages of a short buffer: nodes, and data that goes beside a record.
const SHORT_PAGES_MAX: usize = GRANULE_BYTES / ALIGNMENT;
/// What the pool keeps at most: a thousand blocks that wait for a group commit.
const POOL_BYTES_MAX: usize = 4 << 20;

#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
struct Page([u8; ALIGNMENT]);

/// Short memory that waits to be used again.
struct Pool {
    /// By how many pages they have.
    free: [Vec<Vec<Page>>; SHORT_PAGES_MAX + 1],
    bytes: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    free: [const { Vec::new() }; SHORT_PAGES_MAX + 1],
    bytes: 0,
});

impl Pool {
    fn take(&mut self, count: usize) -> Option<Vec<Page>> {
        let pages = self.free.get_mut(count)?.pop()?;
        self.bytes -= count * ALIGNMENT;
        Some(pages)
    }

    /// Keeps pages, or gives them back if it has enough or they are none of its own.
    fn keep(&mut self, pages: Vec<Page>) -> Option<Vec<Page>> {
        let own = pages.len() * ALIGNMENT;
        match self.free.get_mut(pages.len()) {
            Some(free) if own > 0 && self.bytes + own <= POOL_BYTES_MAX => {
                self.bytes += own;
                free.push(pages);
                None
            }
            _ => Some(pages),
        }
    }
}

/// Where a buffer's bytes are.
enum Memory {
    Pages(Vec<Page>),
    Slot(Slot),
}

impl Memory {
    /// At least `len` bytes.
    fn take(len: usize) -> Memory {
        if (GRANULE_BYTES + 1..=SLAB_BYTES).contains(&len)
            && let Some(slot) = Slot::take(len)
        {
            return Memory::Slot(slot);
        }
        let count = len.div_ceil(ALIGNMENT);
        let pooled = POOL.lock().take(count);
        Memory::Pages(pooled.unwrap_or_else(|| {
            // Refused only past isize::MAX or with no memory left, where the allocator itself would end the process.
            Page::new_vec_zeroed(count).unwrap_or_else(|_| vec![Page([0; ALIGNMENT]); count])
        }))
    }
}

/// Owned bytes that begin at a multiple of [`ALIGNMENT`].
pub struct Buffer {
    memory: Memory,
    len: usize,
}

impl Buffer {
    /// `len` bytes of zero.
    pub fn zeroed(len: usize) -> Buffer {
        let mut buffer = Buffer::scratch(len);
        buffer.fill(0);
        buffer
    }

    /// `len` bytes of anything, for one who is about to fill them all.
    pub fn scratch(len: usize) -> Buffer {
        let memory = Memory::take(len);
        Buffer { memory, len }
    }

    /// A copy of `bytes`, and zeroes up to the next multiple of [`ALIGNMENT`].
    pub fn padded(bytes: &[u8]) -> Buffer {
        let mut buffer = Buffer::scratch(bytes.len().next_multiple_of(ALIGNMENT));
        let (head, tail) = buffer.split_at_mut(bytes.len());
        head.copy_from_slice(bytes);
        tail.fill(0);
        buffer
    }

    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Memory::Pages(pages) = self {
            let surplus = POOL.lock().keep(std::mem::take(pages));
            drop(surplus);
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let memory = match &self.memory {
            Memory::Pages(pages) => pages.as_bytes(),
            Memory::Slot(slot) => slot.bytes(),
        };
        &memory[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let memory = match &mut self.memory {
            Memory::Pages(pages) => pages.as_mut_bytes(),
            Memory::Slot(slot) => slot.bytes_mut(),
        };
        &mut memory[..self.len]
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Without a copy: the memory goes back to the pool with the last slice of it.
impl From<Buffer> for Bytes {
    fn from(buffer: Buffer) -> Bytes {
        Bytes::from_owner(buffer)
    }
}

/// Data may be secret and is long: only its length is shown.
impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_survives_as_bytes() {
        for len in [
            0,
            1,
            512,
            4096,
            5000,
            64 << 10,
            (64 << 10) + 1,
            1 << 20,
            4 << 20,
            (4 << 20) + 1,
        ] {
            let mut buffer = Buffer::zeroed(len);
            assert!(buffer.iter().all(|&byte| byte == 0));
            assert_eq!((buffer.len(), buffer.as_ptr().addr() % ALIGNMENT), (len, 0));
            buffer.fill(7);
            let at = buffer.as_ptr();
            let bytes = Bytes::from(buffer);
            assert_eq!((bytes.len(), bytes.iter().all(|&byte| byte == 7)), (len, true));
            assert!(len == 0 || bytes.as_ptr() == at, "bytes were copied");
        }
    }

    #[test]
    fn padding_is_zero_also_in_used_memory() {
        Buffer::scratch(128 << 10).fill(0xff);
        let buffer = Buffer::padded(&vec![1; (128 << 10) - 100]);
        assert_eq!(buffer.len(), 128 << 10);
        assert!(buffer[(128 << 10) - 100..].iter().all(|&byte| byte == 0));
        drop(buffer);
        assert!(Buffer::zeroed(100 << 10).iter().all(|&byte| byte == 0));
    }
}
