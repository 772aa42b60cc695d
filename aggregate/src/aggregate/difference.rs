//! What differs between two moments of a fileset, found without a look at what they share (I13).
//!
//! The nodes of both are compared by their pointers ([`diff`]); what no checkpoint has written yet lies in layers, and
//! whatever stands there counts as changed. Then each changed file is followed up to the root, by the directories that
//! it was in and is in: so that somebody who walks both trees by names knows which of them to enter.

use std::collections::BTreeSet;
use std::sync::Arc;

use baton_types::{Error, Kind, Result, Vnode};

use super::fileset::Fileset;
use crate::format::{Attributes, FileKind, Key, KeyKind, Pointer};
use crate::tree::{Layer, Stop, View, diff};

/// A live tree may be written anew while it is read; then it is read again, but not for ever.
const TRIES: usize = 16;

/// What differs between two moments of a fileset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// All that is not the same; perhaps something that is.
    pub changed: BTreeSet<Vnode>,
    /// Directories in which such a file has a name, or had, and those above them.
    pub above: BTreeSet<Vnode>,
    /// Some of them are files with several names: these may be anywhere.
    pub has_strays: bool,
}

/// What a moment is made of.
struct Moment {
    root: Option<Pointer>,
    layers: Vec<Arc<Layer>>,
}

impl Touched {
    /// Whether what is in this directory, or below it, may differ. What came into it or went from it besides shows in
    /// its own version.
    pub fn may_be_below(&self, directory: Vnode) -> bool {
        self.has_strays || self.above.contains(&directory)
    }
}

impl Fileset {
    /// What may differ between this moment and `other`, one of the same fileset; either may be [now](Fileset::at). Nothing
    /// else does. Reads nodes in proportion to what changed. What changes while it looks may be in it or not.
    ///
    /// # Errors
    /// `Stale` if one is a snapshot that was deleted; damage.
    pub fn touched(&self, other: &Fileset) -> Result<Touched> {
        let mut vnodes = BTreeSet::new();
        for _ in 0..TRIES {
            let (one, another) = (self.moment()?, other.moment()?);
            match self.differing(&one, &another, &mut vnodes) {
                // Nodes of a tree that was replaced meanwhile are used again.
                Err(error) if error.kind == Kind::Damaged => {
                    if (one.root, another.root) == (self.moment()?.root, other.moment()?.root) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
                Ok(()) => return self.with_those_above(other, vnodes),
            }
        }
        Err(Error::new(Kind::Busy, format!("fileset {}", self.id())).because("it changes faster than it is read"))
    }

    fn moment(&self) -> Result<Moment> {
        let mut state = self.cell.state.lock();
        let Some(at) = self.snapshot else {
            return Ok(Moment {
                layers: state.tree.freeze(),
                root: state.tree.root,
            });
        };
        let gone = || Error::new(Kind::Stale, format!("snapshot {at} of fileset {}", self.cell.id));
        let found = match state.tree.moments.iter().find(|moment| moment.snapshot == at) {
            Some(moment) => Some((state.tree.root, state.tree.frozen[..moment.layers].to_vec())),
            None => state.snapshots.roots.get(&at).map(|root| (*root, Vec::new())),
        };
        let is_kept = state.snapshots.line.get(at).is_some();
        let (root, layers) = found
            .filter(|_| is_kept)
            .ok_or_else(|| gone().because("it was deleted"))?;
        Ok(Moment { root, layers })
    }

    fn differing(&self, one: &Moment, other: &Moment, vnodes: &mut BTreeSet<Vnode>) -> Result<()> {
        let mut note = |key: Key| -> Result<()> {
            // ACLs and shared blocks are the fileset's own: whose they are differs besides. Orphans have no name.
            if !matches!(key.kind, KeyKind::Acl | KeyKind::Orphan | KeyKind::Shared) {
                vnodes.insert(Vnode::new(key.object)?);
            }
            Ok(())
        };
        for difference in diff(&self.engine.nodes, one.root, other.root) {
            note(difference?.key)?;
        }
        // A layer that both have differs in nothing.
        let has = |layers: &[Arc<Layer>], layer: &Arc<Layer>| layers.iter().any(|known| Arc::ptr_eq(known, layer));
        let is_same_tree = one.root == other.root;
        for (own, others) in [(&one.layers, &other.layers), (&other.layers, &one.layers)] {
            for layer in own.iter().filter(|layer| !is_same_tree || !has(others, layer)) {
                for (key, _) in layer.range(Key::FIRST, Key::LAST) {
                    note(*key)?;
                }
            }
        }
        Ok(())
    }

    fn with_those_above(&self, other: &Fileset, changed: BTreeSet<Vnode>) -> Result<Touched> {
        let mut touched = Touched::default();
        for moment in [self, other] {
            for vnode in &changed {
                moment.follow_up(*vnode, &mut touched)?;
            }
        }
        touched.changed = changed;
        Ok(touched)
    }

    /// Goes up from a file to the root, or to where somebody went up before.
    fn follow_up(&self, vnode: Vnode, touched: &mut Touched) -> Result<()> {
        let mut at = vnode;
        while at != Vnode::ROOT {
            let attributes = self.read(|view| attributes_of(view, at))?;
            let Some(attributes) = attributes else { return Ok(()) };
            let is_directory = matches!(
                FileKind::from_mode(attributes.mode),
                Some(FileKind::Directory | FileKind::MountPoint)
            );
            // Of several names the place of one is known at most.
            touched.has_strays |= !is_directory && attributes.links > 1;
            match attributes.parent {
                Some(parent) if touched.above.insert(parent) => at = parent,
                Some(_) => return Ok(()),
                None => {
                    touched.has_strays |= attributes.links > 0;
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Of a vnode, whatever it is.
pub(super) fn attributes_of(view: &View<'_>, vnode: Vnode) -> Result<Option<Attributes>, Stop> {
    let found = view.get(Key::attributes(vnode))?;
    Ok(found.map(|bytes| Attributes::decode(&bytes)).transpose()?)
}
