//! Random work, and the power cut in the middle of it: what was acknowledged must be there, and nothing by half.

use baton_types::{Kind, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{FaultyHome, snapshot};
use crate::store::{Batch, Contents, LogStore, Snapshot};

/// The power goes before so many changes of the device: a dozen commits of redb.
const CHANGES_MAX: u64 = 300;

/// What [`power_cuts`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often the power was cut.
    pub cuts: u64,
    /// How many of those hit the store while it was being opened.
    pub cuts_at_open: u64,
    /// Batches and snapshots that the store had acknowledged, all found again.
    pub acknowledged: u64,
    /// Those under way at a cut that were there afterwards, whole.
    pub survived: u64,
}

/// Random batches and snapshots and `cuts` cuts of the power among them. After each, what was acknowledged is
/// there, what was under way is there whole or not at all, and nothing else is.
///
/// # Errors
/// What was found instead, with the seed.
pub fn power_cuts<H: FaultyHome>(home: &H, seed: u64, cuts: u64) -> Result<Tally, String> {
    Cutter {
        home,
        rng: StdRng::seed_from_u64(seed),
        held: Held::default(),
        under_way: None,
        tally: Tally::default(),
    }
    .run(cuts)
    .map_err(|violation| format!("seed {seed}: {violation}"))
}

/// What a store has, as a value.
#[derive(Clone, Default, PartialEq, Eq)]
struct Held {
    contents: Contents,
    snapshot: Option<Snapshot>,
}

/// One thing that is asked of a store.
enum Step {
    Commit(Batch),
    Save(Snapshot),
}

impl Held {
    fn of(store: &impl LogStore) -> Result<Held> {
        Ok(Held {
            contents: Contents::of(store)?,
            snapshot: store.load_snapshot()?,
        })
    }

    fn after(&self, step: &Step) -> Held {
        let mut held = self.clone();
        match step {
            Step::Commit(batch) => held.contents.apply(batch).expect("only sound batches are drawn"),
            Step::Save(snapshot) => held.snapshot = Some(snapshot.clone()),
        }
        held
    }

    fn outline(&self) -> String {
        let marks = &self.contents.marks;
        let text = |bytes: &Option<Vec<u8>>| {
            bytes
                .as_deref()
                .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let (vote, committed) = (text(&marks.vote), text(&marks.committed));
        let snapshot = self.snapshot.as_ref().map(|snapshot| snapshot.data.len());
        format!(
            "entries {:?}, vote {vote:?}, committed {committed:?}, snapshot bytes {snapshot:?}",
            marks.indexes()
        )
    }
}

struct Cutter<'a, H> {
    home: &'a H,
    rng: StdRng,
    /// What was acknowledged.
    held: Held,
    /// What was asked for when the power went.
    under_way: Option<Step>,
    tally: Tally,
}

impl<H: FaultyHome> Cutter<'_, H> {
    fn run(mut self, cuts: u64) -> Result<Tally, String> {
        let mut store = Some(
            self.home
                .open()
                .map_err(|error| format!("a new store does not open: {error}"))?,
        );
        while self.tally.cuts < cuts {
            if let Some(store) = store.take() {
                self.work(&store)?;
            }
            self.cut();
            // Now and then the power goes again while the store repairs itself.
            if self.rng.random_range(0..4) == 0 {
                self.home.fail_after(self.rng.random_range(0..8), Kind::Io);
                if self.home.open().is_err() {
                    self.tally.cuts_at_open += 1;
                }
                self.cut();
            }
            let reopened = self
                .home
                .open()
                .map_err(|error| format!("{}: does not open: {error}", self.place()))?;
            self.verify(&reopened)?;
            store = Some(reopened);
        }
        Ok(self.tally)
    }

    /// Asks one thing after the other until the power goes, which is between two of them if nothing failed by then.
    fn work(&mut self, store: &H::Store) -> Result<(), String> {
        self.home.fail_after(self.rng.random_range(1..CHANGES_MAX), Kind::Io);
        for _ in 0..CHANGES_MAX {
            let step = self.step();
            let done = match &step {
                Step::Commit(batch) => store.commit(batch),
                Step::Save(snapshot) => store.save_snapshot(snapshot),
            };
            match done {
                Ok(()) => {
                    self.held = self.held.after(&step);
                    self.tally.acknowledged += 1;
                }
                Err(error) if error.kind == Kind::Io => {
                    self.under_way = Some(step);
                    return Ok(());
                }
                Err(error) => return Err(format!("{}: refuses what is sound: {error}", self.place())),
            }
        }
        Ok(())
    }

    fn cut(&mut self) {
        self.home.power_cut(&mut |below| self.rng.random_range(0..below));
        self.tally.cuts += 1;
    }

    fn verify(&mut self, store: &H::Store) -> Result<(), String> {
        let found = Held::of(store).map_err(|error| format!("{}: does not read: {error}", self.place()))?;
        if let Some(step) = self.under_way.take() {
            let whole = self.held.after(&step);
            if found == whole {
                self.tally.survived += u64::from(whole != self.held);
                self.held = whole;
                return Ok(());
            }
        }
        if found == self.held {
            return Ok(());
        }
        Err(format!(
            "{}: acknowledged were {}; there are {}",
            self.place(),
            self.held.outline(),
            found.outline()
        ))
    }

    fn place(&self) -> String {
        format!("after cut {}", self.tally.cuts)
    }

    /// Something sound to ask for, as Raft would.
    fn step(&mut self) -> Step {
        let (indexes, rng) = (self.held.contents.marks.indexes(), &mut self.rng);
        let number = self.tally.acknowledged;
        if rng.random_range(0..20) == 0 {
            let size = rng.random_range(0..200_000);
            return Step::Save(snapshot(size, number as u8));
        }
        let mut batch = Batch::default();
        let mut next = indexes.end;
        if rng.random_range(0..8) == 0 {
            next = rng.random_range(indexes.start..=indexes.end);
            batch.truncate_from = Some(next);
        }
        for _ in 0..rng.random_range(0..12) {
            let size = if rng.random_range(0..20) == 0 { 20_000 } else { 400 };
            batch.append.push((next, vec![number as u8; rng.random_range(0..size)]));
            next += 1;
        }
        if rng.random_range(0..10) == 0 && next > indexes.start {
            // Mostly the older part; now and then everything and more, as a snapshot from elsewhere does.
            let beyond = if rng.random_range(0..4) == 0 { next + 10 } else { next };
            let through = rng.random_range(indexes.start..beyond);
            batch.purge_through = Some((through, format!("purged {through} at {number}").into_bytes()));
        }
        if rng.random_range(0..3) == 0 || batch == Batch::default() {
            batch.vote = Some(format!("vote {number}").into_bytes());
        }
        if rng.random_range(0..3) == 0 {
            batch.committed = Some(format!("committed {number}").into_bytes());
        }
        Step::Commit(batch)
    }
}
