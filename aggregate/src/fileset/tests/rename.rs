//! Renames, onto everything that may stand there.

use baton_types::{Fid, FilesetId, Kind};

use super::sandbox::{BIRTH, Sandbox, name};
use crate::fileset::{Holders, Onto, Place, create_mount_point};
use crate::format::MountPoint;

const OVER: Onto = Onto::Anything(Holders::Nobody);

#[test]
fn file_moves_and_keeps_what_it_is() {
    let mut s = Sandbox::new();
    let d = s.mkdir(s.root, "d").unwrap().fid;
    let f = s.create(s.root, "f").unwrap();
    let moved = s.rename((s.root, "f"), (d, "g"), OVER).unwrap();
    assert_eq!(moved.fid, f.fid);
    assert_eq!(
        (moved.attributes.changed, moved.attributes.modified),
        (s.time(), f.attributes.modified)
    );
    assert_eq!(s.lookup(s.root, "f"), Err(Kind::NotFound));
    assert_eq!(s.lookup(d, "g"), Ok(moved));
    for (directory, size) in [(s.root, 1), (d, 1)] {
        let attributes = s.getattr(directory).unwrap().attributes;
        assert_eq!(
            (attributes.size, attributes.modified, attributes.changed),
            (size, s.time(), s.time())
        );
    }
}

#[test]
fn directory_moves_with_its_way_up() {
    let mut s = Sandbox::new();
    let [a, b] = ["a", "b"].map(|text| s.mkdir(s.root, text).unwrap().fid);
    let d = s.mkdir(a, "d").unwrap().fid;
    let moved = s.rename((a, "d"), (b, "d"), OVER).unwrap();
    assert_eq!(moved.attributes.parent, Some(b.vnode));
    assert_eq!(s.getattr(d), Ok(moved));
    let links = [a, b, s.root].map(|fid| s.getattr(fid).unwrap().attributes.links);
    assert_eq!(links, [2, 3, 4]);
}

#[test]
fn no_directory_moves_below_itself() {
    let mut s = Sandbox::new();
    let a = s.mkdir(s.root, "a").unwrap().fid;
    let b = s.mkdir(a, "b").unwrap().fid;
    let c = s.mkdir(b, "c").unwrap().fid;
    for below in [a, b, c] {
        assert_eq!(s.rename((s.root, "a"), (below, "x"), OVER), Err(Kind::Invalid));
    }
    let f = s.create(c, "f").unwrap();
    assert_eq!(s.rename((s.root, "a"), (c, "f"), OVER), Err(Kind::Invalid));
    assert_eq!(s.rename((s.root, "a"), (c, "f"), Onto::Exchange), Err(Kind::Invalid));
    assert_eq!(s.rename((c, "f"), (s.root, "a"), Onto::Exchange), Err(Kind::Invalid));
    // Upwards it may.
    s.rename((b, "c"), (s.root, "c"), OVER).unwrap();
    assert_eq!(s.lookup(c, "f"), Ok(f));
}

#[test]
fn directory_above_the_source_is_not_replaced_by_it() {
    let mut s = Sandbox::new();
    let a = s.mkdir(s.root, "a").unwrap().fid;
    s.mkdir(a, "b").unwrap();
    assert_eq!(s.rename((a, "b"), (s.root, "a"), OVER), Err(Kind::NotEmpty));
    s.create(a, "f").unwrap();
    assert_eq!(s.rename((a, "f"), (s.root, "a"), OVER), Err(Kind::IsDirectory));
}

