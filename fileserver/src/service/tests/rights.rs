//! Who may what: every class of caller, every mode, every kind of call.

use baton_types::call::{At, Keep, Onto, Request, SetXattr};
use baton_types::file::{FileKind, SetAttributes, SetTime};
use baton_types::{Fid, Kind, Timestamp};

use super::rig::{Mount, Server, cred, kind, root};
use crate::who::Cred;

const OWNER: u32 = 1_000;
const GROUP: u32 = 500;

/// Callers by what they are to a file of [`OWNER`] and [`GROUP`], and where the mode has their bits.
fn callers() -> [(&'static str, Cred, u32); 4] {
    [
        ("owner", cred(OWNER, GROUP, &[]), 6),
        ("in the group", cred(1_001, GROUP, &[]), 3),
        ("in the group besides", cred(1_002, 9, &[8, GROUP]), 3),
        ("other", cred(1_003, 9, &[8]), 0),
    ]
}

/// A mode with `bits` for one class and the opposite for the others, so that only the right class gives the result.
fn mode(bits: u32, shift: u32) -> u32 {
    let others = !bits & 7;
    let all = others << 6 | others << 3 | others;
    all & !(7 << shift) | bits << shift
}

fn may(outcome: Result<impl Sized, crate::service::Refused>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(refused) => {
            assert_eq!(refused.error.kind, Kind::Denied, "{}", refused.error);
            false
        }
    }
}

fn calls_on_file(mount: &Mount<'_>, who: &Cred, fid: Fid) -> Vec<(&'static str, bool)> {
    let size = SetAttributes {
        size: Some(3),
        ..SetAttributes::default()
    };
    let touch = SetAttributes {
        accessed: Some(SetTime::Now),
        modified: Some(SetTime::Now),
        ..SetAttributes::default()
    };
    let name = b"user.x".to_vec();
    let (at, how, time) = (At::End, SetXattr::Always, mount.time());
    let set = Request::SetXattr {
        fid,
        name: name.clone(),
        how,
        time,
    };
    let append = Request::Write { fid, at, time };
    vec![
        ("read", may(mount.read(who, fid))),
        ("write", may(mount.write(who, fid, 0, b"x"))),
        ("append", may(mount.change_with(who, append, b"y"))),
        ("truncate", may(mount.set(who, fid, size))),
        ("touch", may(mount.set(who, fid, touch))),
        ("get xattr", may(mount.ask(who, Request::GetXattr { fid, name }))),
        ("set xattr", may(mount.change_with(who, set, b"v"))),
        ("stat", may(mount.ask(who, Request::Getattr { fid }))),
    ]
}

fn expected_on_file(is_owner: bool, bits: u32) -> Vec<bool> {
    let (r, w, x) = (bits & 4 != 0, bits & 2 != 0, bits & 1 != 0);
    let write = is_owner || w;
    vec![is_owner || r || x, write, write, write, write, r, w, true]
}

#[test]
fn every_class_and_mode_of_a_file() {
    let server = Server::new(1);
    let mount = server.mount();
    let fid = mount.create(&root(), "f", 0o600).unwrap().fid;
    let (name, how, time) = (b"user.x".to_vec(), SetXattr::Always, mount.time());
    mount
        .change_with(&root(), Request::SetXattr { fid, name, how, time }, b"v")
        .unwrap();
    mount.chown(fid, OWNER, GROUP);
    for (class, who, shift) in callers() {
        for bits in 0..8 {
            mount.chmod(fid, mode(bits, shift));
            let found = calls_on_file(&mount, &who, fid);
            let expected = expected_on_file(who.uid == OWNER, bits);
            for ((call, may), expected) in found.into_iter().zip(expected) {
                assert_eq!(may, expected, "{class}, bits {bits:o}: {call}");
            }
        }
    }
    mount.chmod(fid, 0);
    assert!(calls_on_file(&mount, &root(), fid).iter().all(|(_, may)| *may), "root");
    let uid_0 = cred(0, 0, &[]);
    assert!(!may(mount.read(&uid_0, fid)), "a uid is no privilege");
}

