//! What is seen of a fileset as it was: by who reads a snapshot, and by a change that takes something of one back.

use baton_types::{Error, FilesetId, Kind, Result};

use super::fileset::State;
use crate::format::Lsn;
use crate::nodes::Nodes;
use crate::transaction::Past;
use crate::tree::{Layer, Pinned, View};

impl State {
    /// What a reader of a snapshot sees.
    ///
    /// # Errors
    /// `Stale` if it was deleted.
    pub(super) fn view_at<'a>(
        &'a self,
        id: FilesetId,
        at: Lsn,
        nodes: &'a Nodes,
        pinned: &'a Pinned,
    ) -> Result<View<'a>> {
        let gone = || {
            let on = match at {
                Lsn(0) => format!("a snapshot of fileset {id}"),
                at => format!("snapshot {at} of fileset {id}"),
            };
            Error::new(Kind::Stale, on).because("it was deleted")
        };
        self.snapshots.line.get(at).ok_or_else(gone)?;
        if let Some(view) = self.tree.view_at(at, nodes, pinned) {
            return Ok(view);
        }
        // Whoever opened it has asked for its tree.
        let root = *self.snapshots.roots.get(&at).ok_or_else(gone)?;
        Ok(View {
            active: Layer::EMPTY,
            frozen: &[],
            root,
            nodes,
            pinned,
        })
    }

    /// What a change sees that takes something of a snapshot back.
    ///
    /// # Errors
    /// `Stale` if it was deleted.
    pub(super) fn past<'a>(&'a self, id: FilesetId, at: Lsn, nodes: &'a Nodes, pinned: &'a Pinned) -> Result<Past<'a>> {
        Ok(Past {
            view: self.view_at(id, at, nodes, pinned)?,
            is_behind: self.snapshots.line.is_behind(id, at),
        })
    }
}
