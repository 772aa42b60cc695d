//! `fsync`, `fsyncdir`: what was accepted becomes durable.
//!
//! Everything that this client changed in the fileset so far, not the one file alone: the log is one, and what comes
//! before a change in it is durable before that change is.

use baton_types::Result;

use crate::filesets::Pass;
use crate::mount::Mount;
use crate::queued::Which;
use crate::waiting::Ask;

/// When a write is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// When the server has taken it.
    Accepted,
    /// When no crash can take it back (`O_SYNC`, `O_DSYNC`).
    Durable,
    /// As that, by a handle that the kernel keeps no pages of; by others it asks for `fsync` itself.
    DurablePastPages,
}

impl Mount {
    /// Answers when all changes in the fileset of this inode are durable; says if one of the file failed that this
    /// handle was told is done.
    pub fn fsync(&self, number: u64, handle: u64, ask: &Ask<()>) {
        let (asked, handle) = (ask.clone(), self.handles.get(handle).ok());
        self.with(number, ask, move |mount, _, pass| {
            let (mount, fileset) = (mount.clone(), pass.fileset.clone());
            mount.clone().after(&fileset, Which::All, move || {
                mount.make_durable(&pass, move |durable| {
                    let failed = handle.map_or(Ok(()), |handle| handle.failed());
                    asked.answer(durable.and(failed));
                });
            });
        });
    }

    pub(super) fn make_durable(&self, pass: &Pass, then: impl FnOnce(Result<()>) + Send + 'static) {
        match pass.fileset.lsn() {
            0 => then(Ok(())), // nothing was changed
            _ => {
                let done = move |answer: Result<_>| then(answer.map(|_| ()));
                self.sessions().sync(pass.fileset.id, Box::new(done));
            }
        }
    }
}
