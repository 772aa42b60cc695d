//! Merges against a map: the new tree, the old one, and what was freed between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use baton_types::{Epoch, Kind};
use bytes::Bytes;
use proptest::prelude::*;

use crate::format::{Block, Checksum, Key, KeyKind, Lsn, Pointer, VALUE_BYTES_MAX};
use crate::nodes::Nodes;
use crate::tree::double::{Cold, Recorder};
use crate::tree::run::Run;
use crate::tree::{Cut, Difference, Layer, Node, Sink, TreeId, build, diff, merge, merge_without};

type Model = BTreeMap<Key, Bytes>;

/// A key's number, and its new value's length, or that it is deleted.
type Change = (u16, Option<u16>);

const NODE_BYTES: [u32; 4] = [4096, 8192, 16384, 65536];

/// How numbers become keys: what keys of a node have in common decides how it is laid out.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Few vnodes with several items each.
    Files,
    /// One directory, names all over.
    Directory,
    /// One file, extents in a row.
    Extents,
    /// Nothing in common.
    Scattered,
}

impl Shape {
    fn key(self, number: u16) -> Key {
        let n = u64::from(number);
        match self {
            Shape::Files => {
                let kind = [KeyKind::Attributes, KeyKind::Extent, KeyKind::Inline, KeyKind::Xattr][number as usize % 4];
                Key::new(n / 4 % 300, kind, n / 1200)
            }
            Shape::Directory => Key::new(7, KeyKind::Name, n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1),
            Shape::Extents => Key::new(1 << 39, KeyKind::Extent, n),
            Shape::Scattered => {
                let hash = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                Key::new(
                    hash,
                    KeyKind::ALL[number as usize % KeyKind::ALL.len()],
                    hash.rotate_left(20),
                )
            }
        }
    }
}

fn shapes() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Files),
        Just(Shape::Directory),
        Just(Shape::Extents),
        Just(Shape::Scattered)
    ]
}

fn lengths() -> impl Strategy<Value = u16> {
    let max = VALUE_BYTES_MAX as u16;
    prop_oneof![3 => 0..64u16, 2 => 100..130u16, 2 => 0..=max, 1 => Just(max), 1 => Just(0)]
}

/// Changes of one layer: here and there, or a stretch of keys put or deleted.
fn layers() -> impl Strategy<Value = Vec<Change>> {
    let scattered = prop::collection::vec((0..1500u16, prop::option::weighted(0.7, lengths())), 0..120);
    let puts = (0..1500u16, 0..400u16, lengths()).prop_map(|(from, count, len)| {
        (from..from + count)
            .map(|number| (number, Some((len + number % 7).min(VALUE_BYTES_MAX as u16))))
            .collect()
    });
    let deletes = (0..1500u16, 0..1500u16).prop_map(|(from, count)| (from..from + count).map(|n| (n, None)).collect());
    prop_oneof![3 => scattered, 3 => puts, 1 => deletes]
}

fn value(lsn: Lsn, len: u16) -> Bytes {
    (0..len).map(|index| (index as u8) ^ (lsn.0 as u8)).collect()
}

fn id(birth: Lsn, node_bytes: u32) -> TreeId {
    TreeId {
        tree: 5,
        epoch: Epoch(3),
        generation: birth.0,
        birth,
        node_bytes,
    }
}

/// A layer of `changes`, which `model` follows.
fn layer(changes: &[Change], shape: Shape, lsn: &mut Lsn, model: &mut Model) -> Layer {
    let mut layer = Layer::new();
    for &(number, len) in changes {
        *lsn = lsn.next();
        let (key, value) = (shape.key(number), len.map(|len| value(*lsn, len)));
        match value.clone() {
            Some(value) => model.insert(key, value),
            None => model.remove(&key),
        };
        layer.insert(key, value, *lsn);
    }
    layer
}

/// Every node of a tree by level from the root, each checked against its parent, and the tree's items.
#[derive(Default)]
struct Walked {
    levels: BTreeMap<u8, Vec<(Pointer, Node)>>,
    items: Model,
}

