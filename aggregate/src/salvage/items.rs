//! The items of a tree with its layers, in order, a bounded number in memory at a time.

use baton_types::Result;
use bytes::Bytes;

use crate::format::Key;
use crate::live::LiveTree;
use crate::nodes::Nodes;
use crate::tree::{Pinned, Stop, View};

/// Every key.
pub(super) const ALL: (Key, Key) = (Key::FIRST, Key::LAST);
/// Items read at once.
const CHUNK: usize = 4_096;

/// Does `look` until every node that it needs was there.
pub(super) fn look<T>(tree: &LiveTree, nodes: &Nodes, mut look: impl FnMut(&View<'_>) -> Result<T, Stop>) -> Result<T> {
    let mut pinned = Pinned::default();
    loop {
        match look(&tree.view(nodes, &pinned)) {
            Ok(found) => return Ok(found),
            Err(Stop::Miss(pointer)) => pinned.fetch(nodes, &pointer)?,
            Err(Stop::Room(_) | Stop::Data(_)) => unreachable!("no file is read or written by way of its view here"),
            Err(Stop::Failed(error)) => return Err(error),
        }
    }
}

/// The value of one item.
pub(super) fn get(tree: &LiveTree, nodes: &Nodes, key: Key) -> Result<Option<Bytes>> {
    look(tree, nodes, |view| view.get(key))
}

/// Gives each item from `from` to `to`, both included, to `see`.
pub(super) fn each(
    tree: &LiveTree,
    nodes: &Nodes,
    (from, to): (Key, Key),
    mut see: impl FnMut(Key, Bytes) -> Result<()>,
) -> Result<()> {
    let (mut from, mut seen) = (from, None);
    loop {
        let chunk = look(tree, nodes, |view| {
            view.scan(from, to).take(CHUNK).collect::<Result<Vec<_>, Stop>>()
        })?;
        let is_last = chunk.len() < CHUNK;
        for (key, value) in chunk {
            if seen != Some(key) {
                see(key, value)?;
            }
            (from, seen) = (key, Some(key));
        }
        if is_last {
            return Ok(());
        }
    }
}
