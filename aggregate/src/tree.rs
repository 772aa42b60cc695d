//! Trees: items in key order, in nodes that never change, and what happened since in layers above them.
//!
//! | part | is |
//! |---|---|
//! | [`Node`] | up to 64 KiB of sorted items, verified once, searched where they lie |
//! | [`Layer`] | the items that changed since the last checkpoint, in memory |
//! | [`View`] | what a reader sees: the active layer over frozen ones over a tree |
//! | [`merge`] | frozen layers and a tree become a new tree; the old one stays whole |
//! | [`merge_without`] | the same, and nodes that cannot be read are left out |
//! | [`diff`] | what two trees do not share |
//! | [`build`] | a tree of items that are sorted already |
//! | `take_apart` | the blocks of a tree that others have not got, piece by piece |
//!
//! A tree is the pointer to its root, or `None` when it has no item. Every node below it is checked against
//! the pointer that leads to it (I11); a new root shares with the old one all that did not change. Deleted
//! items leave no trace in a tree. There is no I/O under a lock here: a reader that misses a node stops with
//! the pointer ([`Stop::Miss`]), fetches the node without the lock, and starts again.

mod apart;
mod build;
mod changes;
mod cursor;
mod diff;
mod layer;
mod merge;
mod node;
mod raw;
mod run;
mod view;
mod writer;

#[cfg(test)]
pub(crate) mod double;
#[cfg(test)]
mod tests;

use baton_types::{Epoch, Error, Result};

pub(crate) use apart::{Apart, reach, take_apart};
pub use build::build;
pub use diff::{Diff, Difference, diff};
pub use layer::Layer;
pub use merge::{Cut, merge, merge_without};
pub use node::Node;
pub(crate) use view::check_level;
pub use view::{Pinned, Scan, View};

use crate::format::{Block, Lsn, Pointer};

/// Nodes that are read at once: a disk answers sixteen scattered reads in hardly more time than one.
const READ_AHEAD: usize = 16;

/// What every node of one merge is stamped with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeId {
    /// Whose tree: a fileset's id, or one of the aggregate's own.
    pub tree: u64,
    /// Who writes.
    pub epoch: Epoch,
    /// The checkpoint it is written for.
    pub generation: u64,
    /// The newest record in the layers merged.
    pub birth: Lsn,
    /// A node at most, from the label.
    pub node_bytes: u32,
}

/// Why a reader stopped.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// This node is not in memory: let go of all locks, [fetch](Pinned::fetch) it, and start again.
    Miss(Pointer),
    /// This unit of a file's data is not in memory: the same, with [its own fetch](Pinned::fetch_data).
    Data(Pointer),
    /// So many blocks must be reserved first: let go of all locks, reserve them, and start again.
    Room(u32),
    /// It failed.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

/// Where new nodes go, and what is told of those they replace.
pub trait Sink {
    /// Gives room for a node.
    ///
    /// # Errors
    /// `NoSpace`.
    fn allocate(&mut self, blocks: u8) -> Result<Block>;

    /// Takes a new node for the place that `pointer` names. Nodes come in the order they were allocated in.
    ///
    /// # Errors
    /// What the device says.
    fn write(&mut self, pointer: &Pointer, node: Node) -> Result<()>;

    /// Takes a node that the new tree does not have any more. It is free when the new root counts and not before:
    /// a merge that fails, or is made again after newer changes, may yet keep it.
    fn free(&mut self, pointer: &Pointer);

    /// Says whether the merge may go on though a node that so many changes fall into is damaged: then they are lost with
    /// all that is below it, and the rest is not.
    ///
    /// # Errors
    /// `error`, which is what the node's reader was told, if it may not.
    fn give_up(&mut self, pointer: &Pointer, changes: usize, error: Error) -> Result<()> {
        let _ = (pointer, changes);
        Err(error)
    }
}
