//! What the engine's tests are made of: a disk, its owner of the moment, and simple operations.

use std::sync::Arc;

use baton_types::{
    AggregateId, AggregateName, ClientId, Epoch, Error, FilesetId, FilesetName, Incarnation, Result, ServerId,
    Timestamp, Vnode,
};
use bytes::Bytes;
use uuid::Uuid;

use super::between::Between;
use crate::aggregate::{Aggregate, Census, Done, Fileset, Need, Opened};
use crate::buffer::Buffer;
use crate::create::{Overwrite, Plan, create};
use crate::device::Device;
use crate::device::double::Disk;
use crate::fence::{Grant, Ring};
use crate::file::take_back;
use crate::fileset::{catalog, shared};
use crate::format::{
    BLOCK_BYTES, Checksum, Extent, FilesetHeader, FilesetKind, Geometry, HashKey, Key, KeyKind, Lsn, RecordKind,
};
use crate::nodes::Nodes;
use crate::transaction::{Operation, Reply, Run, SessionId, Transaction};
use crate::tree::Stop;

pub struct Rig {
    pub disk: Disk,
    pub aggregate: Aggregate,
    pub port: Arc<Between>,
    pub epoch: Epoch,
}

/// An operation that no session will ask for again, unless `session` is not 0.
pub fn op(session: u64, sequence: u32) -> Operation {
    Operation {
        session: SessionId(session),
        stream: 1,
        sequence,
        ..Operation::default()
    }
}

/// Of a fileset without limits.
pub fn header() -> FilesetHeader {
    FilesetHeader {
        kind: FilesetKind::ReadWrite,
        name: FilesetName::parse("home").unwrap(),
        hash_key: HashKey([7; 16]),
        created: Timestamp(1),
        quota_bytes: 0,
        quota_files: 0,
        newest_snapshot: Lsn(0),
        origin: 0,
        snapshots_taken: 0,
        version: 0,
    }
}

/// The key of the item with this number.
pub fn name(number: u64) -> Key {
    Key::new(number / 10 + 1, KeyKind::Name, number % 10)
}

pub fn value(number: u64, len: usize) -> Vec<u8> {
    number.to_le_bytes().iter().copied().cycle().take(len).collect()
}

pub fn grant(epoch: Epoch) -> Grant {
    Grant {
        epoch,
        server: ServerId(Uuid::from_u128(u128::from(epoch.0 % 2))),
        incarnation: Incarnation(Uuid::from_u128(epoch.0.into())),
        boot: Uuid::from_u128(77),
        principal: "fs".into(),
        ring: Ring::Vouched,
    }
}

pub fn claim(disk: &Disk, epoch: Epoch) -> Result<(Arc<Between>, Aggregate)> {
    let port = Arc::new(Between::new(disk.port()));
    let opened = Opened::open(port.clone(), Nodes::new(port.clone()))?;
    let aggregate = opened.claim(grant(epoch), Timestamp(1))?.recover()?.seal()?;
    Ok((port, aggregate))
}

/// Where the two differ behind the heads.
pub fn changed_blocks(one: &Disk, other: &Disk) -> Vec<u64> {
    let first = Geometry::HEADS_AT + Geometry::RING as u64 * Geometry::HEAD_BYTES;
    let blocks = (first..one.port().len()).step_by(BLOCK_BYTES);
    blocks
        .filter(|at| one.peek(*at, BLOCK_BYTES) != other.peek(*at, BLOCK_BYTES))
        .collect()
}

/// Writes `count` blocks of `byte` as the data of object `number`.
pub fn write_data(transaction: &mut Transaction<'_>, number: u64, count: u8, byte: u8) -> Result<Reply, Stop> {
    delete_data(transaction, number)?;
    let mut at = 0;
    for run in transaction.allocate(count.into())? {
        let bytes = Buffer::padded(&vec![byte; usize::from(run.count) * BLOCK_BYTES]);
        let extent = Extent {
            flags: 0,
            unit_shift: 12,
            block: run.block,
            count: run.count as u8,
            birth: Lsn(0),
            checksums: bytes.chunks(BLOCK_BYTES).map(Checksum::of).collect(),
        };
        transaction.put(Key::new(number, KeyKind::Extent, at), extent.encode());
        transaction.write(run.block, bytes);
        at += u64::from(run.count);
    }
    transaction.usage().bytes += u64::from(count) * BLOCK_BYTES as u64;
    Ok(Reply::done())
}

