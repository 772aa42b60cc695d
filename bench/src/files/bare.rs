//! A file system that does nothing: it says yes, remembers what the kernel was told, and keeps no byte. What something
//! costs in it is what the way from a program through the kernel to a daemon and back costs, on this machine.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use baton_client_fuse::attach::{self, InUse, Options};
use baton_client_fuse::{kernel, nearby};
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyEmpty, ReplyEntry, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};
use parking_lot::Mutex;
use tempfile::TempDir;

/// The kernel keeps what it is told.
const ALWAYS: Duration = Duration::from_secs(1 << 30);
/// As many as a mount of ours has on two processors.
const THREADS: usize = 4;

/// Such a file system, mounted.
pub struct Mounted(TempDir);

impl Mounted {
    /// Mounts one, as a cell is mounted.
    ///
    /// # Errors
    /// What the system says; only root can.
    pub fn new() -> Result<Mounted> {
        let directory = tempfile::tempdir()?;
        let attached = attach::attach("bare", directory.path(), Options::default())?;
        let mounted = Mounted(directory);
        let session = kernel::begin(attached.device, Bare::new(), THREADS)?;
        std::thread::Builder::new()
            .name("bare".to_owned())
            .spawn(move || kernel::serve(session))?;
        Ok(mounted)
    }

    /// Where.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = attach::detach(self.path(), InUse::Detach) {
            eprintln!("{error}");
        }
    }
}

struct Bare(Mutex<Tree>);

struct Tree {
    /// By number; the first is the root's, and 1.
    files: Vec<FileAttr>,
    names: HashMap<(u64, OsString), u64>,
}

impl Bare {
    fn new() -> Bare {
        Bare(Mutex::new(Tree {
            files: vec![attributes(1, FileType::Directory)],
            names: HashMap::new(),
        }))
    }

    fn make(&self, parent: INodeNo, name: &OsStr, kind: FileType) -> FileAttr {
        let mut tree = self.0.lock();
        let made = attributes(tree.files.len() as u64 + 1, kind);
        tree.files.push(made);
        tree.names.insert((parent.0, name.to_owned()), made.ino.0);
        made
    }
}

impl Tree {
    fn get(&self, number: u64) -> Option<&FileAttr> {
        self.files.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }
}

fn attributes(number: u64, kind: FileType) -> FileAttr {
    let now = SystemTime::now();
    FileAttr {
        ino: INodeNo(number),
        size: 0,
        blocks: 0,
        atime: now,
        mtime: now,
        ctime: now,
        crtime: now,
        kind,
        perm: 0o755,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4_096,
        flags: 0,
    }
}

impl Filesystem for Bare {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        kernel::ask_for(config)
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        nearby::asked(request.pid());
        let tree = self.0.lock();
        let number = tree.names.get(&(parent.0, name.to_owned()));
        match number.and_then(|number| tree.get(*number)) {
            Some(found) => reply.entry(&ALWAYS, found, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        nearby::asked(request.pid());
        match self.0.lock().get(ino.0) {
            Some(found) => reply.attr(&ALWAYS, found),
            None => reply.error(Errno::ESTALE),
        }
    }

    /// Says yes, and that nothing is other than it was: the kernel asks no less for that.
    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        file: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.getattr(request, ino, file, reply);
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        new: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        nearby::asked(request.pid());
        let mut tree = self.0.lock();
        match tree.names.remove(&(parent.0, name.to_owned())) {
            Some(number) => {
                tree.names.insert((to.0, new.to_owned()), number);
                reply.ok();
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn fsync(&self, request: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        nearby::asked(request.pid());
        reply.ok();
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        nearby::asked(request.pid());
        reply.entry(&ALWAYS, &self.make(parent, name, FileType::Directory), Generation(0));
    }

    fn create(&self, request: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        nearby::asked(request.pid());
        let made = self.make(parent, name, FileType::RegularFile);
        let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
        reply.created(&ALWAYS, &made, Generation(0), FileHandle(0), flags);
    }

    fn getxattr(&self, request: &Request, _: INodeNo, _: &OsStr, _: u32, reply: ReplyXattr) {
        nearby::asked(request.pid());
        reply.error(Errno::ENODATA);
    }

    fn write(
        &self,
        request: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        nearby::asked(request.pid());
        reply.written(data.len() as u32);
    }

    fn flush(&self, request: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        nearby::asked(request.pid());
        reply.ok();
    }

    fn fsyncdir(&self, request: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        nearby::asked(request.pid());
        reply.ok();
    }
}
