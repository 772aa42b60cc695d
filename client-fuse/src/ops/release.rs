//! `flush` and `release`: a descriptor is closed; the last one of an open file is.

use std::sync::Arc;

use baton_types::Result;
use baton_types::call::{Answer, Lock, LockKind, Patience, Request};
use bytes::Bytes;

use crate::filesets::Fileset;
use crate::handles::Handle;
use crate::mount::{Mount, unexpected};
use crate::queued::Which;
use crate::room::{self, Known};
use crate::waiting::{Ask, GivesUp};
use crate::writers::Wrote;

impl Mount {
    /// A program closes a descriptor: it hears of what failed of what it wrote by it, and the locks that `owner` has on
    /// the file go, all of them, as POSIX has it.
    pub fn flush(&self, handle: u64, owner: u64, ask: &Ask<()>) {
        let handle = match self.handles.get(handle) {
            Ok(handle) => handle,
            Err(error) => return ask.answer(Err(error)),
        };
        let fid = handle.inode.fid;
        let fileset = self.filesets.get(fid.fileset);
        let is_writer = |handle: &Handle| handle.writers.wrote(ask.thread()) == Wrote::Maybe;
        if (fileset.queued.touches(&[fid]) || handle.has_failed()) && !is_writer(&handle) {
            return self.unlock_all(&handle, owner, ask);
        }
        let (mount, ask) = (self.this(), ask.clone());
        let heard = move || match handle.failed() {
            Ok(()) => mount.unlock_all(&handle, owner, &ask),
            Err(error) => {
                let nobody = Ask::new(0, GivesUp::WhenKilled, Box::new(|_| {}));
                mount.unlock_all(&handle, owner, &nobody);
                ask.answer(Err(error));
            }
        };
        // Nothing else than a lack of room can be foreseen to fail; a disk that breaks says so to `fsync`.
        match !fileset.queued.touches(&[fid]) || self.has_room(&fileset) {
            true => heard(),
            false => self.after(&fileset, Which::File(fid), heard),
        }
    }

    /// Whether what is queued will surely find room.
    fn has_room(&self, fileset: &Arc<Fileset>) -> bool {
        let (known, ask) = fileset.room.look(self.clock.now());
        if ask == room::Ask::Now {
            let (asking, id) = (fileset.clone(), fileset.id);
            let told = move |answer: Result<_>| match answer {
                Ok((Answer::Usage(usage), _)) => asking.room.told(&usage),
                Ok((other, _)) => drop(unexpected(&other)),
                Err(error) => tracing::debug!(%error, fileset = %asking.id, "its room is not known"),
            };
            self.call(&self.own, Request::Statfs { fileset: id }, Bytes::new(), told);
        }
        known == Known::Ample
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
