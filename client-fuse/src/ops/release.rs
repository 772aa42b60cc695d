//! `flush` and `release`: a descriptor is closed; the last one of an open file is.

use baton_types::call::{Lock, LockKind, Patience, Request};
use bytes::Bytes;

use crate::handles::Handle;
use crate::mount::Mount;
use crate::waiting::{Ask, GivesUp};

impl Mount {
    /// A program closes a descriptor: the locks that `owner` has on the file go, all of them, as POSIX has it.
    pub fn flush(&self, handle: u64, owner: u64, ask: &Ask<()>) {
        match self.handles.get(handle) {
            Ok(handle) => self.unlock_all(&handle, owner, ask),
            Err(error) => ask.answer(Err(error)),
        }
    }

    fn unlock_all(&self, handle: &Handle, owner: u64, ask: &Ask<()>) {
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

    /// Nobody has the file open by this handle any more. Locks that belong to the open file and not to a program
    /// (`F_OFD_SETLK`) go with it: the kernel says so in no other way.
    pub fn release(&self, handle: u64) {
        let Some(handle) = self.handles.remove(handle) else {
            return;
        };
        for owner in std::mem::take(&mut *handle.owners.lock()) {
            let nobody = Ask::new(0, GivesUp::WhenKilled, Box::new(|_| {}));
            self.unlock_all(&handle, owner, &nobody);
        }
        self.closed(handle.inode.fid);
    }

    /// Nobody has the directory open by this handle any more.
    pub fn releasedir(&self, handle: u64) {
        self.handles.remove(handle);
    }
}
