//! What the kernel does with what it is told, as far as coherence rests on it: needs root and /dev/fuse.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use baton_client_fuse::attach::{self, InUse, Options};
use baton_client_fuse::kernel::{self, Forgotten, Kernel, Names};
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, KernelConfig, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyEntry, ReplyOpen, Request,
};

const FOR_EVER: Duration = Duration::from_secs(1 << 30);
const ROOT: u64 = 1;
const DIRECTORY: u64 = 2;
const FILE: u64 = 3;
const PAGE: usize = 4_096;

/// `directory/file`, of which the kernel may keep everything; `version` is in its bytes and its time.
#[derive(Default)]
struct Seen {
    version: AtomicU64,
    lookups: AtomicU64,
    getattrs: AtomicU64,
    reads: AtomicU64,
}

struct Tree(Arc<Seen>);

impl Tree {
    fn attributes(&self, ino: u64) -> FileAttr {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.version.load(Ordering::SeqCst));
        FileAttr {
            ino: INodeNo(ino),
            size: if ino == FILE { PAGE as u64 } else { 0 },
            blocks: 8,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: if ino == FILE {
                FileType::RegularFile
            } else {
                FileType::Directory
            },
            perm: 0o755,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: PAGE as u32,
            flags: 0,
        }
    }
}

impl Filesystem for Tree {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        kernel::ask_for(config)
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.0.lookups.fetch_add(1, Ordering::SeqCst);
        let ino = match (parent.0, name.to_str()) {
            (ROOT, Some("directory")) => DIRECTORY,
            (DIRECTORY, Some("file")) => FILE,
            _ => 0,
        };
        reply.entry(&FOR_EVER, &self.attributes(ino), Generation(0));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.0.getattrs.fetch_add(1, Ordering::SeqCst);
        reply.attr(&FOR_EVER, &self.attributes(ino.0));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: u64,
        _: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        match ino.0 {
            FILE => reply.data(&[self.0.version.load(Ordering::SeqCst) as u8; PAGE]),
            _ => reply.error(Errno::EISDIR),
        }
    }
}

/// A mount of the tree, and the way to its kernel.
struct Mounted {
    directory: tempfile::TempDir,
    seen: Arc<Seen>,
    kernel: Kernel,
    serving: Option<JoinHandle<()>>,
}

impl Mounted {
    fn new() -> Mounted {
        let directory = tempfile::tempdir().unwrap();
        let attached = attach::attach("test", directory.path(), Options::default()).unwrap();
        let seen = Arc::new(Seen::default());
        let session = kernel::begin(attached.device, Tree(seen.clone()), 2).unwrap();
        let kernel = Kernel::over(&session).unwrap();
        let serving = std::thread::spawn(move || kernel::serve(session).unwrap());
        Mounted {
            directory,
            seen,
            kernel,
            serving: Some(serving),
        }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.directory.path().join(path)
    }

    fn asked(&self, what: fn(&Seen) -> &AtomicU64, during: impl FnOnce()) -> u64 {
        let before = what(&self.seen).load(Ordering::SeqCst);
        during();
        what(&self.seen).load(Ordering::SeqCst) - before
    }

    fn first_byte(file: &fs::File) -> u8 {
        let mut byte = [0];
        file.read_exact_at(&mut byte, 0).unwrap();
        byte[0]
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        attach::detach(self.directory.path(), InUse::Detach).unwrap();
        if let Some(serving) = self.serving.take() {
            serving.join().unwrap();
        }
    }
}

fn stat(path: &Path) {
    fs::metadata(path).unwrap();
}

#[test]
fn names_are_kept_until_they_are_forgotten_all_at_once() {
    let mount = Mounted::new();
    let (there, not_there) = (mount.path("directory/file"), mount.path("directory/nothing"));
    let look = || {
        stat(&there);
        assert!(fs::metadata(&not_there).is_err());
    };
    look();
    assert_eq!(
        mount.asked(|seen| &seen.lookups, look),
        0,
        "all is kept, also that nothing is there"
    );
    if mount.kernel.names() == Names::Asked {
        return; // this kernel knows no epochs: names are not kept on it
    }
    mount.kernel.forget_names().unwrap();
    assert_eq!(mount.asked(|seen| &seen.lookups, look), 3, "directory, file, nothing");
    assert_eq!(mount.asked(|seen| &seen.lookups, look), 0);
}

#[test]
fn a_page_is_not_shown_without_attributes_and_goes_when_they_changed() {
    let mount = Mounted::new();
    let file = fs::File::open(mount.path("directory/file")).unwrap();
    assert_eq!(Mounted::first_byte(&file), 0);
    mount.seen.version.store(1, Ordering::SeqCst);
    let read_again = |expected| move |file: &fs::File| assert_eq!(Mounted::first_byte(file), expected);
    assert_eq!(
        mount.asked(|seen| &seen.reads, || read_again(0)(&file)),
        0,
        "it is kept"
    );

    assert_eq!(mount.kernel.forget_attributes(FILE).unwrap(), Forgotten::Yes);
    assert_eq!(mount.asked(|seen| &seen.getattrs, || read_again(1)(&file)), 1);

    // Nothing changed: the page stays.
    mount.kernel.forget_attributes(FILE).unwrap();
    assert_eq!(mount.asked(|seen| &seen.reads, || read_again(1)(&file)), 0);
    // Told to go, it goes.
    assert_eq!(mount.kernel.forget_inode(FILE).unwrap(), Forgotten::Yes);
    assert_eq!(mount.asked(|seen| &seen.reads, || read_again(1)(&file)), 1);
}

#[test]
fn the_kernel_says_whether_it_knew_what_it_is_to_forget() {
    let mount = Mounted::new();
    assert_eq!(mount.kernel.forget_attributes(FILE).unwrap(), Forgotten::Unknown);
    assert_eq!(mount.kernel.forget_inode(99).unwrap(), Forgotten::Unknown);
    stat(&mount.path("directory/file"));
    assert_eq!(mount.kernel.forget_attributes(FILE).unwrap(), Forgotten::Yes);
    assert_eq!(
        mount.asked(|seen| &seen.getattrs, || stat(&mount.path("directory/file"))),
        1
    );
}

#[test]
fn a_working_directory_stays_one_when_its_names_are_forgotten() {
    let mount = Mounted::new();
    let path = mount.path("directory");
    let mut shell = std::process::Command::new("sh")
        .args(["-c", "read _; stat . >/dev/null && cd . && pwd -P && cat file | wc -c"])
        .current_dir(&path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    mount.kernel.forget_names().unwrap();
    drop(shell.stdin.take()); // now it goes on
    let said = String::from_utf8(shell.wait_with_output().unwrap().stdout).unwrap();
    let expected = format!("{}\n{PAGE}\n", fs::canonicalize(&path).unwrap().display());
    assert_eq!(said, expected);
}
