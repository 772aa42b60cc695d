//! A tree that nobody needs any more, taken apart: its nodes and what they refer to, as far as others have not got them.
//!
//! What is born no later than a *floor* others have, and with a node all that is below it. A node goes when all below
//! it went: so whoever comes back with the key where he stopped finds the way there, and everything but once.
//!
//! What is below a damaged node stays taken: nobody can say what it is.

use baton_types::{Error, Kind, Result};

use crate::format::{Key, Lsn, Pointer, owned};
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
    /// What was left out.
    pub damage: Option<Error>,
}

impl Apart {
    /// The same, if nothing was left out.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn whole(self) -> Result<Apart> {
        match self.damage {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }
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
/// What the device says.
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
    if let Some(root) = root.filter(|root| root.birth > floor)
        && let Some(node) = whole(nodes.read(&root), &mut walk.apart)?
    {
        walk.node(&root, &node, None)?;
    }
    Ok(walk.apart)
}

/// The node, if it is not damaged.
fn whole(read: Result<Node>, apart: &mut Apart) -> Result<Option<Node>> {
    match read {
        Err(error) if error.kind == Kind::Damaged => {
            apart.damage.get_or_insert(error);
            Ok(None)
        }
        read => read.map(Some),
    }
}

/// Whether the leaf that has `key` can be read, and the first key behind it; or, if it cannot be, behind the damaged
/// node.
///
/// # Errors
/// What the device says.
pub(crate) fn reach(nodes: &Nodes, root: Option<Pointer>, key: Key) -> Result<(bool, Option<Key>)> {
    let (mut at, mut above, mut until) = (root, None::<Node>, None);
    while let Some(pointer) = at {
        let read = nodes.read(&pointer).and_then(|node| match &above {
            Some(above) => check_level(above, &node, &pointer).map(|()| node),
            None => Ok(node),
        });
        let node = match read {
            Err(error) if error.kind == Kind::Damaged => return Ok((false, until)),
            read => read?,
        };
        at = (node.level() > 0).then(|| {
            let index = node.child(key);
            if index + 1 < node.len() {
                until = Some(node.key(index + 1));
            }
            node.pointer(index)
        });
        above = Some(node);
    }
    Ok((true, until))
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
            let below = self.nodes.read(&child);
            let below = below.and_then(|below| check_level(node, &below, &child).map(|()| below));
            let Some(below) = whole(below, &mut self.apart)? else {
                continue;
            };
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
        if let Some(owned) = owned(key, value)?
            && owned.birth > self.floor
        {
            self.apart.runs.push(Run {
                block: owned.block,
                count: owned.count,
            });
        }
        Ok(())
    }
}
