//! Room that is promised: it is there when nobody else has any, and given back when it is not needed.

use baton_types::{Error, FileName};

use super::*;
use crate::aggregate::{Namesake, Standing};
use crate::fileset::{catalog, remove_step};
use crate::format::Orphan;
use crate::transaction::Usage;

const PROMISED: u64 = 300;

impl Bed {
    /// The same disk and fileset, another file.
    fn other(&self, number: u64) -> Bed {
        let vnode = Vnode::new(number).unwrap();
        self.make(vnode, FileKind::Regular);
        Bed {
            disk: self.disk.clone(),
            port: self.port.clone(),
            epoch: self.epoch,
            aggregate: self.aggregate.clone(),
            fileset: self.fileset.clone(),
            fid: Fid { vnode, ..self.fid },
        }
    }

    fn try_write(&self, block: u64) -> Result<Object, Error> {
        let bytes = pattern(block as u8, BLOCK as usize);
        write(&self.fileset, &Operation::default(), self.fid, block * BLOCK, &bytes)?.answer
    }

    fn try_fallocate(&self, blocks: std::ops::Range<u64>) -> Result<Object, Error> {
        let range = blocks.start * BLOCK..blocks.end * BLOCK;
        let (operation, how) = (Operation::default(), Allocate::KeepSize);
        fallocate(&self.fileset, &operation, (self.fid, range), how, &mut as_it_is)?.answer
    }

    /// Writes its blocks from `first` on until there is no room.
    fn fill(&self, first: u64) -> u64 {
        let full = (first..).find(|block| match self.try_write(*block) {
            Ok(_) => false,
            Err(error) => {
                assert_eq!(error.kind, Kind::NoSpace, "{error}");
                true
            }
        });
        full.unwrap()
    }

    fn promised(&self) -> u64 {
        self.aggregate.census().unwrap();
        self.fileset.usage().promised
    }
}

#[test]
fn room_that_was_promised_is_there_when_nobody_else_has_any() {
    let mut bed = Bed::new(60);
    bed.fallocate(0..PROMISED * BLOCK, Allocate::Extend);
    assert_eq!((bed.attributes().size, bed.attributes().blocks), (PROMISED * BLOCK, 0));
    let other = bed.other(6);
    let mut full = other.fill(0);
    assert!(full > PROMISED);
    assert_eq!(bed.promised(), PROMISED);
    // Half of it from any place, in any order; a part of a block, too, that was written before.
    for step in 0..PROMISED / 2 {
        bed.try_write(step * 7 % PROMISED).unwrap();
        bed.write(step * 7 % PROMISED * BLOCK + 100, b"a part of it");
        // Whatever is left over somebody takes.
        full = other.fill(full);
    }
    assert_eq!(bed.promised(), PROMISED - PROMISED / 2);
    // The next owner keeps it, from the log and from a checkpoint.
    bed.commit();
    for _ in 0..2 {
        bed.reopen();
        assert_eq!(bed.promised(), PROMISED - PROMISED / 2);
        bed.aggregate.checkpoint().unwrap();
    }
    for step in PROMISED / 2..PROMISED {
        bed.try_write(step * 7 % PROMISED).unwrap();
    }
    assert_eq!((bed.promised(), bed.attributes().blocks), (0, PROMISED));
    assert_eq!(bed.try_write(PROMISED).unwrap_err().kind, Kind::NoSpace);
    for step in 0..PROMISED {
        let block = step * 7 % PROMISED;
        assert_eq!(bed.read(block * BLOCK, 50), pattern(block as u8, 50));
    }
}

