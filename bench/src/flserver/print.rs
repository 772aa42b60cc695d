//! The report as a table.

use std::fmt::Write;

use super::{Report, Timed};

/// The report for people.
pub fn print(report: &Report) -> String {
    let mut text = format!(
        "location database: three members, {} filesets, {} servers, {} watchers\n\
         members, callers and whoever plays servers share {} processors of one machine\n\n",
        report.filesets, report.servers, report.watchers, report.processors
    );
    let head = ["count", "a second", "p50 ms", "p99 ms", "max ms", "p99 at most"];
    let [count, rate, p50, p99, max, wanted] = head;
    let mut line = |line: String| {
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(format!(
        "{:<66}{count:>8}{rate:>10}{p50:>10}{p99:>10}{max:>10}{wanted:>13}",
        ""
    ));
    report.times.iter().for_each(|timed| line(row(timed)));
    line(String::new());
    for value in &report.values {
        line(format!("{:<66}{:>10.1} {}", value.what, value.value, value.unit));
    }
    text
}

fn row(timed: &Timed) -> String {
    let figures = &timed.figures;
    let millis = |micros: f64| format!("{:.2}", micros / 1_000.0);
    let rate = figures.per_second.map_or("-".to_owned(), |rate| format!("{rate:.0}"));
    let mut row = format!("{:<66}{:>8}{rate:>10}", timed.what, figures.count);
    for micros in [figures.p50_micros, figures.p99_micros, figures.max_micros] {
        let _ = write!(row, "{:>10}", millis(micros));
    }
    if let Some(wanted) = timed.wanted_millis {
        let is_met = figures.p99_micros <= wanted * 1_000.0;
        let _ = write!(row, "{:>6}, {}", wanted, if is_met { "met" } else { "missed" });
    }
    row
}
