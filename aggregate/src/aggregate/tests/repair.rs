//! Repairs: of each harm that is known, of any block, cut short anywhere. What could be read before can be read after,
//! and a check finds nothing more.

use std::sync::Arc;

use baton_types::{Epoch, Incarnation, Kind, Result, ServerId, Timestamp, Vnode};
use uuid::Uuid;

use super::damage::{Case, Harm, Said, compare, everything};
use crate::device::Device;
use crate::device::double::Disk;
use crate::fence::{Grant, Ring, read_slots};
use crate::fileset::lookup;
use crate::format::{
    BLOCK_BYTES, Bitmap, Geometry, Key, KeyKind, Label, Lsn, NameEntry, Root, RootPlace, Segment, SegmentClass,
    SegmentPhase, SegmentState,
};
use crate::salvage::tests::check::HARMS;
use crate::salvage::tests::world::{World, at, check_disk, faults, name};
use crate::salvage::{Data, Fault, Repaired, Unreadable, repair};
use crate::space::index_key;

fn grant(disk: &Disk, ring: Ring) -> Grant {
    let label = Label::decode(&disk.peek(0, BLOCK_BYTES)).ok();
    let aggregate = label.map_or(baton_types::AggregateId(Uuid::from_u128(1)), |label| label.id);
    let epoch = read_slots(&disk.port(), aggregate).unwrap().next_era().unwrap();
    Grant {
        epoch,
        server: ServerId(Uuid::from_u128(99)),
        incarnation: Incarnation(Uuid::from_u128(epoch.0.into())),
        boot: Uuid::from_u128(98),
        principal: "salvage".to_owned(),
        ring,
    }
}

fn repaired_by(device: Arc<dyn Device>, disk: &Disk) -> Result<Repaired> {
    repaired_with(device, disk, Unreadable::Leave)
}

pub(super) fn repaired_with(device: Arc<dyn Device>, disk: &Disk, unreadable: Unreadable) -> Result<Repaired> {
    let grant = grant(disk, Ring::Vouched);
    repair(device, grant, Timestamp(77), Data::Read, unreadable)
}

fn repaired(disk: &Disk) -> Result<Repaired> {
    repaired_by(Arc::new(disk.port()), disk)
}

/// The next epoch after whoever was the last.
pub(super) fn next(disk: &Disk) -> u64 {
    let slots = read_slots(&disk.port(), baton_types::AggregateId(Uuid::from_u128(1))).unwrap();
    slots.next(Epoch::NONE).unwrap().0
}

/// The next owner, of a copy.
fn served(disk: &Disk) -> World {
    World::of(disk.fork(1), next(disk))
}

pub(super) fn said(disk: &Disk) -> Said {
    everything(&served(disk).aggregate())
}

/// What was found and mended, as kinds of faults.
fn mended(repaired: &Repaired) -> Vec<Fault> {
    let mut kinds: Vec<Fault> = repaired.done.iter().map(|(finding, _)| finding.fault).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

/// A little of everything, with a file `f` and a directory `once`.
fn subject() -> (World, Vnode, Vnode) {
    let mut world = World::served();
    let root = world.root();
    world.fill("a");
    let file = world.file(root, "f", &[7; 2 * BLOCK_BYTES]).fid.vnode;
    let directory = world.change(|transaction, names| {
        let called = name("once");
        let place = at(root, &called);
        lookup(transaction, names, place)
    });
    world.aggregate().checkpoint().unwrap();
    world.fill("b");
    world.settle();
    (world, file, directory.fid.vnode)
}

#[test]
fn each_harm_to_a_fileset_is_repaired_or_left_or_refused() {
    let (world, file, directory) = subject();
    let (mut whole, mut left, mut refused) = (0, 0, 0);
    for (index, (fault, harm)) in HARMS.iter().enumerate() {
        let mut fork = World::on(&world, 100 + index as u64);
        fork.change(|transaction, _| harm(transaction, file, directory));
        fork.settle();
        let before = fork.disk.digest();
        match repaired(&fork.disk) {
            Ok(repaired) if repaired.left.is_sound() => {
                whole += 1;
                assert!(
                    repaired.done.iter().any(|(finding, _)| finding.fault == *fault),
                    "harm {index}, {fault:?}: {:?}",
                    repaired.done
                );
                assert!(faults(&check_disk(&fork.disk)).is_empty(), "harm {index}");
                let again = self::repaired(&fork.disk).unwrap();
                assert!(
                    again.done.is_empty() && again.left.is_sound(),
                    "harm {index}: {again:?}"
                );
                // What is served goes on as if nothing had been.
                let mut world = served(&fork.disk);
                world.take_over();
                world.aggregate().checkpoint().unwrap();
                assert_eq!(world.faults(), [], "harm {index}");
                world.aggregate().census().unwrap();
            }
            Ok(repaired) => {
                left += 1;
                let of_kind = |finding: &crate::salvage::Finding| finding.fault == *fault;
                assert!(repaired.left.findings.iter().any(of_kind), "harm {index}: {repaired:?}");
                let item = matches!(fault, Fault::Item | Fault::Extent);
                assert!(item, "harm {index}, {fault:?} is left: {:?}", repaired.left.findings);
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.kind, Kind::Damaged, "harm {index}: {error}");
                assert!(error.to_string().contains("salvage -extract"), "{error}");
                assert_eq!(fork.disk.digest(), before, "harm {index}: something was written");
                assert!(
                    matches!(fault, Fault::Birth | Fault::Extent),
                    "harm {index}, {fault:?}: {error}"
                );
            }
        }
    }
    assert_eq!((whole, left, refused), (13, 3, 2));
}

