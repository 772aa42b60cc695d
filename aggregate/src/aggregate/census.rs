//! The census: every block of an aggregate is in exactly one state.
//!
//! A test asks for it between two operations, while no checkpoint is being made. It reads everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use baton_types::{Error, FilesetId, Kind, Result};

use super::{Aggregate, FilesetCell};
use crate::engine::Engine;
use crate::format::{Attributes, Block, DeadChunk, Extent, Key, KeyKind, Lsn, Pointer, Shared, owned};
use crate::snapshot::{self, Branch, Line, Rest, Span, branches};
use crate::space::Tally;
use crate::space::census::Standing;
use crate::tree::{Layer, Stop, View, take_apart};

/// How many blocks are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// May be taken: of open or closed segments, or never used.
    pub free: u64,
    /// Nodes of trees.
    pub nodes: u64,
    /// Data of files.
    pub data: u64,
    /// Of deleted snapshots alone: to be given back.
    pub dead: u64,
    /// Freed, and not to be taken yet.
    pub pending: u64,
    /// Nodes of the lists of pending frees.
    pub lists: u64,
    /// This epoch's log.
    pub log: u64,
    /// Free, but for an older epoch that may still write there.
    pub quarantined: u64,
}

/// What a block is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Node,
    Data,
    Dead,
    Pending,
    List,
}

/// Which of the snapshots of a fileset have a block: from one to another, the fileset itself being the last of all.
#[derive(Debug)]
struct Held {
    what: Use,
    first: usize,
    last: usize,
    is_dead: bool,
}

#[derive(Default)]
struct Uses {
    blocks: BTreeMap<u64, (Use, String)>,
    /// Owners that are still to be found beside the first.
    further: Tally,
}

impl Uses {
    fn add(&mut self, first: u64, count: u64, what: Use, whose: &str) -> Result<()> {
        for block in first..first + count {
            let before = self.blocks.get(&block);
            let may_be_shared = |what| matches!(what, Use::Data | Use::Dead);
            let is_one_more = before.is_some_and(|(before, _)| may_be_shared(*before) && may_be_shared(what));
            if is_one_more && self.further.of(Block(block)) > 0 {
                self.further.add(Block(block), 1, -1);
                if what == Use::Data {
                    self.blocks.insert(block, (what, whose.to_owned()));
                }
            } else if let Some(before) = self.blocks.insert(block, (what, whose.to_owned())) {
                return Err(broken(format!("block {block} is {what:?} of {whose}, and {before:?}")));
            }
        }
        Ok(())
    }
}

fn broken(what: String) -> Error {
    Error::new(Kind::Damaged, "census").because(what)
}

impl Aggregate {
    /// Counts the blocks.
    ///
    /// # Errors
    /// `Damaged` names a block that is in two states or in none.
    pub fn census(&self) -> Result<Census> {
        self.engine.census()
    }
}

