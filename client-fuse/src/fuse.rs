//! What the kernel asks, handed to [`Mount`]; what that says, handed to the kernel. Nothing is decided here.

mod asked;
mod reply;

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use baton_rpc::sessions::Who;
use baton_types::call::Patience;
use baton_types::file::SetAttributes;
use bytes::Bytes;
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo, IoctlFlags, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};

use crate::kernel;
use crate::mount::Mount;
use crate::nearby;
use crate::ops::{Piece, SYMLINK_MODE, With};
use crate::waiting::{Ask, GivesUp, Reply};

/// One mount, as `fuser` wants it.
#[derive(Clone)]
pub struct Fuse(pub Arc<Mount>);

impl Fuse {
    fn who(&self, request: &Request) -> Arc<Who> {
        self.0.threads.who(request.uid(), request.gid(), request.pid())
    }

    /// Hands a request on, and sees to whoever waits for it if it is not answered at once.
    fn ask<T: Send + 'static>(&self, request: &Request, reply: Reply<T>, hand_on: impl FnOnce(&Mount, &Ask<T>)) {
        self.ask_until(request, GivesUp::WhenKilled, reply, hand_on);
    }

    /// Notes who is told that a file is gone.
    fn noting<T: 'static>(&self, thread: u32, reply: Reply<T>) -> Reply<T> {
        let gone = self.0.gone.clone();
        Box::new(move |result| {
            if let Err(libc::ESTALE) = result {
                gone.met(thread);
            }
            reply(result);
        })
    }

    fn ask_until<T: Send + 'static>(
        &self,
        request: &Request,
        gives_up: GivesUp,
        reply: Reply<T>,
        hand_on: impl FnOnce(&Mount, &Ask<T>),
    ) {
        nearby::asked(request.pid());
        let ask = Ask::new(request.pid(), gives_up, self.noting(request.pid(), reply));
        hand_on(&self.0, &ask);
        self.0.waiting.watch(&ask);
    }
}