#[test]
fn file_that_has_lost_its_name_is_in_lost_and_found_with_its_bytes() {
    let (mut world, file, directory) = subject();
    for (key, value) in names_of(&world) {
        let mut entries = NameEntry::decode_all(&value).unwrap();
        entries.retain(|entry| entry.vnode != file && entry.vnode != directory);
        world.change(|transaction, _| {
            match entries.is_empty() {
                true => transaction.delete(key),
                false => transaction.put(key, NameEntry::encode_all(&entries)),
            }
            Ok(())
        });
    }
    world.settle();
    let repaired = repaired(&world.disk).unwrap();
    assert!(repaired.left.is_sound(), "{:?}", repaired.left.findings);
    let became = |vnode: Vnode| format!("in lost+found as '#{}'", vnode.number());
    for vnode in [file, directory] {
        let told = repaired.done.iter().filter(|(_, told)| *told == became(vnode)).count();
        assert_eq!(told, 1, "{:?}", repaired.done);
    }
    let said = said(&world.disk);
    let key = |what: String| (crate::salvage::tests::world::FILESET.to_string(), what);
    let path = format!("/lost+found/#{}", file.number());
    for block in 0..2 {
        assert_eq!(said[&key(format!("{path} block {block}"))], Ok(vec![7; BLOCK_BYTES]));
    }
    assert!(said.contains_key(&key(format!("/lost+found/#{}/ names", directory.number()))));
}

/// The items with names in the root directory.
fn names_of(world: &World) -> Vec<(Key, bytes::Bytes)> {
    let read = world.fileset().read(|view| {
        view.scan(Key::name(Vnode::ROOT, 0), Key::name(Vnode::ROOT, u64::MAX))
            .collect::<Result<Vec<_>, crate::tree::Stop>>()
    });
    read.unwrap()
}

#[test]
fn directories_that_hold_each_other_come_to_lost_and_found() {
    let (mut world, _, directory) = subject();
    for (key, value) in names_of(&world) {
        let entries = NameEntry::decode_all(&value).unwrap();
        if entries.iter().any(|entry| entry.vnode == directory) {
            world.change(|transaction, _| {
                let object = directory.number();
                transaction.delete(key);
                transaction.put(Key { object, ..key }, NameEntry::encode_all(&entries));
                Ok(())
            });
        }
    }
    world.settle();
    let repaired = repaired(&world.disk).unwrap();
    assert!(repaired.left.is_sound(), "{:?}", repaired.left.findings);
    assert!(mended(&repaired).contains(&Fault::Directory));
}