#[test]
fn copy_takes_nothing_of_what_was_promised() {
    let bed = Bed::new(66);
    bed.fallocate(0..PROMISED * BLOCK, Allocate::Extend);
    let other = bed.other(6);
    let full = other.fill(0);
    // It writes nodes, and those were promised to whoever writes what they lead to.
    let copy = |target: u64| {
        let copy = Copy {
            source: (other.fid, 0),
            target: (bed.fid, target * BLOCK),
            len: BLOCK,
            past: None,
        };
        let mut settle = |_: (&Attributes, &Attributes), _: &mut Attributes| Ok(());
        let done = copy_as(&bed.fileset, &Operation::default(), copy, &mut settle);
        done.unwrap().answer.map(drop).map_err(|error| error.kind)
    };
    assert_eq!(copy(7), Err(Kind::NoSpace));
    assert_eq!(bed.promised(), PROMISED);
    other.truncate(full / 2 * BLOCK);
    bed.aggregate.checkpoint().unwrap();
    assert_eq!(copy(7), Ok(()));
}

#[test]
fn last_room_is_promised_to_nobody_while_others_say_again_what_was_accepted() {
    let mut bed = Bed::new(67);
    let fresh = bed.fileset.clone();
    let free = bed.aggregate.space().free;
    // One in twenty, and what is kept beside a promise.
    let most = free - free / 16;
    bed.fileset = fresh.standing(Standing::Yielding);
    assert_eq!(bed.try_fallocate(0..most).unwrap_err().kind, Kind::NoSpace);
    bed.try_fallocate(0..most / 2).unwrap();
    bed.fileset = fresh;
    bed.try_fallocate(0..most).unwrap();
    assert_eq!(bed.promised(), most);
}

#[test]
fn more_than_there_is_is_not_promised_and_nothing_twice() {
    let bed = Bed::new(61);
    let free = bed.aggregate.space().free;
    assert_eq!(bed.try_fallocate(0..free).unwrap_err().kind, Kind::NoSpace);
    bed.try_fallocate(0..free / 2).unwrap();
    assert_eq!(bed.promised(), free / 2);
    let other = bed.other(6);
    assert_eq!(other.try_fallocate(0..free / 2).unwrap_err().kind, Kind::NoSpace);
    // What the file has holes for is promised once.
    bed.try_fallocate(0..free / 2).unwrap();
    assert_eq!(bed.promised(), free / 2);
    assert!(bed.aggregate.space().free < free - free / 2);
}

#[test]
fn next_owner_knows_from_root_and_log_what_was_promised() {
    let mut bed = Bed::new(65);
    bed.fallocate(0..100 * BLOCK, Allocate::Extend);
    bed.commit();
    bed.reopen();
    assert_eq!(bed.promised(), 100);
    bed.aggregate.checkpoint().unwrap();
    bed.try_write(7).unwrap();
    bed.try_fallocate(200..210).unwrap();
    bed.commit();
    bed.reopen();
    assert_eq!(bed.promised(), 109);
    bed.truncate(0);
    bed.commit();
    bed.reopen();
    assert_eq!(bed.promised(), 0);
}

#[test]
fn promise_is_given_back_with_what_it_was_for() {
    let bed = Bed::new(62);
    let free = bed.aggregate.space().free;
    bed.fallocate(0..100 * BLOCK, Allocate::Extend);
    bed.try_write(3).unwrap();
    bed.try_write(3).unwrap();
    assert_eq!(bed.promised(), 99);
    bed.truncate(10 * BLOCK);
    assert_eq!(bed.promised(), 9);
    // What is behind the end is kept until the file gets shorter.
    bed.try_fallocate(20..30).unwrap();
    assert_eq!(bed.promised(), 19);
    bed.truncate(0);
    assert_eq!((bed.promised(), bed.attributes().blocks), (0, 0));
    bed.fallocate(0..100 * BLOCK, Allocate::Extend);
    let gone = bed
        .fileset
        .operate(&Operation::default(), Need::UPKEEP, |transaction, _| {
            let attributes = load(transaction, bed.fid)?;
            transaction.put(Key::orphan(bed.fid.vnode), Orphan::Held.encode());
            remove_step(transaction, bed.fid.vnode)?;
            Ok(Object {
                fid: bed.fid,
                attributes,
            })
        });
    gone.unwrap().answer.unwrap();
    assert_eq!(bed.promised(), 0);
    for _ in 0..3 {
        bed.aggregate.checkpoint().unwrap();
    }
    // But for what the nodes take.
    assert!(bed.aggregate.space().free + 64 > free);
}

