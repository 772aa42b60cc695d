//! Requests in the mount's words: what the kernel's numbers and flags stand for.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{SystemTime, UNIX_EPOCH};

use baton_types::Timestamp;
use baton_types::call::{Allocate, At, Lock, LockKind, SetXattr, Sought};
use baton_types::file::{FileKind, SetTime};
use fuser::{INodeNo, LockOwner, OpenFlags, RenameFlags, TimeOrNow, WriteFlags};

use crate::ops::{Meets, New, Purpose, Start, There, When};

/// Bits of a mode that are rights.
pub(super) const RIGHTS: u32 = 0o7777;
/// The kernel's number for the end of a file, wherever that is, in a lock.
pub(super) const LOCK_END: u64 = i64::MAX as u64;

/// Something new, with the rights that the mask leaves.
pub(super) fn new(directory: INodeNo, name: &OsStr, mode: u32, umask: u32) -> New {
    New {
        directory: directory.0,
        name: name.as_bytes().to_vec(),
        mode: mode & !umask & RIGHTS,
    }
}

/// A time to set.
pub(super) fn time(time: TimeOrNow) -> SetTime {
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

/// A lock; `None` for a kind that there is not.
pub(super) fn lock(owner: LockOwner, start: u64, end: u64, kind: i32, pid: u32) -> Option<Lock> {
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

/// What is done with room; `None` for what nobody does here.
pub(super) fn allocate(mode: i32) -> Option<Allocate> {
    const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    match mode {
        0 => Some(Allocate::Extend),
        libc::FALLOC_FL_KEEP_SIZE => Some(Allocate::KeepSize),
        PUNCH => Some(Allocate::PunchHole),
        libc::FALLOC_FL_ZERO_RANGE => Some(Allocate::Zero),
        _ => None,
    }
}

/// What a `mknod` makes; `None` for what it cannot.
pub(super) fn node(mode: u32) -> Option<FileKind> {
    match mode & libc::S_IFMT {
        libc::S_IFREG | 0 => Some(FileKind::Regular),
        libc::S_IFIFO => Some(FileKind::Fifo),
        libc::S_IFSOCK => Some(FileKind::Socket),
        libc::S_IFCHR => Some(FileKind::Character),
        libc::S_IFBLK => Some(FileKind::BlockDevice),
        _ => None,
    }
}

/// What a renamed name may meet; `None` for flags that nobody knows here.
pub(super) fn meets(flags: RenameFlags) -> Option<Meets> {
    match flags {
        RenameFlags::RENAME_NOREPLACE => Some(Meets::Nothing),
        RenameFlags::RENAME_EXCHANGE => Some(Meets::Partner),
        flags if flags.is_empty() => Some(Meets::Anything),
        _ => None,
    }
}

/// What a file is opened for.
pub(super) fn purpose(flags: OpenFlags) -> Purpose {
    match flags.0 & libc::O_ACCMODE {
        libc::O_RDONLY => Purpose::Read,
        _ => Purpose::Write,
    }
}

/// Whether a file that is created may be there already.
pub(super) fn there(flags: i32) -> There {
    match (flags & libc::O_EXCL, flags & libc::O_TRUNC) {
        (0, 0) => There::Maybe(Start::AsIs),
        (0, _) => There::Maybe(Start::Empty),
        _ => There::No,
    }
}

/// Where a write goes.
pub(super) fn at(offset: u64, flags: OpenFlags, write_flags: WriteFlags) -> At {
    // A page that a program wrote to through memory goes where it is, however the file was opened.
    let is_append = flags.0 & libc::O_APPEND != 0 && !write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
    if is_append { At::End } else { At::Offset(offset) }
}

/// When a write is answered.
pub(super) fn when(flags: OpenFlags) -> When {
    match (flags.0 & libc::O_DSYNC, flags.0 & libc::O_DIRECT) {
        (0, _) => When::Accepted,
        (_, 0) => When::DurablePastPages,
        (_, _) => When::Durable,
    }
}

/// How an extended attribute is set; `None` for flags that nobody knows here.
pub(super) fn set_xattr(flags: i32) -> Option<SetXattr> {
    match flags {
        0 => Some(SetXattr::Always),
        libc::XATTR_CREATE => Some(SetXattr::Create),
        libc::XATTR_REPLACE => Some(SetXattr::Replace),
        _ => None,
    }
}

/// What a file is searched for; all else the kernel does by itself.
pub(super) fn sought(whence: i32) -> Option<Sought> {
    match whence {
        libc::SEEK_DATA => Some(Sought::Data),
        libc::SEEK_HOLE => Some(Sought::Hole),
        _ => None,
    }
}
