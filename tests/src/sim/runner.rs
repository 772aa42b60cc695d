//! `campaign`: thousands of seeds, until one breaks something.
//!
//! Every history has a thread of its own, with randomness sown from its seed: nothing that a thread remembers (the
//! seeds of hash maps, a library's generator) leaks from one history into the next. The first histories run twice.
//! Where the two differ, a replay would not show what went wrong, so that counts as a violation as well.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::registry::Simulation;
use super::{Trace, Violation, caught, entropy, keep_lines};

/// How many histories of a campaign run twice.
const TWICE: u64 = 200;

/// Most lines that are kept to find the first one in which two runs differ.
const COMPARED_LINES_MAX: usize = 1_000_000;

/// What a campaign came to.
#[derive(Debug)]
pub struct Outcome {
    /// Histories that ended, the broken ones included.
    pub histories: u64,
    /// What happened in them: lines of their traces.
    pub points: u64,
    /// The violations found, by seed. The first one stops the campaign; others may have been under way.
    pub violations: Vec<Violation>,
}

/// Runs the history of `seed` on a thread of its own; its trace keeps the last `lines` lines.
///
/// # Errors
/// What the history found, or its panic.
pub fn history(simulation: &Simulation, seed: u64, lines: usize) -> Result<Trace, Violation> {
    let run = || {
        entropy::sow(seed);
        keep_lines(lines);
        caught(|| (simulation.history)(seed)).unwrap_or_else(|what| Err(Trace::new(seed).violation(what)))
    };
    thread::scope(|scope| {
        let ended = thread::Builder::new()
            .name(format!("seed {seed}"))
            .spawn_scoped(scope, run)
            .map(|run| run.join());
        match ended {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Trace::new(seed).violation("the history's thread ended by a panic outside of it")),
            Err(error) => Err(Trace::new(seed).violation(format!("no thread for the history: {error}"))),
        }
    })
}

/// Runs the history of `seed` twice and compares.
///
/// # Errors
/// As [`history`], or the first line in which the two runs differ.
pub fn history_twice(simulation: &Simulation, seed: u64, lines: usize) -> Result<Trace, Violation> {
    let trace = history(simulation, seed, lines)?;
    if history(simulation, seed, lines)?.hash() == trace.hash() {
        return Ok(trace);
    }
    let first = history(simulation, seed, COMPARED_LINES_MAX)?;
    let second = history(simulation, seed, COMPARED_LINES_MAX)?;
    let differing = first.lines().zip(second.lines()).find(|(one, two)| one != two);
    Err(trace.violation(match differing {
        Some((one, two)) => format!("two runs of one seed differ, first here:\n  {one}\n  {two}"),
        None => format!(
            "two runs of one seed differ: {} lines, then {}",
            first.count(),
            second.count()
        ),
    }))
}

/// Runs the histories of `seeds` on `threads` threads until all are done or one is broken. `progress` hears, from
/// any thread, how many have ended.
pub fn campaign(
    simulation: &Simulation,
    seeds: Range<u64>,
    threads: usize,
    lines: usize,
    progress: impl Fn(u64) + Sync,
) -> Outcome {
    let next = AtomicU64::new(seeds.start);
    let (ended, points) = (AtomicU64::new(0), AtomicU64::new(0));
    let violations = Mutex::new(Vec::new());
    let work = || {
        while let seed = next.fetch_add(1, Ordering::Relaxed)
            && seed < seeds.end
        {
            let run = if seed - seeds.start < TWICE {
                history_twice
            } else {
                history
            };
            let count = match run(simulation, seed, lines) {
                Ok(trace) => trace.count(),
                Err(violation) => {
                    next.fetch_max(seeds.end, Ordering::Relaxed);
                    let count = violation.count;
                    violations
                        .lock()
                        .expect("no thread panics while it holds this")
                        .push(violation);
                    count
                }
            };
            points.fetch_add(count, Ordering::Relaxed);
            progress(ended.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut violations = violations.into_inner().expect("no thread panicked while it held this");
    violations.sort_by_key(|violation| violation.seed);
    Outcome {
        histories: ended.into_inner(),
        points: points.into_inner(),
        violations,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simulation(history: fn(u64) -> Result<Trace, Violation>) -> Simulation {
        Simulation {
            name: "test",
            about: "a test",
            history,
        }
    }

    fn calm(seed: u64) -> Result<Trace, Violation> {
        let mut trace = Trace::new(seed);
        trace.note(seed, "n0", format_args!("nothing happens"));
        Ok(trace)
    }

    #[test]
    fn every_seed_is_run_and_reported() {
        let heard = AtomicU64::new(0);
        let outcome = campaign(&simulation(calm), 0..500, 2, 10, |count| {
            heard.fetch_max(count, Ordering::Relaxed);
        });
        assert_eq!(
            (
                outcome.histories,
                outcome.points,
                outcome.violations.len(),
                heard.into_inner()
            ),
            (500, 500, 0, 500)
        );
    }

    #[test]
    fn first_violation_stops_the_campaign() {
        let broken = simulation(|seed| match seed {
            300.. => Err(calm(seed)?.violation("a write was lost")),
            _ => calm(seed),
        });
        let outcome = campaign(&broken, 0..100_000, 2, 10, |_| {});
        assert_eq!(outcome.violations[0].seed, 300);
        assert_eq!(outcome.violations[0].lines.len(), 1);
        assert!((301..=302).contains(&outcome.histories), "{}", outcome.histories);
    }

    #[test]
    fn panic_is_a_violation_with_its_seed() {
        let panicking = simulation(|seed| panic!("two owners under seed {seed}"));
        let violation = history(&panicking, 9, 10).unwrap_err();
        assert_eq!(violation.seed, 9);
        assert!(violation.what.starts_with("two owners under seed 9 ("), "{violation}");
    }

    #[test]
    fn difference_between_two_runs_is_shown() {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let unsteady = simulation(|seed| {
            let mut trace = calm(seed)?;
            trace.note(2, "n1", format_args!("run {}", RUNS.fetch_add(1, Ordering::Relaxed)));
            Ok(trace)
        });
        let outcome = campaign(&unsteady, 0..1, 1, 10, |_| {});
        let what = &outcome.violations[0].what;
        assert!(
            what.contains("differ, first here") && what.contains("run 2") && what.contains("run 3"),
            "{what}"
        );
    }
}