/// Takes away what is there of it.
pub fn delete_data(transaction: &mut Transaction<'_>, number: u64) -> Result<Reply, Stop> {
    let key = |sub| Key::new(number, KeyKind::Extent, sub);
    let items = transaction.scan(key(0), key(u64::MAX));
    for (key, value) in items.collect::<Result<Vec<_>, Stop>>()? {
        let extent = Extent::decode(&value)?;
        transaction.delete(key);
        let (block, count) = (extent.block, extent.count.into());
        shared::give_up(transaction, &extent, Run { block, count })?;
        transaction.usage().bytes -= u64::from(extent.count) * BLOCK_BYTES as u64;
    }
    Ok(Reply::done())
}

impl Rig {
    /// A new aggregate and its first owner.
    pub fn new(seed: u64) -> Rig {
        Rig::with_segments(160, seed)
    }

    /// The same with more room, so that checkpoints come only when they are asked for.
    pub fn with_segments(count: u64, seed: u64) -> Rig {
        let first = Geometry::HEADS_AT + Geometry::RING as u64 * Geometry::HEAD_BYTES;
        let bytes = first + count * (64 << 10) + BLOCK_BYTES as u64;
        let disk = Disk::new(bytes, seed);
        let plan = Plan {
            id: AggregateId(Uuid::from_u128(9)),
            name: AggregateName::parse("agg1").unwrap(),
            geometry: Some(Geometry::new(bytes, 64 << 10, 8 << 10).unwrap()),
            overwrite: Overwrite::Refuse,
            created: Timestamp(1),
        };
        create(&disk.port(), &plan).unwrap();
        let epoch = Epoch(1);
        let (port, aggregate) = claim(&disk, epoch).unwrap();
        Rig {
            disk,
            aggregate,
            port,
            epoch,
        }
    }

    /// The owner is gone in this moment, and the next one serves.
    pub fn take_over(&mut self) {
        self.port.stop();
        self.epoch = self.epoch.next().unwrap();
        let (port, aggregate) = claim(&self.disk, self.epoch).unwrap();
        (self.port, self.aggregate) = (port, aggregate);
        self.census();
    }

    pub fn next_owner(&mut self, id: u64) -> Fileset {
        self.take_over();
        self.aggregate.fileset(FilesetId(id)).unwrap()
    }

    pub fn make_fileset(&self, id: u64) -> Fileset {
        let header = FilesetHeader {
            name: FilesetName::parse(&format!("home{id}")).unwrap(),
            ..header()
        };
        let made = self
            .aggregate
            .change_system(RecordKind::Fileset, &op(0, 0), |transaction| {
                catalog::create(transaction, FilesetId(id), &header)
            });
        made.unwrap();
        self.aggregate.fileset(FilesetId(id)).unwrap()
    }

    pub fn open_session(&self) -> u64 {
        let client = ClientId(Uuid::from_u128(5));
        self.aggregate.open_session(client, Timestamp(1)).unwrap().1.0
    }

    pub fn put_as(&self, fileset: &Fileset, operation: &Operation, key: Key, value: &[u8]) -> Result<Done<Bytes>> {
        fileset.change(operation, Need::GROWTH, |transaction| {
            if transaction.get(key)?.is_none() {
                transaction.usage().files += 1;
            }
            transaction.put(key, value.to_vec());
            Ok(Reply::done())
        })
    }

    pub fn put(&self, fileset: &Fileset, key: Key, value: &[u8]) {
        self.put_as(fileset, &op(0, 0), key, value).unwrap().answer.unwrap();
    }