impl Walked {
    fn new(root: Option<Pointer>, nodes: &Nodes) -> Walked {
        let mut walked = Walked::default();
        if let Some(root) = root {
            let node = nodes.read(&root).unwrap();
            walked.add(root, node, nodes);
        }
        walked
    }

    fn add(&mut self, pointer: Pointer, node: Node, nodes: &Nodes) {
        for index in 0..node.len() {
            if node.level() == 0 {
                let before = self.items.last_key_value().map(|(key, _)| *key);
                assert!(before < Some(node.key(index)), "items out of order");
                self.items.insert(node.key(index), node.value(index));
                continue;
            }
            let below = node.pointer(index);
            let child = nodes.read(&below).unwrap();
            assert_eq!((child.level() + 1, child.key(0)), (node.level(), node.key(index)));
            assert!(child.birth() <= node.birth(), "a node is younger than its parent");
            self.add(below, child, nodes);
        }
        self.levels.entry(node.level()).or_default().push((pointer, node));
    }

    fn pointers(&self) -> BTreeSet<(u64, u64)> {
        self.levels
            .values()
            .flatten()
            .map(|(pointer, _)| (pointer.block.0, pointer.birth.0))
            .collect()
    }
}

fn places(pointers: &[Pointer]) -> BTreeSet<(u64, u64)> {
    let set: BTreeSet<_> = pointers
        .iter()
        .map(|pointer| (pointer.block.0, pointer.birth.0))
        .collect();
    assert_eq!(set.len(), pointers.len(), "a node twice");
    set
}

/// Of two neighbours that one merge wrote, none is under a third full if one node holds them both; under a quarter
/// where long items, or keys that have much in common, stood in the way of even parts.
fn check_fill(walked: &Walked, written: &[Pointer], id: &TreeId) {
    let capacity = Node::capacity(id.node_bytes);
    let least = capacity / 4;
    for level in walked.levels.values() {
        for pair in level.windows(2) {
            let [(left_pointer, left), (right_pointer, right)] = pair else {
                unreachable!()
            };
            let are_new = written.contains(left_pointer) && written.contains(right_pointer);
            if !are_new || left.used().min(right.used()) >= least {
                continue;
            }
            let mut run = Run::default();
            for node in [left, right] {
                (0..node.len()).for_each(|index| run.push(node.raw_key(index), node.value_ref(index)));
            }
            assert!(
                run.node_len(0..run.len()) > capacity,
                "{left:?} and {right:?} were not joined"
            );
        }
    }
}

/// A tree that is merged into again and again, with what it should hold.
struct Tree {
    recorder: Recorder,
    root: Option<Pointer>,
    model: Model,
    lsn: Lsn,
}

impl Tree {
    fn new() -> Tree {
        Tree {
            recorder: Recorder::new(),
            root: None,
            model: Model::new(),
            lsn: Lsn(0),
        }
    }

    fn layer(&mut self, changes: &[Change], shape: Shape) -> Layer {
        layer(changes, shape, &mut self.lsn, &mut self.model)
    }

    /// Merges, and checks everything that must hold of old and new tree.
    fn merge(&mut self, layers: &[&Layer], node_bytes: u32) {
        let old = Walked::new(self.root, &self.recorder.cold());
        (self.recorder.written, self.recorder.freed) = (Vec::new(), Vec::new());
        self.recorder.memory.take_reads();

        let (id, nodes) = (id(self.lsn, node_bytes), self.recorder.cold());
        self.root = merge(self.root, layers, id, &nodes, &mut self.recorder).unwrap();

        let reads = self.recorder.memory.take_reads();
        assert!(reads.values().all(|&count| count == 1), "a node was read twice");
        let new = Walked::new(self.root, &self.recorder.cold());
        let (written, freed) = (places(&self.recorder.written), places(&self.recorder.freed));
        assert_eq!(&new.pointers() - &old.pointers(), written, "written is what is new");
        assert_eq!(&old.pointers() - &new.pointers(), freed, "freed is what is old");
        assert!(
            self.recorder
                .freed
                .iter()
                .all(|pointer| reads.contains_key(&pointer.block))
        );
        assert!(self.recorder.written.iter().all(|pointer| pointer.birth == self.lsn));
        assert_eq!(new.items, self.model);
        assert_eq!(self.root.is_none(), self.model.is_empty());
        check_fill(&new, &self.recorder.written, &id);
    }

