//! Trees read from the device while they change, a leaf at a time.
//!
//! Each leaf is looked for anew from the root that counts at that moment, by the key at which the one before ended: so
//! checkpoints may replace the tree meanwhile. What the tree of a root that counts refers to is used for nothing else
//! before the second root after it. So what does not verify is damage just if the root was the same before it was read
//! and after; else it is looked for again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use baton_types::{Error, Kind, Result, Vnode};

use crate::aggregate::FilesetCell;
use crate::engine::Engine;
use crate::file::unit_of;
use crate::format::{BLOCK_BYTES, Extent, FilesetKind, Key, KeyKind, Lsn, Pointer};
use crate::snapshot::Line;
use crate::tree::{Layer, Node, View, check_level};

/// Blocks that are read at once: a program that reads meanwhile waits for no more.
const READ_BLOCKS: u64 = 64;

/// A tree.
#[derive(Clone)]
pub(super) enum Which {
    /// The system tree.
    System,
    /// The space tree.
    Space,
    /// One that the root of this generation names, and no later one.
    Passing(u64, Option<Pointer>),
    /// A fileset's.
    Live(Arc<FilesetCell>),
    /// A snapshot's of it.
    Snapshot(Arc<FilesetCell>, Lsn),
}

/// Where a tree begins at some moment, and what of it is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    pub root: Option<Pointer>,
    /// What was born up to here others have, and it is read there.
    floor: Option<Lsn>,
}

impl Anchor {
    fn is_others(&self, birth: Lsn) -> bool {
        self.floor.is_some_and(|floor| birth <= floor)
    }
}

/// How much of a tree is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// What it has not from its base, nor from this snapshot, which was read to its end.
    Own(Option<Lsn>),
    /// All of it.
    All,
}

/// What is at a place of a tree.
pub(super) enum Place {
    /// There is no such tree any more, or not yet.
    Gone,
    /// Nothing that is to be read here.
    Nothing,
    /// A leaf; what it leads to that was born up to the second others have.
    Leaf(Node, Option<Lsn>),
    /// A node that does not verify.
    Harmed(Pointer, Error),
}

/// A unit of a file's data.
pub(super) struct Unit {
    pub vnode: Vnode,
    /// As the file counts blocks.
    pub first: u64,
    pub pointer: Pointer,
}

impl Engine {
    /// Where a tree begins now; nothing if there is none.
    pub(super) fn anchor(&self, which: &Which, part: Part) -> Result<Option<Anchor>> {
        let whole = |root| Anchor { root, floor: None };
        let (cell, at) = match which {
            Which::System => return Ok(Some(whole(self.system.lock().root))),
            Which::Space => return Ok(Some(whole(self.space.lock().tree.root))),
            Which::Passing(generation, root) => {
                let is_there = self.generation.load(Ordering::Acquire) == *generation;
                return Ok(is_there.then(|| whole(*root)));
            }
            Which::Live(cell) => {
                let state = cell.state.lock();
                let is_there = !state.is_gone && state.header.kind != FilesetKind::Deleting;
                let floor = floor(&state.snapshots.line, Lsn(u64::MAX), part);
                let root = state.tree.root;
                return Ok(is_there.then_some(Anchor { root, floor }));
            }
            Which::Snapshot(cell, at) => (cell, *at),
        };
        self.retrying(|pinned| {
            let system = self.system.lock();
            let mut state = cell.state.lock();
            if !state.snapshots.line.keeps(at) {
                return Ok(None);
            }
            let root = state.root_at(&system.view(&self.nodes, pinned), (cell.id, at))?;
            let floor = floor(&state.snapshots.line, at, part);
            Ok(root.map(|root| Anchor { root, floor }))
        })
    }

    /// What did not verify is no damage if it is not needed any more: `None` if it is not, or verifies now.
    pub(super) fn confirm(&self, which: &Which, unit: &Unit) -> Result<Option<Error>> {
        loop {
            let Some(anchor) = self.anchor(which, Part::All)? else {
                return Ok(None);
            };
            let found = self.retrying(|pinned| {
                let view = View {
                    active: Layer::EMPTY,
                    frozen: &[],
                    root: anchor.root,
                    nodes: &self.nodes,
                    pinned,
                };
                unit_of(&view, unit.vnode, unit.first)
            });
            let is_it =
                |pointer: Pointer| (pointer.block, pointer.checksum) == (unit.pointer.block, unit.pointer.checksum);
            let found = match found {
                Ok(found) => found.is_some_and(|(pointer, _)| is_it(pointer)),
                // A node that is damaged, or is another one's by now.
                Err(error) if error.kind == Kind::Damaged => false,
                Err(error) => return Err(error),
            };
            let harm = self.nodes.harmed(&[unit.pointer]).pop();
            self.fence.look()?;
            if self.anchor(which, Part::All)? == Some(anchor) {
                return Ok(harm.filter(|_| found).map(|(_, error)| error));
            }
        }
    }
}

