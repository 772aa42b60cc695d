//! `NodeClock`: a node's own idea of time.
//!
//! Every node starts at another number and runs a little fast or slow, as quartz does: a core that compares its
//! time with another node's, or trusts two timers to agree, is found out.

use baton_types::Time;

use super::Seed;

/// Most that a clock may be off, in parts per million: twice what quartz data sheets allow.
const PPM_MAX: u64 = 200;

/// Most that a clock may already show when a history begins: an hour, in microseconds.
const OFFSET_MAX: Time = 3_600_000_000;

/// How one node's clock follows the virtual time.
#[derive(Clone, Copy, Debug)]
pub struct NodeClock {
    offset: Time,
    /// Microseconds of this clock in one virtual second.
    rate: u64,
}

impl NodeClock {
    /// A clock drawn from `seed`: somewhere within an hour, within 200 ppm.
    #[must_use]
    pub fn drawn(seed: &mut Seed) -> NodeClock {
        let rate = seed.between(1_000_000 - PPM_MAX, 1_000_000 + PPM_MAX);
        NodeClock {
            offset: seed.below(OFFSET_MAX),
            rate,
        }
    }

    /// What this clock shows at the virtual time `now`.
    #[must_use]
    pub fn local(&self, now: Time) -> Time {
        self.offset + scaled(now, self.rate, 1_000_000)
    }

    /// The virtual time that passes until this clock has moved on by `delay`: never too short, so that a core
    /// which slept until a deadline finds it past.
    #[must_use]
    pub fn virtual_delay(&self, delay: Time) -> Time {
        match delay {
            0 => 0,
            delay => scaled(delay, 1_000_000, self.rate) + 2,
        }
    }
}

/// `time * numerator / denominator`, rounded down.
fn scaled(time: Time, numerator: u64, denominator: u64) -> Time {
    let exact = u128::from(time) * u128::from(numerator) / u128::from(denominator);
    Time::try_from(exact).expect("a virtual time stays far below 2^64 microseconds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_drift_within_bounds_and_never_go_back() {
        let mut seed = Seed::new(11);
        for _ in 0..200 {
            let clock = NodeClock::drawn(&mut seed);
            let hour = clock.local(OFFSET_MAX) - clock.local(0);
            assert!(hour.abs_diff(OFFSET_MAX) <= OFFSET_MAX / 1_000_000 * PPM_MAX);
            assert!((0..100).all(|now| clock.local(now) <= clock.local(now + 1)));
        }
    }

    #[test]
    fn two_clocks_disagree() {
        let mut seed = Seed::new(12);
        let (one, two) = (NodeClock::drawn(&mut seed), NodeClock::drawn(&mut seed));
        assert_ne!(one.local(0), two.local(0));
        assert_ne!(
            one.local(OFFSET_MAX) - one.local(0),
            two.local(OFFSET_MAX) - two.local(0)
        );
    }

    #[test]
    fn sleeper_finds_its_deadline_past() {
        let mut seed = Seed::new(13);
        for _ in 0..10_000 {
            let clock = NodeClock::drawn(&mut seed);
            let (now, delay) = (seed.below(10_000_000), seed.below(1_000_000));
            let slept = clock.local(now + clock.virtual_delay(delay)) - clock.local(now);
            assert!(
                (delay..=delay + 4).contains(&slept),
                "{clock:?} slept {slept} for {delay}"
            );
        }
    }
}