    fn cold<'a>(&'a self, active: &'a Layer, frozen: &'a [Arc<Layer>]) -> Cold<'a> {
        Cold {
            recorder: &self.recorder,
            active,
            frozen,
            root: self.root,
        }
    }
}

/// The difference of two maps, item by item.
fn compared(before: &Model, after: &Model) -> Vec<Difference> {
    let keys: BTreeSet<Key> = before.keys().chain(after.keys()).copied().collect();
    let all = keys.into_iter().map(|key| Difference {
        key,
        old: before.get(&key).cloned(),
        new: after.get(&key).cloned(),
    });
    all.filter(|item| item.old != item.new).collect()
}

proptest! {
    #[test]
    fn prop_merges_equal_a_map_and_old_roots_stay(
        shape in shapes(),
        merges in prop::collection::vec((prop::collection::vec(layers(), 1..4), 0..4usize), 1..8),
        same_size in any::<prop::sample::Index>(),
    ) {
        let mut tree = Tree::new();
        let mut history = Vec::new();
        for (changes, size) in &merges {
            let layers: Vec<Layer> = changes.iter().map(|changes| tree.layer(changes, shape)).collect();
            // A label fixes the size; but whatever size the nodes of old trees have, a merge copes.
            let size = if same_size.index(2) == 0 { same_size.index(4) } else { *size };
            tree.merge(&layers.iter().collect::<Vec<_>>(), NODE_BYTES[size]);
            history.push((tree.root, tree.model.clone()));
        }
        for (root, model) in history {
            prop_assert_eq!(Walked::new(root, &tree.recorder.cold()).items, model);
        }
    }

    #[test]
    fn prop_difference_equals_a_comparison_and_reads_nothing_shared(
        shape in shapes(),
        merges in prop::collection::vec(prop::collection::vec(layers(), 1..3), 1..7),
        is_deep in any::<bool>(),
    ) {
        let mut tree = Tree::new();
        let mut history = vec![(None, Model::new())];
        for changes in merges {
            let short = |(number, len): Change| (number, len.map(|len| if is_deep { len % 100 } else { len }));
            let layers: Vec<Vec<Change>> =
                changes.into_iter().map(|changes| changes.into_iter().map(short).collect()).collect();
            let layers: Vec<Layer> = layers.iter().map(|changes| tree.layer(changes, shape)).collect();
            tree.merge(&layers.iter().collect::<Vec<_>>(), if is_deep { 512 } else { 4096 });
            history.push((tree.root, tree.model.clone()));
        }
        for (old, before) in &history {
            for (new, after) in &history {
                let nodes = tree.recorder.cold();
                let walked = [old, new].map(|root| Walked::new(*root, &nodes).pointers());
                tree.recorder.memory.take_reads();
                let nodes = tree.recorder.cold();
                let found: Vec<Difference> = diff(&nodes, *old, *new).collect::<Result<_, _>>().unwrap();
                let reads = tree.recorder.memory.take_reads();
                prop_assert_eq!(found, compared(before, after));
                // A root may lie within the newer tree: of the two it alone is read before anything is known.
                let roots = [old, new].map(|root| root.map(|root| root.block));
                for shared in walked[0].intersection(&walked[1]) {
                    let block = Block(shared.0);
                    prop_assert!(!reads.contains_key(&block) || roots.contains(&Some(block)), "block {block} is in both");
                }
                prop_assert!(reads.values().all(|&count| count == 1));
            }
        }
    }

    /// Nodes far smaller than any label allows, so that few items make many levels.
    #[test]
    fn prop_deep_trees_equal_a_map(
        shape in shapes(),
        merges in prop::collection::vec(prop::collection::vec(layers(), 1..3), 1..10),
    ) {
        let mut tree = Tree::new();
        for changes in merges {
            let short = |changes: Vec<Change>| -> Vec<Change> {
                changes.into_iter().map(|(number, len)| (number, len.map(|len| len % 100))).collect()
            };
            let layers: Vec<Layer> = changes.into_iter().map(|changes| tree.layer(&short(changes), shape)).collect();
            tree.merge(&layers.iter().collect::<Vec<_>>(), 512);
        }
    }

    #[test]
    fn prop_view_equals_a_map(
        shape in shapes(),
        below in prop::collection::vec(layers(), 0..3),
        above in prop::collection::vec(layers(), 0..4),
        asked in prop::collection::vec((0..1600u16, 0..1600u16), 20),
        size in 0..4usize,
    ) {
        let mut tree = Tree::new();
        for changes in &below {
            let layer = tree.layer(changes, shape);
            tree.merge(&[&layer], NODE_BYTES[size]);
        }
        let mut frozen: Vec<Arc<Layer>> = above.iter().map(|changes| Arc::new(tree.layer(changes, shape))).collect();
        let active = frozen.pop().unwrap_or_default();
        let view = tree.cold(&active, &frozen);
        for &(one, other) in &asked {
            let (one, other) = (shape.key(one), shape.key(other));
            prop_assert_eq!(view.get(one).unwrap(), tree.model.get(&one).cloned());

            let (from, to) = (one.min(other), one.max(other));
            let expected: Vec<(Key, Bytes)> = tree.model.range(from..=to).map(|(&key, value)| (key, value.clone())).collect();
            prop_assert_eq!(view.scan(from, to).unwrap(), expected);
            prop_assert!(from == to || view.scan(to, from).unwrap().is_empty());

            let near = Key { sub: one.sub.wrapping_add(1), ..one };
            let last = tree.model.range(Key { sub: 0, ..near }..=near).next_back();
            prop_assert_eq!(view.last_at_or_before(near).unwrap(), last.map(|(&key, value)| (key, value.clone())));
        }
    }

    #[test]
    fn prop_build_equals_a_map(shape in shapes(), changes in layers(), size in 0..4usize) {
        let (mut recorder, mut model, mut lsn) = (Recorder::new(), Model::new(), Lsn(0));
        layer(&changes, shape, &mut lsn, &mut model);
        let id = id(lsn, NODE_BYTES[size]);
        let root = build(model.iter().map(|(&key, value)| (key, value)), id, &mut recorder).unwrap();
        let walked = Walked::new(root, &recorder.cold());
        prop_assert_eq!(walked.pointers(), places(&recorder.written));
        check_fill(&walked, &recorder.written, &id);
        prop_assert_eq!(walked.items, model);
    }
}

