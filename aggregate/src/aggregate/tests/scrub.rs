//! Scrub: whatever rots is found and named, and whatever changes meanwhile is not.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use baton_types::control::{Damage, ScrubEnd, Scrubbed};
use baton_types::{BootClock, Fid, FilesetId, FilesetName, Kind};

use super::rig::{Rig, name as item, value, write_data};
use crate::aggregate::{Aggregate, Fileset, Namesake, Need, Reclaimed, Running};
use crate::device::double::Step;
use crate::file;
use crate::fileset::{Holders, lookup, unlink};
use crate::format::{BLOCK_BYTES, Extent, FilesetHeader, Geometry, Key, KeyKind, Lsn, Pointer, Root, RootPlace};
use crate::salvage::tests::world::{FILESET, World, at, name};
use crate::salvage::{Fault, Gravity};
use crate::transaction::{Operation, Reply};
use crate::tree::Node;

const CLONE: FilesetId = FilesetId(1_203);

fn scrub(world: &World) -> Scrubbed {
    let scrubbed = world.aggregate().scrub(&mut |_| ControlFlow::Continue(())).unwrap();
    assert!(scrubbed.is_finished);
    scrubbed
}

fn said(damages: &[Damage]) -> Vec<String> {
    damages.iter().map(Damage::to_string).collect()
}

fn sound(world: &World, when: &str) {
    assert_eq!(said(&scrub(world).damages), Vec::<String>::new(), "{when}");
}

fn take(world: &World, called: &str) -> Lsn {
    let done = world
        .fileset()
        .take_snapshot(&Operation::default(), &name(called), Namesake::Refuse);
    done.unwrap().answer.unwrap()
}

fn delete(world: &World, snapshot: Lsn) {
    let done = world.fileset().delete_snapshot(&Operation::default(), snapshot);
    done.unwrap().answer.unwrap();
}

fn clone(world: &World, of: Lsn) {
    let header = FilesetHeader {
        name: FilesetName::parse("copy").unwrap(),
        ..world.fileset().header()
    };
    let made = world.fileset().make_clone(&Operation::default(), of, CLONE, &header);
    made.unwrap();
}

fn remove(world: &mut World, directory: Fid, called: &str) {
    world.change(|transaction, names| {
        let called = name(called);
        unlink(transaction, names, at(directory, &called), Holders::Nobody).map(|_| ())
    });
}

fn directory(world: &World, called: &str) -> Fid {
    let (root, called, names) = (world.root(), name(called), world.fileset().names());
    let found = world.fileset().read(|view| lookup(view, &names, at(root, &called)));
    found.unwrap().fid
}

/// Where the data of a file begins.
fn data_of(fileset: &Fileset, file: Fid) -> Extent {
    let value = fileset.read(|view| view.get(Key::extent(file.vnode, 0)));
    Extent::decode(&value.unwrap().unwrap()).unwrap()
}

fn overwrite(world: &World, file: Fid, byte: u8, blocks: usize) {
    let bytes = vec![byte; blocks * BLOCK_BYTES];
    let done = file::write(&world.fileset(), &Operation::default(), file, 0, &bytes);
    done.unwrap().answer.unwrap();
}

fn reclaim(aggregate: &Aggregate) {
    loop {
        match aggregate.reclaim().unwrap() {
            Reclaimed::Blocks(_) => {}
            Reclaimed::Later => aggregate.checkpoint().unwrap(),
            Reclaimed::Nothing => return,
        }
    }
}

/// A little of everything: snapshots that share, a branch, a clone.
fn full() -> World {
    let mut world = World::served();
    let root = world.root();
    world.fill("a");
    let file = world.file(root, "f", &[1; 5 * BLOCK_BYTES]).fid;
    let first = take(&world, "first");
    overwrite(&world, file, 2, 2);
    world.fill("b");
    take(&world, "second");
    overwrite(&world, file, 3, 3);
    clone(&world, first);
    let back = world
        .fileset()
        .roll_back(&Operation::default(), first, &name("present"));
    back.unwrap().answer.unwrap();
    world.fill("c");
    world.aggregate().checkpoint().unwrap();
    world
}

#[test]
fn sound_aggregate_is_found_so_at_every_stage_of_its_life() {
    let mut world = World::served();
    sound(&world, "new");
    for round in 0..6 {
        world.fill(&format!("{round}"));
        sound(&world, "filled");
        let snapshot = take(&world, &format!("s{round}"));
        sound(&world, "with a snapshot");
        if round % 2 == 1 {
            delete(&world, snapshot);
            sound(&world, "deleted");
            reclaim(&world.aggregate());
            sound(&world, "given back");
        }
        if round == 3 {
            world.take_over();
            sound(&world, "taken over");
        }
    }
    let world = full();
    sound(&world, "with branches");
    let again = scrub(&world);
    assert!(again.bytes > 60 * BLOCK_BYTES as u64, "{}", again.bytes);
}

