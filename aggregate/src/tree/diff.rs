//! The difference of two trees: what one holds and the other does not, without a look at what they share (I13).
//!
//! Nodes never change, so two trees that came of one another hold the same node where nothing changed between them, and
//! the same pointer leads there. Two cursors go through the trees in step, and step over such a node unread; every
//! other one they enter. So no node is read that is in both trees, and the cost is that of the change.
//!
//! | of the two heads | then |
//! |---|---|
//! | both lead to the same node | both step over it |
//! | one leads to a node, and the other comes before it | the other enters, or shows its item |
//! | both begin at the same key | the higher node is entered, of equals both |
//!
//! Births would say less: a leaf that a merge left out has none in the newer tree.

use baton_types::Result;
use bytes::Bytes;

use crate::format::{Key, Pointer};
use crate::nodes::Nodes;
use crate::tree::Node;
use crate::tree::view::check_level;

/// An item that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its key.
    pub key: Key,
    /// What the old tree has there.
    pub old: Option<Bytes>,
    /// What the new one has.
    pub new: Option<Bytes>,
}

/// The items in which `old` and `new` differ, smallest key first. Waits for nodes: not to be called under a lock.
pub fn diff(nodes: &Nodes, old: Option<Pointer>, new: Option<Pointer>) -> Diff<'_> {
    let (old, new) = if old == new { (None, None) } else { (old, new) };
    Diff {
        nodes,
        old: Side::at(old),
        new: Side::at(new),
    }
}

/// See [`diff`]. After an error nothing more comes.
pub struct Diff<'a> {
    nodes: &'a Nodes,
    old: Side,
    new: Side,
}

/// One tree: where its cursor is.
struct Side {
    /// The root, before the first step.
    root: Option<Pointer>,
    /// From the root down: a node, and where in it.
    path: Vec<(Node, usize)>,
}

/// What comes next in a tree.
#[derive(Clone, Copy)]
enum Head {
    Item(Key),
    Subtree { low: Key, level: u8, pointer: Pointer },
    End,
}

impl Side {
    fn at(root: Option<Pointer>) -> Side {
        Side { root, path: Vec::new() }
    }

    fn begin(&mut self, nodes: &Nodes) -> Result<()> {
        if let Some(root) = self.root.take() {
            self.path.push((nodes.read(&root)?, 0));
        }
        Ok(())
    }

    fn head(&mut self) -> Head {
        while self.path.pop_if(|(node, at)| *at >= node.len()).is_some() {}
        match self.path.last() {
            None => Head::End,
            Some((leaf, at)) if leaf.level() == 0 => Head::Item(leaf.key(*at)),
            Some((node, at)) => Head::Subtree {
                low: node.key(*at),
                level: node.level() - 1,
                pointer: node.pointer(*at),
            },
        }
    }

    /// Past the head.
    fn step(&mut self) {
        if let Some((_, at)) = self.path.last_mut() {
            *at += 1;
        }
    }

    /// Into the node that the head leads to.
    fn enter(&mut self, nodes: &Nodes) -> Result<()> {
        let Some((node, at)) = self.path.last() else {
            return Ok(());
        };
        let pointer = node.pointer(*at);
        let child = nodes.read(&pointer)?;
        check_level(node, &child, &pointer)?;
        self.step();
        self.path.push((child, 0));
        Ok(())
    }

    /// The item at the head, which it steps over.
    fn take(&mut self) -> Option<Bytes> {
        let (leaf, at) = self.path.last_mut()?;
        *at += 1;
        Some(leaf.value(*at - 1))
    }
}

impl Diff<'_> {
    fn advance(&mut self) -> Result<Option<Difference>> {
        self.old.begin(self.nodes)?;
        self.new.begin(self.nodes)?;
        loop {
            let (old, new) = (&mut self.old, &mut self.new);
            match (old.head(), new.head()) {
                (Head::End, Head::End) => return Ok(None),
                (Head::Subtree { pointer, .. }, Head::Subtree { pointer: other, .. }) if pointer == other => {
                    old.step();
                    new.step();
                }
                (Head::Item(key), Head::Item(other)) if key == other => {
                    let (old, new) = (old.take(), new.take());
                    if old != new {
                        return Ok(Some(Difference { key, old, new }));
                    }
                }
                (Head::Item(key), other) if other.is_after(key) => {
                    return Ok(Some(Difference {
                        key,
                        old: old.take(),
                        new: None,
                    }));
                }
                (other, Head::Item(key)) if other.is_after(key) => {
                    return Ok(Some(Difference {
                        key,
                        old: None,
                        new: new.take(),
                    }));
                }
                (head, other) => {
                    let (is_first, is_second) = (head.is_entered_before(other), other.is_entered_before(head));
                    if is_first {
                        old.enter(self.nodes)?;
                    }
                    if is_second {
                        new.enter(self.nodes)?;
                    }
                }
            }
        }
    }
}

impl Head {
    /// Whether all that comes here lies behind `key`.
    fn is_after(self, key: Key) -> bool {
        match self {
            Head::Item(own) => own > key,
            Head::Subtree { low, .. } => low > key,
            Head::End => true,
        }
    }

    /// Whether this one is a node that must be looked into to know more.
    fn is_entered_before(self, other: Head) -> bool {
        match (self, other) {
            (Head::Item(_) | Head::End, _) => false,
            (Head::Subtree { .. }, Head::Item(_) | Head::End) => true,
            (
                Head::Subtree { low, level, .. },
                Head::Subtree {
                    low: other,
                    level: above,
                    ..
                },
            ) => low < other || low == other && level >= above,
        }
    }
}

impl Iterator for Diff<'_> {
    type Item = Result<Difference>;

    fn next(&mut self) -> Option<Self::Item> {
        let advanced = self.advance();
        if advanced.is_err() {
            (self.old, self.new) = (Side::at(None), Side::at(None));
        }
        advanced.transpose()
    }
}
