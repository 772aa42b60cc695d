//! Changes: asked for in their order with what is queued, and the books that are kept about them.

use std::sync::Arc;

use baton_rpc::sessions::{Done, Order, Who};
use baton_types::call::{Answer, Request};
use baton_types::file::Object;
use baton_types::{Error, Fid, Kind, Result};
use bytes::Bytes;

use super::{Mount, unexpected};
use crate::filesets::{Changing, Pass};
use crate::inodes::Inode;
use crate::room::CHANGE_BYTES;

/// A change, and what it is about.
pub(crate) struct Change {
    pub who: Arc<Who>,
    pub pass: Pass,
    /// The answer tells its attributes.
    pub about: Option<Arc<Inode>>,
    /// They change, too.
    pub others: Vec<Arc<Inode>>,
    pub request: Request,
    pub payload: Bytes,
}

/// When a program is told that a change is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// As soon as it is queued: it is certain what comes of it.
    Ahead,
    /// When its server has answered.
    Late,
}

/// A change that is in the books, and is to be asked for.
struct Begun {
    who: Arc<Who>,
    others: Vec<Arc<Inode>>,
    request: Request,
    payload: Bytes,
    done: Done,
}

impl Change {
    fn inodes(&self) -> impl Iterator<Item = &Arc<Inode>> {
        self.about.iter().chain(&self.others)
    }

    fn files(&self) -> Vec<Fid> {
        let inodes = self.inodes().map(|inode| inode.fid);
        let mut files: Vec<Fid> = inodes.chain(self.request.files().into_iter().flatten()).collect();
        files.sort_unstable();
        files.dedup();
        files
    }
}

impl Mount {
    /// Asks for a change and keeps the books about it: of `about` the answer tells the attributes, of `others` nothing.
    /// What is queued of these files comes before it.
    pub(crate) fn change(&self, change: Change, done: impl FnOnce(&Arc<Mount>, Pass, Result<Object>) + Send + 'static) {
        let fixed = change.inodes().find(|inode| self.never_changes(inode)).cloned();
        if let Some(inode) = fixed {
            return done(&self.this(), change.pass, Err(read_only(&inode)));
        }
        let queued = &change.pass.fileset.queued;
        let is_after = match change.request {
            // What loses its name may be one of those that are queued, and the kernel may have forgotten it.
            Request::Unlink { .. } | Request::Rmdir { .. } | Request::Rename { .. } => !queued.is_over(),
            _ => queued.touches(&change.files()),
        };
        let order = match is_after {
            true => Order::Queued,
            false => Order::Free,
        };
        let begun = self.begin_change(change, Heard::Late, done);
        self.sessions()
            .call(&begun.who, order, begun.request, begun.payload, begun.done);
        begun.others.iter().for_each(|inode| inode.asked());
    }

    /// The same, and others of these files wait for it. `taken` is done as soon as nothing that comes later can come
    /// before it, and the session keeps it: then a program need not wait for the answer.
    pub(crate) fn queue(
        &self,
        change: Change,
        taken: impl FnOnce() + Send + 'static,
        done: impl FnOnce(&Arc<Mount>, Pass, Result<Object>) + Send + 'static,
    ) {
        if change.inodes().any(|inode| self.never_changes(inode)) {
            return self.change(change, done);
        }
        let fileset = change.pass.fileset.clone();
        let number = fileset.queued.begin(change.files());
        fileset.room.takes(change.payload.len() as u64 + CHANGE_BYTES);
        let done = move |mount: &Arc<Mount>, pass, object| {
            done(mount, pass, object);
            fileset.queued.end(number);
        };
        let begun = self.begin_change(change, Heard::Ahead, done);
        self.sessions()
            .queue(&begun.who, begun.request, begun.payload, Box::new(taken), begun.done);
        begun.others.iter().for_each(|inode| inode.asked());
    }

    fn begin_change(
        &self,
        change: Change,
        heard: Heard,
        done: impl FnOnce(&Arc<Mount>, Pass, Result<Object>) + Send + 'static,
    ) -> Begun {
        let Change {
            who,
            pass,
            about,
            others,
            request,
            payload,
        } = change;
        let mount = self.this();
        let changing: Changing = pass.change();
        let stay = pass.believe(|belief| belief.stay());
        // Before they begin: what is believed of a directory is what its next name is counted from.
        others
            .iter()
            .for_each(|inode| inode.foresee_name(&request, heard, stay));
        about.iter().chain(&others).for_each(|inode| inode.begin());
        self.whole.changing(&request);
        if let Some(inode) = &about {
            inode.foresee(&request, payload.len() as u64, heard);
        }
        let begun = others.clone();
        let answered = move |answer: Result<(Answer, Bytes)>| {
            let outcome = answer.and_then(|(answer, _)| match answer {
                Answer::Changed { object, lsn, .. } => Ok((object, lsn)),
                other => Err(unexpected(&other)),
            });
            pass.believe(|belief| {
                let after = outcome.as_ref().ok();
                if let Some((_, lsn)) = after {
                    pass.fileset.changed(*lsn);
                }
                if let Some(inode) = &about {
                    let known = after.filter(|(object, _)| object.fid == inode.fid);
                    inode.end(known.map(|(object, lsn)| (*lsn, object.attributes)), belief.stay());
                }
                others.iter().for_each(|inode| inode.end(None, None));
            });
            done(&mount, pass, outcome.map(|(object, _)| object));
            drop(changing);
        };
        Begun {
            who,
            others: begun,
            request,
            payload,
            done: Box::new(answered),
        }
    }
}

/// The refusal of a change where nothing changes.
pub(crate) fn read_only(inode: &Inode) -> Error {
    Error::new(Kind::ReadOnly, format!("file {}", inode.fid)).because("no snapshot, backup or replica is changed")
}
