//! Bytes of files on the double's disk: each operation, and what a reader is told of damage.

mod copies;
mod model;
mod past;
mod promises;
mod settle;

use std::sync::Arc;

use baton_types::call::Allocate;
use baton_types::{
    AggregateId, ClientId, Epoch, Fid, FilesetId, FilesetName, Incarnation, Kind, Result, ServerId, Timestamp, Vnode,
};
use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::aggregate::{Aggregate, Done, Need, Opened};
use crate::create::{Overwrite, Plan, create};
use crate::device::double::{Disk, On, Port, Trouble};
use crate::fence::{Grant, Ring};
use crate::fileset::{Object, save};
use crate::format::{
    Attributes, BLOCK_BYTES, Extent, FileKind, FilesetHeader, FilesetKind, Geometry, HashKey, Key, Lsn, RecordKind,
};
use crate::nodes::Nodes;
use crate::transaction::Operation;

const FILESET: FilesetId = FilesetId(7);
const KIB: u64 = 1 << 10;

/// An aggregate in service on a double, with one fileset and one file in it.
pub struct Bed {
    disk: Disk,
    port: Arc<Port>,
    epoch: u64,
    aggregate: Aggregate,
    fileset: Fileset,
    fid: Fid,
}

fn serve(port: Arc<Port>, epoch: u64) -> Result<Aggregate> {
    let grant = Grant {
        epoch: Epoch(epoch),
        server: ServerId(Uuid::from_u128(2)),
        incarnation: Incarnation(Uuid::from_u128(epoch.into())),
        boot: Uuid::from_u128(3),
        principal: "hosts/fs1".to_owned(),
        ring: Ring::Vouched,
    };
    let opened = Opened::open(port.clone(), Nodes::new(port))?;
    opened.claim(grant, Timestamp(1))?.recover()?.seal()
}

fn make_fileset(aggregate: &Aggregate) -> Fileset {
    let header = FilesetHeader {
        kind: FilesetKind::ReadWrite,
        name: FilesetName::parse("user.ito").unwrap(),
        hash_key: HashKey([7; 16]),
        created: Timestamp(0),
        quota_bytes: 0,
        quota_files: 0,
        newest_snapshot: Lsn(0),
        origin: 0,
        snapshots_taken: 0,
        version: 0,
    };
    let put = aggregate.change_system(RecordKind::Fileset, &Operation::default(), |transaction| {
        transaction.put(Key::fileset_header(FILESET), header.encode());
        Ok(())
    });
    put.unwrap();
    aggregate.fileset(FILESET).unwrap()
}

fn empty_file(kind: FileKind) -> Attributes {
    let time = Timestamp(0);
    Attributes {
        mode: kind.mode() | 0o644,
        uid: 0,
        gid: 0,
        links: 1,
        size: 0,
        blocks: 0,
        data_version: 0,
        unique: 99,
        accessed: time,
        modified: time,
        changed: time,
        created: time,
        parent: None,
        device: 0,
        acl: 0,
        flags: 0,
        promised: 0,
        promised_in: 0,
    }
}

impl Bed {
    fn new(seed: u64) -> Bed {
        let geometry = Geometry::new(256 * (256 << 10), 256 << 10, 4 << 10).unwrap();
        let disk = Disk::new(geometry.device_bytes, seed);
        let plan = Plan {
            id: AggregateId(Uuid::from_u128(1)),
            name: "agg1".parse().unwrap(),
            geometry: Some(geometry),
            overwrite: Overwrite::Refuse,
            created: Timestamp(0),
        };
        create(&disk.port(), &plan).unwrap();
        let port = Arc::new(disk.port());
        let aggregate = serve(port.clone(), 1).unwrap();
        let fileset = make_fileset(&aggregate);
        let vnode = Vnode::new(5).unwrap();
        let fid = Fid {
            fileset: FILESET,
            vnode,
            unique: 99,
        };
        let bed = Bed {
            disk,
            port,
            epoch: 1,
            aggregate,
            fileset,
            fid,
        };
        bed.make(vnode, FileKind::Regular);
        bed
    }

