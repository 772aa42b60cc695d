//! A device that fails, and one that is full: what is said, what is refused, and that nothing told is lost.

use std::sync::Arc;

use baton_types::{AggregateId, Epoch, FilesetId, FilesetName, Incarnation, Kind, ServerId, Timestamp};
use bytes::Bytes;
use uuid::Uuid;

use super::{Aggregate, Fileset, Need, Opened};
use crate::buffer::Buffer;
use crate::create::{Overwrite, Plan, create};
use crate::device::double::{Disk, On, Port, Trouble};
use crate::fence::{Grant, Ring};
use crate::format::{
    BLOCK_BYTES, Checksum, Extent, FilesetHeader, FilesetKind, Geometry, HashKey, Key, Lsn, RecordKind,
};
use crate::nodes::Nodes;
use crate::transaction::{Operation, Reply};

const FILESET: FilesetId = FilesetId(7);

fn disk() -> Disk {
    let geometry = Geometry::new(200 * (64 << 10), 64 << 10, 4 << 10).unwrap();
    let disk = Disk::new(geometry.device_bytes, 7);
    let plan = Plan {
        id: AggregateId(Uuid::from_u128(1)),
        name: "agg1".parse().unwrap(),
        geometry: Some(geometry),
        overwrite: Overwrite::Refuse,
        created: Timestamp(0),
    };
    create(&disk.port(), &plan).unwrap();
    disk
}

fn serve(port: impl Into<Arc<Port>>, epoch: u64) -> baton_types::Result<Aggregate> {
    let device: Arc<Port> = port.into();
    let grant = Grant {
        epoch: Epoch(epoch),
        server: ServerId(Uuid::from_u128(2)),
        incarnation: Incarnation(Uuid::from_u128(epoch.into())),
        boot: Uuid::from_u128(3),
        principal: "hosts/fs1".to_owned(),
        ring: Ring::Vouched,
    };
    let opened = Opened::open(device.clone(), Nodes::new(device))?;
    opened.claim(grant, Timestamp(1))?.recover()?.seal()
}

fn fileset(aggregate: &Aggregate) -> Fileset {
    if let Ok(fileset) = aggregate.fileset(FILESET) {
        return fileset;
    }
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
    let made = aggregate.change_system(RecordKind::Fileset, &Operation::default(), |transaction| {
        transaction.put(Key::fileset_header(FILESET), header.encode());
        Ok(())
    });
    made.unwrap();
    aggregate.fileset(FILESET).unwrap()
}

fn key(number: u64) -> Key {
    Key::new(number, crate::format::KeyKind::Attributes, 0)
}

fn put(fileset: &Fileset, number: u64) -> baton_types::Result<Lsn> {
    let done = fileset.change(&Operation::default(), Need::GROWTH, |transaction| {
        transaction.put(key(number), vec![number as u8; 100]);
        Ok(Reply::done())
    })?;
    done.answer.map(|_| done.lsn)
}

fn held(fileset: &Fileset) -> Vec<u64> {
    let read = fileset.read(|view| {
        view.scan(Key::FIRST, Key::LAST)
            .map(|item| {
                let (key, value): (Key, Bytes) = item?;
                assert_eq!(value, vec![key.object as u8; 100]);
                Ok(key.object)
            })
            .collect::<Result<Vec<u64>, crate::tree::Stop>>()
    });
    read.unwrap()
}

#[test]
fn what_was_told_is_there_under_the_next_epoch() {
    let disk = disk();
    let mut expected = Vec::new();
    for round in 0..12 {
        let aggregate = serve(disk.port(), round + 1).unwrap();
        let fileset = fileset(&aggregate);
        assert_eq!(held(&fileset), expected, "round {round}");
        for number in 0..200 {
            let number = round * 1_000 + number;
            put(&fileset, number).unwrap();
            expected.push(number);
        }
        aggregate.wait(aggregate.last()).unwrap();
        if round % 3 == 0 {
            aggregate.checkpoint().unwrap();
        }
        if round % 4 == 1 {
            aggregate.detach(Timestamp(9)).unwrap();
        }
    }
}

#[test]
fn after_a_write_that_failed_nothing_is_told() {
    for on in [On::Write, On::Flush] {
        let disk = disk();
        let port = Arc::new(disk.port());
        let aggregate = serve(port.clone(), 1).unwrap();
        let fileset_of = fileset(&aggregate);
        let told = put(&fileset_of, 1).unwrap();
        aggregate.wait(told).unwrap();
        port.arm(on, 1, Trouble::Fail);
        let untold = put(&fileset_of, 2).unwrap();
        let error = aggregate.wait(untold).unwrap_err();
        assert_eq!(error.kind, Kind::Io, "{error}");
        // It is not the device that is asked again: whatever comes is refused with what failed first.
        assert_eq!(put(&fileset_of, 3).unwrap_err(), error);
        assert_eq!(aggregate.checkpoint().unwrap_err(), error);
        assert!((told..untold).contains(&aggregate.durable()));
        let next = serve(disk.port(), 2).unwrap();
        assert!(held(&fileset(&next)).starts_with(&[1]));
    }
}