impl Filesystem for Fuse {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        kernel::ask_for(config)
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let who = self.who(request);
        self.ask(request, reply::entry(reply), |mount, ask| {
            mount.lookup(&who, parent.0, name.as_bytes(), ask);
        });
    }

    fn forget(&self, _: &Request, ino: INodeNo, count: u64) {
        self.0.forget(ino.0, count);
    }

    fn getattr(&self, request: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        let (who, handle) = (self.who(request), fh.map(|fh| fh.0));
        self.ask(request, reply::attributes(reply), |mount, ask| {
            mount.getattr(&who, ino.0, handle, ask);
        });
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        fh: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = SetAttributes {
            mode: mode.map(|mode| mode & asked::RIGHTS),
            uid,
            gid,
            size,
            accessed: atime.map(asked::time),
            modified: mtime.map(asked::time),
        };
        let (who, handle) = (self.who(request), fh.map(|fh| fh.0));
        self.ask(request, reply::attributes(reply), |mount, ask| {
            mount.setattr(&who, ino.0, handle, set, ask);
        });
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        let who = self.who(request);
        self.ask(request, reply::data(reply), |mount, ask| {
            mount.readlink(&who, ino.0, ask);
        });
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let Some(kind) = asked::node(mode) else {
            return reply.error(Errno::EINVAL);
        };
        let (who, new) = (self.who(request), asked::new(parent, name, mode, umask));
        let device = reply::device_from_kernel(rdev);
        self.ask(request, reply::entry(reply), |mount, ask| {
            mount.mknod(&who, new, kind, device, ask);
        });
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let (who, new) = (self.who(request), asked::new(parent, name, mode, umask));
        self.ask(request, reply::entry(reply), |mount, ask| mount.mkdir(&who, new, ask));
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let who = self.who(request);
        self.ask(request, reply::done(reply), |mount, ask| {
            mount.unlink(&who, parent.0, name.as_bytes(), ask);
        });
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let who = self.who(request);
        self.ask(request, reply::done(reply), |mount, ask| {
            mount.rmdir(&who, parent.0, name.as_bytes(), ask);
        });
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (who, new) = (self.who(request), asked::new(parent, name, SYMLINK_MODE, 0));
        let target = target.as_os_str().as_bytes().to_vec();
        self.ask(request, reply::entry(reply), |mount, ask| {
            mount.symlink(&who, new, target, ask);
        });
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let Some(meets) = asked::meets(flags) else {
            return reply.error(Errno::EINVAL);
        };
        let who = self.who(request);
        let (source, target) = ((parent.0, name.as_bytes()), (newparent.0, newname.as_bytes()));
        self.ask(request, reply::done(reply), |mount, ask| {
            mount.rename(&who, source, target, meets, ask);
        });
    }

    fn link(&self, request: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (who, new) = (self.who(request), asked::new(parent, name, 0, 0));
        self.ask(request, reply::entry(reply), |mount, ask| {
            mount.link(&who, ino.0, new, ask);
        });
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (who, purpose) = (self.who(request), asked::purpose(flags));
        self.ask(request, reply::opened(reply), |mount, ask| {
            mount.open(&who, ino.0, purpose, ask);
        });
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let there = asked::there(flags);
        let (who, new) = (self.who(request), asked::new(parent, name, mode, umask));
        self.ask(request, reply::created(reply), |mount, ask| {
            mount.create(&who, new, there, ask);
        });
    }

    fn read(
        &self,
        request: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.ask(request, reply::data(reply), |mount, ask| {
            mount.read(fh.0, offset, size, ask);
        });
    }

    fn write(
        &self,
        request: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (at, when) = (asked::at(offset, flags, write_flags), asked::when(flags));
        let bytes = Bytes::copy_from_slice(data);
        self.ask(request, reply::written(reply), |mount, ask| {
            mount.write(fh.0, at, bytes, when, ask);
        });
    }

    fn flush(&self, request: &Request, _: INodeNo, fh: FileHandle, owner: LockOwner, reply: ReplyEmpty) {
        self.ask(request, reply::done(reply), |mount, ask| {
            mount.flush(fh.0, owner.0, ask);
        });
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.0.release(fh.0);
        reply.ok();
    }

    fn fsync(&self, request: &Request, ino: INodeNo, fh: FileHandle, _: bool, reply: ReplyEmpty) {
        self.ask(request, reply::done(reply), |mount, ask| mount.fsync(ino.0, fh.0, ask));
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let who = self.who(request);
        self.ask(request, reply::directory_opened(reply), |mount, ask| {
            mount.opendir(&who, ino.0, ask);
        });
    }

    fn readdir(&self, request: &Request, _: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectory) {
        self.ask(request, reply::names(reply), |mount, ask| {
            mount.readdir(fh.0, offset, With::Names, ask);
        });
    }

    fn readdirplus(&self, request: &Request, _: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectoryPlus) {
        self.ask(request, reply::names_and_attributes(reply), |mount, ask| {
            mount.readdir(fh.0, offset, With::Attributes, ask);
        });
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.0.releasedir(fh.0);
        reply.ok();
    }

    fn fsyncdir(&self, request: &Request, ino: INodeNo, fh: FileHandle, _: bool, reply: ReplyEmpty) {
        self.ask(request, reply::done(reply), |mount, ask| mount.fsync(ino.0, fh.0, ask));
    }

    fn statfs(&self, request: &Request, ino: INodeNo, reply: ReplyStatfs) {
        let who = self.who(request);
        self.ask(request, reply::usage(reply), |mount, ask| {
            mount.statfs(&who, ino.0, ask);
        });
    }

    fn setxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let Some(how) = asked::set_xattr(flags) else {
            return reply.error(Errno::EINVAL);
        };
        let (who, value) = (self.who(request), Bytes::copy_from_slice(value));
        self.ask(request, reply::done(reply), |mount, ask| {
            mount.setxattr(&who, ino.0, (name.as_bytes(), how), value, ask);
        });
    }

    fn getxattr(&self, request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let who = self.who(request);
        self.ask(request, reply::sized(reply), |mount, ask| {
            mount.getxattr(&who, ino.0, name.as_bytes(), size, ask);
        });
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let who = self.who(request);
        self.ask(request, reply::sized(reply), |mount, ask| {
            mount.listxattr(&who, ino.0, size, ask);
        });
    }

    fn removexattr(&self, request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let who = self.who(request);
        self.ask(request, reply::done(reply), |mount, ask| {
            mount.removexattr(&who, ino.0, name.as_bytes(), ask);
        });
    }

    /// The kernel judges by itself from the mode bits (`default_permissions`), and does not ask.
    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        reply.ok();
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    fn getlk(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        owner: LockOwner,
        start: u64,
        end: u64,
        kind: i32,
        pid: u32,
        reply: ReplyLock,
    ) {
        let Some(lock) = asked::lock(owner, start, end, kind, pid) else {
            return reply.error(Errno::EINVAL);
        };
        let who = self.who(request);
        self.ask(request, reply::in_the_way(reply, lock), |mount, ask| {
            mount.getlk(&who, ino.0, lock, ask);
        });
    }

    fn setlk(
        &self,
        request: &Request,
        _: INodeNo,
        fh: FileHandle,
        owner: LockOwner,
        start: u64,
        end: u64,
        kind: i32,
        pid: u32,
        sleep: bool,
        reply: ReplyEmpty,
    ) {
        let Some(lock) = asked::lock(owner, start, end, kind, pid) else {
            return reply.error(Errno::EINVAL);
        };
        let (patience, gives_up) = match sleep {
            true => (Patience::Wait, GivesUp::WhenSignalled),
            false => (Patience::None, GivesUp::WhenKilled),
        };
        let who = self.who(request);
        self.ask_until(request, gives_up, reply::done(reply), |mount, ask| {
            mount.setlk(&who, fh.0, lock, patience, ask);
        });
    }

    fn fallocate(
        &self,
        request: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let Some(how) = asked::allocate(mode) else {
            return reply.error(Errno::EOPNOTSUPP);
        };
        self.ask(request, reply::done(reply), |mount, ask| {
            mount.fallocate(fh.0, offset, length, how, ask);
        });
    }

    fn lseek(&self, request: &Request, _: INodeNo, fh: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let Some(sought) = asked::sought(whence) else {
            return reply.error(Errno::EINVAL);
        };
        let Ok(offset) = u64::try_from(offset) else {
            return reply.error(Errno::ENXIO);
        };
        self.ask(request, reply::place(reply), |mount, ask| {
            mount.lseek(fh.0, offset, sought, ask);
        });
    }

    fn copy_file_range(
        &self,
        request: &Request,
        _: INodeNo,
        fh_in: FileHandle,
        offset_in: u64,
        _: INodeNo,
        fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let piece = |fh: FileHandle, offset| Piece { handle: fh.0, offset };
        let (source, target) = (piece(fh_in, offset_in), piece(fh_out, offset_out));
        self.ask(request, reply::written(reply), |mount, ask| {
            mount.copy_file_range(source, target, len, ask);
        });
    }
}
