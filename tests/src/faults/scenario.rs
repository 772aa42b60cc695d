//! `Scenario`: one fault, again and again, and what must come of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use baton_rpc::fldb::Freshness;

use super::arena::{Arena, Outcome};
use super::blow::Blow;
use crate::cell::Reach;

/// What becomes of the aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Another server has it, while the fault lasts.
    Moves,
    /// Nothing: its owner serves it on, under the same epoch.
    Stays,
    /// It is served again when the fault is healed.
    Returns,
}

/// A fault by its name.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// As it is typed.
    pub name: &'static str,
    /// In words.
    pub what: &'static str,
    /// What strikes.
    pub blow: Blow,
    /// What must come of it.
    pub expected: Expected,
    /// File servers on the disk.
    pub servers: usize,
    /// How long it lasts, where nobody takes over.
    pub lasts: Duration,
}

/// Longer than any client believes what it was told (limits::CLIENT_LIFETIME).
const OUTAGE: Duration = Duration::from_secs(12);

const fn row(name: &'static str, blow: Blow, expected: Expected, servers: usize, what: &'static str) -> Scenario {
    Scenario {
        name,
        what,
        blow,
        expected,
        servers,
        lasts: Duration::ZERO,
    }
}

/// All of them.
pub const SCENARIOS: [Scenario; 11] = [
    row(
        "planned",
        Blow::Planned,
        Expected::Moves,
        2,
        "the aggregate is moved by a command",
    ),
    row("kill", Blow::Kill, Expected::Moves, 2, "the owner is killed"),
    row("crash", Blow::Crash, Expected::Moves, 2, "the owner's machine ends"),
    row(
        "freeze",
        Blow::Freeze,
        Expected::Moves,
        2,
        "the owner stands still, and wakes when it is followed",
    ),
    row(
        "successor",
        Blow::Successor,
        Expected::Moves,
        3,
        "the owner is killed, then the one that took over",
    ),
    row(
        "all",
        Blow::All,
        Expected::Returns,
        2,
        "all file servers are killed, and started again",
    ),
    Scenario {
        lasts: OUTAGE,
        ..row(
            "outage",
            Blow::All,
            Expected::Returns,
            2,
            "the same, and for longer than clients believe anything",
        )
    },
    row(
        "leader",
        Blow::WithLeader,
        Expected::Moves,
        2,
        "the owner's machine ends together with the leader's",
    ),
    row(
        "quorum",
        Blow::NoQuorum,
        Expected::Stays,
        2,
        "the location database loses its quorum",
    ),
    row(
        "cut",
        Blow::CutOff,
        Expected::Moves,
        2,
        "the owner is cut off from the location database",
    ),
    row(
        "port",
        Blow::Port,
        Expected::Moves,
        2,
        "the owner's port to the disk fails with EIO",
    ),
];

impl Scenario {
    /// The one called `name`.
    ///
    /// # Errors
    /// Naming those there are.
    pub fn named(name: &str) -> Result<Scenario> {
        let found = SCENARIOS.into_iter().find(|scenario| scenario.name == name);
        found.with_context(|| {
            let known: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            format!("no fault is called {name}; there are {}, and nemesis", known.join(", "))
        })
    }

    /// Lets it strike so often, and counts. The caller is isolated.
    ///
    /// # Errors
    /// The first thing that is not as it must be, with the ends of all logs.
    pub async fn run(&self, rounds: u64, progress: impl Fn(&str)) -> Result<Outcome> {
        let (cells, strokes, reach) = match self.blow {
            // Once in each cell: what a living server gave up is not moved a second time for half a minute.
            Blow::Port => (rounds, 1, Reach::ByPorts),
            _ => (1, rounds, Reach::Directly),
        };
        let mut outcome = Outcome::default();
        for cell in 0..cells {
            let mut arena = Arena::open(self.servers, reach).await?;
            for stroke in 1..=strokes {
                if let Err(error) = self.round(&mut arena).await {
                    let condition = arena.condition().await;
                    return Err(error
                        .context(format!("round {stroke} of {}", self.name))
                        .context(condition));
                }
                progress(&format!("round {} of {rounds}", cell + stroke));
            }
            outcome = outcome.and(arena.finish().await?);
        }
        Ok(outcome)
    }

    async fn round(&self, arena: &mut Arena) -> Result<()> {
        arena.goes_on().await?;
        let before = arena.aggregate(Freshness::Linearizable).await?;
        let struck = self.blow.strike(arena).await?.context("there is nothing to strike")?;
        let during = match self.expected {
            Expected::Moves => {
                let now = arena.moved_from(&before).await?;
                arena.goes_on().await.context("while the fault lasts")?;
                Some(now)
            }
            Expected::Stays => {
                arena.goes_on().await.context("while the fault lasts")?;
                Some(before)
            }
            Expected::Returns => {
                tokio::time::sleep(self.lasts).await;
                None
            }
        };
        struck.heal(arena)?;
        arena.is_whole().await?;
        arena.goes_on().await.context("once the fault is healed")?;
        let after = arena.aggregate(Freshness::Linearizable).await?;
        let is_kept = during.as_ref().is_none_or(|during| during.epoch == after.epoch);
        ensure!(is_kept, "it moved once more: {during:?}, then {after:?}");
        Ok(())
    }
}
