//! `cell`: makes a cell that runs on, and works on it later by its directory.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use baton_tests::cell::{Builder, Cell, Life, Role};
use clap::{Args, Subcommand};

/// What can be done.
#[derive(Subcommand)]
pub enum Word {
    /// Makes a cell and leaves it running; then: . DIR/env
    Up(Up),
    /// Kills a daemon: no last words, no last write.
    Kill(One),
    /// Stops a daemon where it stands (SIGSTOP).
    Stop(One),
    /// Lets a stopped daemon go on.
    Cont(One),
    /// Ends a daemon, if it runs, and starts it anew.
    Restart(One),
    /// Prints how every daemon is.
    Status(Dir),
    /// Would mount a client's file system anew.
    Remount {
        /// Which mount.
        number: usize,
        #[command(flatten)]
        dir: Dir,
    },
    /// Ends all daemons and removes the directory.
    Down(Dir),
}

/// A new cell.
#[derive(Args)]
pub struct Up {
    #[command(flatten)]
    dir: Dir,
    /// Members of the location database.
    #[arg(long, default_value_t = 3)]
    flservers: usize,
    /// File servers.
    #[arg(long, default_value_t = 2)]
    servers: usize,
    /// Aggregates (lfs01 and so on). There is no disk behind them in this version: every file server only reports
    /// to the location database that it sees them.
    #[arg(long, default_value_t = 1)]
    aggregates: usize,
    /// Mounts. This version mounts nothing: only 0 is possible.
    #[arg(long, default_value_t = 0)]
    mounts: usize,
}

/// A cell there is.
#[derive(Args)]
pub struct Dir {
    /// Where the cell is.
    #[arg(long)]
    dir: PathBuf,
}

/// A daemon of a cell.
#[derive(Args)]
pub struct One {
    /// Its machine: fl1, fs1 and so on.
    name: String,
    #[command(flatten)]
    dir: Dir,
}

/// Does it.
pub async fn run(word: Word) -> Result<()> {
    match word {
        Word::Up(up) => start(up).await,
        Word::Kill(one) => Cell::open(&one.dir.dir)?.kill(&one.name),
        Word::Stop(one) => Cell::open(&one.dir.dir)?.stop(&one.name),
        Word::Cont(one) => Cell::open(&one.dir.dir)?.cont(&one.name),
        Word::Restart(one) => restart(&one).await,
        Word::Status(dir) => status(&dir).await,
        Word::Remount { number, dir } => {
            Cell::open(&dir.dir)?;
            ensure!(false, "mount {number}: this version mounts nothing");
            Ok(())
        }
        Word::Down(dir) => Cell::open(&dir.dir)?.down(),
    }
}

async fn start(up: Up) -> Result<()> {
    ensure!(
        up.mounts == 0,
        "--mounts {}: this version mounts nothing; leave it out, or give 0",
        up.mounts
    );
    let builder = Builder::default()
        .flservers(up.flservers)
        .servers(up.servers)
        .aggregates(up.aggregates);
    let cell = builder.directory(&up.dir.dir).life(Life::Free).start().await?;
    let environment = cell.places().environment();
    println!(
        "the cell {} runs; to work in it: . {}",
        cell.name(),
        environment.display()
    );
    println!("to end it: cell down --dir {}", cell.leave().display());
    Ok(())
}

async fn restart(one: &One) -> Result<()> {
    let mut cell = Cell::open(&one.dir.dir)?;
    cell.restart(&one.name)?;
    match cell.machine(&one.name)?.role {
        Role::Flserver => cell.wait_for_answer(&one.name).await,
        Role::Fileserver | Role::Desk => Ok(()),
    }
}

async fn status(dir: &Dir) -> Result<()> {
    let cell = Cell::open(&dir.dir)?;
    for line in cell.states().await {
        println!("{line}");
    }
    Ok(())
}
