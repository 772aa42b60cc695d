//! Mounting, unmounting, and looking at what is mounted: the system's part of it, for root.
//!
//! Nothing here waits for a server. The device is opened by us and not by the FUSE library, so that the guard can
//! have a copy of it before the first request comes.

use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use baton_types::{Error, Kind, Result};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// What `mount` and `/proc/self/mountinfo` show as its type.
pub const FILE_SYSTEM: &str = "fuse.baton";
const DEVICE: &str = "/dev/fuse";
/// Where the kernel lists its FUSE connections, once that is mounted.
const CONNECTIONS: &str = "/sys/fs/fuse/connections";
/// As much as one request carries: cold reads are 1.7 times as fast as with the 128 KiB of the kernel (measured).
const READ_AHEAD_KIB: u32 = 1_024;
/// A mount whose daemon lives answers `statfs` by itself; one whose daemon is gone is refused at once.
const PROBE: Duration = Duration::from_secs(1);

/// Whether programs may change what is in a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// They may.
    ReadWrite,
    /// They may not.
    ReadOnly,
}

/// Whether what a file says of itself counts on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Honour {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// How to mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// `ro`, `rw`.
    pub access: Access,
    /// Set-user-id and set-group-id bits: `suid`, `nosuid`.
    pub suid: Honour,
    /// Device files: `dev`, `nodev`.
    pub dev: Honour,
    /// Execute bits: `exec`, `noexec`.
    pub exec: Honour,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            access: Access::ReadWrite,
            suid: Honour::No,
            dev: Honour::No,
            exec: Honour::Yes,
        }
    }
}

/// A mount just made; the kernel waits for the first answer of whoever has its device.
#[derive(Debug)]
pub struct Attached {
    /// Requests come from it.
    pub device: OwnedFd,
    /// Minor number of its `st_dev`, and the connection's number.
    pub minor: u32,
}

/// Mounts at `directory`, as something of `source`.
///
/// # Errors
/// `Denied` for those who are not root; what the system says.
pub fn attach(source: &str, directory: &Path, options: Options) -> Result<Attached> {
    let device = File::options()
        .read(true)
        .write(true)
        .open(DEVICE)
        .map_err(|e| Error::io(DEVICE, e).remedy("load the module: modprobe fuse"))?;
    let words = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other",
        device.as_raw_fd()
    );
    let words = CString::new(words).map_err(|e| failed(directory, io::Error::other(e)))?;
    let mut flags = MountFlags::empty();
    flags.set(MountFlags::RDONLY, options.access == Access::ReadOnly);
    flags.set(MountFlags::NOSUID, options.suid == Honour::No);
    flags.set(MountFlags::NODEV, options.dev == Honour::No);
    flags.set(MountFlags::NOEXEC, options.exec == Honour::No);
    mount(source, directory, FILE_SYSTEM, flags, words.as_c_str()).map_err(|e| failed(directory, e.into()))?;
    let minor = minor_of(directory).inspect_err(|_| {
        let _ = unmount(directory, UnmountFlags::DETACH); // the first failure is the one to tell
    })?;
    Ok(Attached {
        device: device.into(),
        minor,
    })
}

/// The minor number of what is mounted at `directory`, without asking whoever serves it.
///
/// # Errors
/// What the system says.
pub fn minor_of(directory: &Path) -> Result<u32> {
    let flags = AtFlags::STATX_DONT_SYNC;
    let found = statx(CWD, directory, flags, StatxFlags::empty()).map_err(|e| failed(directory, e.into()))?;
    match found.stx_dev_major {
        0 => Ok(found.stx_dev_minor),
        _ => Err(Error::new(Kind::Invalid, directory.display().to_string()).because("it is on a disk of this machine")),
    }
}

/// Reads so far ahead as suits us. Worth a line in the log when it fails, no more.
///
/// # Errors
/// What the system says.
pub fn read_ahead(minor: u32) -> Result<()> {
    let path = format!("/sys/class/bdi/0:{minor}/read_ahead_kb");
    fs::write(&path, READ_AHEAD_KIB.to_string()).map_err(|e| Error::io(path, e))
}

/// What programs that still use a mount see when it is unmounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InUse {
    /// They keep it from being unmounted.
    Refuse,
    /// They go on with what they have open; nobody else finds it any more.
    Detach,
}

