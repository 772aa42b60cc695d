//! The chain: the batches that a root leads to, piece by piece, and where the log ends.
//!
//! A sealed piece ends at its cut, exactly. The open one ends where no batch follows: but one group is in flight at a
//! time, so a batch with a later record within a batch's length behind a bad one shows that the log went on, and what
//! is bad has rotted. The data of the last group was written beside it: replay checks it, and a batch whose data did
//! not arrive lies beyond the end.

use baton_types::{AggregateId, Epoch, Error, Kind, Result};
use bytes::Bytes;

use crate::buffer::Buffer;
use crate::device::Device;
use crate::format::{
    BLOCK_BYTES, Batch, BatchHeader, Block, Checksum, Extent, Geometry, KeyKind, Lsn, Piece, Record, RecordKind, Root,
    Segment,
};

/// The log after a root.
#[derive(Debug)]
pub struct Chain {
    /// Oldest first.
    pub pieces: Vec<ReadPiece>,
}

/// One epoch's part of it.
#[derive(Debug)]
pub struct ReadPiece {
    /// Whose it is.
    pub epoch: Epoch,
    /// Its batches, in order.
    pub batches: Vec<Batch>,
    /// Its segments: those that the root names, and those that records added.
    pub segments: Vec<Segment>,
    /// Its last record; the one before its first if it has none.
    pub last: Lsn,
}

/// What a piece is read by.
struct Reader<'a> {
    device: &'a dyn Device,
    aggregate: AggregateId,
    geometry: &'a Geometry,
    epoch: Epoch,
    segments: Vec<Segment>,
    /// The bytes of the segment last read.
    loaded: Option<(Segment, Bytes)>,
}

/// A place in the piece: which of its segments, which block.
#[derive(Clone, Copy, Debug)]
struct Place {
    index: usize,
    offset: u32,
}

impl Chain {
    /// Reads the chain of `root` to its end.
    ///
    /// # Errors
    /// `Damaged` if the log ends before it should; `Version`; `Io`.
    pub fn read(device: &dyn Device, aggregate: AggregateId, geometry: &Geometry, root: &Root) -> Result<Chain> {
        let mut pieces = Vec::new();
        for piece in &root.chain {
            let reader = Reader {
                device,
                aggregate,
                geometry,
                epoch: piece.epoch,
                segments: piece.segments.clone(),
                loaded: None,
            };
            pieces.push(reader.read(piece)?);
        }
        Ok(Chain { pieces })
    }

    /// The last record of all; `lsn` of the root if there is none.
    pub fn last(&self, lsn: Lsn) -> Lsn {
        self.pieces.iter().map(|piece| piece.last).fold(lsn, Lsn::max)
    }

    /// All records, with the epoch that wrote them, in their order.
    pub fn records(&self) -> impl Iterator<Item = Result<(Epoch, Lsn, Record)>> + '_ {
        self.pieces.iter().flat_map(|piece| {
            let records = piece.batches.iter().flat_map(Batch::records);
            records.map(|record| record.map(|(lsn, record)| (piece.epoch, lsn, record)))
        })
    }
}