    fn make(&self, vnode: Vnode, kind: FileKind) {
        let made = self.fileset.change(&Operation::default(), Need::GROWTH, |transaction| {
            save(transaction, vnode, &empty_file(kind));
            transaction.usage().files += 1;
            Ok(crate::transaction::Reply::done())
        });
        made.unwrap();
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Object {
        answer(write(&self.fileset, &Operation::default(), self.fid, offset, bytes))
    }

    fn truncate(&self, size: u64) -> Object {
        answer(truncate(&self.fileset, &Operation::default(), self.fid, size))
    }

    fn fallocate(&self, range: std::ops::Range<u64>, how: Allocate) -> Object {
        let operation = Operation::default();
        answer(fallocate(
            &self.fileset,
            &operation,
            (self.fid, range),
            how,
            &mut as_it_is,
        ))
    }

    fn read(&self, offset: u64, len: usize) -> Bytes {
        read(&self.fileset, self.fid, offset, len).unwrap()
    }

    fn commit(&self) {
        self.aggregate.wait(self.aggregate.last()).unwrap();
    }

    /// The next epoch, after what was durable; the rest may be there or not.
    fn reopen(&mut self) {
        self.disk.cut_power();
        self.epoch += 1;
        self.port = Arc::new(self.disk.port());
        self.aggregate = serve(self.port.clone(), self.epoch).unwrap();
        self.fileset = self.aggregate.fileset(FILESET).unwrap();
    }

    fn extents(&self) -> Vec<(u64, Extent)> {
        let [from, to] = [0, u64::MAX].map(|block| Key::extent(self.fid.vnode, block));
        let extents = self.fileset.read(|view| {
            view.scan(from, to)
                .map(|item| item.and_then(|(key, value)| Ok((key.sub, Extent::decode(&value)?))))
                .collect::<Result<Vec<_>, Stop>>()
        });
        extents.unwrap()
    }

    fn inline(&self) -> Option<Bytes> {
        self.fileset.read(|view| view.get(Key::inline(self.fid.vnode))).unwrap()
    }

    fn attributes(&self) -> Attributes {
        self.fileset.read(|view| load(view, self.fid)).unwrap()
    }

    /// What the head of [`crate::file`] says always holds.
    fn check(&self) {
        let (attributes, extents, inline) = (self.attributes(), self.extents(), self.inline());
        assert!(inline.is_none() || extents.is_empty(), "inline and extents");
        let inline_len = inline.map_or(0, |inline| inline.len() as u64);
        assert!(inline_len <= attributes.size.min(INLINE_BYTES_MAX));
        let mut end = 0;
        let mut blocks = 0;
        for (first, extent) in &extents {
            assert!(*first >= end, "extents overlap at block {first}");
            end = first + u64::from(extent.count);
            blocks += u64::from(extent.count);
            assert!(extent.birth > Lsn(0));
        }
        assert!(
            end <= attributes.size.div_ceil(BLOCK),
            "extents end at {end}, size {}",
            attributes.size
        );
        assert_eq!(attributes.blocks, blocks);
        assert_eq!(self.fileset.usage().bytes, blocks * BLOCK + inline_len);
    }
}

fn answer(done: Result<Done<Object>>) -> Object {
    done.unwrap().answer.unwrap()
}

fn refusal(done: Result<Done<Object>>) -> Kind {
    done.unwrap().answer.unwrap_err().kind
}

/// Bytes that differ from block to block.
fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|index| seed ^ (index / 100) as u8 | 1).collect()
}

#[test]
fn small_file_lies_inline_and_leaves_it_when_it_grows() {
    let bed = Bed::new(1);
    assert_eq!(bed.write(10, b"hello").attributes.size, 15);
    assert_eq!(bed.inline().unwrap()[..], *b"\0\0\0\0\0\0\0\0\0\0hello");
    assert_eq!((bed.attributes().blocks, bed.read(0, 100)), (0, bed.inline().unwrap()));
    bed.truncate(12);
    assert_eq!(bed.inline().unwrap()[10..], *b"he");
    bed.truncate(1_000_000);
    assert_eq!(
        (bed.inline().unwrap().len(), bed.read(10, 4)),
        (12, Bytes::from_static(b"he\0\0"))
    );
    // A write far behind makes a block of what was inline.
    bed.write(500_000, b"far");
    bed.check();
    assert_eq!((bed.inline(), bed.attributes().blocks), (None, 2));
    assert_eq!(
        (&bed.read(10, 4)[..], &bed.read(499_999, 5)[..]),
        (&b"he\0\0"[..], &b"\0far\0"[..])
    );
    // Once emptied it may lie inline again.
    bed.truncate(0);
    bed.write(0, b"again");
    assert_eq!(
        (bed.inline().unwrap(), bed.attributes().blocks),
        (Bytes::from_static(b"again"), 0)
    );
    bed.check();
}

