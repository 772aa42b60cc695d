//! Growth: a device that became larger under its owner.

use baton_types::{Kind, Timestamp};

use super::rig::{Rig, claim, grant, name, value};
use crate::aggregate::{Fileset, Opened};
use crate::buffer::Buffer;
use crate::create::read_label;
use crate::device::{Device, Write};
use crate::format::{BLOCK_BYTES, Geometry, Label, Root, RootPlace};
use crate::nodes::Nodes;

/// Of a file: a segment.
const BLOCKS: u8 = 16;
const SEGMENT: u64 = 64 << 10;

/// An aggregate that is full, how large it is, and how many files are on it.
fn full(seed: u64) -> (Rig, Fileset, u64, u64) {
    let rig = Rig::new(seed);
    let fileset = rig.make_fileset(7);
    let files = rig.fill(&fileset, BLOCKS);
    let bytes = rig.port.len();
    (rig, fileset, bytes, files)
}

/// Files from `first` on until there is no space; how many are there then.
fn fill_on(rig: &Rig, fileset: &Fileset, first: u64) -> u64 {
    let is_room = |number: &u64| rig.try_write_data(fileset, *number, BLOCKS, *number as u8).is_ok();
    first + (first..).take_while(is_room).count() as u64
}

fn assert_whole(rig: &Rig, fileset: &Fileset, files: u64) {
    for number in 0..files {
        let found = rig
            .data(fileset, number)
            .unwrap_or_else(|| panic!("file {number} is gone"));
        assert!(found.iter().all(|byte| *byte == number as u8), "file {number}");
    }
}

/// The roots of the owner's epoch that verify, newest first, and where each lies.
fn roots(rig: &Rig) -> Vec<(Root, u64)> {
    let index = Geometry::ring_index(rig.epoch);
    let places = RootPlace::BOTH.map(|place| Geometry::root_offset(index, place));
    let read = |at| Some((Root::decode(&rig.disk.peek(at, Geometry::ROOT_BYTES_MAX)).ok()?, at));
    let mut roots: Vec<_> = places.into_iter().filter_map(read).collect();
    roots.sort_by_key(|(root, _)| std::cmp::Reverse(root.name()));
    roots
}

#[test]
fn full_aggregate_goes_on_when_its_device_has_grown() {
    let (mut rig, fileset, bytes, files) = full(60);
    let full = rig.aggregate.space();
    rig.disk.grow(bytes + 100 * SEGMENT);
    assert_eq!(
        fill_on(&rig, &fileset, files),
        files,
        "a device that grows is not taken by itself"
    );
    assert_eq!(rig.aggregate.grow(None).unwrap(), bytes + 100 * SEGMENT);
    let grown = rig.aggregate.space();
    // The segment of the label's second copy is left out; of the rest a little is kept.
    assert_eq!(grown.blocks, full.blocks + 99 * u64::from(BLOCKS));
    assert!(grown.free > full.free + 90 * u64::from(BLOCKS), "{grown:?}");
    let more = fill_on(&rig, &fileset, files);
    assert!(more > files + 80, "{more}");
    rig.commit();
    rig.census();
    for _ in 0..3 {
        let fileset = rig.next_owner(7);
        assert_whole(&rig, &fileset, more);
        assert_eq!(rig.aggregate.space().blocks, grown.blocks);
    }
    let second = read_label(&rig.disk.port()).unwrap().geometry.label_offsets()[1];
    assert_eq!(second, bytes - BLOCK_BYTES as u64);
    Label::decode(&rig.disk.peek(second, BLOCK_BYTES)).expect("nobody wrote over the second copy of the label");
}

#[test]
fn size_is_what_a_root_says_wherever_growing_is_cut() {
    let mut seen = [0, 0];
    for writes in 1.. {
        let (mut rig, fileset, bytes, files) = full(70);
        rig.commit();
        rig.disk.grow(bytes + 64 * SEGMENT);
        rig.port.stop_at(writes);
        let is_done = rig.aggregate.grow(None).is_ok();
        drop(fileset);
        // A root that was on its way when its owner ended may have come to the disk.
        let fileset = rig.next_owner(7);
        let size = rig.aggregate.engine.space.lock().geometry().device_bytes;
        assert_eq!(size, roots(&rig)[0].0.device_bytes, "{writes}");
        assert!(size == bytes || size == bytes + 64 * SEGMENT, "{writes}: {size}");
        assert!(!is_done || size > bytes);
        seen[usize::from(size > bytes)] += 1;
        assert_whole(&rig, &fileset, files);
        let grown = rig.aggregate.growth().unwrap();
        if size == bytes {
            assert_eq!((grown.now, grown.most), (bytes, bytes + 64 * SEGMENT));
            rig.aggregate.grow(None).unwrap();
        }
        let more = fill_on(&rig, &fileset, files);
        assert!(more > files + 40, "{writes}: {more} of {files}");
        rig.commit();
        let fileset = rig.next_owner(7);
        assert_whole(&rig, &fileset, more);
        if is_done {
            break;
        }
    }
    assert!(seen.iter().all(|count| *count > 1), "{seen:?}");
}

