//! `Fault`: what befalls the nodes of a history, and until when.
//!
//! The faults of a history are drawn before it begins and all have an end, so that afterwards convergence can be
//! demanded. They overlap freely: a node may crash while it is cut off from the others.

use std::collections::BTreeSet;
use std::ops::Range;

use baton_types::Time;

use super::Seed;

/// Most faults in one history: enough for a second crash in the middle of a recovery.
const COUNT_MAX: u64 = 10;

/// A fault that is over before most timers notice, in microseconds.
const SHORT_MICROS: (Time, Time) = (1_000, 50_000);

/// A fault that every timer notices, in microseconds.
const LONG_MICROS: (Time, Time) = (50_000, 600_000);

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing gets from `from` to `to`; the other direction works.
    CutOneWay {
        /// Who is not heard.
        from: usize,
        /// Who does not hear.
        to: usize,
    },
    /// Nothing passes between the nodes of `side` and the others.
    Partition {
        /// One of the two sides.
        side: BTreeSet<usize>,
    },
    /// The power of `node` is cut; at the end it starts again with what its disk kept.
    Crash {
        /// Who dies.
        node: usize,
    },
    /// `node` stands still, as under SIGSTOP, and at the end goes on as if nothing had been: a zombie.
    Stop {
        /// Who stands still.
        node: usize,
    },
    /// No sync of `node` succeeds; at the end it is restarted.
    DiskError {
        /// Whose disk fails.
        node: usize,
    },
}

/// A fault and its time.
#[derive(Clone, Debug)]
pub struct Affliction {
    /// What goes wrong.
    pub fault: Fault,
    /// From when.
    pub begin: Time,
    /// Until when.
    pub end: Time,
}

/// Whom faults may befall.
#[derive(Clone, Debug)]
pub struct Targets {
    /// How many nodes there are: any link and any node may be cut off or stand still.
    pub nodes: usize,
    /// The nodes that may crash and whose disks may fail; the others only lose their links.
    pub mortal: Range<usize>,
}

impl Targets {
    /// The faults of a history, every one over by `until`. Few or many, none at all now and then.
    #[must_use]
    pub fn afflictions(&self, seed: &mut Seed, until: Time) -> Vec<Affliction> {
        assert!(
            self.nodes >= 2 && !self.mortal.is_empty(),
            "{self:?} leaves nothing to break"
        );
        (0..seed.between(0, COUNT_MAX))
            .map(|_| self.affliction(seed, until))
            .collect()
    }

    fn affliction(&self, seed: &mut Seed, until: Time) -> Affliction {
        let (low, high) = *seed.pick(&[SHORT_MICROS, LONG_MICROS]);
        let begin = seed.below(until);
        let end = until.min(begin + seed.between(low, high));
        Affliction {
            fault: self.fault(seed),
            begin,
            end,
        }
    }

    fn fault(&self, seed: &mut Seed) -> Fault {
        let any = seed.index(self.nodes);
        let mortal = self.mortal.start + seed.index(self.mortal.len());
        match seed.below(6) {
            0 => Fault::CutOneWay {
                from: any,
                to: (any + 1 + seed.index(self.nodes - 1)) % self.nodes,
            },
            1 => Fault::Partition {
                side: (0..self.nodes).filter(|_| seed.chance(500)).collect(),
            },
            2 => Fault::Stop { node: any },
            3 => Fault::DiskError { node: mortal },
            4.. => Fault::Crash { node: mortal },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_end_in_time_and_stay_with_their_targets() {
        let targets = Targets { nodes: 5, mortal: 1..3 };
        let mut kinds = BTreeSet::new();
        for number in 0..500 {
            for Affliction { fault, begin, end } in targets.afflictions(&mut Seed::new(number), 1_000_000) {
                assert!(begin <= end && end <= 1_000_000);
                kinds.insert(match &fault {
                    Fault::CutOneWay { from, to } => {
                        assert!(from != to && *from < 5 && *to < 5);
                        "one way"
                    }
                    Fault::Partition { side } => {
                        assert!(side.iter().all(|node| *node < 5));
                        "partition"
                    }
                    Fault::Stop { node } => {
                        assert!(*node < 5);
                        "stop"
                    }
                    Fault::Crash { node } => {
                        assert!((1..3).contains(node));
                        "crash"
                    }
                    Fault::DiskError { node } => {
                        assert!((1..3).contains(node));
                        "disk"
                    }
                });
            }
        }
        assert_eq!(kinds.len(), 5);
    }

    #[test]
    fn some_histories_are_calm_and_some_are_not() {
        let targets = Targets { nodes: 3, mortal: 0..3 };
        let counts: BTreeSet<usize> = (0..500)
            .map(|number| targets.afflictions(&mut Seed::new(number), 1_000_000).len())
            .collect();
        assert_eq!(counts, (0..=10).collect());
    }
}