/// The first closed segment of which something is used and something free, and its state.
fn closed(world: &World) -> (Segment, SegmentState) {
    let engine = &world.aggregate().engine;
    let items = engine.retrying(|pinned| {
        let space = engine.space.lock();
        let view = space.tree.view(&engine.nodes, pinned);
        let all = view.scan(Key::FIRST, Key::LAST);
        all.collect::<Result<Vec<_>, crate::tree::Stop>>()
    });
    let states = items
        .unwrap()
        .into_iter()
        .filter(|(key, _)| key.kind == KeyKind::SegmentState);
    let mut states = states.map(|(key, value)| (Segment(key.object as u32), SegmentState::decode(&value).unwrap()));
    let is_it = |state: &SegmentState| {
        state.phase == SegmentPhase::Closed && state.bitmap.used() > 2 && state.bitmap.room() > 2
    };
    states.find(|(_, state)| is_it(state)).unwrap()
}

/// One harm to the space of an aggregate, and what it must be found as.
type SpaceHarm = (Fault, fn(&mut crate::space::Space, Segment, &SegmentState));

fn with(state: &SegmentState, change: impl Fn(&mut Bitmap)) -> SegmentState {
    let mut new = state.clone();
    change(&mut new.bitmap);
    new
}

fn first(bitmap: &Bitmap, used: bool) -> u32 {
    (0..bitmap.len()).find(|index| bitmap.is_used(*index) == used).unwrap()
}

const SPACE_HARMS: &[SpaceHarm] = &[
    // The sum of the room is wrong.
    (Fault::Segment, |space, segment, state| {
        space.set_state(segment, None, state);
    }),
    // The index of room has lost a segment.
    (Fault::Segment, |space, segment, state| {
        space
            .tree
            .active
            .insert(index_key(segment, state).unwrap(), None, Lsn(0));
    }),
    // A used block is said to be free.
    (Fault::Block, |space, segment, state| {
        let new = with(state, |bitmap| assert!(bitmap.give(first(bitmap, true))));
        space.set_state(segment, Some(state), &new);
    }),
    // A free block is said to be used.
    (Fault::Leak, |space, segment, state| {
        let new = with(state, |bitmap| assert!(bitmap.take(first(bitmap, false))));
        space.set_state(segment, Some(state), &new);
    }),
    // It is somebody's reserve, and nobody knows whose.
    (Fault::Segment, |space, segment, state| {
        let new = SegmentState {
            phase: SegmentPhase::Open,
            ..state.clone()
        };
        space.set_state(segment, Some(state), &new);
    }),
    // A segment with files is said to be wholly free.
    (Fault::Block, |space, segment, state| {
        let new = SegmentState {
            phase: SegmentPhase::Free,
            class: None,
            bitmap: Bitmap::free(state.bitmap.len()),
            ..state.clone()
        };
        space.set_state(segment, Some(state), &new);
    }),
    // A segment with files is said to be of the log.
    (Fault::Block, |space, segment, state| {
        let new = SegmentState {
            phase: SegmentPhase::Log,
            class: Some(SegmentClass::Log),
            bitmap: Bitmap::free(state.bitmap.len()),
            ..state.clone()
        };
        space.set_state(segment, Some(state), &new);
    }),
    // Its bitmap is of another geometry.
    (Fault::Segment, |space, segment, state| {
        let new = SegmentState {
            bitmap: Bitmap::free(8),
            ..state.clone()
        };
        space
            .tree
            .active
            .insert(Key::segment(segment), Some(new.encode().into()), Lsn(0));
    }),
];

/// An aggregate in which something lies in closed segments.
fn aged() -> World {
    let mut world = World::served();
    for round in 0..6 {
        world.fill(&format!("{round}"));
        world.aggregate().checkpoint().unwrap();
        world.aggregate().detach(Timestamp(9)).unwrap();
        world.take_over();
    }
    world.fill("last");
    world.aggregate().checkpoint().unwrap();
    world.settle();
    assert_eq!(world.faults(), []);
    world
}

#[test]
fn each_harm_to_the_record_of_space_is_repaired() {
    let world = aged();
    let expected = said(&world.disk);
    for (index, (fault, harm)) in SPACE_HARMS.iter().enumerate() {
        let fork = World::on(&world, 200 + index as u64);
        fork.aggregate().checkpoint().unwrap();
        let (segment, state) = closed(&fork);
        harm(&mut fork.aggregate().engine.space.lock(), segment, &state);
        fork.aggregate().checkpoint().unwrap();
        fork.settle();
        let found = check_disk(&fork.disk);
        assert!(faults(&found).contains(fault), "harm {index}: {:?}", found.findings);
        is_repaired(&format!("harm {index}"), (&world, &fork.disk), &expected);
    }
}

