//! A view: what one fileset (or the aggregate itself) holds at this moment, newest layer first, tree last.
//!
//! Reading never waits: what is not in memory is a [`Stop::Miss`]. The nodes fetched for an operation stay
//! [pinned](Pinned) until it is done, so that it gets on however small the cache is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use baton_types::{Error, Kind, Result};
use bytes::Bytes;

use crate::format::{Key, Pointer};
use crate::nodes::Nodes;
use crate::tree::changes::{Change, Changes, Order};
use crate::tree::cursor::Cursor;
use crate::tree::{Layer, Node, READ_AHEAD, Stop};

/// Nodes, and units of data, fetched for one operation.
#[derive(Default)]
pub struct Pinned {
    nodes: HashMap<Pointer, Node>,
    data: HashMap<Pointer, Bytes>,
    /// Nodes that a scan will want after the one it missed.
    ahead: RefCell<Vec<Pointer>>,
}

impl Pinned {
    /// None yet.
    pub fn new() -> Pinned {
        Pinned::default()
    }

    /// Reads the node that an attempt missed. To be called without a lock.
    ///
    /// # Errors
    /// What the device says; `Damaged`.
    pub fn fetch(&mut self, nodes: &Nodes, missed: &Pointer) -> Result<()> {
        let mut wanted = vec![*missed];
        wanted.append(self.ahead.get_mut());
        for (pointer, read) in wanted.iter().zip(nodes.read_all(&wanted)) {
            match read {
                Ok(node) => drop(self.nodes.insert(*pointer, node)),
                Err(error) if pointer == missed => return Err(error),
                // Perhaps nobody needs it; who does will hear of it.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Reads the unit of data that an attempt missed. To be called without a lock.
    ///
    /// # Errors
    /// What the device says; `Damaged`, also if its blocks were freed meanwhile and used again.
    pub fn fetch_data(&mut self, nodes: &Nodes, missed: &Pointer) -> Result<()> {
        let data = nodes.read_data(missed)?;
        self.data.insert(*missed, data);
        Ok(())
    }
}

/// Nodes in memory, wherever they are.
#[derive(Clone, Copy)]
pub(crate) struct Memory<'a> {
    nodes: &'a Nodes,
    pinned: &'a Pinned,
}

impl Memory<'_> {
    pub(crate) fn root(self, pointer: &Pointer) -> Result<Node, Stop> {
        if !self.pinned.nodes.is_empty()
            && let Some(node) = self.pinned.nodes.get(pointer)
        {
            return Ok(node.clone());
        }
        self.nodes.cached(pointer).ok_or_else(|| {
            self.pinned.ahead.borrow_mut().clear();
            Stop::Miss(*pointer)
        })
    }

    /// The child at `index` of `node`.
    pub(crate) fn child(self, node: &Node, index: usize) -> Result<Node, Stop> {
        let pointer = node.pointer(index);
        let child = self.root(&pointer)?;
        check_level(node, &child, &pointer)?;
        Ok(child)
    }

    /// The child at `index` of `node`, on the way to those after it up to `to`: if it is missing, some of them are
    /// fetched with it. No more than were fetched before, so that a short scan reads little in vain.
    pub(crate) fn child_of_scan(self, node: &Node, index: usize, to: Key) -> Result<Node, Stop> {
        self.child(node, index).inspect_err(|stop| {
            if let Stop::Miss(_) = stop {
                let count = self.pinned.nodes.len().min(READ_AHEAD - 1);
                let next = (index + 1..node.len())
                    .take(count)
                    .take_while(|&next| node.key(next) <= to);
                let missing = next
                    .map(|next| node.pointer(next))
                    .filter(|next| self.root(next).is_err());
                let missing: Vec<Pointer> = missing.collect();
                *self.pinned.ahead.borrow_mut() = missing;
            }
        })
    }
}

/// Refuses a child that does not lie one level below its parent: following it might never end.
pub(crate) fn check_level(parent: &Node, child: &Node, pointer: &Pointer) -> Result<()> {
    let (above, level) = (parent.level(), child.level());
    if Some(level) == above.checked_sub(1) {
        return Ok(());
    }
    let on = format!("node at block {}", pointer.block);
    Err(Error::new(Kind::Damaged, on)
        .op("read node")
        .because(format!("level {level} below level {above}")))
}

/// Items as they are now.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Changes since the last checkpoint began.
    pub active: &'a Layer,
    /// Layers that wait to be merged, oldest first.
    pub frozen: &'a [Arc<Layer>],
    /// What all before was merged into.
    pub root: Option<Pointer>,
    /// Where nodes are.
    pub nodes: &'a Nodes,
    /// Nodes fetched for this operation.
    pub pinned: &'a Pinned,
}

