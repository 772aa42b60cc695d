//! Rows of bytes in the order of their keys, of which there may be millions.
//!
//! A tree of single rows costs more for its nodes and their allocations than for what is in them. Here rows lie one
//! behind the other in chunks, and only chunks are in a tree. As all maps of the state it shares structure: a copy costs
//! nothing, a row that changes copies its chunk.
//!
//! ```text
//! chunk: ┌──────────────┬────────────────┬─────┬───────┬─ ...   rows, their keys ascending
//!        │ key bytes u8 │ value bytes u16│ key │ value │
//!        └──────────────┴────────────────┴─────┴───────┴─ ...
//! ```
//! A chunk is found by its *bound*: no key in it is less, and none is as great as the next chunk's. The first bound is
//! empty, so every key has a chunk as soon as there is one.

use std::cmp::Ordering;
use std::ops::{Bound, Range};
use std::sync::Arc;

use rpds::RedBlackTreeMapSync as Map;

/// Bytes of a chunk at most, unless one row alone has more: a change copies them in a fraction of a microsecond.
const CHUNK_BYTES: usize = 2_048;
const HEAD_BYTES: usize = 3;

/// The map.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed {
    chunks: Map<Box<[u8]>, Arc<[u8]>>,
    count: usize,
}

/// Where the chunks are cut is a matter of history, and not of what is in them.
impl PartialEq for Packed {
    fn eq(&self, other: &Packed) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

type Row<'a> = (&'a [u8], &'a [u8]);
type Chunk<'a> = (&'a Box<[u8]>, &'a Arc<[u8]>);

impl Packed {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let (_, chunk) = self.chunk_of(key)?;
        let at = seek(chunk, key);
        (at.end > at.start).then(|| &chunk[at.start + HEAD_BYTES + key.len()..at.end])
    }

    /// The row with the greatest key that is not greater than `key`.
    pub fn at_or_below(&self, key: &[u8]) -> Option<Row<'_>> {
        let range = (Bound::Unbounded, Bound::Included(key));
        let below = self.chunks.range::<[u8], _>(range).rev();
        below
            .filter_map(|(_, chunk)| rows(chunk).take_while(|row| row.0 <= key).last())
            .next()
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> + Send {
        self.chunks.values().flat_map(|chunk| rows(chunk))
    }

    /// Puts a row in the place of what `key` had before. Keys have at most 255 bytes, values 65,535.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        let Some((bound, chunk)) = self.chunk_of(key) else {
            let mut bytes = Vec::new();
            push(&mut bytes, key, value);
            self.chunks.insert_mut(Box::default(), bytes.into());
            self.count = 1;
            return;
        };
        let at = seek(chunk, key);
        let is_new = at.is_empty();
        let mut bytes = Vec::with_capacity(chunk.len() + HEAD_BYTES + key.len() + value.len());
        bytes.extend_from_slice(&chunk[..at.start]);
        push(&mut bytes, key, value);
        bytes.extend_from_slice(&chunk[at.end..]);
        let bound = bound.clone();
        self.count += usize::from(is_new);
        if bytes.len() <= CHUNK_BYTES {
            self.chunks.insert_mut(bound, bytes.into());
            return;
        }
        let at = cut(&bytes, key);
        if at > 0 {
            let (first, second) = bytes.split_at(at);
            let next = rows(second).next().map(|row| row.0.into());
            self.chunks.insert_mut(bound, first.into());
            if let Some(next) = next {
                self.chunks.insert_mut(next, second.into());
            }
        } else {
            self.chunks.insert_mut(bound, bytes.into());
        }
    }

    /// Takes the row of `key` out.
    pub fn remove(&mut self, key: &[u8]) {
        let Some((bound, chunk)) = self.chunk_of(key) else {
            return;
        };
        let at = seek(chunk, key);
        if at.is_empty() {
            return;
        }
        let left = [&chunk[..at.start], &chunk[at.end..]].concat();
        let bound = bound.clone();
        self.count -= 1;
        // What is left of a chunk joins the one before it, if there is ample room.
        let range = (Bound::Unbounded, Bound::Excluded(&*bound));
        let before = self.chunks.range::<[u8], _>(range).next_back();
        let before = before.map(|(bound, chunk)| (bound.clone(), chunk.clone()));
        match before.filter(|(_, chunk)| left.len() < CHUNK_BYTES / 4 && chunk.len() + left.len() <= CHUNK_BYTES / 2) {
            Some((into, chunk)) => {
                self.chunks.remove_mut(&bound);
                self.chunks.insert_mut(into, [&chunk[..], &left].concat().into());
            }
            None => self.chunks.insert_mut(bound, left.into()),
        }
    }

    /// The chunk that a key is in, or would be, and its bound.
    fn chunk_of(&self, key: &[u8]) -> Option<Chunk<'_>> {
        let range = (Bound::Unbounded, Bound::Included(key));
        self.chunks.range::<[u8], _>(range).next_back()
    }
}

