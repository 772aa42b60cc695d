//! `getlk` and `setlk`: byte ranges that programs keep others from. The server knows them all, of all mounts.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::call::{Answer, Lock, LockKind, Patience, Request};
use bytes::Bytes;

use crate::filesets::Pass;
use crate::mount::{Mount, unexpected};
use crate::waiting::Ask;

/// A lock as the kernel says it.
pub type Range = Lock;

impl Mount {
    /// The lock that is in the way of `lock`; `None`: none.
    pub fn getlk(&self, who: &Arc<Who>, number: u64, lock: Range, ask: &Ask<Option<Lock>>) {
        let (who, asked) = (who.clone(), ask.clone());
        self.with(number, ask, move |mount, inode, _| {
            let request = Request::TestLock { fid: inode.fid, lock };
            mount.call(&who, request, Bytes::new(), move |answer| {
                asked.answer_with(|| match answer? {
                    (Answer::InTheWay(other), _) => Ok(other),
                    (other, _) => Err(unexpected(&other)),
                });
            });
        });
    }

    /// Sets a lock on an open file or takes one away.
    pub fn setlk(&self, who: &Arc<Who>, handle: u64, lock: Range, patience: Patience, ask: &Ask<()>) {
        let handle = match self.handles.get(handle) {
            Ok(handle) => handle,
            Err(error) => return ask.answer(Err(error)),
        };
        handle.owners.lock().insert(lock.owner);
        let (who, asked) = (who.clone(), ask.clone());
        self.with(handle.inode.number, ask, move |mount, inode, pass| {
            let request = Request::Lock {
                fid: inode.fid,
                lock,
                patience,
            };
            let calling = mount.clone();
            let mount = mount.clone();
            calling.call(&who.clone(), request, Bytes::new(), move |answer| match answer {
                Ok((Answer::Done | Answer::InTheWay(None), _)) => mount.locked(&who, &inode, &pass, lock, &asked),
                Ok((Answer::InTheWay(Some(_)), _)) => asked.refuse(libc::EAGAIN),
                Ok((other, _)) => asked.answer(Err(unexpected(&other))),
                Err(error) => asked.answer(Err(error)),
            });
        });
    }

    fn locked(&self, who: &Arc<Who>, inode: &Arc<crate::inodes::Inode>, pass: &Pass, lock: Lock, ask: &Ask<()>) {
        let fid = inode.fid;
        pass.fileset.locks.lock().set(fid, lock);
        let mut is_told = false;
        ask.answer_with(|| {
            is_told = true;
            Ok(())
        });
        if !is_told && lock.kind != LockKind::Unlock {
            self.give_back_lock(who, pass, fid, lock);
        }
    }

    /// The program that waited for it was signalled, and does not know that it has it.
    fn give_back_lock(&self, who: &Arc<Who>, pass: &Pass, fid: baton_types::Fid, lock: Lock) {
        let unlock = Lock {
            kind: LockKind::Unlock,
            ..lock
        };
        let request = Request::Lock {
            fid,
            lock: unlock,
            patience: Patience::None,
        };
        let fileset = pass.fileset.clone();
        self.call(who, request, Bytes::new(), move |answer| {
            if let Err(error) = answer {
                tracing::warn!(%error, %fid, "a lock that nobody waits for is not given back");
            }
            fileset.locks.lock().set(fid, unlock);
        });
    }
}
