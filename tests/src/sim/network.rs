//! `Network`: when each copy of a message arrives, if it does.
//!
//! Most messages are quick and one in twenty is not, so later ones overtake it. Links are cut in one direction at a
//! time; a message that meets the cut when it is sent or when it would arrive is lost. How much is lost and
//! doubled besides is drawn once for a history: some see a clean network with cuts, some a bad one throughout.

use std::collections::BTreeSet;

use baton_types::Time;

use super::Seed;

/// Delay of 95 messages in 100, in microseconds.
const DELAY_MICROS: (Time, Time) = (50, 2_000);

/// Delay of the other five, in microseconds.
const DELAY_LONG_MICROS: (Time, Time) = (2_000, 60_000);

/// How many messages in a thousand are late.
const DELAY_LONG_PERMILLE: u64 = 50;

/// How often messages may be lost, and doubled, in a thousand: one of these is drawn for a history.
const TROUBLE_PERMILLE: [u64; 4] = [0, 5, 20, 100];

/// Links between the nodes of a history.
#[derive(Debug, Default)]
pub struct Network {
    lost_permille: u64,
    doubled_permille: u64,
    cuts: BTreeSet<(usize, usize)>,
}

impl Network {
    /// A network as bad as `seed` wants it.
    #[must_use]
    pub fn drawn(seed: &mut Seed) -> Network {
        Network {
            lost_permille: *seed.pick(&TROUBLE_PERMILLE),
            doubled_permille: *seed.pick(&TROUBLE_PERMILLE),
            cuts: BTreeSet::new(),
        }
    }

    /// The delay of each copy of a message that leaves `from` for `to` now: none if it is lost, two if doubled.
    pub fn delays(&self, from: usize, to: usize, seed: &mut Seed) -> impl Iterator<Item = Time> + use<> {
        let sent = !seed.chance(self.lost_permille) && !self.is_cut(from, to);
        let first = sent.then(|| delay(seed));
        let second = (sent && seed.chance(self.doubled_permille)).then(|| delay(seed));
        first.into_iter().chain(second)
    }

    /// True while nothing passes from `from` to `to`.
    #[must_use]
    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// Cuts the link in this one direction.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.cuts.insert((from, to));
    }

    /// Mends the link in this one direction.
    pub fn mend(&mut self, from: usize, to: usize) {
        self.cuts.remove(&(from, to));
    }

    /// Mends every link; nothing is lost or doubled from here on, but still late.
    pub fn heal(&mut self) {
        *self = Network::default();
    }
}

fn delay(seed: &mut Seed) -> Time {
    let (low, high) = if seed.chance(DELAY_LONG_PERMILLE) {
        DELAY_LONG_MICROS
    } else {
        DELAY_MICROS
    };
    seed.between(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of 10,000 messages arrive never, once and twice, and the delays of all copies.
    fn sent(network: &Network) -> ([usize; 3], Vec<Time>) {
        let mut seed = Seed::new(21);
        let (mut copies, mut delays) = ([0; 3], Vec::new());
        for _ in 0..10_000 {
            let before = delays.len();
            delays.extend(network.delays(0, 1, &mut seed));
            copies[delays.len() - before] += 1;
        }
        (copies, delays)
    }

    #[test]
    fn cut_link_delivers_nothing_in_its_direction_only() {
        let mut network = Network::default();
        network.cut(0, 1);
        assert_eq!(sent(&network).0, [10_000, 0, 0]);
        assert!(!network.is_cut(1, 0));
        network.mend(0, 1);
        assert_eq!(sent(&network).0, [0, 10_000, 0]);
    }

    #[test]
    fn one_in_twenty_is_late_and_overtaken() {
        let (_, delays) = sent(&Network::default());
        let late = delays.iter().filter(|delay| **delay > DELAY_MICROS.1).count();
        assert!((400..600).contains(&late), "{late}");
        assert!(
            delays
                .iter()
                .all(|delay| (DELAY_MICROS.0..=DELAY_LONG_MICROS.1).contains(delay))
        );
    }

    #[test]
    fn bad_network_loses_and_doubles_until_healed() {
        let mut network = Network {
            lost_permille: 100,
            doubled_permille: 100,
            cuts: BTreeSet::from([(1, 0)]),
        };
        let ([lost, once, twice], _) = sent(&network);
        assert!(
            (900..1_100).contains(&lost) && (800..1_000).contains(&twice),
            "{lost} {once} {twice}"
        );
        network.heal();
        assert_eq!(sent(&network).0, [0, 10_000, 0]);
        assert!(!network.is_cut(1, 0));
    }

    #[test]
    fn histories_see_different_networks() {
        let mut seed = Seed::new(22);
        let drawn: BTreeSet<_> = (0..200)
            .map(|_| Network::drawn(&mut seed))
            .map(|network| (network.lost_permille, network.doubled_permille))
            .collect();
        assert_eq!(drawn.len(), TROUBLE_PERMILLE.len().pow(2));
    }
}
