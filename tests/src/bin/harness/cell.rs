//! `cell`: makes a cell that runs on, and works on it later by its directory.

use std::path::PathBuf;

use anyhow::Result;
use baton_tests::cell::{Builder, Cell, Life, Role};
use clap::{Args, Subcommand};

/// Room to play in.
const DISK_BYTES: u64 = 8 << 30;

/// What can be done.
#[derive(Subcommand)]
pub enum Word {
    /// Makes a cell and leaves it running; then: . DIR/env
    Up(Up),
    /// Kills a daemon: no last words, no last write.
    Kill(One),
    /// Kills a daemon and its guard at once, as the end of their machine does.
    Crash(One),
    /// Stops a daemon where it stands (SIGSTOP).
    Stop(One),
    /// Lets a stopped daemon go on.
    Cont(One),
    /// Ends a daemon, if it runs, and starts it anew.
    Restart(One),
    /// Prints how every daemon is.
    Status(Dir),
    /// Mounts the cell anew at a client machine: 1 is client1.
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
    /// Aggregates (lfs01 and so on), each on a disk of its own, which all file servers reach.
    #[arg(long, default_value_t = 1)]
    aggregates: usize,
    /// Client machines, each with the cell mounted under DIR/mnt.
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
        Word::Crash(one) => Cell::open(&one.dir.dir)?.crash(&one.name),
        Word::Stop(one) => Cell::open(&one.dir.dir)?.stop(&one.name),
        Word::Cont(one) => Cell::open(&one.dir.dir)?.cont(&one.name),
        Word::Restart(one) => restart(&one).await,
        Word::Status(dir) => status(&dir).await,
        Word::Remount { number, dir } => {
            let cell = Cell::open(&dir.dir)?;
            println!("{}", cell.remount(number).await?.display());
            cell.leave();
            Ok(())
        }
        Word::Down(dir) => Cell::open(&dir.dir)?.down(),
    }
}

async fn start(up: Up) -> Result<()> {
    let builder = Builder::default()
        .flservers(up.flservers)
        .servers(up.servers)
        .aggregates(up.aggregates)
        .disk_bytes(DISK_BYTES)
        .mounts(up.mounts);
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
        Role::Fileserver | Role::Client | Role::Desk => Ok(()),
    }
}

async fn status(dir: &Dir) -> Result<()> {
    let cell = Cell::open(&dir.dir)?;
    for line in cell.states().await {
        println!("{line}");
    }
    Ok(())
}
