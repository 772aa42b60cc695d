//! Copies from snapshots: who takes back what the fileset has no more takes no block, and whatever becomes of any owner,
//! the others keep it. The census and a check of the disk look into every tree at each step.

use baton_types::{Error, FileName};
use proptest::prelude::*;

use super::copies::{FILES, Files};
use super::*;
use crate::aggregate::{Namesake, Reclaimed};
use crate::salvage::tests::world::check_disk;
use crate::salvage::{Fault, Gravity};

/// Files, and what they held in snapshots.
struct Past {
    files: Files,
    snapshots: Vec<(Lsn, Vec<Vec<u8>>)>,
    number: u64,
}

impl Past {
    fn new(seed: u64) -> Past {
        Past {
            files: Files::new(seed),
            snapshots: Vec::new(),
            number: 0,
        }
    }

    fn name(&mut self) -> FileName {
        self.number += 1;
        FileName::parse(format!("s{}", self.number).as_bytes()).unwrap()
    }

    fn take(&mut self) -> Lsn {
        let (name, operation) = (self.name(), Operation::default());
        let taken = self
            .files
            .bed
            .fileset
            .take_snapshot(&operation, &name, Namesake::Refuse);
        let taken = taken.unwrap().answer.unwrap();
        self.snapshots.push((taken, self.files.bytes.clone()));
        taken
    }

    fn forget(&mut self, index: usize) {
        let (id, _) = self.snapshots.remove(index);
        let done = self.files.bed.fileset.delete_snapshot(&Operation::default(), id);
        done.unwrap().answer.unwrap();
    }

    fn back(&mut self, index: usize) {
        let name = self.name();
        let (to, bytes) = self.snapshots[index].clone();
        let done = self.files.bed.fileset.roll_back(&Operation::default(), to, &name);
        let present = done.unwrap().answer.unwrap();
        let before = std::mem::replace(&mut self.files.bytes, bytes);
        self.snapshots.push((present, before));
    }

    fn try_copy(
        &mut self,
        index: usize,
        source: (usize, u64),
        target: (usize, u64),
        len: u64,
    ) -> Result<Object, Error> {
        let (id, bytes) = self.snapshots[index].clone();
        self.files.try_copy_from((Some(id), &bytes), source, target, len)
    }

    fn copy(&mut self, index: usize, source: (usize, u64), target: (usize, u64), len: u64) {
        self.try_copy(index, source, target, len).unwrap();
    }

    /// Steps of giving space back, until there is none.
    fn reclaim(&mut self) {
        loop {
            match self.files.bed.aggregate.reclaim().unwrap() {
                Reclaimed::Nothing => break,
                Reclaimed::Later => self.files.bed.aggregate.checkpoint().unwrap(),
                Reclaimed::Blocks(_) => {}
            }
            self.check();
        }
    }

