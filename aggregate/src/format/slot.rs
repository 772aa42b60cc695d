//! A slot: who owns the aggregate, or did. One sector, so that a beat cannot tear.

use baton_types::{AggregateId, Epoch, Error, Incarnation, Kind, Result, ServerId, Timestamp};
use uuid::Uuid;
use zerocopy::little_endian::{I64, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::reader::zeros;
use crate::format::sealed::{PRELUDE, Shape};
use crate::format::{Geometry, RootName};

const SHAPE: Shape = Shape {
    what: "slot",
    magic: *b"BTNs",
    unit: Slot::BYTES,
    bytes_max: Slot::BYTES,
};

/// What an epoch says of itself in its place of the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Whose slot it is.
    pub aggregate: AggregateId,
    /// The epoch; its place is epoch mod 8.
    pub epoch: Epoch,
    /// To whom the epoch was granted; nil at birth.
    pub server: ServerId,
    /// The run of that server which uses the epoch.
    pub incarnation: Incarnation,
    /// The boot of its host.
    pub boot: Uuid,
    /// The server's name to people, at most 128 bytes.
    pub principal: String,
    /// How far it has come.
    pub state: SlotState,
    /// The newest root known to have had its look: its own, or while it is claimed an older epoch's.
    ///
    /// Recovery begins with no root older than the one before this, whichever slot it finds it in.
    pub root: RootName,
    /// Rises with every beat.
    pub beat: u64,
    /// Wall time of that beat; for people only.
    pub time: Timestamp,
}

/// How far an epoch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// It is reading.
    Claimed,
    /// It serves.
    Own,
    /// It has given up: nothing of it is in flight.
    Detached,
}

/// A slot's bytes after the prelude, whose kind is the state; zeros up to the end of the sector.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    aggregate: [u8; 16],
    epoch: U64,
    root_epoch: U64,
    root_seq: U64,
    server: [u8; 16],
    incarnation: [u8; 16],
    boot: [u8; 16],
    beat: U64,
    time: I64,
    principal_len: u8,
    zero: [u8; 7],
    principal: [u8; Slot::PRINCIPAL_BYTES_MAX],
}

impl Slot {
    /// What it takes of its block: the first sector.
    pub const BYTES: usize = 512;
    /// A principal at most.
    pub const PRINCIPAL_BYTES_MAX: usize = 128;

    /// The slot of an aggregate that no server has owned.
    pub fn at_birth(aggregate: AggregateId, time: Timestamp) -> Slot {
        Slot {
            aggregate,
            epoch: Epoch::NONE,
            server: ServerId(Uuid::nil()),
            incarnation: Incarnation(Uuid::nil()),
            boot: Uuid::nil(),
            principal: String::new(),
            state: SlotState::Detached,
            root: RootName::default(),
            beat: 0,
            time,
        }
    }

    /// True if it may stand at this place of the ring.
    pub fn fits(&self, index: usize) -> bool {
        self.epoch == Epoch::NONE || Geometry::ring_index(self.epoch) == index
    }

    /// Its sector.
    ///
    /// # Errors
    /// `Invalid` if the principal is too long.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let text = self.principal.as_bytes();
        if text.len() > Slot::PRINCIPAL_BYTES_MAX {
            return Err(Error::new(Kind::Invalid, format!("principal {}", self.principal))
                .because(format!("over {} bytes", Slot::PRINCIPAL_BYTES_MAX)));
        }
        let mut principal = [0; Slot::PRINCIPAL_BYTES_MAX];
        principal[..text.len()].copy_from_slice(text);
        let kind = match self.state {
            SlotState::Claimed => 1,
            SlotState::Own => 2,
            SlotState::Detached => 3,
        };
        let layout = Layout {
            aggregate: self.aggregate.0.into_bytes(),
            epoch: U64::new(self.epoch.0),
            root_epoch: U64::new(self.root.epoch.0),
            root_seq: U64::new(self.root.seq),
            server: self.server.0.into_bytes(),
            incarnation: self.incarnation.0.into_bytes(),
            boot: self.boot.into_bytes(),
            beat: U64::new(self.beat),
            time: I64::new(self.time.0),
            principal_len: text.len() as u8,
            zero: [0; 7],
            principal,
        };
        Ok(SHAPE.seal([&PRELUDE, layout.as_bytes()].concat(), kind))
    }

    /// The slot in this sector.
    ///
    /// # Errors
    /// `Damaged`, `Version`: to a look, both count as a newer epoch.
    pub fn decode(bytes: &[u8]) -> Result<Slot> {
        let (kind, mut reader) = SHAPE.open(bytes)?;
        let layout: &Layout = reader.layout()?;
        let state = match kind {
            1 => SlotState::Claimed,
            2 => SlotState::Own,
            3 => SlotState::Detached,
            _ => return Err(reader.damaged(format!("its state is {kind}"))),
        };
        let (principal, rest) = layout
            .principal
            .split_at_checked(usize::from(layout.principal_len))
            .ok_or_else(|| reader.damaged("its principal is too long"))?;
        zeros(SHAPE.what, rest)?;
        zeros(SHAPE.what, &layout.zero)?;
        let principal = std::str::from_utf8(principal).map_err(|_| reader.damaged("its principal is no text"))?;
        reader.only_zeros()?;
        Ok(Slot {
            aggregate: AggregateId(Uuid::from_bytes(layout.aggregate)),
            epoch: Epoch(layout.epoch.get()),
            server: ServerId(Uuid::from_bytes(layout.server)),
            incarnation: Incarnation(Uuid::from_bytes(layout.incarnation)),
            boot: Uuid::from_bytes(layout.boot),
            principal: principal.to_owned(),
            state,
            root: RootName {
                epoch: Epoch(layout.root_epoch.get()),
                seq: layout.root_seq.get(),
            },
            beat: layout.beat.get(),
            time: Timestamp(layout.time.get()),
        })
    }
}
