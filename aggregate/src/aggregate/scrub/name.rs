//! Damage by its path: which files a node or a unit of data is of, in which moment of which fileset.
//!
//! What several moments share is found once, in the oldest of them, and named in the newest: in the fileset itself, if
//! it has it still. Whoever went on from one of these moments has it too, and is named besides.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use baton_types::{FileName, FilesetId, Kind, Result, Vnode};

use super::walk::{Part, Place, Unit, Walk, Which};
use crate::aggregate::difference::attributes_of;
use crate::aggregate::fileset::Fileset;
use crate::engine::Engine;
use crate::file::unit_of;
use crate::format::{Held, Key, KeyKind, Lsn, NameEntry, Pointer};
use crate::tree::{Node, Stop};

/// Names read under the fileset's lock at once.
const NAMES_MAX: usize = 1_000;
/// Directories above each other at most: a path has no more.
const DEPTH_MAX: usize = 4_096;

/// A moment of a fileset that has something.
pub(super) struct Moment {
    pub fileset: Fileset,
    pub snapshot: Option<(Lsn, FileName)>,
}

/// Files, each with the directory that it has a name in, and that name.
pub(super) type Entries = BTreeMap<u64, (u64, Vec<u8>)>;

impl Moment {
    pub fn which(&self) -> Which {
        let cell = self.fileset.cell.clone();
        match &self.snapshot {
            Some((at, _)) => Which::Snapshot(cell, *at),
            None => Which::Live(cell),
        }
    }

    /// The way from the root to a file, as far as it can be read; `entries` are known already.
    pub fn path(&self, vnode: u64, entries: &Entries) -> Option<Vec<u8>> {
        let (mut at, mut names) = (vnode, Vec::new());
        while at != Vnode::ROOT.number() {
            let entry = entries.get(&at).cloned();
            let (above, name) = entry.or_else(|| self.name_of(at).ok().flatten())?;
            names.push(name);
            at = above;
            if names.len() > DEPTH_MAX {
                return None;
            }
        }
        names.reverse();
        Some(names.join(&b'/'))
    }

    /// A name of a file, in the directory that its attributes know.
    fn name_of(&self, vnode: u64) -> Result<Option<(u64, Vec<u8>)>> {
        let vnode = Vnode::new(vnode)?;
        let attributes = self.fileset.read(|view| attributes_of(view, vnode))?;
        let Some(above) = attributes.and_then(|attributes| attributes.parent) else {
            return Ok(None);
        };
        let (mut from, last) = (Key::name(above, 0), Key::name(above, u64::MAX));
        loop {
            let names = self.fileset.read(|view| {
                let names = view.scan(from, last).take(NAMES_MAX);
                names.collect::<Result<Vec<_>, Stop>>()
            })?;
            for (_, value) in &names {
                let entries = NameEntry::decode_all(value)?;
                if let Some(entry) = entries.into_iter().find(|entry| entry.vnode == vnode) {
                    return Ok(Some((above.number(), entry.name)));
                }
            }
            match names.last() {
                Some((key, _)) if names.len() == NAMES_MAX && key.sub < u64::MAX => {
                    from = Key {
                        sub: key.sub + 1,
                        ..*key
                    };
                }
                _ => return Ok(None),
            }
        }
    }
}

/// Vnodes that items from one key to another are of.
pub(super) fn vnodes_of(from: Key, until: Option<Key>) -> RangeInclusive<u64> {
    let last = until.map_or(u64::MAX, |until| match (until.kind, until.sub) {
        (KeyKind::Attributes, 0) => until.object.saturating_sub(1),
        _ => until.object,
    });
    from.object..=last.max(from.object)
}

