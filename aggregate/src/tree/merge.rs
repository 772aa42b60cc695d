//! `merge`: frozen layers and a tree become a new tree.
//!
//! One walk in key order. Only nodes that a change falls into are read, each once, up to sixteen at a time; a
//! child without a change goes into the new tree by its pointer. A node that turns out as it was (an item was
//! made and deleted within the layers) stays too, and with it the path to it if nothing else changes there.
//!
//! A node that is damaged is given up, if the sink says so: its place in the tree says that it is
//! [lost](Pointer::LOST), and changes to what was below are lost with it. Else one bad block would end all checkpoints.
//! Only a repair that was told to [cuts](Cut) it out: then the new tree has nothing of what was below, and is whole.

use std::collections::VecDeque;

use baton_types::{Error, Kind, Result};

use crate::format::{Key, Pointer};
use crate::nodes::Nodes;
use crate::tree::changes::{Changes, Order};
use crate::tree::node::Node;
use crate::tree::view::check_level;
use crate::tree::writer::Writer;
use crate::tree::{Layer, READ_AHEAD, Sink, TreeId};

/// Merges `layers`, oldest first, into the tree at `root`; gives the new root, `None` when no item is left.
///
/// The old tree stays readable. Every node of it that the new one lacks is told to the sink, once.
///
/// # Errors
/// What the device and the sink say; `Damaged`. What was written until then belongs to no tree.
///
/// # Panics
/// If a layer is younger than `id` says: its births would be too small.
pub fn merge(
    root: Option<Pointer>,
    layers: &[&Layer],
    id: TreeId,
    nodes: &Nodes,
    sink: &mut dyn Sink,
) -> Result<Option<Pointer>> {
    merge_without(root, layers, &[], id, nodes, sink)
}

/// A node that is left out of a tree, with all below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Under which key its parent has it; [`Key::FIRST`] for the root.
    pub key: Key,
    /// What leads to it.
    pub pointer: Pointer,
}

/// The same, without the nodes that `cuts` name, in the order of their keys, and all below them. They need not verify, and are
/// told to the sink as replaced; what is below them is not. What the layers have there is in the new tree. One that the
/// tree has not got is passed over.
///
/// # Errors
/// As [`merge`].
///
/// # Panics
/// As [`merge`].
pub fn merge_without(
    root: Option<Pointer>,
    layers: &[&Layer],
    cuts: &[Cut],
    id: TreeId,
    nodes: &Nodes,
    sink: &mut dyn Sink,
) -> Result<Option<Pointer>> {
    assert!(
        layers.iter().all(|layer| layer.newest() <= id.birth),
        "a layer is younger than its tree is to be"
    );
    let layers: Vec<&Layer> = layers.iter().rev().copied().filter(|layer| !layer.is_empty()).collect();
    let changes = Changes::new(layers.iter().copied(), (Key::FIRST, Key::LAST), Order::Rising);
    let mut merge = Merge {
        layers,
        changes,
        cuts,
        nodes,
        writer: Writer::new(id, sink),
        path: Vec::new(),
    };
    match root {
        None => merge.put_until(None)?,
        Some(pointer) => {
            if merge.next().is_none() {
                return Ok(root);
            }
            if merge.is_cut(&pointer) {
                merge.writer.free(&pointer);
                merge.put_until(None)?;
                return merge.writer.finish();
            }
            let node = match merge.believed(nodes.read(&pointer), &pointer) {
                Err(error) if error.kind == Kind::Damaged => {
                    merge.let_go(&pointer, None, error)?;
                    return Ok(Some(pointer.lost()));
                }
                read => read?,
            };
            if merge.visit(pointer, node, None)? == Outcome::Kept {
                return Ok(root);
            }
        }
    }
    merge.writer.finish()
}

/// How often a node is read before it counts as damaged.
const READS: usize = 4;

struct Merge<'a> {
    /// Newest first.
    layers: Vec<&'a Layer>,
    changes: Changes<'a>,
    /// Nodes that are still to be cut out.
    cuts: &'a [Cut],
    nodes: &'a Nodes,
    writer: Writer<'a>,
    /// The interior nodes above the one that is visited.
    path: Vec<Frame>,
}

/// An interior node under way.
struct Frame {
    pointer: Pointer,
    node: Node,
    /// The first key after it, if a neighbour or an uncle says one.
    end: Option<Key>,
    /// Children before this one are done; if the node is replaced, they are with the writer.
    done: usize,
    is_replaced: bool,
    /// Children that a change falls into, read before their turn.
    ahead: VecDeque<(usize, Node)>,
}

impl Frame {
    /// The first key after the child at `index`.
    fn end_of(&self, index: usize) -> Option<Key> {
        if index + 1 < self.node.len() {
            Some(self.node.key(index + 1))
        } else {
            self.end
        }
    }
}

