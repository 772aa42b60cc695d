//! The suite over every store, the lies it must catch, and what only the store on redb can do wrong.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use baton_types::{Kind, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use redb::{Builder, ReadableTable, Table, TableDefinition};
use tempfile::TempDir;

use super::power::Draw;
use super::suite::{self, FaultyHome, Home};
use super::{Batch, Contents, Lie, LogStore, Marks, MemoryDisk, MemoryStore, PowerDisk, RedbStore, Snapshot};

/// Redb over a disk that loses power.
struct PowerHome(PowerDisk);

impl Home for PowerHome {
    type Store = RedbStore;

    fn open(&self) -> Result<RedbStore> {
        RedbStore::open_with(self.0.file("log"), self.0.file("snapshot"))
    }
}

impl FaultyHome for PowerHome {
    fn fail_after(&self, steps: u64, kind: Kind) {
        self.0.fail_after(steps, kind);
    }

    fn power_cut(&self, draw: &mut Draw) {
        self.0.boot(draw);
    }
}

/// Redb in a directory, as the daemon has it.
struct DirectoryHome(TempDir);

impl Home for DirectoryHome {
    type Store = RedbStore;

    fn open(&self) -> Result<RedbStore> {
        RedbStore::open(self.0.path())
    }
}

impl Home for MemoryDisk {
    type Store = MemoryStore;

    fn open(&self) -> Result<MemoryStore> {
        Ok(MemoryDisk::open(self))
    }
}

impl FaultyHome for MemoryDisk {
    fn fail_after(&self, steps: u64, kind: Kind) {
        MemoryDisk::fail_after(self, steps, kind);
    }

    fn power_cut(&self, draw: &mut Draw) {
        self.crash(|unsynced| draw(unsynced as u64 + 1) as usize);
    }
}

fn run_cases<H: Home>(home: impl Fn() -> H) {
    for (name, case) in suite::cases() {
        println!("{name}");
        case(&home());
    }
}

#[test]
fn redb_keeps_the_suite() {
    run_cases(|| PowerHome(PowerDisk::new()));
}

#[test]
fn redb_in_a_directory_keeps_the_suite() {
    run_cases(|| DirectoryHome(TempDir::new().unwrap()));
}

#[test]
fn memory_keeps_the_suite() {
    run_cases(MemoryDisk::new);
}

#[test]
fn failed_write_ends_every_store() {
    for seed in 0..20 {
        suite::failed_write_ends_the_store(&PowerHome(PowerDisk::new()), seed);
        suite::failed_write_ends_the_store(&MemoryDisk::new(), seed);
    }
}

/// Cuts under every seed, and what they did in sum.
fn cut_power<H: FaultyHome>(home: impl Fn() -> H) -> suite::Tally {
    let mut sum = suite::Tally::default();
    for seed in 0..40 {
        let tally = suite::power_cuts(&home(), seed, 12).unwrap_or_else(|violation| panic!("{violation}"));
        sum.cuts += tally.cuts;
        sum.cuts_at_open += tally.cuts_at_open;
        sum.acknowledged += tally.acknowledged;
        sum.survived += tally.survived;
    }
    sum
}

#[test]
fn redb_survives_power_cuts() {
    let sum = cut_power(|| PowerHome(PowerDisk::new()));
    println!("{sum:?}");
    assert!(
        sum.cuts >= 300 && sum.cuts_at_open > 0 && sum.survived > 0,
        "the cuts hit too little: {sum:?}"
    );
}

#[test]
fn memory_survives_power_cuts() {
    let sum = cut_power(MemoryDisk::new);
    println!("{sum:?}");
    assert!(sum.cuts >= 300 && sum.survived > 0, "the cuts hit too little: {sum:?}");
}

/// Every seed must find the lie, most of them by what they read. Some may end in a panic of redb over what such a
/// disk left: nothing wrong was answered then either.
fn assert_caught<H: FaultyHome>(home: impl Fn() -> H) {
    let mut panics = 0;
    for seed in 0..20 {
        match catch_unwind(AssertUnwindSafe(|| suite::power_cuts(&home(), seed, 20))) {
            Ok(seen) => assert!(seen.is_err(), "seed {seed} believed it: {seen:?}"),
            Err(_) => panics += 1,
        }
    }
    assert!(panics <= 5, "{panics} panics");
}

