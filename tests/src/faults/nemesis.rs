//! The nemesis: faults, moments and their overlaps drawn at random, each round in a cell of its own.
//!
//! A seed decides what is struck, how long that lasts and what it overlaps; processes and disks do the rest in their own
//! time, so that the same seed is the same plan and not the same history.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::arena::{Arena, Outcome};
use super::blow::{Blow, Struck};
use super::programs::Count;
use crate::cell::Reach;
use crate::results;

/// What may be struck; without ports all but the last.
const BLOWS: [Blow; 9] = [
    Blow::Planned,
    Blow::Kill,
    Blow::Crash,
    Blow::Freeze,
    Blow::All,
    Blow::WithLeader,
    Blow::NoQuorum,
    Blow::CutOff,
    Blow::Port,
];
/// The same without the last.
const WITHOUT_PORTS: &[Blow] = BLOWS.split_at(BLOWS.len() - 1).0;
/// How long a fault lasts, at most: shorter than it takes to be noticed, or much longer.
const LAST_MAX: Duration = Duration::from_millis(3_000);
/// One in eight lasts up to this: longer than clients believe anything.
const OUTAGE_MAX: Duration = Duration::from_secs(12);
/// A port that fails does so for this at least: one error in passing is what a program would see of any disk.
const PORT_MIN: Duration = Duration::from_secs(1);
/// From one fault healed to the next, at most: sometimes in the middle of coming back.
const PAUSE_MAX: Duration = Duration::from_millis(1_500);

/// One round, as its seed decides it.
#[derive(Debug)]
pub struct Nemesis {
    seed: u64,
    servers: usize,
    reach: Reach,
    strokes: Vec<Stroke>,
}

/// A fault and its moment.
#[derive(Debug)]
struct Stroke {
    blow: Blow,
    pause: Duration,
    lasts: Duration,
    heals: Heals,
}

impl Stroke {
    fn draw(random: &mut StdRng, blows: &[Blow]) -> Stroke {
        let blow = blows[random.random_range(0..blows.len())];
        let last_max = if random.random_bool(0.125) {
            OUTAGE_MAX
        } else {
            LAST_MAX
        };
        let lasts = random.random_range(Duration::ZERO..last_max);
        Stroke {
            blow,
            pause: random.random_range(Duration::ZERO..PAUSE_MAX),
            lasts: if blow == Blow::Port { lasts.max(PORT_MIN) } else { lasts },
            heals: if random.random_bool(0.3) {
                Heals::Later
            } else {
                Heals::First
            },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heals {
    /// When it has lasted.
    First,
    /// When the next one has struck too.
    Later,
}

/// What came of a round: a line of the results.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Round {
    /// Decided it.
    pub seed: u64,
    /// What struck, in this order.
    pub blows: Vec<String>,
    /// What became of the promises.
    pub count: Count,
    /// The longest that a program waited for one.
    pub longest_millis: u64,
    /// Why it ended badly, if it did.
    pub failure: Option<String>,
}

/// All rounds of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Played so far.
    pub rounds: u64,
    /// Seeds of those that ended badly.
    pub failed: Vec<u64>,
    /// Of the others.
    pub count: Count,
    /// Of the others: the longest that a program waited for a promise.
    pub longest_millis: u64,
}

impl Nemesis {
    /// What `seed` decides.
    pub fn new(seed: u64) -> Nemesis {
        let mut random = StdRng::seed_from_u64(seed);
        let reach = if random.random_bool(0.5) {
            Reach::ByPorts
        } else {
            Reach::Directly
        };
        let servers = random.random_range(2..=3);
        let (count, mut blows) = (random.random_range(2..=4), &BLOWS[..]);
        if reach == Reach::Directly {
            blows = WITHOUT_PORTS;
        }
        let mut strokes = Vec::new();
        for _ in 0..count {
            let stroke = Stroke::draw(&mut random, blows);
            // Once in a cell: what a living server gave up is not moved a second time for half a minute.
            if stroke.blow == Blow::Port {
                blows = WITHOUT_PORTS;
            }
            strokes.push(stroke);
        }
        Nemesis {
            seed,
            servers,
            reach,
            strokes,
        }
    }

