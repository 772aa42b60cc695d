//! `Trace`: what happened in a history, as one number and as its last lines.
//!
//! The lines that a person reads are the very bytes that are hashed: two runs with one hash went the same way, and
//! two that differ can be laid side by side.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::{self, Write};

use baton_types::Time;

/// Lines that a violation shows unless [`keep_lines`] says otherwise: about the last exchange between all nodes.
const LINES_KEPT: usize = 40;

thread_local! {
    static KEEP: Cell<usize> = const { Cell::new(LINES_KEPT) };
}

/// How many lines the traces that begin on this thread keep: more for whoever reads a failed history closely.
pub fn keep_lines(count: usize) {
    KEEP.set(count);
}

/// Everything that happened under one seed.
#[derive(Debug)]
pub struct Trace {
    seed: u64,
    hash: u64,
    count: u64,
    now: Time,
    keep: usize,
    lines: VecDeque<String>,
}

impl Trace {
    /// The empty trace of the history of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Trace {
        // FNV-1a's published offset. No attacker is about; it only has to tell two histories apart.
        let hash = 0xcbf2_9ce4_8422_2325;
        Trace {
            seed,
            hash,
            count: 0,
            now: 0,
            keep: KEEP.get(),
            lines: VecDeque::new(),
        }
    }

    /// Adds that at `now`, in virtual microseconds, `what` happened to `who`.
    pub fn note(&mut self, now: Time, who: impl fmt::Display, what: fmt::Arguments<'_>) {
        // A line that falls out gives its buffer to the next: a long history allocates nothing.
        let mut line = if self.lines.len() < self.keep {
            None
        } else {
            self.lines.pop_front()
        }
        .unwrap_or_default();
        line.clear();
        write!(line, "{:>4}.{:06} {who:<8} {what}", now / 1_000_000, now % 1_000_000)
            .expect("writing to a string does not fail, and neither may Display of what is noted");
        for byte in line.bytes().chain([b'\n']) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        (self.count, self.now) = (self.count + 1, now);
        self.lines.push_back(line);
    }

    /// The number that any difference between two histories changes.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many lines were added.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The last lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().rev().take(self.keep).rev().map(String::as_str)
    }

    /// What went wrong, with what led to it.
    #[must_use]
    pub fn violation(&self, what: impl Into<String>) -> Violation {
        Violation {
            seed: self.seed,
            now: self.now,
            what: what.into(),
            count: self.count,
            lines: self.lines().map(str::to_owned).collect(),
        }
    }
}

/// A history that broke an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The number that makes it happen again.
    pub seed: u64,
    /// When, in virtual microseconds.
    pub now: Time,
    /// What was broken, in a sentence.
    pub what: String,
    /// How many lines the whole history has.
    pub count: u64,
    /// The last of them.
    pub lines: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "({} of {} lines)", self.lines.len(), self.count)?;
        write!(
            f,
            "seed {} at {}.{:06} s: {}",
            self.seed,
            self.now / 1_000_000,
            self.now % 1_000_000,
            self.what
        )
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(Time, usize, &str)]) -> Trace {
        let mut trace = Trace::new(1);
        for (now, node, what) in lines {
            trace.note(*now, node, format_args!("{what}"));
        }
        trace
    }

    #[test]
    fn any_difference_changes_the_hash() {
        let base = of(&[(1, 2, "write"), (3, 4, "read")]);
        assert_eq!(base.hash(), of(&[(1, 2, "write"), (3, 4, "read")]).hash());
        for other in [
            of(&[(2, 2, "write"), (3, 4, "read")]),
            of(&[(1, 3, "write"), (3, 4, "read")]),
            of(&[(1, 2, "wrote"), (3, 4, "read")]),
            of(&[(3, 4, "read"), (1, 2, "write")]),
            of(&[(1, 2, "write")]),
        ] {
            assert_ne!(base.hash(), other.hash());
        }
    }

    #[test]
    fn violation_shows_the_last_lines_and_the_seed() {
        let mut trace = Trace::new(77);
        for step in 0..100 {
            trace.note(step, "n1", format_args!("step {step}"));
        }
        let violation = trace.violation("a write was lost");
        assert_eq!(
            (violation.lines.len(), violation.count, violation.now),
            (LINES_KEPT, 100, 99)
        );
        let shown = violation.to_string();
        assert!(shown.starts_with("   0.000060 n1       step 60\n"), "{shown}");
        assert!(
            shown.ends_with("(40 of 100 lines)\nseed 77 at 0.000099 s: a write was lost"),
            "{shown}"
        );
    }

    #[test]
    fn kept_lines_are_the_threads_choice() {
        keep_lines(3);
        let trace = of(&[(1, 1, "a"), (2, 1, "b"), (3, 1, "c"), (4, 1, "d")]);
        keep_lines(0);
        let none = of(&[(1, 1, "a"), (2, 1, "b"), (3, 1, "c"), (4, 1, "d")]);
        keep_lines(LINES_KEPT);
        assert_eq!((trace.lines().count(), none.lines().count()), (3, 0));
        assert_eq!(trace.hash(), none.hash());
    }
}