/// What a check of the disk says of trees and data that the newest root leads to.
fn check_says_harmed(world: &World) -> bool {
    let report = world.check();
    report.findings.iter().any(|finding| {
        let is_kind = matches!(finding.fault, Fault::Node | Fault::Data);
        // The trees of the root before are called by its name.
        is_kind && finding.gravity == Gravity::Fault && !finding.on.starts_with("root ")
    })
}

#[test]
fn every_block_that_rots_is_found() {
    let world = full();
    scrub(&world);
    world.settle();
    let blocks = world
        .disk
        .peek(0, 256 * (64 << 10))
        .chunks(BLOCK_BYTES)
        .enumerate()
        .fold(Vec::new(), |mut used, (block, bytes)| {
            if bytes.iter().any(|byte| *byte != 0) {
                used.push(block as u64);
            }
            used
        });
    let (mut found, mut nodes, mut data) = (0, 0, 0);
    let heads = Geometry::SLOTS_AT / BLOCK_BYTES as u64..Geometry::HEADS_AT / BLOCK_BYTES as u64 + 256;
    let labels = world.aggregate().label().geometry.label_offsets();
    for block in blocks.into_iter().filter(|block| !heads.contains(block)) {
        let offset = block * BLOCK_BYTES as u64;
        let before = world.disk.peek(offset, BLOCK_BYTES);
        world.disk.flip(offset + block % 4_000, 3);
        let scrubbed = scrub(&world);
        // A copy of the label is whole again.
        let is_harmed = labels.contains(&offset) || check_says_harmed(&world);
        let is_found = !scrubbed.damages.is_empty();
        assert_eq!(
            is_found,
            is_harmed,
            "block {block}: {:?}, and {:?}",
            said(&scrubbed.damages),
            world.check().findings
        );
        found += u64::from(is_found);
        let of = |kind: Fault| scrubbed.damages.iter().any(|damage| damage.what == kind.name());
        nodes += u64::from(of(Fault::Node));
        data += u64::from(of(Fault::Data));
        // Everything that has a name is told by one.
        let named = |damage: &Damage| damage.fileset.is_none() || damage.path.is_some() || is_nameless(damage);
        assert!(scrubbed.damages.iter().all(named), "{:?}", said(&scrubbed.damages));
        world.disk.poke(offset, &before);
    }
    assert!(
        found > 40 && nodes > 8 && data > 20,
        "{found} found, {nodes} nodes and {data} of data"
    );
    sound(&world, "whole again");
}

#[test]
fn harmed_copy_of_the_label_is_told_and_mended() {
    let mut world = full();
    let label = world.aggregate().label().clone();
    // What nobody would find any more by the other one: the first copy of an aggregate that has grown.
    world.disk.grow(300 * (64 << 10));
    world.aggregate().grow(None).unwrap();
    for offset in label.geometry.label_offsets() {
        world.disk.flip(offset + 30, 4);
        let told = said(&scrub(&world).damages);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].ends_with("; it is written anew"), "{told:?}");
        sound(&world, "mended");
        world.take_over();
    }
}

/// Open files that were unlinked have no name; nor has what only they are in.
fn is_nameless(damage: &Damage) -> bool {
    damage.vnode > 0 && damage.path.is_none()
}

