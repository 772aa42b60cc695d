//! `sim NAME`: histories of a simulation by their seeds, until one breaks an invariant.
//!
//! The last line counts: `N histories, 0 violations`. A violation is printed with the end of its history and with
//! the command that shows it again, and the program exits 1.

#[cfg(test)]
mod fldb;
mod getrandom;

use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use baton_tests::results::append;
use baton_tests::sim::pieces::{Piece, Sum};
use baton_tests::sim::registry::{self, SIMULATIONS, Simulation};
use baton_tests::sim::runner::{self, Outcome};
use clap::Parser;

/// How often the line of progress is written anew.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Runs histories of a simulation, each decided by one seed.
#[derive(Parser)]
#[command(name = "sim", after_help = list())]
struct Arguments {
    /// Which simulation.
    #[arg(value_parser = named)]
    name: &'static Simulation,
    /// How many histories: those of the seeds 0, 1, 2, …
    #[arg(long, default_value_t = 1_000, conflicts_with = "seed")]
    seeds: u64,
    /// A file that keeps what was run: so many more, from the first seed that is not in it.
    #[arg(long, conflicts_with = "seed")]
    results: Option<PathBuf>,
    /// The one history of this seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Histories at a time; as many as there are processors unless said otherwise.
    #[arg(long)]
    threads: Option<usize>,
    /// How many lines of a broken history are printed; with --seed, of a sound one too.
    #[arg(long)]
    lines: Option<usize>,
}

/// Histories after which a line is added to the results.
const PIECE: u64 = 500;

/// Lines of a broken history that are printed unless --lines says otherwise.
const LINES: usize = 40;

fn named(name: &str) -> Result<&'static Simulation, String> {
    registry::find(name).ok_or_else(|| format!("no simulation is called so\n\n{}", list()))
}

fn list() -> String {
    let lines = SIMULATIONS
        .iter()
        .map(|simulation| format!("\n  {:<12} {}", simulation.name, simulation.about));
    format!("Simulations:{}", lines.collect::<String>())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match (arguments.seed, &arguments.results) {
        (Some(seed), _) => Ok(one(&arguments, seed)),
        (None, None) => Ok(many(&arguments, 0..arguments.seeds)),
        (None, Some(results)) => in_pieces(&arguments, results),
    };
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            eprintln!("sim: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    for violation in &outcome.violations {
        println!("{violation}");
        println!(
            "to see it again: cargo xtask sim {} --seed {}\n",
            arguments.name.name, violation.seed
        );
    }
    println!(
        "{} histories, {} violations",
        outcome.histories,
        outcome.violations.len()
    );
    if outcome.violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn one(arguments: &Arguments, seed: u64) -> Outcome {
    let mut points = 0;
    let violations = match runner::history_twice(arguments.name, seed, arguments.lines.unwrap_or(LINES)) {
        Ok(trace) => {
            points = trace.count();
            for line in trace.lines().filter(|_| arguments.lines.is_some()) {
                println!("{line}");
            }
            println!(
                "seed {seed}: {} lines, trace {:016x}, the same twice",
                trace.count(),
                trace.hash()
            );
            vec![]
        }
        Err(violation) => vec![violation],
    };
    Outcome {
        histories: 1,
        points,
        violations,
    }
}

/// Goes on where the results end.
fn in_pieces(arguments: &Arguments, results: &Path) -> anyhow::Result<Outcome> {
    let name = arguments.name.name;
    let mut sum = Sum::read(results, name)?;
    let end = sum.next + arguments.seeds;
    let mut outcome = Outcome {
        histories: 0,
        points: 0,
        violations: Vec::new(),
    };
    while sum.next < end && outcome.violations.is_empty() {
        let first = sum.next;
        let piece = many(arguments, first..end.min(first + PIECE));
        let line = Piece::new(name, first, &piece);
        append(results, &line)?;
        sum.add(line);
        outcome.histories += piece.histories;
        outcome.points += piece.points;
        outcome.violations.extend(piece.violations);
    }
    println!(
        "{name}, all runs: {} histories with {} points, {} violations {:?}",
        sum.histories,
        sum.points,
        sum.broken.len(),
        sum.broken
    );
    Ok(outcome)
}

fn many(arguments: &Arguments, seeds: Range<u64>) -> Outcome {
    let threads = arguments
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let began = Instant::now();
    let shown = std::sync::Mutex::new(began);
    let is_terminal = std::io::stderr().is_terminal();
    let progress = |ended: u64| {
        let Some(mut shown) = shown
            .try_lock()
            .ok()
            .filter(|shown| is_terminal && shown.elapsed() > PROGRESS_EVERY)
        else {
            return;
        };
        *shown = Instant::now();
        let rate = ended * 1_000 / u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        eprint!(
            "\r{}: {ended} of {} histories, {rate} a second ",
            arguments.name.name,
            seeds.end - seeds.start
        );
        // A terminal that cannot be written to costs the progress, nothing else.
        let _ = std::io::stderr().flush();
    };
    let lines = arguments.lines.unwrap_or(LINES);
    let outcome = runner::campaign(arguments.name, seeds.clone(), threads, lines, progress);
    if is_terminal {
        eprint!("\r\x1b[K");
    }
    outcome
}
