//! A tree in service: an active layer over frozen ones over what the last checkpoint wrote.

use std::sync::Arc;

use crate::format::Pointer;
use crate::nodes::Nodes;
use crate::tree::{Layer, Pinned, View};

/// One tree with its layers.
#[derive(Default)]
pub struct LiveTree {
    /// Where changes go.
    pub active: Layer,
    /// Of a checkpoint that is being made, oldest first.
    pub frozen: Vec<Arc<Layer>>,
    /// Where the nodes begin.
    pub root: Option<Pointer>,
}

impl LiveTree {
    /// Nodes as a root left them, and nothing over them.
    pub fn at(root: Option<Pointer>) -> LiveTree {
        LiveTree {
            root,
            ..LiveTree::default()
        }
    }

    /// What a reader sees.
    pub fn view<'a>(&'a self, nodes: &'a Nodes, pinned: &'a Pinned) -> View<'a> {
        View {
            active: &self.active,
            frozen: &self.frozen,
            root: self.root,
            nodes,
            pinned,
        }
    }

    /// Begins a new active layer; gives all frozen ones, oldest first, or nothing if there is nothing to merge.
    pub fn freeze(&mut self) -> Vec<Arc<Layer>> {
        if !self.active.is_empty() {
            self.frozen.push(Arc::new(std::mem::take(&mut self.active)));
        }
        self.frozen.clone()
    }

    /// The first `count` frozen layers are in the nodes at `root` now.
    pub fn merged(&mut self, count: usize, root: Option<Pointer>) {
        self.frozen.drain(..count);
        self.root = root;
    }

    /// True if the nodes say it all.
    pub fn is_clean(&self) -> bool {
        self.active.is_empty() && self.frozen.is_empty()
    }
}