#[test]
fn disk_that_ignores_syncs_is_caught() {
    assert_caught(|| {
        let disk = PowerDisk::new();
        let home = PowerHome(disk.clone());
        // The files are made by an honest disk: what lies is every commit after that.
        drop(home.open().unwrap());
        disk.ignore_syncs();
        home
    });
}

/// Answers before it syncs.
struct HastyHome(MemoryDisk);
struct HastyStore(MemoryStore);

impl Home for HastyHome {
    type Store = HastyStore;

    fn open(&self) -> Result<HastyStore> {
        Ok(HastyStore(MemoryDisk::open(&self.0)))
    }
}

impl FaultyHome for HastyHome {
    fn fail_after(&self, steps: u64, kind: Kind) {
        self.0.fail_after(steps, kind);
    }

    fn power_cut(&self, draw: &mut Draw) {
        self.0.power_cut(draw);
    }
}

impl LogStore for HastyStore {
    fn marks(&self) -> Result<Marks> {
        self.0.marks()
    }

    fn entries(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<(u64, Vec<u8>)>> {
        self.0.entries(range, bytes_max)
    }

    fn commit(&self, batch: &Batch) -> Result<()> {
        self.0.stage(batch)
    }

    fn save_snapshot(&self, snapshot: &Snapshot) -> Result<()> {
        self.0.save_snapshot(snapshot)
    }

    fn load_snapshot(&self) -> Result<Option<Snapshot>> {
        self.0.load_snapshot()
    }
}

#[test]
fn store_that_answers_before_it_syncs_is_caught() {
    assert_caught(|| HastyHome(MemoryDisk::new()));
}

#[test]
fn lost_entry_and_forgotten_vote_are_caught() {
    for lie in [Lie::LosesLastEntry, Lie::ForgetsVote] {
        assert_caught(|| {
            let disk = MemoryDisk::new();
            disk.lie(lie);
            disk
        });
    }
}

fn vote(vote: &str) -> Batch {
    Batch {
        vote: Some(vote.into()),
        ..Batch::default()
    }
}

fn append(indexes: Range<u64>) -> Batch {
    let append = indexes.map(|index| (index, vec![index as u8; 300])).collect();
    Batch {
        append,
        ..Batch::default()
    }
}

#[test]
fn staged_batch_is_seen_and_a_crash_keeps_a_prefix() {
    for kept in 0..=3 {
        let disk = MemoryDisk::new();
        let store = MemoryDisk::open(&disk);
        store.commit(&append(0..1)).unwrap();
        for index in 1..4 {
            store.stage(&append(index..index + 1)).unwrap();
        }
        assert_eq!(store.marks().unwrap().indexes(), 0..4);

        disk.crash(|unsynced| {
            assert_eq!(unsynced, 3);
            kept
        });
        assert_eq!(store.marks().unwrap_err().kind, Kind::Stale, "the process is gone");
        assert_eq!(MemoryDisk::open(&disk).marks().unwrap().indexes(), 0..1 + kept as u64);
    }
}

#[test]
fn vote_does_not_wait_for_a_snapshot() {
    let disk = PowerDisk::new();
    let store = PowerHome(disk.clone()).open().unwrap();
    let snapshot = Snapshot {
        meta: vec![1],
        data: vec![2; 1 << 20],
    };
    disk.hold("snapshot");
    thread::scope(|scope| {
        let saving = scope.spawn(|| store.save_snapshot(&snapshot));
        disk.until_sync_waits();
        let (voted, answer) = mpsc::channel();
        let store = &store;
        scope.spawn(move || voted.send(store.commit(&vote("cast"))));
        // A vote that waits would wait for ever; the limit only turns that into a failure.
        let answer = answer.recv_timeout(Duration::from_secs(60));
        let is_saved = saving.is_finished();
        disk.let_go();
        answer.expect("the vote waits for the snapshot").unwrap();
        assert!(!is_saved, "the snapshot was not held");
        saving.join().unwrap().unwrap();
    });
    assert_eq!(store.load_snapshot().unwrap(), Some(snapshot));
}

#[test]
fn second_open_of_a_directory_is_busy() {
    let home = DirectoryHome(TempDir::new().unwrap());
    let _store = home.open().unwrap();
    let error = home.open().err().unwrap();
    assert_eq!(error.kind, Kind::Busy);
    let path = home.0.path().join("log.redb");
    assert_eq!(
        error.to_string(),
        format!(
            "{}: another process has it open; stop the other flserver of this directory first",
            path.display()
        )
    );
}

#[test]
fn missing_file_is_not_a_new_member() {
    let home = DirectoryHome(TempDir::new().unwrap());
    let file = |name: &str| home.0.path().join(name);
    let store = home.open().unwrap();
    store.commit(&append(0..5)).unwrap();
    drop(store);

    // Nothing was purged: an empty snapshot file is as good as the one that went.
    std::fs::remove_file(file("snapshot.redb")).unwrap();
    let store = home.open().unwrap();
    store
        .commit(&Batch {
            purge_through: Some((3, vec![])),
            ..Batch::default()
        })
        .unwrap();
    drop(store);

    std::fs::rename(file("snapshot.redb"), file("kept")).unwrap();
    let error = home.open().err().unwrap();
    assert_eq!(error.kind, Kind::Damaged);
    assert!(
        error
            .to_string()
            .contains("snapshot.redb: missing, and the log before 3 is in it alone; "),
        "{error}"
    );
    std::fs::rename(file("kept"), file("snapshot.redb")).unwrap();

    std::fs::remove_file(file("log.redb")).unwrap();
    let error = home.open().err().unwrap();
    assert_eq!(error.kind, Kind::Damaged);
    assert!(
        error
            .to_string()
            .contains("log.redb: missing, though there is a snapshot; "),
        "{error}"
    );

    std::fs::write(file("log.redb"), "not a database").unwrap();
    assert_eq!(home.open().err().unwrap().kind, Kind::Damaged);
}

#[test]
fn draft_left_by_a_cut_is_thrown_away() {
    let home = DirectoryHome(TempDir::new().unwrap());
    std::fs::write(home.0.path().join("log.new"), "half a database").unwrap();
    home.open().unwrap().commit(&append(0..1)).unwrap();
    assert_eq!(home.open().unwrap().marks().unwrap().indexes(), 0..1);
    assert!(!home.0.path().join("log.new").exists());
}

#[test]
fn full_disk_is_named() {
    let disk = PowerDisk::new();
    let home = PowerHome(disk.clone());
    let store = home.open().unwrap();
    disk.fail_after(0, Kind::NoSpace);
    let remedy = "make room on its file system, then start flserver again";
    let error = store.commit(&vote("cast")).unwrap_err();
    assert_eq!(error.to_string(), format!("log.redb: no storage space; {remedy}"));
    let error = store.marks().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("log.redb: refused since a write failed: no storage space; {remedy}")
    );
    drop(store);
    assert_eq!(home.open().err().unwrap().kind, Kind::NoSpace, "still full");
    disk.kill();
    home.open().unwrap().commit(&vote("cast")).unwrap();
}