#[test]
fn damage_is_named_by_path_snapshot_and_range() {
    let mut world = World::served();
    let root = world.root();
    world.fill("a");
    let within = directory(&world, "a d");
    let shared = world.file(within, "shared", &[1; 4 * BLOCK_BYTES]).fid;
    let old = world.file(within, "old", &[2; 3 * BLOCK_BYTES]).fid;
    let gone = world.file(root, "gone", &[3; 2 * BLOCK_BYTES]).fid;
    let first = take(&world, "first");
    remove(&mut world, root, "gone");
    overwrite(&world, old, 4, 3);
    take(&world, "second");
    clone(&world, first);
    world.aggregate().checkpoint().unwrap();
    let fileset = world.fileset();
    let then = fileset.at(first).unwrap();
    let rot = |extent: &Extent, block: u64| world.disk.flip(extent.block.offset() + block * 4_096 + 9, 1);
    rot(&data_of(&fileset, shared), 1);
    rot(&data_of(&fileset, shared), 2);
    rot(&data_of(&then, old), 0);
    rot(&data_of(&then, gone), 1);
    // The file with two names, of which its attributes know none for sure.
    let hard = {
        let (called, names) = (name("hard"), fileset.names());
        fileset
            .read(|view| lookup(view, &names, at(within, &called)))
            .unwrap()
            .fid
    };
    rot(&data_of(&fileset, hard), 0);
    let scrubbed = scrub(&world);
    let mut told: Vec<String> = said(&scrubbed.damages)
        .iter()
        .map(|said| said.rsplit_once(": data at block").unwrap().0.to_owned())
        .collect();
    told.sort();
    let mut hard: Vec<String> = Vec::new();
    told.retain(|told| {
        let is_hard = told.contains("/a d/hard") || told.contains("/a d/file");
        if is_hard {
            hard.push(told.clone());
        }
        !is_hard
    });
    assert_eq!(
        told,
        [
            "fileset copy, /a d/old, bytes 0 to 4095",
            "fileset copy, /a d/shared, bytes 4096 to 12287",
            "fileset copy, /gone, bytes 4096 to 8191",
            "fileset user.ito, /a d/shared, bytes 4096 to 12287",
            "fileset user.ito, snapshot first, /a d/old, bytes 0 to 4095",
            "fileset user.ito, snapshot first, /gone, bytes 4096 to 8191",
        ]
    );
    assert_eq!(hard.len(), 2, "{hard:?}");
    assert!(hard.iter().all(|hard| hard.ends_with(", bytes 0 to 4095")), "{hard:?}");
    // And that is what readers are told, just there.
    let read = |fileset: &Fileset, file, block: u64| {
        let read = file::read(fileset, file, block * 4_096, BLOCK_BYTES);
        read.map(|bytes| bytes[0]).map_err(|error| error.kind)
    };
    let blocks = |fileset, file, count| (0..count).map(|block| read(fileset, file, block)).collect::<Vec<_>>();
    let harmed = Err(Kind::Damaged);
    world.take_over();
    let fileset = world.fileset();
    let then = fileset.at(first).unwrap();
    assert_eq!(blocks(&fileset, shared, 4), [Ok(1), harmed, harmed, Ok(1)]);
    assert_eq!(blocks(&fileset, old, 3), [Ok(4); 3]);
    assert_eq!(blocks(&then, old, 3), [harmed, Ok(2), Ok(2)]);
    assert_eq!(blocks(&then, gone, 2), [Ok(3), harmed]);
}

#[test]
fn what_is_below_a_node_is_named_by_path() {
    let mut world = World::served();
    let root = world.root();
    let mut files = Vec::new();
    for number in 0..100 {
        files.push(world.file(root, &format!("f{number}"), &[1; BLOCK_BYTES]).fid);
    }
    world.aggregate().checkpoint().unwrap();
    world.settle();
    // The last leaf has attributes and extents of the last files.
    let roots = RootPlace::BOTH.map(|place| {
        let at = Geometry::root_offset(1, place);
        Root::decode(&world.disk.peek(at, Geometry::ROOT_BYTES_MAX)).unwrap()
    });
    let newest = roots.into_iter().max_by_key(Root::name).unwrap();
    let node = |pointer: &Pointer| {
        let bytes = world.disk.peek(pointer.block.offset(), pointer.len());
        Node::verify(bytes.into(), pointer).unwrap()
    };
    let mut system = node(&newest.system.unwrap());
    while system.level() > 0 {
        system = node(&system.pointer(system.child(Key::fileset_tree(FILESET))));
    }
    let tree = system.search(Key::fileset_tree(FILESET)).unwrap();
    let mut pointer = Pointer::decode(system.value_ref(tree)).unwrap();
    let mut last = node(&pointer);
    while last.level() > 0 {
        pointer = last.pointer(last.len() - 1);
        last = node(&pointer);
    }
    let whole: BTreeSet<u64> = (0..last.len())
        .map(|index| last.key(index))
        .filter(|key| key.kind == KeyKind::Attributes)
        .map(|key| key.object)
        .collect();
    assert!(whole.len() > 5, "{}", whole.len());
    world.disk.flip(pointer.block.offset() + 700, 2);
    let scrubbed = scrub(&world);
    let told: BTreeSet<Vec<u8>> = scrubbed
        .damages
        .iter()
        .filter_map(|damage| damage.path.clone())
        .collect();
    for (number, file) in files.iter().enumerate() {
        if whole.contains(&file.vnode.number()) {
            assert!(told.contains(format!("f{number}").as_bytes()), "f{number}: {told:?}");
        }
    }
    assert!(told.len() <= whole.len() + 1, "{told:?}");
}

