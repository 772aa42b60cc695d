//! A run of items that are about to become nodes, and how they are divided.

use std::ops::Range;

use crate::tree::node::{HEADER_BYTES, SLOT_BYTES};
use crate::tree::raw::{RawKey, rest_len};

/// Sorted items, in memory that is used again and again.
#[derive(Default)]
pub(crate) struct Run {
    items: Vec<Item>,
    values: Vec<u8>,
}

struct Item {
    key: RawKey,
    /// Where its value ends in `values`; it begins where the one before ends.
    end: usize,
}

impl Run {
    pub(crate) fn push(&mut self, key: RawKey, value: &[u8]) {
        self.values.extend_from_slice(value);
        self.items.push(Item {
            key,
            end: self.values.len(),
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn key(&self, index: usize) -> RawKey {
        self.items[index].key
    }

    pub(crate) fn value(&self, index: usize) -> &[u8] {
        &self.values[self.end(index)..self.end(index + 1)]
    }

    /// Where the values before `index` end.
    fn end(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.items[index - 1].end }
    }

    /// How many bytes the keys of `range` begin with in common: sorted, so its first and last decide.
    pub(crate) fn prefix_len(&self, range: Range<usize>) -> usize {
        self.key(range.start).common_len(self.key(range.end - 1))
    }

    /// The used length of a node of the items in `range`, which is not empty.
    pub(crate) fn node_len(&self, range: Range<usize>) -> usize {
        let rest_len = rest_len(self.prefix_len(range.clone()));
        HEADER_BYTES + range.len() * (SLOT_BYTES + rest_len) + self.end(range.end) - self.end(range.start)
    }

    /// What the items in `range` take at the most, whatever their keys have in common.
    pub(crate) fn weight(&self, range: Range<usize>) -> usize {
        range.len() * (SLOT_BYTES + rest_len(0)) + self.end(range.end) - self.end(range.start)
    }

    /// How many items from `start` on fit one node, at least one.
    pub(crate) fn fill(&self, start: usize, capacity: usize) -> usize {
        most(self.len() - start, |count| {
            self.node_len(start..start + count) <= capacity
        })
    }

    /// How many items before `end` fit one node, at least one.
    fn fill_back(&self, end: usize, capacity: usize) -> usize {
        most(end, |count| self.node_len(end - count..end) <= capacity)
    }

    /// Divides the run into as few nodes as will do, as equal as its items allow: how many items each has.
    pub(crate) fn divide(&self, capacity: usize) -> Vec<usize> {
        // Where each node begins at the earliest, so that those after it hold the rest.
        let (mut earliest, mut end) = (Vec::new(), self.len());
        while end > 0 {
            earliest.push(end);
            end -= self.fill_back(end, capacity);
        }
        if earliest.len() <= 1 {
            return earliest;
        }
        let (parts, total) = (earliest.len(), self.node_len(0..self.len()));
        let mut start = 0;
        (1..=parts)
            .map(|part| {
                let near = self.nearest(total * part / parts, total);
                // As few nodes as will do leave no room for a contradiction: earliest <= latest.
                let end = near.clamp(earliest[parts - part], start + self.fill(start, capacity));
                let count = end - start;
                start = end;
                count
            })
            .collect()
    }

    /// How many items come nearest to `share` of `total`, the length of a node of them all.
    fn nearest(&self, share: usize, total: usize) -> usize {
        let item_len = (total - HEADER_BYTES - self.end(self.len())) / self.len();
        let len_of = |count: usize| count * item_len + self.end(count);
        let below = most(self.len(), |count| len_of(count) <= share);
        let above = self.len().min(below + 1);
        if len_of(above).abs_diff(share) < len_of(below).abs_diff(share) {
            above
        } else {
            below
        }
    }

    /// Forgets the first `count` items.
    pub(crate) fn remove_first(&mut self, count: usize) {
        let cut = self.end(count);
        self.values.drain(..cut);
        self.items.drain(..count);
        self.items.iter_mut().for_each(|item| item.end -= cut);
    }
}

/// The greatest count up to `end` that holds, at least 1; what does not hold for one holds for no greater.
fn most(end: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (1, end + 1);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}
