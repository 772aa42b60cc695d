//! `suite`: other people's tests and everyday programs, in a mounted cell of their own.

use anyhow::{Context, Result, bail};
use baton_tests::cell::{Builder, Trust};
use baton_tests::suites::{Stage, Suite, kill_again_and_again};
use clap::Args;

/// Which suites.
#[derive(Args)]
#[command(after_help = "Example:\n  cargo xtask suite fsx --size 100000")]
pub struct Arguments {
    /// By name, `restarts` among them; all but that unless given.
    #[arg(value_name = "SUITE")]
    names: Vec<String>,
    /// Operations, where a suite counts them.
    #[arg(long, default_value_t = 10_000)]
    size: u64,
    /// Mounts that share the fileset.
    #[arg(long, default_value_t = 2)]
    mounts: usize,
}

/// Runs them, each in a cell of its own.
pub async fn run(arguments: &Arguments) -> Result<()> {
    if arguments.names == ["restarts"] {
        return restarts(arguments).await;
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