#[test]
fn what_is_replaced_goes_or_stays_for_its_holders() {
    let mut s = Sandbox::new();
    let f = s.create(s.root, "f").unwrap().fid;
    let gone = s.create(s.root, "g").unwrap().fid;
    s.rename((s.root, "f"), (s.root, "g"), OVER).unwrap();
    assert_eq!(s.lookup(s.root, "g").unwrap().fid, f);
    assert_eq!(s.getattr(gone), Err(Kind::Stale));
    let held = s.create(s.root, "h").unwrap().fid;
    s.rename((s.root, "g"), (s.root, "h"), Onto::Anything(Holders::Somebody))
        .unwrap();
    assert_eq!(s.getattr(held).unwrap().attributes.links, 0);
    let linked = s.create(s.root, "i").unwrap().fid;
    s.link(s.root, "i2", linked).unwrap();
    s.rename((s.root, "h"), (s.root, "i"), OVER).unwrap();
    assert_eq!(s.getattr(linked).unwrap().attributes.links, 1);
    assert_eq!(s.getattr(s.root).unwrap().attributes.size, 2);
    assert_eq!(s.scratch.usage.files, 4);
}

#[test]
fn only_like_replaces_like_and_only_an_empty_directory_goes() {
    let mut s = Sandbox::new();
    let d = s.mkdir(s.root, "d").unwrap();
    let e = s.mkdir(s.root, "e").unwrap();
    s.create(s.root, "f").unwrap();
    s.create(e.fid, "inner").unwrap();
    assert_eq!(s.rename((s.root, "f"), (s.root, "d"), OVER), Err(Kind::IsDirectory));
    assert_eq!(s.rename((s.root, "d"), (s.root, "f"), OVER), Err(Kind::NotDirectory));
    assert_eq!(s.rename((s.root, "d"), (s.root, "e"), OVER), Err(Kind::NotEmpty));
    s.rename((s.root, "e"), (s.root, "d"), OVER).unwrap();
    assert_eq!(s.lookup(s.root, "d").unwrap().fid, e.fid);
    assert_eq!(s.getattr(d.fid), Err(Kind::Stale));
    assert_eq!(s.getattr(s.root).unwrap().attributes.links, 3);
}

#[test]
fn rename_over_a_name_of_the_same_file_does_nothing() {
    let mut s = Sandbox::new();
    let f = s.create(s.root, "f").unwrap().fid;
    let linked = s.link(s.root, "g", f).unwrap();
    let root = s.getattr(s.root);
    for onto in [OVER, Onto::Exchange] {
        assert_eq!(s.rename((s.root, "f"), (s.root, "g"), onto), Ok(linked));
        assert_eq!(s.rename((s.root, "f"), (s.root, "f"), onto), Ok(linked));
        assert!(s.last().items.is_empty());
    }
    assert_eq!(s.rename((s.root, "f"), (s.root, "f"), Onto::Nothing), Err(Kind::Exists));
    assert_eq!(s.getattr(s.root), root);
}

#[test]
fn no_replace_refuses_what_is_there() {
    let mut s = Sandbox::new();
    let f = s.create(s.root, "f").unwrap().fid;
    s.create(s.root, "g").unwrap();
    assert_eq!(s.rename((s.root, "f"), (s.root, "g"), Onto::Nothing), Err(Kind::Exists));
    assert_eq!(s.rename((s.root, "f"), (s.root, "h"), Onto::Nothing).unwrap().fid, f);
    assert_eq!(
        s.rename((s.root, "f"), (s.root, "i"), Onto::Nothing),
        Err(Kind::NotFound)
    );
}

#[test]
fn exchange_swaps_a_directory_and_a_file_between_directories() {
    let mut s = Sandbox::new();
    let [a, b] = ["a", "b"].map(|text| s.mkdir(s.root, text).unwrap().fid);
    let d = s.mkdir(a, "x").unwrap().fid;
    let f = s.create(b, "y").unwrap().fid;
    assert_eq!(s.rename((a, "x"), (b, "y"), Onto::Exchange).unwrap().fid, d);
    assert_eq!((s.lookup(a, "x").unwrap().fid, s.lookup(b, "y").unwrap().fid), (f, d));
    let links = [a, b].map(|fid| s.getattr(fid).unwrap().attributes.links);
    assert_eq!(links, [2, 3]);
    assert_eq!(s.getattr(d).unwrap().attributes.parent, Some(b.vnode));
    assert_eq!(s.getattr(f).unwrap().attributes.changed, s.time());
    assert_eq!(s.rename((a, "x"), (b, "z"), Onto::Exchange), Err(Kind::NotFound));
    // Two directories, each with something in it: nothing needs to be empty.
    let e = s.mkdir(a, "e").unwrap().fid;
    for directory in [d, e] {
        s.create(directory, "inner").unwrap();
    }
    s.rename((b, "y"), (a, "e"), Onto::Exchange).unwrap();
    assert_eq!((s.lookup(b, "y").unwrap().fid, s.lookup(a, "e").unwrap().fid), (e, d));
}

