//! What the tests of this crate are made of: an aggregate on a disk in memory, exported.

use std::sync::Arc;

use baton_aggregate::aggregate::{Aggregate, Opened, Running};
use baton_aggregate::create::{Overwrite, Plan, create};
use baton_aggregate::device::double::Disk;
use baton_aggregate::fence::{Grant, Ring};
use baton_aggregate::fileset::Birth;
use baton_aggregate::format::{BLOCK_BYTES, FilesetHeader, FilesetKind, Geometry, HashKey, Lsn};
use baton_aggregate::nodes::Nodes;
use baton_aggregate::transaction::Operation;
use baton_types::{
    AggregateId, AggregateName, BootClock, Clock, Epoch, FilesetId, FilesetName, Incarnation, ServerId, Timestamp,
};
use uuid::Uuid;

use crate::exports::Export;

/// An aggregate of 160 segments of 64 KiB, called `agg1`, that nobody ever owned.
pub(crate) fn new_disk(seed: u64) -> Disk {
    let first = Geometry::HEADS_AT + Geometry::RING as u64 * Geometry::HEAD_BYTES;
    let bytes = first + 160 * (64 << 10) + BLOCK_BYTES as u64;
    let disk = Disk::new(bytes, seed);
    let plan = Plan {
        id: AggregateId(Uuid::from_u128(seed.into())),
        name: AggregateName::parse("agg1").unwrap(),
        geometry: Some(Geometry::new(bytes, 64 << 10, 8 << 10).unwrap()),
        overwrite: Overwrite::Refuse,
        created: Timestamp(1),
    };
    create(&disk.port(), &plan).unwrap();
    disk
}

/// Claims what is on `disk` and serves it; with other words, a server that has just started.
pub(crate) fn export(disk: &Disk, epoch: Epoch) -> Arc<Export> {
    let port = Arc::new(disk.port());
    let grant = Grant {
        epoch,
        server: ServerId(Uuid::from_u128(1)),
        incarnation: Incarnation(Uuid::from_u128(epoch.0.into())),
        boot: Uuid::from_u128(77),
        principal: "hosts/fs1".into(),
        ring: Ring::Vouched,
    };
    let opened = Opened::open(port.clone(), Nodes::new(port)).unwrap();
    let claimed = opened.claim(grant, Timestamp(1)).unwrap();
    let claimed_at = BootClock.now();
    let aggregate = claimed.recover().unwrap().seal().unwrap();
    let running = Running::start(aggregate, Arc::new(BootClock)).unwrap();
    Arc::new(Export::new(running, claimed_at))
}

/// A fileset with a root directory, owned by uid 0.
pub(crate) fn make_fileset(aggregate: &Aggregate, id: u64, name: &str) -> FilesetId {
    let id = FilesetId(id);
    let header = FilesetHeader {
        kind: FilesetKind::ReadWrite,
        name: FilesetName::parse(name).unwrap(),
        hash_key: HashKey([7; 16]),
        created: Timestamp(1),
        quota_bytes: 0,
        quota_files: 0,
        newest_snapshot: Lsn(0),
        origin: 0,
        snapshots_taken: 0,
        version: 0,
    };
    let birth = Birth { mode: 0o755, acl: &[] };
    let made = aggregate
        .create_fileset(id, &header, &Operation::default(), birth)
        .unwrap();
    made.answer.unwrap();
    aggregate.wait(made.lsn).unwrap();
    id
}
