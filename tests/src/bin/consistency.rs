//! `consistency DIRECTORY... `: do several mounts of one fileset look like one file system? Ends with
//! `N operations, 0 violations`, or with the calls that nothing explains.

use std::path::PathBuf;
use std::process::ExitCode;

use baton_tests::consistency::{Plan, run};
use clap::Parser;

/// Random operations through several mounts of one directory, judged.
#[derive(Parser)]
#[command(
    name = "consistency",
    after_help = "Example:\n  consistency /mnt/1/shared /mnt/2/shared --operations 100000"
)]
struct Arguments {
    /// One and the same directory, as each mount shows it.
    #[arg(required = true)]
    directories: Vec<PathBuf>,
    /// Operations in all.
    #[arg(long, default_value_t = 100_000)]
    operations: u64,
    /// Threads at each mount.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Decides what is done; drawn unless given.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let plan = Plan {
        directories: arguments.directories,
        threads: arguments.threads,
        operations: arguments.operations,
        seed: arguments.seed.unwrap_or_else(rand::random),
    };
    println!("seed {}", plan.seed);
    match run(&plan) {
        Ok(verdict) => {
            println!(
                "{} operations on {} objects, 0 violations",
                verdict.operations, verdict.objects
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("consistency: {error:#}");
            ExitCode::FAILURE
        }
    }
}