/// What became of an old node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Nothing in it changed: its pointer stays.
    Kept,
    /// What came of it is with the writer.
    Replaced,
}

/// Whether `key` comes before `end`; `None` is after every key.
fn is_before(key: Key, end: Option<Key>) -> bool {
    end.is_none_or(|end| key < end)
}

impl Merge<'_> {
    /// Merges what falls into the node at `pointer`, whose keys end before `end`.
    fn visit(&mut self, pointer: Pointer, node: Node, end: Option<Key>) -> Result<Outcome> {
        if node.level() == 0 {
            return self.visit_leaf(&pointer, &node, end);
        }
        let level = usize::from(node.level());
        let ahead = VecDeque::new();
        self.path.push(Frame {
            pointer,
            node,
            end,
            done: 0,
            is_replaced: false,
            ahead,
        });
        while let Some(key) = self.next().filter(|&key| is_before(key, end)) {
            let frame = self.frame();
            let index = frame.node.child(key);
            self.keep_until(index)?;
            let frame = self.frame();
            let (pointer, after) = (frame.node.pointer(index), frame.end_of(index));
            if self.is_cut(&pointer) {
                self.cut(index, &pointer, after)?;
                continue;
            }
            let (pointer, child) = self.child(index);
            let frame = self.frame();
            let (begin, end) = (frame.node.key(index), frame.end_of(index));
            let child = child.and_then(|child| {
                check_level(&frame.node, &child, &pointer)?;
                check_range(&child, &pointer, begin, end).map(|()| child)
            });
            let child = match child {
                Err(error) if error.kind == Kind::Damaged => {
                    self.leave(index, (pointer, end), error)?;
                    continue;
                }
                child => child?,
            };
            if self.visit(pointer, child, end)? == Outcome::Replaced {
                self.frame().done = index + 1;
            }
        }
        let count = self.frame().node.len();
        self.keep_until(count)?;
        match self.path.pop() {
            Some(Frame { is_replaced: true, .. }) => self.writer.close(level).map(|()| Outcome::Replaced),
            Some(_) | None => Ok(Outcome::Kept),
        }
    }

    fn visit_leaf(&mut self, pointer: &Pointer, node: &Node, end: Option<Key>) -> Result<Outcome> {
        self.pass_cuts(end);
        if !self.is_changed(node, end) {
            while self.changes.peek().is_some_and(|(key, _)| is_before(key, end)) {
                self.changes.next();
            }
            return Ok(Outcome::Kept);
        }
        self.replace_path()?;
        self.writer.free(pointer);
        for index in 0..node.len() {
            let key = node.key(index);
            self.put_until(Some(key))?;
            if self.changes.peek().is_none_or(|(change, _)| change != key) {
                self.writer.push(0, node.raw_key(index), node.value_ref(index))?;
            }
        }
        self.put_until(end)?;
        self.writer.close(0)?;
        Ok(Outcome::Replaced)
    }

    /// Where something is to be done next.
    fn next(&self) -> Option<Key> {
        let change = self.changes.peek().map(|(key, _)| key);
        let cut = self.cuts.first().map(|cut| cut.key);
        change.into_iter().chain(cut).min()
    }

    /// True if the node at `pointer` is the next one to be cut out, whether it was given up or not.
    fn is_cut(&self, pointer: &Pointer) -> bool {
        self.cuts
            .first()
            .is_some_and(|cut| cut.pointer.lost() == pointer.lost())
    }

    /// Leaves the child at `index` of the innermost node out, whose keys end before `end`.
    fn cut(&mut self, index: usize, pointer: &Pointer, end: Option<Key>) -> Result<()> {
        self.replace_path()?;
        self.writer.free(pointer);
        self.pass_cuts(end);
        if self.changes.peek().is_some_and(|(key, _)| is_before(key, end)) {
            self.put_until(end)?;
            for level in 0..usize::from(self.frame().node.level()) {
                self.writer.close(level)?;
            }
        }
        self.frame().done = index + 1;
        Ok(())
    }

    /// What was to be cut out before `end` and was not met is not there.
    fn pass_cuts(&mut self, end: Option<Key>) {
        let passed = self.cuts.iter().take_while(|cut| is_before(cut.key, end)).count();
        self.cuts = &self.cuts[passed..];
    }

    /// Hands the changes before `end` to the writer.
    fn put_until(&mut self, end: Option<Key>) -> Result<()> {
        while let Some((key, value)) = self.changes.peek().filter(|&(key, _)| is_before(key, end)) {
            self.changes.next();
            if let Some(value) = value {
                self.writer.push(0, key.into(), value)?;
            }
        }
        Ok(())
    }

    /// Whether a change before `end` makes a leaf another: a put does, and the deletion of what it holds.
    fn is_changed(&self, node: &Node, end: Option<Key>) -> bool {
        let mut changes = self.changes.clone().take_while(|&(key, _)| is_before(key, end));
        changes.any(|(key, value)| value.is_some() || node.search(key).is_ok())
    }

    /// Makes sure that every node above the one visited is replaced: what is done of each goes to the writer.
    fn replace_path(&mut self) -> Result<()> {
        for frame in self.path.iter_mut().filter(|frame| !frame.is_replaced) {
            frame.is_replaced = true;
            self.writer.free(&frame.pointer);
            keep_children(&mut self.writer, &frame.node, 0..frame.done)?;
        }
        Ok(())
    }

    /// Children of the innermost node before `index` stay as they are, from the last one done on.
    fn keep_until(&mut self, index: usize) -> Result<()> {
        let Some(frame) = self.path.last_mut() else {
            return Ok(());
        };
        if frame.is_replaced {
            keep_children(&mut self.writer, &frame.node, frame.done..index)?;
        }
        frame.done = frame.done.max(index);
        Ok(())
    }

    /// The damaged child at `index` of the innermost node stays where it is, as one that is given up.
    fn leave(&mut self, index: usize, (pointer, end): (Pointer, Option<Key>), error: Error) -> Result<()> {
        self.let_go(&pointer, end, error)?;
        if !pointer.is_lost() {
            self.replace_path()?;
            if let Some(frame) = self.path.last_mut() {
                let level = usize::from(frame.node.level());
                self.writer.keep(level, frame.node.raw_key(index), &pointer.lost())?;
                frame.done = index + 1;
            }
        }
        Ok(())
    }

    /// Leaves out the changes before `end`, if that is allowed.
    fn let_go(&mut self, pointer: &Pointer, end: Option<Key>, error: Error) -> Result<()> {
        let mut count = 0;
        self.pass_cuts(end);
        while self.changes.peek().is_some_and(|(key, _)| is_before(key, end)) {
            self.changes.next();
            count += 1;
        }
        self.writer.give_up(pointer, count, error)
    }

    /// A node that was read, or is read once more: a read may be wrong.
    fn believed(&self, read: Result<Node>, pointer: &Pointer) -> Result<Node> {
        match read {
            Err(error) if error.kind == Kind::Damaged => {
                (1..READS).find_map(|_| self.nodes.read_anew(pointer).ok()).ok_or(error)
            }
            read => read,
        }
    }

    /// The child at `index` of the innermost node: read with those after it that a change falls into.
    fn child(&mut self, index: usize) -> (Pointer, Result<Node>) {
        let pointer = self.frame().node.pointer(index);
        if let Some((_, node)) = self.frame().ahead.pop_front().filter(|(at, _)| *at == index) {
            return (pointer, Ok(node));
        }
        let indices = self.touched(index);
        let frame = self.frame();
        let pointers: Vec<Pointer> = indices.iter().map(|&index| frame.node.pointer(index)).collect();
        let mut read = self.nodes.read_all(&pointers).into_iter().zip(indices);
        let first = read.next().map(|(first, _)| self.believed(first, &pointer));
        // Those after one that cannot be read are read in their turn.
        self.frame().ahead = read.map_while(|(node, index)| Some((index, node.ok()?))).collect();
        (pointer, first.unwrap_or_else(|| self.nodes.read(&pointer)))
    }

    /// The child at `index` of the innermost node, and the next ones that a change falls into.
    fn touched(&mut self, mut index: usize) -> Vec<usize> {
        let mut touched = vec![index];
        while touched.len() < READ_AHEAD {
            let frame = self.frame();
            let (Some(after), end) = (frame.end_of(index), frame.end) else {
                break;
            };
            let layers = self.layers.iter();
            let next = layers
                .filter_map(|layer| layer.range(after, Key::LAST).next())
                .map(|(&key, _)| key)
                .min();
            let Some(key) = next.filter(|&key| is_before(key, end)) else {
                break;
            };
            index = self.frame().node.child(key);
            touched.push(index);
        }
        touched
    }

    fn frame(&mut self) -> &mut Frame {
        self.path.last_mut().expect("a child is visited below its parent")
    }
}

/// Refuses a child whose keys are not those that its parent says: merging it would lose or hide items.
fn check_range(child: &Node, pointer: &Pointer, begin: Key, end: Option<Key>) -> Result<()> {
    if child.key(0) == begin && is_before(child.key(child.len() - 1), end) {
        return Ok(());
    }
    let on = format!("node at block {}", pointer.block);
    Err(Error::new(Kind::Damaged, on)
        .op("merge")
        .because("its keys are not those that its parent says"))
}

fn keep_children(writer: &mut Writer<'_>, node: &Node, children: std::ops::Range<usize>) -> Result<()> {
    for index in children {
        writer.keep(usize::from(node.level()), node.raw_key(index), &node.pointer(index))?;
    }
    Ok(())
}
