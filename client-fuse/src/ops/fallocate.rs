//! `fallocate`: room for bytes, or holes.

use baton_types::call::{Allocate, Request};
use bytes::Bytes;

use crate::mount::{Change, Mount};
use crate::waiting::Ask;

impl Mount {
    /// Does `how` to `len` bytes from `offset` on.
    pub fn fallocate(&self, handle: u64, offset: u64, len: u64, how: Allocate, ask: &Ask<()>) {
        let handle = match self
            .handles
            .get(handle)
            .and_then(|handle| handle.usable().map(|()| handle))
        {
            Ok(handle) => handle,
            Err(error) => return ask.answer(Err(error)),
        };
        let asked = ask.clone();
        let fid = handle.inode.fid;
        self.enter(fid.fileset, move |mount, pass| {
            let pass = match pass {
                Ok(pass) => pass,
                Err(error) => return asked.answer(Err(error)),
            };
            let change = Change {
                who: handle.who.clone(),
                pass,
                about: Some(handle.inode.clone()),
                others: Vec::new(),
                request: Request::Fallocate {
                    fid,
                    offset,
                    len,
                    how,
                    time: mount.sessions().date(fid.fileset),
                },
                payload: Bytes::new(),
            };
            mount.change(change, move |_, _, object| asked.answer(object.map(|_| ())));
        });
    }
}