/// Frees, moves and overwrites what is being read, as fast as it is read.
#[test]
fn busy_writer_gives_no_false_alarm() {
    let mut world = World::served();
    let root = world.root();
    let files: Vec<Fid> = (0..60)
        .map(|number| world.file(root, &format!("f{number}"), &[1; 6 * BLOCK_BYTES]).fid)
        .collect();
    take(&world, "s0");
    let aggregate = world.aggregate();
    for round in 0..6_u64 {
        let (mut step, mut alive) = (0_u64, Vec::<Lsn>::new());
        let scrubbed = aggregate.scrub(&mut |_| {
            step += 1;
            let fileset = world.fileset();
            let file = files[(step * 7 + round) as usize % files.len()];
            overwrite(&world, file, step as u8, 6);
            match step % 5 {
                0 => {
                    let called = name(&format!("r{round}s{step}"));
                    let taken = fileset.take_snapshot(&Operation::default(), &called, Namesake::Refuse);
                    alive.push(taken.unwrap().answer.unwrap());
                }
                3 if !alive.is_empty() => {
                    let oldest = alive.remove(0);
                    fileset
                        .delete_snapshot(&Operation::default(), oldest)
                        .unwrap()
                        .answer
                        .unwrap();
                }
                _ => {}
            }
            if step % 3 < 2 {
                aggregate.reclaim().unwrap();
                aggregate.checkpoint().unwrap();
            }
            ControlFlow::Continue(())
        });
        let scrubbed = scrubbed.unwrap();
        assert_eq!(
            said(&scrubbed.damages),
            Vec::<String>::new(),
            "round {round}, {step} steps"
        );
        assert!(step > 40, "{step} steps");
        for snapshot in alive {
            delete(&world, snapshot);
        }
        reclaim(&aggregate);
    }
    let report = world.check();
    assert!(report.is_sound(), "{:?}", report.findings);
}

thread_local! {
    static IS_WITHIN: Cell<bool> = const { Cell::new(false) };
    static WATCHED: Cell<u64> = const { Cell::new(0) };
}

/// A read of the block that is watched.
fn watched(step: Step) -> bool {
    matches!(step, Step::Read { offset, .. } if offset == WATCHED.get()) && !IS_WITHIN.get()
}

/// A read of something that may be a node or data, by the scrub itself.
fn read(step: Step) -> bool {
    let heads_end = Geometry::HEADS_AT + Geometry::RING as u64 * Geometry::HEAD_BYTES;
    matches!(step, Step::Read { offset, .. } if offset >= heads_end) && !IS_WITHIN.get()
}

