//! A root: all that recovery needs before the log. An epoch's first root is its seal.

use std::fmt;

use baton_types::{AggregateId, Epoch, Error, Kind, Result, ServerId};

use crate::format::{Bitmap, Checksum, Geometry, Lsn, Pointer, Segment, SegmentClass};

mod codec;

/// Which root: later epochs and later numbers are newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootName {
    /// Whose it is.
    pub epoch: Epoch,
    /// Its number in the epoch; the seal is 0.
    pub seq: u64,
}

impl fmt::Display for RootName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "root {} of epoch {}", self.seq, self.epoch)
    }
}

/// One state of an aggregate, whole, and the log that leads on from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Whose root it is.
    pub aggregate: AggregateId,
    /// The epoch that wrote it.
    pub epoch: Epoch,
    /// Its number in the epoch; the seal is 0.
    pub seq: u64,
    /// Counts checkpoints, over all epochs.
    pub generation: u64,
    /// The trees hold all records up to this one.
    pub lsn: Lsn,
    /// Seal or checkpoint.
    pub kind: RootKind,
    /// The device's size: as in the label, or grown since.
    pub device_bytes: u64,
    /// Segments from here on were never used, and the space tree says nothing of them.
    pub high_water: Segment,
    /// Filesets, sessions, clients.
    pub system: Option<Pointer>,
    /// Closed segments.
    pub space: Option<Pointer>,
    /// Items left unmerged, to be replayed before the log.
    pub residue: Option<Pointer>,
    /// Blocks freed in the generation before, and in this one.
    pub pending: [Option<Pointer>; 2],
    /// The log after `lsn`, oldest piece first; only the last may be open.
    pub chain: Vec<Piece>,
    /// Segments this epoch writes nodes and data to.
    pub open: Vec<OpenSegment>,
    /// Log segments of this epoch that are not yet used.
    pub log_reserve: Vec<Segment>,
    /// Open segments of older epochs, which the space tree does not hold yet.
    pub inherited: Vec<Inherited>,
    /// Epochs not yet proven gone.
    pub quarantine: Vec<Epoch>,
    /// The last epochs that served.
    pub history: Vec<History>,
}

impl Root {
    /// Which it is.
    pub fn name(&self) -> RootName {
        RootName {
            epoch: self.epoch,
            seq: self.seq,
        }
    }

    /// Where things lie as this root has it, in an aggregate that was `born` so.
    ///
    /// # Errors
    /// `Damaged` if the root speaks of segments or blocks that are none.
    pub fn check(&self, born: &Geometry) -> Result<Geometry> {
        let damaged = |reason: String| Error::new(Kind::Damaged, self.name().to_string()).because(reason);
        let geometry = born.on(self.device_bytes).map_err(|error| damaged(error.reason))?;
        match self.wrong(&geometry) {
            None => Ok(geometry),
            Some(reason) => Err(damaged(reason.to_owned())),
        }
    }

    fn wrong(&self, geometry: &Geometry) -> Option<&'static str> {
        let open = || {
            self.open
                .iter()
                .chain(self.inherited.iter().flat_map(|inherited| &inherited.open))
        };
        let log = self
            .chain
            .iter()
            .flat_map(|piece| &piece.segments)
            .chain(&self.log_reserve);
        let mut segments = open().map(|open| open.segment).chain(log.copied());
        let pointers = [self.system, self.space, self.residue]
            .into_iter()
            .chain(self.pending)
            .flatten();
        if !segments.all(|segment| geometry.has_segment(segment)) {
            Some("it names segments that are none")
        } else if self.high_water > geometry.end_segment() {
            Some("it has used segments that are none")
        } else if !open().all(|open| open.bitmap.as_bytes().len() == geometry.bitmap_bytes()) {
            Some("its bitmaps are not of this aggregate's segments")
        } else if !pointers
            .into_iter()
            .all(|to| geometry.has_blocks(to.block, to.blocks.into()))
        {
            Some("it leads to blocks that lie in no segment")
        } else if self.chain.iter().any(|piece| piece.offset > geometry.segment_blocks()) {
            Some("its log begins beyond a segment")
        } else {
            None
        }
    }
}

/// Why a root was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootKind {
    /// It begins an epoch: the same trees, a longer chain.
    Seal,
    /// New trees.
    Checkpoint,
}

/// The log of one epoch, as far as it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Whose log it is.
    pub epoch: Epoch,
    /// Its first record that counts.
    pub first: Lsn,
    /// In which block of the first segment that record's batch begins.
    pub offset: u32,
    /// The checksum of the batch before it; zero before the first of all.
    pub before: Checksum,
    /// Its last record; `None` while it grows.
    pub cut: Option<Lsn>,
    /// Where it lies, in order.
    pub segments: Vec<Segment>,
}

/// A segment that is being written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSegment {
    /// Which.
    pub segment: Segment,
    /// Nodes or data; log only where it is inherited.
    pub class: SegmentClass,
    /// What of it the records up to the root's lsn and the root's own trees use.
    pub bitmap: Bitmap,
}

/// The open segments that an older epoch left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// Which epoch.
    pub epoch: Epoch,
    /// Its open segments.
    pub open: Vec<OpenSegment>,
}

/// An epoch that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Which.
    pub epoch: Epoch,
    /// Who it was.
    pub server: ServerId,
    /// Its last record.
    pub cut: Lsn,
}
