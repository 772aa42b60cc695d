//! `lseek`: where data or a hole begins. All other seeking the kernel does itself.

use baton_types::call::{Answer, Request, Sought};
use bytes::Bytes;

use crate::mount::{Mount, unexpected};
use crate::waiting::Ask;

impl Mount {
    /// Where `sought` begins, from `offset` on.
    pub fn lseek(&self, handle: u64, offset: u64, sought: Sought, ask: &Ask<u64>) {
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
            if let Err(error) = pass {
                return asked.answer(Err(error));
            }
            let request = Request::Seek { fid, offset, sought };
            mount.call(&handle.who, request, Bytes::new(), move |answer| match answer {
                Ok((Answer::Sought(Some(place)), _)) => asked.answer(Ok(place)),
                Ok((Answer::Sought(None), _)) => asked.refuse(libc::ENXIO),
                Ok((other, _)) => asked.answer(Err(unexpected(&other))),
                Err(error) => asked.answer(Err(error)),
            });
        });
    }
}
