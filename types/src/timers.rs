//! Timers: what waits for what and how long, and how that must stand to each other, in one function.
//!
//! All are intervals of `CLOCK_BOOTTIME`, which goes on while a machine sleeps; no date is compared. What is written
//! rests on none of them: with absurd values servers are replaced for nothing, or late, and no owner is doubled and
//! nothing is lost (I1 to I3 are the disk's). What clients believe for a while without asking (I4) rests on the last
//! two lines of [`Timers::check`] alone, and those cannot be set.

use crate::limits::{
    BEAT_MICROS, CLIENT_LIFETIME_MICROS, CLIENT_RENEW_MICROS, CLIENT_SILENCE_MICROS, CLOCK_RATE_PPM,
    CLOCK_SLACK_MICROS, DISK_BEAT_MICROS, PORT_LOOK_MICROS,
};
use crate::record::Patience;
use crate::{Error, Kind, Result};

/// All timers that stand in relation to another, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Between two beats of a file server.
    pub beat: u64,
    /// Between two beats of an owner on its disk.
    pub disk_beat: u64,
    /// Between two looks of a standby at a disk.
    pub look: u64,
    /// Silence after which a server is late.
    pub suspect: u64,
    /// After which it is dead if anything confirms it; and how long whoever judges must have watched.
    pub dead: u64,
    /// After which it is dead unless anything speaks against it.
    pub isolated: u64,
    /// Between two renewals of a client.
    pub renew: u64,
    /// How long a client believes what it was told, by its own clock.
    pub lifetime: u64,
    /// How long a new owner waits for a client, by its own clock.
    pub silence: u64,
    /// How wrong a clock may run, in millionths.
    pub rate_ppm: u64,
    /// What a scheduler may be late.
    pub slack: u64,
}

impl Timers {
    /// Those of a cell with this patience.
    pub fn of(patience: &Patience) -> Timers {
        let [suspect, dead, isolated] = [patience.suspect_millis, patience.dead_millis, patience.isolated_millis]
            .map(|millis| millis.saturating_mul(1_000));
        Timers {
            beat: BEAT_MICROS,
            disk_beat: DISK_BEAT_MICROS,
            look: PORT_LOOK_MICROS,
            suspect,
            dead,
            isolated,
            renew: CLIENT_RENEW_MICROS,
            lifetime: CLIENT_LIFETIME_MICROS,
            silence: CLIENT_SILENCE_MICROS,
            rate_ppm: CLOCK_RATE_PPM,
            slack: CLOCK_SLACK_MICROS,
        }
    }

    /// Whether they stand to each other as they must.
    ///
    /// # Errors
    /// `Range`, with what does not hold.
    pub fn check(&self) -> Result<()> {
        let million = 1_000_000;
        let slowest = u128::from(self.lifetime) * u128::from(million + self.rate_ppm);
        let waited = u128::from(self.silence.saturating_sub(self.slack)) * u128::from(million - self.rate_ppm);
        let rules = [
            (
                2 * self.beat <= self.suspect,
                "suspect-after must be two beats (400ms) or more: one may be lost",
            ),
            (
                self.suspect < self.dead && self.dead <= self.isolated,
                "suspect-after must be less than dead-after, and that no more than isolated-after",
            ),
            (
                self.disk_beat + self.look + self.beat <= self.dead,
                "dead-after must be 950ms or more: a beat on a disk is written, seen and told within that",
            ),
            (
                2 * self.renew <= self.lifetime,
                "a client must live for two renewals or more: one may be lost",
            ),
            (
                waited >= slowest,
                "a client must be waited for until its lifetime is over by the slowest clock, seen from the fastest",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(Error::new(Kind::Range, "timers").because(*rule)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timers_as_shipped_hold_and_each_rule_can_be_broken() {
        let shipped = Timers::of(&Patience::default());
        shipped.check().unwrap();
        let broken = [
            (
                "two beats",
                Timers {
                    beat: 301_000,
                    ..shipped
                },
            ),
            (
                "less than dead-after",
                Timers {
                    suspect: 1_000_000,
                    ..shipped
                },
            ),
            (
                "no more than isolated-after",
                Timers {
                    isolated: 999_999,
                    ..shipped
                },
            ),
            (
                "written, seen and told",
                Timers {
                    look: 300_001,
                    ..shipped
                },
            ),
            (
                "two renewals",
                Timers {
                    renew: 4_000_001,
                    ..shipped
                },
            ),
            (
                "by the slowest clock",
                Timers {
                    silence: shipped.silence - 1_000,
                    ..shipped
                },
            ),
            (
                "by the slowest clock",
                Timers {
                    rate_ppm: 1_100,
                    ..shipped
                },
            ),
        ];
        for (words, timers) in broken {
            let error = timers.check().unwrap_err();
            assert!(error.to_string().contains(words), "{words}: {error}");
        }
    }
}
