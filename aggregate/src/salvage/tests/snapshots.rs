//! `check` on aggregates with snapshots, sound and harmed.

use baton_types::Timestamp;

use super::world::{FILESET, World, faults, name};
use crate::aggregate::{Namesake, Reclaimed};
use crate::format::{FilesetHeader, Key, KeyKind, Lsn, RecordKind, Snapshot};
use crate::salvage::Fault;
use crate::transaction::Operation;
use crate::tree::Stop;

pub fn take(world: &World, called: &str) -> Lsn {
    let done = world
        .fileset()
        .take_snapshot(&Operation::default(), &name(called), Namesake::Refuse);
    done.unwrap().answer.unwrap()
}

pub fn delete(world: &World, snapshot: Lsn) {
    let done = world.fileset().delete_snapshot(&Operation::default(), snapshot);
    done.unwrap().answer.unwrap();
}

pub fn sound(world: &World, when: &str) {
    let report = world.check();
    assert!(report.findings.is_empty(), "{when}: {:?}", report.findings);
}

/// A file of each round is written anew in the next: its blocks are of the snapshots between.
pub fn fill(world: &mut World, round: u64) {
    world.fill(&format!("{round}"));
    let root = world.root();
    if round > 0 {
        world.change(|transaction, names| {
            let called = name(&format!("f{}", round - 1));
            let place = super::world::at(root, &called);
            crate::fileset::unlink(transaction, names, place, crate::fileset::Holders::Nobody).map(|_| ())
        });
    }
    world.file(root, &format!("f{round}"), &[round as u8; 5 * 4_096]);
}

#[test]
fn aggregate_with_snapshots_is_sound_at_every_stage() {
    let mut world = World::served();
    let mut taken = Vec::new();
    for round in 0..8 {
        fill(&mut world, round);
        taken.push(take(&world, &format!("s{round}")));
        sound(&world, "taken");
        if round % 2 == 0 {
            world.aggregate().checkpoint().unwrap();
            sound(&world, "in a checkpoint");
        }
        if round % 3 == 2 {
            delete(&world, taken.remove(taken.len() / 2));
            sound(&world, "deleted");
        }
        if round % 3 == 1 {
            world.take_over();
            sound(&world, "taken over");
        }
    }
    for _ in 0..100 {
        match world.aggregate().reclaim().unwrap() {
            Reclaimed::Blocks(_) => sound(&world, "a step"),
            Reclaimed::Later => world.aggregate().checkpoint().unwrap(),
            Reclaimed::Nothing => match taken.pop() {
                Some(snapshot) => delete(&world, snapshot),
                None => return,
            },
        }
    }
    unreachable!("it has no end");
}

#[test]
fn fileset_that_is_taken_apart_is_sound_after_each_step() {
    let mut world = World::served();
    for round in 0..3 {
        fill(&mut world, round);
        take(&world, &format!("s{round}"));
    }
    world.aggregate().checkpoint().unwrap();
    let aggregate = world.aggregate();
    let hidden = aggregate.change_fileset(FILESET, &Operation::default(), |transaction| {
        crate::fileset::catalog::hide(transaction, FILESET)
    });
    hidden.unwrap();
    for _ in 0..60 {
        sound(&world, "a step");
        match aggregate.reclaim().unwrap() {
            Reclaimed::Blocks(_) => {}
            Reclaimed::Later => aggregate.checkpoint().unwrap(),
            Reclaimed::Nothing => {
                assert_eq!(world.check().files, 0);
                return;
            }
        }
    }
    unreachable!("it has no end");
}

/// Two snapshots with blocks that only they have, in a checkpoint.
fn harmed() -> (World, [Lsn; 2]) {
    let mut world = World::served();
    fill(&mut world, 0);
    let first = take(&world, "first");
    fill(&mut world, 1);
    let second = take(&world, "second");
    fill(&mut world, 2);
    world.aggregate().checkpoint().unwrap();
    world.aggregate().detach(Timestamp(9)).unwrap();
    world.take_over();
    (world, [first, second])
}

#[test]
fn harm_to_snapshots_is_found() {
    let (_, [first, second]) = harmed();
    type Harm<'a> = &'a dyn Fn(&mut crate::transaction::Transaction<'_>) -> Result<(), Stop>;
    let lists: Harm<'_> = &|transaction| {
        let last = Key::new(first.0, KeyKind::DeadChunk, u64::MAX);
        let keys: Vec<Key> = transaction
            .scan(Key::dead_chunk(first, 0), last)
            .map(|item| Ok(item?.0))
            .collect::<Result<_, Stop>>()?;
        assert!(!keys.is_empty());
        keys.into_iter().for_each(|key| transaction.delete(key));
        Ok(())
    };
    let tree: Harm<'_> = &|transaction| {
        transaction.delete(Key::snapshot_tree(FILESET, second));
        Ok(())
    };
    let item: Harm<'_> = &|transaction| {
        transaction.delete(Key::snapshot(FILESET, first));
        Ok(())
    };
    let number: Harm<'_> = &|transaction| {
        let key = Key::snapshot(FILESET, first);
        let mut snapshot = Snapshot::decode(&transaction.get(key)?.unwrap())?;
        snapshot.serial = 2;
        transaction.put(key, snapshot.encode());
        Ok(())
    };
    let newest: Harm<'_> = &|transaction| {
        let key = Key::fileset_header(FILESET);
        let header = FilesetHeader::decode(&transaction.get(key)?.unwrap())?;
        let header = FilesetHeader {
            newest_snapshot: first,
            ..header
        };
        transaction.put(key, header.encode());
        Ok(())
    };
    for (what, harm) in [
        ("lists", lists),
        ("tree", tree),
        ("item", item),
        ("number", number),
        ("newest", newest),
    ] {
        let (mut world, _) = harmed();
        world.system(RecordKind::Fileset, harm);
        let found = faults(&world.check());
        let expected = match what {
            "tree" => Fault::Block,
            _ => Fault::Snapshot,
        };
        assert!(found.contains(&expected), "{what}: {found:?}");
    }
}