#[test]
fn inline_file_grows_over_its_own_first_block() {
    let bed = Bed::new(1);
    let bytes = pattern(3, 1_900);
    bed.write(0, &bytes);
    assert!(bed.inline().is_some());
    bed.write(1_000, &[7; 5_000]);
    bed.check();
    assert!(bed.inline().is_none());
    assert_eq!(
        (bed.read(0, 1_000), bed.read(1_000, 9_999)),
        (bytes[..1_000].to_vec().into(), vec![7; 5_000].into())
    );
}

#[test]
fn overwrite_in_the_middle_cuts_an_extent_in_two() {
    let bed = Bed::new(1);
    let old = pattern(1, 64 << 10);
    bed.write(0, &old);
    bed.commit();
    let [(0, whole)] = &bed.extents()[..] else {
        panic!("{:?}", bed.extents())
    };
    bed.write(20 * KIB, &[9; 4096]);
    bed.check();
    let extents = bed.extents();
    let shape: Vec<(u64, u8)> = extents.iter().map(|(first, extent)| (*first, extent.count)).collect();
    assert_eq!(shape, [(0, 5), (5, 1), (6, 10)]);
    assert_eq!(
        (extents[0].1.birth, extents[2].1.birth),
        (whole.birth, whole.birth),
        "what is left is as old as it was"
    );
    assert_eq!(
        (extents[0].1.block.0, extents[2].1.block.0),
        (whole.block.0, whole.block.0 + 6)
    );
    assert_eq!(bed.attributes().blocks, 16);
    let mut expected = old;
    expected[20 << 10..24 << 10].fill(9);
    assert_eq!(bed.read(0, 1 << 20)[..], expected[..]);
}

#[test]
fn shrunk_file_shows_zeroes_where_it_grows_again() {
    let bed = Bed::new(1);
    bed.write(0, &pattern(1, 10_000));
    bed.truncate(5_000);
    bed.truncate(10_000);
    assert_eq!(bed.read(0, 5_000)[..], pattern(1, 5_000)[..]);
    assert_eq!(bed.read(5_000, 5_000)[..], [0; 5_000]);
    bed.truncate(5_000);
    bed.write(9_000, &[1; 10]);
    assert_eq!(bed.read(5_000, 4_000)[..], [0; 4_000]);
    bed.check();
}

#[test]
fn file_of_a_tebibyte_takes_only_what_was_written() {
    let bed = Bed::new(1);
    let end = 1 << 40;
    bed.write(end - 3, b"end");
    bed.write(1 << 30, b"middle");
    assert_eq!((bed.attributes().size, bed.attributes().blocks), (end, 2));
    assert_eq!(
        (&bed.read(end - 5, 100)[..], bed.read(end, 1)),
        (&b"\0\0end"[..], Bytes::new())
    );
    assert_eq!(bed.read(5_000_000, 70_000)[..], [0; 70_000]);
    let sought = |from, sought| seek(&bed.fileset, bed.fid, from, sought).unwrap();
    assert_eq!(sought(0, Sought::Data), Some(1 << 30));
    assert_eq!(sought((1 << 30) + 4_096, Sought::Data), Some(end - 4_096));
    assert_eq!(sought(0, Sought::Hole), Some(0));
    assert_eq!(sought(1 << 30, Sought::Hole), Some((1 << 30) + 4_096));
    assert_eq!(sought(end - 2, Sought::Hole), Some(end));
    assert_eq!((sought(end, Sought::Hole), sought(end, Sought::Data)), (None, None));
    bed.truncate(0);
    assert_eq!((bed.extents(), bed.fileset.usage().bytes), (vec![], 0));
}

