//! Who owns what besides: said wrong, or not to be read any more, it is found and put right, and nothing is lost with it.

use std::sync::Arc;

use baton_types::{AggregateId, Epoch, Fid, Incarnation, ServerId, Timestamp};
use bytes::Bytes;
use uuid::Uuid;

use crate::aggregate::{Fileset, Reclaimed};
use crate::device::double::Disk;
use crate::fence::{Grant, Ring, Slots, read_slots};
use crate::file::{Copy, copy_as, read, truncate, write};
use crate::format::{BLOCK_BYTES, Block, Extent, Further, Geometry, Key, Lsn, Root, RootPlace, Segment};
use crate::salvage::tests::snapshots::{delete, take};
use crate::salvage::tests::world::{World, check_disk, faults};
use crate::salvage::{Data, Fault, Unreadable, repair};
use crate::space::Space;
use crate::transaction::Operation;

const LEN: usize = 6 * BLOCK_BYTES;

/// A file that was written anew since a snapshot, and one that took back what it was then.
struct Subject {
    world: World,
    at: Lsn,
    files: [Fid; 2],
}

fn bytes(fileset: &Fileset, fid: Fid) -> Vec<u8> {
    read(fileset, fid, 0, LEN + 1).unwrap().to_vec()
}

impl Subject {
    fn new() -> Subject {
        let mut world = World::served();
        let root = world.root();
        world.fill("a");
        let files = ["f", "g"].map(|called| world.file(root, called, &[0; BLOCK_BYTES]).fid);
        let fileset = world.fileset();
        let write = |byte| {
            let done = write(&fileset, &Operation::default(), files[0], 0, &[byte; LEN]);
            done.unwrap().answer.unwrap();
        };
        write(1);
        let at = take(&world, "then");
        write(2);
        let copy = Copy {
            source: (files[0], 0),
            past: Some(at),
            target: (files[1], 0),
            len: LEN as u64,
        };
        let done = copy_as(&fileset, &Operation::default(), copy, &mut |_, _| Ok(()));
        done.unwrap().answer.unwrap();
        // All of it is in both roots.
        for round in 0..4 {
            world.fill(&format!("b{round}"));
            world.aggregate().checkpoint().unwrap();
        }
        world.settle();
        assert_eq!(world.faults(), []);
        Subject { world, at, files }
    }

    /// What it took back.
    fn block(&self) -> Block {
        let value = self
            .world
            .fileset()
            .read(|view| view.get(Key::extent(self.files[1].vnode, 0)));
        Extent::decode(&value.unwrap().unwrap()).unwrap().block
    }

    /// The space tree says something else of who owns what.
    fn say(&self, harm: impl FnOnce(&mut Space)) {
        let aggregate = self.world.aggregate();
        harm(&mut aggregate.engine.space.lock());
        (0..2).for_each(|_| aggregate.checkpoint().unwrap());
        self.world.settle();
    }

    /// Repaired, it is whole, holds the same, and gives back all of it in the end.
    fn is_repaired(&self, case: &str) {
        let disk = &self.world.disk;
        let found = check_disk(disk);
        assert!(!found.is_sound(), "{case}");
        let repaired = repair(
            Arc::new(disk.port()),
            grant(disk),
            Timestamp(77),
            Data::Read,
            Unreadable::Leave,
        );
        let repaired = repaired.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert!(repaired.left.is_sound(), "{case}: {:?}", repaired.left.findings);
        let world = self.world.after(disk.fork(1), next(disk));
        let after = Subject {
            world,
            at: self.at,
            files: self.files,
        };
        after.ends_well(case);
    }

    fn ends_well(&self, case: &str) {
        let (aggregate, fileset) = (self.world.aggregate(), self.world.fileset());
        let past = fileset.at(self.at).unwrap();
        assert_eq!(bytes(&past, self.files[0]), [1; LEN], "{case}");
        assert_eq!(bytes(&fileset, self.files[1]), [1; LEN], "{case}");
        aggregate.census().unwrap();
        delete(&self.world, self.at);
        loop {
            match aggregate.reclaim().unwrap() {
                Reclaimed::Blocks(_) => drop(aggregate.census().unwrap()),
                Reclaimed::Later => aggregate.checkpoint().unwrap(),
                Reclaimed::Nothing => break,
            }
        }
        assert_eq!(bytes(&fileset, self.files[1]), [1; LEN], "{case}");
        let before = aggregate.census().unwrap().data;
        let done = truncate(&fileset, &Operation::default(), self.files[1], 0);
        done.unwrap().answer.unwrap();
        assert_eq!(aggregate.census().unwrap().data, before - 6, "{case}");
        assert_eq!(self.world.faults(), [], "{case}");
    }
}

fn grant(disk: &Disk) -> Grant {
    let epoch = slots(disk).next_era().unwrap();
    Grant {
        epoch,
        server: ServerId(Uuid::from_u128(99)),
        incarnation: Incarnation(Uuid::from_u128(epoch.0.into())),
        boot: Uuid::from_u128(98),
        principal: "salvage".to_owned(),
        ring: Ring::Vouched,
    }
}

/// The next epoch after whoever was the last.
fn next(disk: &Disk) -> u64 {
    slots(disk).next(Epoch::NONE).unwrap().0
}