/// A tree of three levels.
fn deep_tree() -> Tree {
    let mut tree = Tree::new();
    let layer = tree.layer(
        &(0..1000).map(|number| (number, Some(1900))).collect::<Vec<_>>(),
        Shape::Extents,
    );
    tree.merge(&[&layer], 4096);
    assert_eq!(Walked::new(tree.root, &tree.recorder.cold()).levels.len(), 3);
    tree
}

#[test]
fn own_changes_hide_what_is_below() {
    let mut tree = deep_tree();
    let active = tree.layer(&[(5, Some(3)), (6, None)], Shape::Extents);
    let own = tree.layer(&[(5, None), (7, Some(2)), (2000, Some(1))], Shape::Extents);
    let key = |number| Shape::Extents.key(number);
    let cold = tree.cold(&active, &[]);
    let found = cold
        .run(|view| view.scan_under(&own, key(4), key(8)).collect::<Result<Vec<_>, _>>())
        .unwrap();
    let expected: Vec<_> = tree
        .model
        .range(key(4)..=key(8))
        .map(|(&key, value)| (key, value.clone()))
        .collect();
    assert_eq!(found, expected);
    let last = |number| {
        cold.run(|view| view.last_at_or_before_under(&own, key(number)))
            .unwrap()
            .map(|(key, _)| key)
    };
    assert_eq!(
        (last(6), last(3000), last(1999)),
        (Some(key(4)), Some(key(2000)), Some(key(999)))
    );
}

