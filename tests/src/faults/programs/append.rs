//! `Appender`: numbered lines, each made safe before the next.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use super::{Count, Meter, Program};

pub(super) struct Appender {
    file: File,
    promised: u64,
}

impl Appender {
    pub(super) fn begin(path: &Path) -> Result<Appender> {
        let file = OpenOptions::new().create_new(true).append(true).open(path);
        let file = file.with_context(|| path.display().to_string())?;
        Ok(Appender { file, promised: 0 })
    }
}

impl Program for Appender {
    fn step(&mut self, meter: &Meter) -> Result<()> {
        let asked = Instant::now();
        writeln!(self.file, "{}", self.promised).context("append")?;
        self.file.sync_data().context("fsync")?;
        self.promised += 1;
        meter.promised(asked);
        Ok(())
    }

    fn audit(&self, elsewhere: &Path) -> Result<Count> {
        let text = fs::read_to_string(elsewhere).with_context(|| elsewhere.display().to_string())?;
        Ok(count(&text, self.promised))
    }
}

/// Lines 0, 1, 2 and so on were promised, in this order.
fn count(text: &str, promised: u64) -> Count {
    let mut count = Count {
        promised,
        ..Count::default()
    };
    let mut next = 0;
    for line in text.split_inclusive('\n') {
        let number = line.strip_suffix('\n').and_then(|number| number.parse::<u64>().ok());
        match number {
            Some(number) if number == next && number < promised => {
                count.found += 1;
                next += 1;
            }
            Some(number) if number < next => count.twice += 1,
            Some(number) if number < promised => {
                count.found += 1;
                next = number + 1; // those between are missing
            }
            Some(_) | None => count.damaged += 1,
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> [u64; 3] {
        let count = count(text, 4);
        [count.found, count.twice, count.damaged]
    }

    #[test]
    fn lines_are_counted_once_and_in_order() {
        assert_eq!(counted("0\n1\n2\n3\n"), [4, 0, 0]);
        assert_eq!(counted("0\n1\n3\n"), [3, 0, 0], "one is missing");
        assert_eq!(counted("0\n1\n1\n2\n3\n"), [4, 1, 0], "one is there twice");
        assert_eq!(counted("0\n2\n1\n3\n"), [3, 1, 0], "the order is another");
        assert_eq!(counted("0\n1\n2\n3"), [3, 0, 1], "one is torn");
        assert_eq!(counted("0\n1\n2\n3\n4\n"), [4, 0, 1], "one was never written");
    }
}
