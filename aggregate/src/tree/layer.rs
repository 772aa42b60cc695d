//! A layer: the items that changed since a checkpoint, newest value only.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;

use bytes::Bytes;

use crate::format::{Key, Lsn};

/// What an item costs beside the bytes of its value: its key and handle (56) in a map whose nodes are between half
/// and wholly full, and the allocation of the value. Measured: 450,000 items of 150,000 creates took 81 MB, of which
/// 29 MB were values.
const ITEM_BYTES: usize = 116;

/// Items put and deleted, by key.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    items: BTreeMap<Key, Option<Bytes>>,
    value_bytes: usize,
    newest: Lsn,
}

impl Layer {
    /// The layer without items that everybody shares.
    pub const EMPTY: &'static Layer = &Layer {
        items: BTreeMap::new(),
        value_bytes: 0,
        newest: Lsn(0),
    };

    /// A layer without items.
    pub fn new() -> Layer {
        Layer::default()
    }

    /// Puts an item (`None`: deletes it), as the record at `lsn` says. Records come in their order.
    pub fn insert(&mut self, key: Key, value: Option<Bytes>, lsn: Lsn) {
        self.newest = self.newest.max(lsn);
        self.value_bytes += value.as_ref().map_or(0, Bytes::len);
        if let Some(Some(old)) = self.items.insert(key, value) {
            self.value_bytes -= old.len();
        }
    }

    /// What the layer says of an item: nothing, that it is deleted, or its value.
    pub fn get(&self, key: Key) -> Option<Option<&Bytes>> {
        self.items.get(&key).map(Option::as_ref)
    }

    /// Its items from `from` to `to`, both included.
    pub fn range(&self, from: Key, to: Key) -> Range<'_, Key, Option<Bytes>> {
        // A map panics at a range that ends before it begins; here it is merely empty.
        let to = if from <= to {
            std::ops::Bound::Included(to)
        } else {
            std::ops::Bound::Excluded(from)
        };
        self.items.range((std::ops::Bound::Included(from), to))
    }

    /// All of them, in order.
    pub fn into_items(self) -> Vec<(Key, Option<Bytes>)> {
        self.items.into_iter().collect()
    }

    /// How many items, deleted ones included.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True when nothing changed.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The memory it takes, nearly.
    pub fn bytes(&self) -> usize {
        self.items.len() * ITEM_BYTES + self.value_bytes
    }

    /// The newest record in it; 0 when there is none.
    pub fn newest(&self) -> Lsn {
        self.newest
    }
}
