//! A root's bytes: a fixed part, then its lists one after the other, zeros up to a whole block.

use baton_types::{AggregateId, Epoch, Error, Kind, Result, ServerId};
use uuid::Uuid;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{History, Inherited, OpenSegment, Piece, Root, RootKind};
use crate::format::reader::{Reader, zeros};
use crate::format::sealed::{PRELUDE, Shape};
use crate::format::{BLOCK_BYTES, Bitmap, Checksum, Geometry, Lsn, POINTER_BYTES, Pointer, Segment, SegmentClass};

const SHAPE: Shape = Shape {
    what: "root",
    magic: *b"BTNr",
    unit: BLOCK_BYTES,
    bytes_max: Geometry::ROOT_BYTES_MAX,
};

/// The cut of a piece that still grows.
const OPEN: u64 = u64::MAX;

/// After the prelude, whose kind is the root's.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Fixed {
    aggregate: [u8; 16],
    epoch: U64,
    seq: U64,
    generation: U64,
    lsn: U64,
    device_bytes: U64,
    high_water: U32,
    bitmap_bytes: U16,
    pieces: U16,
    open: U16,
    log_reserve: U16,
    inherited: U16,
    quarantine: U16,
    history: U16,
    zero: [u8; 6],
    pointers: [[u8; POINTER_BYTES]; 5],
    zero_: [u8; 48],
}

/// Followed by the numbers of its segments.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct PieceFixed {
    epoch: U64,
    first: U64,
    cut: U64,
    before: [u8; 16],
    offset: U32,
    segments: U32,
}

/// Followed by its bitmap.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct OpenFixed {
    segment: U32,
    class: u8,
    zero: [u8; 3],
}

/// Followed by its open segments.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct InheritedFixed {
    epoch: U64,
    open: U32,
    zero: [u8; 4],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct HistoryFixed {
    epoch: U64,
    server: [u8; 16],
    cut: U64,
}

impl Root {
    /// Pieces in a chain at most: a seal of 8 is followed by a checkpoint, which leaves at most its own.
    pub const PIECES_MAX: usize = 16;
    /// Open segments at most.
    pub const OPEN_MAX: usize = 128;
    /// Epochs remembered at most.
    pub const HISTORY_MAX: usize = 16;

