//! A cursor: the items of a tree in order, either way, without waiting for a node.

use bytes::Bytes;

use crate::format::{Key, Pointer};
use crate::tree::changes::Order;
use crate::tree::view::Memory;
use crate::tree::{Node, Stop};

/// Items of a tree from one key to another, both included.
pub(crate) struct Cursor<'a> {
    memory: Memory<'a>,
    /// The root, before the first step.
    start: Option<Pointer>,
    from: Key,
    to: Key,
    order: Order,
    /// From the root down: a node, and where in it. In the leaf: the next item (rising) or the one after it (falling).
    path: Vec<(Node, usize)>,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(memory: Memory<'a>, root: Option<Pointer>, (from, to): (Key, Key), order: Order) -> Cursor<'a> {
        Cursor {
            memory,
            start: root,
            from,
            to,
            order,
            path: Vec::new(),
        }
    }

    /// The next item.
    ///
    /// # Errors
    /// `Miss` if its node is not in memory; the cursor is of no use after that.
    pub(crate) fn next(&mut self) -> Result<Option<(Key, Bytes)>, Stop> {
        if let Some(root) = self.start.take() {
            let root = self.memory.root(&root)?;
            self.enter(root, Way::Seek)?;
        }
        loop {
            let Some((leaf, at)) = self.path.last_mut() else {
                return Ok(None);
            };
            let index = match self.order {
                Order::Rising if *at < leaf.len() => *at,
                Order::Falling if *at > 0 => *at - 1,
                Order::Rising | Order::Falling => {
                    self.next_leaf()?;
                    continue;
                }
            };
            let key = leaf.key(index);
            if key < self.from || key > self.to {
                self.path.clear();
                return Ok(None);
            }
            *at = match self.order {
                Order::Rising => index + 1,
                Order::Falling => index,
            };
            return Ok(Some((key, leaf.value(index))));
        }
    }

    /// Goes on from a leaf that is done.
    fn next_leaf(&mut self) -> Result<(), Stop> {
        self.path.pop();
        while let Some((node, at)) = self.path.last_mut() {
            let next = match self.order {
                Order::Rising => (*at + 1 < node.len()).then(|| *at + 1),
                Order::Falling => at.checked_sub(1),
            };
            // What a child holds lies between its own key and its neighbour's.
            let is_beyond = next.is_some_and(|next| match self.order {
                Order::Rising => node.key(next) > self.to,
                Order::Falling => node.key(*at) <= self.from,
            });
            if is_beyond {
                self.path.clear();
                return Ok(());
            }
            if let Some(next) = next {
                *at = next;
                let child = match self.order {
                    Order::Rising => self.memory.child_of_scan(node, next, self.to)?,
                    Order::Falling => self.memory.child(node, next)?,
                };
                return self.enter(child, Way::Edge);
            }
            self.path.pop();
        }
        Ok(())
    }

    /// Goes down from `node` to a leaf.
    fn enter(&mut self, mut node: Node, way: Way) -> Result<(), Stop> {
        while node.level() > 0 {
            let index = match (way, self.order) {
                (Way::Seek, Order::Rising) => node.child(self.from),
                (Way::Seek, Order::Falling) => node.child(self.to),
                (Way::Edge, Order::Rising) => 0,
                (Way::Edge, Order::Falling) => node.len() - 1,
            };
            let child = self.memory.child(&node, index)?;
            self.path.push((std::mem::replace(&mut node, child), index));
        }
        let at = match (way, self.order) {
            (Way::Seek, Order::Rising) => node.search(self.from).unwrap_or_else(|after| after),
            (Way::Seek, Order::Falling) => node.search(self.to).map_or_else(|after| after, |at| at + 1),
            (Way::Edge, Order::Rising) => 0,
            (Way::Edge, Order::Falling) => node.len(),
        };
        self.path.push((node, at));
        Ok(())
    }
}

/// How a node is entered.
#[derive(Clone, Copy)]
enum Way {
    /// Towards the first key wanted.
    Seek,
    /// At the end that the cursor comes from.
    Edge,
}
