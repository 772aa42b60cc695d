//! Copies that share blocks: they are the same bytes, and stay so whatever becomes of the other.

use baton_types::{Error, FileName};
use proptest::prelude::*;

use super::*;
use crate::aggregate::{Namesake, Reclaimed};
use crate::fileset::remove_step;
use crate::format::Orphan;

/// Files of one fileset, and what they are to hold.
pub struct Files {
    pub bed: Bed,
    pub bytes: Vec<Vec<u8>>,
}

pub const FILES: u64 = 4;

impl Files {
    pub fn new(seed: u64) -> Files {
        let bed = Bed::new(seed);
        for number in 1..FILES {
            bed.make(Vnode::new(5 + number).unwrap(), FileKind::Regular);
        }
        Files {
            bed,
            bytes: vec![Vec::new(); FILES as usize],
        }
    }

    pub fn fid(&self, file: usize) -> Fid {
        Fid {
            vnode: Vnode::new(5 + file as u64).unwrap(),
            ..self.bed.fid
        }
    }

    pub fn write(&mut self, file: usize, offset: u64, bytes: &[u8]) {
        answer(write(
            &self.bed.fileset,
            &Operation::default(),
            self.fid(file),
            offset,
            bytes,
        ));
        let end = offset as usize + bytes.len();
        let own = &mut self.bytes[file];
        own.resize(own.len().max(end), 0);
        own[offset as usize..end].copy_from_slice(bytes);
    }

    pub fn truncate(&mut self, file: usize, size: u64) {
        answer(truncate(&self.bed.fileset, &Operation::default(), self.fid(file), size));
        self.bytes[file].resize(size as usize, 0);
    }

    pub fn punch(&mut self, file: usize, range: std::ops::Range<u64>) {
        let (operation, how) = (Operation::default(), Allocate::PunchHole);
        let done = fallocate(
            &self.bed.fileset,
            &operation,
            (self.fid(file), range.clone()),
            how,
            &mut as_it_is,
        );
        answer(done);
        let len = self.bytes[file].len();
        self.bytes[file][len.min(range.start as usize)..len.min(range.end as usize)].fill(0);
    }

    pub fn remove(&mut self, file: usize) {
        let fid = self.fid(file);
        let gone = self
            .bed
            .fileset
            .operate(&Operation::default(), Need::UPKEEP, |transaction, _| {
                let attributes = load(transaction, fid)?;
                transaction.put(Key::orphan(fid.vnode), Orphan::Held.encode());
                while remove_step(transaction, fid.vnode)? == crate::fileset::Progress::More {}
                Ok(Object { fid, attributes })
            });
        gone.unwrap().answer.unwrap();
        self.bed.make(fid.vnode, FileKind::Regular);
        self.bytes[file].clear();
    }

    pub fn try_copy(&mut self, source: (usize, u64), target: (usize, u64), len: u64) -> Result<Object, Error> {
        let own = self.bytes.clone();
        self.try_copy_from((None, &own), source, target, len)
    }

    /// From a snapshot, or from now, with what the files hold there.
    pub fn try_copy_from(
        &mut self,
        (past, held): (Option<Lsn>, &[Vec<u8>]),
        source: (usize, u64),
        target: (usize, u64),
        len: u64,
    ) -> Result<Object, Error> {
        if let Some(past) = past {
            self.bed.fileset.at(past)?;
        }
        let copy = Copy {
            source: (self.fid(source.0), source.1),
            target: (self.fid(target.0), target.1),
            len,
            past,
        };
        let done = copy_as(&self.bed.fileset, &Operation::default(), copy, &mut |_, _| Ok(()))
            .unwrap()
            .answer?;
        let bytes = held[source.0][source.1 as usize..(source.1 + len) as usize].to_vec();
        let (own, end) = (&mut self.bytes[target.0], (target.1 + len) as usize);
        own.resize(own.len().max(end), 0);
        own[target.1 as usize..end].copy_from_slice(&bytes);
        Ok(done)
    }

    pub fn copy(&mut self, source: (usize, u64), target: (usize, u64), len: u64) {
        self.try_copy(source, target, len).unwrap();
    }

