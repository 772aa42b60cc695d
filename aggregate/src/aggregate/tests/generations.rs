//! One generation stays behind: when the newest root rots, the one before it and its log have lost nothing, whatever
//! was written since. And until a root had its look, nothing that it frees is written.

use baton_types::Timestamp;

use super::between;
use super::rig::{Rig, claim, name, value};
use crate::aggregate::Fileset;
use crate::engine::Engine;
use crate::format::{Geometry, Root, RootPlace};

/// Files of a whole segment each.
const FILES: u64 = 40;
/// Items, on some twenty leaves.
const ITEMS: u64 = 300;

fn change_all(rig: &Rig, fileset: &Fileset, round: u64) {
    for number in 0..ITEMS {
        rig.put(fileset, name(number), &value(round, 400));
    }
    rig.commit();
}

/// Where the newest root of the owner's epoch lies.
fn newest_root(rig: &Rig) -> u64 {
    let index = Geometry::ring_index(rig.epoch);
    let places = RootPlace::BOTH.map(|place| Geometry::root_offset(index, place));
    let name = |at: &u64| {
        Root::decode(&rig.disk.peek(*at, Geometry::ROOT_BYTES_MAX))
            .unwrap()
            .name()
    };
    places.into_iter().max_by_key(name).unwrap()
}

#[test]
fn nodes_of_the_root_before_are_whole_while_the_next_checkpoint_writes() {
    for writes in 1..14 {
        let mut rig = Rig::new(20 + writes);
        let fileset = rig.make_fileset(7);
        for round in 0..3 {
            change_all(&rig, &fileset, round);
            rig.checkpoint();
        }
        change_all(&rig, &fileset, 3);
        let newest = newest_root(&rig);
        // It ends somewhere between its first node and its root.
        rig.port.stop_at(writes);
        let is_cut = rig.aggregate.checkpoint().is_err();
        if newest_root(&rig) != newest {
            assert!(writes > 2, "a checkpoint of {writes} writes");
            continue;
        }
        assert!(is_cut);
        rig.disk.flip(newest + 100, 3);
        let fileset = rig.next_owner(7);
        let all = rig.all(&fileset);
        assert_eq!(all.len() as u64, ITEMS, "{writes}");
        assert!(all.iter().all(|(_, found)| *found == value(3, 400)), "{writes}");
    }
}

#[test]
fn log_of_the_root_before_is_whole_while_the_log_goes_on() {
    let rig = Rig::with_segments(700, 40);
    let fileset = rig.make_fileset(7);
    // So that there are segments to be released, and to be written again.
    for round in 0..4 {
        change_all(&rig, &fileset, round);
        rig.checkpoint();
    }
    let generation = rig.aggregate.generation();
    let newest = newest_root(&rig);
    for number in 0..ITEMS {
        rig.put(&fileset, name(1_000 + number), &value(number, 400));
        rig.commit();
        assert_eq!(rig.aggregate.generation(), generation);
        if number % 25 == 0 {
            let disk = rig.disk.fork(number);
            disk.flip(newest + 100, 3);
            let (_, next) = claim(&disk, rig.epoch.next().unwrap()).unwrap();
            let all = rig.all(&next.fileset(fileset.id()).unwrap());
            assert_eq!(all.len() as u64, ITEMS + number + 1);
        }
    }
}

#[test]
fn nothing_that_a_root_frees_may_be_used_before_its_look() {
    let rig = Rig::with_segments(700, 41);
    let fileset = rig.make_fileset(7);
    for round in 0..3 {
        change_all(&rig, &fileset, round);
        rig.checkpoint();
    }
    change_all(&rig, &fileset, 3);
    // What the next root frees: blocks that waited two generations, and the log that only the root before needs.
    let waiting = |engine: &Engine| engine.space.lock().pending()[1].clone();
    let pooled = |engine: &Engine| engine.space.lock().log_pool().len();
    let engine = rig.aggregate.engine.clone();
    let (blocks, segments) = (waiting(&engine), pooled(&engine));
    assert!(blocks.iter().next().is_some());
    // Groups have their looks too: this one comes behind the root.
    rig.port.then(between::root, || {});
    let (looking, before) = (engine.clone(), blocks.clone());
    rig.port.then(between::look, move || {
        assert_eq!(waiting(&looking), before);
        assert!(pooled(&looking) <= segments);
    });
    rig.checkpoint();
    assert!(rig.port.is_over());
    assert_ne!(waiting(&engine), blocks);
    assert!(pooled(&engine) > segments);
}

/// A young epoch has little log of its own, and where every segment was used once, it extends its log with one that its
/// last root made free: that root still has its blocks among those that wait.
#[test]
fn frees_of_a_segment_that_became_log_are_not_made_twice() {
    let mut rig = Rig::with_segments(300, 42);
    let mut fileset = rig.make_fileset(7);
    for round in 0..6 {
        for number in 0..FILES {
            rig.write_data(&fileset, 10_000 + number, 16, 1);
        }
        change_all(&rig, &fileset, round);
        rig.checkpoint();
        for number in 0..FILES {
            rig.delete_data(&fileset, 10_000 + number);
        }
        for number in 0..2 * ITEMS {
            rig.put(&fileset, name(number), &value(round, 400));
            if number % 20 == 0 {
                rig.commit();
                let (_, next) = claim(&rig.disk.fork(number), rig.epoch.next().unwrap()).unwrap();
                // The second root makes free what waits at the seal.
                for _ in 0..2 {
                    let made = next.checkpoint();
                    made.unwrap_or_else(|error| panic!("round {round}, item {number}: {error}"));
                }
                next.census().unwrap();
            }
        }
        rig.aggregate.detach(Timestamp(2)).unwrap();
        fileset = rig.next_owner(7);
    }
    let geometry = rig.aggregate.engine.geometry;
    assert_eq!(rig.aggregate.engine.space.lock().high_water(), geometry.end_segment());
}
