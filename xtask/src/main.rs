//! `cargo xtask`: the chores of this repository.
//!
//! Each is a short list of commands that a person could type; every command is shown before it runs. `test` is all
//! that is asked of a change, on any machine, with nothing else installed by hand.

mod deny;
mod programs;
mod run;
mod test;
mod tidy;
mod tools;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::programs::Profile;
use crate::workspace::Workspace;

/// The chores of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// All checks: layout, rules, lints, tests, examples in docs, simulations. Installs what it needs.
    Test,
    /// The rules that no compiler knows: direction of imports, length of files, forbidden words.
    Tidy,
    /// Licences, origins and known holes of what is built upon; these last need the advisory database's host.
    Deny,
    /// Runs a simulation: NAME [--seeds N] [--seed S].
    Sim(Passed),
    /// Goes through the models of who may write an aggregate: [large | trace].
    Model(Passed),
    /// Measures, in a release build: NAME.
    Bench(Passed),
    /// Shows what there is, on a cell of real processes: [--once].
    Demo(Passed),
    /// Faults under programs that work: [NAME | nemesis] [--rounds N] [--seed S] [--results FILE].
    Faults(Passed),
    /// Other people's tests and everyday programs, in a mounted cell: [NAME...] [--size N].
    Suite(Passed),
    /// A cell of real processes on this machine: up, kill, stop, cont, restart, down.
    Cell(Passed),
    /// Feeds a decoder with random bytes.
    Fuzz(Passed),
}

/// Words for the program behind a chore, which explains them itself with --help.
#[derive(Args)]
#[command(disable_help_flag = true)]
struct Passed {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    words: Vec<OsString>,
}

fn main() -> ExitCode {
    match chore(Arguments::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn chore(chore: Chore) -> Result<()> {
    let workspace = Workspace::read()?;
    match chore {
        Chore::Test => test::test(&workspace),
        Chore::Tidy => tidy::tidy(&workspace),
        Chore::Deny => deny::with_advisories(&workspace),
        Chore::Sim(passed) => programs::become_only(&workspace, Profile::Dev, "sim", &passed.words),
        Chore::Model(passed) => programs::become_only(&workspace, Profile::Release, "models", &passed.words),
        Chore::Bench(passed) => bench(&workspace, &passed.words),
        Chore::Demo(passed) => programs::become_harness(&workspace, "demo", passed.words),
        Chore::Faults(passed) => {
            tools::ensure_for_faults(&workspace)?;
            programs::become_harness(&workspace, "faults", passed.words)
        }
        Chore::Suite(passed) => {
            tools::ensure_for_suites(&workspace)?;
            programs::become_harness(&workspace, "suite", passed.words)
        }
        Chore::Cell(passed) => programs::become_harness(&workspace, "cell", passed.words),
        Chore::Fuzz(passed) => programs::become_only(&workspace, Profile::Release, "fuzz", &passed.words),
    }
}

/// The store alone needs no daemon, but other file systems to be measured beside.
fn bench(workspace: &Workspace, words: &[OsString]) -> Result<()> {
    match words.first() {
        Some(first) if first == "store" => {
            tools::ensure_for_store_bench(workspace)?;
            programs::become_only(workspace, Profile::Release, "bench", words)
        }
        _ => programs::become_program(workspace, Profile::Release, "bench", words),
    }
}
