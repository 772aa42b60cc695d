//! A run of items that are about to become nodes, and how they are divided.

use std::ops::Range;

use crate::tree::node::{HEADER_BYTES, RawKey, SLOT_BYTES, rest_len};

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
    pub(crate) fn push(&mut self, key: &RawKey, value: &[u8]) {
        self.values.extend_from_slice(value);
        self.items.push(Item {
            key: *key,
            end: self.values.len(),
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn key(&self, index: usize) -> &RawKey {
        &self.items[index].key
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
        let (first, last) = (&self.items[range.start].key, &self.items[range.end - 1].key);
        first.iter().zip(last).take_while(|(a, b)| a == b).count()
    }

    /// The used length of a node of the items in `range`, which is not empty.
    pub(crate) fn node_len(&self, range: Range<usize>) -> usize {
        let rest_len = rest_len(self.prefix_len(range.clone()));
        HEADER_BYTES + range.len() * (SLOT_BYTES + rest_len) + self.end(range.end) - self.end(range.start)
    }

    /// What the first `index` items take, whatever their keys have in common.
    pub(crate) fn weight(&self, index: usize) -> usize {
        index * (SLOT_BYTES + rest_len(0)) + self.end(index)
    }

    /// How many items from `start` on fit one node, at least one.
    pub(crate) fn fill(&self, start: usize, capacity: usize) -> usize {
        // One more item makes a node longer, never shorter: its prefix can only shrink.
        let (mut fits, mut over) = (1, self.len() - start + 1);
        while over - fits > 1 {
            let middle = fits + (over - fits) / 2;
            if self.node_len(start..start + middle) <= capacity {
                fits = middle
            } else {
                over = middle
            }
        }
        fits
    }

    /// Divides the run into as few nodes as will do, as equal as its items allow: how many items each has.
    pub(crate) fn divide(&self, capacity: usize) -> Vec<usize> {
        let (mut parts, mut start) = (0, 0);
        while start < self.len() {
            start += self.fill(start, capacity);
            parts += 1;
        }
        // Equal weights may be unequal lengths: where one does not fit, one node more makes all shorter.
        loop {
            let counts = self.equal_parts(parts);
            let mut start = 0;
            let fits = counts.iter().all(|&count| {
                start += count;
                self.node_len(start - count..start) <= capacity
            });
            if fits {
                return counts;
            }
            parts += 1;
        }
    }

    /// Counts of `parts` parts, none empty, cut at the items nearest to equal shares of the weight.
    fn equal_parts(&self, parts: usize) -> Vec<usize> {
        let total = self.weight(self.len());
        let mut start = 0;
        (1..=parts)
            .map(|part| {
                let share = total * part / parts;
                let after = self
                    .items
                    .len()
                    .min(partition(self.len(), |index| self.weight(index) < share));
                let near = if after > 0 && share - self.weight(after - 1) < self.weight(after) - share {
                    after - 1
                } else {
                    after
                };
                let end = near.clamp(start + 1, self.len() - (parts - part));
                let count = end - start;
                start = end;
                count
            })
            .collect()
    }

    /// Forgets the first `count` items.
    pub(crate) fn remove_first(&mut self, count: usize) {
        let cut = self.end(count);
        self.values.drain(..cut);
        self.items.drain(..count);
        self.items.iter_mut().for_each(|item| item.end -= cut);
    }
}

/// The first index up to `end` for which `before` does not hold.
fn partition(end: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1
        } else {
            high = middle
        }
    }
    low
}
