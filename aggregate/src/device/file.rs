//! A file or block device by direct I/O: no page cache, so that two hosts, or two processes, see one truth.
//!
//! One write is a `pwrite`; several go through a ring of the kernel (io_uring) at once, neighbours as one. Where rings
//! are refused, as in many containers, they are written one after another.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};

use baton_types::{Error, Kind, Result};
use io_uring::{IoUring, opcode, types};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, SeekFrom, StatxFlags};
use rustix::io::Errno;

use super::{Broken, Device, Write, check_memory, check_range};
use crate::buffer::ALIGNMENT;

/// Writes in one ring at once: a group commit is a batch and at most sixteen runs of data.
const RING_ENTRIES: u32 = 32;
/// Neighbours written as one: more than the kernel sends to a disk at once, less than it takes in one call.
const NEIGHBOURS_MAX: usize = 256;
/// Rings kept: the log writes, and a checkpoint; a third makes its own.
const RINGS_MAX: usize = 2;

/// Reads from here on are done by halves: most of such a read is to be given memory, which two processors do in half the
/// time, and a takeover waits for segments of the log.
const HALVED_BYTES: usize = 2 << 20;

/// What a device is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only reads: inspection of what another owns.
    Read,
    /// Reads and writes.
    Write,
}

/// A file or block device, opened for direct I/O.
pub struct FileDevice {
    path: PathBuf,
    pub(super) file: File,
    len: AtomicU64,
    rings: Rings,
    broken: Broken,
    /// Writers share it; who retires the device has it alone, and leaves true.
    is_retired: RwLock<bool>,
}

