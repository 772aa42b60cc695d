//! Memory for long buffers, in pages of 2 MiB.
//!
//! A disk is given memory as physical addresses: one entry for each run of neighbouring pages, and only so many entries
//! in a request. Of pages of 4 KiB, which lie anywhere, a loop device takes 512 KiB at once, and the work for each page is
//! done again in every layer down to the disk: a direct read of 1 MiB takes twice as long as into huge pages. Where the
//! kernel has none it gives small ones, and all is as right, and slower.

use std::collections::BTreeMap;
use std::ops::Range;
use std::slice;
use std::sync::Arc;

use memmap2::{Advice, MmapMut, MmapRaw};
use parking_lot::Mutex;

/// A huge page of most processors.
const HUGE_BYTES: usize = 2 << 20;
/// As many granules as a word has bits.
pub(super) const SLAB_BYTES: usize = 64 * GRANULE_BYTES;
/// What memory is given out by.
pub(super) const GRANULE_BYTES: usize = 64 << 10;
/// Slabs of which nothing is used are kept up to this: a group commit and four reads of 1 MiB under way in each of two
/// aggregates.
const FREE_SLABS_MAX: usize = 4;

/// All slabs, by where they begin; the first that has room is used, so that others get free.
static SLABS: Mutex<BTreeMap<usize, Used>> = Mutex::new(BTreeMap::new());

/// A slab, and which of its granules are given out: a bit for each.
struct Used {
    slab: Arc<Slab>,
    granules: u64,
}

/// Mapped memory.
struct Slab {
    memory: MmapRaw,
    /// Where in it the first huge page begins.
    begin: usize,
}

/// Granules of a slab. Nobody else has them while this lives.
pub(super) struct Slot {
    slab: Arc<Slab>,
    granules: Range<usize>,
}

impl Slab {
    /// A new one; nothing of it takes memory yet. `None` if the system has no room for it.
    fn map() -> Option<Slab> {
        let memory = MmapMut::map_anon(SLAB_BYTES + HUGE_BYTES).ok()?;
        // Refused by kernels without huge pages: then they are small.
        let _ = memory.advise(Advice::HugePage);
        let memory = MmapRaw::from(memory);
        let begin = memory.as_ptr().align_offset(HUGE_BYTES);
        Some(Slab { memory, begin })
    }

    fn address(&self) -> usize {
        self.memory.as_ptr().addr()
    }
}

/// The bits of these granules.
fn bits(granules: &Range<usize>) -> u64 {
    let bits = u64::MAX >> (64 - granules.len());
    bits << granules.start
}

/// The first `count` granules side by side that are not `used`.
fn find(used: u64, count: usize) -> Option<Range<usize>> {
    let (mut begins, mut found) = (!used, 1);
    // A bit says that as many as `found` are free from there on.
    while found < count {
        let more = found.min(count - found);
        begins &= begins >> more;
        found += more;
    }
    let first = begins.trailing_zeros() as usize;
    (begins != 0).then_some(first..first + count)
}

impl Slot {
    /// `len` bytes of anything, at least one and at most [`SLAB_BYTES`]. `None` if the system has no memory to map.
    pub fn take(len: usize) -> Option<Slot> {
        let count = len.div_ceil(GRANULE_BYTES);
        let mut slabs = SLABS.lock();
        for used in slabs.values_mut() {
            if let Some(granules) = find(used.granules, count) {
                used.granules |= bits(&granules);
                let slab = used.slab.clone();
                return Some(Slot { slab, granules });
            }
        }
        let (slab, granules) = (Arc::new(Slab::map()?), 0..count);
        let used = Used {
            slab: slab.clone(),
            granules: bits(&granules),
        };
        slabs.insert(slab.address(), used);
        Some(Slot { slab, granules })
    }

    fn bytes_at(&self) -> (*mut u8, usize) {
        let at = self.slab.begin + self.granules.start * GRANULE_BYTES;
        (
            self.slab.memory.as_mut_ptr().wrapping_add(at),
            self.granules.len() * GRANULE_BYTES,
        )
    }

    pub fn bytes(&self) -> &[u8] {
        let (at, len) = self.bytes_at();
        #[expect(unsafe_code, reason = "mapped memory as a slice")]
        // SAFETY: the slab has `SLAB_BYTES` behind `begin`, mapped while it lives and initialised by the kernel; these
        // granules are given to nobody else while this slot lives.
        unsafe {
            slice::from_raw_parts(at, len)
        }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let (at, len) = self.bytes_at();
        #[expect(unsafe_code, reason = "mapped memory as a slice")]
        // SAFETY: as above, and this slot is borrowed by nobody else.
        unsafe {
            slice::from_raw_parts_mut(at, len)
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut slabs = SLABS.lock();
        let Some(used) = slabs.get_mut(&self.slab.address()) else {
            return;
        };
        used.granules &= !bits(&self.granules);
        let is_free = |used: &Used| used.granules == 0;
        if is_free(used) && slabs.values().filter(|used| is_free(used)).count() > FREE_SLABS_MAX {
            slabs.remove(&self.slab.address());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_begins_at_a_huge_page() {
        let slot = Slot::take(SLAB_BYTES).unwrap();
        assert_eq!(slot.bytes().as_ptr().addr() % HUGE_BYTES, 0);
        assert_eq!(slot.bytes().len(), SLAB_BYTES);
    }

    proptest! {
        #[test]
        fn granules_are_found_where_there_are_enough(used: u64, count in 1_usize..=64) {
            let is_free = |first: usize| (first..first + count).all(|granule| used & 1 << granule == 0);
            let first = (0..=64 - count).find(|first| is_free(*first));
            let found = find(used, count);
            prop_assert_eq!(found.clone(), first.map(|first| first..first + count));
            let said = found.map_or(0, |found| bits(&found));
            prop_assert_eq!((said & used, said.count_ones() as usize), (0, first.map_or(0, |_| count)));
        }

        #[test]
        fn nobody_has_what_another_has(steps in proptest::collection::vec((any::<bool>(), 1..SLAB_BYTES), 1..60)) {
            let mut slots: Vec<(u8, Slot)> = Vec::new();
            for (index, (is_taken, len)) in steps.into_iter().enumerate() {
                match is_taken || slots.is_empty() {
                    true => {
                        let mut slot = Slot::take(len).unwrap();
                        prop_assert!(slot.bytes().len() >= len);
                        slot.bytes_mut().fill(index as u8);
                        slots.push((index as u8, slot));
                    }
                    false => drop(slots.swap_remove(len % slots.len())),
                }
                for (mark, slot) in &slots {
                    let ends = slot.bytes().chunks(GRANULE_BYTES).flat_map(|granule| [granule[0], granule[granule.len() - 1]]);
                    prop_assert!(ends.into_iter().all(|byte| byte == *mark));
                }
            }
        }
    }
}
