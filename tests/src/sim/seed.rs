//! `Seed`: where every choice of a history comes from.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): eight bytes of state, no dependency that could change its numbers, and
//! seeds that differ by one bit give unrelated sequences. A seed written down today means the same for ever.

/// A sequence of choices; the same number gives the same sequence.
#[derive(Debug)]
pub struct Seed {
    state: u64,
}

impl Seed {
    /// The sequence that belongs to `number`.
    #[must_use]
    pub const fn new(number: u64) -> Seed {
        Seed { state: number }
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        // The high half of the product is below `bound`, and favours no number by more than `bound` in 2^64.
        let product = u128::from(self.draw()) * u128::from(bound);
        u64::try_from(product >> 64).expect("the high half has 64 bits")
    }

    /// A number from `low` to `high`, both possible.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "{low} to {high} is empty");
        match (high - low).checked_add(1) {
            Some(width) => low + self.below(width),
            None => self.draw(),
        }
    }

    /// An index into something of `len` elements, which is not empty.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("an index below a usize is one")
    }

    /// One of `choices`, which are not empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.index(choices.len())]
    }

    /// True `permille` times in a thousand.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }

    /// A sequence of its own for one part, so that what that part draws shifts nobody else's choices.
    #[must_use]
    pub fn branch(&mut self) -> Seed {
        Seed::new(self.draw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_never_change() {
        let mut seed = Seed::new(1_234_567);
        let drawn: Vec<u64> = (0..3).map(|_| seed.draw()).collect();
        // The published reference sequence.
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn bounds_are_kept_and_reached() {
        let mut seed = Seed::new(7);
        let mut counts = [0_u32; 4];
        for _ in 0..4_000 {
            let drawn = seed.between(10, 13);
            assert!((10..=13).contains(&drawn));
            counts[usize::try_from(drawn - 10).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
        assert!((0..100).all(|_| seed.below(1) == 0));
        assert_ne!(seed.between(0, u64::MAX), seed.between(0, u64::MAX));
    }

    #[test]
    fn chance_is_in_a_thousand() {
        let mut seed = Seed::new(1);
        let hits = (0..100_000).filter(|_| seed.chance(50)).count();
        assert!((4_700..5_300).contains(&hits), "{hits}");
        assert!(!(0..1_000).any(|_| seed.chance(0)));
        assert!((0..1_000).all(|_| seed.chance(1_000)));
    }

    #[test]
    fn branch_keeps_its_sequence_whatever_others_draw() {
        let (mut one, mut two) = (Seed::new(3), Seed::new(3));
        let (mut branch_one, mut branch_two) = (one.branch(), two.branch());
        for _ in 0..10 {
            one.draw();
        }
        assert_eq!(branch_one.draw(), branch_two.draw());
    }
}
