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
        let inode = self.inodes.get(number);
        let fileset = inode.map(|inode| self.filesets.get(inode.fid.fileset));
        self.late(ask, move || {
            fileset.map_or_else(|_| Usage::default(), |fileset| *fileset.usage.lock())
        });
    }

    /// Sees to it that the root of the mount is told in time, as it was when a server last told.
    pub(super) fn answer_root_late(&self, ask: &Ask<Stat>) {
        let mount = self.this();
        self.late(ask, move || {
            let inode = mount.inodes.get(ROOT);
            let root = inode.and_then(|inode| mount.filesets.get(inode.fid.fileset).root());
            Stat {
                number: ROOT,
                attributes: root.map_or_else(|_| unknown_root(), |root| root.attributes),
                keeps: Keeps::Not,
            }
        });
    }

    /// Answers with what is known, if nothing better has come by then.
    fn late<T: Send + 'static>(&self, ask: &Ask<T>, known: impl FnOnce() -> T + Send + 'static) {
        if ask.is_over() {
            return;
        }
        let ask = ask.clone();
        self.waiting.later(LATE, move || ask.answer_with(|| Ok(known())));
    }
}

/// What is shown of a root that no server has told of yet: a directory that everybody may look into and wait.
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
