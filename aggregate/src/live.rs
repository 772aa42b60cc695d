//! A tree in service: an active layer over frozen ones over what the last checkpoint wrote.

use std::sync::Arc;

use crate::format::{Lsn, Pointer};
use crate::nodes::Nodes;
use crate::tree::{Layer, Pinned, View};

/// One tree with its layers.
#[derive(Default)]
pub struct LiveTree {
    /// Where changes go.
    pub active: Layer,
    /// Of a checkpoint that is being made, or behind a snapshot; oldest first.
    pub frozen: Vec<Arc<Layer>>,
    /// Snapshots that no checkpoint has merged, oldest first.
    pub moments: Vec<Moment>,
    /// Where the nodes begin.
    pub root: Option<Pointer>,
}

/// A snapshot that is made of layers still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Which.
    pub snapshot: Lsn,
    /// It has so many of the frozen layers, the oldest.
    pub layers: usize,
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

    /// What a reader of a snapshot sees, if that is made of layers still.
    pub fn view_at<'a>(&'a self, snapshot: Lsn, nodes: &'a Nodes, pinned: &'a Pinned) -> Option<View<'a>> {
        let moment = self.moments.iter().find(|moment| moment.snapshot == snapshot)?;
        Some(View {
            active: Layer::EMPTY,
            frozen: &self.frozen[..moment.layers],
            root: self.root,
            nodes,
            pinned,
        })
    }

    /// Begins a new active layer; gives all frozen ones, oldest first, or nothing if there is nothing to merge.
    pub fn freeze(&mut self) -> Vec<Arc<Layer>> {
        if !self.active.is_empty() {
            self.frozen.push(Arc::new(std::mem::take(&mut self.active)));
        }
        self.frozen.clone()
    }

    /// What is there now is `snapshot`'s too from here on.
    pub fn take_moment(&mut self, snapshot: Lsn) {
        let layers = self.freeze().len();
        self.moments.push(Moment { snapshot, layers });
    }

    /// Nobody wants to know any more what was there then.
    pub fn forget_moment(&mut self, snapshot: Lsn) {
        self.moments.retain(|moment| moment.snapshot != snapshot);
    }

    /// The first `count` frozen layers are in the nodes at `root` now, and snapshots up to `last` in their own.
    pub fn merged(&mut self, count: usize, root: Option<Pointer>, last: Lsn) {
        self.frozen.drain(..count);
        self.root = root;
        self.moments.retain(|moment| moment.snapshot > last);
        self.moments.iter_mut().for_each(|moment| moment.layers -= count);
    }

    /// True if the nodes say it all.
    pub fn is_clean(&self) -> bool {
        self.active.is_empty() && self.frozen.is_empty() && self.moments.is_empty()
    }
}
