//! A fileset without a store below it: an empty tree, a layer, and as many blocks as anyone asks for.
//!
//! What operations are tested over, alone.

use std::cell::Cell;

use baton_types::{Result, Timestamp, Vnode};

use super::{Change, Operation, Room, Run, Transaction, Usage};
use crate::engine::blank;
use crate::format::{Block, Lsn, Record, RecordKind};
use crate::nodes::Nodes;
use crate::tree::{Layer, Pinned, Stop, View};

/// The state of one fileset.
pub struct Scratch {
    /// Everything in it.
    pub layer: Layer,
    /// What it holds.
    pub usage: Usage,
    /// Everything that was ever made of it, in order.
    pub history: Vec<Change>,
    nodes: Nodes,
    supply: Supply,
    lsn: u64,
    began: Lsn,
}

/// Blocks without end, never the same twice.
#[derive(Default)]
struct Supply {
    next: Cell<u64>,
}

impl Room for Supply {
    fn take(&self, blocks: u32) -> Result<Vec<Run>, Stop> {
        let mut runs = Vec::new();
        let mut left = blocks;
        while left > 0 {
            let count = left.min(u32::from(u16::MAX)) as u16;
            let block = Block(1_000 + self.next.replace(self.next.get() + u64::from(count)));
            runs.push(Run { block, count });
            left -= u32::from(count);
        }
        Ok(runs)
    }

    fn give_back(&self, _run: Run) {}
}

impl Scratch {
    /// Nothing in it; `nodes` is never asked, for there is no tree.
    pub fn new(nodes: Nodes) -> Scratch {
        Scratch {
            layer: Layer::default(),
            usage: Usage::default(),
            history: Vec::new(),
            nodes,
            supply: Supply::default(),
            lsn: 0,
            began: Lsn(0),
        }
    }

    /// From here on it holds what another one did, in a branch that began with the record `began`.
    pub fn go_on(&mut self, layer: Layer, usage: Usage, began: Lsn) {
        (self.layer, self.usage, self.began) = (layer, usage, began);
    }

    /// Does `operation` as the next record, if it succeeds; gives back what it said.
    ///
    /// # Errors
    /// The operation's own.
    pub fn change<T>(
        &mut self,
        operation: &Operation,
        make: impl FnOnce(&mut Transaction<'_>) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let pinned = Pinned::default();
        let view = self.view(&pinned);
        let mut transaction = Transaction::new(view, operation, self.usage, &self.supply).since(self.began);
        let said = make(&mut transaction)?;
        let change = transaction.finish();
        self.lsn += 1;
        let mut record = Record {
            items: change.items.clone().into_items(),
            ..blank(RecordKind::Op)
        };
        record.born(Lsn(self.lsn));
        for (key, value) in record.items {
            self.layer.insert(key, value, Lsn(self.lsn));
        }
        self.usage = change.usage;
        self.history.push(change);
        Ok(said)
    }

    /// Looks at it.
    pub fn read<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        let pinned = Pinned::default();
        look(&self.view(&pinned))
    }

    fn view<'a>(&'a self, pinned: &'a Pinned) -> View<'a> {
        View {
            active: &self.layer,
            frozen: &[],
            root: None,
            nodes: &self.nodes,
            pinned,
        }
    }

    /// An operation that makes `vnode`, at a time that tells it from others.
    pub fn operation(vnode: u64) -> Operation {
        Operation {
            vnode: Vnode::new(vnode).ok(),
            unique: vnode.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            time: Timestamp(vnode.cast_signed()),
            ..Operation::default()
        }
    }
}
