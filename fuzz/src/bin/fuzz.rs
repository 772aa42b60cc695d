//! `fuzz TARGET [--seconds N]`: mutations of a good input, until the time is over or the decoder panics.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use baton_fuzz::{mutate, targets};
use clap::Parser;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Gives a decoder mutated bytes until the time is over.
#[derive(Parser)]
struct Options {
    /// Which decoder; "all" for each in turn.
    target: String,
    /// For how long, each.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let wanted = |name: &str| options.target == "all" || options.target == name;
    let chosen: Vec<_> = targets().filter(|target| wanted(target.name)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = targets().map(|target| target.name).collect();
        eprintln!(
            "fuzz: {}: no such target; there are: all, {}",
            options.target,
            names.join(", ")
        );
        return ExitCode::from(2);
    }
    for target in chosen {
        let (good, end) = ((target.good)(), Instant::now() + Duration::from_secs(options.seconds));
        let mut seed = 0;
        while Instant::now() < end {
            let mut bytes = good.clone();
            mutate(&mut bytes, &mut StdRng::seed_from_u64(seed));
            let run = std::panic::catch_unwind(|| (target.decode)(&bytes));
            if run.is_err() {
                eprintln!("fuzz: {} panics on seed {seed}: {bytes:02x?}", target.name);
                return ExitCode::FAILURE;
            }
            seed += 1;
        }
        println!("{}: {seed} inputs, 0 panics", target.name);
    }
    ExitCode::SUCCESS
}
