//! What new files of every kind are born with, and when they are refused.

use super::sandbox::{BIRTH, FILESET, Sandbox, name, refusal, scratch};
use crate::fileset::{
    Birth, Names, Place, SetAttributes, create, create_mount_point, make_root, mknod, read_acl, read_mount_point,
    readlink, set_acl, setattr, symlink,
};
use crate::format::{FileKind, HashKey, MountPoint};
use crate::transaction::scratch::Scratch;
use baton_types::{FilesetId, Kind, Timestamp};

#[test]
fn new_file_has_what_its_operation_and_its_birth_say() {
    let mut s = Sandbox::new();
    let made = s.create(s.root, "a").unwrap();
    let time = s.time();
    assert_eq!(s.lookup(s.root, "a"), Ok(made));
    assert_eq!(s.getattr(made.fid), Ok(made));
    let a = made.attributes;
    assert_eq!((a.mode, a.uid, a.gid, a.links, a.size), (0o100_755, 11, 12, 1, 0));
    assert_eq!([a.accessed, a.modified, a.changed, a.created], [time; 4]);
    assert_eq!((a.parent, a.data_version, a.acl), (Some(s.root.vnode), 1, 0));
    let root = s.getattr(s.root).unwrap().attributes;
    assert_eq!((root.size, root.links, root.data_version), (1, 2, 2));
    assert_eq!((root.modified, root.changed, root.created), (time, time, Timestamp(1)));
    assert_eq!(s.scratch.usage.files, 2);
}

#[test]
fn new_directory_counts_as_a_link_of_its_parent() {
    let mut s = Sandbox::new();
    let d = s.mkdir(s.root, "d").unwrap();
    assert_eq!((d.attributes.links, d.attributes.parent), (2, Some(s.root.vnode)));
    assert_eq!(s.getattr(s.root).unwrap().attributes.links, 3);
}

#[test]
fn name_that_exists_is_refused_and_so_is_a_vnode_in_use() {
    let mut s = Sandbox::new();
    let a = s.create(s.root, "a").unwrap();
    assert_eq!(s.create(s.root, "a"), Err(Kind::Exists));
    assert_eq!(s.mkdir(s.root, "a"), Err(Kind::Exists));
    let again = Scratch::operation(a.fid.vnode.number());
    let place = Place {
        directory: s.root,
        name: &name("b"),
    };
    assert_eq!(
        s.run(&again, |t, names| create(t, names, place, BIRTH)),
        Err(Kind::Invalid)
    );
    let none = Scratch::operation(0);
    assert_eq!(none.vnode, None);
    assert_eq!(
        s.run(&none, |t, names| create(t, names, place, BIRTH)),
        Err(Kind::Invalid)
    );
    assert_eq!(s.scratch.usage.files, 2);
}

#[test]
fn nothing_is_made_but_in_a_directory_that_is_still_there() {
    let mut s = Sandbox::new();
    let f = s.create(s.root, "f").unwrap().fid;
    assert_eq!(s.create(f, "x"), Err(Kind::NotDirectory));
    assert_eq!(s.create(Sandbox::stale(s.root), "x"), Err(Kind::Stale));
    assert_eq!(s.create(s.nowhere(), "x"), Err(Kind::Stale));
    let d = s.mkdir(s.root, "d").unwrap().fid;
    s.rmdir(s.root, "d", crate::fileset::Holders::Somebody).unwrap();
    assert_eq!(s.create(d, "x"), Err(Kind::NotFound));
}

#[test]
fn symlink_leads_to_any_target_up_to_its_limit() {
    let mut s = Sandbox::new();
    for (text, len) in [("short", 1), ("item", 1_983), ("items", 1_984), ("long", 4_095)] {
        let target = vec![b'x'; len];
        let place = Place {
            directory: s.root,
            name: &name(text),
        };
        let made = s.act(|t, names| symlink(t, names, place, BIRTH, &target)).unwrap();
        assert_eq!(made.attributes.size, len as u64);
        assert_eq!(s.scratch.read(|view| readlink(view, made.fid)).unwrap(), target);
    }
    assert_eq!(s.scratch.usage.bytes, 1 + 1_983 + 1_984 + 4_095);
    let place = Place {
        directory: s.root,
        name: &name("bad"),
    };
    for (target, kind) in [
        (vec![], Kind::Invalid),
        (vec![0], Kind::Invalid),
        (vec![b'x'; 4_096], Kind::NameTooLong),
    ] {
        assert_eq!(s.act(|t, names| symlink(t, names, place, BIRTH, &target)), Err(kind));
    }
    assert_eq!(
        s.scratch.read(|view| readlink(view, s.root)).map_err(refusal),
        Err(Kind::Invalid)
    );
}

#[test]
fn mknod_makes_what_has_no_bytes_and_nothing_else() {
    let mut s = Sandbox::new();
    for (index, kind) in FileKind::ALL.into_iter().enumerate() {
        let text = index.to_string();
        let place = Place {
            directory: s.root,
            name: &name(text),
        };
        let made = s.act(|t, names| mknod(t, names, place, BIRTH, (kind, 0x0501)));
        match kind {
            FileKind::Fifo | FileKind::Socket => assert_eq!(made.unwrap().attributes.device, 0),
            FileKind::Character | FileKind::BlockDevice => assert_eq!(made.unwrap().attributes.device, 0x0501),
            _ => assert_eq!(made, Err(Kind::Invalid)),
        }
    }
}

