//! What every [`LogStore`] must keep, as functions to run against it.
//!
//! [`cases`] need nothing but a store that can be opened again. [`failed_write_ends_the_store`] and [`power_cuts`]
//! need a device that can be made to fail. `power_cuts` returns what it saw instead of panicking, so that it can
//! be shown to see: a store that lies must not pass.

#![expect(clippy::unwrap_used, reason = "a suite is a test, wherever it is compiled")]

use std::fmt::Debug;
use std::ops::Range;
use std::thread;

use baton_types::{Kind, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::memory::Contents;
use super::power::Draw;
use super::{Batch, LogStore, Snapshot};

mod power_cut;

pub use power_cut::{Tally, power_cuts};

/// Where a store lives: it can be opened again and again and has kept what was durable.
pub trait Home {
    /// The store under test.
    type Store: LogStore;

    /// Opens the store; the one opened before is dropped.
    ///
    /// # Errors
    /// Those of the store.
    fn open(&self) -> Result<Self::Store>;
}

/// A home whose device can fail.
pub trait FaultyHome: Home {
    /// Lets `steps` more changes of the device succeed and fails what follows with `kind`.
    fn fail_after(&self, steps: u64, kind: Kind);

    /// The power was cut and comes back: of what was not synced, `draw` says what is there.
    fn power_cut(&self, draw: &mut Draw);
}

/// A case and its name.
pub type Case<H> = (&'static str, fn(&H));

/// Every case that any home can run.
pub fn cases<H: Home>() -> Vec<Case<H>> {
    vec![
        ("new_store_is_empty", new_store_is_empty),
        ("entries_come_back_in_order", entries_come_back_in_order),
        ("entries_keep_to_range_and_bytes", entries_keep_to_range_and_bytes),
        ("truncation_forgets_the_tail", truncation_forgets_the_tail),
        ("purge_forgets_the_head", purge_forgets_the_head),
        ("purge_beyond_the_end_moves_the_log", purge_beyond_the_end_moves_the_log),
        ("batch_is_done_in_order", batch_is_done_in_order),
        ("hole_is_refused_whole", hole_is_refused_whole),
        ("undone_purge_is_refused", undone_purge_is_refused),
        ("vote_and_committed_survive", vote_and_committed_survive),
        ("snapshot_is_replaced", snapshot_is_replaced),
        (
            "readers_and_snapshots_run_beside_commits",
            readers_and_snapshots_run_beside_commits,
        ),
    ]
}

fn entry(index: u64) -> (u64, Vec<u8>) {
    (index, format!("entry {index}").into_bytes())
}

fn entries(indexes: Range<u64>) -> Vec<(u64, Vec<u8>)> {
    indexes.map(entry).collect()
}

fn append(indexes: Range<u64>) -> Batch {
    Batch {
        append: entries(indexes),
        ..Batch::default()
    }
}

fn truncate(from: u64) -> Batch {
    Batch {
        truncate_from: Some(from),
        ..Batch::default()
    }
}

fn purge(through: u64) -> Batch {
    Batch {
        purge_through: Some((through, format!("purged {through}").into_bytes())),
        ..Batch::default()
    }
}

/// The indexes and entries of the store, which must agree.
#[track_caller]
fn assert_holds(store: &impl LogStore, indexes: Range<u64>) {
    let marks = store.marks().unwrap();
    assert_eq!(marks.indexes(), indexes);
    assert_eq!(
        (marks.first(), marks.last()),
        (indexes.clone().next(), indexes.clone().next_back())
    );
    assert_eq!(store.entries(0..u64::MAX, usize::MAX).unwrap(), entries(indexes));
}

#[track_caller]
fn assert_refused<T: Debug>(result: Result<T>, kind: Kind) {
    let error = result.expect_err("this is refused");
    assert_eq!(error.kind, kind, "{error}");
}

fn new_store_is_empty<H: Home>(home: &H) {
    for _ in 0..2 {
        let store = home.open().unwrap();
        assert_eq!(Contents::of(&store).unwrap(), Contents::default());
        assert_eq!(store.load_snapshot().unwrap(), None);
    }
    let store = home.open().unwrap();
    store.commit(&Batch::default()).unwrap();
    assert_eq!(Contents::of(&store).unwrap(), Contents::default());
}

fn entries_come_back_in_order<H: Home>(home: &H) {
    let store = home.open().unwrap();
    store.commit(&append(0..3)).unwrap();
    store.commit(&append(3..300)).unwrap();
    assert_holds(&store, 0..300);
    drop(store);

    let store = home.open().unwrap();
    assert_holds(&store, 0..300);
    store.commit(&append(300..301)).unwrap();
    assert_holds(&store, 0..301);

    let odd = vec![(301, Vec::new()), (302, vec![0; 1 << 20])];
    store
        .commit(&Batch {
            append: odd.clone(),
            ..Batch::default()
        })
        .unwrap();
    assert_eq!(store.entries(301..303, usize::MAX).unwrap(), odd);
}

fn entries_keep_to_range_and_bytes<H: Home>(home: &H) {
    let store = home.open().unwrap();
    let ten_bytes = |index| (index, vec![index as u8; 10]);
    store
        .commit(&Batch {
            append: (0..20).map(ten_bytes).collect(),
            ..Batch::default()
        })
        .unwrap();
    store.commit(&purge(4)).unwrap();

    let indexes = |range, bytes_max| -> Vec<u64> {
        store
            .entries(range, bytes_max)
            .unwrap()
            .iter()
            .map(|(index, _)| *index)
            .collect()
    };
    assert_eq!(indexes(7..10, usize::MAX), [7, 8, 9]);
    assert_eq!(indexes(0..7, usize::MAX), [5, 6], "what was purged is not there");
    assert_eq!(indexes(18..u64::MAX, usize::MAX), [18, 19]);
    assert!(indexes(20..30, usize::MAX).is_empty());
    assert!(indexes(0..5, usize::MAX).is_empty());
    assert!(indexes(9..9, usize::MAX).is_empty());
    #[expect(clippy::reversed_empty_ranges, reason = "a caller's mistake must not be a panic")]
    let reversed = 10..8;
    assert!(indexes(reversed, usize::MAX).is_empty());

    assert_eq!(indexes(5..20, 0), [5], "one at least");
    assert_eq!(indexes(5..20, 29), [5, 6]);
    assert_eq!(indexes(5..20, 30), [5, 6, 7]);
    assert!(indexes(9..9, 0).is_empty());
}

fn truncation_forgets_the_tail<H: Home>(home: &H) {
    let store = home.open().unwrap();
    store.commit(&append(0..10)).unwrap();
    store.commit(&truncate(10)).unwrap();
    store.commit(&truncate(99)).unwrap();
    assert_holds(&store, 0..10);
    store.commit(&truncate(7)).unwrap();
    assert_holds(&store, 0..7);

    let other = Batch {
        append: vec![(7, b"another".to_vec())],
        ..Batch::default()
    };
    store.commit(&other).unwrap();
    assert_eq!(store.entries(7..9, usize::MAX).unwrap(), other.append);
    store.commit(&truncate(7)).unwrap();
    drop(store);

    let store = home.open().unwrap();
    assert_holds(&store, 0..7);
    store.commit(&truncate(0)).unwrap();
    assert_holds(&store, 0..0);
    store.commit(&append(0..2)).unwrap();
    assert_holds(&store, 0..2);
}

fn purge_forgets_the_head<H: Home>(home: &H) {
    let store = home.open().unwrap();
    store.commit(&append(0..10)).unwrap();
    store.commit(&purge(3)).unwrap();
    assert_holds(&store, 4..10);
    store.commit(&purge(3)).unwrap();
    assert_holds(&store, 4..10);
    store.commit(&truncate(4)).unwrap();
    assert_holds(&store, 4..4);
    store.commit(&append(4..6)).unwrap();
    drop(store);

    let store = home.open().unwrap();
    assert_holds(&store, 4..6);
    assert_eq!(store.marks().unwrap().purged, Some((3, b"purged 3".to_vec())));
    store.commit(&purge(5)).unwrap();
    assert_holds(&store, 6..6);
    drop(store);

    let store = home.open().unwrap();
    assert_holds(&store, 6..6);
    store.commit(&append(6..7)).unwrap();
    assert_holds(&store, 6..7);
}

fn purge_beyond_the_end_moves_the_log<H: Home>(home: &H) {
    let store = home.open().unwrap();
    store.commit(&purge(41)).unwrap();
    assert_holds(&store, 42..42);
    store.commit(&append(42..44)).unwrap();
    store.commit(&purge(99)).unwrap();
    drop(store);

    let store = home.open().unwrap();
    assert_holds(&store, 100..100);
    store.commit(&append(100..102)).unwrap();
    assert_holds(&store, 100..102);
}

fn batch_is_done_in_order<H: Home>(home: &H) {
    let store = home.open().unwrap();
    store.commit(&append(0..10)).unwrap();
    let batch = Batch {
        truncate_from: Some(6),
        append: entries(6..12),
        purge_through: Some((7, b"seven".to_vec())),
        vote: Some(b"vote".to_vec()),
        committed: Some(b"committed".to_vec()),
    };
    let mut expected = Contents::of(&store).unwrap();
    expected.apply(&batch).unwrap();
    store.commit(&batch).unwrap();
    assert_holds(&store, 8..12);
    assert_eq!(Contents::of(&store).unwrap(), expected);
}

fn hole_is_refused_whole<H: Home>(home: &H) {
    let store = home.open().unwrap();
    assert_refused(store.commit(&append(1..2)), Kind::Invalid);
    store.commit(&append(0..5)).unwrap();
    store
        .commit(&Batch {
            vote: Some(b"old".to_vec()),
            ..Batch::default()
        })
        .unwrap();
    let before = Contents::of(&store).unwrap();

    let refused = |append: Vec<u64>| {
        let append = append.into_iter().map(entry).collect();
        let vote = Some(b"new".to_vec());
        assert_refused(
            store.commit(&Batch {
                append,
                vote,
                ..Batch::default()
            }),
            Kind::Invalid,
        );
        assert_eq!(Contents::of(&store).unwrap(), before);
    };
    refused(vec![6]);
    refused(vec![4]);
    refused(vec![5, 7]);
    refused(vec![5, 5]);
    refused(vec![6, 5]);
    refused(vec![5, 6, 7, 0]);
    assert_refused(
        store.commit(&Batch {
            truncate_from: Some(3),
            ..append(4..5)
        }),
        Kind::Invalid,
    );
    assert_refused(store.commit(&purge(u64::MAX)), Kind::Invalid);
    assert_eq!(Contents::of(&store).unwrap(), before);

    store.commit(&append(5..6)).unwrap();
    store.commit(&purge(9)).unwrap();
    assert_refused(store.commit(&append(6..7)), Kind::Invalid);
    assert_refused(store.commit(&append(11..12)), Kind::Invalid);
    store.commit(&purge(u64::MAX - 1)).unwrap();
    assert_refused(
        store.commit(&Batch {
            append: vec![entry(u64::MAX)],
            ..Batch::default()
        }),
        Kind::Invalid,
    );
}

fn undone_purge_is_refused<H: Home>(home: &H) {
    let store = home.open().unwrap();
    store.commit(&append(0..10)).unwrap();
    store.commit(&purge(5)).unwrap();
    let before = Contents::of(&store).unwrap();
    assert_refused(store.commit(&purge(4)), Kind::Invalid);
    assert_refused(store.commit(&truncate(5)), Kind::Invalid);
    assert_eq!(Contents::of(&store).unwrap(), before);
}

fn vote_and_committed_survive<H: Home>(home: &H) {
    let store = home.open().unwrap();
    let vote = |vote: &str| Batch {
        vote: Some(vote.into()),
        ..Batch::default()
    };
    store.commit(&vote("first")).unwrap();
    store
        .commit(&Batch {
            committed: Some(b"three".to_vec()),
            ..Batch::default()
        })
        .unwrap();
    store.commit(&vote("second")).unwrap();
    drop(store);

    let marks = home.open().unwrap().marks().unwrap();
    assert_eq!(marks.vote.as_deref(), Some(&b"second"[..]));
    assert_eq!(marks.committed.as_deref(), Some(&b"three"[..]));
}

/// A snapshot that differs from others of other numbers in every byte.
fn snapshot(size: usize, number: u8) -> Snapshot {
    let data = (0..size).map(|at| number ^ (at / 7) as u8).collect();
    Snapshot {
        meta: vec![number; 40],
        data,
    }
}

fn snapshot_is_replaced<H: Home>(home: &H) {
    let store = home.open().unwrap();
    for (number, size) in [(1, 1_000), (2, 3 << 20), (3, 65_536), (4, 0), (5, 200_000)] {
        let expected = snapshot(size, number);
        store.save_snapshot(&expected).unwrap();
        assert!(
            store.load_snapshot().unwrap() == Some(expected),
            "snapshot {number} came back different"
        );
    }
    drop(store);
    assert!(home.open().unwrap().load_snapshot().unwrap() == Some(snapshot(200_000, 5)));
}

/// One writes the log, one the snapshot, one reads both: every read is of one moment.
fn readers_and_snapshots_run_beside_commits<H: Home>(home: &H) {
    const COMMITS: u64 = 60;
    let store = home.open().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..COMMITS {
                let from = number * 4;
                store.commit(&append(from..from + 4)).unwrap();
                if number % 10 == 9 {
                    store.commit(&purge(from - 8)).unwrap();
                }
            }
        });
        scope.spawn(|| {
            for number in 1..=8 {
                store.save_snapshot(&snapshot(600_000, number)).unwrap();
            }
        });
        scope.spawn(|| {
            let mut end = 0;
            while end < COMMITS * 4 {
                let found = store.entries(0..u64::MAX, usize::MAX).unwrap();
                let first = found.first().map_or(0, |(index, _)| *index);
                assert_eq!(found, entries(first..first + found.len() as u64));
                let reached = first + found.len() as u64;
                assert!(reached >= end, "the log went back from {end} to {reached}");
                end = reached;
                if let Some(found) = store.load_snapshot().unwrap() {
                    assert!(found == snapshot(600_000, found.meta[0]), "a snapshot of two halves");
                }
            }
        });
    });
    assert!(store.load_snapshot().unwrap() == Some(snapshot(600_000, 8)));
}

/// After a failed write everything is refused, by the same kind, until the store is opened again; the batch is
/// then there whole or not at all.
///
/// # Panics
/// If the store goes on.
pub fn failed_write_ends_the_store<H: FaultyHome>(home: &H, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    for kind in [Kind::NoSpace, Kind::Io] {
        let store = home.open().unwrap();
        let start = store.marks().unwrap().next_index;
        store.commit(&append(start..start + 5)).unwrap();
        home.fail_after(0, kind);
        assert_refused(store.commit(&append(start + 5..start + 9)), kind);
        assert_refused(store.commit(&append(start + 5..start + 6)), kind);
        assert_refused(store.save_snapshot(&Snapshot::default()), kind);
        assert_refused(store.marks(), kind);
        assert_refused(store.entries(0..1, 0), kind);
        assert_refused(store.load_snapshot(), kind);
        drop(store);

        home.power_cut(&mut |below| rng.random_range(0..below));
        let store = home.open().unwrap();
        let next = store.marks().unwrap().next_index;
        assert!(next == start + 5 || next == start + 9, "half a batch: {start} {next}");
        assert_holds(&store, 0..next);
    }
}
