//! A tree that nobody needs any more, taken apart: its nodes and what they refer to, as far as others have not got them.
//!
//! What is born no later than a *floor* others have, and with a node all that is below it. A node goes when all below
//! it went: so whoever comes back with the key where he stopped finds the way there, and everything but once.

use baton_types::Result;

use crate::format::{Extent, Key, KeyKind, Lsn, Pointer};
use crate::nodes::Nodes;
use crate::transaction::Run;
use crate::tree::Node;
use crate::tree::view::check_level;

/// A piece of a tree.
#[derive(Debug, Default)]
pub(crate) struct Apart {
    /// Its blocks.
    pub runs: Vec<Run>,
    /// Where to go on; `None` at the end.
    pub next: Option<Key>,
}

struct Walk<'a> {
    nodes: &'a Nodes,
    floor: Lsn,
    from: Key,
    runs_max: usize,
    apart: Apart,
}

/// Takes the tree at `root` apart from `from` on, where an earlier piece ended or which is the first key, until there
/// are `runs_max` runs or a leaf more.
///
/// # Errors
/// `Damaged`; what the device says.
pub(crate) fn take_apart(
    nodes: &Nodes,
    root: Option<Pointer>,
    (floor, from): (Lsn, Key),
    runs_max: usize,
) -> Result<Apart> {
    let apart = Apart::default();
    let mut walk = Walk {
        nodes,
        floor,
        from,
        runs_max,
        apart,
    };
    if let Some(root) = root.filter(|root| root.birth > floor) {
        let node = nodes.read(&root)?;
        walk.node(&root, &node, None)?;
    }
    Ok(walk.apart)
}

impl Walk<'_> {
    /// Of the keys below `until`.
    fn node(&mut self, pointer: &Pointer, node: &Node, until: Option<Key>) -> Result<()> {
        for index in 0..node.len() {
            if node.level() == 0 {
                self.item(node.key(index), node.value_ref(index))?;
                continue;
            }
            let child = node.pointer(index);
            let end = (index + 1 < node.len()).then(|| node.key(index + 1)).or(until);
            if child.birth <= self.floor || end.is_some_and(|end| end <= self.from) {
                continue;
            }
            if self.apart.runs.len() >= self.runs_max {
                self.apart.next = Some(node.key(index));
                return Ok(());
            }
            let below = self.nodes.read(&child)?;
            check_level(node, &below, &child)?;
            self.node(&child, &below, end)?;
            if self.apart.next.is_some() {
                return Ok(());
            }
        }
        self.apart.runs.push(Run {
            block: pointer.block,
            count: pointer.blocks.into(),
        });
        Ok(())
    }

    fn item(&mut self, key: Key, value: &[u8]) -> Result<()> {
        if key.kind == KeyKind::Extent {
            let extent = Extent::decode(value)?;
            if extent.birth > self.floor {
                self.apart.runs.push(Run {
                    block: extent.block,
                    count: extent.count.into(),
                });
            }
        }
        Ok(())
    }
}
