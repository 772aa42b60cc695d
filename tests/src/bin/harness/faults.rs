//! `faults`: one fault again and again, or many drawn at random, under programs that work.

use std::path::PathBuf;

use anyhow::{Result, bail};
use baton_tests::cell::isolate;
use baton_tests::faults::{Nemesis, SCENARIOS, Scenario, Sum};
use clap::Args;

/// Which fault, and how often.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask faults kill --rounds 20\n  cargo xtask faults nemesis --rounds 200 \
                        --seed 1 --results nemesis.jsonl"
)]
pub struct Arguments {
    /// A fault, or `nemesis`; without a name they are listed.
    name: Option<String>,
    /// How often: faults in one cell; of the nemesis, cells.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// Decides the first round of the nemesis, this and one more the second, and so on; drawn unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// Of the nemesis: a file that gets a line for each round. Rounds in it count, and are not played again.
    #[arg(long)]
    results: Option<PathBuf>,
}

/// Does it.
pub async fn run(arguments: &Arguments) -> Result<()> {
    let Some(name) = arguments.name.as_deref() else {
        for Scenario { name, what, .. } in SCENARIOS {
            println!("{name:<12}{what}");
        }
        println!("{:<12}these and their moments drawn at random", "nemesis");
        return Ok(());
    };
    isolate("faults")?;
    let struck = async {
        match name {
            "nemesis" => nemesis(arguments).await,
            _ => scenario(Scenario::named(name)?, arguments.rounds).await,
        }
    };
    tokio::select! {
        struck = struck => struck,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            bail!("interrupted")
        }
    }
}

async fn scenario(scenario: Scenario, rounds: u64) -> Result<()> {
    let outcome = scenario
        .run(rounds, |what| eprintln!("{}: {what}", scenario.name))
        .await?;
    println!(
        "{}, {rounds} times: {}; the longest wait {} ms; no errors, salvage finds nothing",
        scenario.name,
        outcome.count,
        outcome.longest.as_millis()
    );
    Ok(())
}

async fn nemesis(arguments: &Arguments) -> Result<()> {
    let seed = arguments.seed.unwrap_or_else(|| rand::random::<u32>().into());
    println!("seed {seed}");
    let mut sum = match &arguments.results {
        Some(results) => Sum::read(results)?,
        None => Sum::default(),
    };
    while sum.rounds < arguments.rounds {
        let round = Nemesis::new(seed + sum.rounds).play().await;
        println!(
            "round {} of {}, seed {}: {}: {}, the longest wait {} ms",
            sum.rounds + 1,
            arguments.rounds,
            round.seed,
            round.blows.join(", "),
            round.count,
            round.longest_millis
        );
        if let Some(failure) = &round.failure {
            println!("{failure}");
        }
        if let Some(results) = &arguments.results {
            round.append(results)?;
        }
        sum.add(&round);
    }
    println!(
        "{} rounds: {}, the longest wait {} ms; {} failed",
        sum.rounds,
        sum.count,
        sum.longest_millis,
        sum.failed.len()
    );
    match sum.failed.as_slice() {
        [] => Ok(()),
        failed => bail!("rounds that ended badly have these seeds: {failed:?}"),
    }
}