impl<'a> View<'a> {
    /// The value of an item.
    ///
    /// # Errors
    /// `Miss`; `Damaged`.
    pub fn get(&self, key: Key) -> Result<Option<Bytes>, Stop> {
        for layer in self.layers() {
            if let Some(change) = layer.get(key) {
                return Ok(change.cloned());
            }
        }
        let Some(root) = &self.root else { return Ok(None) };
        let memory = self.memory();
        let mut node = memory.root(root)?;
        while node.level() > 0 {
            node = memory.child(&node, node.child(key))?;
        }
        Ok(node.search(key).ok().map(|index| node.value(index)))
    }

    /// The items from `from` to `to`, both included, smallest key first. After a stop nothing more comes.
    pub fn scan(&self, from: Key, to: Key) -> Scan<'a> {
        self.walk(None, (from, to), Order::Rising)
    }

    /// As [`View::scan`], under changes of one's own that are not in the active layer yet.
    pub fn scan_under<'b>(&self, own: &'b Layer, from: Key, to: Key) -> Scan<'b>
    where
        'a: 'b,
    {
        self.walk(Some(own), (from, to), Order::Rising)
    }

    /// The item with the greatest key at or before `key` that has its object and kind.
    ///
    /// # Errors
    /// `Miss`; `Damaged`.
    pub fn last_at_or_before(&self, key: Key) -> Result<Option<(Key, Bytes)>, Stop> {
        let first = Key { sub: 0, ..key };
        self.walk(None, (first, key), Order::Falling).next().transpose()
    }

    /// As [`View::last_at_or_before`], under changes of one's own that are not in the active layer yet.
    ///
    /// # Errors
    /// `Miss`; `Damaged`.
    pub fn last_at_or_before_under(&self, own: &Layer, key: Key) -> Result<Option<(Key, Bytes)>, Stop> {
        let first = Key { sub: 0, ..key };
        self.walk(Some(own), (first, key), Order::Falling).next().transpose()
    }

    /// A unit of a file's data.
    ///
    /// # Errors
    /// [`Stop::Data`] if it is not in memory.
    pub fn data(&self, pointer: &Pointer) -> Result<Bytes, Stop> {
        let fetched = self.pinned.data.get(pointer).cloned();
        fetched
            .or_else(|| self.nodes.cached_data(pointer))
            .ok_or(Stop::Data(*pointer))
    }

    fn walk<'b>(&self, own: Option<&'b Layer>, range: (Key, Key), order: Order) -> Scan<'b>
    where
        'a: 'b,
    {
        Scan {
            changes: Changes::new(own.into_iter().chain(self.layers()), range, order),
            cursor: Some(Cursor::new(self.memory(), self.root, range, order)),
            below: None,
            order,
        }
    }

    /// Newest first.
    fn layers(&self) -> impl Iterator<Item = &'a Layer> + use<'a> {
        std::iter::once(self.active).chain(self.frozen.iter().rev().map(|layer| &**layer))
    }

    fn memory(&self) -> Memory<'a> {
        Memory {
            nodes: self.nodes,
            pinned: self.pinned,
        }
    }
}

/// Items of a view, one after the other.
pub struct Scan<'a> {
    changes: Changes<'a>,
    /// Gone when the tree has no more, or the scan stopped.
    cursor: Option<Cursor<'a>>,
    /// The tree's next item.
    below: Option<(Key, Bytes)>,
    order: Order,
}

impl Scan<'_> {
    /// The tree's next item, looked up if need be.
    fn below(&mut self) -> Result<Option<Key>, Stop> {
        if self.below.is_none()
            && let Some(cursor) = &mut self.cursor
        {
            self.below = cursor.next()?;
            if self.below.is_none() {
                self.cursor = None;
            }
        }
        Ok(self.below.as_ref().map(|(key, _)| *key))
    }

    /// Whether the layers' next change comes before the tree's next item, or replaces it.
    fn precedes(&self, change: Change<'_>, below: Option<Key>) -> bool {
        below.is_none_or(|below| match self.order {
            Order::Rising => change.0 <= below,
            Order::Falling => change.0 >= below,
        })
    }

    fn step(&mut self) -> Result<Option<(Key, Bytes)>, Stop> {
        if self.below.is_none() && self.changes.is_empty() {
            return self.cursor.as_mut().map_or(Ok(None), Cursor::next);
        }
        loop {
            let below = self.below()?;
            let Some((key, value)) = self.changes.peek().filter(|&change| self.precedes(change, below)) else {
                return Ok(self.below.take());
            };
            self.changes.next();
            if below == Some(key) {
                self.below = None;
            }
            if let Some(value) = value {
                return Ok(Some((key, value.clone())));
            }
        }
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<(Key, Bytes), Stop>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            // What the cursor stopped at is missing: nothing after it may be taken for what comes next.
            (self.cursor, self.below, self.changes) = (None, None, Changes::none());
        }
        step.transpose()
    }
}