#[test]
fn a_checkpoint_that_fails_frees_nothing_of_the_trees_in_use() {
    let disk = disk();
    let aggregate = serve(disk.port(), 1).unwrap();
    let put_every = |step: usize, aggregate: &Aggregate| {
        let fileset = fileset(aggregate);
        for number in (0..1_500).step_by(step) {
            put(&fileset, number).unwrap();
        }
        fileset
    };
    put_every(1, &aggregate);
    aggregate.checkpoint().unwrap();
    aggregate.detach(Timestamp(9)).unwrap();

    let port = Arc::new(disk.port());
    let aggregate = serve(port.clone(), 2).unwrap();
    // Every leaf has a change, more leaves than a merge reads at once.
    let fileset = put_every(10, &aggregate);
    let nodes = fileset.read(|view| {
        let root = view.root.expect("a tree");
        let node = view.nodes.read(&root)?;
        Ok((0..node.len())
            .map(|index| node.pointer(index))
            .chain([root])
            .collect::<Vec<_>>())
    });
    let nodes = nodes.unwrap();
    port.arm(On::Flush, 1, Trouble::Fail);
    assert_eq!(aggregate.checkpoint().unwrap_err().kind, Kind::Io);
    let space = aggregate.engine.space.lock();
    let freed: Vec<_> = space.pending().iter().flat_map(crate::space::Runs::iter).collect();
    for node in &nodes {
        let is_freed = freed
            .iter()
            .any(|run| (run.block.0..run.block.0 + u64::from(run.count)).contains(&node.block.0));
        assert!(!is_freed, "the node at block {} is of the tree in use", node.block);
    }
}

#[test]
fn a_checkpoint_that_fails_leaves_every_block_in_one_state() {
    for nth in 1..4 {
        let port = Arc::new(disk().port());
        let aggregate = serve(port.clone(), 1).unwrap();
        let fileset = fileset(&aggregate);
        // The roots that are there have lists of pending frees, which the next one replaces.
        for round in 0..4 {
            for number in 0..300 {
                put(&fileset, number + round).unwrap();
            }
            aggregate.checkpoint().unwrap();
        }
        put(&fileset, 1).unwrap();
        port.arm(On::Flush, nth, Trouble::Fail);
        assert_eq!(aggregate.checkpoint().unwrap_err().kind, Kind::Io, "flush {nth}");
        let census = aggregate.census().unwrap();
        assert!(census.lists > 0, "{census:?}");
    }
}

#[test]
fn a_full_aggregate_says_so_and_deletes_still_work() {
    let disk = disk();
    let aggregate = serve(disk.port(), 1).unwrap();
    let fileset = fileset(&aggregate);
    let block = |number: u64| Key::extent(baton_types::Vnode::new(number).unwrap(), 0);
    for round in 0..3 {
        let mut made = Vec::new();
        let refused = loop {
            let number = 1 + made.len() as u64;
            match write(&fileset, block(number)) {
                Ok(_) => made.push(number),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind, Kind::NoSpace, "round {round}: {refused}");
        assert!(refused.to_string().contains("fts move"), "{refused}");
        // 200 segments of 16 blocks, of which 32 are kept: most of the rest was filled.
        assert!(made.len() > 1_500, "round {round}: {} blocks", made.len());
        let kept = aggregate.space().free;
        for number in &made {
            delete(&fileset, block(*number)).unwrap();
        }
        for _ in 0..3 {
            aggregate.checkpoint().unwrap();
        }
        assert!(
            aggregate.space().free > kept + 1_400,
            "round {round}: {:?}",
            aggregate.space()
        );
        assert_eq!(held(&fileset), [0; 0]);
    }
}

fn write(fileset: &Fileset, key: Key) -> baton_types::Result<Lsn> {
    let done = fileset.change(&Operation::default(), Need::data(1), |transaction| {
        let runs = transaction.allocate(1)?;
        let bytes = Buffer::zeroed(BLOCK_BYTES);
        let extent = Extent {
            flags: 0,
            unit_shift: 12,
            block: runs[0].block,
            count: 1,
            birth: Lsn(0),
            checksums: vec![Checksum::of(&bytes)],
        };
        transaction.put(key, extent.encode());
        transaction.write(runs[0].block, bytes);
        Ok(Reply::done())
    })?;
    done.answer.map(|_| done.lsn)
}

fn delete(fileset: &Fileset, key: Key) -> baton_types::Result<Lsn> {
    let done = fileset.change(&Operation::default(), Need::UPKEEP, |transaction| {
        let value = transaction.get(key)?.expect("it was put before");
        let extent = Extent::decode(&value)?;
        transaction.free(extent.block, extent.count.into(), extent.birth);
        transaction.delete(key);
        Ok(Reply::done())
    })?;
    done.answer.map(|_| done.lsn)
}
