//! The lock of an epoch: held by the open file description that carries its I/O, on one byte of the device.
//!
//! It is given back when the device is [retired](crate::device::Device::retire), or with the description. That one lives until its last I/O has ended, that of io_uring in a process that was killed included. So when
//! nobody on this host holds the byte of an epoch that ran on this host since it was booted, nothing of that epoch is
//! in flight any more (R5). The byte is epoch mod 2^32, and only means the epoch: locks of bytes ask nothing of them.

use std::io;
use std::os::fd::AsRawFd;

use baton_types::{Epoch, Error, Kind, Result};

use super::FileDevice;

impl FileDevice {
    /// Holds the lock of `epoch`, from now until this device is closed and its last I/O has ended.
    ///
    /// # Errors
    /// `Busy` if somebody else on this host holds it; `Io`.
    pub fn hold(&self, epoch: Epoch) -> Result<()> {
        let mut lock = lock_of(epoch);
        match self.control(libc::F_OFD_SETLK, &mut lock) {
            Ok(()) => Ok(()),
            Err(error) if is_conflict(&error) => Err(Error::new(Kind::Busy, format!("device {self}"))
                .because(format!("epoch {epoch} is in use by another process of this machine"))),
            Err(error) => Err(Error::io(format!("device {self}, lock of epoch {epoch}"), error)),
        }
    }

    /// Holds none any more. For who has seen the end of its last write.
    pub(super) fn release(&self) {
        let mut all = libc::flock {
            l_type: libc::F_UNLCK as libc::c_short,
            l_start: 0,
            l_len: 0,
            ..lock_of(Epoch::NONE)
        };
        if let Err(error) = self.control(libc::F_OFD_SETLK, &mut all) {
            tracing::warn!(%error, device = %self, "its lock is held until it is closed");
        }
    }

    /// Whether somebody else on this host holds the lock of `epoch`.
    ///
    /// # Errors
    /// `Io`.
    pub fn is_held(&self, epoch: Epoch) -> Result<bool> {
        let mut lock = lock_of(epoch);
        self.control(libc::F_OFD_GETLK, &mut lock)
            .map_err(|error| Error::io(format!("device {self}, lock of epoch {epoch}"), error))?;
        Ok(i32::from(lock.l_type) != libc::F_UNLCK)
    }

    fn control(&self, command: libc::c_int, lock: &mut libc::flock) -> io::Result<()> {
        #[expect(unsafe_code, reason = "no safe wrapper has locks of open file descriptions")]
        // SAFETY: the descriptor is open for as long as `self` is, and `lock` is a whole `flock` that the kernel reads
        // and writes during the call only.
        let result = unsafe { libc::fcntl(self.file.as_raw_fd(), command, std::ptr::from_mut(lock)) };
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn lock_of(epoch: Epoch) -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: i64::from(epoch.0 as u32),
        l_len: 1,
        l_pid: 0, // as locks of descriptions demand
    }
}

fn is_conflict(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Buffer;
    use crate::device::{Access, Device, Write};

    #[test]
    fn lock_of_an_epoch_ends_with_the_opening_that_holds_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        let open = || FileDevice::open(file.path(), Access::Write).unwrap();
        let (one, other) = (open(), open());
        one.hold(Epoch(41)).unwrap();
        one.hold(Epoch(41)).unwrap();
        assert!(!one.is_held(Epoch(41)).unwrap(), "its own lock is no other's");
        assert!(other.is_held(Epoch(41)).unwrap());
        assert!(!other.is_held(Epoch(42)).unwrap());
        assert_eq!(other.hold(Epoch(41)).unwrap_err().kind, Kind::Busy);
        other.hold(Epoch::new(3, 42)).unwrap();
        drop(one);
        assert!(!other.is_held(Epoch(41)).unwrap());
    }

    #[test]
    fn lock_of_an_epoch_ends_when_its_opening_writes_no_more() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        let open = || FileDevice::open(file.path(), Access::Write).unwrap();
        let (one, other) = (open(), open());
        one.hold(Epoch(41)).unwrap();
        let bytes = Buffer::padded(&[7; 4096]);
        let write = |offset| [Write { offset, bytes: &bytes }];
        one.submit(&write(0)).unwrap();
        // A write that is under way is waited for.
        let writing = one.writing().unwrap();
        let retired = std::thread::scope(|scope| {
            let retiring = scope.spawn(|| one.retire());
            std::thread::sleep(std::time::Duration::from_millis(20));
            let is_early = !other.is_held(Epoch(41)).unwrap();
            drop(writing);
            retiring.join().unwrap();
            is_early
        });
        assert!(!retired, "its lock was free while it could still write");
        assert!(!other.is_held(Epoch(41)).unwrap());
        assert_eq!(one.submit(&write(4096)).unwrap_err().kind, Kind::Detached);
        assert_eq!(one.discard(0, 4096).unwrap_err().kind, Kind::Detached);
        let mut read = Buffer::zeroed(4096);
        one.read(0, &mut read).unwrap();
        assert_eq!(read[..], bytes[..]);
    }
}
