//! `setattr`: mode, owner, times, length. What is certain of a file that was made here a moment ago is told at once.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::Result;
use baton_types::call::Request;
use baton_types::file::{Object, SetAttributes};
use bytes::Bytes;

use super::{Keeps, Stat};
use crate::filesets::{Belief, Pass};
use crate::inodes::Inode;
use crate::mount::{Change, Mount};
use crate::waiting::Ask;

impl Mount {
    /// Sets attributes of the inode with this number; of an open file as whoever opened it.
    pub fn setattr(&self, who: &Arc<Who>, number: u64, handle: Option<u64>, set: SetAttributes, ask: &Ask<Stat>) {
        let opener = handle
            .and_then(|handle| self.handles.get(handle).ok())
            .map(|handle| handle.who.clone());
        // Cutting a file is what it was opened for; the rest its owner alone may.
        let who = opener.filter(|_| set.size.is_some()).unwrap_or_else(|| who.clone());
        let asked = ask.clone();
        self.with(number, ask, move |mount, inode, pass| {
            let change = Change {
                who,
                pass,
                about: Some(inode.clone()),
                others: Vec::new(),
                request: Request::Setattr {
                    fid: inode.fid,
                    set,
                    time: mount.sessions().date(inode.fid.fileset),
                },
                payload: Bytes::new(),
            };
            // Not kept: the kernel takes this answer in whatever it was told to forget meanwhile.
            let stat = |inode: &Inode, attributes| Stat {
                number: inode.number,
                attributes,
                keeps: Keeps::Not,
            };
            let may = |belief: Belief| {
                let stay = belief.stay();
                stay.is_some_and(|stay| inode.may_surely_set(stay, &change.who, &set))
            };
            let is_certain = change.pass.believe(may);
            let ahead = (inode.clone(), asked.clone(), change.pass.clone());
            let done = move |_: &Arc<Mount>, _: Pass, object: Result<Object>| match object {
                Err(error) if asked.is_over() => {
                    tracing::warn!(%error, fid = %inode.fid, "what a program set of a file is lost");
                    inode.fail(error);
                }
                object => asked.answer_with(|| {
                    let object = object?;
                    Ok(stat(&inode, object.attributes))
                }),
            };
            if !is_certain {
                return mount.change(change, done);
            }
            let taken = move || {
                let (inode, asked, pass) = ahead;
                pass.believe(|belief| {
                    if let (Some(_), Some(attributes)) = (belief.stay(), inode.foreseen()) {
                        asked.answer(Ok(stat(&inode, attributes)));
                    }
                });
            };
            mount.queue(change, taken, done);
        });
    }
}