#[test]
fn what_is_replaced_in_the_middle_of_a_read_is_no_damage() {
    let rig = Rig::with_segments(300, 61);
    let fileset = rig.make_fileset(7);
    let change = |fileset: &Fileset, round: u64| {
        for number in 0..150 {
            let put = fileset.change(&Operation::default(), Need::GROWTH, |transaction| {
                transaction.put(item(number), value(round, 400));
                Ok(Reply::done())
            });
            put.unwrap().answer.unwrap();
        }
    };
    change(&fileset, 0);
    for number in 1_000..1_010 {
        rig.write_data(&fileset, number, 8, 1);
    }
    let (aggregate, rewritten) = (rig.aggregate.clone(), Arc::new(AtomicU64::new(0)));
    for round in 1..40 {
        let (aggregate, fileset, rewritten) = (aggregate.clone(), fileset.clone(), rewritten.clone());
        rig.port.then(read, move || {
            IS_WITHIN.set(true);
            for again in 0..4 {
                change(&fileset, round * 10 + again);
                for number in 1_000..1_010 {
                    let written = fileset.change(&Operation::default(), Need::data(8), |transaction| {
                        write_data(transaction, number, 8, again as u8)
                    });
                    written.unwrap().answer.unwrap();
                }
                aggregate.checkpoint().unwrap();
            }
            rewritten.fetch_add(1, Ordering::Relaxed);
            IS_WITHIN.set(false);
        });
    }
    let scrubbed = aggregate.scrub(&mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(said(&scrubbed.damages), Vec::<String>::new());
    assert!(rewritten.load(Ordering::Relaxed) > 20, "{rewritten:?} times");
}

/// Damage that programs replace while it is looked at, at the `nth` read of it: what the scrub says of it. It is read
/// twice before it counts, and twice again to be sure.
fn replaced_at(nth: usize, checkpoints: u64) -> Vec<String> {
    let rig = Rig::with_segments(300, 62);
    let fileset = rig.make_fileset(7);
    rig.write_data(&fileset, 1_000, 1, 1);
    rig.aggregate.checkpoint().unwrap();
    let extent = fileset.read(|view| view.get(Key::new(1_000, KeyKind::Extent, 0)));
    let extent = Extent::decode(&extent.unwrap().unwrap()).unwrap();
    rig.disk.flip(extent.block.offset() + 77, 1);
    WATCHED.set(extent.block.offset());
    for _ in 1..nth {
        rig.port.then(watched, || ());
    }
    let aggregate = rig.aggregate.clone();
    rig.port.then(watched, move || {
        IS_WITHIN.set(true);
        let written = fileset.change(&Operation::default(), Need::data(8), |transaction| {
            write_data(transaction, 1_000, 1, 9)
        });
        written.unwrap().answer.unwrap();
        (0..checkpoints).for_each(|_| aggregate.checkpoint().unwrap());
        IS_WITHIN.set(false);
    });
    let scrubbed = rig.aggregate.scrub(&mut |_| ControlFlow::Continue(())).unwrap();
    assert!(
        rig.port.is_over(),
        "it was not read {nth} times, {checkpoints} checkpoints: {:?}",
        said(&scrubbed.damages)
    );
    said(&scrubbed.damages)
}

#[test]
fn damage_that_is_replaced_before_it_counts_is_none() {
    for (nth, checkpoints) in [(2, 0), (2, 3), (3, 3), (4, 3)] {
        assert_eq!(replaced_at(nth, checkpoints), Vec::<String>::new(), "read {nth}");
    }
}

#[test]
fn pass_ends_when_it_is_told_to() {
    let world = full();
    let mut pieces = 0;
    let scrubbed = world.aggregate().scrub(&mut |_| {
        pieces += 1;
        if pieces < 4 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    assert!(!scrubbed.unwrap().is_finished);
    assert_eq!(pieces, 4);
}

fn wait(aggregate: &Aggregate, end: &ScrubEnd) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while aggregate.scrub_report().last.is_none_or(|pass| pass.end != *end) {
        assert!(Instant::now() < deadline, "{:?}", aggregate.scrub_report());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn thread_scrubs_when_asked_and_tells_how_it_went() {
    let mut world = full();
    let root = world.root();
    let file = world.file(root, "rotten", &[5; 2 * BLOCK_BYTES]).fid;
    let aggregate = world.aggregate();
    let running = Running::start(aggregate.clone(), Arc::new(BootClock)).unwrap();
    assert_eq!(aggregate.stop_scrub().unwrap_err().kind, Kind::NotFound);
    // Slow enough that it is seen.
    aggregate.start_scrub(Some(1)).unwrap();
    wait(&aggregate, &ScrubEnd::Underway);
    assert_eq!(aggregate.start_scrub(None).unwrap_err().kind, Kind::Exists);
    aggregate.stop_scrub().unwrap();
    wait(&aggregate, &ScrubEnd::Stopped);
    assert_eq!(aggregate.scrub_report().finished, None);
    aggregate.start_scrub(Some(1)).unwrap();
    wait(&aggregate, &ScrubEnd::Underway);
    // One that goes on takes another rate.
    let extent = data_of(&world.fileset(), file);
    world.disk.flip(extent.block.offset() + 4_096, 1);
    aggregate.start_scrub(Some(1 << 40)).unwrap();
    wait(&aggregate, &ScrubEnd::Finished);
    let finished = aggregate.scrub_report().finished.unwrap();
    assert_eq!(finished.scrubbed.damages.len(), 1, "{:?}", finished.scrubbed.damages);
    assert_eq!(finished.scrubbed.damages[0].path.as_deref(), Some(&b"rotten"[..]));
    assert!(finished.ended > finished.began);
    // By itself.
    aggregate.set_scrub(1 << 40, Some(Duration::from_millis(10)));
    let deadline = Instant::now() + Duration::from_secs(60);
    while aggregate
        .scrub_report()
        .finished
        .is_some_and(|again| again.began == finished.began)
    {
        assert!(Instant::now() < deadline, "nothing was due");
        thread::sleep(Duration::from_millis(5));
    }
    aggregate.set_scrub(1, None);
    aggregate.start_scrub(Some(1)).unwrap_or_default();
    // Who ends the threads does not wait for a pass.
    let began = Instant::now();
    drop(running);
    assert!(began.elapsed() < Duration::from_secs(20));
}