/// It is whole afterwards, serves the same, and its space goes on being so.
fn is_repaired(case: &str, (before, disk): (&World, &Disk), expected: &Said) -> Repaired {
    let repaired = repaired(disk).unwrap_or_else(|error| panic!("{case}: {error}"));
    assert!(repaired.left.is_sound(), "{case}: {:?}", repaired.left.findings);
    assert!(!repaired.done.is_empty(), "{case}");
    let mut world = before.after(disk.fork(1), next(disk));
    assert_eq!(everything(&world.aggregate()), *expected, "{case}");
    for round in 0..6 {
        world.fill(&format!("{case} {round}"));
        world.aggregate().checkpoint().unwrap();
        world.aggregate().census().unwrap();
        assert_eq!(world.faults(), [], "{case}");
        world.take_over();
    }
    repaired
}

/// The newest root, and where it lies.
pub(super) fn newest(disk: &Disk) -> (u64, Root) {
    let places = (0..Geometry::RING).flat_map(|index| RootPlace::BOTH.map(|place| Geometry::root_offset(index, place)));
    let roots = places.filter_map(|at| Some((at, Root::decode(&disk.peek(at, Geometry::ROOT_BYTES_MAX)).ok()?)));
    roots.max_by_key(|(_, root)| root.name()).unwrap()
}

#[test]
fn unreadable_space_tree_list_of_frees_label_slot_and_root_are_repaired() {
    let world = aged();
    let expected = said(&world.disk);
    let (at, root) = newest(&world.disk);
    let label = Label::decode(&world.disk.peek(0, BLOCK_BYTES)).unwrap();
    let pending: Vec<u64> = root.pending.iter().flatten().map(|list| list.block.offset()).collect();
    assert!(!pending.is_empty());
    let mut harms = vec![
        ("space tree", root.space.unwrap().block.offset(), Fault::Node),
        ("slot", Geometry::slot_offset(5) + 40, Fault::Slot),
        ("root", at + 300, Fault::Root),
    ];
    harms.extend(pending.iter().map(|at| ("list of frees", *at, Fault::Node)));
    harms.extend(
        label
            .geometry
            .label_offsets()
            .map(|at| ("label", at + 100, Fault::Label)),
    );
    for (index, (what, at, fault)) in harms.into_iter().enumerate() {
        let disk = world.disk.fork(300 + index as u64);
        disk.flip(at, 3);
        assert!(faults(&check_disk(&disk)).contains(&fault), "{what}");
        let repaired = is_repaired(what, (&world, &disk), &expected);
        // Its own nodes are given back with it.
        assert!(fault != Fault::Node || what != "space tree" || !mended(&repaired).contains(&Fault::Leak));
        assert!(mended(&repaired).contains(&fault), "{what}: {:?}", repaired.done);
    }
}

#[test]
fn lost_space_tree_is_not_made_anew_while_an_older_owner_may_write() {
    let world = aged();
    let disk = world.disk.fork(1);
    disk.flip(newest(&disk).1.space.unwrap().block.offset(), 3);
    let device = Arc::new(disk.port());
    let shown = Grant {
        ring: Ring::Ended(vec![Epoch(3), Epoch(4)]),
        ..grant(&disk, Ring::Vouched)
    };
    let refused = repair(device, shown, Timestamp(7), Data::Skip, Unreadable::Leave).unwrap_err();
    assert_eq!(refused.kind, Kind::Busy, "{refused}");
    assert!(refused.to_string().contains("-force"), "{refused}");
    assert!(repaired(&disk).unwrap().left.is_sound());
}

#[test]
fn repair_of_a_sound_aggregate_changes_nothing_but_its_epoch() {
    for world in [World::served(), aged(), subject().0] {
        world.settle();
        let expected = said(&world.disk);
        let before = check_disk(&world.disk);
        for era in 1..4 {
            let repaired = repaired(&world.disk).unwrap();
            assert!(repaired.done.is_empty(), "{:?}", repaired.done);
            let after = &repaired.left;
            assert!(after.findings.is_empty(), "{:?}", after.findings);
            assert_eq!((after.filesets, after.files), (before.filesets, before.files));
            assert_eq!(after.root.epoch.era(), era);
            assert_eq!(said(&world.disk), expected);
        }
    }
}