    /// Its bytes, in whole blocks.
    ///
    /// # Errors
    /// `Limit` if it holds more than a root can.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let limits = [
            ("pieces of log", self.chain.len(), Root::PIECES_MAX),
            ("open segments", self.open.len(), Root::OPEN_MAX),
            ("log segments in reserve", self.log_reserve.len(), usize::from(u16::MAX)),
            ("epochs with open segments", self.inherited.len(), usize::from(u16::MAX)),
            ("epochs in quarantine", self.quarantine.len(), usize::from(u16::MAX)),
            ("epochs in its history", self.history.len(), Root::HISTORY_MAX),
        ];
        if let Some((what, count, most)) = limits.into_iter().find(|&(_, count, most)| count > most) {
            return Err(Error::new(Kind::Limit, "root").because(format!("{count} {what}, and {most} have room")));
        }
        let mut bytes = [&PRELUDE, self.fixed().as_bytes()].concat();
        self.chain.iter().for_each(|piece| put_piece(&mut bytes, piece));
        self.open.iter().for_each(|open| put_open(&mut bytes, open));
        put_segments(&mut bytes, &self.log_reserve);
        for inherited in &self.inherited {
            let fixed = InheritedFixed {
                epoch: U64::new(inherited.epoch.0),
                open: U32::new(inherited.open.len() as u32),
                zero: [0; 4],
            };
            bytes.extend(fixed.as_bytes());
            inherited.open.iter().for_each(|open| put_open(&mut bytes, open));
        }
        self.quarantine
            .iter()
            .for_each(|epoch| bytes.extend(epoch.0.to_le_bytes()));
        for past in &self.history {
            let fixed = HistoryFixed {
                epoch: U64::new(past.epoch.0),
                server: past.server.0.into_bytes(),
                cut: U64::new(past.cut.0),
            };
            bytes.extend(fixed.as_bytes());
        }
        if bytes.len() > Geometry::ROOT_BYTES_MAX {
            return Err(Error::new(Kind::Limit, "root").because(format!(
                "{} bytes, and {} have room",
                bytes.len(),
                Geometry::ROOT_BYTES_MAX
            )));
        }
        let kind = match self.kind {
            RootKind::Seal => 1,
            RootKind::Checkpoint => 2,
        };
        Ok(SHAPE.seal(bytes, kind))
    }

    fn fixed(&self) -> Fixed {
        let inherited = self.inherited.iter().flat_map(|inherited| &inherited.open);
        let bitmap = self
            .open
            .iter()
            .chain(inherited)
            .next()
            .map(|open| open.bitmap.as_bytes().len());
        let [older, newer] = self.pending;
        Fixed {
            aggregate: self.aggregate.0.into_bytes(),
            epoch: U64::new(self.epoch.0),
            seq: U64::new(self.seq),
            generation: U64::new(self.generation),
            lsn: U64::new(self.lsn.0),
            device_bytes: U64::new(self.device_bytes),
            high_water: U32::new(self.high_water.0),
            bitmap_bytes: U16::new(bitmap.unwrap_or(0) as u16),
            pieces: U16::new(self.chain.len() as u16),
            open: U16::new(self.open.len() as u16),
            log_reserve: U16::new(self.log_reserve.len() as u16),
            inherited: U16::new(self.inherited.len() as u16),
            quarantine: U16::new(self.quarantine.len() as u16),
            history: U16::new(self.history.len() as u16),
            zero: [0; 6],
            pointers: [self.system, self.space, self.residue, older, newer].map(Pointer::encode_option),
            zero_: [0; 48],
        }
    }

    /// The root at the start of these bytes: a place of a head, read whole.
    ///
    /// # Errors
    /// `Damaged` if it is none, `Version` if a newer Baton wrote it.
    pub fn decode(bytes: &[u8]) -> Result<Root> {
        let (kind, mut reader) = SHAPE.open(bytes)?;
        let fixed: &Fixed = reader.layout()?;
        zeros(SHAPE.what, &fixed.zero)?;
        zeros(SHAPE.what, &fixed.zero_)?;
        let kind = match (kind, fixed.seq.get()) {
            (1, 0) => RootKind::Seal,
            (2, 1..) => RootKind::Checkpoint,
            (kind, seq) => return Err(reader.damaged(format!("number {seq} of its epoch is of kind {kind}"))),
        };
        let [system, space, residue, older, newer] = fixed.pointers;
        let bitmap = usize::from(fixed.bitmap_bytes.get());
        let [pieces, open, reserve, inherited, quarantine, history] = [
            fixed.pieces,
            fixed.open,
            fixed.log_reserve,
            fixed.inherited,
            fixed.quarantine,
            fixed.history,
        ]
        .map(|count| usize::from(count.get()));
        if pieces > Root::PIECES_MAX || open > Root::OPEN_MAX || history > Root::HISTORY_MAX {
            return Err(reader.damaged("it holds more than a root can"));
        }
        let root = Root {
            aggregate: AggregateId(Uuid::from_bytes(fixed.aggregate)),
            epoch: Epoch(fixed.epoch.get()),
            seq: fixed.seq.get(),
            generation: fixed.generation.get(),
            lsn: Lsn(fixed.lsn.get()),
            kind,
            device_bytes: fixed.device_bytes.get(),
            high_water: Segment(fixed.high_water.get()),
            system: Pointer::decode_option(&system)?,
            space: Pointer::decode_option(&space)?,
            residue: Pointer::decode_option(&residue)?,
            pending: [Pointer::decode_option(&older)?, Pointer::decode_option(&newer)?],
            chain: list(&mut reader, pieces, size_of::<PieceFixed>(), piece)?,
            open: list(&mut reader, open, size_of::<OpenFixed>(), |reader| {
                open_segment(reader, bitmap)
            })?,
            log_reserve: segments(&mut reader, reserve)?,
            inherited: list(&mut reader, inherited, size_of::<InheritedFixed>(), |reader| {
                inherited_segments(reader, bitmap)
            })?,
            quarantine: list(&mut reader, quarantine, 8, |reader| Ok(Epoch(reader.u64()?)))?,
            history: list(&mut reader, history, size_of::<HistoryFixed>(), past)?,
        };
        if root.open.iter().any(|open| open.class == SegmentClass::Log) {
            return Err(reader.damaged("a segment of its log is open for nodes or data"));
        }
        root.check_chain(&reader)?;
        reader.only_zeros()?;
        Ok(root)
    }

    /// Pieces follow one another, each but the last with an end.
    fn check_chain(&self, reader: &Reader<'_>) -> Result<()> {
        let follows = |pair: &[Piece]| {
            let [old, new] = pair else { return true };
            old.epoch < new.epoch && old.cut.is_some_and(|cut| cut.next() == new.first)
        };
        let ends = |piece: &Piece| piece.cut.is_none_or(|cut| piece.first <= cut);
        let own = |piece: &Piece| piece.epoch <= self.epoch && piece.first > Lsn(0) && !piece.segments.is_empty();
        match self.chain.windows(2).all(follows) && self.chain.iter().all(|piece| ends(piece) && own(piece)) {
            true => Ok(()),
            false => Err(reader.damaged("the pieces of its log do not follow one another")),
        }
    }
}