#[test]
fn large_write_is_visible_at_once_and_on_the_disk_with_its_record() {
    let bed = Bed::new(1);
    let bytes = pattern(1, 1 << 20);
    bed.write(0, &bytes);
    let on_disk = |(first, extent): &(u64, Extent)| {
        let len = usize::from(extent.count) * BLOCK_BYTES;
        let own = (first * BLOCK) as usize;
        bed.disk.peek(extent.block.offset(), len) == bytes[own..own + len]
    };
    assert!(!bed.extents().iter().any(on_disk));
    assert_eq!(bed.read(0, 1 << 20)[..], bytes[..]);
    bed.commit();
    assert!(bed.extents().iter().all(on_disk));
    bed.check();
    assert_eq!(bed.read(0, 1 << 20)[..], bytes[..]);
}

#[test]
fn refused_write_keeps_no_blocks() {
    let bed = Bed::new(1);
    bed.commit();
    bed.aggregate.checkpoint().unwrap();
    let taken_first = |bed: &Bed| {
        bed.write(0, &[1; 100 << 10]);
        bed.extents()[0].1.block
    };
    let stale = Fid { unique: 98, ..bed.fid };
    let refused = Bed::new(1);
    refused.commit();
    refused.aggregate.checkpoint().unwrap();
    for _ in 0..5 {
        assert_eq!(
            refusal(write(
                &refused.fileset,
                &Operation::default(),
                stale,
                0,
                &[1; 100 << 10]
            )),
            Kind::Stale
        );
    }
    assert_eq!(
        taken_first(&refused),
        taken_first(&bed),
        "blocks that a refused write took were not given back"
    );
}

#[test]
fn what_is_no_file_or_no_size_is_refused() {
    let bed = Bed::new(1);
    let operation = Operation::default();
    let directory = Fid {
        vnode: Vnode::new(6).unwrap(),
        ..bed.fid
    };
    bed.make(directory.vnode, FileKind::Directory);
    assert_eq!(
        refusal(write(&bed.fileset, &operation, directory, 0, b"x")),
        Kind::IsDirectory
    );
    assert_eq!(read(&bed.fileset, directory, 0, 1).unwrap_err().kind, Kind::IsDirectory);
    assert_eq!(
        refusal(truncate(&bed.fileset, &operation, directory, 0)),
        Kind::IsDirectory
    );
    assert_eq!(
        refusal(write(&bed.fileset, &operation, bed.fid, (1 << 63) - 1, b"x")),
        Kind::TooBig
    );
    assert_eq!(
        refusal(truncate(&bed.fileset, &operation, bed.fid, 1 << 63)),
        Kind::TooBig
    );
    assert_eq!(
        write(&bed.fileset, &operation, bed.fid, 0, &vec![0; (1 << 20) + 1])
            .unwrap_err()
            .kind,
        Kind::Limit
    );
    let empty = answer(write(&bed.fileset, &operation, bed.fid, 50, b""));
    assert_eq!((empty.attributes.size, empty.attributes.data_version), (0, 0));
}

#[test]
fn file_of_many_extents_shrinks_in_steps_and_once() {
    let mut bed = Bed::new(1);
    for block in 0..600 {
        bed.write(2 * block * BLOCK, &[1; 10]);
    }
    let (opened, session) = bed
        .aggregate
        .open_session(ClientId(Uuid::from_u128(9)), Timestamp(0))
        .unwrap();
    bed.aggregate.wait(opened).unwrap();
    let operation = Operation {
        session,
        sequence: 1,
        ..Operation::default()
    };
    let before = bed.aggregate.last();
    let object = answer(truncate(&bed.fileset, &operation, bed.fid, 5_000));
    assert_eq!((object.attributes.size, object.attributes.blocks), (5_000, 1));
    assert_eq!(bed.aggregate.last().0 - before.0, 3, "256 extents a record");
    bed.check();
    // A replay gives the first answer, and takes away nothing that came after it.
    bed.write(0, &pattern(1, 100_000));
    let again = answer(truncate(&bed.fileset, &operation, bed.fid, 5_000));
    assert_eq!((again, bed.attributes().size), (object, 100_000));
    bed.commit();
    bed.reopen();
    let again = answer(truncate(&bed.fileset, &operation, bed.fid, 5_000));
    assert_eq!((again, bed.attributes().size), (object, 100_000));
}

