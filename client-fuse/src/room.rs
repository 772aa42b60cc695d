//! Room: whether what is queued will surely find a place on the disk, so that a close need not wait to hear of it.

use baton_types::Time;
use baton_types::file::Usage;
use parking_lot::Mutex;

/// What a server said counts for so long, in microseconds: others fill the aggregate, too.
const FRESH: Time = 2_000_000;
/// Asked again after this, in microseconds.
const ASK_AFTER: Time = 500_000;
/// Ample: what several clients write in [`FRESH`], and more than an owner keeps for replays of a grace (5 %).
const AMPLE_BYTES: u64 = 1 << 30;
/// As above, of a large aggregate.
const AMPLE_PART: u64 = 16;

/// What a change may take besides its bytes: a block of its own. Where files are counted it may be one of them.
pub const CHANGE_BYTES: u64 = 4 << 10;

/// The room in one fileset.
#[derive(Default)]
pub struct Room(Mutex<State>);

#[derive(Default)]
struct State {
    /// Free when the server was last asked, without what was queued since.
    left: u64,
    ample: u64,
    told: Option<Time>,
    asked: Option<Time>,
    /// Queued since it was asked.
    queued: u64,
}

/// What is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// There is ample room.
    Ample,
    /// There may not be.
    Maybe,
}

/// Whether the server is to be asked now, and [`Room::told`] called with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// It is.
    Now,
    /// It was asked just now.
    No,
}

impl Room {
    /// So many bytes are queued.
    pub fn takes(&self, bytes: u64) {
        let mut state = self.0.lock();
        state.left = state.left.saturating_sub(bytes);
        state.queued += bytes;
    }

    /// What is known at this moment.
    pub fn look(&self, now: Time) -> (Known, Ask) {
        let mut state = self.0.lock();
        let is_fresh = state.told.is_some_and(|told| now < told + FRESH);
        let known = match is_fresh && state.left > state.ample {
            true => Known::Ample,
            false => Known::Maybe,
        };
        if state.asked.is_some_and(|asked| now < asked + ASK_AFTER) {
            return (known, Ask::No);
        }
        (state.asked, state.queued) = (Some(now), 0);
        (known, Ask::Now)
    }

    /// The server's answer to what was asked then.
    pub fn told(&self, usage: &Usage) {
        let mut state = self.0.lock();
        let quota = match usage.quota_bytes {
            0 => u64::MAX,
            quota => quota.saturating_sub(usage.bytes),
        };
        let files = match usage.quota_files {
            0 => u64::MAX,
            quota => quota.saturating_sub(usage.files).saturating_mul(CHANGE_BYTES),
        };
        state.left = usage.free_bytes.min(quota).min(files).saturating_sub(state.queued);
        state.ample = AMPLE_BYTES.max(usage.aggregate_bytes / AMPLE_PART);
        state.told = state.asked;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn usage(free_bytes: u64, quota_bytes: u64) -> Usage {
        Usage {
            free_bytes,
            quota_bytes,
            aggregate_bytes: 10 * GIB,
            ..Usage::default()
        }
    }

    #[test]
    fn room_is_known_while_the_answer_is_fresh_and_not_used_up() {
        let room = Room::default();
        assert_eq!(room.look(10), (Known::Maybe, Ask::Now));
        assert_eq!(room.look(20), (Known::Maybe, Ask::No));
        room.takes(GIB);
        room.told(&usage(4 * GIB, 0));
        assert_eq!(room.look(30), (Known::Ample, Ask::No));
        room.takes(2 * GIB);
        assert_eq!(
            room.look(40).0,
            Known::Maybe,
            "what was queued before the answer counts, too"
        );
        assert_eq!(room.look(10 + ASK_AFTER).1, Ask::Now);
        room.told(&usage(2 * GIB, 0));
        assert_eq!(room.look(20 + ASK_AFTER).0, Known::Ample);
        assert_eq!(room.look(10 + ASK_AFTER + FRESH).0, Known::Maybe);
    }

    #[test]
    fn a_quota_is_room_too() {
        let room = Room::default();
        room.look(10);
        room.told(&usage(4 * GIB, GIB / 2));
        assert_eq!(room.look(20).0, Known::Maybe);
        let of_files = |quota_files| Usage {
            files: 100,
            quota_files,
            ..usage(4 * GIB, 0)
        };
        room.told(&of_files(200));
        assert_eq!(room.look(20).0, Known::Maybe, "a hundred files more");
        room.told(&of_files(1_000_000));
        assert_eq!(room.look(20).0, Known::Ample);
    }
}
