//! The census: every block of an aggregate is in exactly one state.
//!
//! A test asks for it between two operations, while no checkpoint is being made. It reads everything.

use std::collections::BTreeMap;

use baton_types::{Error, FilesetId, Kind, Result};

use super::Aggregate;
use crate::engine::Engine;
use crate::format::{Extent, Key, KeyKind, Pointer};
use crate::space::census::Standing;
use crate::tree::View;

/// How many blocks are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// May be taken: of open or closed segments, or never used.
    pub free: u64,
    /// Nodes of trees.
    pub nodes: u64,
    /// Data of files.
    pub data: u64,
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
    Pending,
    List,
}

#[derive(Default)]
struct Uses(BTreeMap<u64, (Use, String)>);

impl Uses {
    fn add(&mut self, first: u64, count: u64, what: Use, whose: &str) -> Result<()> {
        for block in first..first + count {
            if let Some(before) = self.0.insert(block, (what, whose.to_owned())) {
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

impl Engine {
    fn census(&self) -> Result<Census> {
        let mut uses = Uses::default();
        for id in self.fileset_ids()? {
            let cell = self.fileset(id)?;
            let root = cell.state.lock().tree.root;
            self.add_nodes(root, &format!("fileset {id}"), &mut uses)?;
            let extents = self.retrying(|pinned| {
                let state = cell.state.lock();
                let view: View<'_> = state.tree.view(&self.nodes, pinned);
                let items = view.scan(Key::FIRST, Key::LAST);
                let mut extents = Vec::new();
                for item in items {
                    let (key, value) = item?;
                    if key.kind == KeyKind::Extent {
                        extents.push((key, Extent::decode(&value)?));
                    }
                }
                Ok(extents)
            })?;
            for (key, extent) in extents {
                uses.add(
                    extent.block.0,
                    extent.count.into(),
                    Use::Data,
                    &format!("fileset {id}, {key:?}"),
                )?;
            }
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

    fn add_nodes(&self, pointer: Option<Pointer>, tree: &str, uses: &mut Uses) -> Result<()> {
        let Some(pointer) = pointer else { return Ok(()) };
        uses.add(pointer.block.0, pointer.blocks.into(), Use::Node, tree)?;
        let node = self.nodes.read(&pointer)?;
        if node.level() > 0 {
            for index in 0..node.len() {
                self.add_nodes(Some(node.pointer(index)), tree, uses)?;
            }
        }
        Ok(())
    }

    fn compare(&self, uses: Uses) -> Result<Census> {
        let Uses(mut uses) = uses;
        let log = self.writer.lock().segments();
        let standings = self.retrying(|pinned| self.space.lock().standings(&log, &self.nodes, pinned))?;
        let standings = standings.map_err(broken)?;
        let blocks = u64::from(self.geometry.segment_blocks());
        let fresh = self.geometry.end_segment().0 - self.space.lock().high_water().0;
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
