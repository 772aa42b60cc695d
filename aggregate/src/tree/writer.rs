//! The writer: items in key order become nodes, level by level, from the leaves up.
//!
//! What comes out of one old node (or, without one, of the whole input) is a *unit*: it is divided evenly, and
//! so boundaries stay where they were except where a node overflowed. The last node of each level is *held*
//! back until it is known what follows: a neighbour that is written too joins it if either is under a third full.
//!
//! ```text
//! level 1                    | … entries of nodes written | entry, entry …        ← push by a written node, or keep
//! level 0   written nodes …  | held node | items of the unit under way …          ← push by the merge
//! ```
//! A unit of a level above may end while its last entry is still to come from a held node below. That end is
//! then noted with the held node (`closes`) and happens when its entry has moved up.

use baton_types::{Error, Kind, Result};

use crate::format::{BLOCK_BYTES, Checksum, Pointer, VALUE_BYTES_MAX};
use crate::tree::node::Node;
use crate::tree::raw::RawKey;
use crate::tree::run::Run;
use crate::tree::{Sink, TreeId};

/// A unit heavier than this many nodes is written from its front while it still grows. Keys cut short can make
/// items 2.6 times lighter (21 bytes before the value become 8), so this is three nodes at the least.
const WINDOW_NODES: usize = 8;

/// Makes nodes and hands them to a sink.
pub(crate) struct Writer<'a> {
    id: TreeId,
    capacity: usize,
    sink: &'a mut dyn Sink,
    levels: Vec<Level>,
}

#[derive(Default)]
struct Level {
    /// The held node's items, then those of the unit under way.
    run: Run,
    /// How many of them are the held node's.
    held: usize,
    /// How many levels above end a unit with the held node's entry.
    closes: usize,
    last: Option<RawKey>,
}

impl Level {
    fn is_open(&self) -> bool {
        self.run.len() > self.held
    }
}

