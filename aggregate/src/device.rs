//! The device under an aggregate: a few operations, and what they promise.
//!
//! Nothing here trusts time: a write is on the disk when `submit` returned, survives a power cut when `flush`
//! returned, and may land at any moment between its submission and the proven end of its process (I2).
//!
//! | promise | by whom it is kept |
//! |---|---|
//! | a read returns what was last written, by whichever host | direct I/O; no cache above the device |
//! | writes of one `submit` are unordered, and each may be torn between sectors | nobody: callers count on neither |
//! | a sector ([`SECTOR_BYTES`]) is old or new | the disk |
//! | what completed before `flush` began is durable when it returns | the disk (a flush that lies is excluded) |
//! | after a write or a flush failed, none succeeds until the device is opened again | [`Broken`] |

#[cfg(any(test, feature = "testing"))]
pub mod double;
pub mod file;
mod lock;
#[cfg(any(test, feature = "testing"))]
pub mod suite;

use std::fmt::Display;
use std::sync::OnceLock;

use baton_types::{Error, Kind, Result};

pub use file::{Access, FileDevice};

use crate::buffer::ALIGNMENT;

/// The least that is written as one: offsets and lengths are multiples of it.
///
/// A disk whose own sector is larger refuses less than that; whole blocks of 4 KiB are right everywhere.
pub const SECTOR_BYTES: usize = 512;

/// One write of a [`Device::submit`].
#[derive(Clone, Copy)]
pub struct Write<'a> {
    /// Where on the device, in bytes.
    pub offset: u64,
    /// What; begins at a multiple of [`ALIGNMENT`] in memory, as a [`Buffer`](crate::buffer::Buffer) does.
    pub bytes: &'a [u8],
}

/// A disk, or what behaves as one.
#[expect(
    clippy::len_without_is_empty,
    reason = "a device without a byte is refused when it is opened"
)]
pub trait Device: Send + Sync {
    /// Bytes on the device.
    fn len(&self) -> u64;

    /// Looks how many bytes it has now: a device may have grown since it was opened, and what was added may be used
    /// from here on.
    ///
    /// # Errors
    /// `Io` if the device does not say.
    fn measure(&self) -> Result<u64> {
        Ok(self.len())
    }

    /// Fills `into` from `offset`.
    ///
    /// # Errors
    /// `Invalid` if misaligned or beyond the end; `Io` if the device fails.
    fn read(&self, offset: u64, into: &mut [u8]) -> Result<()>;

    /// Writes them all, in any order; complete on return, not durable. After an error any part of them may have landed.
    ///
    /// # Errors
    /// `Invalid` if one is misaligned or beyond the end, and then none is written; `Io` if the device fails or did before.
    fn submit(&self, writes: &[Write<'_>]) -> Result<()>;

    /// Makes durable what completed before.
    ///
    /// # Errors
    /// `Io` if the device fails or did before: then nothing is known of any write since the last good flush.
    fn flush(&self) -> Result<()>;

    /// Gives the bytes up: they read as anything until written again. A device that cannot does nothing.
    ///
    /// # Errors
    /// `Invalid` if misaligned or beyond the end; `Io` if the device fails or did before.
    fn discard(&self, offset: u64, len: u64) -> Result<()>;

    /// Ends its writing for good: returns when no write is under way any more, and none is begun after it. What this
    /// opening held of the device for its epoch, others may take then, however many still have a hand on it to read.
    fn retire(&self) {}
}

/// The first failure of a device's writes, after which there is no other.
#[derive(Debug, Default)]
pub(crate) struct Broken(OnceLock<String>);

impl Broken {
    /// Refuses if something failed before.
    pub(crate) fn check(&self, device: impl Display) -> Result<()> {
        let Some(first) = self.0.get() else { return Ok(()) };
        Err(Error::new(Kind::Io, format!("device {device}"))
            .because(format!("not written any more, because this failed: {first}"))
            .remedy("look at the disk, then export the aggregate again"))
    }

    /// Remembers the failure, if this is the first.
    pub(crate) fn keep<T>(&self, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| drop(self.0.set(error.to_string())))
    }
}

/// Refuses a range that does not lie in whole sectors on the device.
pub(crate) fn check_range(device: impl Display, device_bytes: u64, offset: u64, len: u64) -> Result<()> {
    let sector = SECTOR_BYTES as u64;
    let reason = if !offset.is_multiple_of(sector) || !len.is_multiple_of(sector) {
        format!("not aligned to sectors of {sector}")
    } else if offset.checked_add(len).is_none_or(|end| end > device_bytes) {
        format!("beyond its end at {device_bytes}")
    } else {
        return Ok(());
    };
    Err(Error::new(Kind::Invalid, format!("device {device}, {len} bytes at {offset}")).because(reason))
}

/// Refuses memory that direct I/O cannot take.
pub(crate) fn check_memory(device: impl Display, memory: &[u8]) -> Result<()> {
    if memory.as_ptr().addr().is_multiple_of(ALIGNMENT) {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, format!("device {device}")).because(format!(
        "memory is not aligned to {ALIGNMENT}; it must come from a Buffer"
    )))
}
