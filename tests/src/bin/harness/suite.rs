//! `suite`: other people's tests and everyday programs, in a mounted cell of their own.

use anyhow::{Context, Result, bail};
use baton_tests::cell::{Builder, Trust};
use baton_tests::suites::{Server, Stage, Suite, consistency, kill_again_and_again};
use clap::Args;

/// Which suites.
#[derive(Args)]
#[command(after_help = "Example:\n  cargo xtask suite fsx --size 100000")]
pub struct Arguments {
    /// By name, `consistency` and `restarts` among them; all but these unless given.
    #[arg(value_name = "SUITE")]
    names: Vec<String>,
    /// Operations, where a suite counts them.
    #[arg(long, default_value_t = 10_000)]
    size: u64,
    /// Kill the file server again and again, where a suite goes on then: `consistency`.
    #[arg(long)]
    kill: bool,
    /// Decides what is done, where a suite draws it: `consistency`; drawn unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// Mounts that share the fileset.
    #[arg(long, default_value_t = 2)]
    mounts: usize,
}

/// Runs them, each in a cell of its own.
pub async fn run(arguments: &Arguments) -> Result<()> {
    if arguments.names == ["restarts"] {
        return restarts(arguments).await;
    }
    if arguments.names == ["consistency"] {
        return judged(arguments).await;
    }
    let mut failed = Vec::new();
    for (name, suite) in chosen(&arguments.names)? {
        let trust = match suite {
            Suite::PjdfstestPlain => Trust::Users,
            _ => Trust::UsersAndRoot,
        };
        let mounts = match suite {
            Suite::Pjdfstest | Suite::PjdfstestPlain => 1,
            _ => arguments.mounts,
        };
        let stage = Stage::set(Builder::default(), mounts, trust).await?;
        let size = arguments.size;
        let (stage, result) = tokio::task::spawn_blocking(move || {
            let result = suite.run(&stage, size);
            (stage, result)
        })
        .await?;
        match result {
            Ok(counted) => {
                println!("{name}: {counted}");
                stage.cell.down()?;
            }
            Err(error) => {
                eprintln!("{name}: {:#}", error.context(stage.cell.log_ends()));
                failed.push(name);
            }
        }
    }
    match failed.as_slice() {
        [] => Ok(()),
        failed => bail!("not as it should be: {}", failed.join(", ")),
    }
}

/// All mounts at once, judged.
async fn judged(arguments: &Arguments) -> Result<()> {
    let mut stage = Stage::set(Builder::default(), arguments.mounts, Trust::UsersAndRoot).await?;
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let server = match arguments.kill {
        true => Server::Dies,
        false => Server::Lives,
    };
    println!("seed {seed}");
    match consistency(&mut stage, arguments.size, seed, server).await {
        Ok(counted) => {
            println!("consistency: {counted}");
            stage.cell.down()
        }
        Err(error) => Err(error.context(stage.cell.log_ends())),
    }
}

/// Kills the server `--size` times.
async fn restarts(arguments: &Arguments) -> Result<()> {
    let mut stage = Stage::set(Builder::default(), arguments.mounts, Trust::UsersAndRoot).await?;
    let kills = usize::try_from(arguments.size)?;
    match kill_again_and_again(&mut stage.cell, &stage.directories, kills).await {
        Ok(counted) => {
            println!("restarts: {counted}");
            stage.cell.down()
        }
        Err(error) => Err(error.context(stage.cell.log_ends())),
    }
}

fn chosen(names: &[String]) -> Result<Vec<(&'static str, Suite)>> {
    if names.is_empty() {
        return Ok(Suite::ALL.to_vec());
    }
    let find = |name: &String| {
        let found = Suite::ALL.into_iter().find(|(known, _)| known == name);
        found.with_context(|| {
            let known: Vec<_> = Suite::ALL.iter().map(|(name, _)| *name).collect();
            format!("no suite is called {name}; there are {}", known.join(", "))
        })
    };
    names.iter().map(find).collect()
}
