//! `bench NAME`: measures, and prints a table or JSON.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use baton_bench::flserver::{Plan, measure, print};
use baton_bench::{failover, files, store};
use clap::{Args, Parser, Subcommand};

/// Measures what there is, on this machine.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The location database with a million filesets, a thousand servers and watchers: lookups, changes, commits beside the
    /// disk's own sync, failovers, deaths of servers and members, snapshots, memory.
    Flserver(Flserver),
    /// The store beside ext4 and btrfs, on disks of its own making: creates, long files, random reads, recovery,
    /// snapshots, differences, deletions. Only root can.
    Store(Store),
    /// Files in a mounted cell beside local ext4: small files, a tree, mail, long files. Only root can.
    Files(Files),
    /// What programs feel of a failover of 15 aggregates with 800 filesets: planned, killed, frozen. Only root can.
    Failover(Failover),
}

#[derive(Args)]
struct Failover {
    /// Events of each kind.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    events: u16,
    /// A directory that is not there yet, on the disk to be measured; else where the programs were built.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Store {
    /// Files of the largest fileset.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    files: u32,
    #[command(flatten)]
    common: Files,
}

#[derive(Args)]
struct Files {
    /// How often each is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=50))]
    rounds: u8,
    /// A directory on the disk to be measured, with room for images; else where the programs were built.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Flserver {
    /// Filesets in the database before the first measurement.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(2_000..=10_000_000))]
    filesets: u32,
    /// File servers that register, claim and beat, played by a program; made even.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(6..=5_000))]
    servers: u16,
    /// Connections that watch.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=5_000))]
    watchers: u16,
    /// How many leaders are killed.
    #[arg(long, default_value_t = 5)]
    kills: usize,
    /// A directory that is not there yet, on the disk to be measured; else where the programs were built.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let measured = match Arguments::parse().what {
        What::Flserver(arguments) => flserver(arguments),
        What::Store(arguments) => measure_store(arguments),
        What::Files(arguments) => measure_files(arguments),
        What::Failover(arguments) => measure_failover(arguments),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure_store(arguments: Store) -> Result<()> {
    let plan = store::Plan {
        directory: arguments.common.dir,
        rounds: arguments.common.rounds.into(),
    };
    let files = usize::try_from(arguments.files)?;
    let measured = store::measure(&plan, files, |what| eprintln!("measuring: {what}"))?;
    if arguments.common.json {
        println!("{}", serde_json::to_string(&measured)?);
    } else {
        print!("{}", store::print("the store", &measured));
    }
    Ok(())
}

#[tokio::main]
async fn measure_files(arguments: Files) -> Result<()> {
    let plan = store::Plan {
        directory: arguments.dir,
        rounds: arguments.rounds.into(),
    };
    let measured = files::measure(&plan, |what| eprintln!("measuring: {what}")).await?;
    if arguments.json {
        println!("{}", serde_json::to_string(&measured)?);
    } else {
        print!("{}", store::print("the mount", &measured));
    }
    Ok(())
}

#[tokio::main]
async fn measure_failover(arguments: Failover) -> Result<()> {
    let plan = failover::Plan {
        events: arguments.events.into(),
        directory: arguments.dir,
    };
    let measured = unless_interrupted(failover::measure(&plan, |what| eprintln!("measuring: {what}"))).await?;
    if arguments.json {
        println!("{}", serde_json::to_string(&measured)?);
    } else {
        print_failover(&measured);
    }
    Ok(())
}

/// What it measures; what it made goes with it when somebody presses Ctrl-C.
async fn unless_interrupted<T>(measuring: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        measured = measuring => measured,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            anyhow::bail!("interrupted")
        }
    }
}

fn print_failover(report: &failover::Report) {
    println!(
        "failover: {} aggregates with {} filesets, programs in three mounts, two servers, three members",
        report.aggregates, report.filesets
    );
    println!(
        "all of them share {} processors of one machine; of each event the longest wait of any program\n",
        report.processors
    );
    println!(
        "{:<48}{:>8}{:>12}{:>12}{:>12}{:>16}",
        "", "events", "p50 ms", "p99 ms", "max ms", "p99 is to be"
    );
    for row in &report.rows {
        let (millis, figures) = (|micros: f64| format!("{:.0}", micros / 1_000.0), row.figures);
        let target = row
            .p99_target_micros
            .map_or(String::new(), |target| format!("{} at most", millis(target)));
        println!(
            "{:<48}{:>8}{:>12}{:>12}{:>12}{:>16}",
            row.what,
            figures.count,
            millis(figures.p50_micros),
            millis(figures.p99_micros),
            millis(figures.max_micros),
            target
        );
    }
}

#[tokio::main]
async fn flserver(arguments: Flserver) -> Result<()> {
    baton_rpc::daemon::raise_descriptors();
    let plan = Plan {
        filesets: usize::try_from(arguments.filesets)?,
        servers: usize::from(arguments.servers).next_multiple_of(2),
        watchers: arguments.watchers.into(),
        kills: arguments.kills,
        directory: arguments.dir,
    };
    let measured = unless_interrupted(measure(&plan, |what| eprintln!("measuring: {what}"))).await?;
    if arguments.json {
        println!("{}", serde_json::to_string(&measured)?);
    } else {
        print!("{}", print(&measured));
    }
    Ok(())
}