    /// Each file is what it is to be, and each block somebody's.
    pub fn check(&self) {
        let (mut blocks, mut inline) = (0, 0);
        for (file, bytes) in self.bytes.iter().enumerate() {
            let fid = self.fid(file);
            let (attributes, own) = self
                .bed
                .fileset
                .read(|view| Ok((load(view, fid)?, view.get(Key::inline(fid.vnode))?)))
                .unwrap();
            assert_eq!(attributes.size, bytes.len() as u64, "file {file}");
            let read = read(&self.bed.fileset, fid, 0, bytes.len() + 1).unwrap();
            assert!(read[..] == bytes[..], "file {file}");
            blocks += attributes.blocks;
            inline += own.map_or(0, |own| own.len() as u64);
        }
        assert_eq!(self.bed.fileset.usage().bytes, blocks * BLOCK + inline);
        self.bed.aggregate.census().unwrap();
    }

    pub fn data_blocks(&self) -> u64 {
        self.bed.aggregate.census().unwrap().data
    }

    pub fn reopen(&mut self) {
        self.bed.commit();
        self.bed.reopen();
    }
}

#[test]
fn copy_takes_no_block_and_stays_what_it_was() {
    let mut files = Files::new(80);
    files.write(0, 0, &pattern(1, 150 * BLOCK as usize + 77));
    let before = files.data_blocks();
    files.copy((0, 0), (1, 0), 150 * BLOCK + 77);
    files.copy((0, 10 * BLOCK), (2, 20 * BLOCK), 100 * BLOCK);
    files.copy((1, 70 * BLOCK), (1, 151 * BLOCK), 20 * BLOCK);
    assert_eq!(files.data_blocks(), before);
    files.check();
    // Each gives up some of it, in its turn.
    files.write(0, 30 * BLOCK + 5, &pattern(2, 3 * BLOCK as usize));
    files.check();
    files.punch(1, 5 * BLOCK..90 * BLOCK);
    files.truncate(2, 60 * BLOCK + 9);
    files.check();
    files.reopen();
    files.check();
    files.bed.aggregate.checkpoint().unwrap();
    files.reopen();
    files.check();
    for file in 0..3 {
        files.remove(file);
        files.check();
    }
    assert_eq!(files.data_blocks(), 0);
}

#[test]
fn what_cannot_share_is_refused() {
    let mut files = Files::new(81);
    files.write(0, 0, &pattern(1, 20 * BLOCK as usize));
    files.write(1, 0, b"inline");
    files.write(2, 0, &pattern(3, 2 * BLOCK as usize));
    let mut refused = |source, target, len| {
        files
            .try_copy(source, target, len)
            .map(drop)
            .map_err(|error| error.kind)
    };
    assert_eq!(refused((0, 1), (2, 1), BLOCK), Err(Kind::Unsupported));
    assert_eq!(refused((0, 0), (2, BLOCK), 100), Err(Kind::Unsupported));
    assert_eq!(refused((1, 0), (2, 0), 6), Err(Kind::Unsupported));
    assert_eq!(refused((0, 0), (1, BLOCK), BLOCK), Err(Kind::Unsupported));
    assert_eq!(refused((0, 19 * BLOCK), (2, 0), BLOCK + 1), Err(Kind::Invalid));
    assert_eq!(refused((0, 0), (0, BLOCK), 2 * BLOCK), Err(Kind::Invalid));
    assert_eq!(refused((0, 0), (2, 0), 0), Err(Kind::Invalid));
    assert_eq!(refused((0, 0), (2, SIZE_END - BLOCK), BLOCK), Err(Kind::TooBig));
    files.check();
}

