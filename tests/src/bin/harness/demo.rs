//! `demo`: two servers, one disk, a writer that never stops, and everything that befalls the servers meanwhile.
//!
//! Every figure is measured in this run. With the figures masked the text is always the same: a test holds it.

mod chart;
mod steps;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use baton_tests::cell::{Builder, Cell, Life, Role};
use clap::Args;

use steps::Play;

/// Between two steps, for whoever reads along.
const READING: Duration = Duration::from_secs(2);

/// How to show it.
#[derive(Args)]
pub struct Arguments {
    /// End after the count, and remove everything.
    #[arg(long)]
    once: bool,
    /// A small tree, and no pauses for reading.
    #[arg(long)]
    fast: bool,
    /// Leave the cell running at the end, and say how to work in it.
    #[arg(long)]
    keep: bool,
    /// Where to make the cell; a temporary directory unless given.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// What is done, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// A tree of some thousand files, and time to read.
    Usual,
    /// A tree of some dozen.
    Fast,
}

/// Shows it all, and removes it.
pub async fn run(arguments: &Arguments) -> Result<()> {
    let mut cell = tokio::select! {
        shown = show(arguments) => shown?,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            bail!("interrupted")
        }
    };
    if arguments.keep {
        let environment = cell.places().environment();
        println!("\nThe cell runs on. To work in it: . {}", environment.display());
        println!("To end it: cargo xtask cell down --dir {}", cell.leave().display());
        return Ok(());
    }
    if !arguments.once {
        over_to_you(&cell)?;
        tokio::signal::ctrl_c().await?;
        println!();
    }
    cell.forget_the_dead();
    cell.down()?;
    println!("\nEverything is ended and removed.");
    Ok(())
}

async fn show(arguments: &Arguments) -> Result<Cell> {
    let speed = if arguments.fast { Speed::Fast } else { Speed::Usual };
    let heading = Heading {
        number: 0,
        pause: match speed {
            Speed::Usual if std::io::stdout().is_terminal() => READING,
            Speed::Usual | Speed::Fast => Duration::ZERO,
        },
    };
    println!("Two servers, one disk. Every figure is measured in this run.");
    let mut builder = Builder::default();
    if arguments.keep {
        builder = builder.life(Life::Free);
    }
    if let Some(directory) = &arguments.dir {
        builder = builder.directory(directory);
    }
    let mut play = Play::begin(heading, speed, builder).await?;
    match play.all().await {
        Ok(()) => Ok(play.cell()),
        Err(error) => Err(error.context(play.last_words())),
    }
}

/// Whoever watched may go on by himself: programs, or servers, as he likes.
fn over_to_you(cell: &Cell) -> Result<()> {
    println!("\n=== Over to you");
    println!("the mount   {}", cell.places().mount("client1").display());
    println!("the state   . {}; fts status", cell.places().environment().display());
    for server in cell.named(Role::Fileserver) {
        if let Some(process) = cell.process(&server) {
            println!("to kill     kill -9 {}   ({server})", process.server());
        }
    }
    print!("\n{}", cell.fts(&["status"])?.done()?);
    println!("\nCtrl-C ends it, and removes everything.");
    Ok(())
}

/// Numbers the steps.
pub struct Heading {
    number: u32,
    pause: Duration,
}

impl Heading {
    /// Begins the next step.
    pub async fn next(&mut self, text: &str) {
        if self.number > 0 {
            tokio::time::sleep(self.pause).await;
        }
        self.number += 1;
        println!("\n=== {}. {text}", self.number);
    }
}
