//! What several layers say together: of each key, the newest.

use std::collections::btree_map::Range;

use bytes::Bytes;

use crate::format::Key;
use crate::tree::Layer;

/// Which way items come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Smallest key first.
    Rising,
    /// Greatest key first.
    Falling,
}

/// Items of layers in key order; deleted ones are `None`.
#[derive(Clone)]
pub(crate) struct Changes<'a> {
    /// Newest layer first.
    sources: Vec<Source<'a>>,
    order: Order,
}

/// A change as a layer holds it.
pub(crate) type Change<'a> = (Key, Option<&'a Bytes>);

#[derive(Clone)]
struct Source<'a> {
    next: Option<Change<'a>>,
    rest: Range<'a, Key, Option<Bytes>>,
}

impl Source<'_> {
    fn advance(&mut self, order: Order) {
        let next = match order {
            Order::Rising => self.rest.next(),
            Order::Falling => self.rest.next_back(),
        };
        self.next = next.map(|(&key, value)| (key, value.as_ref()));
    }
}

impl<'a> Changes<'a> {
    /// The changes of `layers`, newest first, from `from` to `to`, both included.
    pub(crate) fn new(layers: impl Iterator<Item = &'a Layer>, (from, to): (Key, Key), order: Order) -> Changes<'a> {
        let sources = layers
            .map(|layer| {
                let mut source = Source {
                    next: None,
                    rest: layer.range(from, to),
                };
                source.advance(order);
                source
            })
            .filter(|source| source.next.is_some())
            .collect();
        Changes { sources, order }
    }

    /// No changes.
    pub(crate) fn none() -> Changes<'a> {
        let (sources, order) = (Vec::new(), Order::Rising);
        Changes { sources, order }
    }

    /// True when there is no change any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.sources.iter().all(|source| source.next.is_none())
    }

    /// The next change, without taking it.
    pub(crate) fn peek(&self) -> Option<Change<'a>> {
        let heads = self.sources.iter().filter_map(|source| source.next);
        // Of equal keys both take the first, which is the newest layer's.
        heads.reduce(|best, other| {
            let sooner = match self.order {
                Order::Rising => other.0 < best.0,
                Order::Falling => other.0 > best.0,
            };
            if sooner { other } else { best }
        })
    }
}

impl<'a> Iterator for Changes<'a> {
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Change<'a>> {
        let change = self.peek()?;
        for source in &mut self.sources {
            if source.next.is_some_and(|(key, _)| key == change.0) {
                source.advance(self.order);
            }
        }
        Some(change)
    }
}
