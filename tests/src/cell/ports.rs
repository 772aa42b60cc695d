//! Ports: each file server reaches the disks by a door of its own, which can be shut.
//!
//! The kernel of most machines at hand has no device that fails on demand, and none with two ports. So a file system in
//! this process shows every disk once, and knows by the process that opened it through whose port a request comes. Shut,
//! a port fails every request with EIO; what was under way before it was shut is finished. All servers see one inode,
//! so that the locks of epochs are seen by all, as they are on a disk's own file.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request,
    WriteFlags,
};
use parking_lot::Mutex;

/// Names and attributes here never change.
const TTL: Duration = Duration::from_secs(3_600);
/// Requests answered side by side: more than the threads of two servers that write at once.
const THREADS: usize = 4;

/// The ports of a cell's disks; unmounted when it is dropped.
#[derive(Debug)]
pub struct Ports {
    shut: Arc<Mutex<BTreeSet<PathBuf>>>,
    _session: BackgroundSession,
}

impl Ports {
    /// Shows every file of `disks` in `at`.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub(super) fn mount(disks: &Path, at: &Path) -> Result<Ports> {
        fs::create_dir(at).with_context(|| at.display().to_string())?;
        let mut names: Vec<OsString> = Vec::new();
        for entry in fs::read_dir(disks)? {
            names.push(entry?.file_name());
        }
        names.sort();
        let shut = Arc::<Mutex<BTreeSet<PathBuf>>>::default();
        let disks = Disks {
            folder: disks.to_owned(),
            names,
            shut: shut.clone(),
            open: Mutex::default(),
            next: AtomicU64::new(1),
        };
        let mut config = Config::default();
        config.n_threads = Some(THREADS);
        config.clone_fd = true;
        let session = fuser::spawn_mount(disks, at, &config).with_context(|| at.display().to_string())?;
        Ok(Ports {
            shut,
            _session: session,
        })
    }

    /// Every request of the machine with this `BATON_ROOT` fails from now on.
    pub fn shut(&self, root: &Path) {
        self.shut.lock().insert(root.to_owned());
    }

    /// Its requests are done again.
    pub fn open(&self, root: &Path) {
        self.shut.lock().remove(root);
    }
}

/// What is shown.
struct Disks {
    folder: PathBuf,
    /// An inode each, in this order, after the root's.
    names: Vec<OsString>,
    shut: Arc<Mutex<BTreeSet<PathBuf>>>,
    open: Mutex<BTreeMap<u64, Arc<Opened>>>,
    next: AtomicU64,
}

/// A disk as somebody opened it.
struct Opened {
    file: File,
    /// Of who did.
    root: PathBuf,
}

impl Disks {
    fn name(&self, ino: INodeNo) -> Result<&OsString, Errno> {
        let index = usize::try_from(ino.0).ok().and_then(|ino| ino.checked_sub(2));
        index.and_then(|index| self.names.get(index)).ok_or(Errno::ENOENT)
    }

    fn attributes(&self, ino: INodeNo) -> Result<FileAttr, Errno> {
        let (size, kind, perm) = if ino == INodeNo::ROOT {
            (0, FileType::Directory, 0o755)
        } else {
            let metadata = fs::metadata(self.folder.join(self.name(ino)?)).map_err(|_| Errno::EIO)?;
            (metadata.len(), FileType::RegularFile, 0o600)
        };
        Ok(FileAttr {
            ino,
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4_096,
            flags: 0,
        })
    }

    /// The disk behind a handle, if the port that it was opened through is open.
    fn through(&self, handle: FileHandle) -> Result<Arc<Opened>, Errno> {
        let opened = self.open.lock().get(&handle.0).cloned().ok_or(Errno::EBADF)?;
        if self.shut.lock().contains(&opened.root) {
            return Err(Errno::EIO);
        }
        Ok(opened)
    }

    fn read(&self, handle: FileHandle, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        let opened = self.through(handle)?;
        let mut bytes = vec![0; size as usize];
        let count = opened.file.read_at(&mut bytes, offset).map_err(|_| Errno::EIO)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    fn open(&self, ino: INodeNo, process: u32) -> Result<u64, Errno> {
        let root = root_of(process).ok_or(Errno::EIO)?;
        if self.shut.lock().contains(&root) {
            return Err(Errno::EIO);
        }
        let path = self.folder.join(self.name(ino)?);
        let file = File::options().read(true).write(true).open(path);
        let file = file.map_err(|_| Errno::EIO)?;
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().insert(handle, Arc::new(Opened { file, root }));
        Ok(handle)
    }
}

/// The machine that a process is of.
fn root_of(process: u32) -> Option<PathBuf> {
    let environment = fs::read(format!("/proc/{process}/environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let root = variables.find_map(|variable| variable.strip_prefix(b"BATON_ROOT="))?;
    Some(PathBuf::from(std::str::from_utf8(root).ok()?))
}

impl Filesystem for Disks {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let index = self.names.iter().position(|known| known == name);
        let found = index.filter(|_| parent == INodeNo::ROOT).ok_or(Errno::ENOENT);
        match found.and_then(|index| self.attributes(INodeNo(index as u64 + 2))) {
            Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(ino) {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        for (index, name) in self.names.iter().enumerate().skip(skipped) {
            let ino = INodeNo(index as u64 + 2);
            if reply.add(ino, index as u64 + 1, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }

    fn open(&self, request: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let flags = FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
        match Disks::open(self, ino, request.pid()) {
            Ok(handle) => reply.opened(FileHandle(handle), flags),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match Disks::read(self, handle, offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let opened = self.through(handle);
        match opened.and_then(|opened| opened.file.write_all_at(bytes, offset).map_err(|_| Errno::EIO)) {
            Ok(()) => reply.written(bytes.len() as u32),
            Err(errno) => reply.error(errno),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        match self
            .through(handle)
            .and_then(|opened| opened.file.sync_data().map_err(|_| Errno::EIO))
        {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.open.lock().remove(&handle.0);
        reply.ok();
    }

    /// A disk that gives up nothing: all bytes stay.
    fn fallocate(&self, _: &Request, _: INodeNo, _: FileHandle, _: u64, _: u64, _: i32, reply: ReplyEmpty) {
        reply.error(Errno::EOPNOTSUPP);
    }
}