#[test]
fn sound_case_with_snapshots_and_a_clone_is_the_same_afterwards() {
    let case = Case::new();
    let found = check_disk(&case.disk);
    assert!(found.findings.is_empty(), "{:?}", found.findings);
    let repaired = repaired(&case.disk).unwrap();
    // The clone has an orphan, and no client.
    assert_eq!(mended(&repaired), [Fault::Orphan], "{repaired:?}");
    assert!(repaired.left.findings.is_empty(), "{repaired:?}");
    assert_eq!(said(&case.disk), case.expected);
}

#[test]
fn owner_that_lives_after_all_is_fenced_and_what_it_told_stays() {
    let (mut world, ..) = subject();
    let root = world.root();
    world.file(root, "told", &[9; BLOCK_BYTES]);
    world.settle();
    let expected = said(&world.disk);
    repaired(&world.disk).unwrap();
    assert_eq!(world.aggregate().look().unwrap_err().kind, Kind::WrongEpoch);
    assert_eq!(said(&world.disk), expected);
}

#[test]
fn repair_that_is_cut_short_anywhere_is_ended_by_the_next() {
    let (world, file, directory) = subject();
    let mut harmed = World::on(&world, 5);
    // Some of each: counts, a name that leads nowhere, and what is lost of space.
    for (_, harm) in [0, 2, 5, 10].map(|index| &HARMS[index]) {
        harmed.change(|transaction, _| harm(transaction, file, directory));
    }
    harmed.aggregate().checkpoint().unwrap();
    harmed.settle();
    let (_, root) = newest(&harmed.disk);
    harmed.disk.flip(root.space.unwrap().block.offset(), 3);
    let whole = harmed.disk.fork(1);
    repaired(&whole).unwrap();
    let expected = said(&whole);
    for (seed, power) in [(0, false), (1, true)] {
        for nth in 1.. {
            let disk = harmed.disk.fork(1_000 + nth * 2 + seed);
            let port = Arc::new(disk.port());
            port.stop_at(nth);
            if repaired_by(port, &disk).is_ok() {
                assert!(nth > 100, "{nth}");
                break;
            }
            match power {
                true => disk.cut_power(),
                false => disk.land_late(),
            }
            let case = format!("stopped at {nth}, power cut {power}");
            let repaired = repaired(&disk).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert!(repaired.left.is_sound(), "{case}: {:?}", repaired.left.findings);
            assert_eq!(said(&disk), expected, "{case}");
        }
    }
}

/// Blocks of every sort: what can be repaired is, and nothing is lost that was not.
fn suite(harm: Harm) {
    let case = Case::new();
    let (mut sound, mut some, mut refused) = (0, 0, 0);
    for (place, block) in case.used.iter().enumerate().step_by(3) {
        let disk = case.disk.fork(*block);
        harm.befall(
            &disk,
            *block,
            case.used[(place + case.used.len() / 2) % case.used.len()],
        );
        let on = format!("block {block} {harm:?}");
        let before = disk.digest();
        match repaired(&disk) {
            Ok(repaired) => {
                let said = said(&disk);
                compare(&on, case.expected_of(*block, &said), &said);
                match repaired.left.is_sound() {
                    true => sound += 1,
                    false => some += 1,
                }
            }
            Err(error) => {
                assert_eq!(error.kind, Kind::Damaged, "{on}: {error}");
                assert_eq!(disk.digest(), before, "{on}: {error}");
                refused += 1;
            }
        }
    }
    println!("{harm:?}: {sound} blocks sound afterwards, {some} with damage, {refused} refused");
    assert!(sound > 5 && some > 30 && refused < 10, "{sound}, {some}, {refused}");
}

#[test]
fn whichever_block_is_flipped_a_repair_loses_nothing_more() {
    suite(Harm::Flipped);
}

#[test]
fn whichever_block_is_of_zeroes_a_repair_loses_nothing_more() {
    suite(Harm::Zeroed);
}
