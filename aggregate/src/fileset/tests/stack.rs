//! A fileset as a server has it: an active layer, frozen ones, and a tree of which nothing is in memory.
//!
//! Every attempt of an operation begins with a cold cache, so it is begun again for every node that it needs.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use baton_types::{Epoch, Kind};

use super::sandbox::refusal;
use crate::engine::blank;
use crate::format::{Block, Key, KeyKind, Lsn, Pointer, Record, RecordKind};
use crate::nodes::Nodes;
use crate::transaction::{Operation, Room, Run, Transaction, Usage};
use crate::tree::double::Recorder;
use crate::tree::{Layer, Pinned, Stop, TreeId, View, merge};

#[derive(Default)]
struct Supply {
    next: Cell<u64>,
}

impl Room for Supply {
    fn take(&self, blocks: u32) -> Result<Vec<Run>, Stop> {
        let first = self.next.get() + 1;
        self.next.set(first + u64::from(blocks) - 1);
        let count = u16::try_from(blocks).unwrap();
        Ok(vec![Run {
            block: Block(first),
            count,
        }])
    }

    /// Blocks are taken in order, and the last attempt's come last.
    fn give_back(&self, run: Run) {
        self.next.set(self.next.get() - u64::from(run.count));
    }
}

pub struct Stack {
    active: Layer,
    frozen: Vec<Arc<Layer>>,
    root: Option<Pointer>,
    recorder: Recorder,
    supply: Supply,
    lsn: u64,
    pub usage: Usage,
    /// Blocks of data that were given up.
    pub freed: BTreeSet<u64>,
}

impl Stack {
    pub fn new() -> Stack {
        Stack {
            active: Layer::new(),
            frozen: Vec::new(),
            root: None,
            recorder: Recorder::new(),
            supply: Supply::default(),
            lsn: 0,
            usage: Usage::default(),
            freed: BTreeSet::new(),
        }
    }

    /// Blocks of data that were ever taken.
    pub fn taken(&self) -> u64 {
        self.supply.next.get()
    }

    fn attempt<T>(&self, make: impl Fn(View<'_>) -> Result<T, Stop>) -> Result<T, Kind> {
        let mut pinned = Pinned::new();
        loop {
            let nodes: Nodes = self.recorder.cold();
            let view = View {
                active: &self.active,
                frozen: &self.frozen,
                root: self.root,
                nodes: &nodes,
                pinned: &pinned,
            };
            match make(view) {
                Ok(made) => return Ok(made),
                Err(Stop::Miss(missed)) => pinned.fetch(&nodes, &missed).unwrap(),
                Err(stop) => return Err(refusal(stop)),
            }
        }
    }

    pub fn change<T>(
        &mut self,
        operation: &Operation,
        make: impl Fn(&mut Transaction<'_>) -> Result<T, Stop>,
    ) -> Result<T, Kind> {
        let (made, change) = self.attempt(|view| {
            let mut transaction = Transaction::new(view, operation, self.usage, &self.supply);
            Ok((make(&mut transaction)?, transaction.finish()))
        })?;
        self.lsn += 1;
        let mut record = Record {
            items: change.items.into_items(),
            frees: change.frees,
            ..blank(RecordKind::Op)
        };
        record.born(Lsn(self.lsn));
        for (key, value) in record.items {
            self.active.insert(key, value, Lsn(self.lsn));
        }
        for free in record.frees {
            for block in free.block.0..free.block.0 + u64::from(free.count) {
                assert!(self.freed.insert(block), "block {block} is freed twice");
            }
        }
        self.usage = change.usage;
        Ok(made)
    }

    pub fn read<T>(&self, look: impl Fn(&View<'_>) -> Result<T, Stop>) -> Result<T, Kind> {
        self.attempt(|view| look(&view))
    }

    /// A checkpoint begins.
    pub fn freeze(&mut self) {
        self.frozen.push(Arc::new(std::mem::take(&mut self.active)));
    }

    /// A checkpoint ends.
    pub fn merge(&mut self) {
        let layers: Vec<&Layer> = self.frozen.iter().map(|layer| &**layer).collect();
        let birth = Lsn(self.lsn);
        // Small nodes: what a server's tree has at a million files, this one has at a hundred.
        let id = TreeId {
            tree: 7,
            epoch: Epoch(1),
            generation: self.lsn,
            birth,
            node_bytes: 4_096,
        };
        let nodes = self.recorder.cold();
        self.root = merge(self.root, &layers, id, &nodes, &mut self.recorder).unwrap();
        self.frozen.clear();
    }

    /// What is used, counted item by item.
    pub fn recount(&self) -> Usage {
        let items: Vec<_> = self.read(|view| view.scan(Key::FIRST, Key::LAST).collect()).unwrap();
        let mut usage = Usage::default();
        for (key, value) in items {
            match key.kind {
                KeyKind::Attributes => usage.files += 1,
                KeyKind::Inline | KeyKind::Xattr | KeyKind::Acl => usage.bytes += value.len() as u64,
                KeyKind::Extent => {
                    usage.bytes += 4_096 * u64::from(crate::format::Extent::decode(&value).unwrap().count);
                }
                _ => {}
            }
        }
        usage
    }
}
