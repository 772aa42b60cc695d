//! `statfs`, and what `df` and `stat` of a mount's root are told when no server answers: they never wait for long.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::Timestamp;
use baton_types::call::{Answer, Request};
use baton_types::file::{Attributes, FileKind, Usage};
use bytes::Bytes;

use super::{Keeps, Stat};
use crate::mount::{Mount, ROOT, unexpected};
use crate::waiting::Ask;

/// After so long, in microseconds, what was told last has to do.
const LATE: u64 = 1_000_000;

impl Mount {
    /// What the fileset of this inode takes and may take.
    pub fn statfs(&self, who: &Arc<Who>, number: u64, ask: &Ask<Usage>) {
        let fileset = self
            .inodes
            .get(number)
            .map(|inode| self.filesets.get(inode.fid.fileset));
        let late = ask.clone();
        self.waiting.later(LATE, move || {
            let last = fileset.map_or_else(|_| Usage::default(), |fileset| *fileset.usage.lock());
            late.answer(Ok(last));
        });
        let (who, asked) = (who.clone(), ask.clone());
        self.with(number, ask, move |mount, inode, pass| {
            let fileset = inode.fid.fileset;
            mount.call(&who, Request::Statfs { fileset }, Bytes::new(), move |answer| {
                asked.answer_with(|| match answer? {
                    (Answer::Usage(usage), _) => {
                        *pass.fileset.usage.lock() = usage;
                        Ok(usage)
                    }
                    (other, _) => Err(unexpected(&other)),
                });
            });
        });
    }

    /// Sees to it that the root of the mount is told in time, as it was when a server last told.
    pub(super) fn answer_root_late(&self, ask: &Ask<Stat>) {
        let (mount, ask) = (self.this(), ask.clone());
        self.waiting.later(LATE, move || {
            let root = mount
                .inodes
                .get(ROOT)
                .and_then(|inode| mount.filesets.get(inode.fid.fileset).root());
            let attributes = root.map_or_else(|_| unknown_root(), |root| root.attributes);
            ask.answer(Ok(Stat {
                number: ROOT,
                attributes,
                keeps: Keeps::Not,
            }));
        });
    }
}

/// Nobody has told of it yet. Nobody but the kernel's group 65534 has a right by it that others do not have, so the
/// kernel looks for no ACL.
fn unknown_root() -> Attributes {
    let never = Timestamp(0);
    Attributes {
        kind: FileKind::Directory,
        mode: 0o555,
        uid: 0,
        gid: 65_534,
        links: 2,
        size: 0,
        blocks: 0,
        data_version: 0,
        accessed: never,
        modified: never,
        changed: never,
        created: never,
        parent: None,
        device: 0,
        acl: 0,
    }
}
