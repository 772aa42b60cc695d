//! The label: what an aggregate is. Written once, when it is made; in the first and in the last block.

use baton_types::{AggregateId, AggregateName, Error, Kind, Result, Timestamp};
use uuid::Uuid;
use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::reader::{damaged, zeros};
use crate::format::sealed::{PRELUDE, Shape};
use crate::format::{BLOCK_BYTES, Geometry};

const SHAPE: Shape = Shape {
    what: "label",
    magic: *b"BTNa",
    unit: BLOCK_BYTES,
    bytes_max: BLOCK_BYTES,
};

/// What an aggregate is, from its birth on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The aggregate's identity.
    pub id: AggregateId,
    /// Its name at birth.
    pub name: AggregateName,
    /// Its sizes at birth.
    pub geometry: Geometry,
    /// When it was made.
    pub created: Timestamp,
    /// What of the format it uses.
    pub features: Features,
}

/// Additions to the format that an aggregate uses, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Who does not know one of these may use the aggregate all the same.
    pub compat: u64,
    /// … may read it, not write it.
    pub ro_compat: u64,
    /// … may do neither.
    pub incompat: u64,
}

impl Features {
    /// Of `ro_compat`: filesets may have snapshots. Who does not know of them would free what they have.
    pub const SNAPSHOTS: u64 = 1;
    /// Of `ro_compat`: filesets may go on from snapshots. Who does not know that would free what those have.
    pub const CLONES: u64 = 2;

    /// Of `incompat`: files may be promised room. Who does not know that takes their attributes for damage.
    pub const PROMISES: u64 = 1;

    /// Of `incompat`: files may share blocks. Who does not know that would free them.
    pub const SHARING: u64 = 2;

    /// Of `incompat`: blocks may have several owners. Who does not know that would free them with the first that goes.
    pub const FURTHER_OWNERS: u64 = 4;

    /// What this build knows, and gives to what it makes.
    pub const KNOWN: Features = Features {
        compat: 0,
        ro_compat: Features::SNAPSHOTS | Features::CLONES,
        incompat: Features::PROMISES | Features::SHARING | Features::FURTHER_OWNERS,
    };

    /// True if files may be promised room.
    pub fn has_promises(self) -> bool {
        self.incompat & Features::PROMISES != 0
    }

    /// True if files may share blocks.
    pub fn has_sharing(self) -> bool {
        self.incompat & Features::SHARING != 0
    }

    /// True if blocks may have several owners.
    pub fn has_further_owners(self) -> bool {
        self.incompat & Features::FURTHER_OWNERS != 0
    }

    /// True if filesets may have snapshots.
    pub fn has_snapshots(self) -> bool {
        self.ro_compat & Features::SNAPSHOTS != 0
    }

    /// True if filesets may go on from snapshots.
    pub fn has_clones(self) -> bool {
        self.ro_compat & Features::CLONES != 0
    }
}

/// A label's bytes after the prelude; zeros up to the end of the block.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    id: [u8; 16],
    compat: U64,
    ro_compat: U64,
    incompat: U64,
    device_bytes: U64,
    segment_bytes: U32,
    node_bytes: U32,
    created: I64,
    name_len: u8,
    name: [u8; 31],
}

impl Label {
    /// Its block.
    pub fn encode(&self) -> Vec<u8> {
        let mut name = [0; 31];
        let text = self.name.as_str().as_bytes();
        name[..text.len()].copy_from_slice(text);
        let layout = Layout {
            id: self.id.0.into_bytes(),
            compat: U64::new(self.features.compat),
            ro_compat: U64::new(self.features.ro_compat),
            incompat: U64::new(self.features.incompat),
            device_bytes: U64::new(self.geometry.device_bytes),
            segment_bytes: U32::new(self.geometry.segment_bytes),
            node_bytes: U32::new(self.geometry.node_bytes),
            created: I64::new(self.created.0),
            name_len: text.len() as u8,
            name,
        };
        SHAPE.seal([&PRELUDE, layout.as_bytes()].concat(), 0)
    }

