//! Memory that a device can be read into and written from: aligned as direct I/O wants it, and used again.
//!
//! A buffer of 1 MiB from the allocator costs 256 page faults each time it is touched anew, as much as reading it
//! from a fast disk; one of a single page costs a search for an aligned place. So they go back to a small pool when
//! they are dropped.

use std::fmt;
use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use parking_lot::Mutex;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Memory given to a device begins at a multiple of this: the page, which is enough for every disk there is.
pub const ALIGNMENT: usize = 4096;
/// Pages of a small buffer: nodes, and data that goes beside a record.
const SMALL_PAGES_MAX: usize = 16;
/// What the pool keeps at most of small ones: a thousand blocks that wait for a group commit.
const SMALL_BYTES_MAX: usize = 4 << 20;
/// And of large ones: a group commit and four reads of 1 MiB under way in each of two aggregates.
const LARGE_BYTES_MAX: usize = 16 << 20;

#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
struct Page([u8; ALIGNMENT]);

/// Memory that waits to be used again.
struct Pool {
    /// By how many pages they have; the large ones in the first list.
    free: [Vec<Vec<Page>>; SMALL_PAGES_MAX + 1],
    small_bytes: usize,
    large_bytes: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    free: [const { Vec::new() }; SMALL_PAGES_MAX + 1],
    small_bytes: 0,
    large_bytes: 0,
});

impl Pool {
    /// The list for `count` pages, what the lists of its kind keep, and at most.
    fn list(&mut self, count: usize) -> (&mut Vec<Vec<Page>>, &mut usize, usize) {
        match count {
            1..=SMALL_PAGES_MAX => (&mut self.free[count], &mut self.small_bytes, SMALL_BYTES_MAX),
            _ => (&mut self.free[0], &mut self.large_bytes, LARGE_BYTES_MAX),
        }
    }

    /// Pages that are at least `count`, and not more than twice as many.
    fn take(&mut self, count: usize) -> Option<Vec<Page>> {
        let (list, bytes, _) = self.list(count);
        let index = list
            .iter()
            .position(|pages| (count..=2 * count).contains(&pages.len()))?;
        let pages = list.swap_remove(index);
        *bytes -= pages.len() * ALIGNMENT;
        Some(pages)
    }

    /// Keeps pages, or gives them back if it has enough.
    fn keep(&mut self, pages: Vec<Page>) -> Option<Vec<Page>> {
        let own = pages.len() * ALIGNMENT;
        let (list, bytes, bytes_max) = self.list(pages.len());
        if *bytes + own > bytes_max {
            return Some(pages);
        }
        *bytes += own;
        list.push(pages);
        None
    }
}

/// Owned bytes that begin at a multiple of [`ALIGNMENT`].
pub struct Buffer {
    pages: Vec<Page>,
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
        let count = len.div_ceil(ALIGNMENT);
        let pooled = POOL.lock().take(count);
        let pages = pooled.unwrap_or_else(|| {
            // Refused only past isize::MAX or with no memory left, where the allocator itself would end the process.
            Page::new_vec_zeroed(count).unwrap_or_else(|_| vec![Page([0; ALIGNMENT]); count])
        });
        Buffer { pages, len }
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

impl Drop for Buffer {
    fn drop(&mut self) {
        if !self.pages.is_empty() {
            let surplus = POOL.lock().keep(std::mem::take(&mut self.pages));
            drop(surplus);
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.pages.as_bytes()[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.pages.as_mut_bytes()[..self.len]
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
        for len in [0, 1, 512, 4096, 5000, 1 << 20] {
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