/// `count` things, each of at least `bytes`: refused before room is made for what cannot be here.
fn list<'a, T>(
    reader: &mut Reader<'a>,
    count: usize,
    bytes: usize,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    reader.holds(count, bytes)?;
    (0..count).map(|_| read(reader)).collect()
}

fn segments(reader: &mut Reader<'_>, count: usize) -> Result<Vec<Segment>> {
    list(reader, count, 4, |reader| Ok(Segment(reader.u32()?)))
}

fn piece(reader: &mut Reader<'_>) -> Result<Piece> {
    let fixed: &PieceFixed = reader.layout()?;
    Ok(Piece {
        epoch: Epoch(fixed.epoch.get()),
        first: Lsn(fixed.first.get()),
        offset: fixed.offset.get(),
        before: Checksum(fixed.before),
        cut: Some(fixed.cut.get()).filter(|&cut| cut != OPEN).map(Lsn),
        segments: segments(reader, fixed.segments.get() as usize)?,
    })
}

fn open_segment(reader: &mut Reader<'_>, bitmap: usize) -> Result<OpenSegment> {
    let fixed: &OpenFixed = reader.layout()?;
    zeros(SHAPE.what, &fixed.zero)?;
    Ok(OpenSegment {
        segment: Segment(fixed.segment.get()),
        class: SegmentClass::from_number(fixed.class)
            .ok_or_else(|| reader.damaged(format!("an open segment of class {}", fixed.class)))?,
        bitmap: Bitmap::from_bytes(reader.take(bitmap)?),
    })
}

fn inherited_segments(reader: &mut Reader<'_>, bitmap: usize) -> Result<Inherited> {
    let fixed: &InheritedFixed = reader.layout()?;
    zeros(SHAPE.what, &fixed.zero)?;
    Ok(Inherited {
        epoch: Epoch(fixed.epoch.get()),
        open: list(reader, fixed.open.get() as usize, size_of::<OpenFixed>(), |reader| {
            open_segment(reader, bitmap)
        })?,
    })
}

fn past(reader: &mut Reader<'_>) -> Result<History> {
    let fixed: &HistoryFixed = reader.layout()?;
    Ok(History {
        epoch: Epoch(fixed.epoch.get()),
        server: ServerId(Uuid::from_bytes(fixed.server)),
        cut: Lsn(fixed.cut.get()),
    })
}

fn put_segments(bytes: &mut Vec<u8>, segments: &[Segment]) {
    segments
        .iter()
        .for_each(|segment| bytes.extend(segment.0.to_le_bytes()));
}

fn put_piece(bytes: &mut Vec<u8>, piece: &Piece) {
    let fixed = PieceFixed {
        epoch: U64::new(piece.epoch.0),
        first: U64::new(piece.first.0),
        cut: U64::new(piece.cut.map_or(OPEN, |cut| cut.0)),
        before: piece.before.0,
        offset: U32::new(piece.offset),
        segments: U32::new(piece.segments.len() as u32),
    };
    bytes.extend(fixed.as_bytes());
    put_segments(bytes, &piece.segments);
}

fn put_open(bytes: &mut Vec<u8>, open: &OpenSegment) {
    let fixed = OpenFixed {
        segment: U32::new(open.segment.0),
        class: open.class as u8,
        zero: [0; 3],
    };
    bytes.extend(fixed.as_bytes());
    bytes.extend(open.bitmap.as_bytes());
}
