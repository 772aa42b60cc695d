//! `unlink` and `rmdir`: a name goes, and with the last one the file, unless a program has it open.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::FileName;
use baton_types::call::{Keep, Request};
use bytes::Bytes;

use super::lookup::no_names;
use super::place;
use crate::inodes::Inode;
use crate::mount::{Change, Mount};
use crate::opens::Next;
use crate::waiting::Ask;

impl Mount {
    /// Takes a name away from a file.
    pub fn unlink(&self, who: &Arc<Who>, directory: u64, name: &[u8], ask: &Ask<()>) {
        let (who, asked, name) = (who.clone(), ask.clone(), name.to_vec());
        self.with(directory, ask, move |mount, directory, pass| {
            let place = match place(&directory, &name) {
                Ok(place) => place,
                Err(error) => return asked.answer(Err(error)),
            };
            let name = place.name.clone();
            let fid = mount.inodes.named(directory.number, &name);
            // What nobody told us of may be open all the same, under another name.
            let keep = fid.map_or(Keep::Open, |fid| mount.opens.keep(fid));
            let file = fid.and_then(|fid| mount.inodes.get(directory.instance.node(fid.vnode)).ok());
            let change = Change {
                who,
                pass,
                about: file,
                others: vec![directory.clone()],
                request: Request::Unlink {
                    place,
                    keep,
                    time: mount.sessions().date(directory.fid.fileset),
                },
                payload: Bytes::new(),
            };
            mount.change(change, move |mount, _, object| {
                if let Some(fid) = fid {
                    mount.opens.kept(fid, keep);
                }
                if let Ok(object) = &object {
                    mount.inodes.unname(directory.number, &name);
                    let is_kept = keep == Keep::Open && object.attributes.links == 0;
                    if is_kept && mount.opens.kept_for_us(object.fid) == Next::Tell {
                        mount.close_at_server(object.fid);
                    }
                }
                asked.answer(object.map(|_| ()).map_err(no_names));
            });
        });
    }

    /// Removes an empty directory. One that a program has open goes all the same, as it is empty.
    pub fn rmdir(&self, who: &Arc<Who>, directory: u64, name: &[u8], ask: &Ask<()>) {
        let (who, asked, name) = (who.clone(), ask.clone(), name.to_vec());
        self.with(directory, ask, move |mount, directory, pass| {
            let place = match place(&directory, &name) {
                Ok(place) => place,
                Err(error) => return asked.answer(Err(error)),
            };
            let name = place.name.clone();
            let change = Change {
                who,
                pass,
                about: mount.known(&directory, &name),
                others: vec![directory.clone()],
                request: Request::Rmdir {
                    place,
                    keep: Keep::Closed,
                    time: mount.sessions().date(directory.fid.fileset),
                },
                payload: Bytes::new(),
            };
            mount.change(change, move |mount, _, object| {
                if let Ok(object) = &object {
                    mount.inodes.unname(directory.number, &name);
                    mount.whole.forget(object.fid);
                }
                asked.answer(object.map(|_| ()).map_err(no_names));
            });
        });
    }

    /// The inode that a name leads to, as far as the kernel was told.
    pub(super) fn known(&self, directory: &Inode, name: &FileName) -> Option<Arc<Inode>> {
        let fid = self.inodes.named(directory.number, name)?;
        self.inodes
            .get(directory.instance.node(fid.vnode))
            .ok()
            .filter(|inode| inode.fid == fid)
    }
}
