//! A campaign in pieces: each goes on where the one before ended, and all add up.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::runner::Outcome;
use crate::results;

/// The histories of one run: a line of the results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Which simulation.
    pub simulation: String,
    /// The first seed.
    pub first: u64,
    /// Histories of it and the seeds after it.
    pub histories: u64,
    /// What happened in them.
    pub points: u64,
    /// Seeds of histories that broke something.
    pub broken: Vec<u64>,
}

/// What all pieces of a simulation come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// The first seed that no piece has.
    pub next: u64,
    /// Histories.
    pub histories: u64,
    /// What happened in them.
    pub points: u64,
    /// Seeds of histories that broke something.
    pub broken: Vec<u64>,
}

impl Piece {
    /// What came of the histories from `first` on.
    #[must_use]
    pub fn new(simulation: &str, first: u64, outcome: &Outcome) -> Piece {
        Piece {
            simulation: simulation.to_owned(),
            first,
            histories: outcome.histories,
            points: outcome.points,
            broken: outcome.violations.iter().map(|violation| violation.seed).collect(),
        }
    }
}

impl Sum {
    /// Of all pieces in `results`; nothing if there is no such file.
    ///
    /// # Errors
    /// A line that is no piece.
    pub fn read(results: &Path, simulation: &str) -> Result<Sum> {
        let mut sum = Sum::default();
        let pieces = results::read::<Piece>(results)?.into_iter();
        pieces
            .filter(|piece| piece.simulation == simulation)
            .for_each(|piece| sum.add(piece));
        Ok(sum)
    }

    /// One more.
    pub fn add(&mut self, piece: Piece) {
        self.next = self.next.max(piece.first + piece.histories);
        self.histories += piece.histories;
        self.points += piece.points;
        self.broken.extend(piece.broken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_simulation_add_up() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("results");
        assert_eq!(Sum::read(&file, "store").unwrap(), Sum::default());
        let piece = |simulation: &str, first, broken| Piece {
            simulation: simulation.to_owned(),
            first,
            histories: 100,
            points: 14_000,
            broken,
        };
        results::append(&file, &piece("store", 0, vec![])).unwrap();
        results::append(&file, &piece("session", 0, vec![9])).unwrap();
        results::append(&file, &piece("store", 100, vec![177])).unwrap();
        let sum = Sum::read(&file, "store").unwrap();
        assert_eq!((sum.next, sum.histories, sum.points), (200, 200, 28_000));
        assert_eq!(sum.broken, [177]);
    }
}