    fn check(&self) {
        self.files.check();
        for (id, files) in &self.snapshots {
            let past = self.files.bed.fileset.at(*id).unwrap();
            for (file, bytes) in files.iter().enumerate() {
                let read = read(&past, self.files.fid(file), 0, bytes.len() + 1).unwrap();
                assert!(read[..] == bytes[..], "file {file} at {id}");
            }
        }
        self.files.bed.commit();
        let report = check_disk(&self.files.bed.disk);
        // These files have no names.
        let wrong: Vec<String> = report
            .findings
            .iter()
            .filter(|finding| finding.gravity == Gravity::Fault)
            .filter(|finding| {
                matches!(
                    finding.fault,
                    Fault::Block
                        | Fault::Leak
                        | Fault::Segment
                        | Fault::Snapshot
                        | Fault::Log
                        | Fault::Birth
                        | Fault::Data
                )
            })
            .map(ToString::to_string)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    fn blocks(&self) -> u64 {
        self.files.data_blocks()
    }

    /// All goes, and nothing is left.
    fn end(&mut self) {
        while !self.snapshots.is_empty() {
            self.forget(self.number as usize % self.snapshots.len());
            self.reclaim();
        }
        // Of those that went before, too.
        self.reclaim();
        for file in 0..FILES as usize {
            self.files.remove(file);
        }
        // What a branch comes from stays for as long as the branch does.
        if self.files.bed.fileset.began() == Lsn(0) {
            let census = self.files.bed.aggregate.census().unwrap();
            assert_eq!((census.dead, census.data), (0, 0));
            self.files.bed.aggregate.checkpoint().unwrap();
            assert!(!self.files.bed.fileset.engine().space.lock().has_further());
        }
    }
}

#[test]
fn what_was_overwritten_comes_back_without_a_block() {
    let mut past = Past::new(90);
    let len = 150 * BLOCK + 77;
    past.files.write(0, 0, &pattern(1, len as usize));
    past.take();
    past.files.write(0, 0, &pattern(2, len as usize));
    let before = past.blocks();
    past.copy(0, (0, 0), (1, 0), len);
    past.copy(0, (0, 20 * BLOCK), (2, 7 * BLOCK), 60 * BLOCK);
    assert_eq!(past.blocks(), before);
    past.check();
    past.files.reopen();
    past.check();
    past.files.bed.aggregate.checkpoint().unwrap();
    past.files.reopen();
    past.check();
    // Whoever has it last keeps it: the snapshot first.
    past.forget(0);
    past.reclaim();
    assert_eq!(past.blocks(), before);
    past.files.write(1, 3 * BLOCK, &pattern(3, 120 * BLOCK as usize));
    past.check();
    past.files.reopen();
    past.check();
    past.end();
}

#[test]
fn what_a_snapshot_has_alone_is_not_what_was_taken_back() {
    let mut past = Past::new(91);
    past.files.write(0, 0, &pattern(1, 40 * BLOCK as usize));
    let id = past.take();
    past.files.remove(0);
    let unique = |past: &Past| past.files.bed.fileset.unique_blocks(id).unwrap();
    past.files.bed.aggregate.checkpoint().unwrap();
    let alone = unique(&past);
    assert!(alone >= 40, "{alone}");
    past.copy(0, (0, 0), (1, 0), 30 * BLOCK);
    assert_eq!(unique(&past), alone - 30);
    past.files.bed.aggregate.checkpoint().unwrap();
    assert!((10..alone - 29).contains(&unique(&past)), "{}", unique(&past));
    past.files.remove(1);
    past.check();
    assert!(unique(&past) >= 40);
    past.end();
}

#[test]
fn what_is_there_still_is_shared_as_ever() {
    let mut past = Past::new(92);
    past.files.write(0, 0, &pattern(1, 40 * BLOCK as usize));
    past.files.copy((0, 0), (2, 0), 10 * BLOCK);
    past.take();
    past.files.write(0, 20 * BLOCK, &pattern(2, BLOCK as usize));
    past.copy(0, (0, 0), (1, 0), 20 * BLOCK);
    past.copy(0, (2, 0), (3, 0), 10 * BLOCK);
    // What it has already it keeps.
    past.copy(0, (0, 0), (0, 0), 20 * BLOCK);
    assert!(!past.files.bed.fileset.engine().space.lock().has_further());
    past.check();
    past.copy(0, (0, 0), (0, 0), 40 * BLOCK);
    assert!(past.files.bed.fileset.engine().space.lock().has_further());
    past.check();
    past.end();
}

#[test]
fn what_a_branch_took_back_of_its_base_is_its_own() {
    let mut past = Past::new(95);
    past.files.write(0, 0, &pattern(1, 20 * BLOCK as usize));
    past.take();
    past.files.write(0, 0, &pattern(2, 20 * BLOCK as usize));
    past.back(0);
    past.files.write(0, 0, &pattern(3, 20 * BLOCK as usize));
    past.check();
    past.copy(0, (0, 0), (1, 0), 20 * BLOCK);
    past.take();
    past.check();
    past.files.write(1, 0, &pattern(4, 10 * BLOCK as usize));
    past.check();
    past.files.bed.aggregate.checkpoint().unwrap();
    past.files.reopen();
    past.check();
    past.end();
}

#[test]
fn what_was_gone_back_from_comes_back_without_a_block() {
    let mut past = Past::new(96);
    past.files.write(0, 0, &pattern(1, 40 * BLOCK as usize));
    past.take();
    // Half of what the branch that is left has is its own, half its base's, which the fileset then has no more.
    past.files.write(0, 0, &pattern(2, 20 * BLOCK as usize));
    past.back(0);
    past.files.write(0, 30 * BLOCK, &pattern(3, 10 * BLOCK as usize));
    let before = past.blocks();
    past.copy(1, (0, 0), (1, 0), 40 * BLOCK);
    assert_eq!(past.blocks(), before);
    // Five of those that nobody else has are given up for what was there before.
    past.copy(1, (0, 0), (0, 0), 35 * BLOCK);
    assert_eq!(past.blocks(), before - 5);
    past.check();
    past.files.bed.aggregate.checkpoint().unwrap();
    past.files.reopen();
    past.check();
    // What was left goes, and what was taken of it stays.
    past.forget(1);
    past.reclaim();
    past.files.write(0, 0, &pattern(4, 10 * BLOCK as usize));
    past.check();
    past.files.remove(1);
    past.check();
    past.end();
}

#[test]
fn what_was_shared_where_the_fileset_went_back_from_is_refused_unless_it_is_here() {
    let mut past = Past::new(97);
    past.files.write(0, 0, &pattern(1, 20 * BLOCK as usize));
    past.files.copy((0, 10 * BLOCK), (1, 0), 10 * BLOCK);
    past.take();
    // Here these blocks are file 0's own; there two files have them.
    past.files.copy((0, 0), (2, 0), 10 * BLOCK);
    past.back(0);
    let done = past.try_copy(1, (2, 0), (3, 0), 10 * BLOCK);
    assert_eq!(done.map(drop).unwrap_err().kind, Kind::Unsupported);
    past.check();
    past.copy(1, (1, 0), (3, 0), 10 * BLOCK);
    past.files.copy((0, 0), (1, 0), 10 * BLOCK);
    past.copy(1, (2, 0), (2, 0), 10 * BLOCK);
    past.check();
    past.end();
}

#[test]
fn what_cannot_be_taken_back_is_refused() {
    let mut past = Past::new(93);
    past.files.write(0, 0, &pattern(1, 20 * BLOCK as usize));
    past.files.write(1, 0, b"inline");
    past.take();
    past.files.write(0, 0, &pattern(2, 20 * BLOCK as usize));
    past.take();
    let mut refused = |index, source, target, len| {
        let done = past.try_copy(index, source, target, len);
        done.map(drop).map_err(|error| error.kind)
    };
    assert_eq!(refused(0, (0, 1), (2, 1), BLOCK), Err(Kind::Unsupported));
    assert_eq!(refused(0, (1, 0), (2, 0), 6), Err(Kind::Unsupported));
    assert_eq!(refused(0, (0, 0), (2, 0), 21 * BLOCK), Err(Kind::Invalid));
    let (gone, bytes) = past.snapshots[0].clone();
    past.forget(0);
    let (source, target) = (past.files.fid(0), past.files.fid(2));
    let copy = Copy {
        source: (source, 0),
        target: (target, 0),
        len: bytes[0].len() as u64,
        past: Some(gone),
    };
    let done = copy_as(&past.files.bed.fileset, &Operation::default(), copy, &mut |_, _| Ok(()));
    assert_eq!(done.unwrap().answer.unwrap_err().kind, Kind::Stale);
    past.check();
}

#[derive(Clone, Debug)]
enum Act {
    Write(usize, u64, usize),
    Copy(usize, u64, usize, u64, u64),
    Back(usize, usize, u64, usize, u64, u64),
    Truncate(usize, u64),
    Remove(usize),
    Checkpoint,
    Reopen,
    Take,
    Forget(usize),
    Reclaim,
    GoBack(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let file = || 0..FILES as usize;
    let block = || 0..50_u64;
    prop_oneof![
        4 => (file(), 0..50 * BLOCK, 1..30 * BLOCK as usize).prop_map(|(file, at, len)| Act::Write(file, at, len)),
        2 => (file(), block(), file(), block(), 1..50_u64)
            .prop_map(|(source, from, target, to, len)| Act::Copy(source, from, target, to, len)),
        8 => (0..8_usize, file(), block(), file(), block(), 1..50_u64)
            .prop_map(|(past, source, from, target, to, len)| Act::Back(past, source, from, target, to, len)),
        1 => (file(), 0..50 * BLOCK).prop_map(|(file, size)| Act::Truncate(file, size)),
        1 => file().prop_map(Act::Remove),
        1 => Just(Act::Checkpoint),
        1 => Just(Act::Reopen),
        3 => Just(Act::Take),
        1 => (0..8_usize).prop_map(Act::Forget),
        1 => Just(Act::Reclaim),
        2 => (0..8_usize).prop_map(Act::GoBack),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn prop_files_that_take_back_equal_files_that_copy(acts in proptest::collection::vec(act(), 1..40)) {
        let mut past = Past::new(94);
        let mut number = 0_u8;
        for act in acts {
            number = number.wrapping_add(1);
            let count = past.snapshots.len();
            match act {
                Act::Write(file, at, len) => past.files.write(file, at, &pattern(number, len)),
                Act::Copy(source, from, target, to, len) => {
                    let size = past.files.bytes[source].len() as u64;
                    let len = (len * BLOCK).min(size.saturating_sub(from * BLOCK));
                    if let Err(error) = past.files.try_copy((source, from * BLOCK), (target, to * BLOCK), len) {
                        prop_assert!(matches!(error.kind, Kind::Invalid | Kind::Unsupported), "{error}");
                    }
                }
                Act::Back(index, source, from, target, to, len) if count > 0 => {
                    let index = index % count;
                    let size = past.snapshots[index].1[source].len() as u64;
                    let len = (len * BLOCK).min(size.saturating_sub(from * BLOCK));
                    if let Err(error) = past.try_copy(index, (source, from * BLOCK), (target, to * BLOCK), len) {
                        prop_assert!(matches!(error.kind, Kind::Invalid | Kind::Unsupported), "{error}");
                    }
                }
                Act::Truncate(file, size) => past.files.truncate(file, size),
                Act::Remove(file) => past.files.remove(file),
                Act::Checkpoint => past.files.bed.aggregate.checkpoint().unwrap(),
                Act::Reopen => past.files.reopen(),
                Act::Take if count < 8 => drop(past.take()),
                Act::Forget(index) if count > 0 => past.forget(index % count),
                Act::Reclaim => drop(past.files.bed.aggregate.reclaim().unwrap()),
                Act::GoBack(index) if count > 0 && count < 8 => past.back(index % count),
                Act::Back(..) | Act::Take | Act::Forget(_) | Act::GoBack(_) => {}
            }
            past.check();
        }
        past.end();
    }
}
