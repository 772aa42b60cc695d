//! `extract`: everything comes back, and nothing leaves the target.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::sync::Arc;

use baton_types::{FilesetName, Kind, Vnode};
use tempfile::TempDir;

use super::world::{World, at, name};
use crate::fileset::{self, Birth};
use crate::format::{BLOCK_BYTES, Extent, FileKind, Geometry, Key, NameEntry, Root, RootPlace};
use crate::nodes::Nodes;
use crate::salvage::{Extracted, extract};

fn give_back(world: &World, target: &TempDir) -> Extracted {
    world.settle();
    let device = Arc::new(world.disk.port());
    extract(device.clone(), Nodes::new(device), target.path(), None).unwrap()
}

#[test]
fn files_come_back_from_the_log_and_from_trees() {
    let mut world = World::served();
    world.fill("tree");
    world.aggregate().checkpoint().unwrap();
    world.fill("log");
    let target = TempDir::new().unwrap();
    let extracted = give_back(&world, &target);
    for tag in ["tree", "log"] {
        let directory = target.path().join(format!("user.ito/{tag} d"));
        let file = directory.join("file");
        assert_eq!(std::fs::read(&file).unwrap(), vec![tag.len() as u8; 3 * BLOCK_BYTES]);
        let found = std::fs::metadata(&file).unwrap();
        assert_eq!(found.permissions().mode() & 0o7777, 0o640);
        assert_eq!((found.mtime(), found.mtime_nsec()), (0, 5));
        assert_eq!(
            (found.nlink(), found.ino()),
            (2, std::fs::metadata(directory.join("hard")).unwrap().ino())
        );
        assert_eq!(
            std::fs::read_link(directory.join("soft")).unwrap(),
            std::path::Path::new("../file")
        );
        assert!(std::fs::metadata(directory.join("pipe")).unwrap().file_type().is_fifo());
        assert!(!directory.join("gone").exists() && !directory.join("open").exists());
        assert_eq!(std::fs::metadata(&directory).unwrap().mtime_nsec(), 5);
    }
    assert_eq!((extracted.filesets, extracted.bytes), (1, 2 * 3 * BLOCK_BYTES as u64));
    let left: Vec<_> = extracted
        .skipped
        .iter()
        .filter(|skipped| !skipped.reason.contains("user.tag"))
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
    for skipped in left {
        assert!(skipped.path.ends_with(" d/elsewhere"), "{skipped:?}");
        assert_eq!(skipped.reason, "a mount point of fileset 0,,99");
    }
    assert!(extracted.source.starts_with("root "), "{}", extracted.source);
}

#[test]
fn damaged_bytes_are_named_and_the_rest_comes_back() {
    let mut world = World::served();
    let root = world.root();
    let file = world.file(root, "f", &[7; 3 * BLOCK_BYTES]);
    let extent = world.fileset().read(|view| view.get(Key::extent(file.fid.vnode, 0)));
    let extent = Extent::decode(&extent.unwrap().unwrap()).unwrap();
    world.aggregate().checkpoint().unwrap();
    world.settle();
    world.disk.flip(extent.block.offset() + BLOCK_BYTES as u64, 0);
    let target = TempDir::new().unwrap();
    let extracted = give_back(&world, &target);
    let bytes = std::fs::read(target.path().join("user.ito/f")).unwrap();
    assert_eq!(bytes, [[7; BLOCK_BYTES], [0; BLOCK_BYTES], [7; BLOCK_BYTES]].concat());
    let [skipped] = &extracted.skipped[..] else {
        panic!("{:?}", extracted.skipped)
    };
    assert_eq!(
        (skipped.path.as_str(), skipped.reason.as_str()),
        ("user.ito/f", "1 parts of it are damaged, and are zeros now")
    );
}

#[test]
fn hostile_names_lead_nowhere_else() {
    let outside = TempDir::new().unwrap();
    let mut world = World::served();
    let root = world.root();
    let birth = Birth { mode: 0o6755, acl: &[] };
    world.change(|transaction, names| {
        let outside = outside.path().as_os_str().as_encoded_bytes();
        fileset::symlink(transaction, names, at(root, &name("trap")), birth, outside)
    });
    // A directory of the very name that a link has, under another hash, and in itself once more.
    let inner = world.change(|transaction, names| fileset::mkdir(transaction, names, at(root, &name("inner")), birth));
    world.file(inner.fid, "stolen", &[1; BLOCK_BYTES]);
    world.change(|transaction, _| {
        let entry = |name: &[u8]| NameEntry {
            vnode: inner.fid.vnode,
            unique: inner.fid.unique,
            kind: FileKind::Directory,
            name: name.to_vec(),
        };
        transaction.put(Key::name(Vnode::ROOT, 17), NameEntry::encode_all(&[entry(b"trap")]));
        transaction.put(
            Key::name(inner.fid.vnode, 17),
            NameEntry::encode_all(&[entry(b"again")]),
        );
        // Names that no directory may have are no names at all.
        let mut up = NameEntry::encode_all(&[entry(b"xx")]);
        up[18..].copy_from_slice(b"..");
        transaction.put(Key::name(Vnode::ROOT, 18), up);
        Ok(())
    });
    let target = TempDir::new().unwrap();
    let extracted = give_back(&world, &target);
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(target.path()).unwrap().count(), 1);
    assert!(
        extracted
            .skipped
            .iter()
            .any(|skipped| skipped.reason.contains("in itself")),
        "{:?}",
        extracted.skipped
    );
    assert!(
        extracted
            .skipped
            .iter()
            .any(|skipped| skipped.reason.contains("some names")),
        "{:?}",
        extracted.skipped
    );
}

#[test]
fn set_id_bits_stay_behind() {
    let mut world = World::served();
    let root = world.root();
    world.change(|transaction, names| {
        let birth = Birth { mode: 0o6755, acl: &[] };
        fileset::create(transaction, names, at(root, &name("f")), birth)
    });
    let target = TempDir::new().unwrap();
    give_back(&world, &target);
    let mode = std::fs::metadata(target.path().join("user.ito/f"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn lost_newest_root_costs_nothing() {
    let mut world = World::served();
    for round in 0..3 {
        world.fill(&format!("{round}"));
        world.aggregate().checkpoint().unwrap();
    }
    world.settle();
    let places = RootPlace::BOTH.map(|place| Geometry::root_offset(1, place));
    let name = |at: &u64| {
        Root::decode(&world.disk.peek(*at, Geometry::ROOT_BYTES_MAX))
            .unwrap()
            .name()
    };
    let newest = places.into_iter().max_by_key(name).unwrap();
    world.disk.flip(newest + 100, 0);
    let target = TempDir::new().unwrap();
    give_back(&world, &target);
    assert_eq!(std::fs::read_dir(target.path().join("user.ito")).unwrap().count(), 4);
}

#[test]
fn fileset_that_is_not_there_is_named_and_nothing_is_made() {
    let world = World::served();
    world.settle();
    let target = TempDir::new().unwrap();
    let device = Arc::new(world.disk.port());
    let other = FilesetName::parse("user.abe").unwrap();
    let error = extract(device.clone(), Nodes::new(device), target.path(), Some(&other)).unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
    assert_eq!(
        error.to_string(),
        "fileset user.abe: aggregate agg1 has none of this name"
    );
    assert_eq!(std::fs::read_dir(target.path()).unwrap().count(), 0);
    give_back(&world, &target);
    let device = Arc::new(world.disk.port());
    let error = extract(device.clone(), Nodes::new(device), target.path(), None).unwrap_err();
    assert!(error.to_string().contains("user.ito"), "{error}");
}
