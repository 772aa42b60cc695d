//! The epoch: the number under which a server owns an aggregate, and the mark of a change within it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::EPOCH_SLOTS;

/// Who may write an aggregate: 16 bits of era, 48 bits of count. Only ever grows (I1).
///
/// A new era begins when the location database is not there to count (`dfsexport -seize`) or came
/// back from a file; everything of an older era is older, whatever its count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl Epoch {
    /// What a new aggregate carries: no server has owned it.
    pub const NONE: Epoch = Epoch(0);
    const COUNT_BITS: u32 = 48;

    /// The epoch of `era` and `count`; the count is cut to its 48 bits.
    pub fn new(era: u16, count: u64) -> Epoch {
        Epoch(u64::from(era) << Self::COUNT_BITS | count & ((1 << Self::COUNT_BITS) - 1))
    }

    /// The upper 16 bits.
    pub fn era(self) -> u16 {
        (self.0 >> Self::COUNT_BITS) as u16
    }

    /// The lower 48 bits.
    pub fn count(self) -> u64 {
        self.0 & ((1 << Self::COUNT_BITS) - 1)
    }

    /// True of what a location database that came back from a file says of an aggregate: a new era, in which nobody has
    /// owned it.
    pub fn begins_era(self) -> bool {
        self.era() > 0 && self.count() == 0
    }

    /// The epoch to grant by who granted up to this one, where `disk` is the newest on the disk; `None` when they are
    /// used up. An era begins half the ring of slots past that: an epoch that was granted before, and is not on the disk
    /// yet, would otherwise have the same place.
    pub fn granted_over(self, disk: Epoch) -> Option<Epoch> {
        if !self.begins_era() {
            return self.max(disk).next();
        }
        let era = self.era().max(disk.era().checked_add(1)?);
        let place = (disk.count() + EPOCH_SLOTS / 2) % EPOCH_SLOTS;
        Some(Epoch::new(era, if place == 0 { EPOCH_SLOTS } else { place }))
    }

    /// The next epoch, or `None` when the count of this era is used up: the era never moves by itself.
    pub fn next(self) -> Option<Epoch> {
        let next = self.count() + 1;
        (next < 1 << Self::COUNT_BITS).then(|| Epoch::new(self.era(), next))
    }
}

/// Plain count in era 0, as nearly every cell will ever print; `era:count` after that.
impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.era() {
            0 => write!(f, "{}", self.count()),
            era => write!(f, "{era}:{}", self.count()),
        }
    }
}

/// "Durable up to here": a log sequence number, which counts an aggregate's records over all epochs, and the epoch it was told under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// Under which the mark was told.
    pub epoch: Epoch,
    /// The last durable record.
    pub lsn: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_era_is_newer_whatever_the_counts() {
        assert!(Epoch::new(1, 0) > Epoch::new(0, (1 << 48) - 1));
        assert_eq!(Epoch::new(3, 9).to_string(), "3:9");
        assert_eq!(Epoch::new(0, 41).to_string(), "41");
    }

    #[test]
    fn an_era_begins_half_the_ring_past_the_disk() {
        let begins = Epoch::new(1, 0);
        assert!(begins.begins_era() && !Epoch::NONE.begins_era() && !Epoch::new(1, 4).begins_era());
        for (disk, granted) in [
            (Epoch::NONE, Epoch::new(1, 4)),
            (Epoch::new(0, 57), Epoch::new(1, 5)),
            (Epoch::new(0, 60), Epoch::new(1, 8)),
            (Epoch::new(1, 5), Epoch::new(2, 1)),
            (Epoch::new(7, 2), Epoch::new(8, 6)),
        ] {
            assert_eq!(begins.granted_over(disk), Some(granted), "{disk}");
            assert!(granted > disk && granted > begins);
        }
        assert_eq!(Epoch::new(1, 5).granted_over(Epoch::new(0, 57)), Some(Epoch::new(1, 6)));
        assert_eq!(
            Epoch::new(0, 5).granted_over(Epoch::new(0, 57)),
            Some(Epoch::new(0, 58))
        );
        assert_eq!(begins.granted_over(Epoch::new(u16::MAX, 1)), None);
    }

    #[test]
    fn the_count_never_runs_over_into_the_era() {
        let last = Epoch::new(2, (1 << 48) - 1);
        assert_eq!(last.next(), None);
        assert_eq!(Epoch::new(2, 7).next(), Some(Epoch::new(2, 8)));
    }
}
