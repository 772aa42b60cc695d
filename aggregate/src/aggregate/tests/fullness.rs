//! Full, and empty again: in whatever order things go, all space returns.

use baton_types::{FilesetId, Kind, Result, Timestamp};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::branches::{hide, try_back, try_clone};
use super::rig::Rig;
use super::snapshots::{delete, reclaim, try_take};
use crate::aggregate::Fileset;
use crate::fileset::catalog;
use crate::format::Lsn;

/// Rounds of a test; `BATON_ROUNDS` says otherwise.
const ROUNDS: u64 = 25;
/// Blocks that the trees of an empty aggregate take, and their lists, more or fewer.
const SLACK: u64 = 40;

/// What can be deleted by itself.
#[derive(Debug)]
enum Thing {
    File(u64),
    Snapshot(Lsn),
    Clone(u64),
}

/// What was done, if there was room for it.
fn room<T>(done: Result<T>) -> Option<T> {
    match done {
        Ok(done) => Some(done),
        Err(error) => {
            assert_eq!(error.kind, Kind::NoSpace, "{error}");
            None
        }
    }
}

/// Fills a fileset, more or less, with things that share.
fn fill(rig: &Rig, fileset: &Fileset, rng: &mut StdRng, next: &mut u64) -> Vec<Thing> {
    let (mut things, mut files) = (Vec::new(), 0);
    let most = if rng.random() {
        u64::MAX
    } else {
        rng.random_range(1..200)
    };
    while files < most {
        let number = match rng.random_range(0..4) {
            0 if files > 0 => rng.random_range(0..files),
            _ => files,
        };
        if room(rig.try_write_data(fileset, number, rng.random_range(1..=8), number as u8)).is_none() {
            break;
        }
        files = files.max(number + 1);
        match rng.random_range(0..120) {
            0 => things.extend(room(try_take(fileset, &format!("s{next}"))).map(Thing::Snapshot)),
            1 => rig.checkpoint(),
            2 => drop(rig.aggregate.reclaim().unwrap()),
            3 => {
                if let Some(Thing::Snapshot(at)) = things.last() {
                    let made = room(try_clone(fileset, *at, *next));
                    things.extend(made.map(|_| Thing::Clone(*next)));
                }
            }
            4 => {
                if let Some(Thing::Snapshot(at)) = things.last() {
                    let present = room(try_back(fileset, *at, &format!("p{next}")));
                    things.extend(present.map(Thing::Snapshot));
                }
            }
            _ => continue,
        }
        *next += 1;
    }
    things.extend((0..files).map(Thing::File));
    things
}

/// Everything goes, in one order of many.
fn empty(rig: &mut Rig, mut things: Vec<Thing>, rng: &mut StdRng) {
    match rng.random_range(0..4) {
        0 => things.reverse(),
        1 => {}
        _ => things.shuffle(rng),
    }
    let mut fileset = rig.aggregate.fileset(FilesetId(7)).unwrap();
    // What a fileset went back to it keeps, in part, for as long as it is there.
    let went_back = fileset.cell.state.lock().snapshots.line.bases().next().is_some();
    let is_whole = went_back || rng.random_range(0..5) == 0;
    let half = things.len() / 2;
    for (index, thing) in things.into_iter().enumerate() {
        if is_whole && index == half {
            break;
        }
        match thing {
            Thing::File(number) => rig.delete_data(&fileset, number),
            Thing::Snapshot(at) => delete(&fileset, at),
            Thing::Clone(id) => hide(rig, id),
        }
        match rng.random_range(0..60) {
            0 => rig.checkpoint(),
            1 => drop(rig.aggregate.reclaim().unwrap()),
            2 => {
                // Of one who only stopped it would have to stay in quarantine.
                rig.aggregate.detach(Timestamp(9)).unwrap();
                fileset = rig.next_owner(7);
            }
            _ => {}
        }
    }
    if is_whole {
        let listed = rig.aggregate.read_system(|view| catalog::list(view, 0, usize::MAX));
        for entry in listed.unwrap().entries {
            hide(rig, entry.fileset.0);
        }
    }
}

#[test]
fn all_space_returns_whatever_goes_first() {
    let rounds = std::env::var("BATON_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    for seed in 0..rounds {
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut rig, mut next) = (Rig::with_segments(160, seed), 100);
        rig.make_fileset(7);
        reclaim(&rig);
        let before = rig.census();
        // The same aggregate more than once: what does not return adds up.
        for _ in 0..4 {
            let fileset = match rig.aggregate.fileset(FilesetId(7)) {
                Ok(fileset) => fileset,
                Err(_) => rig.make_fileset(7),
            };
            let things = fill(&rig, &fileset, &mut rng, &mut next);
            empty(&mut rig, things, &mut rng);
            reclaim(&rig);
            (0..3).for_each(|_| rig.checkpoint());
            let after = rig.census();
            assert_eq!((after.data, after.dead), (0, 0), "seed {seed}: {after:?}");
            assert!(
                after.free + SLACK >= before.free,
                "seed {seed}: {before:?} and {after:?}"
            );
        }
    }
}