#[test]
fn snapshot_keeps_what_was_copied_and_what_was_copied_over() {
    let mut files = Files::new(82);
    files.write(0, 0, &pattern(1, 40 * BLOCK as usize));
    files.write(1, 0, &pattern(2, 40 * BLOCK as usize));
    let take = |files: &Files, name: &[u8]| {
        let name = FileName::parse(name).unwrap();
        let taken = files
            .bed
            .fileset
            .take_snapshot(&Operation::default(), &name, Namesake::Refuse);
        taken.unwrap().answer.unwrap()
    };
    let before = take(&files, b"before");
    let then = files.bytes.clone();
    files.copy((0, 0), (1, 10 * BLOCK), 20 * BLOCK);
    let between = take(&files, b"between");
    files.write(0, 0, &pattern(3, 40 * BLOCK as usize));
    files.check();
    let (own, old) = (files.bed.fileset.clone(), std::mem::replace(&mut files.bytes, then));
    for _ in 0..2 {
        let past = own.at(before).unwrap();
        for file in 0..2 {
            let read = read(&past, files.fid(file), 0, 40 * BLOCK as usize).unwrap();
            assert!(read[..] == files.bytes[file][..]);
        }
        files.bed.aggregate.checkpoint().unwrap();
    }
    files.bytes = old;
    for gone in [between, before] {
        own.delete_snapshot(&Operation::default(), gone)
            .unwrap()
            .answer
            .unwrap();
        files.check();
    }
    loop {
        match files.bed.aggregate.reclaim().unwrap() {
            Reclaimed::Nothing => break,
            Reclaimed::Later => files.bed.aggregate.checkpoint().unwrap(),
            Reclaimed::Blocks(_) => {}
        }
        files.check();
    }
    let census = files.bed.aggregate.census().unwrap();
    assert_eq!((census.dead, census.data), (0, 80));
}

#[derive(Clone, Debug)]
enum Act {
    Write(usize, u64, usize),
    Copy(usize, u64, usize, u64, u64),
    Punch(usize, u64, u64),
    Truncate(usize, u64),
    Remove(usize),
    Checkpoint,
    Reopen,
    Snapshot,
    Forget,
}

fn act() -> impl Strategy<Value = Act> {
    let file = || 0..FILES as usize;
    let block = || 0..90_u64;
    prop_oneof![
        3 => (file(), 0..90 * BLOCK, 1..20 * BLOCK as usize).prop_map(|(file, at, len)| Act::Write(file, at, len)),
        6 => (file(), block(), file(), block(), 1..80_u64)
            .prop_map(|(source, from, target, to, len)| Act::Copy(source, from, target, to, len)),
        1 => (file(), block(), block()).prop_map(|(file, from, to)| Act::Punch(file, from.min(to), from.max(to) + 1)),
        1 => (file(), 0..90 * BLOCK).prop_map(|(file, size)| Act::Truncate(file, size)),
        1 => file().prop_map(Act::Remove),
        1 => Just(Act::Checkpoint),
        1 => Just(Act::Reopen),
        1 => Just(Act::Snapshot),
        1 => Just(Act::Forget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn prop_files_that_share_equal_files_that_do_not(acts in proptest::collection::vec(act(), 1..40)) {
        let mut files = Files::new(83);
        let mut number = 0_u8;
        for act in acts {
            number = number.wrapping_add(1);
            match act {
                Act::Write(file, at, len) => files.write(file, at, &pattern(number, len)),
                Act::Copy(source, from, target, to, len) => {
                    let size = files.bytes[source].len() as u64;
                    // To the end, or whole blocks.
                    let len = (len * BLOCK).min(size.saturating_sub(from * BLOCK));
                    if let Err(error) = files.try_copy((source, from * BLOCK), (target, to * BLOCK), len) {
                        prop_assert!(matches!(error.kind, Kind::Invalid | Kind::Unsupported), "{error}");
                    }
                }
                Act::Punch(file, from, to) => files.punch(file, from * BLOCK..to * BLOCK),
                Act::Truncate(file, size) => files.truncate(file, size),
                Act::Remove(file) => files.remove(file),
                Act::Checkpoint => files.bed.aggregate.checkpoint().unwrap(),
                Act::Reopen => files.reopen(),
                Act::Snapshot => {
                    let name = FileName::parse(format!("s{number}").as_bytes()).unwrap();
                    let taken = files.bed.fileset.take_snapshot(&Operation::default(), &name, Namesake::Refuse);
                    taken.unwrap().answer.unwrap();
                }
                Act::Forget => {
                    if let Some(oldest) = files.bed.fileset.snapshots().first() {
                        let done = files.bed.fileset.delete_snapshot(&Operation::default(), oldest.id);
                        done.unwrap().answer.unwrap();
                    }
                    files.bed.aggregate.reclaim().unwrap();
                }
            }
            files.check();
        }
    }
}