#[test]
fn exchange_of_the_directories_two_names_stand_in() {
    let mut s = Sandbox::new();
    let a = s.mkdir(s.root, "a").unwrap().fid;
    let b = s.mkdir(s.root, "b").unwrap().fid;
    let inner = s.mkdir(b, "inner").unwrap().fid;
    // A directory with one that lies beside its parent is fine; with its own parent it is not.
    assert_eq!(
        s.rename((b, "inner"), (s.root, "b"), Onto::Exchange),
        Err(Kind::Invalid)
    );
    s.rename((b, "inner"), (s.root, "a"), Onto::Exchange).unwrap();
    assert_eq!(
        (s.lookup(b, "inner").unwrap().fid, s.lookup(s.root, "a").unwrap().fid),
        (a, inner)
    );
    assert_eq!(
        [a, inner].map(|fid| s.getattr(fid).unwrap().attributes.parent),
        [Some(b.vnode), Some(s.root.vnode)]
    );
}

#[test]
fn mount_point_moves_and_is_not_replaced() {
    let mut s = Sandbox::new();
    let d = s.mkdir(s.root, "d").unwrap().fid;
    let place = Place {
        directory: s.root,
        name: &name("m"),
    };
    let leads_to = MountPoint::Regular(FilesetId(9));
    let m = s
        .act(|t, names| create_mount_point(t, names, place, BIRTH, leads_to))
        .unwrap()
        .fid;
    s.create(s.root, "f").unwrap();
    assert_eq!(s.rename((s.root, "d"), (s.root, "m"), OVER), Err(Kind::Busy));
    assert_eq!(s.rename((s.root, "f"), (s.root, "m"), OVER), Err(Kind::IsDirectory));
    assert_eq!(s.rename((s.root, "m"), (s.root, "f"), OVER), Err(Kind::NotDirectory));
    let moved = s.rename((s.root, "m"), (d, "m"), OVER).unwrap();
    assert_eq!((moved.fid, moved.attributes.parent), (m, Some(d.vnode)));
    let links = [s.root, d].map(|fid| s.getattr(fid).unwrap().attributes.links);
    assert_eq!(links, [3, 3]);
}

#[test]
fn stale_foreign_and_wrong_places_are_refused() {
    let mut s = Sandbox::new();
    let f = s.create(s.root, "f").unwrap().fid;
    assert_eq!(
        s.rename((Sandbox::stale(s.root), "f"), (s.root, "g"), OVER),
        Err(Kind::Stale)
    );
    assert_eq!(
        s.rename((s.root, "f"), (Sandbox::stale(s.root), "g"), OVER),
        Err(Kind::Stale)
    );
    assert_eq!(s.rename((s.root, "f"), (f, "g"), OVER), Err(Kind::NotDirectory));
    assert_eq!(s.rename((f, "x"), (s.root, "g"), OVER), Err(Kind::NotDirectory));
    let elsewhere = Fid {
        fileset: FilesetId(8),
        ..s.root
    };
    assert_eq!(s.rename((s.root, "f"), (elsewhere, "g"), OVER), Err(Kind::CrossFileset));
}

#[test]
fn directory_deeper_than_any_path_is_not_moved_across() {
    let mut s = Sandbox::new();
    let mut deep = s.root;
    for _ in 0..10_000 {
        deep = s.mkdir(deep, "d").unwrap().fid;
    }
    let d = s.mkdir(s.root, "x").unwrap().fid;
    assert_eq!(s.rename((s.root, "x"), (deep, "x"), OVER), Err(Kind::Loop));
    s.create(d, "f").unwrap();
    s.rename((d, "f"), (deep, "f"), OVER).unwrap();
}