fn slots(disk: &Disk) -> Slots {
    read_slots(&disk.port(), AggregateId(Uuid::from_u128(1))).unwrap()
}

fn further(count: u32, owners: u32) -> Option<Bytes> {
    Some(Further { count, owners }.encode().into())
}

#[test]
fn owners_that_are_said_wrong_are_found_and_counted_anew() {
    let subject = Subject::new();
    let block = subject.block();
    type Harm = fn(&mut Space, Block);
    let harms: &[(&str, Harm)] = &[
        ("none are said", |space, block| {
            space.tree.active.insert(Key::further(block), None, Lsn(0));
        }),
        ("fewer blocks", |space, block| {
            space.tree.active.insert(Key::further(block), further(2, 1), Lsn(0));
        }),
        ("more owners", |space, block| {
            space.tree.active.insert(Key::further(block), further(6, 3), Lsn(0));
        }),
        ("of others", |space, block| {
            let other = Key::further(Block(block.0 + 6));
            space.tree.active.insert(other, further(1, 1), Lsn(0));
        }),
        ("twice", |space, block| {
            let within = Key::further(Block(block.0 + 3));
            space.tree.active.insert(within, further(1, 1), Lsn(0));
        }),
        ("nothing", |space, block| {
            space
                .tree
                .active
                .insert(Key::further(block), Some(vec![0; 8].into()), Lsn(0));
        }),
    ];
    subject.say(|space| assert!(space.has_further()));
    for (index, (case, harm)) in harms.iter().enumerate() {
        let fork = Subject {
            world: World::on(&subject.world, 500 + index as u64),
            ..subject
        };
        fork.say(|space| harm(space, block));
        let found = check_disk(&fork.world.disk);
        let kinds = faults(&found);
        assert!(
            kinds.contains(&Fault::Block) || kinds.contains(&Fault::Segment),
            "{case}: {:?}",
            found.findings
        );
        fork.is_repaired(case);
    }
}

#[test]
fn owners_are_counted_anew_if_the_space_tree_is_lost() {
    let subject = Subject::new();
    let disk = &subject.world.disk;
    let newest = newest(disk);
    disk.flip(newest.space.unwrap().block.offset(), 3);
    subject.is_repaired("lost");
}

#[test]
fn owners_that_cannot_be_seen_for_damage_stay() {
    let subject = Subject::new();
    let block = subject.block();
    // The rest of the record of space is wrong, so that it is made anew.
    subject.say(|space| {
        let nobodys = Key::quarantine(Epoch(77), Segment(40));
        space.tree.active.insert(nobodys, Some(Bytes::new()), Lsn(0));
    });
    assert_eq!(subject.world.faults(), [Fault::Segment]);
    let disk = &subject.world.disk;
    let root = subject.world.fileset().cell.state.lock().tree.root.unwrap();
    disk.flip(root.block.offset(), 3);
    let repaired = repair(
        Arc::new(disk.port()),
        grant(disk),
        Timestamp(77),
        Data::Skip,
        Unreadable::Leave,
    )
    .unwrap();
    assert!(faults(&repaired.left).contains(&Fault::Node));
    let world = World::of(disk.fork(1), next(disk));
    let engine = &world.aggregate().engine;
    let said = engine.retrying(|pinned| engine.space.lock().further(&engine.nodes, pinned));
    assert_eq!(said.unwrap().of(block), 1);
}

fn newest(disk: &Disk) -> Root {
    let places = (0..Geometry::RING).flat_map(|index| RootPlace::BOTH.map(|place| Geometry::root_offset(index, place)));
    let roots = places.filter_map(|at| Root::decode(&disk.peek(at, Geometry::ROOT_BYTES_MAX)).ok());
    roots.max_by_key(Root::name).unwrap()
}

#[test]
fn copy_of_what_is_damaged_is_no_end_of_the_log() {
    let mut subject = Subject::new();
    let block = subject.block();
    subject.world.disk.flip(block.offset(), 3);
    let root = subject.world.root();
    let fileset = subject.world.fileset();
    let other = subject.world.file(root, "h", &[0; BLOCK_BYTES]).fid;
    let copy = Copy {
        source: (subject.files[0], 0),
        past: Some(subject.at),
        target: (other, 0),
        len: LEN as u64,
    };
    // The files share it, and the next record the same: what was there before is no data of theirs.
    subject.world.settle();
    let done = copy_as(&fileset, &Operation::default(), copy, &mut |_, _| Ok(()));
    done.unwrap().answer.unwrap();
    let done = truncate(&fileset, &Operation::default(), subject.files[1], 0);
    done.unwrap().answer.unwrap();
    let copy = Copy {
        target: (subject.files[1], 0),
        ..copy
    };
    let done = truncate(&fileset, &Operation::default(), other, 0);
    done.unwrap().answer.unwrap();
    let done = copy_as(&fileset, &Operation::default(), copy, &mut |_, _| Ok(()));
    let copied = done.unwrap().lsn;
    subject.world.settle();
    subject.world.take_over();
    assert!(subject.world.aggregate().last() >= copied);
    assert_eq!(
        subject.world.aggregate().census().map(|census| census.data > 0),
        Ok(true)
    );
}