#[test]
fn mount_point_leads_to_a_fileset() {
    let mut s = Sandbox::new();
    let place = Place {
        directory: s.root,
        name: &name("m"),
    };
    let leads_to = MountPoint::ReadWrite(FilesetId(99));
    let made = s
        .act(|t, names| create_mount_point(t, names, place, BIRTH, leads_to))
        .unwrap();
    assert_eq!(
        s.scratch.read(|view| read_mount_point(view, made.fid)).unwrap(),
        leads_to
    );
    assert_eq!(
        (made.attributes.mode, made.attributes.parent),
        (0o150_755, Some(s.root.vnode))
    );
    assert_eq!(s.getattr(s.root).unwrap().attributes.links, 3);
    assert_eq!(s.create(made.fid, "x"), Err(Kind::NotDirectory));
    assert_eq!(
        s.scratch.read(|view| read_mount_point(view, s.root)).map_err(refusal),
        Err(Kind::Invalid)
    );
    let nowhere = MountPoint::Regular(FilesetId(0));
    let place = Place {
        directory: s.root,
        name: &name("n"),
    };
    assert_eq!(
        s.act(|t, names| create_mount_point(t, names, place, BIRTH, nowhere)),
        Err(Kind::Invalid)
    );
}

#[test]
fn root_is_made_once() {
    let mut s = Sandbox::new();
    let operation = s.operation();
    assert_eq!(
        s.run(&operation, |t, names| make_root(t, names, FILESET, BIRTH)),
        Err(Kind::Exists)
    );
}

#[test]
fn setattr_sets_what_is_asked_and_the_time_of_change() {
    let mut s = Sandbox::new();
    let f = s.create(s.root, "f").unwrap();
    let set = SetAttributes {
        mode: Some(0o7_777_777),
        gid: Some(5),
        accessed: Some(Timestamp(-3)),
        ..SetAttributes::default()
    };
    let now = s.act(|t, _| setattr(t, f.fid, &set)).unwrap().attributes;
    let expected = crate::format::Attributes {
        mode: 0o107_777,
        gid: 5,
        accessed: Timestamp(-3),
        changed: s.time(),
        ..f.attributes
    };
    assert_eq!(now, expected);
    let rest = SetAttributes {
        uid: Some(6),
        modified: Some(Timestamp(8)),
        ..SetAttributes::default()
    };
    let now = s.act(|t, _| setattr(t, f.fid, &rest)).unwrap().attributes;
    assert_eq!(
        now,
        crate::format::Attributes {
            uid: 6,
            modified: Timestamp(8),
            changed: s.time(),
            ..expected
        }
    );
    assert_eq!(s.act(|t, _| setattr(t, Sandbox::stale(f.fid), &rest)), Err(Kind::Stale));
}

#[test]
fn equal_acls_are_one_and_different_ones_differ_even_if_their_hash_does_not() {
    for names in [Names::new(HashKey([1; 16])), Names::cut(HashKey([1; 16]), 0)] {
        let mut s = Sandbox::with(names);
        let long = vec![9; 10_000];
        let acls: [&[u8]; 3] = [b"one", b"two", &long];
        let mut ids = Vec::new();
        for round in 0..2 {
            for (index, acl) in acls.into_iter().enumerate() {
                let text = format!("{round}{index}");
                let place = Place {
                    directory: s.root,
                    name: &name(text),
                };
                let made = s
                    .act(|t, names| create(t, names, place, Birth { mode: 0o640, acl }))
                    .unwrap();
                let id = made.attributes.acl;
                assert_ne!(id, 0);
                assert_eq!(s.scratch.read(|view| read_acl(view, id)).unwrap(), acl);
                ids.push(id);
            }
        }
        assert_eq!(ids[..3], ids[3..]);
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
        assert_eq!(s.scratch.usage.bytes, 3 + 3 + 10_000);
    }
}

#[test]
fn set_acl_sets_the_mode_along_and_an_empty_one_takes_it_away() {
    let mut s = Sandbox::new();
    let f = s.create(s.root, "f").unwrap().fid;
    let set = SetAttributes {
        mode: Some(0o600),
        ..SetAttributes::default()
    };
    let with = s.act(|t, names| set_acl(t, names, f, b"acl", &set)).unwrap().attributes;
    assert_eq!((with.mode, with.changed), (0o100_600, s.time()));
    assert_eq!(s.scratch.read(|view| read_acl(view, with.acl)).unwrap(), &b"acl"[..]);
    let without = s
        .act(|t, names| set_acl(t, names, f, b"", &SetAttributes::default()))
        .unwrap()
        .attributes;
    assert_eq!(without.acl, 0);
    assert_eq!(s.scratch.read(|view| read_acl(view, 0)).unwrap(), &b""[..]);
    assert_eq!(
        s.act(|t, names| set_acl(t, names, f, &[1; 16_385], &set)),
        Err(Kind::TooBig)
    );
    let unknown = s.scratch.read(|view| read_acl(view, with.acl + 1)).map_err(refusal);
    assert_eq!(unknown, Err(Kind::Damaged));
}

#[test]
fn empty_fileset_has_no_root() {
    let scratch = scratch();
    let s = Sandbox::new();
    assert!(scratch.read(|view| crate::fileset::getattr(view, s.root)).is_err());
}
