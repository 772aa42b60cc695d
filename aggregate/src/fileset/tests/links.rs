//! Names added and taken away, and what becomes of their files.

use baton_types::{Fid, FilesetId, Kind};

use super::sandbox::{BIRTH, Sandbox, name};
use crate::fileset::attributes::save;
use crate::fileset::{Holders, Place, create_mount_point, link, remove_mount_point, rmdir, unlink};
use crate::format::MountPoint;

#[test]
fn file_with_two_names_lives_until_both_are_gone() {
    let mut s = Sandbox::new();
    let d = s.mkdir(s.root, "d").unwrap().fid;
    let f = s.create(s.root, "f").unwrap();
    let linked = s.link(d, "g", f.fid).unwrap();
    assert_eq!((linked.attributes.links, linked.attributes.changed), (2, s.time()));
    assert_eq!(linked.attributes.modified, f.attributes.modified);
    assert_eq!(s.lookup(d, "g"), Ok(linked));
    let left = s.unlink(s.root, "f", Holders::Nobody).unwrap();
    assert_eq!((left.attributes.links, left.attributes.changed), (1, s.time()));
    assert_eq!(s.getattr(f.fid), Ok(left));
    assert_eq!(s.lookup(s.root, "f"), Err(Kind::NotFound));
    assert_eq!(s.unlink(d, "g", Holders::Nobody).unwrap().attributes.links, 0);
    assert_eq!(s.getattr(f.fid), Err(Kind::Stale));
    assert_eq!(s.scratch.usage.files, 2);
}

#[test]
fn only_files_with_a_name_get_another() {
    let mut s = Sandbox::new();
    let d = s.mkdir(s.root, "d").unwrap().fid;
    let f = s.create(s.root, "f").unwrap().fid;
    assert_eq!(s.link(s.root, "e", d), Err(Kind::NotOwner));
    assert_eq!(s.link(d, "f", Sandbox::stale(f)), Err(Kind::Stale));
    assert_eq!(s.link(s.root, "d", f), Err(Kind::Exists));
    assert_eq!(s.link(f, "x", f), Err(Kind::NotDirectory));
    let elsewhere = Fid {
        fileset: FilesetId(8),
        ..f
    };
    assert_eq!(
        s.act(|t, names| link(
            t,
            names,
            Place {
                directory: d,
                name: &name("x")
            },
            elsewhere
        )),
        Err(Kind::CrossFileset)
    );
    s.unlink(s.root, "f", Holders::Somebody).unwrap();
    assert_eq!(s.link(d, "x", f), Err(Kind::NotFound));
}

#[test]
fn links_end_at_their_limit() {
    let mut s = Sandbox::new();
    let f = s.create(s.root, "f").unwrap();
    let root = s.getattr(s.root).unwrap();
    for object in [f, root] {
        let mut attributes = object.attributes;
        attributes.links = 64_999;
        s.act(|t, _| {
            save(t, object.fid.vnode, &attributes);
            Ok(object)
        })
        .unwrap();
    }
    s.link(s.root, "g", f.fid).unwrap();
    assert_eq!(s.link(s.root, "h", f.fid), Err(Kind::TooManyLinks));
    s.mkdir(s.root, "d").unwrap();
    assert_eq!(s.mkdir(s.root, "e"), Err(Kind::TooManyLinks));
    s.create(s.root, "e").unwrap();
    // Full as it is, a directory moves within it, and over another.
    let onto = crate::fileset::Onto::Anything(Holders::Nobody);
    s.rename((s.root, "d"), (s.root, "d2"), onto).unwrap();
    s.rmdir(s.root, "d2", Holders::Nobody).unwrap();
    let e = s.mkdir(s.root, "e2").unwrap().fid;
    s.mkdir(e, "deeper").unwrap();
    assert_eq!(s.rename((e, "deeper"), (s.root, "up"), onto), Err(Kind::TooManyLinks));
}

#[test]
fn unlink_and_rmdir_keep_to_their_kinds() {
    let mut s = Sandbox::new();
    let d = s.mkdir(s.root, "d").unwrap().fid;
    s.create(s.root, "f").unwrap();
    assert_eq!(s.unlink(s.root, "d", Holders::Nobody), Err(Kind::IsDirectory));
    assert_eq!(s.rmdir(s.root, "f", Holders::Nobody), Err(Kind::NotDirectory));
    assert_eq!(s.rmdir(s.root, "x", Holders::Nobody), Err(Kind::NotFound));
    assert_eq!(s.unlink(s.root, "x", Holders::Nobody), Err(Kind::NotFound));
    s.create(d, "inner").unwrap();
    assert_eq!(s.rmdir(s.root, "d", Holders::Nobody), Err(Kind::NotEmpty));
    s.unlink(d, "inner", Holders::Nobody).unwrap();
    let gone = s.rmdir(s.root, "d", Holders::Nobody).unwrap().attributes;
    assert_eq!((gone.links, gone.parent), (0, None));
    let root = s.getattr(s.root).unwrap().attributes;
    assert_eq!((root.links, root.size), (2, 1));
    assert_eq!(s.scratch.usage.files, 2);
}

#[test]
fn mount_point_is_removed_as_one_and_by_nothing_else() {
    let mut s = Sandbox::new();
    let place = Place {
        directory: s.root,
        name: &name("m"),
    };
    let leads_to = MountPoint::Regular(FilesetId(9));
    let m = s
        .act(|t, names| create_mount_point(t, names, place, BIRTH, leads_to))
        .unwrap()
        .fid;
    assert_eq!(
        s.act(|t, names| unlink(t, names, place, Holders::Nobody)),
        Err(Kind::IsDirectory)
    );
    assert_eq!(
        s.act(|t, names| rmdir(t, names, place, Holders::Nobody)),
        Err(Kind::Busy)
    );
    assert_eq!(s.link(s.root, "n", m), Err(Kind::NotOwner));
    s.create(s.root, "f").unwrap();
    let file = Place {
        directory: s.root,
        name: &name("f"),
    };
    assert_eq!(s.act(|t, names| remove_mount_point(t, names, file)), Err(Kind::Invalid));
    s.act(|t, names| remove_mount_point(t, names, place)).unwrap();
    assert_eq!(s.getattr(m), Err(Kind::Stale));
    assert_eq!(
        (s.getattr(s.root).unwrap().attributes.links, s.scratch.usage.files),
        (2, 2)
    );
}

#[test]
fn removed_directory_that_is_held_is_empty_and_stays_so() {
    let mut s = Sandbox::new();
    let d = s.mkdir(s.root, "d").unwrap().fid;
    let f = s.create(s.root, "f").unwrap().fid;
    s.rmdir(s.root, "d", Holders::Somebody).unwrap();
    assert_eq!(s.getattr(d).unwrap().attributes.links, 0);
    assert_eq!(s.lookup(d, "x"), Err(Kind::NotFound));
    assert_eq!(s.mkdir(d, "x"), Err(Kind::NotFound));
    assert_eq!(s.link(d, "x", f), Err(Kind::NotFound));
    let onto = crate::fileset::Onto::Anything(Holders::Nobody);
    assert_eq!(s.rename((s.root, "f"), (d, "x"), onto), Err(Kind::NotFound));
    // Another of the same name is another directory.
    let again = s.mkdir(s.root, "d").unwrap().fid;
    assert_ne!(again, d);
}
