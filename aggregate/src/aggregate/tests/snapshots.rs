//! Snapshots: read as of their moment, deleted in any order, and nothing lost or leaked whatever comes between.
//!
//! The census looks into every tree at each step: who has a block, and whether the lists of dead ones say the same.

use baton_types::{FileName, FilesetId, Kind, Result, Timestamp};

use super::between;
use super::rig::{Rig, claim, name, op, value};
use crate::aggregate::{Fileset, Namesake, Reclaimed};
use crate::fileset::catalog;
use crate::format::{Features, Geometry, Key, Lsn, Root, RootPlace};
use crate::transaction::Operation;

/// Items, on some leaves.
const ITEMS: u64 = 120;

pub fn named(text: &str) -> FileName {
    FileName::parse(text.as_bytes()).unwrap()
}

pub fn take(fileset: &Fileset, text: &str) -> Lsn {
    try_take(fileset, text).unwrap()
}

pub fn try_take(fileset: &Fileset, text: &str) -> Result<Lsn> {
    let operation = Operation {
        time: Timestamp(5),
        ..op(0, 0)
    };
    fileset
        .take_snapshot(&operation, &named(text), Namesake::Refuse)?
        .answer
}

pub fn delete(fileset: &Fileset, id: Lsn) {
    fileset.delete_snapshot(&op(0, 0), id).unwrap().answer.unwrap();
}

/// Items and data of a round, some of them as they were in the rounds before.
pub fn change(rig: &Rig, fileset: &Fileset, round: u64) {
    for number in (0..ITEMS).filter(|number| number % 3 == round % 3) {
        rig.put(fileset, name(number), &value(round, 300));
    }
    for number in 0..4 {
        rig.write_data(fileset, 1_000 + (number + round) % 6, 3, round as u8);
    }
    rig.commit();
}

/// Gives all space back that can be.
pub fn reclaim(rig: &Rig) {
    for _ in 0..500 {
        match rig.aggregate.reclaim().unwrap() {
            Reclaimed::Blocks(_) => {}
            Reclaimed::Later => rig.checkpoint(),
            Reclaimed::Nothing => return,
        }
        rig.census();
    }
    unreachable!("there is no end of what is given back");
}

/// Items, and the data of files.
pub type Seen = (Vec<(Key, Vec<u8>)>, Vec<Option<Vec<u8>>>);

/// What it looks like from outside.
pub fn seen(rig: &Rig, fileset: &Fileset) -> Seen {
    rig.commit();
    let data = (1_000..1_006).map(|number| rig.data(fileset, number)).collect();
    (rig.all(fileset), data)
}

/// Blocks of data and of nodes that are in use once everything that was freed may be taken.
pub fn used(rig: &Rig) -> (u64, u64) {
    (0..4).for_each(|_| rig.checkpoint());
    let census = rig.census();
    assert_eq!(census.dead, 0);
    (census.data, census.nodes)
}

#[test]
fn snapshot_reads_as_of_its_moment_from_layers_from_nodes_and_under_the_next_owner() {
    let mut rig = Rig::with_segments(700, 60);
    let fileset = rig.make_fileset(7);
    change(&rig, &fileset, 0);
    let mut expected = Vec::new();
    for round in 1..5 {
        let taken = take(&fileset, &format!("s{round}"));
        expected.push((taken, fileset.usage(), seen(&rig, &fileset)));
        change(&rig, &fileset, round);
        if round == 2 {
            rig.checkpoint();
        }
        rig.census();
    }
    let check = |rig: &Rig, fileset: &Fileset| {
        assert_eq!(fileset.snapshots().len(), expected.len());
        for (id, usage, then) in &expected {
            let snapshot = fileset.at(*id).unwrap();
            assert_eq!(snapshot.usage(), *usage);
            assert_eq!(seen(rig, &snapshot), *then, "at {id}");
        }
    };
    check(&rig, &fileset);
    let fileset = rig.next_owner(7);
    check(&rig, &fileset);
    rig.checkpoint();
    rig.census();
    check(&rig, &fileset);
    let fileset = rig.next_owner(7);
    check(&rig, &fileset);
    let snapshot = fileset.at(expected[0].0).unwrap();
    let refused = rig.put_as(&snapshot, &op(0, 0), name(1), b"no").unwrap().answer;
    assert_eq!(refused.unwrap_err().kind, Kind::ReadOnly);
    delete(&fileset, expected[0].0);
    let stale = snapshot.read(|view| view.get(name(1))).unwrap_err();
    assert_eq!(stale.kind, Kind::Stale);
    assert_eq!(fileset.at(expected[0].0).err().unwrap().kind, Kind::NotFound);
}

/// The `number`th order of `count` things.
fn order(count: usize, mut number: usize) -> Vec<usize> {
    let mut left: Vec<_> = (0..count).collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        order.push(left.remove(number % left.len()));
        number /= left.len() + 1;
    }
    order
}

