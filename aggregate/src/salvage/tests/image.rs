//! An image of the format, kept: every later build finds it sound, opens it, and goes on with it.
//!
//! It has a little of everything in a fileset, two snapshots of it, one that was deleted and has its space still, a
//! checkpoint, and a log behind it. The file holds the size of the device, and of each block that is not all zeros its
//! number, its length without the zeros at its end, and its bytes.

use std::path::PathBuf;

use super::world::{World, at, name};
use crate::aggregate::{Fileset, Namesake, Reclaimed};
use crate::device::Device;
use crate::device::double::Disk;
use crate::file;
use crate::fileset::{Holders, lookup, unlink};
use crate::format::{BLOCK_BYTES, Lsn};
use crate::transaction::Operation;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/image/first.bin")
}

fn take(world: &World, called: &str) -> Lsn {
    let done = world
        .fileset()
        .take_snapshot(&Operation::default(), &name(called), Namesake::Refuse);
    done.unwrap().answer.unwrap()
}

/// The file makes way for another one of its name.
fn write(world: &mut World, round: u8) {
    let root = world.root();
    if round > 1 {
        world.change(|transaction, names| {
            let called = name("file");
            unlink(transaction, names, at(root, &called), Holders::Nobody).map(|_| ())
        });
    }
    world.file(root, "file", &[round; BLOCK_BYTES]);
}

/// What the file holds there.
fn read(world: &World, fileset: &Fileset) -> u8 {
    let (root, called, names) = (world.root(), name("file"), fileset.names());
    let found = fileset.read(|view| lookup(view, &names, at(root, &called)));
    let bytes = file::read(fileset, found.unwrap().fid, 0, BLOCK_BYTES).unwrap();
    assert!(bytes.len() == BLOCK_BYTES && bytes.iter().all(|byte| *byte == bytes[0]));
    bytes[0]
}

fn unpacked(bytes: &[u8]) -> Disk {
    let (len, mut rest) = bytes.split_first_chunk().unwrap();
    let disk = Disk::new(u64::from_le_bytes(*len), 1);
    while let Some((block, after)) = rest.split_first_chunk() {
        let (len, after) = after.split_first_chunk().unwrap();
        let (found, after) = after.split_at(u64::from_le_bytes(*len) as usize);
        disk.poke(u64::from_le_bytes(*block) * BLOCK_BYTES as u64, found);
        rest = after;
    }
    disk
}

fn packed(disk: &Disk) -> Vec<u8> {
    let len = disk.port().len();
    let mut bytes = len.to_le_bytes().to_vec();
    for block in 0..len / BLOCK_BYTES as u64 {
        let found = disk.peek(block * BLOCK_BYTES as u64, BLOCK_BYTES);
        if let Some(last) = found.iter().rposition(|byte| *byte != 0) {
            bytes.extend(block.to_le_bytes());
            bytes.extend((last as u64 + 1).to_le_bytes());
            bytes.extend(&found[..=last]);
        }
    }
    bytes
}

/// The image, as this build makes it.
fn made() -> Vec<u8> {
    let mut world = World::served();
    world.fill("a");
    write(&mut world, 1);
    take(&world, "first");
    write(&mut world, 2);
    let gone = take(&world, "gone");
    world.aggregate().checkpoint().unwrap();
    write(&mut world, 3);
    take(&world, "last");
    let deleted = world.fileset().delete_snapshot(&Operation::default(), gone);
    deleted.unwrap().answer.unwrap();
    write(&mut world, 4);
    world.settle();
    packed(&world.disk)
}

/// It is sound and opens and goes on.
fn assert_serves(image: &[u8]) {
    let report = super::world::check_disk(&unpacked(image));
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let world = World::of(unpacked(image), 2);
    let fileset = world.fileset();
    assert_eq!(read(&world, &fileset), 4);
    let held = |fileset: &Fileset| -> Vec<(String, u8)> {
        let listed = fileset.snapshots().into_iter();
        let held = listed.map(|snapshot| {
            let then = fileset.at(snapshot.id).unwrap();
            (snapshot.name.to_string(), read(&world, &then))
        });
        held.collect()
    };
    let [first, last] = [("first".to_owned(), 1), ("last".to_owned(), 3)];
    assert_eq!(held(&fileset), [first.clone(), last.clone()]);
    take(&world, "now");
    let aggregate = world.aggregate();
    loop {
        match aggregate.reclaim().unwrap() {
            Reclaimed::Blocks(_) => {}
            Reclaimed::Later => aggregate.checkpoint().unwrap(),
            Reclaimed::Nothing => break,
        }
    }
    assert_eq!(held(&fileset), [first, last, ("now".to_owned(), 4)]);
    let report = world.check();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    aggregate.census().unwrap();
}

#[test]
fn kept_image_serves() {
    assert_serves(&std::fs::read(path()).unwrap());
}

/// For a new version of the format, `WRITE_IMAGE` names the file that its image is kept in.
#[test]
fn image_made_now_serves() {
    let image = made();
    assert_serves(&image);
    if let Some(kept) = std::env::var_os("WRITE_IMAGE") {
        std::fs::write(kept, image).unwrap();
    }
}
