//! Answers in the library's words.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use baton_types::Timestamp;
use baton_types::call::{Lock, LockKind};
use baton_types::file::{Attributes, FileKind, Usage};
use baton_types::limits::FILE_NAME_BYTES_MAX;
use bytes::Bytes;
use fuser::{
    Errno, FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLock, ReplyLseek, ReplyOpen, ReplyStatfs,
    ReplyWrite, ReplyXattr,
};

use super::asked::LOCK_END;
use crate::ops::{Created, Entry, Found, Keeps, Listing, Opened, Row, Sized, Stat};
use crate::waiting::Reply;

/// So long the kernel keeps what it may keep until it is told to forget it: longer than a machine runs.
const ALWAYS: Duration = Duration::from_secs(1 << 30);
/// What programs should read and write at once.
const BLOCK_BYTES: u32 = 4 << 10;
/// `st_blocks` counts these.
const SECTOR_BYTES: u64 = 512;

fn error(errno: i32) -> Errno {
    Errno::from_i32(errno)
}

fn ttl(keeps: Keeps) -> Duration {
    match keeps {
        Keeps::On => ALWAYS,
        Keeps::Not => Duration::ZERO,
    }
}

fn date(time: Timestamp) -> SystemTime {
    let nanos = Duration::from_nanos(time.0.unsigned_abs());
    let date = if time.0 < 0 {
        UNIX_EPOCH.checked_sub(nanos)
    } else {
        UNIX_EPOCH.checked_add(nanos)
    };
    date.unwrap_or(UNIX_EPOCH)
}

fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory | FileKind::MountPoint => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::Character => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

/// The kernel packs a device's number into 32 bits on this wire: 12 of the major, 20 of the minor.
pub(super) fn device_from_kernel(packed: u32) -> u64 {
    let (major, minor) = ((packed >> 8) & 0xfff, (packed & 0xff) | ((packed >> 12) & 0xf_ff00));
    libc::makedev(major, minor)
}

fn device_to_kernel(device: u64) -> u32 {
    let (major, minor) = (libc::major(device), libc::minor(device));
    (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12)
}

