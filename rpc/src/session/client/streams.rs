//! Streams: how changes get their names, and which replies of the ordered one were seen.

use std::collections::BTreeSet;

/// Streams of a session, the ordered one included.
pub const STREAMS: u16 = 64;
/// Changes of the ordered stream under way: half of the replies that the store keeps for it.
pub const QUEUED_MAX: usize = 512;

/// The streams of one session.
#[derive(Debug)]
pub struct Streams {
    /// The last sequence given, by stream.
    last: Vec<u32>,
    /// Of 1 to 63, those that hold no call. The lowest first: few streams are few replies to keep.
    free: BTreeSet<u16>,
    /// Of stream 0: those not answered yet.
    unanswered: BTreeSet<u32>,
    /// Of stream 0: those that were refused, and that the server may wait for all the same.
    passed_by: BTreeSet<u32>,
}

impl Default for Streams {
    fn default() -> Streams {
        Streams {
            last: vec![0; usize::from(STREAMS)],
            free: (1..STREAMS).collect(),
            unanswered: BTreeSet::new(),
            passed_by: BTreeSet::new(),
        }
    }
}

impl Streams {
    /// A name for a change that may be done at any time; `None` while all streams are taken.
    pub fn take(&mut self) -> Option<(u16, u32)> {
        let stream = self.free.pop_first()?;
        let last = &mut self.last[usize::from(stream)];
        *last += 1;
        Some((stream, *last))
    }

    /// A name for the next change of the ordered stream; `None` while too many were not answered.
    pub fn queue(&mut self) -> Option<(u16, u32)> {
        if self.unanswered.len() >= QUEUED_MAX {
            return None;
        }
        self.last[0] += 1;
        self.unanswered.insert(self.last[0]);
        Some((0, self.last[0]))
    }

    /// The change with this name was answered.
    pub fn answered(&mut self, (stream, sequence): (u16, u32)) {
        match stream {
            0 => drop(self.unanswered.remove(&sequence)),
            _ => drop(self.free.insert(stream)),
        }
    }

    /// The change with this name was refused, and has no place in history: perhaps it never came to the server.
    pub fn passed_by(&mut self, (stream, sequence): (u16, u32)) {
        if stream == 0 {
            self.passed_by.insert(sequence);
        }
    }

    /// Whether the server has to hear what was seen, because it may hold changes that come after one which never came.
    pub fn must_tell(&mut self) -> bool {
        let before = self.passed_by.len();
        self.passed_by = self.passed_by.split_off(&self.seen().saturating_add(1));
        self.passed_by.len() < before && !self.unanswered.is_empty()
    }

    /// Replies of stream 0 up to here were seen.
    pub fn seen(&self) -> u32 {
        self.unanswered.first().map_or(self.last[0], |first| first - 1)
    }
}