impl Reader<'_> {
    fn read(mut self, piece: &Piece) -> Result<ReadPiece> {
        let mut batches: Vec<Batch> = Vec::new();
        let mut place = Place {
            index: 0,
            offset: piece.offset,
        };
        let (mut next, mut before) = (piece.first, piece.before);
        while piece.cut.is_none_or(|cut| next <= cut) {
            let Some((batch, found)) = self.find(place, next, before)? else {
                break;
            };
            self.extend(&batch)?;
            place = Place {
                index: found.index,
                offset: found.offset + batch.header.bytes / BLOCK_BYTES as u32,
            };
            (next, before) = (batch.header.last().next(), batch.header.checksum);
            batches.push(batch);
        }
        let mut last = Lsn(next.0 - 1);
        match piece.cut {
            Some(cut) if last != cut => {
                let reason = format!("the log of epoch {} ends at {last}, and was cut at {cut}", self.epoch);
                return Err(damaged(reason));
            }
            Some(_) => {}
            None => {
                self.check_end(place, next)?;
                if let Some(whole) = self.whole(&batches)? {
                    batches.truncate(whole);
                    // Nobody has used what a lost record reserved.
                    self.segments.clone_from(&piece.segments);
                    batches.iter().try_for_each(|batch| self.extend(batch))?;
                    last = batches
                        .last()
                        .map_or(Lsn(piece.first.0 - 1), |batch| batch.header.last());
                }
            }
        }
        Ok(ReadPiece {
            epoch: self.epoch,
            batches,
            segments: self.segments,
            last,
        })
    }

    /// The batch that begins with record `next` and follows `before`: here, or at the start of the next segment.
    fn find(&mut self, place: Place, next: Lsn, before: Checksum) -> Result<Option<(Batch, Place)>> {
        let ahead = Place {
            index: place.index + 1,
            offset: 0,
        };
        for at in [place, ahead] {
            let Some(bytes) = self.bytes_at(at)? else { continue };
            match Batch::decode(&bytes, self.aggregate, self.geometry.batch_bytes_max()) {
                Ok(batch) if self.follows(&batch.header, next, before) => return Ok(Some((batch, at))),
                // A newer Baton's batch is no end of the log, if it is the next one.
                Err(error) if error.kind == Kind::Version => {
                    let header = BatchHeader::peek(&bytes, self.aggregate, self.geometry.batch_bytes_max())?;
                    if self.follows(&header, next, before) {
                        return Err(error);
                    }
                }
                Ok(_) | Err(_) => {}
            }
        }
        Ok(None)
    }

    fn follows(&self, header: &BatchHeader, next: Lsn, before: Checksum) -> bool {
        header.epoch == self.epoch && header.first == next && header.previous == before
    }

    /// What is on the disk from `place` to its segment's end; nothing past the last segment.
    fn bytes_at(&mut self, place: Place) -> Result<Option<Bytes>> {
        let Some(segment) = self.segments.get(place.index).copied() else {
            return Ok(None);
        };
        let at = place.offset as usize * BLOCK_BYTES;
        if at >= self.geometry.segment_bytes as usize {
            return Ok(None);
        }
        if let Some((loaded, bytes)) = &self.loaded
            && *loaded == segment
        {
            return Ok(Some(bytes.slice(at..)));
        }
        let mut buffer = Buffer::scratch(self.geometry.segment_bytes as usize);
        self.device.read(self.geometry.segment_offset(segment), &mut buffer)?;
        let bytes = Bytes::from(buffer);
        self.loaded = Some((segment, bytes.clone()));
        Ok(Some(bytes.slice(at..)))
    }

    /// A record may say where the log goes on.
    fn extend(&mut self, batch: &Batch) -> Result<()> {
        for record in batch.records() {
            let (_, record) = record?;
            if record.kind == RecordKind::Extend {
                for segment in segments_of(&record, self.geometry)? {
                    if !self.segments.contains(&segment) {
                        self.segments.push(segment);
                    }
                }
            }
        }
        Ok(())
    }

    /// Nothing may follow: else what ends the log here is rot.
    fn check_end(&mut self, place: Place, next: Lsn) -> Result<()> {
        let reach = (self.geometry.batch_bytes_max() / BLOCK_BYTES) as u32;
        let here = (place.offset..self.geometry.segment_blocks()).map(|offset| (place.index, offset));
        let ahead = (0..self.geometry.segment_blocks()).map(|offset| (place.index + 1, offset));
        for (index, offset) in here.take(reach as usize + 1).chain(ahead.take(reach as usize + 1)) {
            let Some(bytes) = self.bytes_at(Place { index, offset })? else {
                continue;
            };
            let batch = Batch::decode(&bytes, self.aggregate, self.geometry.batch_bytes_max());
            if let Ok(batch) = batch
                && batch.header.epoch == self.epoch
                && batch.header.first > next
            {
                let reason = format!(
                    "the log of epoch {} breaks off at {next}, and goes on behind it",
                    self.epoch
                );
                return Err(damaged(reason));
            }
        }
        Ok(())
    }

    /// How many batches are whole with their data, if not all of them are.
    fn whole(&self, batches: &[Batch]) -> Result<Option<usize>> {
        let Some(last) = batches.last() else { return Ok(None) };
        let settled = last.header.settled;
        for (index, batch) in batches.iter().enumerate() {
            if batch.header.last() <= settled {
                continue;
            }
            for record in batch.records() {
                let (lsn, record) = record?;
                if lsn > settled && !self.has_data(lsn, &record)? {
                    return Ok(Some(index));
                }
            }
        }
        Ok(None)
    }

    /// True if the blocks that this very record made hold what its checksums say.
    fn has_data(&self, lsn: Lsn, record: &Record) -> Result<bool> {
        for (key, value) in &record.items {
            let (KeyKind::Extent, Some(value)) = (key.kind, value) else {
                continue;
            };
            let extent = Extent::decode(value)?;
            // What is shared was there before.
            if extent.birth != lsn || extent.is_shared() {
                continue;
            }
            check_blocks(self.geometry, extent.block, extent.count.into())?;
            let mut bytes = Buffer::scratch(usize::from(extent.count) * BLOCK_BYTES);
            self.device.read(extent.block.offset(), &mut bytes)?;
            let units = bytes.chunks(1 << extent.unit_shift).map(Checksum::of);
            if !units.eq(extent.checksums.iter().copied()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The segments that a `Reserve` or an `Extend` names.
///
/// # Errors
/// `Damaged` if they are no list, or no segments.
pub(crate) fn segments_of(record: &Record, geometry: &Geometry) -> Result<Vec<Segment>> {
    let (numbers, rest) = record.result.as_chunks::<4>();
    let segments: Vec<_> = numbers
        .iter()
        .map(|bytes| Segment(u32::from_le_bytes(*bytes)))
        .collect();
    if !rest.is_empty() || !segments.iter().all(|segment| geometry.has_segment(*segment)) {
        return Err(damaged("a record names segments that are none".to_owned()));
    }
    Ok(segments)
}

pub(super) fn damaged(reason: String) -> Error {
    Error::new(Kind::Damaged, "log")
        .because(reason)
        .remedy("look with salvage -check")
}

/// The blocks of an extent, if they lie where they may.
///
/// # Errors
/// `Damaged`.
pub(crate) fn check_blocks(geometry: &Geometry, block: Block, count: u64) -> Result<()> {
    if geometry.has_blocks(block, count) {
        return Ok(());
    }
    Err(damaged(format!(
        "a record names blocks {block} and {count} on, which lie in no segment"
    )))
}