#[test]
fn every_class_and_mode_of_a_directory() {
    let server = Server::new(2);
    let mount = server.mount();
    let directory = mount.mkdir(&root(), "d", 0o755).unwrap().fid;
    mount.create_in(&root(), directory, "there", 0o600).unwrap();
    mount.chown(directory, OWNER, GROUP);
    let mut number = 0;
    for (class, who, shift) in callers() {
        for bits in 0..8 {
            mount.chmod(directory, mode(bits, shift));
            let (r, wx, x) = (bits & 4 != 0, bits & 3 == 3, bits & 1 != 0);
            let place = mount.place(directory, "there");
            let lookup = mount.ask(&who, Request::Lookup { place });
            assert_eq!(may(lookup), x, "{class}, bits {bits:o}: lookup");
            let list = Request::Readdir {
                fid: directory,
                cookie: 0,
                bytes: 4_096,
                plus: true,
            };
            assert_eq!(may(mount.ask(&who, list)), r, "{class}, bits {bits:o}: list");
            number += 1;
            let (old, new) = (format!("{number}"), format!("{number} moved"));
            let made = may(mount.create_in(&who, directory, &old, 0o600));
            assert_eq!(made, wx, "{class}, bits {bits:o}: create");
            if !made {
                mount.create_in(&root(), directory, &old, 0o600).unwrap();
            }
            let [source, target] = [&old, &new].map(|name| mount.place(directory, name));
            let (onto, time) = (Onto::Nothing, mount.time());
            let moved = may(mount.change(
                &who,
                Request::Rename {
                    source,
                    target,
                    onto,
                    time,
                },
            ));
            assert_eq!(moved, wx, "{class}, bits {bits:o}: rename");
            let place = mount.place(directory, if moved { &new } else { &old });
            let (keep, time) = (Keep::Closed, mount.time());
            let gone = may(mount.change(&who, Request::Unlink { place, keep, time }));
            assert_eq!(gone, wx, "{class}, bits {bits:o}: unlink");
        }
    }
}

#[test]
fn sticky_directory_lets_only_owners_take_names_away() {
    let server = Server::new(3);
    let mount = server.mount();
    let directory = mount.mkdir(&root(), "tmp", 0o1777).unwrap().fid;
    mount.chown(directory, 7, 7);
    mount.chmod(directory, 0o1777);
    let [alice, bob, owner] = [1, 2, 7].map(|uid| cred(uid, 100, &[]));
    let unlink = |who: &Cred, name: &str| {
        let place = mount.place(directory, name);
        let (keep, time) = (Keep::Closed, mount.time());
        mount.change(who, Request::Unlink { place, keep, time })
    };
    let rename = |who: &Cred, [source, target]: [&str; 2]| {
        let [source, target] = [source, target].map(|name| mount.place(directory, name));
        let (onto, time) = (Onto::Anything(Keep::Closed), mount.time());
        mount.change(
            who,
            Request::Rename {
                source,
                target,
                onto,
                time,
            },
        )
    };
    for name in ["a", "b", "c"] {
        mount.create_in(&alice, directory, name, 0o666).unwrap();
    }
    mount.create_in(&bob, directory, "bob's", 0o666).unwrap();
    assert_eq!(kind(unlink(&bob, "a")), Kind::NotOwner);
    assert_eq!(kind(rename(&bob, ["a", "stolen"])), Kind::NotOwner);
    assert_eq!(kind(rename(&bob, ["bob's", "a"])), Kind::NotOwner, "over another's");
    unlink(&alice, "a").unwrap();
    unlink(&owner, "b").unwrap();
    unlink(&root(), "c").unwrap();
    rename(&bob, ["bob's", "mine"]).unwrap();
}

#[test]
fn only_root_gives_files_away_and_only_owners_set_modes_and_dates() {
    let server = Server::new(4);
    let mount = server.mount();
    let alice = cred(1, 10, &[20]);
    let bob = cred(2, 10, &[]);
    mount.chmod(server.root, 0o777);
    let fid = mount.create(&alice, "f", 0o664).unwrap().fid;
    let none = SetAttributes::default();
    let mode = |mode| SetAttributes {
        mode: Some(mode),
        ..none
    };
    let uid = |uid| SetAttributes { uid: Some(uid), ..none };
    let gid = |gid| SetAttributes { gid: Some(gid), ..none };
    let date = |to| SetAttributes {
        modified: Some(to),
        ..none
    };
    let then = SetTime::To(Timestamp(5));
    for (who, set, expected) in [
        (&bob, mode(0o777), Some(Kind::NotOwner)),
        (&bob, uid(2), Some(Kind::NotOwner)),
        (&bob, gid(10), Some(Kind::NotOwner)),
        (&bob, date(then), Some(Kind::NotOwner)),
        (&bob, date(SetTime::Now), None),
        (&alice, uid(2), Some(Kind::NotOwner)),
        (&alice, uid(1), None),
        (&alice, gid(30), Some(Kind::NotOwner)),
        (&alice, gid(20), None),
        (&alice, date(then), None),
        (&alice, mode(0o600), None),
        (&bob, date(SetTime::Now), Some(Kind::Denied)),
        (&root(), uid(u32::MAX), Some(Kind::Invalid)),
        (&root(), uid(2), None),
    ] {
        let found = mount.set(who, fid, set).err().map(|refused| refused.error.kind);
        assert_eq!(found, expected, "uid {} sets {set:?}", who.uid);
    }
    let attributes = mount.attributes(fid);
    assert_eq!((attributes.uid, attributes.gid, attributes.mode), (2, 20, 0o600));
    let set = SetAttributes {
        size: Some(9),
        mode: Some(0o640),
        modified: Some(then),
        ..none
    };
    let all = mount.set(&bob, fid, set).unwrap().attributes;
    assert_eq!(
        (all.size, all.mode, all.modified),
        (9, 0o640, Timestamp(5)),
        "in one change"
    );
}