impl<'a> Writer<'a> {
    pub(crate) fn new(id: TreeId, sink: &'a mut dyn Sink) -> Writer<'a> {
        Writer {
            id,
            capacity: Node::capacity(id.node_bytes),
            sink,
            levels: Vec::new(),
        }
    }

    /// Takes the next item, or at a level above 0 the next child.
    ///
    /// # Errors
    /// What the sink says; `Damaged` if `key` does not come after the one before: then old nodes overlap.
    pub(crate) fn push(&mut self, level: usize, key: RawKey, value: &[u8]) -> Result<()> {
        assert!(
            value.len() <= VALUE_BYTES_MAX,
            "an item of {} bytes was let in",
            value.len()
        );
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Level::default);
        }
        let at = &mut self.levels[level];
        if at.last.is_some_and(|last| last >= key) {
            let reason = format!("nodes of level {level} overlap: {key:x?} is not after the key before it");
            return Err(Error::new(Kind::Damaged, format!("tree {}", self.id.tree))
                .op("merge")
                .because(reason));
        }
        at.last = Some(key);
        at.run.push(key, value);
        if at.run.weight(at.held..at.run.len()) > WINDOW_NODES * self.capacity {
            self.write_window(level)?;
        }
        Ok(())
    }

    /// Takes a child that stays as it is: what is held below is written first, nothing there can join it.
    pub(crate) fn keep(&mut self, level: usize, key: RawKey, pointer: &Pointer) -> Result<()> {
        for below in 0..level {
            self.end(below, 0)?;
            self.write_held(below)?;
        }
        self.push(level, key, &pointer.encode())
    }

    /// Ends the unit of an old node of `level`: all that came of it was pushed, or is held below.
    pub(crate) fn close(&mut self, level: usize) -> Result<()> {
        match self.levels.iter().take(level).position(|below| below.held > 0) {
            Some(below) => {
                self.levels[below].closes = level - below;
                Ok(())
            }
            None => self.end(level, 0),
        }
    }

    /// Takes a node that is replaced.
    pub(crate) fn free(&mut self, pointer: &Pointer) {
        self.sink.free(pointer);
    }

    /// Asks whether a damaged node may be left out.
    pub(crate) fn give_up(&mut self, pointer: &Pointer, changes: usize, error: Error) -> Result<()> {
        self.sink.give_up(pointer, changes, error)
    }

    /// Writes all that is left and gives the root.
    pub(crate) fn finish(mut self) -> Result<Option<Pointer>> {
        let mut level = 0;
        while level < self.levels.len() {
            self.end(level, 0)?;
            if self.levels[level + 1..].iter().all(|above| above.run.len() == 0) {
                return self.root(level);
            }
            self.write_held(level)?;
            level += 1;
        }
        Ok(None)
    }

    /// The root, when nothing lies above `level`: the node held there, or its only child.
    fn root(&mut self, level: usize) -> Result<Option<Pointer>> {
        let at = &self.levels[level];
        match (level, at.held) {
            (_, 0) => Ok(None),
            (1.., 1) => Pointer::decode(at.run.value(0)).map(Some),
            (_, count) => self.write(level, count).map(|(_, pointer)| Some(pointer)),
        }
    }

    /// Ends a unit at `level`, and with its last node units of `closes` levels above.
    fn end(&mut self, level: usize, closes: usize) -> Result<()> {
        let Some(at) = self.levels.get_mut(level) else {
            return Ok(());
        };
        if !at.is_open() {
            if at.held > 0 {
                at.closes = at.closes.max(closes);
            } else if closes > 0 {
                self.end(level + 1, closes - 1)?;
            }
            return Ok(());
        }
        self.settle(level)?;
        let counts = self.levels[level].run.divide(self.capacity);
        let Some((&last, full)) = counts.split_last() else {
            return Ok(());
        };
        for &count in full {
            self.write_up(level, count)?;
        }
        let at = &mut self.levels[level];
        at.held = last;
        at.closes = at.closes.max(closes);
        Ok(())
    }

    /// Writes the held node, unless it and what follows are to be divided anew together.
    fn settle(&mut self, level: usize) -> Result<()> {
        let at = &self.levels[level];
        let small = |range| at.run.node_len(range) < self.capacity / 3;
        if at.held > 0 && !small(0..at.held) && !small(at.held..at.run.len()) {
            return self.write_held(level);
        }
        self.levels[level].held = 0;
        Ok(())
    }

    /// Writes full nodes from the front of a long unit, and leaves more than one for an even end.
    fn write_window(&mut self, level: usize) -> Result<()> {
        self.settle(level)?;
        loop {
            let run = &self.levels[level].run;
            let count = run.fill(0, self.capacity);
            if count == run.len() || count + run.fill(count, self.capacity) == run.len() {
                return Ok(());
            }
            self.write_up(level, count)?;
        }
    }

    fn write_held(&mut self, level: usize) -> Result<()> {
        match self.levels.get(level).map_or(0, |at| at.held) {
            0 => Ok(()),
            held => self.write_up(level, held),
        }
    }

    /// Writes the first `count` items as a node, and moves its entry up.
    fn write_up(&mut self, level: usize, count: usize) -> Result<()> {
        let (key, pointer) = self.write(level, count)?;
        self.push(level + 1, key, &pointer.encode())?;
        match std::mem::take(&mut self.levels[level].closes) {
            0 => Ok(()),
            closes => self.end(level + 1, closes - 1),
        }
    }

    /// Writes the first `count` items of `level` as a node.
    fn write(&mut self, level: usize, count: usize) -> Result<(RawKey, Pointer)> {
        let at = &mut self.levels[level];
        let key = at.run.key(0);
        let node = Node::encode(&self.id, level as u8, &at.run, count);
        at.run.remove_first(count);
        at.held = at.held.saturating_sub(count);
        let blocks = (node.bytes().len() / BLOCK_BYTES) as u8;
        let pointer = Pointer {
            block: self.sink.allocate(blocks)?,
            blocks,
            flags: 0,
            birth: self.id.birth,
            checksum: Checksum::of(node.bytes()),
        };
        self.sink.write(&pointer, node)?;
        Ok((key, pointer))
    }
}