/// Adds up in how many places more shared blocks are than their items say.
fn count_places(key: Key, value: &[u8], places: &mut BTreeMap<u64, i64>) -> Result<()> {
    let (first, count, change) = match key.kind {
        KeyKind::Shared => {
            let shared = Shared::decode(value)?;
            (key.sub, u64::from(shared.count), -i64::from(shared.places))
        }
        KeyKind::Extent => match Extent::decode(value)? {
            extent if extent.is_shared() => (extent.block.0, u64::from(extent.count), 1),
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    for block in first..first + count {
        *places.entry(block).or_default() += change;
    }
    Ok(())
}

impl Engine {
    fn census(self: &Arc<Engine>) -> Result<Census> {
        let mut uses = Uses::default();
        for (start, end, owners) in self
            .retrying(|pinned| self.space.lock().further(&self.nodes, pinned))?
            .iter()
        {
            match owners {
                -1 => uses.add(start, end - start, Use::Pending, "nobody")?,
                ..-1 => return Err(broken(format!("blocks {start} to {end} are given up too often"))),
                owners => uses.further.add(Block(start), end - start, owners),
            }
        }
        let mut promised = 0;
        for id in self.fileset_ids()? {
            self.add_fileset(id, &mut uses)?;
            promised += self.promised_to(id)?;
        }
        let kept = self.space.lock().promised();
        if promised != kept {
            return Err(broken(format!("{promised} blocks are promised, and {kept} are kept")));
        }
        if let Some((start, end, owners)) = uses.further.iter().next() {
            return Err(broken(format!(
                "blocks {start} to {end} have {owners} owners less than it is said"
            )));
        }
        let system = self.system.lock().root;
        self.add_nodes(system, "the system tree", &mut uses)?;
        let space = self.space.lock().tree.root;
        self.add_nodes(space, "the space tree", &mut uses)?;
        for run in &self.checkpoints.lock().pending_nodes {
            uses.add(run.block.0, run.count.into(), Use::List, "pending frees")?;
        }
        let (waiting, in_flight) = self.space.lock().waiting();
        if in_flight > 0 {
            return Err(broken(format!("{in_flight} blocks are taken and not recorded")));
        }
        for run in waiting.iter().flat_map(|runs| runs.iter()) {
            uses.add(run.block.0, run.count.into(), Use::Pending, "nobody")?;
        }
        self.compare(uses)
    }

    /// The blocks promised to the files of a fileset, which they and it agree on.
    fn promised_to(self: &Arc<Engine>, id: FilesetId) -> Result<u64> {
        let cell = self.fileset(id)?;
        let (said, is_hidden, began) = {
            let state = cell.state.lock();
            let began = state.snapshots.line.began(Lsn(u64::MAX));
            (state.usage.promised, state.check(id).is_err(), began.0 as u32)
        };
        let counted = self.retrying(|pinned| {
            let (state, mut sum) = (cell.state.lock(), 0);
            for item in state.tree.view(&self.nodes, pinned).scan(Key::FIRST, Key::LAST) {
                let (key, value) = item?;
                // Tests make items of their own.
                if key.kind == KeyKind::Attributes
                    && let Ok(attributes) = Attributes::decode(&value)
                    && attributes.promised_in == began
                {
                    sum += u64::from(attributes.promised);
                }
            }
            Ok(sum)
        })?;
        match counted == said || is_hidden {
            true => Ok(said),
            false => Err(broken(format!(
                "fileset {id} promised {said} blocks, its files have {counted}"
            ))),
        }
    }

    /// The blocks of a fileset and its snapshots, branch by branch.
    fn add_fileset(self: &Arc<Engine>, id: FilesetId, uses: &mut Uses) -> Result<()> {
        let cell = self.fileset(id)?;
        let line = cell.state.lock().snapshots.line.clone();
        let all = self.retrying(|pinned| {
            let system = self.system.lock();
            let view = system.view(&self.nodes, pinned);
            let is_same = Line::read(&view, id)?
                .iter()
                .map(|(at, _)| at)
                .eq(line.iter().map(|(at, _)| at));
            let all = snapshot::of(&view, id).collect::<Result<Vec<_>, Stop>>()?;
            Ok(is_same.then_some(all))
        })?;
        let all = all.ok_or_else(|| broken(format!("fileset {id} keeps {line:?}, and the system tree others")))?;
        let dead = self.dead_of(&cell)?;
        for branch in branches(&line, all) {
            self.add_branch(&cell, &line, (&branch, &dead), uses)?;
        }
        Ok(())
    }

    /// The blocks of a branch: each is of adjacent ones of its snapshots and the fileset, from the first that is not
    /// older than the block, or of the base; what the fileset itself has no more is listed as dead, with just those that
    /// have it. Behind the last snapshot of a branch that was left nothing is listed.
    fn add_branch(
        self: &Arc<Engine>,
        cell: &Arc<FilesetCell>,
        line: &Line,
        (branch, dead): (&Branch, &[(Span, u64)]),
        uses: &mut Uses,
    ) -> Result<()> {
        let (id, base) = (cell.id, self.blocks_of_base(branch)?);
        let rest = self.retrying(|pinned| {
            let system = self.system.lock();
            Rest::of(&system.view(&self.nodes, pinned), id, (line, branch))
        })?;
        let mut kept: Vec<(Lsn, u32)> = Vec::new();
        // By birth, too: what was taken back has another owner than before.
        let mut held: BTreeMap<(u64, Lsn), Held> = BTreeMap::new();
        let snapshots = branch.snapshots.iter().filter(|(at, _)| line.keeps(*at));
        kept.extend(snapshots.map(|(at, snapshot)| (*at, snapshot.serial)));
        let trees = kept.len() + usize::from(branch.left.is_none());
        for index in 0..trees {
            let at = kept.get(index).map(|(at, _)| *at);
            for (block, (what, birth)) in self.blocks_at(cell, at)? {
                let before = index.checked_sub(1).map_or(branch.floor(), |before| kept[before].0);
                match held.get_mut(&(block, birth)) {
                    None if birth < branch.began && base.get(&block) == Some(&(what, birth)) => {}
                    None if birth > before && at.is_none_or(|at| birth <= at) => {
                        let (first, last, is_dead) = (index, index, false);
                        held.insert(
                            (block, birth),
                            Held {
                                what,
                                first,
                                last,
                                is_dead,
                            },
                        );
                    }
                    Some(found) if found.last + 1 == index && found.what == what => {
                        found.last = index;
                    }
                    found => {
                        let reason = format!("block {block} of {id}, {what:?} born at {birth}, at {at:?}: {found:?}");
                        return Err(broken(reason));
                    }
                }
            }
        }
        let ends = branch.left.unwrap_or(Lsn(u64::MAX));
        let counts = |span: Span| (branch.began..ends).contains(&span.last) && rest.counts(span);
        for (span, block) in dead.iter().filter(|(span, _)| counts(*span)) {
            let first = kept.partition_point(|(_, serial)| *serial < span.first);
            let end = kept.partition_point(|(at, _)| *at <= span.last);
            let mut owners = held.range_mut((*block, Lsn(0))..=(*block, Lsn(u64::MAX)));
            let found = owners.find(|(_, found)| (found.first, found.last + 1, found.is_dead) == (first, end, false));
            match found.map(|(_, found)| found) {
                None if first >= end => uses.add(*block, 1, Use::Dead, &format!("fileset {id}"))?,
                Some(found) => found.is_dead = true,
                None => {
                    let reason = format!("block {block} of {id} is dead, {span:?}, of {first} to {end}");
                    return Err(broken(reason));
                }
            }
        }
        for ((block, _), found) in held {
            if found.is_dead != (found.last + 1 < trees) {
                return Err(broken(format!("block {block} of {id}, of {trees} trees: {found:?}")));
            }
            uses.add(block, 1, found.what, &format!("fileset {id}"))?;
        }
        // What is left to be walked behind the last one.
        for (root, walk) in rest.trees {
            let apart = take_apart(&self.nodes, root, (walk.floor, walk.from), usize::MAX)?.whole()?;
            for run in apart.runs {
                uses.add(run.block.0, run.count.into(), Use::Dead, &format!("fileset {id}"))?;
            }
        }
        Ok(())
    }

    fn blocks_of_base(self: &Arc<Engine>, branch: &Branch) -> Result<BTreeMap<u64, (Use, Lsn)>> {
        match &branch.base {
            Some(base) => match self.fileset(base.origin) {
                Ok(origin) if origin.state.lock().snapshots.line.keeps(base.snapshot) => {
                    self.blocks_at(&origin, Some(base.snapshot))
                }
                // It is empty, and being taken apart.
                _ => Ok(BTreeMap::new()),
            },
            None => Ok(BTreeMap::new()),
        }
    }

    /// The blocks of a fileset now, or at a snapshot, with their births.
    fn blocks_at(self: &Arc<Engine>, cell: &Arc<FilesetCell>, at: Option<Lsn>) -> Result<BTreeMap<u64, (Use, Lsn)>> {
        let (root, extents) = self.retrying(|pinned| {
            let system = self.system.lock();
            let state = cell.state.lock();
            let layered = at.and_then(|at| state.tree.view_at(at, &self.nodes, pinned));
            let view = match (at, layered) {
                (None, _) => state.tree.view(&self.nodes, pinned),
                (Some(_), Some(view)) => view,
                (Some(at), None) => {
                    let root = system.view(&self.nodes, pinned).get(Key::snapshot_tree(cell.id, at))?;
                    View {
                        active: Layer::EMPTY,
                        frozen: &[],
                        root: root.map(|bytes| Pointer::decode(&bytes)).transpose()?,
                        nodes: &self.nodes,
                        pinned,
                    }
                }
            };
            let (mut extents, mut places) = (Vec::new(), BTreeMap::new());
            for item in view.scan(Key::FIRST, Key::LAST) {
                let (key, value) = item?;
                extents.extend(owned(key, &value)?);
                count_places(key, &value, &mut places)?;
            }
            if let Some((block, off)) = places.into_iter().find(|(_, off)| *off != 0) {
                return Err(broken(format!(
                    "block {block} of {} is in {off} places more than it says",
                    cell.id
                ))
                .into());
            }
            Ok((view.root, extents))
        })?;
        let mut blocks = BTreeMap::new();
        let mut add = |first: u64, count: u64, found: (Use, Lsn)| {
            let twice = (first..first + count).find(|block| blocks.insert(*block, found).is_some());
            twice.map_or(Ok(()), |block| {
                Err(broken(format!("block {block} of {} is there twice", cell.id)))
            })
        };
        for pointer in self.nodes_of(root)? {
            add(pointer.block.0, pointer.blocks.into(), (Use::Node, pointer.birth))?;
        }
        for extent in extents {
            add(extent.block.0, extent.count.into(), (Use::Data, extent.birth))?;
        }
        Ok(blocks)
    }

    /// The blocks that only snapshots of a fileset have, or had.
    fn dead_of(&self, cell: &FilesetCell) -> Result<Vec<(Span, u64)>> {
        let mut dead = self.retrying(|pinned| {
            let system = self.system.lock();
            let view = system.view(&self.nodes, pinned);
            let mut dead = Vec::new();
            for item in snapshot::of(&view, cell.id) {
                let (last, _) = item?;
                let chunks = view.scan(Key::dead_chunk(last, 0), Key::new(last.0, KeyKind::DeadChunk, u64::MAX));
                for item in chunks {
                    let (key, value) = item?;
                    let first = (key.sub >> 32) as u32;
                    for (block, count) in DeadChunk::decode(&value)?.runs {
                        let blocks = block.0..block.0 + u64::from(count);
                        dead.extend(blocks.map(|block| (Span { last, first }, block)));
                    }
                }
            }
            Ok(dead)
        })?;
        let state = cell.state.lock();
        let unwritten = state.snapshots.frozen.iter().map(|dead| &**dead);
        for (span, runs) in unwritten.chain([&state.snapshots.dead]).flat_map(|dead| dead.iter()) {
            dead.extend(
                runs.iter()
                    .flat_map(|run| run.blocks().map(move |block| (span, block.0))),
            );
        }
        Ok(dead)
    }

    fn nodes_of(&self, root: Option<Pointer>) -> Result<Vec<Pointer>> {
        let mut nodes = Vec::from_iter(root);
        let mut next = 0;
        while let Some(pointer) = nodes.get(next) {
            let node = self.nodes.read(pointer)?;
            if node.level() > 0 {
                nodes.extend((0..node.len()).map(|index| node.pointer(index)));
            }
            next += 1;
        }
        Ok(nodes)
    }

    fn fileset_ids(&self) -> Result<Vec<FilesetId>> {
        self.retrying(|pinned| {
            let system = self.system.lock();
            let view = system.view(&self.nodes, pinned);
            let mut ids = Vec::new();
            for item in view.scan(Key::FIRST, Key::LAST) {
                let (key, _) = item?;
                if key.kind == KeyKind::FilesetHeader {
                    ids.push(FilesetId(key.object));
                }
            }
            Ok(ids)
        })
    }

    fn add_nodes(&self, root: Option<Pointer>, tree: &str, uses: &mut Uses) -> Result<()> {
        for pointer in self.nodes_of(root)? {
            uses.add(pointer.block.0, pointer.blocks.into(), Use::Node, tree)?;
        }
        Ok(())
    }

    fn compare(&self, uses: Uses) -> Result<Census> {
        let mut uses = uses.blocks;
        let log = self.writer.lock().segments();
        let standings = self.retrying(|pinned| self.space.lock().standings(&log, &self.nodes, pinned))?;
        let standings = standings.map_err(broken)?;
        let blocks = u64::from(self.geometry.segment_blocks());
        let fresh = {
            let space = self.space.lock();
            space.geometry().count_from(space.high_water())
        };
        let mut census = Census {
            free: u64::from(fresh) * blocks,
            ..Census::default()
        };
        for (segment, (standing, bitmap)) in standings {
            let first = self.geometry.first_block(segment).0;
            for index in 0..bitmap.len() {
                let found = uses.remove(&(first + u64::from(index)));
                let count = match (bitmap.is_used(index), &found) {
                    (false, None) => match standing {
                        Standing::Open | Standing::Closed => &mut census.free,
                        Standing::Log => &mut census.log,
                        Standing::Quarantined => &mut census.quarantined,
                    },
                    (true, Some((Use::Node, _))) => &mut census.nodes,
                    (true, Some((Use::Data, _))) => &mut census.data,
                    (true, Some((Use::Dead, _))) => &mut census.dead,
                    (true, Some((Use::Pending, _))) => &mut census.pending,
                    (true, Some((Use::List, _))) => &mut census.lists,
                    (true, None) => {
                        let reason = format!("block {index} of segment {segment}, {standing:?}, is used by nobody");
                        return Err(broken(reason));
                    }
                    (false, Some(found)) => {
                        let reason =
                            format!("block {index} of segment {segment}, {standing:?}, is free, and {found:?}");
                        return Err(broken(reason));
                    }
                };
                *count += 1;
            }
        }
        match uses.first_key_value() {
            None => Ok(census),
            Some((block, found)) => Err(broken(format!("block {block} is in no segment, and {found:?}"))),
        }
    }
}
