//! `Chart`: the slowest message of a writer in each tenth of a second, drawn.

use std::time::{Duration, Instant};

use baton_tests::faults::programs::Wait;

/// Of time, for one column.
const COLUMN: Duration = Duration::from_millis(100);
/// From these on a column is as high as its place here; lower ones are a dot.
const LEVELS: [(Duration, char); 7] = [
    (Duration::from_millis(5), '▁'),
    (Duration::from_millis(20), '▂'),
    (Duration::from_millis(50), '▃'),
    (Duration::from_millis(100), '▄'),
    (Duration::from_millis(300), '▅'),
    (Duration::from_secs(1), '▆'),
    (Duration::from_secs(3), '█'),
];

/// How the columns are to be read.
pub const LEGEND: &str = "a column for each 100 ms, as high as the slowest message under way in it:\n    \
                          · below 5 ms  ▁ 5  ▂ 20  ▃ 50  ▄ 100  ▅ 300  ▆ 1,000  █ 3,000 ms";

/// Columns from `begun` to `ended`.
pub fn chart(waits: &[Wait], begun: Instant, ended: Instant) -> String {
    let columns = ended.saturating_duration_since(begun).as_millis() / COLUMN.as_millis();
    let columns = (0..u32::try_from(columns).unwrap_or(u32::MAX)).map(|column| {
        let (from, to) = (begun + COLUMN * column, begun + COLUMN * (column + 1));
        let under_way = waits
            .iter()
            .filter(|wait| wait.asked < to && wait.asked + wait.took >= from);
        level(under_way.map(|wait| wait.took).max())
    });
    columns.collect()
}

/// A blank for a column in which nobody asked for anything.
fn level(slowest: Option<Duration>) -> char {
    let Some(slowest) = slowest else { return ' ' };
    let reached = LEVELS.iter().rev().find(|(from, _)| slowest >= *from);
    reached.map_or('·', |(_, level)| *level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_drawn_in_every_tenth_that_it_lasted() {
        let begun = Instant::now();
        let wait = |asked: u64, took: u64| Wait {
            asked: begun + Duration::from_millis(asked),
            took: Duration::from_millis(took),
        };
        let waits = [wait(0, 2), wait(110, 7), wait(150, 230), wait(390, 1), wait(600, 99)];
        let drawn = chart(&waits, begun, begun + Duration::from_millis(750));
        assert_eq!(drawn, "·▄▄▄  ▃");
    }
}
