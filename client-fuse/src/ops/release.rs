//! `flush` and `release`: a descriptor is closed; the last one of an open file is.

use baton_types::call::{Lock, LockKind, Patience, Request};
use bytes::Bytes;

use crate::mount::Mount;
use crate::waiting::Ask;

impl Mount {
    /// A program closes a descriptor: the locks that `owner` has on the file go, all of them, as POSIX has it.
    pub fn flush(&self, handle: u64, owner: u64, ask: &Ask<()>) {
        let handle = match self.handles.get(handle) {
            Ok(handle) => handle,
            Err(error) => return ask.answer(Err(error)),
        };
        let fid = handle.inode.fid;
        let fileset = self.filesets.get(fid.fileset);
        if !fileset.locks.lock().has(fid, owner) {
            return ask.answer(Ok(()));
        }
        let lock = Lock {
            owner,
            first: 0,
            last: u64::MAX,
            kind: LockKind::Unlock,
            pid: 0,
        };
        let request = Request::Lock {
            fid,
            lock,
            patience: Patience::None,
        };
        let asked = ask.clone();
        self.call(&handle.who, request, Bytes::new(), move |answer| {
            fileset.locks.lock().set(fid, lock);
            asked.answer(answer.map(|_| ()));
        });
    }

    /// Nobody has the file open by this handle any more.
    pub fn release(&self, handle: u64) {
        if let Some(handle) = self.handles.remove(handle) {
            self.closed(handle.inode.fid);
        }
    }

    /// Nobody has the directory open by this handle any more.
    pub fn releasedir(&self, handle: u64) {
        self.handles.remove(handle);
    }
}
