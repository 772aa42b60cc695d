//! `Disk`: a log that forgets, at a power cut, what was not synced.
//!
//! Records are written in order and become durable later. A crash keeps all that was synced and, of the rest, a
//! prefix that the seed chooses: a write nobody waited for may well be there. The last kept one may be torn.
//! After an error nothing more becomes durable until the disk is opened again, as the store promises; whether
//! the failed records are there then is the seed's choice too, so no oracle may assume them absent.

use baton_types::Time;

use super::Seed;

/// Usual time of a sync, in microseconds: a cache that answers, to a busy device.
const SYNC_MICROS: (Time, Time) = (200, 3_000);

/// A sync that a device makes wait, in microseconds.
const SYNC_SLOW_MICROS: (Time, Time) = (3_000, 200_000);

/// How many syncs in a thousand are slow.
const SYNC_SLOW_PERMILLE: u64 = 10;

/// One node's disk: records in the order of their writing.
#[derive(Debug)]
pub struct Disk<R> {
    records: Vec<R>,
    synced: usize,
    health: Health,
}

#[derive(Debug, PartialEq)]
enum Health {
    Sound,
    Failed,
}

impl<R> Default for Disk<R> {
    fn default() -> Self {
        Disk {
            records: Vec::new(),
            synced: 0,
            health: Health::Sound,
        }
    }
}

impl<R: Clone> Disk<R> {
    /// Every record written, durable or not.
    pub fn records(&self) -> &[R] {
        &self.records
    }

    /// The records that no power cut takes.
    pub fn durable(&self) -> &[R] {
        &self.records[..self.synced]
    }

    /// Writes `record`; returns how many records there are now and when a sync of them would end.
    pub fn append(&mut self, record: R, seed: &mut Seed) -> (usize, Time) {
        self.records.push(record);
        let (low, high) = if seed.chance(SYNC_SLOW_PERMILLE) {
            SYNC_SLOW_MICROS
        } else {
            SYNC_MICROS
        };
        (self.records.len(), seed.between(low, high))
    }

    /// A sync of the first `upto` records ends; false says that the disk has failed and nothing became durable.
    pub fn sync(&mut self, upto: usize) -> bool {
        if self.health == Health::Failed {
            return false;
        }
        self.synced = self.synced.max(upto.min(self.records.len()));
        true
    }

    /// Gives up the records from `count` on: what a recovery found torn. Durable at once, for a tail that came
    /// back would be found torn again.
    pub fn drop_tail(&mut self, count: usize) {
        self.records.truncate(count);
        self.synced = self.synced.min(self.records.len());
    }

    /// From now on every sync fails, until the disk is opened again.
    pub fn fail(&mut self) {
        self.health = Health::Failed;
    }

    /// Cuts the power and opens the disk again. `torn` may say what is left of the last record that survives
    /// without having been synced.
    pub fn crash(&mut self, seed: &mut Seed, torn: impl FnOnce(&R, &mut Seed) -> Option<R>) {
        let kept = self.synced + seed.index(self.records.len() - self.synced + 1);
        self.records.truncate(kept);
        if kept > self.synced
            && let Some(last) = self.records.last_mut()
            && let Some(rest) = torn(last, seed)
        {
            *last = rest;
        }
        self.synced = kept;
        self.health = Health::Sound;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole<R>(_: &R, _: &mut Seed) -> Option<R> {
        None
    }

    /// A disk with the records 0 to 9, of which the first four are synced.
    fn ten_with_four_synced(seed: &mut Seed) -> Disk<u32> {
        let mut disk = Disk::default();
        for record in 0..10 {
            disk.append(record, seed);
        }
        assert!(disk.sync(4));
        disk
    }

    #[test]
    fn crash_keeps_the_synced_and_any_prefix_of_the_rest() {
        let mut lengths = std::collections::BTreeSet::new();
        for number in 0..200 {
            let mut seed = Seed::new(number);
            let mut disk = ten_with_four_synced(&mut seed);
            disk.crash(&mut seed, whole);
            let kept = u32::try_from(disk.records().len()).unwrap();
            assert_eq!(disk.records(), (0..kept).collect::<Vec<_>>());
            assert_eq!(disk.durable(), disk.records());
            lengths.insert(kept);
        }
        assert_eq!(lengths, (4..=10).collect());
    }

    #[test]
    fn early_sync_that_ends_late_takes_nothing_back() {
        let mut disk = ten_with_four_synced(&mut Seed::new(1));
        assert!(disk.sync(9));
        assert!(disk.sync(5));
        assert_eq!(disk.durable().len(), 9);
    }

    #[test]
    fn torn_is_only_what_was_not_synced() {
        for number in 0..200 {
            let mut seed = Seed::new(number);
            let mut disk = Disk::default();
            for _ in 0..3 {
                disk.append(vec![7_u8; 8], &mut seed);
            }
            disk.sync(2);
            disk.crash(&mut seed, |record, seed| {
                Some(record[..seed.index(record.len())].to_vec())
            });
            assert!(disk.records()[..2].iter().all(|record| record.len() == 8));
            assert!(disk.records()[2..].iter().all(|record| record.len() < 8));
        }
    }

    #[test]
    fn failed_disk_syncs_nothing_until_opened_again() {
        let mut seed = Seed::new(5);
        let mut disk = ten_with_four_synced(&mut seed);
        disk.fail();
        assert!(!disk.sync(10));
        assert_eq!(disk.durable().len(), 4);
        disk.crash(&mut seed, whole);
        let (upto, _) = disk.append(99, &mut seed);
        assert!(disk.sync(upto));
        assert_eq!(disk.durable().last(), Some(&99));
    }

    #[test]
    fn dropped_tail_is_gone() {
        let mut disk = ten_with_four_synced(&mut Seed::new(1));
        disk.drop_tail(3);
        assert_eq!((disk.records().len(), disk.durable().len()), (3, 3));
    }
}