    /// The label in this block.
    ///
    /// # Errors
    /// `Damaged` if it is none, `Version` if it takes a newer Baton to read the aggregate.
    pub fn decode(bytes: &[u8]) -> Result<Label> {
        let (kind, mut reader) = SHAPE.open(bytes)?;
        zeros(SHAPE.what, &[kind])?;
        let layout: &Layout = reader.layout()?;
        let features = Features {
            compat: layout.compat.get(),
            ro_compat: layout.ro_compat.get(),
            incompat: layout.incompat.get(),
        };
        let unknown = features.incompat & !Features::KNOWN.incompat;
        if unknown != 0 {
            return Err(reader.newer(format!(
                "it uses features of the format that are unknown here ({unknown:#x})"
            )));
        }
        let (name, rest) = layout
            .name
            .split_at_checked(usize::from(layout.name_len))
            .ok_or_else(|| reader.damaged("its name is too long"))?;
        zeros(SHAPE.what, rest)?;
        let name = std::str::from_utf8(name)
            .ok()
            .and_then(|name| AggregateName::parse(name).ok())
            .ok_or_else(|| reader.damaged("its name is none"))?;
        let sizes = (
            layout.device_bytes.get(),
            layout.segment_bytes.get(),
            layout.node_bytes.get(),
        );
        let geometry = Geometry::new(sizes.0, sizes.1, sizes.2).map_err(|error| reader.damaged(error.reason))?;
        if geometry.device_bytes != sizes.0 {
            return Err(reader.damaged("the device is no whole number of blocks"));
        }
        reader.only_zeros()?;
        Ok(Label {
            id: AggregateId(Uuid::from_bytes(layout.id)),
            name,
            geometry,
            created: Timestamp(layout.created.get()),
            features,
        })
    }

    /// Refuses to write an aggregate of which only a newer Baton keeps all promises.
    ///
    /// # Errors
    /// `Version`.
    pub fn may_be_written(&self) -> Result<()> {
        match self.features.ro_compat & !Features::KNOWN.ro_compat {
            0 => Ok(()),
            unknown => Err(Error::new(Kind::Version, format!("aggregate {}", self.name))
                .because(format!(
                    "it can only be read here: it uses features that are unknown ({unknown:#x})"
                ))
                .remedy("serve it with the newer Baton that made it, or take its files out with salvage -extract")),
        }
    }

    /// True if the block begins as a label does, whole or not.
    pub fn is_here(bytes: &[u8]) -> bool {
        SHAPE.is_here(bytes)
    }

    /// The label that its two copies, the first and the last block, stand for.
    ///
    /// One good copy is enough; the other is for `salvage` to report.
    ///
    /// # Errors
    /// `NotFound` if this is no aggregate, `Damaged` if both copies are or if they differ, `Version`.
    pub fn of_copies(first: &[u8], last: &[u8]) -> Result<Label> {
        match (Label::decode(first), Label::decode(last)) {
            (Ok(one), Ok(other)) if one == other => Ok(one),
            (Ok(one), Ok(other)) => Err(damaged(
                SHAPE.what,
                format!(
                    "its copies differ: the first names aggregate {} ({}), the last {} ({})",
                    one.name, one.id, other.name, other.id
                ),
            )
            .remedy("if the device was made anew, wipe its last block")),
            (Err(error), _) | (_, Err(error)) if error.kind == Kind::Version => Err(error),
            (Ok(label), Err(_)) | (Err(_), Ok(label)) => Ok(label),
            (Err(_), Err(_)) if Label::is_here(first) || Label::is_here(last) => {
                Err(damaged(SHAPE.what, "both copies are damaged").remedy(
                    "read the device by another path; if they stay so, restore its filesets from a replica or a dump",
                ))
            }
            (Err(_), Err(_)) => Err(Error::new(Kind::NotFound, SHAPE.what)
                .because("this device holds no aggregate")
                .remedy("check its name; newaggr makes an aggregate")),
        }
    }
}
