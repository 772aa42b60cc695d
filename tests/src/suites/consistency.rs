//! Random operations through all mounts at once, judged; while the file server lives, or while it is killed again and
//! again.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinHandle;

use super::Stage;
use crate::consistency::{Plan, Verdict, run};

/// So many operations go into one fileset. In each one a mount opens files while it is alone, and goes on with them
/// when others have come.
const PART_OPERATIONS: u64 = 20_000;
/// Threads at each mount.
const THREADS: usize = 2;
/// Between a start of the server and its next death, at most.
const BETWEEN_MAX: Duration = Duration::from_secs(3);

/// What becomes of the file server meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Nothing.
    Lives,
    /// It is killed at random moments and started again.
    Dies,
}

/// Does `operations` through all mounts of `stage`, as `seed` decides.
///
/// # Errors
/// An operation that failed, or that no order explains.
pub async fn consistency(stage: &mut Stage, operations: u64, seed: u64, server: Server) -> Result<String> {
    let mut all = Verdict {
        operations: 0,
        objects: 0,
    };
    let (mut part, mut kills, mut moments) = (0, 0, StdRng::seed_from_u64(seed));
    while all.operations < operations {
        let directories = stage.another(&format!("part-{part}")).await?;
        let plan = Plan {
            directories: directories.iter().map(|root| root.join("shared")).collect(),
            threads: THREADS,
            operations: PART_OPERATIONS.min(operations - all.operations),
            seed: seed.wrapping_add(part),
        };
        let verdict = do_part(stage, plan, server, &mut moments, &mut kills);
        let verdict = verdict.await.with_context(|| format!("part {part} of seed {seed}"))?;
        all.operations += verdict.operations;
        all.objects += verdict.objects;
        part += 1;
    }
    let killed = match server {
        Server::Lives => String::new(),
        Server::Dies => format!(", {kills} kills"),
    };
    let Verdict { operations, objects } = all;
    Ok(format!(
        "{operations} operations on {objects} objects{killed}, 0 violations (seed {seed})"
    ))
}

async fn do_part(
    stage: &mut Stage,
    plan: Plan,
    server: Server,
    moments: &mut StdRng,
    kills: &mut u64,
) -> Result<Verdict> {
    let first: PathBuf = plan.directories.first().context("a plan needs a mount")?.clone();
    let working: JoinHandle<Result<Verdict>> = tokio::task::spawn_blocking(move || {
        std::fs::create_dir(&first)?;
        run(&plan)
    });
    while server == Server::Dies && !working.is_finished() {
        tokio::time::sleep(moments.random_range(Duration::ZERO..BETWEEN_MAX)).await;
        stage.cell.kill("fs1")?;
        stage.cell.start("fs1")?;
        *kills += 1;
        let server = stage.cell.process("fs1").context("it is meant to run")?;
        let runs = async || server.is_running().then_some(());
        stage.cell.wait("fs1 runs", runs).await?;
    }
    working.await?
}
