//! `read`: bytes of a file, as whoever opened it.

use baton_types::call::Request;
use bytes::Bytes;

use crate::mount::Mount;
use crate::waiting::Ask;

impl Mount {
    /// At most `len` bytes from `offset` on; fewer at the end of the file only.
    pub fn read(&self, handle: u64, offset: u64, len: u32, ask: &Ask<Bytes>) {
        let handle = match self
            .handles
            .get(handle)
            .and_then(|handle| handle.usable().map(|()| handle))
        {
            Ok(handle) => handle,
            Err(error) => return ask.answer(Err(error)),
        };
        let asked = ask.clone();
        self.enter(handle.inode.fid.fileset, move |mount, pass| {
            if let Err(error) = pass {
                return asked.answer(Err(error));
            }
            let request = Request::Read {
                fid: handle.inode.fid,
                offset,
                len,
            };
            mount.call(&handle.who, request, Bytes::new(), move |answer| {
                asked.answer(answer.map(|(_, bytes)| bytes));
            });
        });
    }
}
