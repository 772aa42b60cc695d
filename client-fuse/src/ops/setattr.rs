//! `setattr`: mode, owner, times, length.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::call::Request;
use baton_types::file::SetAttributes;
use bytes::Bytes;

use super::{Keeps, Stat};
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
            mount.change(change, move |_, _, object| {
                asked.answer_with(|| {
                    let object = object?;
                    // Not kept: the kernel takes this answer in whatever it was told to forget meanwhile.
                    Ok(Stat {
                        number: inode.number,
                        attributes: object.attributes,
                        keeps: Keeps::Not,
                    })
                });
            });
        });
    }
}
