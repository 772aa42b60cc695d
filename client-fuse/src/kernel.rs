//! The way to the kernel: stock `fuser` reads its requests and writes our answers; the rest is here.
//!
//! What the library lacks, and what is done instead:
//!
//! | lacks | instead |
//! |---|---|
//! | notices with their outcome, and new epochs of names | written to the device by ourselves ([`Kernel`]) |
//! | a signal that ends a waiting request (`FUSE_INTERRUPT`) | `waiting.rs` looks into `/proc` |
//! | telling `flock` from `fcntl` locks | the kernel keeps `flock` to itself: one mount |
//! | what a program may besides its mode bits on `write` and `truncate` | the server clears set-id bits always |
//!
//! Notices are sent by threads that never serve requests: the kernel may hold a page that a request of ours fills
//! while a notice waits for that page.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use baton_types::{Error, Result};
use fuser::{Config, Filesystem, InitFlags, KernelConfig, Session, SessionACL};

/// As much as one frame of ours carries.
const WRITE_BYTES_MAX: u32 = baton_types::limits::FRAME_PAYLOAD_BYTES_MAX;
/// Requests that the kernel makes on its own (reading ahead, releasing) and has under way at once.
const BACKGROUND_MAX: u16 = 64;
/// `enum fuse_notify_code` of `linux/fuse.h`.
const NOTIFY_INVALIDATE_INODE: i32 = 2;
/// As above.
const NOTIFY_STORE: i32 = 4;
/// As above; since Linux 6.16.
const NOTIFY_NEW_EPOCH: i32 = 8;

/// Without these the mount is wrong, so a kernel that lacks one is refused.
const NEEDED: [(InitFlags, &str); 5] = [
    (InitFlags::FUSE_POSIX_LOCKS, "locks between mounts"),
    (InitFlags::FUSE_DONT_MASK, "the umask left to us"),
    (
        InitFlags::FUSE_AUTO_INVAL_DATA,
        "pages that are not shown without attributes",
    ),
    (
        InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
        "mappings of files that are read without pages",
    ),
    (InitFlags::FUSE_HANDLE_KILLPRIV_V2, "set-id bits left to us"),
];
/// These are only faster, or for few.
const WANTED: [InitFlags; 7] = [
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_MAX_PAGES,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_EXPORT_SUPPORT,
    // What a symbolic link says never changes: another text is another file.
    InitFlags::FUSE_CACHE_SYMLINKS,
];

/// Whether the kernel knew the inode of a notice: one that it was told to forget, as a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// It did, and does no more.
    Yes,
    /// It did not: it never knew, forgot already, or is just about to learn it from an answer that was sent.
    Unknown,
}

/// Whether the kernel can forget all names at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// It can: then it may keep them.
    Kept,
    /// It cannot: it asks for each, each time.
    Asked,
}

/// What the kernel is told unasked.
#[derive(Debug)]
pub struct Kernel {
    device: File,
    names: Names,
}

impl Kernel {
    /// Over a descriptor of the mount's device.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn over(device: impl AsFd) -> Result<Kernel> {
        let device = device.as_fd().try_clone_to_owned().map_err(failed)?;
        let mut kernel = Kernel {
            device: device.into(),
            names: Names::Kept,
        };
        if kernel.notify(NOTIFY_NEW_EPOCH, &[]).is_err() {
            kernel.names = Names::Asked;
        }
        Ok(kernel)
    }

    /// Whether it may keep names.
    pub fn names(&self) -> Names {
        self.names
    }

    /// All names it holds are asked for again, those that are just on their way to it among them.
    ///
    /// # Errors
    /// What the system says.
    pub fn forget_names(&self) -> Result<()> {
        match self.names {
            Names::Kept => self.notify(NOTIFY_NEW_EPOCH, &[]).map_err(failed),
            Names::Asked => Ok(()),
        }
    }

    /// Attributes and pages of an inode are asked for again. Waits for pages that are just being filled.
    ///
    /// # Errors
    /// What the system says.
    pub fn forget_inode(&self, node: u64) -> Result<Forgotten> {
        self.invalidate(node, 0)
    }

    /// Attributes of an inode are asked for again. Waits for nobody; pages are kept, and shown only after attributes.
    ///
    /// # Errors
    /// What the system says.
    pub fn forget_attributes(&self, node: u64) -> Result<Forgotten> {
        self.invalidate(node, -1)
    }

    /// Gives the kernel bytes of a file. They make the file as long as they reach, whatever the kernel was told of its
    /// size or is just about to be told. Waits for pages that are just being filled.
    ///
    /// # Errors
    /// What the system says.
    pub fn store(&self, node: u64, offset: u64, bytes: &[u8]) -> Result<Forgotten> {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let head = [
            &node.to_ne_bytes()[..],
            &offset.to_ne_bytes(),
            &len.to_ne_bytes(),
            &[0; 4],
        ]
        .concat();
        known(self.notify(NOTIFY_STORE, &[&head, bytes].concat()))
    }

    fn invalidate(&self, node: u64, first: i64) -> Result<Forgotten> {
        let body = [node.to_ne_bytes(), first.to_ne_bytes(), (-1_i64).to_ne_bytes()].concat();
        known(self.notify(NOTIFY_INVALIDATE_INODE, &body))
    }

    /// `struct fuse_out_header`: length, code, a unique number of 0; then the body.
    fn notify(&self, code: i32, body: &[u8]) -> io::Result<()> {
        let len = 16 + u32::try_from(body.len()).unwrap_or(u32::MAX);
        let head = [len.to_ne_bytes(), code.to_ne_bytes(), [0; 4], [0; 4]].concat();
        (&self.device).write_all(&[&head, body].concat())
    }
}

/// What the outcome of a notice about an inode says.
fn known(noticed: io::Result<()>) -> Result<Forgotten> {
    match noticed {
        Ok(()) => Ok(Forgotten::Yes),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Forgotten::Unknown),
        Err(e) => Err(failed(e)),
    }
}

/// What the kernel is asked for when a mount begins.
///
/// # Errors
/// `Unsupported`, with what the kernel lacks.
pub fn ask_for(config: &mut KernelConfig) -> io::Result<()> {
    for (flag, what) in NEEDED {
        config
            .add_capabilities(flag)
            .map_err(|_| io::Error::new(io::ErrorKind::Unsupported, format!("this kernel does not have {what}")))?;
    }
    for flag in WANTED {
        let _ = config.add_capabilities(flag); // without it things go on, slower
    }
    let _ = config.set_max_write(WRITE_BYTES_MAX); // otherwise it says what it takes
    let _ = config.set_max_readahead(WRITE_BYTES_MAX);
    let _ = config.set_max_background(BACKGROUND_MAX);
    Ok(())
}

/// Answers the kernel's first question; then the mount is there.
///
/// # Errors
/// What the system or the kernel says.
pub fn begin<F: Filesystem>(device: OwnedFd, filesystem: F, threads: usize) -> Result<Session<F>> {
    let mut config = Config::default();
    config.acl = SessionACL::All;
    config.n_threads = Some(threads);
    config.clone_fd = true;
    Session::from_fd(filesystem, device, SessionACL::All, config).map_err(failed)
}

/// Serves until the mount is gone.
///
/// # Errors
/// What the system says.
pub fn serve<F: Filesystem>(session: Session<F>) -> Result<()> {
    session.run().map_err(failed)
}

fn failed(error: io::Error) -> Error {
    Error::io("FUSE", error)
}
