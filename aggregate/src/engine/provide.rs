//! Segments for the log, for data and for nodes, reserved before they are needed: a record says so, and after the
//! look that follows it they may be written (R4).

use baton_types::{Kind, Result};
use bytes::{BufMut, Bytes, BytesMut};

use super::{Engine, blank};
use crate::format::{Bitmap, Geometry, Lsn, RecordKind, Segment, SegmentClass};
use crate::log::{Limits, Writer};
use crate::space::Purpose;
use crate::tree::{Pinned, Stop};

/// Groups that may wait to be written: those that come before the record which extends the log must fit without it.
pub(super) const QUEUED_MAX: usize = 2;
/// Batches for which there is room in the log beyond the segment that is written: those that wait, the one with the
/// record that extends it, and what is appended meanwhile by those who were let in before.
const BATCHES_AHEAD: usize = 2 * QUEUED_MAX + 2;

/// Segments that the log has ahead of the one that is written.
pub(crate) fn log_ahead(geometry: &Geometry, limits: Limits) -> u32 {
    (BATCHES_AHEAD * limits.batch_bytes).div_ceil(geometry.segment_bytes as usize) as u32
}

impl Engine {
    /// Extends the log if it is time, and the reserve for data when half of it is used.
    pub(super) fn provide_log(&self, writer: &mut Writer) -> Result<()> {
        let ahead = log_ahead(&self.geometry, self.limits) as usize;
        if writer.ahead_count() < ahead && !writer.is_extending {
            for _ in writer.ahead_count()..ahead {
                self.reserve(SegmentClass::Log, Purpose::Upkeep, 1)?;
            }
            writer.is_extending = true;
        }
        let wanted = self.space.lock().wanted(SegmentClass::Data);
        if wanted > 0 {
            // Whether the aggregate is full is for those to hear who write.
            match self.reserve(SegmentClass::Data, Purpose::Growth, wanted) {
                Err(error) if error.kind == Kind::NoSpace => {}
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Makes sure that `blocks` blocks for data can be taken.
    ///
    /// # Errors
    /// `NoSpace`.
    pub fn provide_data(&self, blocks: u32) -> Result<()> {
        let needed = blocks.div_ceil(self.geometry.segment_blocks());
        let space = self.space.lock();
        let (coming, wanted) = (
            space.coming(SegmentClass::Data, blocks),
            space.wanted(SegmentClass::Data),
        );
        drop(space);
        if let Some(lsn) = coming {
            return self.wait(lsn);
        }
        let lsn = match self.reserve(SegmentClass::Data, Purpose::Growth, wanted.max(needed)) {
            // Whoever asks was let in: perhaps because the room was promised.
            Err(error) if error.kind == Kind::NoSpace => self.reserve(SegmentClass::Data, Purpose::Promised, needed)?,
            reserved => reserved?,
        };
        self.wait(lsn)
    }

    /// Makes sure that nodes can be written.
    ///
    /// # Errors
    /// `NoSpace`, which admission keeps from happening.
    pub fn provide_nodes(&self) -> Result<()> {
        let wanted = self.space.lock().wanted(SegmentClass::Node).max(1);
        let lsn = self.reserve(SegmentClass::Node, Purpose::Upkeep, wanted)?;
        self.wait(lsn)
    }

    /// Appends the record of a reserve.
    fn reserve(&self, class: SegmentClass, purpose: Purpose, count: u32) -> Result<Lsn> {
        let mut pinned = Pinned::default();
        loop {
            let mut space = self.space.lock();
            let pooled = (class == SegmentClass::Log).then(|| space.log_pool().pop()).flatten();
            let picked = match pooled {
                Some(segment) => Ok(vec![(segment, Bitmap::free(self.geometry.segment_blocks()))]),
                None => space.pick(class, (purpose, count), &self.nodes, &pinned),
            };
            match picked {
                Ok(picked) => {
                    let mut record = blank(match class {
                        SegmentClass::Log => RecordKind::Extend,
                        SegmentClass::Node | SegmentClass::Data => RecordKind::Reserve,
                    });
                    record.flags = class as u16;
                    record.result = list(&picked);
                    // Under the lock, so that reserves mature in the order of their records.
                    let lsn = self.log.append(&mut record, Vec::new())?;
                    space.reserved(lsn, class, picked);
                    return Ok(lsn);
                }
                Err(Stop::Miss(pointer)) => {
                    drop(space);
                    pinned.fetch(&self.nodes, &pointer)?;
                }
                Err(Stop::Room(_) | Stop::Data(_)) => unreachable!("no file is read or written here"),
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
    }
}

fn list(picked: &[(Segment, Bitmap)]) -> Bytes {
    let mut bytes = BytesMut::new();
    for (segment, _) in picked {
        bytes.put_u32_le(segment.0);
    }
    bytes.freeze()
}
