//! An aggregate in service on a disk in memory, with a little of everything in it.

use std::sync::Arc;

use baton_types::{
    AggregateId, ClientId, Epoch, Fid, FileName, FilesetId, FilesetName, Incarnation, ServerId, Timestamp, Vnode,
};
use uuid::Uuid;

use crate::aggregate::{Aggregate, Fileset, Need, Opened};
use crate::buffer::Buffer;
use crate::create::{Overwrite, Plan, create};
use crate::device::double::Disk;
use crate::fence::{Grant, Ring};
use crate::fileset::{self, Birth, Holders, Names, Object, Place, catalog};
use crate::format::{
    BLOCK_BYTES, Checksum, ClientState, Extent, FileKind, FilesetHeader, FilesetKind, Geometry, HashKey, Key, Lsn,
    MountPoint, RecordKind,
};
use crate::nodes::Nodes;
use crate::salvage::{Data, Fault, Report, check};
use crate::transaction::{Operation, Reply, SessionId, Transaction};
use crate::tree::Stop;

/// The fileset that is used.
pub const FILESET: FilesetId = FilesetId(1_200);
const HASH_KEY: HashKey = HashKey([9; 16]);
const BIRTH: Birth<'static> = Birth {
    mode: 0o640,
    acl: b"an ACL",
};

/// A disk, and who serves it.
pub struct World {
    pub disk: Disk,
    epoch: u64,
    aggregate: Option<Aggregate>,
    vnodes: std::ops::Range<u64>,
}

pub fn name(text: &str) -> FileName {
    FileName::parse(text.as_bytes()).unwrap()
}

/// The place of a name.
pub fn at(directory: Fid, name: &FileName) -> Place<'_> {
    Place { directory, name }
}

impl World {
    /// A new aggregate of 256 segments that nobody has served.
    pub fn new() -> World {
        let geometry = Geometry::new(256 * (64 << 10), 64 << 10, 4 << 10).unwrap();
        let disk = Disk::new(geometry.device_bytes, 1);
        let plan = Plan {
            id: AggregateId(Uuid::from_u128(1)),
            name: "agg1".parse().unwrap(),
            geometry: Some(geometry),
            overwrite: Overwrite::Refuse,
            created: Timestamp(0),
        };
        create(&disk.port(), &plan).unwrap();
        World {
            disk,
            epoch: 0,
            aggregate: None,
            vnodes: 0..0,
        }
    }

    /// One that is served, with a fileset that has a root directory.
    pub fn served() -> World {
        let mut world = World::new();
        world.take_over();
        let header = FilesetHeader {
            kind: FilesetKind::ReadWrite,
            name: FilesetName::parse("user.ito").unwrap(),
            hash_key: HASH_KEY,
            created: Timestamp(0),
            quota_bytes: 0,
            quota_files: 0,
            newest_snapshot: Lsn(0),
            origin: 0,
            snapshots_taken: 0,
            version: 0,
        };
        world.system(RecordKind::Fileset, |transaction| {
            catalog::create(transaction, FILESET, &header)
        });
        world.change(|transaction, names| fileset::make_root(transaction, names, FILESET, BIRTH).map(|_| ()));
        let client = ClientId(Uuid::from_u128(5));
        let aggregate = world.aggregate();
        let (_, session) = aggregate.open_session(client, Timestamp(1)).unwrap();
        let state = ClientState {
            session: session.0,
            time: Timestamp(1),
            lapsed: None,
        };
        aggregate.record_client(client, state).unwrap();
        aggregate.record_hold(FILESET, client).unwrap();
        let (_, range) = aggregate.grant_vnodes(session, FILESET).unwrap();
        world.vnodes = range.first.number()..range.first.number() + u64::from(range.count);
        world.exactly_once(session);
        world
    }

    /// A directory by way of the session, so that there are a stream and a reply.
    fn exactly_once(&mut self, session: SessionId) {
        let operation = Operation {
            session,
            sequence: 1,
            ..self.operation()
        };
        let names = Names::new(HASH_KEY);
        let root = self.root();
        let done = self.fileset().change(&operation, Need::GROWTH, |transaction| {
            let called = name("once");
            let place = at(root, &called);
            Ok(fileset::mkdir(transaction, &names, place, BIRTH)?.reply())
        });
        done.unwrap().answer.unwrap();
    }

