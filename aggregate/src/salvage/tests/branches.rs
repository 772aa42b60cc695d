//! `check` on aggregates whose filesets went on from snapshots, sound and harmed.

use baton_types::{FilesetId, FilesetName};

use super::snapshots::{delete, fill, sound, take};
use super::world::{FILESET, World, faults, name};
use crate::aggregate::Reclaimed;
use crate::fileset::catalog;
use crate::format::{Base, FilesetHeader, Held, Key, Lsn, RecordKind};
use crate::salvage::Fault;
use crate::transaction::Operation;

const CLONE: FilesetId = FilesetId(1_203);

fn back(world: &World, to: Lsn, present: &str) -> Lsn {
    let done = world.fileset().roll_back(&Operation::default(), to, &name(present));
    done.unwrap().answer.unwrap()
}

fn clone(world: &World, at: Lsn) {
    let header = FilesetHeader {
        name: FilesetName::parse("copy").unwrap(),
        ..world.fileset().header()
    };
    let made = world.fileset().make_clone(&Operation::default(), at, CLONE, &header);
    made.unwrap();
}

fn hide(world: &World, id: FilesetId) {
    let hidden = world
        .aggregate()
        .change_fileset(id, &Operation::default(), |transaction| catalog::hide(transaction, id));
    hidden.unwrap();
}

/// Gives everything back that can be, and looks after each step.
fn reclaim(world: &World) {
    for _ in 0..200 {
        match world.aggregate().reclaim().unwrap() {
            Reclaimed::Blocks(_) => sound(world, "a step"),
            Reclaimed::Later => world.aggregate().checkpoint().unwrap(),
            Reclaimed::Nothing => return,
        }
    }
    unreachable!("it has no end");
}

#[test]
fn aggregate_with_branches_is_sound_at_every_stage() {
    let mut world = World::served();
    fill(&mut world, 0);
    let first = take(&world, "first");
    fill(&mut world, 1);
    let second = take(&world, "second");
    fill(&mut world, 2);
    clone(&world, first);
    sound(&world, "cloned");
    let present = back(&world, first, "present");
    sound(&world, "gone back");
    world.take_over();
    sound(&world, "taken over");
    world.fill("later");
    sound(&world, "changed");
    world.aggregate().checkpoint().unwrap();
    sound(&world, "in a checkpoint");
    let again = back(&world, second, "again");
    world.fill("still later");
    world.aggregate().checkpoint().unwrap();
    for snapshot in [present, first, again, second] {
        delete(&world, snapshot);
        sound(&world, "deleted");
        reclaim(&world);
        sound(&world, "given back");
    }
    hide(&world, FILESET);
    reclaim(&world);
    sound(&world, "the origin is hidden");
    hide(&world, CLONE);
    reclaim(&world);
    sound(&world, "all are gone");
    assert_eq!(world.check().files, 0);
}

#[test]
fn snapshot_that_nobody_goes_on_from_is_found() {
    let mut world = World::served();
    fill(&mut world, 0);
    let first = take(&world, "first");
    clone(&world, first);
    world.system(RecordKind::Fileset, |transaction| {
        let held = Held {
            fileset: FilesetId(99),
            snapshot: first,
        };
        transaction.put(Key::held(FILESET, Lsn(3)), held.encode());
        Ok(())
    });
    let found = faults(&world.check());
    assert!(found.contains(&Fault::Snapshot), "{found:?}");
}

#[test]
fn fileset_that_goes_on_from_what_came_later_is_found() {
    let mut world = World::served();
    fill(&mut world, 0);
    let first = take(&world, "first");
    fill(&mut world, 1);
    let second = take(&world, "second");
    // Both sides say so, and the snapshot is there.
    world.system(RecordKind::Fileset, |transaction| {
        let (base, held) = (
            Base {
                origin: FILESET,
                snapshot: second,
                next_vnode: 2,
            },
            Held {
                fileset: FILESET,
                snapshot: second,
            },
        );
        transaction.put(Key::base(FILESET, first.next()), base.encode());
        transaction.put(Key::held(FILESET, first.next()), held.encode());
        Ok(())
    });
    let findings = format!("{:?}", world.check().findings);
    assert!(findings.contains("came later"), "{findings}");
}