    /// Plays it, in a cell of its own. The caller is isolated.
    pub async fn play(&self) -> Round {
        let mut round = Round {
            seed: self.seed,
            blows: Vec::new(),
            count: Count::default(),
            longest_millis: 0,
            failure: None,
        };
        match self.strikes(&mut round.blows).await {
            Ok(outcome) => {
                round.count = outcome.count;
                round.longest_millis = u64::try_from(outcome.longest.as_millis()).unwrap_or(u64::MAX);
            }
            Err(error) => round.failure = Some(format!("{error:#}")),
        }
        round
    }

    async fn strikes(&self, blows: &mut Vec<String>) -> Result<Outcome> {
        let mut arena = Arena::open(self.servers, self.reach).await?;
        let played = self.strike_all(&mut arena, blows).await;
        if let Err(error) = played {
            let condition = arena.condition().await;
            return Err(error.context(condition));
        }
        arena.finish().await
    }

    async fn strike_all(&self, arena: &mut Arena, blows: &mut Vec<String>) -> Result<()> {
        arena.goes_on().await?;
        let mut open: Vec<Struck> = Vec::new();
        for stroke in &self.strokes {
            tokio::time::sleep(stroke.pause).await;
            let struck = stroke.blow.strike(arena).await?;
            if struck.is_some() {
                blows.push(format!("{:?}", stroke.blow));
            }
            tokio::time::sleep(stroke.lasts).await;
            for before in std::mem::take(&mut open) {
                before.heal(arena)?;
            }
            match (struck, stroke.heals) {
                (Some(struck), Heals::First) => struck.heal(arena)?,
                (Some(struck), Heals::Later) => open.push(struck),
                (None, _) => {}
            }
        }
        for struck in open {
            struck.heal(arena)?;
        }
        arena.is_whole().await?;
        arena.goes_on().await
    }
}

impl Round {
    /// Appends it to `results`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&self, results: &Path) -> Result<()> {
        results::append(results, self)
    }
}

impl Sum {
    /// Of all rounds in `results`; none if there is no such file.
    ///
    /// # Errors
    /// A line that is no round.
    pub fn read(results: &Path) -> Result<Sum> {
        let mut sum = Sum::default();
        results::read(results)?.iter().for_each(|round| sum.add(round));
        Ok(sum)
    }

    /// One more.
    pub fn add(&mut self, round: &Round) {
        self.rounds += 1;
        if round.failure.is_some() {
            self.failed.push(round.seed);
        } else {
            self.count = self.count.and(round.count);
            self.longest_millis = self.longest_millis.max(round.longest_millis);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_decides_the_plan() {
        let plan = |seed| format!("{:?}", Nemesis::new(seed));
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
        for seed in 0..200 {
            let nemesis = Nemesis::new(seed);
            let has_ports = nemesis.reach == Reach::ByPorts;
            assert!(
                has_ports || nemesis.strokes.iter().all(|stroke| stroke.blow != Blow::Port),
                "{nemesis:?}"
            );
        }
    }

    #[test]
    fn results_add_up() {
        let directory = tempfile::tempdir().unwrap();
        let results = directory.path().join("results");
        assert_eq!(Sum::read(&results).unwrap(), Sum::default());
        let round = |seed, failure: Option<&str>| Round {
            seed,
            blows: vec!["Kill".to_owned()],
            count: Count {
                promised: 10,
                found: 10,
                ..Count::default()
            },
            longest_millis: seed,
            failure: failure.map(str::to_owned),
        };
        round(1, None).append(&results).unwrap();
        round(2, None).append(&results).unwrap();
        round(3, Some("a lock was held twice")).append(&results).unwrap();
        let sum = Sum::read(&results).unwrap();
        assert_eq!((sum.rounds, sum.count.found, sum.longest_millis), (3, 20, 2));
        assert_eq!(sum.failed, [3]);
        std::fs::write(&results, "no round\n").unwrap();
        assert!(Sum::read(&results).unwrap_err().to_string().ends_with("line 1"));
    }
}