    pub fn delete(&self, fileset: &Fileset, key: Key) {
        let done = fileset.change(&op(0, 0), Need::UPKEEP, |transaction| {
            transaction.delete(key);
            transaction.usage().files -= 1;
            Ok(Reply::done())
        });
        done.unwrap().answer.unwrap();
    }

    pub fn get(&self, fileset: &Fileset, key: Key) -> Option<Vec<u8>> {
        fileset.read(|view| view.get(key)).unwrap().map(|value| value.to_vec())
    }

    pub fn all(&self, fileset: &Fileset) -> Vec<(Key, Vec<u8>)> {
        let all = fileset.read(|view| {
            let items = view.scan(Key::FIRST, Key::LAST);
            items
                .map(|item| item.map(|(key, value)| (key, value.to_vec())))
                .collect::<Result<Vec<_>, Stop>>()
        });
        all.unwrap()
    }

    pub fn try_write_data(&self, fileset: &Fileset, number: u64, count: u8, byte: u8) -> Result<(), Error> {
        let done = fileset.change(&op(0, 0), Need::data(count.into()), |transaction| {
            write_data(transaction, number, count, byte)
        });
        done?.answer.map(drop)
    }

    pub fn write_data(&self, fileset: &Fileset, number: u64, count: u8, byte: u8) {
        self.try_write_data(fileset, number, count, byte).unwrap();
    }

    pub fn delete_data(&self, fileset: &Fileset, number: u64) {
        let done = fileset.change(&op(0, 0), Need::UPKEEP, |transaction| delete_data(transaction, number));
        done.unwrap().answer.unwrap();
    }

    /// Data of object `target` becomes what `source` has, or had in the snapshot `past`.
    pub fn copy_data(&self, fileset: &Fileset, past: Lsn, source: u64, target: u64) -> Result<(), Error> {
        fileset.at(past)?;
        let vnodes = [source, target].map(|number| Vnode::new(number).unwrap());
        let done = fileset.change_seeing(Some(past), &op(0, 0), Need::data(9), |transaction| {
            let past = transaction.past().unwrap();
            let all = 0..u64::MAX >> 1;
            let (taken, given) = take_back(transaction, &past, (vnodes[0], &all), (vnodes[1], &all))?;
            let usage = transaction.usage();
            usage.bytes = usage.bytes + taken * BLOCK_BYTES as u64 - given * BLOCK_BYTES as u64;
            Ok(Reply::done())
        });
        done?.answer.map(drop)
    }

    /// Writes files of `count` blocks until there is no space; how many.
    pub fn fill(&self, fileset: &Fileset, count: u8) -> u64 {
        for number in 0.. {
            match self.try_write_data(fileset, number, count, number as u8) {
                Ok(()) => {}
                Err(error) => {
                    assert_eq!(error.kind, baton_types::Kind::NoSpace, "{error}");
                    return number;
                }
            }
        }
        unreachable!("space has an end")
    }

    /// The first extent of object `number`.
    pub fn extent(&self, fileset: &Fileset, number: u64) -> Extent {
        let value = self.get(fileset, Key::new(number, KeyKind::Extent, 0)).unwrap();
        Extent::decode(&value).unwrap()
    }

    /// The bytes of object `number`, as they lie on the disk.
    pub fn data(&self, fileset: &Fileset, number: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for (key, value) in self.all(fileset) {
            if key.object == number && key.kind == KeyKind::Extent {
                let extent = Extent::decode(&value).unwrap();
                let len = usize::from(extent.count) * BLOCK_BYTES;
                bytes.extend(self.disk.peek(extent.block.offset(), len));
            }
        }
        (!bytes.is_empty()).then_some(bytes)
    }

    pub fn commit(&self) {
        self.aggregate.wait(self.aggregate.last()).unwrap();
    }

    pub fn checkpoint(&self) {
        self.aggregate.checkpoint().unwrap();
    }

    pub fn census(&self) -> Census {
        self.aggregate.census().unwrap()
    }
}
