//! What came out: how many, how fast, how long each took.

use std::time::Duration;

use serde::Serialize;

/// How long each of many took, and how long all did.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    each: Vec<Duration>,
    all: Duration,
}

/// The same in figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// How many.
    pub count: usize,
    /// In a second; `None` of what has no rate.
    pub per_second: Option<f64>,
    /// Half of them took no longer.
    pub p50_micros: f64,
    /// Of a hundred, 99 took no longer.
    pub p99_micros: f64,
    /// Of a thousand, 999 took no longer.
    pub p999_micros: f64,
    /// The longest.
    pub max_micros: f64,
}

impl Samples {
    /// Those of `each`, done side by side within `all`.
    pub fn new(each: Vec<Duration>, all: Duration) -> Samples {
        Samples { each, all }
    }

    /// These and `others`, done after them.
    pub fn extend(&mut self, others: Samples) {
        self.each.extend(others.each);
        self.all += others.all;
    }

    /// In figures; all zero if there are none.
    pub fn figures(&self) -> Figures {
        let mut sorted = self.each.clone();
        sorted.sort_unstable();
        Figures {
            count: sorted.len(),
            per_second: (!self.all.is_zero()).then(|| sorted.len() as f64 / self.all.as_secs_f64()),
            p50_micros: micros(part(&sorted, 500)),
            p99_micros: micros(part(&sorted, 990)),
            p999_micros: micros(part(&sorted, 999)),
            max_micros: micros(part(&sorted, 1_000)),
        }
    }
}

/// The value that `permille` of `sorted` do not pass.
fn part(sorted: &[Duration], permille: usize) -> Duration {
    let rank = (sorted.len() * permille).div_ceil(1_000);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(millis: impl IntoIterator<Item = u64>) -> Samples {
        let each: Vec<_> = millis.into_iter().map(Duration::from_millis).collect();
        Samples::new(each, Duration::from_secs(2))
    }

    #[test]
    fn figures_of_a_hundred() {
        let figures = samples((1..=100).rev()).figures();
        assert_eq!((figures.count, figures.per_second), (100, Some(50.0)));
        let of = [figures.p50_micros, figures.p99_micros, figures.max_micros];
        assert_eq!(of.map(f64::round), [50_000.0, 99_000.0, 100_000.0]);
        let figures = samples((1..=2_000).rev()).figures();
        assert_eq!(figures.p999_micros.round(), 1_998_000.0);
    }

    #[test]
    fn figures_of_one_and_of_none() {
        let one = samples([7]).figures();
        assert_eq!((one.p50_micros.round(), one.p99_micros.round()), (7_000.0, 7_000.0));
        let none = Samples::default().figures();
        assert_eq!((none.count, none.per_second, none.max_micros), (0, None, 0.0));
    }

    #[test]
    fn rounds_add_up() {
        let mut all = samples([1, 2]);
        all.extend(samples([3, 4]));
        assert_eq!((all.figures().count, all.figures().per_second), (4, Some(1.0)));
    }
}
