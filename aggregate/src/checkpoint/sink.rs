//! Where a checkpoint's nodes go: into this epoch's node segments, adjacent ones in one write.

use baton_types::{Error, Result};

use crate::buffer::Buffer;
use crate::device::Write;
use crate::engine::Engine;
use crate::format::{BLOCK_BYTES, Block, Lsn, Pointer};
use crate::snapshot::{Dead, Fate, Line};
use crate::transaction::Run;
use crate::tree::{Node, Sink};

/// What is written at once.
const WRITE_BYTES: usize = 1 << 20;

/// The nodes of one checkpoint. What was not [kept](NodeSink::keep) is given up when it goes.
pub(super) struct NodeSink<'a> {
    engine: &'a Engine,
    /// Not written yet: where they begin, and their bytes.
    gathered: Vec<u8>,
    at: Block,
    taken: Vec<Run>,
    /// Nodes of the root before.
    freed: Vec<Run>,
    /// Those that snapshots have.
    dead: Dead,
    /// The snapshots of the fileset that is being merged, and up to which of them it is.
    line: (Line, Lsn),
    /// True while it is a fileset. The aggregate's own trees are whole or of no use.
    is_fileset: bool,
    /// Nodes before this one are of trees; those behind it of the lists of pending frees.
    noted: usize,
}

impl<'a> NodeSink<'a> {
    pub fn new(engine: &'a Engine) -> NodeSink<'a> {
        NodeSink {
            engine,
            gathered: Vec::new(),
            at: Block(0),
            taken: Vec::new(),
            freed: Vec::new(),
            dead: Dead::default(),
            line: (Line::default(), Lsn(0)),
            is_fileset: false,
            noted: 0,
        }
    }

    /// What is freed from here on is of a fileset with the snapshots `line`, before the one at `end`.
    pub fn merge_before(&mut self, line: &Line, end: Lsn) {
        self.line = (line.clone(), end);
        self.is_fileset = true;
    }

    /// What is freed from here on is of no fileset; gives what snapshots of the last one have.
    pub fn take_dead(&mut self) -> Dead {
        self.line = (Line::default(), Lsn(0));
        self.is_fileset = false;
        std::mem::take(&mut self.dead)
    }

    /// A node of the root before is in no tree or list of the one being made.
    pub fn replace(&mut self, run: Run) {
        self.freed.push(run);
        self.engine.space.lock().free_of_merge(run);
    }

    /// The nodes from here on are of lists.
    pub fn note(&mut self) {
        self.noted = self.taken.len();
    }

    /// Writes what is left.
    pub fn write_out(&mut self) -> Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let bytes = Buffer::padded(&self.gathered);
        self.gathered.clear();
        let offset = self.at.offset();
        self.engine.device.submit(&[Write { offset, bytes: &bytes }])
    }

    /// A root refers to them all; gives those of the lists.
    pub fn keep(mut self) -> Vec<Run> {
        let lists = self.taken.split_off(self.noted);
        self.taken.clear();
        self.freed.clear();
        lists
    }
}

impl Sink for NodeSink<'_> {
    fn allocate(&mut self, blocks: u8) -> Result<Block> {
        loop {
            let taken = self.engine.space.lock().take_node(blocks);
            match taken {
                Some(block) => {
                    let count = blocks.into();
                    self.taken.push(Run { block, count });
                    return Ok(block);
                }
                None => self.engine.provide_nodes()?,
            }
        }
    }

    fn write(&mut self, pointer: &Pointer, node: Node) -> Result<()> {
        let end = self.at.0 + (self.gathered.len() / BLOCK_BYTES) as u64;
        if pointer.block.0 != end || self.gathered.len() >= WRITE_BYTES {
            self.write_out()?;
            self.at = pointer.block;
        }
        self.gathered.extend_from_slice(node.bytes());
        self.engine.nodes.insert(pointer, &node);
        Ok(())
    }

    fn free(&mut self, pointer: &Pointer) {
        let (block, count) = (pointer.block, pointer.blocks.into());
        let (line, end) = &self.line;
        match line.fate(pointer.birth, *end) {
            Fate::Kept(span) => self.dead.add(span, Run { block, count }),
            Fate::Base => {}
            Fate::Free => self.replace(Run { block, count }),
        }
    }

    fn give_up(&mut self, pointer: &Pointer, changes: usize, error: Error) -> Result<()> {
        if !self.is_fileset {
            return Err(error);
        }
        // Damage is believed only by the owner: another one may have used its blocks again.
        self.engine.fence.look()?;
        let (aggregate, block) = (&self.engine.label.name, pointer.block);
        tracing::error!(%aggregate, %block, changes, %error, "changes to what is damaged are lost with it; scrub names it");
        Ok(())
    }
}

impl Drop for NodeSink<'_> {
    /// The checkpoint failed: what it wrote no root refers to, so it waits like any other free; what it freed is of
    /// trees still in use, of which the next attempt may keep more than this one did.
    fn drop(&mut self) {
        let mut space = self.engine.space.lock();
        self.freed.drain(..).for_each(|run| space.keep_after_all(run));
        for run in self.taken.drain(..) {
            space.free_of_merge(run);
        }
    }
}
