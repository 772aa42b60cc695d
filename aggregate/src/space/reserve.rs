//! The reserve: segments that are this epoch's before it writes there (R4).
//!
//! The record of a reserve gives them; the look after it makes them usable.

use super::{Open, Purpose, Space};
use crate::format::{Bitmap, Lsn, Segment, SegmentClass};

/// Segments reserved at once at most: what a takeover without proof shuts away.
const RESERVE_MAX: u32 = 16;

/// Reserved, and not usable before the look that follows the record.
pub(super) struct Maturing {
    pub(super) lsn: Lsn,
    pub(super) class: SegmentClass,
    pub(super) segments: Vec<(Segment, Bitmap)>,
}

impl Space {
    /// Segments that were reserved by the record at `lsn`: usable when that had its look.
    pub fn reserved(&mut self, lsn: Lsn, class: SegmentClass, segments: Vec<(Segment, Bitmap)>) {
        match class {
            SegmentClass::Log => {}
            SegmentClass::Node => self.last_reserve[0] = segments.len() as u32,
            SegmentClass::Data => self.last_reserve[1] = segments.len() as u32,
        }
        self.maturing.push_back(Maturing { lsn, class, segments });
    }

    /// Everything up to `durable` was looked at; gives the log segments among what is usable now.
    pub fn looked(&mut self, durable: Lsn) -> Vec<Segment> {
        let mut log = Vec::new();
        while let Some(first) = self.maturing.pop_front_if(|first| first.lsn <= durable) {
            match first.class {
                SegmentClass::Log => log.extend(first.segments.iter().map(|(segment, _)| *segment)),
                class => self.opened(class, first.segments),
            }
        }
        log
    }

    /// Opens segments that are this epoch's, by its seal or a record.
    pub(crate) fn opened(&mut self, class: SegmentClass, segments: Vec<(Segment, Bitmap)>) {
        for (segment, bitmap) in segments {
            self.rise_to(segment);
            self.open.insert(
                segment,
                Open {
                    class,
                    taken: bitmap.clone(),
                    recorded: bitmap.clone(),
                    rooted: bitmap,
                    is_closing: false,
                },
            );
        }
    }

    pub(super) fn rise_to(&mut self, segment: Segment) {
        self.high_water = self.high_water.max(Segment(segment.0 + 1));
    }

    /// Free blocks in open segments of `class`, and in those that are being reserved.
    pub fn free_in_reserve(&self, class: SegmentClass) -> u64 {
        let open = self
            .open
            .values()
            .filter(|open| open.class == class && !open.is_closing);
        let open: u64 = open.map(|open| u64::from(open.taken.room())).sum();
        let maturing = self.maturing.iter().filter(|maturing| maturing.class == class);
        let maturing = maturing.flat_map(|maturing| &maturing.segments);
        open + maturing.map(|(_, bitmap)| u64::from(bitmap.room())).sum::<u64>()
    }

    /// The record after whose look there are `blocks` blocks more of `class`, if it is under way.
    pub fn coming(&self, class: SegmentClass, blocks: u32) -> Option<Lsn> {
        let mut room = 0;
        let mut maturing = self.maturing.iter().filter(|maturing| maturing.class == class);
        maturing.find_map(|maturing| {
            let own = maturing.segments.iter().map(|(_, bitmap)| bitmap.room());
            room += own.sum::<u32>();
            (room >= blocks).then_some(maturing.lsn)
        })
    }

    /// How many segments to reserve now: none while half of the last reserve is left, else twice as many as then. So an
    /// epoch that ends soon shuts little away, and one that writes much asks seldom. Where little is left it is one: what
    /// is in the reserve nobody is let in for.
    pub fn wanted(&self, class: SegmentClass) -> u32 {
        let last = match class {
            SegmentClass::Log => return 0,
            SegmentClass::Node => self.last_reserve[0],
            SegmentClass::Data => self.last_reserve[1],
        };
        let half = u64::from(last) * u64::from(self.geometry.segment_blocks()) / 2;
        match self.free_in_reserve(class) {
            left if left >= half => 0,
            _ => {
                let whole = u32::try_from(self.whole_segments(Purpose::Growth)).unwrap_or(u32::MAX);
                let most = (self.geometry.segment_count() / 64).min(whole / 16);
                (last * 2).min(most.clamp(1, RESERVE_MAX))
            }
        }
    }

    /// Log segments that are being reserved. As [`rooted`](Space::rooted) those for data, the root names them: if their
    /// record is lost nobody else would know of them.
    pub(crate) fn maturing_log(&self) -> Vec<Segment> {
        let maturing = self
            .maturing
            .iter()
            .filter(|maturing| maturing.class == SegmentClass::Log);
        let segments = maturing.flat_map(|maturing| &maturing.segments);
        segments.map(|(segment, _)| *segment).collect()
    }
}
