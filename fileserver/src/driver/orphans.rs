//! Files without a name: found after a takeover, taken apart when nobody holds them.

use std::sync::Arc;

use baton_aggregate::aggregate::Need;
use baton_aggregate::fileset::{self as store, Progress};
use baton_aggregate::transaction::{Operation, Reply};
use baton_types::{Fid, FilesetId, Result, Vnode};

use super::Driver;
use crate::state::Event;

/// Orphans read at once.
const PAGE: usize = 256;

impl Driver {
    /// Takes a file apart, step by step, each a record of its own. Nobody can open it meanwhile.
    pub(super) fn remove(self: &Arc<Self>, fid: Fid) {
        self.take_apart(fid);
        self.step(Event::Removed(fid));
    }

    fn take_apart(&self, fid: Fid) {
        let removed = self.aggregate().fileset(fid.fileset).and_then(|fileset| {
            loop {
                let _inside = self.door.enter();
                let mut progress = Progress::Done;
                let done = fileset.change(&Operation::default(), Need::UPKEEP, |transaction| {
                    progress = store::remove_step(transaction, fid.vnode)?;
                    Ok(Reply::done())
                })?;
                done.answer?;
                if progress == Progress::Done || self.core.lock().is_stopped {
                    return Ok(());
                }
            }
        });
        if let Err(error) = removed {
            tracing::warn!(aggregate = %self.export.name, %fid, %error, "a file without a name stays for now");
        }
    }

    /// Reports every file without a name of `fileset`.
    pub fn sweep(self: &Arc<Self>, fileset: FilesetId) {
        if let Err(error) = self.report_orphans(fileset) {
            tracing::warn!(aggregate = %self.export.name, %fileset, %error, "files without a name stay for now");
        }
    }

    fn report_orphans(self: &Arc<Self>, id: FilesetId) -> Result<()> {
        let fileset = self.aggregate().fileset(id)?;
        let mut after: Option<Vnode> = None;
        loop {
            let found = fileset.read(|view| store::orphans(view, after, PAGE))?;
            for orphan in &found {
                self.step(Event::Orphaned(Fid {
                    fileset: id,
                    vnode: orphan.vnode,
                    unique: orphan.unique,
                }));
            }
            match found.last() {
                Some(last) if found.len() == PAGE => after = Some(last.vnode),
                _ => return Ok(()),
            }
        }
    }
}
