//! A tree's nodes, each compared with what its parent says of it.

use baton_types::{Error, Kind, Result};

use super::blocks::{Blocks, By};
use super::finding::{Fault, Findings};
use super::mend::Mend;
use crate::format::{Geometry, Key, Lsn, Pointer};
use crate::nodes::Nodes;
use crate::transaction::Run;
use crate::tree::{Cut, Node};

/// One tree.
pub(super) struct Tree<'a> {
    /// As people call it.
    pub name: &'a str,
    /// Its number in its nodes; and those of the trees that it went on from.
    pub numbers: &'a [u64],
    /// The lsn of the root that leads here.
    pub lsn: Lsn,
    /// What becomes of a node that cannot be read.
    pub mend: Mend,
    /// Nodes that do not verify are not told but [kept](Walk::broken): they can be cut out.
    pub is_live: bool,
}

/// A node that does not verify, of a tree that can do without.
pub(super) struct Broken {
    /// As people call it.
    pub on: String,
    /// Why.
    pub reason: String,
    /// The key at which its parent has it, and what leads to it.
    pub cut: Cut,
    /// From which key on nothing can be read, and the first one that is not below it; none if nothing comes after.
    pub from: Key,
    pub until: Option<Key>,
}

/// What a walk needs, and what it finds.
pub(super) struct Walk<'a> {
    pub nodes: &'a Nodes,
    pub geometry: &'a Geometry,
    pub findings: &'a mut Findings,
    /// Where blocks are counted; not for an older root, whose blocks may be others' since.
    pub blocks: Option<&'a mut Blocks>,
    /// Where nodes lie.
    pub found: Vec<Run>,
    /// Those that could be read.
    pub count: u64,
    /// False once a node could not be read: what is below it is not known.
    pub is_whole: bool,
    /// Nodes that can be cut out, in the order of their keys.
    pub broken: Vec<Broken>,
}

/// How often a node is read before it counts as damaged: a read may be wrong.
const READS: usize = 4;

/// What a parent says of its child.
struct Expected {
    level: Option<u8>,
    birth_max: Lsn,
    /// The first key below it, and the first of its next sibling.
    from: Option<Key>,
    until: Option<Key>,
    /// The first key that is looked for below it.
    begin: Key,
}

impl Walk<'_> {
    /// Sees all nodes from the root on.
    pub fn tree(&mut self, tree: &Tree<'_>, root: &Pointer) {
        let expected = Expected {
            level: None,
            birth_max: tree.lsn,
            from: None,
            until: None,
            begin: Key::FIRST,
        };
        self.node(tree, root, &expected);
    }

    fn node(&mut self, tree: &Tree<'_>, pointer: &Pointer, expected: &Expected) {
        let on = format!("{}, node at block {}", tree.name, pointer.block);
        if pointer.birth > expected.birth_max {
            let reason = format!("born at {}, after {} above it", pointer.birth, expected.birth_max);
            let mend = match tree.mend {
                Mend::Epoch => Mend::Epoch,
                _ => Mend::Refuse,
            };
            self.findings.mendable(Fault::Birth, &on, reason, mend);
        }
        let run = Run {
            block: pointer.block,
            count: pointer.blocks.into(),
        };
        if !self.geometry.has_blocks(run.block, run.count.into()) {
            self.broken(tree, &on, "it lies in no segment, or in two");
            return;
        }
        self.found.push(run);
        if let Some(blocks) = &mut self.blocks
            && let Err(wrong) = blocks.reach(run, pointer.birth, By::Tree)
        {
            self.findings.fault(Fault::Block, &on, wrong);
        }
        let node = match self.read(pointer) {
            Ok(node) => node,
            Err(error) if tree.is_live && error.kind == Kind::Damaged => {
                self.is_whole = false;
                self.broken.push(Broken {
                    on,
                    reason: error.reason,
                    cut: Cut {
                        key: expected.from.unwrap_or(Key::FIRST),
                        pointer: *pointer,
                    },
                    from: expected.begin,
                    until: expected.until,
                });
                return;
            }
            Err(error) => {
                let Error { reason, .. } = error;
                self.broken(tree, &on, reason);
                return;
            }
        };
        self.count += 1;
        if let Some(wrong) = contradiction(tree, &node, expected) {
            self.broken(tree, &on, wrong);
            return;
        }
        if node.level() == 0 {
            return;
        }
        for index in 0..node.len() {
            let expected = Expected {
                level: Some(node.level() - 1),
                birth_max: pointer.birth,
                from: Some(node.key(index)),
                until: (index + 1 < node.len()).then(|| node.key(index + 1)).or(expected.until),
                begin: if index == 0 { expected.begin } else { node.key(index) },
            };
            self.node(tree, &node.pointer(index), &expected);
        }
    }

    /// The node at `pointer`; `Damaged` only if it never verifies.
    fn read(&self, pointer: &Pointer) -> Result<Node> {
        let mut read = self.nodes.read(pointer);
        for _ in 1..READS {
            match &read {
                Err(error) if error.kind == Kind::Damaged => read = self.nodes.read_anew(pointer),
                _ => break,
            }
        }
        read
    }

    fn broken(&mut self, tree: &Tree<'_>, on: &str, reason: impl Into<String>) {
        self.findings.mendable(Fault::Node, on, reason, tree.mend.clone());
        self.is_whole = false;
    }
}

/// What a node says that its parent does not.
fn contradiction(tree: &Tree<'_>, node: &Node, expected: &Expected) -> Option<String> {
    let (first, last) = (node.key(0), node.key(node.len() - 1));
    if expected.level.is_some_and(|level| level != node.level()) {
        return Some(format!("its level is {}", node.level()));
    }
    if !tree.numbers.contains(&node.tree()) {
        return Some(format!("it was written for tree {}", node.tree()));
    }
    if (1..node.len()).any(|index| node.key(index - 1) >= node.key(index)) {
        return Some("its keys do not rise".to_owned());
    }
    let below = expected.from.is_some_and(|from| first < from);
    let beyond = expected.until.is_some_and(|until| last >= until);
    (below || beyond).then(|| "its keys are not those that its parent says".to_owned())
}