#[test]
fn space_returns_whatever_order_snapshots_are_deleted_in() {
    for number in 0..24 {
        let mut rig = Rig::with_segments(700, 70 + number as u64);
        let mut fileset = rig.make_fileset(7);
        change(&rig, &fileset, 0);
        let mut taken = Vec::new();
        for round in 1..5 {
            taken.push((take(&fileset, &format!("s{round}")), seen(&rig, &fileset)));
            change(&rig, &fileset, round);
            if (number + round as usize).is_multiple_of(2) {
                rig.checkpoint();
            }
        }
        let live = seen(&rig, &fileset);
        let mut left = taken.clone();
        for (step, index) in order(4, number).into_iter().enumerate() {
            let (id, _) = taken[index];
            delete(&fileset, id);
            left.retain(|(kept, _)| *kept != id);
            rig.census();
            if step % 2 == number % 2 {
                rig.commit();
                fileset = rig.next_owner(7);
            }
            if step != 1 {
                reclaim(&rig);
            }
            assert_eq!(seen(&rig, &fileset), live);
            for (kept, then) in &left {
                assert_eq!(
                    seen(&rig, &fileset.at(*kept).unwrap()),
                    *then,
                    "order {number}, at {kept}"
                );
            }
        }
        reclaim(&rig);
        let (data, nodes) = used(&rig);
        // The same without any snapshot; checkpoints and takeovers have made the trees of system and space larger.
        let plain = Rig::with_segments(700, 1);
        let fileset = plain.make_fileset(7);
        (0..5).for_each(|round| change(&plain, &fileset, round));
        let spare = used(&plain);
        assert_eq!(data, spare.0, "order {number}");
        assert!(
            nodes < spare.1 + 16,
            "order {number}: {nodes} blocks of nodes, and {} without",
            spare.1
        );
    }
}

#[test]
fn what_deleting_a_snapshot_gives_back_is_what_was_unique() {
    let rig = Rig::with_segments(700, 100);
    let fileset = rig.make_fileset(7);
    change(&rig, &fileset, 0);
    let mut taken = Vec::new();
    for round in 1..5 {
        taken.push(take(&fileset, &format!("s{round}")));
        change(&rig, &fileset, round);
    }
    (0..3).for_each(|_| rig.checkpoint());
    for index in [2, 0, 3, 1] {
        let unique = fileset.unique_blocks(taken[index]).unwrap();
        delete(&fileset, taken[index]);
        let mut given = 0;
        loop {
            match rig.aggregate.reclaim().unwrap() {
                Reclaimed::Blocks(blocks) => given += blocks,
                Reclaimed::Later => rig.checkpoint(),
                Reclaimed::Nothing => break,
            }
        }
        assert_eq!(given, unique, "snapshot {index}");
        assert!(given > 0);
    }
}

#[test]
fn snapshot_taken_while_a_checkpoint_runs_has_what_was_there_then() {
    let mut rig = Rig::with_segments(700, 101);
    let fileset = rig.make_fileset(7);
    change(&rig, &fileset, 0);
    rig.checkpoint();
    let first = take(&fileset, "first");
    let then = seen(&rig, &fileset);
    change(&rig, &fileset, 1);
    let other = fileset.clone();
    rig.port.then(between::root, move || {
        take(&other, "second");
    });
    rig.checkpoint();
    assert!(rig.port.is_over());
    let second = fileset.snapshots()[1].id;
    let later = seen(&rig, &fileset);
    change(&rig, &fileset, 2);
    rig.census();
    // One that goes while the root is written which has it for the first time.
    let (other, doomed) = (fileset.clone(), take(&fileset, "third"));
    change(&rig, &fileset, 3);
    rig.port.then(between::root, move || delete(&other, doomed));
    rig.checkpoint();
    rig.census();
    assert_eq!(seen(&rig, &fileset.at(second).unwrap()), later);
    let fileset = rig.next_owner(7);
    assert_eq!(seen(&rig, &fileset.at(first).unwrap()), then);
    assert_eq!(seen(&rig, &fileset.at(second).unwrap()), later);
    reclaim(&rig);
    assert_eq!(seen(&rig, &fileset.at(first).unwrap()), then);
}

#[test]
fn number_of_a_snapshot_that_is_kept_comes_to_no_other() {
    let rig = Rig::new(103);
    let fileset = rig.make_fileset(7);
    let first = take(&fileset, "first");
    assert_eq!(fileset.snapshot_numbered(1).unwrap().id, first);
    let all = u64::from(FilesetId::SNAPSHOT_NUMBERS);
    let aged = rig.aggregate.change_fileset(FilesetId(7), &op(0, 0), |transaction| {
        let mut header = catalog::header(transaction, FilesetId(7))?;
        header.snapshots_taken = all - 1;
        transaction.put(Key::fileset_header(FilesetId(7)), header.encode());
        Ok(())
    });
    aged.unwrap();
    take(&fileset, "second");
    take(&fileset, "third");
    let numbers: Vec<u16> = fileset.snapshots().iter().map(|snapshot| snapshot.number).collect();
    assert_eq!(numbers, [1, 0, 2]);
    assert_eq!(fileset.snapshot_named(b"third").unwrap().number, 2);
    assert_eq!(fileset.snapshot_named(b"fourth"), None);
}