impl Engine {
    /// The moments that have what was found in a tree of `id`: of each fileset that may have it the newest.
    fn newest_with(self: &Arc<Engine>, id: FilesetId, has: impl Fn(&Moment) -> Result<bool>) -> Result<Vec<Moment>> {
        let mut found = Vec::new();
        for id in self.family(id)? {
            let cell = match self.fileset(id) {
                Ok(cell) => cell,
                // It is gone, or cannot be read: its own damage is told of.
                Err(error) if matches!(error.kind, Kind::NotFound | Kind::Damaged) => continue,
                Err(error) => return Err(error),
            };
            let is_hidden = cell.state.lock().check(id).is_err();
            if is_hidden {
                continue;
            }
            let fileset = Fileset::new(self.clone(), cell);
            let snapshots = fileset
                .snapshots()
                .into_iter()
                .rev()
                .map(|info| Some((info.id, info.name)));
            for snapshot in std::iter::once(None).chain(snapshots) {
                let of_then = match &snapshot {
                    Some((at, _)) => fileset.at(*at),
                    None => Ok(fileset.clone()),
                };
                let moment = of_then.map(|fileset| Moment { fileset, snapshot });
                let has = moment.and_then(|moment| Ok(has(&moment)?.then_some(moment)));
                match has {
                    Ok(Some(moment)) => {
                        found.push(moment);
                        break;
                    }
                    Ok(None) => {}
                    Err(error) if matches!(error.kind, Kind::Damaged | Kind::NotFound | Kind::Stale) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(found)
    }

    /// Who has a unit of data.
    pub(super) fn with_unit(self: &Arc<Engine>, id: FilesetId, unit: &Unit) -> Result<Vec<Moment>> {
        self.newest_with(id, |moment| {
            let found = moment.fileset.read(|view| unit_of(view, unit.vnode, unit.first))?;
            Ok(found.is_some_and(|(pointer, _)| pointer.block == unit.pointer.block))
        })
    }

    /// Who has a node that leads to `key` or has it.
    pub(super) fn with_node(self: &Arc<Engine>, id: FilesetId, node: &Pointer, key: Key) -> Result<Vec<Moment>> {
        self.newest_with(id, |moment| {
            let anchor = self.anchor(&moment.which(), Part::All)?;
            let mut at = anchor.and_then(|anchor| anchor.root);
            while let Some(pointer) = at {
                if pointer == *node {
                    return Ok(true);
                }
                let above = self.nodes.read(&pointer)?;
                at = (above.level() > 0).then(|| above.pointer(above.child(key)));
            }
            Ok(false)
        })
    }

    /// A fileset, and those that went on from its snapshots, and from theirs.
    fn family(&self, id: FilesetId) -> Result<Vec<FilesetId>> {
        let (mut all, mut next) = (vec![id], 0);
        while let Some(id) = all.get(next).copied() {
            let [first, last] = [0, u64::MAX].map(|sub| Key::new(id.0, KeyKind::Held, sub));
            let held = self.retrying(|pinned| {
                let system = self.system.lock();
                let items = system.view(&self.nodes, pinned).scan(first, last);
                items
                    .map(|item| Ok(Held::decode(&item?.1)?.fileset))
                    .collect::<Result<Vec<_>, Stop>>()
            })?;
            for other in held {
                if !all.contains(&other) {
                    all.push(other);
                }
            }
            next += 1;
        }
        Ok(all)
    }

    /// The names that lead to files which `wanted` chooses, as far as they are in nodes that can be read; `pace` is
    /// given what was read, and says false to stop.
    pub(super) fn entries(
        &self,
        which: &Which,
        wanted: impl Fn(u64) -> bool,
        mut pace: impl FnMut(u64) -> bool,
    ) -> Result<Entries> {
        let (mut walk, mut entries, mut from) = (Walk::default(), Entries::new(), Some(Key::FIRST));
        while let Some(key) = from {
            let (place, until) = walk.next(self, which, (Part::All, key))?;
            if let Place::Leaf(leaf, _) = place {
                let named = names_in(&leaf)?.into_iter();
                entries.extend(named.filter(|(vnode, _)| wanted(*vnode)));
            }
            if !pace(std::mem::take(&mut walk.bytes)) || entries.len() >= NAMES_MAX {
                break;
            }
            from = until;
        }
        Ok(entries)
    }
}

/// All names of a leaf: the files they lead to, each with the directory and the name.
fn names_in(leaf: &Node) -> Result<Entries> {
    let mut named = Entries::new();
    for index in (0..leaf.len()).filter(|index| leaf.key(*index).kind == KeyKind::Name) {
        let directory = leaf.key(index).object;
        let entries = NameEntry::decode_all(leaf.value_ref(index))?.into_iter();
        named.extend(entries.map(|entry| (entry.vnode.number(), (directory, entry.name))));
    }
    Ok(named)
}
