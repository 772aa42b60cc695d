//! What the space tree says of a segment, and a list of pending frees of its blocks.

use baton_types::{Epoch, Result};
use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::reader::{Reader, zeros};
use crate::format::{Bitmap, Lsn, SegmentClass};

/// A segment, as the space tree knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentState {
    /// How it stands.
    pub phase: SegmentPhase,
    /// What it is used for; `None` while free.
    pub class: Option<SegmentClass>,
    /// The epoch that reserved it last.
    pub epoch: Epoch,
    /// Blocks in use.
    pub bitmap: Bitmap,
}

/// How a segment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SegmentPhase {
    /// Nothing is in it.
    Free = 0,
    /// Some epoch's reserve: the bitmap that counts is in a root.
    Open = 1,
    /// Written, and left to itself.
    Closed = 2,
    /// Part of the log.
    Log = 3,
    /// An older epoch may still write to it.
    Quarantined = 4,
}

/// A pending free; the key says the first block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// How many blocks.
    pub count: u16,
    /// The record that made them.
    pub birth: Lsn,
}

/// Followed by the bitmap.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct StateLayout {
    phase: u8,
    class: u8,
    zero: [u8; 6],
    epoch: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct PendingLayout {
    count: U16,
    birth: U64,
}

impl SegmentState {
    /// As it lies on the disk.
    pub fn encode(&self) -> Vec<u8> {
        let layout = StateLayout {
            phase: self.phase as u8,
            class: self.class.map_or(0, |class| class as u8),
            zero: [0; 6],
            epoch: U64::new(self.epoch.0),
        };
        [layout.as_bytes(), self.bitmap.as_bytes()].concat()
    }

    /// The state in these bytes.
    ///
    /// # Errors
    /// `Damaged`, or `Version` if it stands in an unknown way.
    pub fn decode(bytes: &[u8]) -> Result<SegmentState> {
        let mut reader = Reader::new("segment state", bytes);
        let layout: &StateLayout = reader.layout()?;
        zeros("segment state", &layout.zero)?;
        let phase = match layout.phase {
            0 => SegmentPhase::Free,
            1 => SegmentPhase::Open,
            2 => SegmentPhase::Closed,
            3 => SegmentPhase::Log,
            4 => SegmentPhase::Quarantined,
            phase => return Err(reader.newer(format!("its phase is {phase}"))),
        };
        let class = SegmentClass::from_number(layout.class);
        if class.is_none() && layout.class != 0 {
            return Err(reader.newer(format!("its class is {}", layout.class)));
        }
        Ok(SegmentState {
            phase,
            class,
            epoch: Epoch(layout.epoch.get()),
            bitmap: Bitmap::from_bytes(reader.take(reader.len())?),
        })
    }
}

impl Pending {
    /// As it lies on the disk.
    pub fn encode(&self) -> Vec<u8> {
        let layout = PendingLayout {
            count: U16::new(self.count),
            birth: U64::new(self.birth.0),
        };
        layout.as_bytes().to_vec()
    }

    /// The pending free in these bytes.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn decode(bytes: &[u8]) -> Result<Pending> {
        let mut reader = Reader::new("pending free", bytes);
        let layout: &PendingLayout = reader.layout()?;
        if layout.count.get() == 0 {
            return Err(reader.damaged("it frees nothing"));
        }
        reader.end()?;
        Ok(Pending {
            count: layout.count.get(),
            birth: Lsn(layout.birth.get()),
        })
    }
}
