//! A disk in memory and a sink that never uses a place twice, for tests of trees.

use std::collections::BTreeMap;
use std::sync::Arc;

use baton_types::{Error, Kind, Result};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::device::{Device, Write};
use crate::format::{BLOCK_BYTES, Block, Key, Pointer};
use crate::nodes::Nodes;
use crate::tree::{Layer, Node, Pinned, Sink, Stop, View};

/// Nodes by their first block, and how often each was read.
#[derive(Default)]
pub(crate) struct Memory {
    nodes: Mutex<BTreeMap<Block, Bytes>>,
    reads: Mutex<BTreeMap<Block, usize>>,
}

impl Device for Memory {
    fn len(&self) -> u64 {
        Block::END.offset()
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        let block = Block(offset / BLOCK_BYTES as u64);
        *self.reads.lock().entry(block).or_default() += 1;
        let nodes = self.nodes.lock();
        let bytes = nodes
            .get(&block)
            .ok_or_else(|| Error::new(Kind::Io, format!("block {block}")))?;
        into.copy_from_slice(bytes);
        Ok(())
    }

    fn submit(&self, _: &[Write<'_>]) -> Result<()> {
        Err(Error::new(Kind::ReadOnly, "memory"))
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> Result<()> {
        Ok(())
    }
}

impl Memory {
    /// What was read since this was last asked.
    pub(crate) fn take_reads(&self) -> BTreeMap<Block, usize> {
        std::mem::take(&mut *self.reads.lock())
    }

    /// Flips a bit at rest.
    pub(crate) fn flip(&self, block: Block, bit: usize) {
        let mut nodes = self.nodes.lock();
        let bytes = nodes.get_mut(&block).expect("a node there");
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        *bytes = flipped.into();
    }
}

/// Takes nodes in; remembers what a merge wrote and freed.
pub(crate) struct Recorder {
    pub(crate) memory: Arc<Memory>,
    next: Block,
    pub(crate) written: Vec<Pointer>,
    pub(crate) freed: Vec<Pointer>,
}

impl Recorder {
    pub(crate) fn new() -> Recorder {
        Recorder {
            memory: Arc::default(),
            next: Block(1),
            written: Vec::new(),
            freed: Vec::new(),
        }
    }

    /// The nodes, none of them in memory yet.
    pub(crate) fn cold(&self) -> Nodes {
        Nodes::new(self.memory.clone())
    }
}

impl Sink for Recorder {
    fn allocate(&mut self, blocks: u8) -> Result<Block> {
        let block = self.next;
        self.next.0 += u64::from(blocks);
        Ok(block)
    }

    fn write(&mut self, pointer: &Pointer, node: Node) -> Result<()> {
        assert_eq!(node.bytes().len(), pointer.len());
        assert!(
            self.written.last().is_none_or(|last| last.block < pointer.block),
            "written out of order"
        );
        self.memory.nodes.lock().insert(pointer.block, node.bytes().clone());
        self.written.push(*pointer);
        Ok(())
    }

    fn free(&mut self, pointer: &Pointer) {
        self.freed.push(*pointer);
    }
}

/// What an operation sees that has nothing in memory but what it fetches itself.
pub(crate) struct Cold<'a> {
    pub(crate) recorder: &'a Recorder,
    pub(crate) active: &'a Layer,
    pub(crate) frozen: &'a [Arc<Layer>],
    pub(crate) root: Option<Pointer>,
}

impl Cold<'_> {
    /// Tries until nothing is missing, forgetting between attempts all but what is pinned.
    pub(crate) fn run<T>(&self, attempt: impl Fn(&View<'_>) -> Result<T, Stop>) -> Result<T> {
        let mut pinned = Pinned::new();
        loop {
            let nodes = self.recorder.cold();
            let (active, frozen, root) = (self.active, self.frozen, self.root);
            match attempt(&View {
                active,
                frozen,
                root,
                nodes: &nodes,
                pinned: &pinned,
            }) {
                Ok(value) => return Ok(value),
                Err(Stop::Miss(missed)) => pinned.fetch(&nodes, &missed)?,
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Data(missed)) => pinned.fetch_data(&nodes, &missed)?,
                Err(Stop::Room(blocks)) => unreachable!("a reader wants {blocks} blocks"),
            }
        }
    }

    pub(crate) fn get(&self, key: Key) -> Result<Option<Bytes>> {
        self.run(|view| view.get(key))
    }

    pub(crate) fn scan(&self, from: Key, to: Key) -> Result<Vec<(Key, Bytes)>> {
        self.run(|view| view.scan(from, to).collect())
    }

    pub(crate) fn last_at_or_before(&self, key: Key) -> Result<Option<(Key, Bytes)>> {
        self.run(|view| view.last_at_or_before(key))
    }
}