#[test]
fn quota_counts_what_was_promised() {
    let bed = Bed::new(63);
    let set = bed
        .aggregate
        .change_fileset(FILESET, &Operation::default(), |transaction| {
            catalog::set_quota(transaction, FILESET, 10 * BLOCK, 0)
        });
    set.unwrap();
    let session = bed.aggregate.open_session(ClientId(Uuid::from_u128(5)), Timestamp(1));
    let (session, mut sequence) = (session.unwrap().1, 0);
    let mut operation = || {
        sequence += 1;
        Operation {
            session,
            stream: 1,
            sequence,
            ..Operation::default()
        }
    };
    let mut promise = |blocks: u64| {
        let range = (bed.fid, 0..blocks * BLOCK);
        let done = fallocate(&bed.fileset, &operation(), range, Allocate::KeepSize, &mut as_it_is);
        done.unwrap().answer.map(drop).map_err(|error| error.kind)
    };
    assert_eq!(promise(11), Err(Kind::Quota));
    assert_eq!(promise(8), Ok(()));
    let other = bed.other(6);
    let mut write_blocks = |of: &Bed, blocks: u64| {
        let bytes = pattern(1, (blocks * BLOCK) as usize);
        let done = write(&of.fileset, &operation(), of.fid, 0, &bytes);
        done.unwrap().answer.map(drop).map_err(|error| error.kind)
    };
    assert_eq!(write_blocks(&other, 3), Err(Kind::Quota));
    assert_eq!(write_blocks(&other, 2), Ok(()));
    assert_eq!(write_blocks(&bed, 8), Ok(()));
    let used = Usage {
        bytes: 10 * BLOCK,
        files: 2,
        promised: 0,
    };
    assert_eq!(bed.fileset.usage(), used);
}

#[test]
fn promises_are_not_a_snapshots_nor_of_who_goes_on_from_it() {
    let mut bed = Bed::new(64);
    bed.fallocate(0..100 * BLOCK, Allocate::Extend);
    let name = FileName::parse(b"then").unwrap();
    let taken = bed
        .fileset
        .take_snapshot(&Operation::default(), &name, Namesake::Refuse);
    let then = taken.unwrap().answer.unwrap();
    bed.try_write(0).unwrap();
    let header = FilesetHeader {
        name: FilesetName::parse("clone").unwrap(),
        ..bed.fileset.header()
    };
    bed.fileset
        .make_clone(&Operation::default(), then, FilesetId(8), &header)
        .unwrap();
    assert_eq!(bed.promised(), 99);
    let clone = Bed {
        fileset: bed.aggregate.fileset(FilesetId(8)).unwrap(),
        disk: bed.disk.clone(),
        port: bed.port.clone(),
        epoch: bed.epoch,
        aggregate: bed.aggregate.clone(),
        fid: Fid {
            fileset: FilesetId(8),
            ..bed.fid
        },
    };
    clone.try_write(5).unwrap();
    assert_eq!((clone.promised(), bed.promised()), (0, 99));
    clone.try_fallocate(0..10).unwrap();
    assert_eq!((clone.promised(), bed.promised()), (9, 99));
    let present = FileName::parse(b"present").unwrap();
    let back = bed.fileset.roll_back(&Operation::default(), then, &present);
    back.unwrap().answer.unwrap();
    assert_eq!((clone.promised(), bed.promised()), (9, 0));
    bed.commit();
    for _ in 0..2 {
        bed.reopen();
        let clone = bed.aggregate.fileset(FilesetId(8)).unwrap();
        assert_eq!((clone.usage().promised, bed.promised()), (9, 0));
        bed.aggregate.checkpoint().unwrap();
    }
}
