//! Where files are given back to: everything is made new, and nothing is reached by a link.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use baton_types::{Error, Result, Timestamp};
use rustix::fs::{self, AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::format::Attributes;

/// The bits of a mode that are given back.
const MODE_BITS: u32 = 0o1777;

/// The directory that all is given back into.
pub(super) struct Target {
    root: File,
    /// Who runs this may give files away.
    may_own: bool,
}

/// The way to a directory below the target, name by name.
pub(super) type Way = Vec<Vec<u8>>;

fn failed(op: &'static str, name: &[u8], errno: Errno) -> Error {
    Error::io(name.escape_ascii().to_string(), errno.into()).op(op)
}

fn os(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Target {
    /// The directory at `path`, which is made if it is not there.
    pub fn open(path: &Path) -> Result<Target> {
        let on = || path.display().to_string();
        match std::fs::create_dir(path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(Error::io(on(), error)),
            Ok(()) | Err(_) => {}
        }
        let root = fs::openat(CWD, path, DIRECTORY, Mode::empty()).map_err(|errno| Error::io(on(), errno.into()))?;
        Ok(Target {
            root: root.into(),
            may_own: rustix::process::geteuid().is_root(),
        })
    }

    /// A directory below that was made here.
    pub fn directory(&self, way: &[Vec<u8>]) -> Result<File> {
        let mut at = self.root.try_clone().map_err(|error| Error::io("target", error))?;
        for name in way {
            let next = fs::openat(&at, os(name), DIRECTORY | OFlags::NOFOLLOW, Mode::empty());
            at = next.map_err(|errno| failed("open directory", name, errno))?.into();
        }
        Ok(at)
    }

    /// A new directory.
    pub fn make_directory(&self, within: &File, name: &[u8]) -> Result<()> {
        fs::mkdirat(within, os(name), Mode::RWXU).map_err(|errno| failed("make directory", name, errno))
    }

    /// A new file, open for its bytes.
    pub fn make_file(&self, within: &File, name: &[u8]) -> Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(within, os(name), flags, Mode::RUSR | Mode::WUSR);
        file.map(File::from).map_err(|errno| failed("make file", name, errno))
    }

    /// A new symbolic link.
    pub fn make_symlink(&self, within: &File, name: &[u8], to: &[u8]) -> Result<()> {
        fs::symlinkat(os(to), within, os(name)).map_err(|errno| failed("make link", name, errno))
    }

    /// A new named pipe.
    pub fn make_fifo(&self, within: &File, name: &[u8]) -> Result<()> {
        let mode = Mode::RUSR | Mode::WUSR;
        fs::mknodat(within, os(name), fs::FileType::Fifo, mode, 0).map_err(|errno| failed("make pipe", name, errno))
    }

    /// Another name for a file that was made here.
    pub fn make_link(&self, (old, old_name): (&File, &[u8]), (within, name): (&File, &[u8])) -> Result<()> {
        fs::linkat(old, os(old_name), within, os(name), AtFlags::empty())
            .map_err(|errno| failed("make another name", name, errno))
    }

    /// Gives a new file the owner, mode and times it had. A link has no mode of its own.
    pub fn dress(&self, within: &File, name: &[u8], attributes: &Attributes, is_link: IsLink) -> Result<()> {
        let dressed = || {
            if self.may_own {
                let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
                fs::chownat(within, os(name), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            if is_link == IsLink::No {
                let mode = Mode::from_raw_mode(attributes.mode & MODE_BITS);
                fs::chmodat(within, os(name), mode, AtFlags::empty())?;
            }
            let times = Timestamps {
                last_access: timespec(attributes.accessed),
                last_modification: timespec(attributes.modified),
            };
            fs::utimensat(within, os(name), &times, AtFlags::SYMLINK_NOFOLLOW)
        };
        dressed().map_err(|errno| failed("set attributes", name, errno))
    }
}

/// Whether a file is a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IsLink {
    Yes,
    No,
}

fn timespec(time: Timestamp) -> Timespec {
    Timespec {
        tv_sec: time.0.div_euclid(1_000_000_000),
        tv_nsec: time.0.rem_euclid(1_000_000_000),
    }
}
