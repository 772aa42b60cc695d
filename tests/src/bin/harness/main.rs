//! `harness`: a cell of real processes for whoever wants one, and the demo on top of it.
//!
//! It is called by `cargo xtask cell` and `cargo xtask demo`, which build the programs first.

mod cell;
mod demo;
mod faults;
mod suite;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Cells of real processes on this machine.
#[derive(Parser)]
#[command(name = "harness")]
struct Arguments {
    #[command(subcommand)]
    word: Word,
}

#[derive(Subcommand)]
enum Word {
    /// A cell under one directory: up, kill, stop, cont, restart, status, down.
    #[command(subcommand)]
    Cell(cell::Word),
    /// Shows what there is, with measured figures: a cell, changes, the leader's death.
    Demo(demo::Arguments),
    /// Faults under programs that work, and the count of what they were promised.
    Faults(faults::Arguments),
    /// Other people's tests and everyday programs, in a mounted cell.
    Suite(suite::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse().word {
        Word::Cell(word) => cell::run(word).await,
        Word::Demo(arguments) => demo::run(&arguments).await,
        Word::Faults(arguments) => faults::run(&arguments).await,
        Word::Suite(arguments) => suite::run(&arguments).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("harness: {error:#}");
            ExitCode::FAILURE
        }
    }
}