#[test]
fn rot_is_damage_of_that_file_alone_and_named() {
    let bed = Bed::new(1);
    bed.write(0, &pattern(1, 100_000));
    bed.commit();
    let (_, extent) = &bed.extents()[0];
    bed.disk.flip(extent.block.offset() + 3 * BLOCK + 17, 5);
    let error = read(&bed.fileset, bed.fid, 0, 1 << 20).unwrap_err();
    assert_eq!(
        (error.kind, error.on.as_str()),
        (Kind::Damaged, "fileset 0,,7, vnode 5")
    );
    assert!(
        error.reason.contains(&format!("block {}", extent.block.0 + 3)),
        "{error}"
    );
    assert_eq!(
        bed.read(4 * BLOCK, 10_000)[..],
        pattern(1, 100_000)[4 * BLOCK_BYTES..][..10_000]
    );
    // To overwrite a part of the block would make its rot good; to overwrite all of it heals the file.
    let operation = Operation::default();
    assert_eq!(
        write(&bed.fileset, &operation, bed.fid, 3 * BLOCK + 1, b"x")
            .unwrap_err()
            .kind,
        Kind::Damaged
    );
    bed.write(3 * BLOCK, &[8; BLOCK_BYTES]);
    assert_eq!(bed.read(3 * BLOCK, BLOCK_BYTES)[..], [8; BLOCK_BYTES]);
}

#[test]
fn misdirected_read_is_read_again() {
    let bed = Bed::new(1);
    bed.write(0, &pattern(1, 100_000));
    bed.commit();
    bed.port.arm(On::Read, 1, Trouble::Misdirect(0));
    assert_eq!(bed.read(0, 1 << 20)[..], pattern(1, 100_000)[..]);
}

#[test]
fn who_was_outrun_does_not_call_a_file_damaged() {
    let bed = Bed::new(1);
    bed.write(0, &pattern(1, 100_000));
    bed.commit();
    let block = bed.extents()[0].1.block;
    let _newer = serve(Arc::new(bed.disk.port()), 2).unwrap();
    bed.disk.poke(block.offset(), &[0xee; BLOCK_BYTES]);
    assert_eq!(
        read(&bed.fileset, bed.fid, 0, 100_000).unwrap_err().kind,
        Kind::WrongEpoch
    );
}

#[test]
fn large_write_that_fails_is_never_durable() {
    let bed = Bed::new(1);
    bed.commit();
    let done = write(&bed.fileset, &Operation::default(), bed.fid, 0, &[1; 200_000]).unwrap();
    bed.port.arm(On::Write, 2, Trouble::Fail);
    assert_eq!(bed.aggregate.wait(done.lsn).unwrap_err().kind, Kind::Io);
    assert!(bed.aggregate.durable() < done.lsn);
    let later = write(&bed.fileset, &Operation::default(), bed.fid, 0, &[1; 200_000]);
    assert_eq!(later.unwrap_err().kind, Kind::Io);
}

/// A read finds its extents at one moment, and they never change: what it tells is one version, whatever is done meanwhile.
#[test]
fn reader_sees_one_version_whatever_is_written_meanwhile() {
    const LEN: usize = 48 << 10;
    let bed = Bed::new(1);
    bed.write(0, &[1; LEN]);
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let order = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        for len in [LEN, 4 << 10] {
            let (bed, is_done) = (&bed, &is_done);
            scope.spawn(move || {
                let mut newest = 1;
                // Bounded, so that a writer who panics is heard.
                for _ in 0..100_000 {
                    if is_done.load(order) {
                        break;
                    }
                    let bytes = bed.read(8 << 10, len);
                    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "two versions in one read");
                    assert!(bytes[0] >= newest, "a read went back from {newest} to {}", bytes[0]);
                    newest = bytes[0];
                }
            });
        }
        for version in 2..200 {
            bed.write(0, &[version; LEN]);
            if version % 2 == 0 {
                bed.commit();
            }
            if version % 5 == 0 {
                bed.aggregate.checkpoint().unwrap();
            }
        }
        is_done.store(true, order);
    });
    bed.check();
}