    /// The next epoch; the owner before, if any, simply stops.
    pub fn take_over(&mut self) {
        self.try_take_over().unwrap();
    }

    fn try_take_over(&mut self) -> baton_types::Result<()> {
        self.epoch += 1;
        let device = Arc::new(self.disk.port());
        let grant = Grant {
            epoch: Epoch(self.epoch),
            server: ServerId(Uuid::from_u128(2)),
            incarnation: Incarnation(Uuid::from_u128(self.epoch.into())),
            boot: Uuid::from_u128(3),
            principal: "hosts/fs1".to_owned(),
            ring: Ring::Vouched,
        };
        let opened = Opened::open(device.clone(), Nodes::new(device))?;
        let claimed = opened.claim(grant, Timestamp(1))?;
        self.aggregate = Some(claimed.recover()?.seal()?);
        Ok(())
    }

    /// A copy of another one's disk, taken over.
    pub fn on(other: &World, seed: u64) -> World {
        let mut world = World {
            disk: other.disk.fork(seed),
            epoch: other.epoch,
            aggregate: None,
            vnodes: other.vnodes.clone(),
        };
        world.take_over();
        world
    }

    /// A disk that somebody left, taken over under `epoch`.
    pub fn of(disk: Disk, epoch: u64) -> World {
        World::try_of(disk, epoch).unwrap()
    }

    /// The same, if it can be.
    pub fn try_of(disk: Disk, epoch: u64) -> baton_types::Result<World> {
        let mut world = World {
            disk,
            epoch: epoch - 1,
            aggregate: None,
            vnodes: 0..0,
        };
        world.try_take_over()?;
        Ok(world)
    }

    /// The same world on another disk, taken over under `epoch`.
    pub fn after(&self, disk: Disk, epoch: u64) -> World {
        let vnodes = self.vnodes.clone();
        World {
            vnodes,
            ..World::of(disk, epoch)
        }
    }

    pub fn aggregate(&self) -> Aggregate {
        self.aggregate.clone().unwrap()
    }

    pub fn fileset(&self) -> Fileset {
        self.aggregate().fileset(FILESET).unwrap()
    }

    /// Everything is on the disk.
    pub fn settle(&self) {
        let aggregate = self.aggregate();
        aggregate.wait(aggregate.last()).unwrap();
    }

    fn operation(&mut self) -> Operation {
        let vnode = self.vnodes.next().and_then(|number| Vnode::new(number).ok());
        Operation {
            vnode,
            unique: vnode.map_or(1, |vnode| vnode.number() * 7),
            time: Timestamp(5),
            uid: 1_000,
            gid: 100,
            ..Operation::default()
        }
    }