/// What the tree as it was just before `end` has from others.
fn floor(line: &Line, end: Lsn, part: Part) -> Option<Lsn> {
    let Part::Own(read) = part else { return None };
    let began = line.began(end);
    // Born before the branch began: its base has it.
    let base = (began > Lsn(0)).then(|| Lsn(began.0 - 1));
    base.max(read.filter(|read| *read >= began))
}

/// A way through a tree.
#[derive(Default)]
pub(super) struct Walk {
    /// The nodes on the way to the last leaf, as they lie on the device.
    path: Vec<(Pointer, Node)>,
    /// Read so far.
    pub bytes: u64,
}

impl Walk {
    /// What is at `from`, and where to go on; `None` at the end.
    pub fn next(&mut self, engine: &Engine, which: &Which, (part, from): (Part, Key)) -> Result<(Place, Option<Key>)> {
        loop {
            let Some(anchor) = engine.anchor(which, part)? else {
                return Ok((Place::Gone, None));
            };
            let (place, until) = self.find(engine, &anchor, from)?;
            if let Place::Harmed(..) = place {
                engine.fence.look()?;
                if engine.anchor(which, part)? != Some(anchor) {
                    continue;
                }
            }
            return Ok((place, until));
        }
    }

    fn find(&mut self, engine: &Engine, anchor: &Anchor, from: Key) -> Result<(Place, Option<Key>)> {
        let (mut until, mut above) = (None, None::<Node>);
        let Some(mut pointer) = anchor.root else {
            return Ok((Place::Nothing, None));
        };
        for depth in 0.. {
            if anchor.is_others(pointer.birth) {
                return Ok((Place::Nothing, until));
            }
            let read = self.node(engine, depth, &pointer);
            let read = read.and_then(|node| match &above {
                Some(above) => check_level(above, &node, &pointer).map(|()| node),
                None => Ok(node),
            });
            let node = match read {
                Ok(node) => node,
                Err(error) => return Ok((Place::Harmed(pointer, error), until)),
            };
            if node.level() == 0 {
                return Ok((Place::Leaf(node, anchor.floor), until));
            }
            let index = node.child(from);
            if index + 1 < node.len() {
                until = Some(node.key(index + 1));
            }
            pointer = node.pointer(index);
            above = Some(node);
        }
        unreachable!("levels go down")
    }

    fn node(&mut self, engine: &Engine, depth: usize, pointer: &Pointer) -> Result<Node> {
        if let Some((known, node)) = self.path.get(depth)
            && known == pointer
        {
            return Ok(node.clone());
        }
        self.path.truncate(depth);
        self.bytes += pointer.len() as u64;
        // A read may be wrong once.
        let read = || engine.nodes.read_anew(pointer);
        let node = read().or_else(|_| read())?;
        self.path.push((*pointer, node.clone()));
        Ok(node)
    }
}

/// The data that a leaf leads to from a key on, in the order of the device, in pieces that lie side by side there; and
/// of what is no extent though it says so, the key.
pub(super) fn data_of(leaf: &Node, from: Key, floor: Option<Lsn>) -> (Vec<Vec<Unit>>, Vec<(Key, Error)>) {
    let (mut units, mut wrong) = (Vec::new(), Vec::new());
    for index in 0..leaf.len() {
        let key = leaf.key(index);
        if key < from || key.kind != KeyKind::Extent {
            continue;
        }
        let decoded = Extent::decode(leaf.value_ref(index)).and_then(|extent| Ok((Vnode::new(key.object)?, extent)));
        match decoded {
            Ok((_, extent)) if floor.is_some_and(|floor| extent.birth <= floor) => {}
            Ok((vnode, extent)) => {
                let pointers = crate::nodes::Units::from(&extent);
                units.extend(pointers.pointers().map(|pointer| Unit {
                    vnode,
                    first: key.sub.saturating_add(pointer.block.0 - extent.block.0),
                    pointer,
                }));
            }
            Err(error) => wrong.push((key, error)),
        }
    }
    units.sort_by_key(|unit| unit.pointer.block);
    let end = |unit: &Unit| unit.pointer.block.0 + u64::from(unit.pointer.blocks);
    let mut runs: Vec<Vec<Unit>> = Vec::new();
    for unit in units {
        match runs.last_mut() {
            Some(run)
                if run.last().is_some_and(|last| end(last) == unit.pointer.block.0)
                    && end(&unit) - run[0].pointer.block.0 <= READ_BLOCKS =>
            {
                run.push(unit);
            }
            _ => runs.push(vec![unit]),
        }
    }
    (runs, wrong)
}

impl Unit {
    /// Which bytes of its file it has.
    pub fn range(&self) -> std::ops::Range<u64> {
        let start = self.first.saturating_mul(BLOCK_BYTES as u64);
        start..start.saturating_add(self.pointer.len() as u64)
    }
}
