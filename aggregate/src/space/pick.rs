//! Which segments to reserve next: those that were never used, then the emptiest.

use baton_types::{Error, Kind, Result};

use super::{Space, no_space, states};
use crate::format::{Bitmap, Geometry, Key, Segment, SegmentClass, SegmentPhase, SegmentState};
use crate::nodes::Nodes;
use crate::tree::{Pinned, Stop};

/// What is it for: what keeps the aggregate going may use what is kept back from what fills it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It fills the aggregate.
    Growth,
    /// The same, and more that was accepted before may yet come from others.
    Yielding,
    /// It fills it with what room was promised to.
    Promised,
    /// A delete, a checkpoint, the log, a seal.
    Upkeep,
}

/// Segments kept whole for upkeep: one in fifty, and no fewer than this. One in twenty more for what was accepted (I5).
const KEPT_SEGMENTS_MIN: u64 = 32;

impl Space {
    /// Where things lie, as far as the device has grown.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// From here on there is as much as `geometry` says, or more if somebody else said so.
    pub(crate) fn grow(&mut self, geometry: Geometry) {
        if geometry.device_bytes > self.geometry.device_bytes {
            self.geometry = geometry;
        }
    }

    /// Segments that are wholly free, as far as they are there for `purpose`.
    pub(super) fn whole_segments(&self, purpose: Purpose) -> u64 {
        let fresh = u64::from(self.geometry.count_from(self.high_water));
        let whole = fresh + self.room.segments;
        let all = u64::from(self.geometry.segment_count());
        let kept = (all / 50).max(KEPT_SEGMENTS_MIN);
        match purpose {
            Purpose::Upkeep => whole,
            // Takeovers may have shut away what was counted when it was promised.
            Purpose::Promised => whole.saturating_sub(kept / 2),
            Purpose::Growth => whole.saturating_sub(kept),
            Purpose::Yielding => whole.saturating_sub(kept + all / 20),
        }
    }

    /// Finds `count` segments for `class`, fewer if there are no more, and says in the space tree that they are taken.
    ///
    /// # Errors
    /// A miss; `NoSpace` if there is none at all.
    pub fn pick(
        &mut self,
        class: SegmentClass,
        (purpose, count): (Purpose, u32),
        nodes: &Nodes,
        pinned: &Pinned,
    ) -> Result<Vec<(Segment, Bitmap)>, Stop> {
        let found = self.find(class, (purpose, count), nodes, pinned)?;
        if found.is_empty() {
            return Err(no_space().into());
        }
        let mut picked = Vec::new();
        for (segment, old) in found {
            let bitmap = match &old {
                Some(old) => old.bitmap.clone(),
                None => Bitmap::free(self.geometry.segment_blocks()),
            };
            let phase = match class {
                SegmentClass::Log => SegmentPhase::Log,
                SegmentClass::Node | SegmentClass::Data => SegmentPhase::Open,
            };
            let new = SegmentState {
                phase,
                class: Some(class),
                epoch: self.epoch,
                bitmap: bitmap.clone(),
            };
            self.set_state(segment, old.as_ref(), &new);
            self.rise_to(segment);
            picked.push((segment, bitmap));
        }
        Ok(picked)
    }

    fn find(
        &self,
        class: SegmentClass,
        (purpose, count): (Purpose, u32),
        nodes: &Nodes,
        pinned: &Pinned,
    ) -> Result<Vec<(Segment, Option<SegmentState>)>, Stop> {
        let mut whole = self.whole_segments(purpose);
        let fresh = self.geometry.segments_from(self.high_water);
        let fresh = fresh.take(count.min(u32::try_from(whole).unwrap_or(count)) as usize);
        let mut found: Vec<_> = fresh.map(|segment| (segment, None)).collect();
        whole -= found.len() as u64;
        let classes = match class {
            SegmentClass::Log => &[0][..],
            SegmentClass::Node => &[0, SegmentClass::Node as u64, SegmentClass::Data as u64],
            SegmentClass::Data => &[0, SegmentClass::Data as u64, SegmentClass::Node as u64],
        };
        let view = self.tree.view(nodes, pinned);
        for class in classes {
            let most = if *class == 0 {
                usize::try_from(whole).unwrap_or(usize::MAX)
            } else {
                usize::MAX
            };
            let items = states::index_of(*class).flat_map(|(from, to)| view.scan(from, to));
            for item in items.take(most) {
                if found.len() == count as usize {
                    return Ok(found);
                }
                let (Key { sub, .. }, _) = item?;
                let segment = Segment(u32::try_from(sub).unwrap_or(u32::MAX));
                if !self.geometry.has_segment(segment) {
                    let reason = format!("the index of room names segment {segment}, which is none");
                    return Err(Error::new(Kind::Damaged, "space tree").because(reason).into());
                }
                let state = self.state(segment, nodes, pinned)?;
                found.push((segment, state));
            }
        }
        Ok(found)
    }
}
