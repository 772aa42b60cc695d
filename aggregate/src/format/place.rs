//! Places in an aggregate: in its history, and on its device.

use std::fmt;

/// The unit of all addresses.
pub const BLOCK_BYTES: usize = 4096;

/// A log sequence number: counts an aggregate's records over all epochs. 0 comes before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The one after it.
    #[must_use]
    pub fn next(self) -> Lsn {
        Lsn(self.0 + 1)
    }
}

/// A 4 KiB block, counted from the start of the device; below 2^48.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block(pub u64);

impl Block {
    /// The first number that is none.
    pub const END: Block = Block(1 << 48);

    /// Its first byte on the device.
    pub fn offset(self) -> u64 {
        self.0 * BLOCK_BYTES as u64
    }
}

/// A segment, counted from the start of the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment(pub u32);

macro_rules! plain_display {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

plain_display! { Lsn Block Segment }

/// What a segment is used for, while it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SegmentClass {
    /// Nodes of trees.
    Node = 1,
    /// Bytes of files.
    Data = 2,
    /// Batches of the log.
    Log = 3,
}

impl SegmentClass {
    /// The class with this number.
    pub fn from_number(number: u8) -> Option<SegmentClass> {
        match number {
            1 => Some(SegmentClass::Node),
            2 => Some(SegmentClass::Data),
            3 => Some(SegmentClass::Log),
            _ => None,
        }
    }
}