impl FileDevice {
    /// Opens `path`.
    ///
    /// # Errors
    /// If it cannot be opened, is neither file nor block device, is empty, or cannot do direct I/O of 4 KiB.
    pub fn open(path: impl Into<PathBuf>, access: Access) -> Result<FileDevice> {
        let path = path.into();
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::RDWR,
        };
        let on = format!("device {}", path.display());
        let file = rustix::fs::open(&path, flags | OFlags::DIRECT | OFlags::CLOEXEC, Mode::empty())
            .map(File::from)
            .map_err(|errno| match errno {
                Errno::INVAL => no_direct_io(&on, "its file system does not do direct I/O"),
                _ => Error::io(&on, errno.into()).op("open"),
            })?;
        let len = usable_len(&file, &on)?.into();
        let (rings, broken, is_retired) = Default::default();
        Ok(FileDevice {
            path,
            file,
            len,
            rings,
            broken,
            is_retired,
        })
    }

    /// Where it is, as it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is a regular file: then two paths that lead to it share its locks, which device nodes need not.
    pub fn is_file(&self) -> bool {
        self.file.metadata().is_ok_and(|meta| meta.is_file())
    }

    fn failed(&self, op: &'static str, len: u64, offset: u64, errno: io::Error) -> Error {
        Error::io(format!("device {self}, {op} of {len} bytes at {offset}"), errno).op(op)
    }

    /// Leave to write, until it is given back.
    pub(super) fn writing(&self) -> Result<RwLockReadGuard<'_, bool>> {
        let is_retired = self.is_retired.read();
        match *is_retired {
            false => Ok(is_retired),
            true => Err(Error::new(Kind::Detached, format!("device {self}"))
                .because("this opening of it is not written by any more")),
        }
    }

    fn write(&self, write: &Write<'_>) -> Result<()> {
        write_whole(&self.file, write.offset, write.bytes)
            .map_err(|error| self.failed("write", write.bytes.len() as u64, write.offset, error))
    }

    fn write_all(&self, writes: &[Write<'_>]) -> Result<()> {
        let ring = if writes.len() > 1 { self.rings.take() } else { None };
        let Some(mut ring) = ring else {
            return writes.iter().try_for_each(|write| self.write(write));
        };
        let neighbours: Vec<_> = neighbours(writes).collect();
        let result = neighbours.chunks(RING_ENTRIES as usize).try_for_each(|neighbours| {
            let written = write_by_ring(&mut ring, &self.file, neighbours);
            let mut written = neighbours.iter().zip(written);
            written.try_for_each(|(writes, written)| self.finish(writes, written))
        });
        self.rings.give_back(ring);
        result
    }

    /// What came back short, at a signal or a boundary of the device, goes on by itself or says why it cannot.
    fn finish(&self, writes: &[Write<'_>], written: io::Result<usize>) -> Result<()> {
        let mut done = match written {
            Ok(count) => count,
            Err(error) => {
                let len: usize = writes.iter().map(|write| write.bytes.len()).sum();
                return Err(self.failed("write", len as u64, writes[0].offset, error));
            }
        };
        for write in writes {
            let own = done.min(write.bytes.len());
            done -= own;
            self.write(&Write {
                offset: write.offset + own as u64,
                bytes: &write.bytes[own..],
            })?;
        }
        Ok(())
    }
}

impl Device for FileDevice {
    fn len(&self) -> u64 {
        self.len.load(Ordering::Relaxed)
    }

    fn measure(&self) -> Result<u64> {
        let len = usable_len(&self.file, &format!("device {self}"))?;
        self.len.store(len, Ordering::Relaxed);
        Ok(len)
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        check_range(self, self.len(), offset, into.len() as u64)?;
        check_memory(self, into)?;
        let len = into.len() as u64;
        read_long(&self.file, offset, into).map_err(|error| self.failed("read", len, offset, error))
    }

    fn submit(&self, writes: &[Write<'_>]) -> Result<()> {
        for write in writes {
            check_range(self, self.len(), write.offset, write.bytes.len() as u64)?;
            check_memory(self, write.bytes)?;
        }
        let _writing = self.writing()?;
        self.broken.check(self)?;
        self.broken.keep(self.write_all(writes))
    }

    fn flush(&self) -> Result<()> {
        self.broken.check(self)?;
        let flushed = rustix::fs::fdatasync(&self.file);
        self.broken
            .keep(flushed.map_err(|errno| Error::io(format!("device {self}, flush"), errno.into()).op("flush")))
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        check_range(self, self.len(), offset, len)?;
        let _writing = self.writing()?;
        self.broken.check(self)?;
        if len == 0 {
            return Ok(());
        }
        // A block device takes the same call as a file and unmaps, where it can.
        match rustix::fs::fallocate(
            &self.file,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            offset,
            len,
        ) {
            Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => self.broken.keep(Err(self.failed("discard", len, offset, errno.into()))),
        }
    }

    fn retire(&self) {
        *self.is_retired.write() = true;
        self.release();
    }
}

/// The description that carries the I/O: an epoch's lock must be held by this one, and no other (R5).
impl AsFd for FileDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl fmt::Display for FileDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

fn no_direct_io(on: &str, reason: &str) -> Error {
    Error::new(Kind::Unsupported, on)
        .op("open")
        .because(reason)
        .remedy("use a block device, or a file on a file system that does direct I/O in blocks of 4 KiB")
}

/// The length of a file or block device that is usable at all.
fn usable_len(file: &File, on: &str) -> Result<u64> {
    let meta = file.metadata().map_err(|error| Error::io(on, error).op("open"))?;
    let kind = rustix::fs::FileType::from_raw_mode(std::os::unix::fs::MetadataExt::mode(&meta));
    if !kind.is_file() && !kind.is_block_device() {
        return Err(Error::new(Kind::Invalid, on)
            .op("open")
            .because("neither a file nor a block device"));
    }
    // Kernels before 6.1 do not say; there the first read does.
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::DIOALIGN;
    if let Ok(statx) = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, wanted)
        && statx.stx_dio_offset_align as usize > ALIGNMENT
    {
        return Err(no_direct_io(
            on,
            &format!("it wants direct I/O in blocks of {}", statx.stx_dio_offset_align),
        ));
    }
    // The end is the length of both: a block device's metadata says 0.
    match rustix::fs::seek(file, SeekFrom::End(0)) {
        Ok(0) => Err(Error::new(Kind::Invalid, on).op("open").because("it is empty")),
        Ok(len) => Ok(len),
        Err(errno) => Err(Error::io(on, errno.into()).op("open")),
    }
}

/// Fills `into`; a long one by halves, side by side.
fn read_long(file: &File, offset: u64, into: &mut [u8]) -> io::Result<()> {
    if into.len() < HALVED_BYTES {
        return read_whole(file, offset, into);
    }
    let half = (into.len() / 2).next_multiple_of(ALIGNMENT);
    let (front, back) = into.split_at_mut(half);
    let middle = offset + half as u64;
    let (beside, behind) = thread::scope(|scope| {
        let beside = thread::Builder::new().spawn_scoped(scope, || read_whole(file, offset, front));
        let behind = read_whole(file, middle, back);
        (beside.ok().map(ScopedJoinHandle::join), behind)
    });
    behind?;
    match beside {
        Some(Ok(read)) => read,
        Some(Err(panic)) => std::panic::resume_unwind(panic),
        // There are no more threads.
        None => read_whole(file, offset, front),
    }
}

fn read_whole(file: &File, mut offset: u64, mut into: &mut [u8]) -> io::Result<()> {
    while !into.is_empty() {
        match rustix::io::pread(file, &mut *into, offset) {
            Ok(0) => return Err(io::Error::other("it ends there now, but was longer when opened")),
            Ok(count) => {
                offset += count as u64;
                into = &mut into[count..];
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn write_whole(file: &File, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, offset) {
            Ok(0) => return Err(io::Error::other("it took nothing")),
            Ok(count) => {
                offset += count as u64;
                bytes = &bytes[count..];
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Rings not in use just now; none if this kernel or container refuses them.
#[derive(Default)]
struct Rings {
    free: Mutex<Vec<IoUring>>,
    refused: AtomicBool,
}

impl Rings {
    fn take(&self) -> Option<IoUring> {
        if let Some(ring) = self.free.lock().pop() {
            return Some(ring);
        }
        if self.refused.load(Ordering::Relaxed) {
            return None;
        }
        IoUring::new(RING_ENTRIES)
            .inspect_err(|error| {
                tracing::info!(%error, "the kernel refuses io_uring: several writes go one after another");
                self.refused.store(true, Ordering::Relaxed);
            })
            .ok()
    }

    fn give_back(&self, ring: IoUring) {
        let mut free = self.free.lock();
        if free.len() < RINGS_MAX {
            free.push(ring);
        }
    }
}

/// Writes that lie side by side on the device.
fn neighbours<'a, 'b>(writes: &'a [Write<'b>]) -> impl Iterator<Item = &'a [Write<'b>]> {
    let neighbours = writes.chunk_by(|one, next| one.offset + one.bytes.len() as u64 == next.offset);
    neighbours.flat_map(|writes| writes.chunks(NEIGHBOURS_MAX))
}

/// Submits each of `writes`, at most [`RING_ENTRIES`], neighbours as one, and waits for them: bytes written or the
/// failure, in their order.
fn write_by_ring(ring: &mut IoUring, file: &File, writes: &[&[Write<'_>]]) -> Vec<io::Result<usize>> {
    let fd = types::Fd(file.as_raw_fd());
    let slices = writes
        .iter()
        .map(|writes| writes.iter().map(|write| IoSlice::new(write.bytes)));
    let slices: Vec<Vec<IoSlice<'_>>> = slices.map(Iterator::collect).collect();
    for (index, (writes, slices)) in writes.iter().zip(&slices).enumerate() {
        // An `IoSlice` is laid out as the kernel's own.
        let entry = opcode::Writev::new(fd, slices.as_ptr().cast(), slices.len() as u32)
            .offset(writes[0].offset)
            .build()
            .user_data(index as u64);
        #[expect(
            unsafe_code,
            reason = "the kernel reads memory that only this function's borrow keeps alive"
        )]
        // SAFETY: `writes`, `slices` and `file` outlive the wait below: nothing returns or unwinds before each entry
        // completed.
        let pushed = unsafe { ring.submission().push(&entry) };
        assert!(pushed.is_ok(), "a ring of {RING_ENTRIES} was not empty");
    }
    let mut written: Vec<Option<io::Result<usize>>> = writes.iter().map(|_| None).collect();
    let mut left = writes.len();
    while left > 0 {
        match ring.submit_and_wait(left).map_err(|error| (error.kind(), error)) {
            Ok(_) | Err((io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy, _)) => {}
            // To return would free memory that the kernel may still read.
            Err((_, error)) => abort(&error),
        }
        for done in ring.completion() {
            let result = usize::try_from(done.result()).map_err(|_| io::Error::from_raw_os_error(-done.result()));
            written[done.user_data() as usize] = Some(result);
            left -= 1;
        }
    }
    written.into_iter().flatten().collect()
}

fn abort(error: &io::Error) -> ! {
    tracing::error!(%error, "io_uring failed with writes under way");
    std::process::abort()
}

#[cfg(test)]
mod tests;
