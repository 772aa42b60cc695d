//! Reading bytes that nobody vouches for.

use baton_types::{Error, Kind, Result};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// What is left to read of a structure.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    what: &'static str,
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads a `what` from `bytes`.
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Reader<'a> {
        Reader { what, left: bytes }
    }

    /// How much is left.
    pub fn len(&self) -> usize {
        self.left.len()
    }

    /// True if nothing is.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// A fixed layout.
    pub fn layout<T: FromBytes + KnownLayout + Immutable + Unaligned>(&mut self) -> Result<&'a T> {
        let (layout, left) = T::ref_from_prefix(self.left).map_err(|_| self.short())?;
        self.left = left;
        Ok(layout)
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, left) = self.left.split_at_checked(count).ok_or_else(|| self.short())?;
        self.left = left;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.layout::<[u8; N]>().copied()
    }

    /// A byte.
    pub fn u8(&mut self) -> Result<u8> {
        self.array().map(u8::from_le_bytes)
    }

    /// A number of 32 bits.
    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A number of 64 bits.
    pub fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Refuses a count of things, each of at least `bytes`, that cannot be here: asked before room is made for them.
    pub fn holds(&self, count: usize, bytes: usize) -> Result<()> {
        match count.checked_mul(bytes) {
            Some(needed) if needed <= self.left.len() => Ok(()),
            _ => Err(self.short()),
        }
    }

    /// Refuses anything but zeros from here to the end.
    pub fn only_zeros(self) -> Result<()> {
        zeros(self.what, self.left)
    }

    /// Refuses anything from here on.
    pub fn end(self) -> Result<()> {
        match self.left.len() {
            0 => Ok(()),
            left => Err(self.damaged(format!("{left} bytes too many"))),
        }
    }

    /// The structure contradicts itself.
    pub fn damaged(&self, reason: impl Into<String>) -> Error {
        damaged(self.what, reason)
    }

    /// Only a newer Baton can know this.
    pub fn newer(&self, reason: impl Into<String>) -> Error {
        newer(self.what, reason)
    }

    fn short(&self) -> Error {
        self.damaged("it ends too early")
    }
}

/// `what` contradicts itself.
pub(crate) fn damaged(what: &'static str, reason: impl Into<String>) -> Error {
    Error::new(Kind::Damaged, what).because(reason)
}

/// Only a newer Baton can know this part of `what`.
pub(crate) fn newer(what: &'static str, reason: impl Into<String>) -> Error {
    Error::new(Kind::Version, what)
        .because(reason)
        .remedy("use the newer Baton that wrote it")
}

/// Refuses reserved bytes that are not zero: whoever sets them also sets a version or a feature bit.
pub(crate) fn zeros(what: &'static str, bytes: &[u8]) -> Result<()> {
    match bytes.iter().all(|&byte| byte == 0) {
        true => Ok(()),
        false => Err(damaged(what, "reserved bytes are not zero")),
    }
}