/// Unmounts what is at `directory`.
///
/// # Errors
/// `Busy`; what the system says.
pub fn detach(directory: &Path, in_use: InUse) -> Result<()> {
    let flags = match in_use {
        InUse::Refuse => UnmountFlags::NOFOLLOW,
        InUse::Detach => UnmountFlags::NOFOLLOW | UnmountFlags::DETACH,
    };
    match unmount(directory, flags) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::BUSY) => Err(Error::new(Kind::Busy, directory.display().to_string())
            .because("programs use it")
            .remedy("'fuser -vm' lists them; 'umount -l' does not wait for them")),
        Err(e) => Err(failed(directory, e.into())),
    }
}

/// Aborts the FUSE connection of the mount with this number: what waits in it fails. The kernel goes on to show
/// what it holds.
///
/// # Errors
/// What the system says.
pub fn abort(minor: u32) -> Result<()> {
    let path = format!("{CONNECTIONS}/{minor}/abort");
    fs::write(&path, "1").map_err(|e| Error::io(path, e))
}

/// Makes the kernel list its FUSE connections, without which none can be aborted.
///
/// # Errors
/// What the system says.
pub fn list_connections() -> Result<()> {
    let type_of = |path: &str| rustix::fs::statfs(path).map(|fs| fs.f_type);
    /// `FUSE_CTL_SUPER_MAGIC` of `linux/magic.h`.
    const FUSE_CTL: i64 = 0x6573_5543;
    match type_of(CONNECTIONS) {
        Ok(FUSE_CTL) => Ok(()),
        _ => mount("fusectl", CONNECTIONS, "fusectl", MountFlags::empty(), None)
            .map_err(|e| Error::io(CONNECTIONS, e.into()).remedy("load the module: modprobe fuse")),
    }
}

/// Directories at which something of ours is mounted, by whichever daemon.
///
/// # Errors
/// What the system says.
pub fn mounted() -> Result<Vec<PathBuf>> {
    const TABLE: &str = "/proc/self/mountinfo";
    let text = fs::read(TABLE).map_err(|e| Error::io(TABLE, e))?;
    Ok(text.split(|b| *b == b'\n').filter_map(parse_mounted).collect())
}

/// `36 35 0:44 / /cell rw,nosuid - fuse.baton example.org rw`: five fields, some more, a dash, the type.
fn parse_mounted(line: &[u8]) -> Option<PathBuf> {
    let mut fields = line.split(|b| *b == b' ');
    let directory = fields.nth(4)?;
    fields.find(|field| *field == b"-")?;
    (fields.next()? == FILE_SYSTEM.as_bytes()).then(|| unescape(directory))
}

/// A blank is `\040` there, and so on.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code.filter(|_| *first == b'\\') {
            Some(code) => {
                bytes.push(code);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

/// Whether the daemon of the mount at `directory` is gone. One that takes its time is not.
pub fn is_dead(directory: &Path) -> bool {
    let (tell, hear) = mpsc::channel();
    let place = directory.to_owned();
    // It may wait for as long as that daemon likes; then the thread is left to it.
    let probe = std::thread::Builder::new()
        .name("probe".to_owned())
        .spawn(move || tell.send(rustix::fs::statfs(&place).err()));
    probe.is_ok() && hear.recv_timeout(PROBE) == Ok(Some(rustix::io::Errno::NOTCONN))
}

fn failed(directory: &Path, error: io::Error) -> Error {
    let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
    let error = Error::io(directory.as_os_str().as_bytes().escape_ascii().to_string(), error);
    match is_denied {
        true => error.remedy("root alone may mount"),
        false => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_ours_are_told_from_others() {
        let ours = b"36 35 0:44 / /mnt/my\\040cell rw,nosuid shared:1 - fuse.baton example.org rw,user_id=0";
        assert_eq!(parse_mounted(ours), Some(PathBuf::from("/mnt/my cell")));
        for other in [
            &b"24 1 8:1 / / rw - ext4 /dev/vda1 rw"[..],
            b"37 35 0:45 / /mnt/x rw - fuse.sshfs host: rw",
            b"36 35 0:44 / /mnt rw",
            b"",
        ] {
            assert_eq!(parse_mounted(other), None);
        }
    }

    #[test]
    fn a_backslash_that_begins_nothing_is_itself() {
        assert_eq!(unescape(b"/a\\134b\\9\\"), PathBuf::from("/a\\b\\9\\"));
    }
}
