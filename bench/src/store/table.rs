//! What came out: a row for each measurement, a side for each who was measured, and their ratios.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::figures::{Figures, Samples};

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// More is better.
    PerSecond,
    /// More is better.
    MegabytesPerSecond,
    /// Less is better.
    Millis,
    /// Less is better.
    Micros,
    /// Less is better.
    Mebibytes,
}

impl Unit {
    fn label(self) -> &'static str {
        match self {
            Unit::PerSecond => "a second",
            Unit::MegabytesPerSecond => "MB/s",
            Unit::Millis => "ms",
            Unit::Micros => "µs",
            Unit::Mebibytes => "MiB",
        }
    }

    /// How many times better `own` is than `other`.
    fn ratio(self, own: f64, other: f64) -> f64 {
        match self {
            Unit::PerSecond | Unit::MegabytesPerSecond => own / other,
            Unit::Millis | Unit::Micros | Unit::Mebibytes => other / own,
        }
    }
}

/// Whom the store is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Against {
    /// ext4 with a journal.
    Ext4,
    /// The same reads without verification.
    Unverified,
}

impl Against {
    pub fn name(self) -> &'static str {
        match self {
            Against::Ext4 => "ext4",
            Against::Unverified => "unverified",
        }
    }
}

/// What is wanted of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// So many times as good as another one.
    Ratio {
        /// At least.
        least: f64,
        /// As whom.
        of: &'static str,
    },
    /// No more than this, in the row's unit.
    Most(f64),
}

impl Target {
    pub(crate) fn at_least(least: f64, of: Against) -> Target {
        Target::Ratio { least, of: of.name() }
    }

    fn describe(self, unit: Unit) -> String {
        match self {
            Target::Ratio { least, of } => format!("≥ {least} × {of}"),
            Target::Most(most) => format!("≤ {most} {}", unit.label()),
        }
    }
}

/// All measurements, while they are made.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

/// One measurement.
pub(crate) struct Row {
    what: String,
    unit: Unit,
    target: Option<Target>,
    sides: Vec<Side>,
}

/// What one of those measured did in it.
pub(crate) struct Side {
    name: &'static str,
    rounds: Vec<f64>,
    each: Samples,
}

impl Table {
    /// The row of `what`, made at its first mention.
    pub fn row(&mut self, what: &str, unit: Unit, target: Option<Target>) -> &mut Row {
        let found = self.rows.iter().position(|row| row.what == what);
        let index = found.unwrap_or_else(|| {
            let (what, sides) = (what.to_owned(), Vec::new());
            self.rows.push(Row {
                what,
                unit,
                target,
                sides,
            });
            self.rows.len() - 1
        });
        &mut self.rows[index]
    }

    /// Those of another table follow.
    pub fn append(&mut self, other: Table) {
        self.rows.extend(other.rows);
    }

    /// In figures.
    pub fn report(self, schema: &'static str, rounds: usize) -> Result<Report> {
        let rows = self.rows.into_iter().map(Row::report).collect::<Result<_>>()?;
        Ok(Report {
            schema,
            processors: std::thread::available_parallelism()?.get(),
            rounds,
            rows,
        })
    }
}

impl Row {
    /// The side of `name`, made at its first mention; the store's comes first.
    pub fn side(&mut self, name: &'static str) -> &mut Side {
        let found = self.sides.iter().position(|side| side.name == name);
        let index = found.unwrap_or_else(|| {
            let (rounds, each) = (Vec::new(), Samples::default());
            let at = if name == OWN { 0 } else { self.sides.len() };
            self.sides.insert(at, Side { name, rounds, each });
            at
        });
        &mut self.sides[index]
    }

    fn report(self) -> Result<RowReport> {
        let unit = self.unit;
        let sides = self.sides.into_iter().map(Side::report).collect::<Result<Vec<_>>>()?;
        let (own, others) = sides.split_first().context("a row has the store's own side")?;
        let ratios = others.iter().map(|other| Ratio {
            of: other.name,
            times: unit.ratio(own.median, other.median),
        });
        let ratios: Vec<_> = ratios.collect();
        let is_met = self.target.map(|target| match target {
            Target::Ratio { least, of } => ratios.iter().any(|ratio| ratio.of == of && ratio.times >= least),
            Target::Most(most) => own.median <= most,
        });
        Ok(RowReport {
            what: self.what,
            unit,
            target: self.target,
            is_met,
            ratios,
            sides,
        })
    }
}

impl Side {
    /// What came out of one round.
    pub fn add(&mut self, figure: f64) {
        self.rounds.push(figure);
    }

    /// How long each of many took.
    pub fn add_each(&mut self, samples: Samples) {
        self.each.extend(samples);
    }

