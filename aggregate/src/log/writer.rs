//! Where the next batch goes: the segments of this epoch's log, one behind the other.

use std::collections::VecDeque;

use baton_types::{Epoch, Result};

use crate::format::{Checksum, Geometry, Lsn, Piece, Segment};
use crate::space::no_space;

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The segment.
    pub segment: Segment,
    /// The block within it.
    pub offset: u32,
}

/// The writing end of the log.
pub(crate) struct Writer {
    geometry: Geometry,
    /// Where the next batch goes, if there is room for it.
    place: Place,
    /// Segments behind that, in the order in which they are used.
    ahead: VecDeque<Segment>,
    /// All segments since the last root but one, in order, `place`'s the last.
    behind: VecDeque<Segment>,
    /// Of the batch before.
    pub previous: Checksum,
    /// More was asked for, and is not there yet.
    pub is_extending: bool,
    /// The first record behind the freeze of a checkpoint that is being made, and where its batch went.
    mark: Option<(Lsn, Option<Start>)>,
}

/// Where a root's log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// The first record.
    pub first: Lsn,
    /// Its batch, or where that is looked for first.
    pub place: Place,
    /// The batch before.
    pub before: Checksum,
}

impl Writer {
    /// A log that begins in the first of `segments`.
    pub fn new(geometry: Geometry, mut segments: VecDeque<Segment>, previous: Checksum) -> Writer {
        let first = segments.pop_front();
        let segment = first.expect("a seal gives its epoch a log segment");
        Writer {
            geometry,
            place: Place { segment, offset: 0 },
            ahead: segments,
            behind: VecDeque::from([segment]),
            previous,
            is_extending: false,
            mark: None,
        }
    }

    /// A checkpoint's root will begin its log with `first`.
    pub fn mark(&mut self, first: Lsn) {
        self.mark = Some((first, None));
    }

    /// Where the log begins that was marked.
    pub fn marked(&self) -> Start {
        let (first, start) = self.mark.expect("a checkpoint marks the log when it freezes");
        start.unwrap_or(self.start(first))
    }

    fn start(&self, first: Lsn) -> Start {
        Start {
            first,
            place: self.place,
            before: self.previous,
        }
    }

    /// The place of a batch of `blocks` that begins with record `first`; the one behind it is next.
    ///
    /// # Errors
    /// `NoSpace` if the log could not be extended in time.
    pub fn advance(&mut self, first: Lsn, blocks: u32) -> Result<Place> {
        if let Some((marked, None)) = self.mark
            && first >= marked
        {
            self.mark = Some((marked, Some(self.start(marked))));
        }
        if self.place.offset + blocks > self.geometry.segment_blocks() {
            let segment = self.ahead.pop_front().ok_or_else(no_space)?;
            self.place = Place { segment, offset: 0 };
            self.behind.push_back(segment);
        }
        let place = self.place;
        self.place.offset += blocks;
        Ok(place)
    }

    /// Segments that are left.
    pub fn ahead_count(&self) -> usize {
        self.ahead.len()
    }

    /// Segments to use when the others are full.
    pub fn extend(&mut self, segments: impl IntoIterator<Item = Segment>) {
        self.ahead.extend(segments);
        self.is_extending = false;
    }

    /// The log from `start` on: what a root says of it.
    pub fn piece(&self, epoch: Epoch, start: Start) -> Piece {
        let behind = self.behind.iter().copied();
        let since = behind.skip_while(|segment| *segment != start.place.segment);
        Piece {
            epoch,
            first: start.first,
            offset: start.place.offset,
            before: start.before,
            cut: None,
            segments: since.chain(self.ahead.iter().copied()).collect(),
        }
    }

    /// Segments before `start`, which only the root before needs.
    pub fn behind(&self, start: Start) -> impl Iterator<Item = Segment> + '_ {
        let behind = self.behind.iter().copied();
        behind.take_while(move |segment| *segment != start.place.segment)
    }

    /// All segments that are this log's now.
    #[cfg(any(test, feature = "testing"))]
    pub fn segments(&self) -> Vec<Segment> {
        self.behind.iter().chain(&self.ahead).copied().collect()
    }

    /// What lies before `start` is needed by no root any more.
    pub fn release_before(&mut self, start: Start) -> Vec<Segment> {
        let is_start = |segment: &Segment| *segment == start.place.segment;
        let count = self.behind.iter().position(is_start);
        let count = count.expect("a root's log begins in a segment that was not released");
        self.behind.drain(..count).collect()
    }
}