fn attr(number: u64, attributes: &Attributes) -> FileAttr {
    FileAttr {
        ino: INodeNo(number),
        size: attributes.size,
        blocks: attributes.blocks * (u64::from(BLOCK_BYTES) / SECTOR_BYTES),
        atime: date(attributes.accessed),
        mtime: date(attributes.modified),
        ctime: date(attributes.changed),
        crtime: date(attributes.created),
        kind: file_type(attributes.kind),
        perm: (attributes.mode & 0o7777) as u16,
        nlink: attributes.links,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: device_to_kernel(attributes.device),
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

/// Of something of which only the kind is told.
fn bare(number: u64, kind: FileKind) -> FileAttr {
    FileAttr {
        ino: INodeNo(number),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: file_type(kind),
        perm: 0,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

/// The kernel keeps 32 bits of it.
fn generation(found: &Found) -> Generation {
    Generation((found.generation ^ (found.generation >> 32)) & 0xffff_ffff)
}

pub(super) fn entry(reply: ReplyEntry) -> Reply<Entry> {
    Box::new(move |result| match result {
        Ok(Entry::Found(found)) => reply.entry_with_ttls(
            &ttl(found.keeps),
            &ttl(found.name),
            &attr(found.number, &found.attributes),
            generation(&found),
        ),
        Ok(Entry::Nothing) => reply.entry(&ALWAYS, &bare(0, FileKind::Regular), Generation(0)),
        Err(errno) => reply.error(error(errno)),
    })
}

pub(super) fn attributes(reply: ReplyAttr) -> Reply<Stat> {
    Box::new(move |result| match result {
        Ok(stat) => reply.attr(&ttl(stat.keeps), &attr(stat.number, &stat.attributes)),
        Err(errno) => reply.error(error(errno)),
    })
}

pub(super) fn data(reply: ReplyData) -> Reply<Bytes> {
    Box::new(move |result| match result {
        Ok(bytes) => reply.data(&bytes),
        Err(errno) => reply.error(error(errno)),
    })
}

pub(super) fn done(reply: ReplyEmpty) -> Reply<()> {
    Box::new(move |result| match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(error(errno)),
    })
}

pub(super) fn written(reply: ReplyWrite) -> Reply<u32> {
    Box::new(move |result| match result {
        Ok(len) => reply.written(len),
        Err(errno) => reply.error(error(errno)),
    })
}

pub(super) fn place(reply: ReplyLseek) -> Reply<u64> {
    Box::new(move |result| match result.map(i64::try_from) {
        Ok(Ok(place)) => reply.offset(place),
        Ok(Err(_)) => reply.error(Errno::EOVERFLOW),
        Err(errno) => reply.error(error(errno)),
    })
}

fn file_flags(opened: &Opened) -> FopenFlags {
    match opened.keeps {
        Keeps::On => FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES,
        // Each read and write asks the server, and no page is in its way.
        Keeps::Not => FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES,
    }
}

pub(super) fn opened(reply: ReplyOpen) -> Reply<Opened> {
    Box::new(move |result| match result {
        Ok(opened) => reply.opened(FileHandle(opened.handle), file_flags(&opened)),
        Err(errno) => reply.error(error(errno)),
    })
}

pub(super) fn directory_opened(reply: ReplyOpen) -> Reply<Opened> {
    Box::new(move |result| match result {
        Ok(opened) => {
            let flags = match opened.keeps {
                Keeps::On => FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE,
                Keeps::Not => FopenFlags::empty(),
            };
            reply.opened(FileHandle(opened.handle), flags);
        }
        Err(errno) => reply.error(error(errno)),
    })
}

pub(super) fn created(reply: ReplyCreate) -> Reply<Created> {
    Box::new(move |result| match result {
        Ok(Created { found, opened }) => reply.created(
            // One lifetime for both here: the shorter one.
            &ttl(found.keeps).min(ttl(found.name)),
            &attr(found.number, &found.attributes),
            generation(&found),
            FileHandle(opened.handle),
            file_flags(&opened),
        ),
        Err(errno) => reply.error(error(errno)),
    })
}

pub(super) fn sized(reply: ReplyXattr) -> Reply<Sized> {
    Box::new(move |result| match result {
        Ok(Sized::Value(value)) => reply.data(&value),
        Ok(Sized::Bytes(len)) => reply.size(len),
        Err(errno) => reply.error(error(errno)),
    })
}

pub(super) fn in_the_way(reply: ReplyLock, asked: Lock) -> Reply<Option<Lock>> {
    Box::new(move |result| match result {
        Ok(other) => {
            let lock = other.unwrap_or(Lock {
                kind: LockKind::Unlock,
                ..asked
            });
            let kind = match lock.kind {
                LockKind::Read => libc::F_RDLCK,
                LockKind::Write => libc::F_WRLCK,
                LockKind::Unlock => libc::F_UNLCK,
            };
            reply.locked(lock.first, lock.last.min(LOCK_END), kind, lock.pid);
        }
        Err(errno) => reply.error(error(errno)),
    })
}

/// A quota is shown as the size of the file system, as DFS did.
pub(super) fn usage(reply: ReplyStatfs) -> Reply<Usage> {
    Box::new(move |result| match result {
        Ok(usage) => {
            let block = u64::from(BLOCK_BYTES);
            let total = match usage.quota_bytes {
                0 => usage.bytes.saturating_add(usage.free_bytes),
                quota => quota,
            };
            let free = total.saturating_sub(usage.bytes).min(usage.free_bytes);
            let (total, free) = (total / block, free / block);
            // Files cost bytes and nothing else: as many are free as fit, one to a block.
            let files_free = match usage.quota_files {
                0 => free,
                quota => quota.saturating_sub(usage.files).min(free),
            };
            reply.statfs(
                total,
                free,
                free,
                usage.files.saturating_add(files_free),
                files_free,
                BLOCK_BYTES,
                FILE_NAME_BYTES_MAX as u32,
                BLOCK_BYTES,
            );
        }
        Err(errno) => reply.error(error(errno)),
    })
}

pub(super) fn names(mut reply: ReplyDirectory) -> Reply<Listing> {
    Box::new(move |result| match result {
        Ok(listing) => {
            for Row {
                number,
                kind,
                name,
                cookie,
                ..
            } in &listing.rows
            {
                if reply.add(INodeNo(*number), *cookie, file_type(*kind), OsStr::from_bytes(name)) {
                    break;
                }
            }
            reply.ok();
        }
        Err(errno) => reply.error(error(errno)),
    })
}

pub(super) fn names_and_attributes(mut reply: ReplyDirectoryPlus) -> Reply<Listing> {
    Box::new(move |result| match result {
        Ok(listing) => {
            for row in &listing.rows {
                if add(&mut reply, &listing, row) == Room::None {
                    break;
                }
            }
            reply.ok();
        }
        Err(errno) => reply.error(error(errno)),
    })
}

#[derive(PartialEq, Eq)]
enum Room {
    Left,
    None,
}

/// What the kernel knows nothing of is told by its kind alone, and not to be kept. It gives such a number back, and
/// nobody counted it.
fn add(reply: &mut ReplyDirectoryPlus, listing: &Listing, row: &Row) -> Room {
    let found = listing.tell(row);
    let name = OsStr::from_bytes(&row.name);
    let is_full = match &found {
        Some(found) => reply.add(
            INodeNo(found.number),
            row.cookie,
            name,
            &ttl(found.keeps).min(ttl(found.name)),
            &attr(found.number, &found.attributes),
            generation(found),
        ),
        None => {
            let number = row.unknown();
            let bare = bare(number, row.kind);
            reply.add(INodeNo(number), row.cookie, name, &Duration::ZERO, &bare, Generation(0))
        }
    };
    if !is_full {
        return Room::Left;
    }
    if let Some(found) = &found {
        listing.untell(found);
    }
    Room::None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_survive_the_kernels_wire() {
        for (major, minor) in [(8, 1), (0, 0), (0xfff, 0xf_ffff), (1, 0x1_0203)] {
            let device = libc::makedev(major, minor);
            assert_eq!(device_from_kernel(device_to_kernel(device)), device, "{major}:{minor}");
        }
    }

    #[test]
    fn dates_before_1970_are_dates() {
        let before = date(Timestamp(-1_500_000_000));
        assert_eq!(UNIX_EPOCH.duration_since(before).unwrap(), Duration::from_millis(1_500));
    }
}