#[test]
fn a_stopped_scan_gives_nothing_more() {
    let tree = deep_tree();
    let (active, pinned, nodes) = (Layer::new(), super::Pinned::new(), tree.recorder.cold());
    let view = super::View {
        active: &active,
        frozen: &[],
        root: tree.root,
        nodes: &nodes,
        pinned: &pinned,
    };
    let mut scan = view.scan(Key::FIRST, Key::LAST);
    assert_eq!(scan.next(), Some(Err(super::Stop::Miss(tree.root.unwrap()))));
    assert_eq!(scan.next(), None);
}

#[test]
fn a_long_scan_of_a_cold_tree_starts_again_seldom() {
    let tree = deep_tree();
    let (active, attempts) = (Layer::new(), std::cell::Cell::new(0));
    tree.recorder.memory.take_reads();
    let scan = |view: &super::View<'_>, to| {
        attempts.set(attempts.get() + 1);
        view.scan(Key::FIRST, to).collect::<Result<Vec<_>, _>>()
    };
    let found = tree.cold(&active, &[]).run(|view| scan(view, Key::LAST)).unwrap();
    assert_eq!(found.len(), 1000);
    let reads = tree.recorder.memory.take_reads();
    assert!(
        reads.values().all(|&count| count == 1) && reads.len() > 500,
        "{} nodes read",
        reads.len()
    );
    assert!(attempts.take() < reads.len() / 10);
    // A short one reads hardly more than it needs: a path and the leaves of ten items, of which each has two.
    tree.cold(&active, &[])
        .run(|view| scan(view, Shape::Extents.key(9)))
        .unwrap();
    assert_eq!(tree.recorder.memory.take_reads().len(), 2 + 5);
}

#[test]
fn a_change_without_effect_writes_nothing() {
    let mut tree = deep_tree();
    let root = tree.root;
    let layer = tree.layer(
        &(1000..1200).map(|number| (number, None)).collect::<Vec<_>>(),
        Shape::Extents,
    );
    tree.merge(&[&layer], 4096);
    assert_eq!(
        (tree.root, tree.recorder.written.len(), tree.recorder.freed.len()),
        (root, 0, 0)
    );
    tree.merge(&[&Layer::new()], 4096);
    assert_eq!(tree.root, root);
}

#[test]
fn one_change_writes_one_path() {
    let mut tree = deep_tree();
    let layer = tree.layer(&[(500, Some(1900))], Shape::Extents);
    tree.merge(&[&layer], 4096);
    assert_eq!((tree.recorder.written.len(), tree.recorder.freed.len()), (3, 3));
}

#[test]
fn a_tree_shrinks_to_one_leaf_and_to_nothing() {
    let mut tree = deep_tree();
    let layer = tree.layer(
        &(1..1000).map(|number| (number, None)).collect::<Vec<_>>(),
        Shape::Extents,
    );
    tree.merge(&[&layer], 4096);
    assert_eq!(Walked::new(tree.root, &tree.recorder.cold()).levels.len(), 1);
    let layer = tree.layer(&[(0, None)], Shape::Extents);
    tree.merge(&[&layer], 4096);
    assert_eq!(tree.root, None);
    let layer = tree.layer(&[(0, None), (3, Some(4)), (3, None)], Shape::Extents);
    tree.merge(&[&layer], 4096);
    assert_eq!(tree.root, None);
}