/// A disk with a store on it that was used and then left, and what is in it.
fn used_disk(is_killed: bool) -> (PowerDisk, Contents, Vec<usize>) {
    let disk = PowerDisk::new();
    let store = PowerHome(disk.clone()).open().unwrap();
    for number in 0..30 {
        store
            .commit(&Batch {
                vote: Some(vec![number]),
                ..append(u64::from(number) * 30..u64::from(number) * 30 + 30)
            })
            .unwrap();
    }
    let before = disk.bytes("log");
    store
        .commit(&Batch {
            vote: Some(b"the last".to_vec()),
            ..append(900..910)
        })
        .unwrap();
    let contents = Contents::of(&store).unwrap();
    if is_killed {
        disk.kill();
    }
    drop(store);

    let after = disk.bytes("log");
    let changed = (1..before.len() / PAGE_BYTES).filter(|page| page_of(&before, *page) != page_of(&after, *page));
    let changed = changed.collect();
    (disk, contents, changed)
}

const PAGE_BYTES: usize = 4096;

fn page_of(image: &[u8], page: usize) -> &[u8] {
    &image[page * PAGE_BYTES..][..PAGE_BYTES]
}

/// What opening and reading a damaged image gives.
fn read_damaged(image: Vec<u8>, expected: &Contents) -> &'static str {
    let disk = PowerDisk::new();
    disk.set_bytes("log", image);
    let read = || PowerHome(disk).open().map(|store| Contents::of(&store));
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Err(_)) => "refused",
        Ok(Ok(Err(_))) => "opened",
        Ok(Ok(Ok(contents))) if contents == *expected => "right",
        Ok(Ok(Ok(_))) => "wrong",
        Err(_) => "panic",
    }
}