/// Where a chunk that is too long is cut: before the row of `key` if that is the last, for what grows at its end fills
/// its chunks; else in the middle. 0 if it is one row.
fn cut(bytes: &[u8], key: &[u8]) -> usize {
    let mut starts = Vec::new();
    let mut at = 0;
    for row in rows(bytes) {
        starts.push((at, row.0));
        at += HEAD_BYTES + row.0.len() + row.1.len();
    }
    match starts.last() {
        Some((last, of)) if *of == key => *last,
        _ => {
            let middle = starts.iter().map(|(at, _)| *at).find(|at| *at >= bytes.len() / 2);
            middle.or(starts.last().map(|(at, _)| *at)).unwrap_or(0)
        }
    }
}

/// The rows of a chunk.
fn rows(mut bytes: &[u8]) -> impl Iterator<Item = Row<'_>> + Send {
    std::iter::from_fn(move || {
        let ([key, low, high], rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let (key, rest) = rest.split_at_checked(usize::from(*key))?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([*low, *high])))?;
        bytes = rest;
        Some((key, value))
    })
}

/// Where the row of `key` is in a chunk; where it would be, if there is none.
fn seek(chunk: &[u8], key: &[u8]) -> Range<usize> {
    let mut at = 0;
    for row in rows(chunk) {
        let end = at + HEAD_BYTES + row.0.len() + row.1.len();
        match row.0.cmp(key) {
            Ordering::Less => at = end,
            Ordering::Equal => return at..end,
            Ordering::Greater => break,
        }
    }
    at..at
}

fn push(bytes: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let (Ok(key_bytes), Ok(value_bytes)) = (u8::try_from(key.len()), u16::try_from(value.len())) else {
        unreachable!(
            "a row of {} and {} bytes: names and sites are limited",
            key.len(),
            value.len()
        );
    };
    bytes.push(key_bytes);
    bytes.extend_from_slice(&value_bytes.to_le_bytes());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(value);
}

/// Rows that come in the order of their keys, as they do at a start: chunk by chunk, and not row by row.
#[derive(Default)]
pub(super) struct Appending {
    packed: Packed,
    /// The chunk that is filled, and its first key.
    bytes: Vec<u8>,
    first: Vec<u8>,
    last: Vec<u8>,
}