#[test]
fn long_runs_fill_their_nodes() {
    for (shape, len) in [
        (Shape::Extents, 0),
        (Shape::Scattered, 0),
        (Shape::Scattered, 300),
        (Shape::Directory, 40),
    ] {
        let mut tree = Tree::new();
        let layer = tree.layer(
            &(0..20_000).map(|number| (number, Some(len))).collect::<Vec<_>>(),
            shape,
        );
        tree.merge(&[&layer], 8192);
        let walked = Walked::new(tree.root, &tree.recorder.cold());
        let leaves = &walked.levels[&0];
        let used: usize = leaves.iter().map(|(_, node)| node.used()).sum();
        assert!(
            used * 100 >= leaves.len() * 8192 * 90,
            "{shape:?}: {used} bytes in {} leaves",
            leaves.len()
        );
    }
}

#[test]
fn damage_is_seen_by_those_who_read_it_and_by_nobody_else() {
    let tree = deep_tree();
    let active = Layer::new();
    let nodes: Vec<(Pointer, Node)> = Walked::new(tree.root, &tree.recorder.cold())
        .levels
        .into_values()
        .flatten()
        .collect();
    for (step, (pointer, node)) in nodes.iter().enumerate().step_by(7) {
        let bit = step * 7919 % (node.bytes().len() * 8);
        tree.recorder.memory.flip(pointer.block, bit);
        let last = (step + 1..nodes.len()).find(|&next| nodes[next].1.level() == node.level());
        let end = last.map(|next| nodes[next].1.key(0));
        for number in (0..1000).step_by(3) {
            let key = Shape::Extents.key(number);
            let is_below = key >= node.key(0) && end.is_none_or(|end| key < end);
            match tree.cold(&active, &[]).get(key) {
                Ok(value) => assert_eq!((value, is_below), (tree.model.get(&key).cloned(), false)),
                Err(error) => assert_eq!((error.kind, is_below), (Kind::Damaged, true), "{error}"),
            }
        }
        tree.recorder.memory.flip(pointer.block, bit);
    }
}

/// A node of these items at `level`, written as it is.
fn forged(recorder: &mut Recorder, level: u8, items: &[(Key, Vec<u8>)]) -> Pointer {
    let mut run = Run::default();
    items.iter().for_each(|(key, value)| run.push((*key).into(), value));
    let node = Node::encode(&id(Lsn(1), 4096), level, &run, items.len());
    let pointer = Pointer {
        block: recorder.allocate(1).unwrap(),
        blocks: 1,
        flags: 0,
        birth: Lsn(1),
        checksum: Checksum::of(node.bytes()),
    };
    recorder.write(&pointer, node).unwrap();
    pointer
}

#[test]
fn a_tree_whose_nodes_contradict_each_other_is_damaged() {
    let key = |number| Shape::Extents.key(number);
    let mut tree = Tree::new();
    let leaf = forged(&mut tree.recorder, 0, &[(key(5), vec![1]), (key(9), vec![2])]);
    let other = forged(&mut tree.recorder, 0, &[(key(7), vec![3])]);
    let point = |to: Pointer| to.encode().to_vec();
    let skips = forged(&mut tree.recorder, 2, &[(key(5), point(leaf))]);
    let misnames = forged(&mut tree.recorder, 1, &[(key(4), point(leaf))]);
    let overlaps = forged(&mut tree.recorder, 1, &[(key(5), point(leaf)), (key(7), point(other))]);

    let active = Layer::new();
    tree.root = Some(skips);
    assert_eq!(tree.cold(&active, &[]).get(key(5)).unwrap_err().kind, Kind::Damaged);
    assert_eq!(
        tree.cold(&active, &[]).scan(Key::FIRST, Key::LAST).unwrap_err().kind,
        Kind::Damaged
    );
    let layer = tree.layer(&[(5, Some(1)), (8, Some(1))], Shape::Extents);
    for root in [skips, misnames, overlaps] {
        let nodes = tree.recorder.cold();
        let merged = merge(Some(root), &[&layer], id(tree.lsn, 4096), &nodes, &mut tree.recorder);
        let error = merged.expect_err(&format!("{root:?}"));
        assert_eq!(error.kind, Kind::Damaged, "{error}");
    }
}