    /// A change to the fileset; its operation names a new vnode.
    pub fn change<T>(&mut self, mut make: impl FnMut(&mut Transaction<'_>, &Names) -> Result<T, Stop>) -> T {
        let (operation, names) = (self.operation(), Names::new(HASH_KEY));
        let mut made = None;
        let done = self.fileset().change(&operation, Need::data(64), |transaction| {
            made = Some(make(transaction, &names)?);
            Ok(Reply::done())
        });
        done.unwrap().answer.unwrap();
        made.unwrap()
    }

    /// A change to the system tree.
    pub fn system<T>(&mut self, kind: RecordKind, mut make: impl FnMut(&mut Transaction<'_>) -> Result<T, Stop>) -> T {
        let changed = self
            .aggregate()
            .change_system(kind, &Operation::default(), |transaction| make(transaction));
        changed.unwrap().1
    }

    pub fn root(&self) -> Fid {
        let read = self.fileset().read(|view| view.get(Key::attributes(Vnode::ROOT)));
        let attributes = crate::format::Attributes::decode(&read.unwrap().unwrap()).unwrap();
        Fid {
            fileset: FILESET,
            vnode: Vnode::ROOT,
            unique: attributes.unique,
        }
    }

    /// A file with these bytes, a whole number of blocks.
    pub fn file(&mut self, directory: Fid, called: &str, bytes: &[u8]) -> Object {
        self.change(|transaction, names| {
            let place = Place {
                directory,
                name: &name(called),
            };
            let mut object = fileset::create(transaction, names, place, BIRTH)?;
            write(transaction, &mut object, bytes)?;
            Ok(object)
        })
    }

    /// A little of everything.
    pub fn fill(&mut self, tag: &str) {
        let root = self.root();
        let called = format!("{tag} d");
        let directory = self.change(|transaction, names| {
            let called = name(&called);
            let place = at(root, &called);
            fileset::mkdir(transaction, names, place, BIRTH)
        });
        let file = self.file(directory.fid, "file", &[tag.len() as u8; 3 * BLOCK_BYTES]);
        self.file(directory.fid, "gone", &[1; BLOCK_BYTES]);
        self.file(directory.fid, "open", &[2; 2 * BLOCK_BYTES]);
        self.change(|transaction, names| {
            let [hard, gone, open] = ["hard", "gone", "open"].map(name);
            fileset::link(transaction, names, at(directory.fid, &hard), file.fid)?;
            fileset::unlink(transaction, names, at(directory.fid, &gone), Holders::Nobody)?;
            fileset::unlink(transaction, names, at(directory.fid, &open), Holders::Somebody).map(|_| ())
        });
        self.change(|transaction, names| {
            let called = name("soft");
            let place = at(directory.fid, &called);
            fileset::symlink(transaction, names, place, BIRTH, b"../file").map(|_| ())
        });
        self.change(|transaction, names| {
            let called = name("pipe");
            let place = at(directory.fid, &called);
            fileset::mknod(transaction, names, place, BIRTH, (FileKind::Fifo, 0)).map(|_| ())
        });
        self.change(|transaction, names| {
            let called = name("elsewhere");
            let place = at(directory.fid, &called);
            let leads_to = MountPoint::Regular(FilesetId(99));
            fileset::create_mount_point(transaction, names, place, BIRTH, leads_to).map(|_| ())
        });
        self.change(|transaction, names| {
            let set = fileset::SetXattr::Always;
            let attribute = (&b"user.tag"[..], &[b'v'; 3_000][..]);
            fileset::set_xattr(transaction, names, file.fid, attribute, set).map(|_| ())
        });
    }

    /// What a check of the disk, as it is now, finds.
    pub fn check(&self) -> Report {
        self.settle();
        check_disk(&self.disk)
    }

    /// The kinds of faults that a check finds.
    pub fn faults(&self) -> Vec<Fault> {
        faults(&self.check())
    }
}

pub fn check_disk(disk: &Disk) -> Report {
    let device = Arc::new(disk.port());
    check(device.clone(), Nodes::new(device), Data::Read).unwrap()
}

pub fn faults(report: &Report) -> Vec<Fault> {
    let faults = report
        .findings
        .iter()
        .filter(|finding| finding.gravity == crate::salvage::Gravity::Fault);
    let mut kinds: Vec<_> = faults.map(|finding| finding.fault).collect();
    kinds.dedup();
    kinds
}

/// Gives a new file its bytes.
pub fn write(transaction: &mut Transaction<'_>, object: &mut Object, bytes: &[u8]) -> Result<(), Stop> {
    let mut at = 0;
    for run in transaction.allocate((bytes.len() / BLOCK_BYTES) as u32)? {
        let len = usize::from(run.count) * BLOCK_BYTES;
        let part = &bytes[at..at + len];
        let extent = Extent {
            flags: 0,
            unit_shift: 12,
            block: run.block,
            count: run.count as u8,
            birth: Lsn(0),
            checksums: part.chunks(BLOCK_BYTES).map(Checksum::of).collect(),
        };
        transaction.put(
            Key::extent(object.fid.vnode, (at / BLOCK_BYTES) as u64),
            extent.encode(),
        );
        transaction.write(run.block, Buffer::padded(part));
        at += len;
    }
    object.attributes.size = bytes.len() as u64;
    object.attributes.blocks = (bytes.len() / BLOCK_BYTES) as u64;
    transaction.usage().bytes += bytes.len() as u64;
    transaction.put(Key::attributes(object.fid.vnode), object.attributes.encode());
    Ok(())
}
