//! What the kernel does with what it is told, as far as coherence rests on it: needs root and /dev/fuse.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
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

/// What is done before attributes are told that are asked for before a read, by a thread that serves no requests.
type BeforeRead = Box<dyn FnOnce() + Send>;

/// How the kernel keeps the file.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kept {
    /// For ever.
    #[default]
    All,
    /// Its pages; attributes are asked for each time.
    Pages,
    /// Nothing.
    Nothing,
}

/// `directory/file`, of which the kernel may keep everything at first; `version` is in its bytes and its time.
#[derive(Default)]
struct Seen {
    kept: Mutex<Kept>,
    size: AtomicU64,
    version: AtomicU64,
    before_read: Mutex<Option<BeforeRead>>,
    lookups: AtomicU64,
    getattrs: AtomicU64,
    reads: AtomicU64,
}

struct Tree(Arc<Seen>);

impl Tree {
    fn attributes_ttl(&self) -> Duration {
        match *self.0.kept.lock().unwrap() {
            Kept::All => FOR_EVER,
            Kept::Pages | Kept::Nothing => Duration::ZERO,
        }
    }

    fn attributes(&self, ino: u64) -> FileAttr {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.version.load(Ordering::SeqCst));
        FileAttr {
            ino: INodeNo(ino),
            size: match ino {
                FILE => self.0.size.load(Ordering::SeqCst),
                _ => 0,
            },
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
        let attributes = self.attributes(ino);
        reply.entry_with_ttls(&self.attributes_ttl(), &FOR_EVER, &attributes, Generation(0));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        self.0.getattrs.fetch_add(1, Ordering::SeqCst);
        let (ttl, attributes) = (self.attributes_ttl(), self.attributes(ino.0));
        let before_read = handle.and_then(|_| self.0.before_read.lock().unwrap().take());
        match before_read {
            None => reply.attr(&ttl, &attributes),
            Some(before_read) => drop(std::thread::spawn(move || {
                before_read();
                reply.attr(&ttl, &attributes);
            })),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let flags = match *self.0.kept.lock().unwrap() {
            Kept::All | Kept::Pages => FopenFlags::FOPEN_KEEP_CACHE,
            Kept::Nothing => FopenFlags::FOPEN_DIRECT_IO,
        };
        reply.opened(FileHandle(7), flags);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        len: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        match ino.0 {
            FILE => {
                let left = self.0.size.load(Ordering::SeqCst).saturating_sub(offset);
                let bytes = vec![self.0.version.load(Ordering::SeqCst) as u8; left.min(u64::from(len)) as usize];
                reply.data(&bytes);
            }
            _ => reply.error(Errno::EISDIR),
        }
    }
}

/// A mount of the tree, and the way to its kernel.
struct Mounted {
    directory: tempfile::TempDir,
    seen: Arc<Seen>,
    kernel: Arc<Kernel>,
    serving: Option<JoinHandle<()>>,
}

impl Mounted {
    fn new() -> Mounted {
        let directory = tempfile::tempdir().unwrap();
        let attached = attach::attach("test", directory.path(), Options::default()).unwrap();
        let seen = Arc::new(Seen {
            size: AtomicU64::new(PAGE as u64),
            ..Seen::default()
        });
        let session = kernel::begin(attached.device, Tree(seen.clone()), 2).unwrap();
        let kernel = Arc::new(Kernel::over(&session).unwrap());
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

    /// The file, opened so that the kernel keeps that of it.
    fn open(&self, kept: Kept) -> fs::File {
        *self.seen.kept.lock().unwrap() = kept;
        fs::File::open(self.path("directory/file")).unwrap()
    }

    /// As a server changes it.
    fn change(&self, version: u64, size: u64) {
        self.seen.version.store(version, Ordering::SeqCst);
        self.seen.size.store(size, Ordering::SeqCst);
    }

    fn before_next_read(&self, before_read: impl FnOnce(&Kernel) + Send + 'static) {
        let kernel = self.kernel.clone();
        *self.seen.before_read.lock().unwrap() = Some(Box::new(move || before_read(&kernel)));
    }

    /// All bytes, read at once.
    fn read(file: &fs::File) -> Vec<u8> {
        let mut bytes = vec![0; 4 * PAGE];
        let len = file.read_at(&mut bytes, 0).unwrap();
        bytes.truncate(len);
        bytes
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

#[test]
fn before_a_read_through_pages_the_kernel_asks_by_the_handle_and_for_stat_it_does_not() {
    let mount = Mounted::new();
    let file = mount.open(Kept::Pages);
    let was_asked = || mount.seen.before_read.lock().unwrap().is_none();
    mount.before_next_read(|_| {});
    file.metadata().unwrap();
    stat(&mount.path("directory/file"));
    assert!(!was_asked());
    Mounted::first_byte(&file);
    assert!(was_asked());
    mount.before_next_read(|_| {});
    Mounted::first_byte(&file);
    assert!(was_asked(), "each time");
}

#[test]
fn pages_forgotten_before_the_answer_are_not_shown_and_bytes_that_are_given_make_the_file_longer() {
    let mount = Mounted::new();
    let file = mount.open(Kept::Pages);
    mount.change(1, 100);
    assert_eq!(Mounted::read(&file), [1; 100]);
    // As long as before, and longer, within the page and beyond it.
    for (version, size) in [(2, 100), (3, 150), (4, PAGE + 1), (5, 3 * PAGE)] {
        mount.change(version, size as u64);
        mount.before_next_read(move |kernel| {
            kernel.forget_inode(FILE).unwrap();
            let first = (size - 1) / PAGE * PAGE;
            kernel
                .store(FILE, first as u64, &vec![version as u8; size - first])
                .unwrap();
        });
        assert_eq!(Mounted::read(&file), vec![version as u8; size], "version {version}");
    }
    // Shorter: the first answer that ends before it should says so.
    mount.change(6, 20);
    mount.before_next_read(|kernel| assert_eq!(kernel.forget_inode(FILE).unwrap(), Forgotten::Yes));
    assert_eq!(Mounted::read(&file), [6; 20]);
}

#[test]
fn a_file_that_is_read_without_pages_is_asked_for_each_time_and_can_be_mapped() {
    let mount = Mounted::new();
    let file = mount.open(Kept::Nothing);
    for version in 1..4 {
        mount.change(version, 10 * version);
        let expected = vec![version as u8; 10 * version as usize];
        let read = || assert_eq!(Mounted::read(&file), expected);
        // Some of the kernel's own are for what it reads ahead of a mapping; none of ours is without one.
        assert!(mount.asked(|seen| &seen.reads, read) >= 1);
    }
    mount.change(4, PAGE as u64);
    file.metadata().unwrap();
    let (read, shared) = (rustix::mm::ProtFlags::READ, rustix::mm::MapFlags::SHARED);
    #[expect(unsafe_code, reason = "a mapping is looked at as programs do")]
    // SAFETY: a new mapping of a page, of which one byte is read while it is there.
    let byte = unsafe {
        let page = rustix::mm::mmap(std::ptr::null_mut(), PAGE, read, shared, &file, 0).unwrap();
        let byte = page.cast::<u8>().read_volatile();
        rustix::mm::munmap(page, PAGE).unwrap();
        byte
    };
    assert_eq!(byte, 4);
    mount.change(5, PAGE as u64);
    assert_eq!(Mounted::first_byte(&file), 5, "whatever is mapped");
}