impl Appending {
    /// One more row; one that comes out of order costs what it costs elsewhere.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        let is_next = self.last.is_empty() || key > self.last.as_slice();
        if !is_next {
            self.flush();
            return self.packed.put(key, value);
        }
        if !self.bytes.is_empty() && self.bytes.len() + HEAD_BYTES + key.len() + value.len() > CHUNK_BYTES {
            self.flush();
        }
        if self.bytes.is_empty() {
            self.first = key.to_vec();
        }
        push(&mut self.bytes, key, value);
        self.last.clear();
        self.last.extend_from_slice(key);
    }

    fn flush(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes.is_empty() {
            return;
        }
        self.packed.count += rows(&bytes).count();
        let is_first = self.packed.chunks.is_empty();
        let bound = if is_first {
            Vec::new()
        } else {
            std::mem::take(&mut self.first)
        };
        self.packed.chunks.insert_mut(bound.into(), bytes.into());
        self.bytes.reserve(CHUNK_BYTES);
    }

    /// All of them.
    pub fn finish(mut self) -> Packed {
        self.flush();
        self.packed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Random numbers that come out the same each time.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % end
        }
    }

    fn check(packed: &Packed, model: &BTreeMap<Vec<u8>, Vec<u8>>, sought: &[u8]) {
        assert_eq!(packed.len(), model.len());
        assert_eq!(packed.get(sought), model.get(sought).map(Vec::as_slice));
        let below = model
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(sought)))
            .next_back();
        let below = below.map(|(key, value)| (key.as_slice(), value.as_slice()));
        assert_eq!(packed.at_or_below(sought), below);
    }

    /// Keys of few bytes, so that most of them come again; values of any length, so that chunks are cut and joined.
    #[test]
    fn prop_packed_equals_a_map() {
        for seed in 0..20 {
            let (mut dice, mut packed, mut model) = (Dice(seed), Packed::default(), BTreeMap::new());
            let mut kept = None;
            for step in 0..3_000 {
                let key = dice.below(600).to_be_bytes()[6..].to_vec();
                if dice.below(3_000) < step {
                    packed.remove(&key);
                    model.remove(&key);
                } else {
                    let value = vec![dice.below(256) as u8; [0, 9, 60, 700][dice.below(4) as usize]];
                    packed.put(&key, &value);
                    model.insert(key, value);
                }
                check(&packed, &model, &dice.below(700).to_be_bytes()[6..]);
                if step == 1_000 {
                    kept = Some((packed.clone(), model.clone()));
                }
            }
            for (packed, model) in kept.into_iter().chain([(packed, model)]) {
                let rows = packed.iter().map(|(key, value)| (key.to_vec(), value.to_vec()));
                assert!(rows.eq(model), "seed {seed}");
            }
        }
    }

    #[test]
    fn what_grows_at_its_end_fills_its_chunks_and_what_goes_leaves_none_behind() {
        let mut packed = Packed::default();
        let value = [7; 50];
        for number in 0..10_000_u64 {
            packed.put(&number.to_be_bytes(), &value);
        }
        let bytes = 10_000 * (HEAD_BYTES + 8 + 50);
        let count = packed.chunks.size();
        assert!(
            count <= bytes / (CHUNK_BYTES - 61) + 1,
            "{count} chunks of {bytes} bytes"
        );
        for number in 0..10_000_u64 {
            packed.remove(&(number * 7_919 % 10_000).to_be_bytes());
        }
        assert_eq!((packed.len(), packed.iter().count()), (0, 0));
        assert!(packed.chunks.size() < 10, "{} chunks of nothing", packed.chunks.size());
    }

    #[test]
    fn rows_that_are_appended_are_the_same_as_rows_that_are_put() {
        for seed in 0..20 {
            let (mut dice, mut appending, mut model) = (Dice(seed), Appending::default(), BTreeMap::new());
            for number in 0..2_000_u64 {
                // Now and then one comes again, or too late.
                let key = match dice.below(50) {
                    0 if seed % 2 == 0 => dice.below(number * 3 + 1),
                    _ => number * 3,
                };
                let value = vec![7; dice.below(100) as usize];
                appending.push(&key.to_be_bytes(), &value);
                model.insert(key.to_be_bytes().to_vec(), value);
            }
            let packed = appending.finish();
            for number in 0..6_000_u64 {
                check(&packed, &model, &number.to_be_bytes());
            }
        }
    }

    #[test]
    fn two_histories_of_the_same_rows_are_equal() {
        let numbers = |count: u64| (0..count).map(|number| number.to_be_bytes());
        let (mut up, mut down) = (Packed::default(), Packed::default());
        for key in numbers(1_000) {
            up.put(&key, &key);
        }
        for key in numbers(1_000).rev() {
            down.put(&key, &key);
        }
        assert_ne!(up.chunks.size(), down.chunks.size(), "they are cut elsewhere");
        assert_eq!(up, down);
        down.put(&5_u64.to_be_bytes(), b"another");
        assert_ne!(up, down);
    }
}