#[test]
fn regression_an_only_child_is_written_before_its_uncle_is_kept() {
    let mut tree = Tree::new();
    let put: Vec<Change> = (0..300).map(|number| (number, Some(20))).collect();
    let layer = tree.layer(&put, Shape::Extents);
    tree.merge(&[&layer], 512);
    // What is left of the first node above the leaves is one leaf; the second stays as it is.
    let walked = Walked::new(tree.root, &tree.recorder.cold());
    let second = walked.levels[&1][1].1.key(0).sub as u16;
    let delete: Vec<Change> = (1..second).map(|number| (number, None)).collect();
    let layer = tree.layer(&delete, Shape::Extents);
    tree.merge(&[&layer], 512);
}

#[test]
fn a_merge_into_a_damaged_tree_fails() {
    let mut tree = deep_tree();
    let (leaf, _) = Walked::new(tree.root, &tree.recorder.cold()).levels[&0][100].clone();
    tree.recorder.memory.flip(leaf.block, 9999);
    let all: Vec<Change> = (0..1000).map(|number| (number, Some(1))).collect();
    let layer = tree.layer(&all, Shape::Extents);
    let (id, nodes) = (id(tree.lsn, 4096), tree.recorder.cold());
    let error = merge(tree.root, &[&layer], id, &nodes, &mut tree.recorder).unwrap_err();
    assert_eq!(error.kind, Kind::Damaged);
}

#[test]
fn what_is_cut_out_is_gone_with_all_below_it_and_nothing_else() {
    let mut tree = deep_tree();
    let walked = Walked::new(tree.root, &tree.recorder.cold());
    let mut cases: Vec<Vec<Pointer>> = Vec::new();
    for nodes in walked.levels.values() {
        let some = nodes
            .iter()
            .step_by((nodes.len() / 7).max(1))
            .map(|(pointer, _)| *pointer);
        cases.extend(some.clone().map(|pointer| vec![pointer]));
        cases.push(some.collect());
        cases.push(nodes.iter().map(|(pointer, _)| *pointer).collect());
    }
    // Changes below what is cut out, and elsewhere.
    let layer = tree.layer(
        &[(3, Some(5)), (400, None), (401, Some(7)), (1500, Some(3))],
        Shape::Extents,
    );
    for (case, layers) in cases.iter().flat_map(|case| [(case, vec![]), (case, vec![&layer])]) {
        let below = case
            .iter()
            .map(|pointer| Walked::new(Some(*pointer), &tree.recorder.cold()).items);
        let below: Vec<Model> = below.collect();
        let cut = |(pointer, below): (&Pointer, &Model)| Cut {
            key: *below.first_key_value().unwrap().0,
            pointer: *pointer,
        };
        let cuts: Vec<Cut> = case.iter().zip(&below).map(cut).collect();
        let mut expected = walked.items.clone();
        expected.retain(|key, _| !below.iter().any(|below| below.contains_key(key)));
        for (key, value) in layers.iter().flat_map(|layer| layer.range(Key::FIRST, Key::LAST)) {
            match value {
                Some(value) => drop(expected.insert(*key, value.clone())),
                None => drop(expected.remove(key)),
            }
        }
        let (id, nodes) = (id(tree.lsn, 4096), tree.recorder.cold());
        tree.recorder.freed.clear();
        tree.recorder.memory.take_reads();
        let root = merge_without(tree.root, &layers, &cuts, id, &nodes, &mut tree.recorder).unwrap();
        let reads = tree.recorder.memory.take_reads();
        // With changes below they may be read ahead, in vain.
        let is_read = case.iter().any(|pointer| reads.contains_key(&pointer.block));
        assert!(!is_read || !layers.is_empty(), "{case:?}");
        assert!(
            case.iter().all(|pointer| tree.recorder.freed.contains(pointer)),
            "{case:?}"
        );
        assert_eq!(Walked::new(root, &tree.recorder.cold()).items, expected, "{case:?}");
    }
}