#[test]
fn namesake_is_refused_or_replaced_and_a_repeated_operation_takes_one() {
    let rig = Rig::new(102);
    let fileset = rig.make_fileset(7);
    let session = rig.open_session();
    let operation = op(session, 1);
    let take = |operation: &Operation, namesake| fileset.take_snapshot(operation, &named(".backup"), namesake).unwrap();
    let first = take(&operation, Namesake::Refuse).answer.unwrap();
    assert_eq!(take(&operation, Namesake::Refuse).answer.unwrap(), first);
    let refused = take(&op(session, 2), Namesake::Refuse).answer.unwrap_err();
    assert_eq!(refused.kind, Kind::Exists);
    let second = take(&op(session, 3), Namesake::Replace).answer.unwrap();
    let all: Vec<_> = fileset.snapshots().iter().map(|snapshot| snapshot.id).collect();
    assert_eq!(all, [second]);
    assert_ne!(first, second);
    reclaim(&rig);
    assert_eq!(fileset.header().newest_snapshot, second);
    let mut rig = rig;
    rig.commit();
    let fileset = rig.next_owner(7);
    let again = fileset.take_snapshot(&op(session, 3), &named(".backup"), Namesake::Replace);
    assert_eq!(again.unwrap().answer.unwrap(), second);
    assert_eq!(fileset.snapshots().len(), 1);
}

#[test]
fn steps_hold_when_the_newest_root_rots_behind_them() {
    let mut rig = Rig::with_segments(700, 103);
    let mut fileset = rig.make_fileset(7);
    change(&rig, &fileset, 0);
    let mut taken = Vec::new();
    for round in 1..6 {
        taken.push((take(&fileset, &format!("s{round}")), seen(&rig, &fileset)));
        change(&rig, &fileset, round);
        rig.checkpoint();
    }
    for (id, _) in taken.drain(1..4).collect::<Vec<_>>() {
        delete(&fileset, id);
        for _ in 0..6 {
            if rig.aggregate.reclaim().unwrap() == Reclaimed::Later {
                rig.checkpoint();
            }
        }
        change(&rig, &fileset, id.0);
        let live = seen(&rig, &fileset);
        let index = Geometry::ring_index(rig.epoch);
        let places = RootPlace::BOTH.map(|place| Geometry::root_offset(index, place));
        let name = |at: &u64| {
            Root::decode(&rig.disk.peek(*at, Geometry::ROOT_BYTES_MAX))
                .unwrap()
                .name()
        };
        let newest = places.into_iter().max_by_key(name).unwrap();
        rig.port.stop();
        rig.disk.flip(newest + 100, 3);
        rig.epoch = rig.epoch.next().unwrap();
        (rig.port, rig.aggregate) = claim(&rig.disk, rig.epoch).unwrap();
        rig.census();
        fileset = rig.aggregate.fileset(FilesetId(7)).unwrap();
        assert_eq!(seen(&rig, &fileset), live);
        for (kept, then) in &taken {
            assert_eq!(seen(&rig, &fileset.at(*kept).unwrap()), *then);
        }
        rig.checkpoint();
        rig.census();
        rig.checkpoint();
    }
    reclaim(&rig);
    rig.census();
}

#[test]
fn hidden_fileset_gives_its_space_back_with_its_snapshots() {
    let mut rig = Rig::with_segments(700, 104);
    let fileset = rig.make_fileset(7);
    let (_, empty) = used(&rig);
    for round in 0..4 {
        change(&rig, &fileset, round);
        take(&fileset, &format!("s{round}"));
        if round % 2 == 0 {
            rig.checkpoint();
        }
    }
    let hidden = rig.aggregate.change_fileset(FilesetId(7), &op(0, 0), |transaction| {
        catalog::hide(transaction, FilesetId(7))
    });
    hidden.unwrap();
    for _ in 0..3 {
        rig.aggregate.reclaim().unwrap();
    }
    rig.commit();
    rig.take_over();
    reclaim(&rig);
    let gone = rig.aggregate.fileset(FilesetId(7)).err().unwrap();
    assert_eq!(gone.kind, Kind::NotFound);
    let left = rig
        .aggregate
        .read_system(|view| catalog::list_hidden(view, 0, 10))
        .unwrap();
    assert!(left.entries.is_empty());
    let (data, nodes) = used(&rig);
    assert_eq!(data, 0);
    assert!(nodes <= empty + 4, "{nodes} blocks of nodes, and {empty} before");
    rig.take_over();
    rig.census();
}

#[test]
fn aggregate_made_before_there_were_snapshots_takes_none() {
    let rig = Rig::new(105);
    let mut label = rig.aggregate.label().clone();
    label.features = Features::default();
    for at in label.geometry.label_offsets() {
        rig.disk.poke(at, &label.encode());
    }
    let mut rig = rig;
    rig.make_fileset(7);
    rig.commit();
    let fileset = rig.next_owner(7);
    let refused = fileset.take_snapshot(&op(0, 0), &named("s"), Namesake::Refuse);
    assert_eq!(refused.unwrap().answer.unwrap_err().kind, Kind::Unsupported);
}