#[test]
fn device_nodes_and_trusted_attributes_are_roots() {
    let server = Server::new(5);
    let mount = server.mount();
    mount.chmod(server.root, 0o777);
    let alice = cred(1, 10, &[]);
    let node = |who: &Cred, name: &str, kind: FileKind| {
        let (place, newborn) = (mount.place(server.root, name), mount.newborn(0o666));
        let (device, time) = (5, mount.time());
        mount.change(
            who,
            Request::Mknod {
                place,
                newborn,
                kind,
                device,
                time,
            },
        )
    };
    assert_eq!(kind(node(&alice, "disk", FileKind::BlockDevice)), Kind::NotOwner);
    assert_eq!(kind(node(&alice, "tty", FileKind::Character)), Kind::NotOwner);
    assert_eq!(
        node(&root(), "disk", FileKind::BlockDevice).unwrap().attributes.device,
        5
    );
    node(&alice, "pipe", FileKind::Fifo).unwrap();
    node(&alice, "socket", FileKind::Socket).unwrap();

    let fid = mount.create(&alice, "f", 0o600).unwrap().fid;
    let set = |who: &Cred, name: &str| {
        let (name, how, time) = (name.into(), SetXattr::Always, mount.time());
        mount.change_with(who, Request::SetXattr { fid, name, how, time }, b"v")
    };
    assert_eq!(kind(set(&alice, "trusted.x")), Kind::NotOwner);
    assert_eq!(kind(set(&alice, "security.x")), Kind::NotOwner);
    assert_eq!(kind(set(&alice, "system.posix_acl_access")), Kind::Unsupported);
    assert_eq!(kind(set(&alice, "other.x")), Kind::Unsupported);
    set(&root(), "trusted.x").unwrap();
    set(&root(), "security.x").unwrap();
    set(&alice, "user.x").unwrap();
    let list = |who: &Cred| {
        let bytes = mount.ask(who, Request::ListXattrs { fid }).unwrap().1;
        let mut names: Vec<_> = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        names.sort();
        names
    };
    assert_eq!(list(&alice), [&b""[..], b"security.x", b"user.x"]);
    assert_eq!(list(&root()).len(), 4);
    let name = b"trusted.x".to_vec();
    assert_eq!(
        kind(mount.ask(&alice, Request::GetXattr { fid, name })),
        Kind::NoAttribute
    );
}

#[test]
fn a_directory_that_moves_must_be_the_movers_to_change() {
    let server = Server::new(6);
    let mount = server.mount();
    mount.chmod(server.root, 0o777);
    let alice = cred(1, 10, &[]);
    mount.mkdir(&alice, "to", 0o777).unwrap();
    let to = mount.mkdir(&alice, "to2", 0o777).unwrap().fid;
    let theirs = mount.mkdir(&root(), "theirs", 0o755).unwrap().fid;
    let rename = |target: Fid| {
        let [source, target] = [(server.root, "theirs"), (target, "x")].map(|(fid, name)| mount.place(fid, name));
        let (onto, time) = (Onto::Nothing, mount.time());
        mount.change(
            &alice,
            Request::Rename {
                source,
                target,
                onto,
                time,
            },
        )
    };
    assert_eq!(kind(rename(to)), Kind::Denied);
    assert_eq!(rename(server.root).unwrap().fid, theirs, "its way up stays");
}
