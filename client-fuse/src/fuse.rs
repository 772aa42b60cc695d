//! What the kernel asks, handed to [`Mount`]; what that says, handed to the kernel. Nothing is decided here.

mod reply;

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use baton_rpc::sessions::Who;
use baton_types::Timestamp;
use baton_types::call::{Allocate, At, Lock, LockKind, Patience, SetXattr, Sought};
use baton_types::file::{FileKind, SetAttributes, SetTime};
use bytes::Bytes;
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo, IoctlFlags, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};

use crate::kernel;
use crate::mount::Mount;
use crate::ops::{Meets, New, Piece, SYMLINK_MODE, Start, There, When, With};
use crate::waiting::{Ask, GivesUp, Reply};

/// Bits of a mode that are rights.
const RIGHTS: u32 = 0o7777;
/// The kernel's number for the end of a file, wherever that is, in a lock.
const LOCK_END: u64 = i64::MAX as u64;

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

    fn ask_until<T: Send + 'static>(
        &self,
        request: &Request,
        gives_up: GivesUp,
        reply: Reply<T>,
        hand_on: impl FnOnce(&Mount, &Ask<T>),
    ) {
        let ask = Ask::new(request.pid(), gives_up, reply);
        hand_on(&self.0, &ask);
        self.0.waiting.watch(&ask);
    }
}

fn new(directory: INodeNo, name: &OsStr, mode: u32, umask: u32) -> New {
    New {
        directory: directory.0,
        name: name.as_bytes().to_vec(),
        mode: mode & !umask & RIGHTS,
    }
}

fn time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(date) => SetTime::To(timestamp(date)),
    }
}

fn timestamp(date: SystemTime) -> Timestamp {
    let nanos = match date.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
    };
    Timestamp(nanos)
}

fn lock(owner: LockOwner, start: u64, end: u64, kind: i32, pid: u32) -> Option<Lock> {
    let kind = match kind {
        libc::F_RDLCK => LockKind::Read,
        libc::F_WRLCK => LockKind::Write,
        libc::F_UNLCK => LockKind::Unlock,
        _ => return None,
    };
    Some(Lock {
        owner: owner.0,
        first: start,
        last: if end >= LOCK_END { u64::MAX } else { end },
        kind,
        pid,
    })
}

fn allocate(mode: i32) -> Option<Allocate> {
    const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    match mode {
        0 => Some(Allocate::Extend),
        libc::FALLOC_FL_KEEP_SIZE => Some(Allocate::KeepSize),
        PUNCH => Some(Allocate::PunchHole),
        libc::FALLOC_FL_ZERO_RANGE => Some(Allocate::Zero),
        _ => None,
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

    fn getattr(&self, request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let who = self.who(request);
        self.ask(request, reply::attributes(reply), |mount, ask| {
            mount.getattr(&who, ino.0, ask);
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
            mode: mode.map(|mode| mode & RIGHTS),
            uid,
            gid,
            size,
            accessed: atime.map(time),
            modified: mtime.map(time),
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
        let kind = match mode & libc::S_IFMT {
            libc::S_IFREG | 0 => FileKind::Regular,
            libc::S_IFIFO => FileKind::Fifo,
            libc::S_IFSOCK => FileKind::Socket,
            libc::S_IFCHR => FileKind::Character,
            libc::S_IFBLK => FileKind::BlockDevice,
            _ => return reply.error(Errno::EINVAL),
        };
        let (who, new) = (self.who(request), new(parent, name, mode, umask));
        let device = reply::device_from_kernel(rdev);
        self.ask(request, reply::entry(reply), |mount, ask| {
            mount.mknod(&who, new, kind, device, ask);
        });
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let (who, new) = (self.who(request), new(parent, name, mode, umask));
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
        let (who, new) = (self.who(request), new(parent, name, SYMLINK_MODE, 0));
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
        let meets = match flags {
            RenameFlags::RENAME_NOREPLACE => Meets::Nothing,
            RenameFlags::RENAME_EXCHANGE => Meets::Partner,
            flags if flags.is_empty() => Meets::Anything,
            _ => return reply.error(Errno::EINVAL),
        };
        let who = self.who(request);
        let (source, target) = ((parent.0, name.as_bytes()), (newparent.0, newname.as_bytes()));
        self.ask(request, reply::done(reply), |mount, ask| {
            mount.rename(&who, source, target, meets, ask);
        });
    }

    fn link(&self, request: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (who, new) = (self.who(request), new(parent, name, 0, 0));
        self.ask(request, reply::entry(reply), |mount, ask| {
            mount.link(&who, ino.0, new, ask);
        });
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let start = if flags.0 & libc::O_TRUNC == 0 {
            Start::AsIs
        } else {
            Start::Empty
        };
        let who = self.who(request);
        self.ask(request, reply::opened(reply), |mount, ask| {
            mount.open(&who, ino.0, start, ask);
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
        let there = if flags & libc::O_EXCL == 0 {
            There::Maybe
        } else {
            There::No
        };
        let (who, new) = (self.who(request), new(parent, name, mode, umask));
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
        // A page that a program wrote to through memory goes where it is, however the file was opened.
        let is_append = flags.0 & libc::O_APPEND != 0 && !write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let at = if is_append { At::End } else { At::Offset(offset) };
        // After a write through the page cache the kernel asks for `fsync` by itself.
        let is_durable = flags.0 & libc::O_DIRECT != 0 && flags.0 & libc::O_DSYNC != 0;
        let when = if is_durable { When::Durable } else { When::Accepted };
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

    fn fsync(&self, request: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.ask(request, reply::done(reply), |mount, ask| mount.fsync(ino.0, ask));
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

    fn fsyncdir(&self, request: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.ask(request, reply::done(reply), |mount, ask| mount.fsync(ino.0, ask));
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
        let how = match flags {
            0 => SetXattr::Always,
            libc::XATTR_CREATE => SetXattr::Create,
            libc::XATTR_REPLACE => SetXattr::Replace,
            _ => return reply.error(Errno::EINVAL),
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
        let Some(lock) = lock(owner, start, end, kind, pid) else {
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
        let Some(lock) = lock(owner, start, end, kind, pid) else {
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
        let Some(how) = allocate(mode) else {
            return reply.error(Errno::EOPNOTSUPP);
        };
        self.ask(request, reply::done(reply), |mount, ask| {
            mount.fallocate(fh.0, offset, length, how, ask);
        });
    }

    fn lseek(&self, request: &Request, _: INodeNo, fh: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let sought = match whence {
            libc::SEEK_DATA => Sought::Data,
            libc::SEEK_HOLE => Sought::Hole,
            _ => return reply.error(Errno::EINVAL),
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