/// Recovery may begin with the root before, if the newest one rots: it must know where the log after it lies.
#[test]
fn whichever_root_is_the_newest_knows_what_was_written_since() {
    let (mut rig, mut fileset, bytes, files) = full(61);
    // Each owner begins with segments that were never used. When there are no such any more, they are in what is added.
    let has_fresh = |rig: &Rig| {
        let space = rig.aggregate.engine.space.lock();
        space.high_water() < space.geometry().end_segment()
    };
    while has_fresh(&rig) {
        rig.aggregate.detach(Timestamp(2)).unwrap();
        fileset = rig.next_owner(7);
    }
    rig.disk.grow(bytes + 100 * SEGMENT);
    rig.aggregate.grow(None).unwrap();
    let generation = rig.aggregate.generation();
    // As much as comes before a checkpoint.
    let mut more = files;
    while rig.aggregate.generation() == generation && !rig.aggregate.engine.wants_checkpoint() && more < files + 4 {
        rig.write_data(&fileset, more, BLOCKS, more as u8);
        more += 1;
    }
    rig.commit();
    assert_eq!(
        rig.aggregate.generation(),
        generation,
        "only the roots of the growth are there"
    );
    let beyond = |number| rig.extent(&fileset, number).block.offset() >= bytes;
    assert!((files..more).any(beyond), "nothing lies in what was added");
    for (_, at) in roots(&rig) {
        let disk = rig.disk.fork(at);
        disk.flip(at + 100, 3);
        let (_, next) = claim(&disk, rig.epoch.next().unwrap()).unwrap();
        assert_whole(&rig, &next.fileset(fileset.id()).unwrap(), more);
        next.census().unwrap();
    }
}

#[test]
fn what_is_no_larger_is_refused_and_said() {
    let rig = Rig::new(62);
    let bytes = rig.port.len();
    let refused = |wanted| rig.aggregate.grow(wanted).unwrap_err();
    let error = refused(None);
    assert_eq!(error.kind, Kind::Invalid);
    assert_eq!(
        error.to_string(),
        format!(
            "size: {bytes} bytes give no room more than the {bytes} it has; make it {} bytes or more, and its device \
             before it",
            bytes + 2 * SEGMENT
        )
    );
    rig.disk.grow(bytes + 10 * SEGMENT);
    assert!(refused(Some(bytes - 1)).to_string().contains("no aggregate shrinks"));
    assert_eq!(refused(Some(bytes + 11 * SEGMENT)).kind, Kind::NoSpace);
    let least = rig.aggregate.growth().unwrap().least;
    assert_eq!(refused(Some(least - 1)).kind, Kind::Invalid);
    assert_eq!(rig.aggregate.growth().unwrap().now, bytes);
    assert_eq!(rig.aggregate.grow(Some(least + 1)).unwrap(), least);
    assert_eq!(rig.aggregate.grow(None).unwrap(), bytes + 10 * SEGMENT);
}

#[test]
fn device_that_is_smaller_than_its_aggregate_is_not_served() {
    let rig = Rig::new(63);
    let bytes = rig.port.len();
    rig.disk.grow(bytes + 10 * SEGMENT);
    rig.aggregate.grow(None).unwrap();
    rig.put(&rig.make_fileset(7), name(1), &value(1, 10));
    rig.aggregate.detach(Timestamp(2)).unwrap();
    // The same bytes on a device of the old size.
    let small = crate::device::double::Disk::new(bytes, 1);
    let mut all = Buffer::zeroed(bytes as usize);
    all.copy_from_slice(&rig.disk.peek(0, bytes as usize));
    small.port().submit(&[Write { offset: 0, bytes: &all }]).unwrap();
    let port = std::sync::Arc::new(small.port());
    let opened = Opened::open(port.clone(), Nodes::new(port)).unwrap();
    let claimed = opened.claim(grant(rig.epoch.next().unwrap()), Timestamp(3)).unwrap();
    let error = claimed.recover().err().unwrap();
    assert_eq!(error.kind, Kind::Invalid);
    assert!(
        error.to_string().ends_with("; give the device its size back"),
        "{error}"
    );
}
