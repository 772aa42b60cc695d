//! `getlk` and `setlk`: byte ranges that programs keep others from. The server knows them all, of all mounts.

use std::sync::Arc;

use baton_rpc::sessions::{Order, Who};
use baton_types::call::{Answer, Lock, LockKind, Patience, Request};
use baton_types::{Kind, Result};
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
            let (sessions, calling, waiting) = (mount.sessions().clone(), who.clone(), asked.clone());
            let mount = mount.clone();
            let done = move |answer: Result<(Answer, Bytes)>| match answer {
                Ok((Answer::Done | Answer::InTheWay(None), _)) => mount.locked(&who, &inode, &pass, lock, &asked),
                Ok((Answer::InTheWay(Some(_)), _)) => asked.refuse(libc::EAGAIN),
                Ok((other, _)) => asked.answer(Err(unexpected(&other))),
                Err(error) if error.kind == Kind::TimedOut && asked.is_stopped() => asked.refuse(libc::EINTR),
                Err(error) => asked.answer(Err(error)),
            };
            let call = sessions.call(&calling, Order::Free, request, Bytes::new(), Box::new(done));
            if patience == Patience::Wait {
                waiting.stop_by(move || sessions.cancel(call));
            }
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

    /// The program that waited for it was killed, and nobody unlocks for it.
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