#[test]
fn flipped_bit_is_never_an_answer() {
    // Bit 0 of byte 9 says which of redb's two last commits counts; nothing proves it.
    const WHICH_COMMIT: usize = 9 * 8;
    let mut rng = StdRng::seed_from_u64(3);
    for is_killed in [false, true] {
        let (disk, expected, changed) = used_disk(is_killed);
        let image = disk.bytes("log");
        assert_eq!(read_damaged(image.clone(), &expected), "right");
        let used: Vec<usize> = (1..image.len() / PAGE_BYTES)
            .filter(|page| page_of(&image, *page).iter().any(|byte| *byte != 0))
            .collect();

        let header = (0..320 * 8).step_by(17).filter(|bit| *bit != WHICH_COMMIT);
        let mut within = |pages: &[usize]| {
            (pages[rng.random_range(0..pages.len())] * PAGE_BYTES) * 8 + rng.random_range(0..PAGE_BYTES * 8)
        };
        let pages = (0..300)
            .map(|n| if n % 2 == 0 { within(&used) } else { within(&changed) })
            .collect::<Vec<_>>();

        let mut tally = BTreeMap::<&str, u32>::new();
        for bit in header.chain(pages) {
            let mut image = image.clone();
            image[bit / 8] ^= 1 << (bit % 8);
            let seen = read_damaged(image, &expected);
            assert!(
                !matches!(seen, "wrong" | "opened"),
                "{seen}: bit {bit}, killed: {is_killed}"
            );
            *tally.entry(seen).or_default() += 1;
        }
        println!("killed: {is_killed}, {tally:?}");
        assert!(tally["refused"] > 200, "too few flips hit anything: {tally:?}");
    }
}

/// Changes rows behind the store's back, by pages that are sound for redb.
fn tamper(disk: &PowerDisk, file: &'static str, table: &str, change: impl FnOnce(&mut Table<'_, u64, &'static [u8]>)) {
    let database = Builder::new().create_with_backend(disk.file(file)).unwrap();
    let write = database.begin_write().unwrap();
    change(&mut write.open_table(TableDefinition::new(table)).unwrap());
    write.commit().unwrap();
}

#[test]
fn entry_that_is_not_the_one_written_is_damaged() {
    let (disk, _, _) = used_disk(false);
    let home = PowerHome(disk.clone());
    tamper(&disk, "log", "entries", |entries| {
        let other = entries.get(41).unwrap().unwrap().value().to_vec();
        entries.insert(40, other.as_slice()).unwrap();
    });
    let store = home.open().unwrap();
    assert_eq!(store.entries(0..40, usize::MAX).unwrap().len(), 40);
    let error = store.entries(0..50, usize::MAX).unwrap_err();
    assert_eq!(error.kind, Kind::Damaged);
    assert!(
        error
            .to_string()
            .starts_with("log.redb: entry 40 does not match its checksum; set the directory"),
        "{error}"
    );
    store.commit(&vote("still possible")).unwrap();
    drop(store);

    tamper(&disk, "log", "entries", |entries| drop(entries.remove(40).unwrap()));
    let error = home.open().err().unwrap();
    assert!(
        error
            .to_string()
            .starts_with("log.redb: the log is not the entries 0..910; "),
        "{error}"
    );
    // As many as there should be, and still not those.
    tamper(&disk, "log", "entries", |entries| {
        drop(entries.insert(2_000, &b"?"[..]).unwrap());
    });
    assert_eq!(home.open().err().unwrap().kind, Kind::Damaged);
}

#[test]
fn snapshot_that_is_not_the_one_saved_is_damaged() {
    let disk = PowerDisk::new();
    let home = PowerHome(disk.clone());
    let saved = Snapshot {
        meta: vec![1],
        data: vec![2; 200_000],
    };
    home.open().unwrap().save_snapshot(&saved).unwrap();

    let assert_damaged = || {
        let error = home.open().unwrap().load_snapshot().unwrap_err();
        assert_eq!(error.kind, Kind::Damaged);
        assert!(
            error
                .to_string()
                .starts_with("snapshot.redb: the snapshot does not match its checksum; "),
            "{error}"
        );
    };
    tamper(&disk, "snapshot", "chunks", |chunks| {
        let mut chunk = chunks.get(1).unwrap().unwrap().value().to_vec();
        chunk[40] += 1;
        chunks.insert(1, chunk.as_slice()).unwrap();
    });
    assert_damaged();
    tamper(&disk, "snapshot", "chunks", |chunks| drop(chunks.remove(1).unwrap()));
    assert_damaged();
}