    fn report(mut self) -> Result<SideReport> {
        self.rounds.sort_unstable_by(f64::total_cmp);
        let (Some(min), Some(max)) = (self.rounds.first(), self.rounds.last()) else {
            anyhow::bail!("{} was not measured", self.name);
        };
        let middle = self.rounds.len() / 2;
        let median = match self.rounds.len() % 2 {
            0 => f64::midpoint(self.rounds[middle - 1], self.rounds[middle]),
            _ => self.rounds[middle],
        };
        let each = self.each.figures();
        Ok(SideReport {
            name: self.name,
            median,
            min: *min,
            max: *max,
            each: (each.count > 0).then_some(each),
        })
    }
}

/// The store's own side.
pub(crate) const OWN: &str = "baton";

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What this is.
    pub schema: &'static str,
    /// Processors that all share.
    pub processors: usize,
    /// How often each was measured.
    pub rounds: usize,
    /// By measurement.
    pub rows: Vec<RowReport>,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct RowReport {
    /// What was done.
    pub what: String,
    /// What the figures count.
    pub unit: Unit,
    /// What is wanted.
    pub target: Option<Target>,
    /// Whether that came out.
    pub is_met: Option<bool>,
    /// How many times better the store is, by medians.
    pub ratios: Vec<Ratio>,
    /// The store's own first.
    pub sides: Vec<SideReport>,
}

/// The store beside another one.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    /// Beside whom.
    pub of: &'static str,
    /// More than 1: the store is better.
    pub times: f64,
}

/// What one of those measured did.
#[derive(Clone, Debug, Serialize)]
pub struct SideReport {
    /// Who.
    pub name: &'static str,
    /// Of the rounds.
    pub median: f64,
    /// The least of a round.
    pub min: f64,
    /// The most of a round.
    pub max: f64,
    /// How long each single one took, if that was measured.
    pub each: Option<Figures>,
}

/// The report as a table.
pub fn print(what: &str, report: &Report) -> String {
    let mut text = format!(
        "{what} beside others: {} rounds, medians (least to most); all share {} processors and one disk\n\
         a ratio above 1 says that {what} is better\n",
        report.rounds, report.processors
    );
    for row in &report.rows {
        text.push_str(&row.lines());
    }
    text
}

impl RowReport {
    fn lines(&self) -> String {
        let mut text = format!("\n{}", self.what);
        if let Some(target) = self.target {
            let verdict = if self.is_met == Some(true) { "met" } else { "missed" };
            let _ = write!(text, " [{}: {verdict}]", target.describe(self.unit));
        }
        text.push('\n');
        for side in &self.sides {
            let ratio = self.ratios.iter().find(|ratio| ratio.of == side.name);
            let ratio = ratio.map_or(String::new(), |ratio| format!("{:.2} ×", ratio.times));
            let range = format!("({} to {})", number(side.min), number(side.max));
            let each = side.each.map_or(String::new(), |each| {
                let [p50, p99, p999] = [each.p50_micros, each.p99_micros, each.p999_micros].map(number);
                format!("  p50 {p50}  p99 {p99}  p99.9 {p999} µs")
            });
            let _ = writeln!(
                text,
                "  {:<12}{:>10} {:<9}{range:<24}{ratio:>9}{each}",
                side.name,
                number(side.median),
                self.unit.label()
            );
        }
        text
    }
}

/// Three figures that count.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(unit: Unit, target: Target, own: &[f64], other: &[f64]) -> RowReport {
        let mut table = Table::default();
        for figure in other {
            table.row("it", unit, Some(target)).side("ext4").add(*figure);
        }
        for figure in own {
            table.row("it", unit, Some(target)).side(OWN).add(*figure);
        }
        table.report("baton.bench.test/1", own.len()).unwrap().rows.remove(0)
    }

    #[test]
    fn own_side_comes_first_and_a_ratio_above_one_is_better() {
        let target = Target::at_least(2.0, Against::Ext4);
        let rates = row(Unit::PerSecond, target, &[300.0, 100.0, 200.0], &[100.0, 50.0, 80.0]);
        assert_eq!((rates.sides[0].name, rates.sides[0].median), (OWN, 200.0));
        assert_eq!((rates.sides[1].min, rates.sides[1].max), (50.0, 100.0));
        assert_eq!((rates.ratios[0].times, rates.is_met), (2.5, Some(true)));
        let times = row(Unit::Millis, target, &[10.0, 20.0], &[15.0, 25.0]);
        assert_eq!((times.sides[0].median, times.is_met), (15.0, Some(false)));
        assert!(times.lines().contains("[≥ 2 × ext4: missed]"), "{}", times.lines());
    }

    #[test]
    fn a_most_is_in_the_unit_of_the_row() {
        assert_eq!(row(Unit::Millis, Target::Most(200.0), &[199.0], &[]).is_met, Some(true));
        let slow = row(Unit::Millis, Target::Most(200.0), &[201.0], &[]);
        assert!(slow.lines().contains("[≤ 200 ms: missed]"), "{}", slow.lines());
    }
}
