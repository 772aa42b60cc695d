//! Set-user-id and set-group-id: inherited, lent to nobody, taken away by changes.

use baton_types::Fid;
use baton_types::call::{Allocate, Request};
use baton_types::file::SetAttributes;

use super::rig::{Server, cred, root};
use crate::who::Cred;

#[test]
fn group_and_bit_are_inherited_where_the_directory_has_the_bit() {
    let server = Server::new(1);
    let mount = server.mount();
    let directory = mount.mkdir(&root(), "shared", 0o777).unwrap().fid;
    mount.chown(directory, 0, 500);
    mount.chmod(directory, 0o2777);
    let (alice, member) = (cred(1, 10, &[]), cred(2, 10, &[500]));
    let make = |who: &Cred, name: &str, mode: u32| {
        let made = mount.create_in(who, directory, name, mode).unwrap().attributes;
        (made.uid, made.gid, made.mode)
    };
    assert_eq!(make(&alice, "plain", 0o644), (1, 500, 0o644));
    assert_eq!(make(&alice, "lent", 0o2755), (1, 500, 0o755), "not in the group");
    assert_eq!(make(&member, "own", 0o2755), (2, 500, 0o2755));
    assert_eq!(
        make(&alice, "locking", 0o2644),
        (1, 500, 0o2644),
        "no execution, no loan"
    );
    let (place, newborn, time) = (mount.place(directory, "d"), mount.newborn(0o755), mount.time());
    let below = mount.change(&alice, Request::Mkdir { place, newborn, time }).unwrap();
    assert_eq!((below.attributes.gid, below.attributes.mode), (500, 0o2755));
    let (place, newborn, time) = (mount.place(directory, "l"), mount.newborn(0o755), mount.time());
    let target = b"plain".to_vec();
    let link = Request::Symlink {
        place,
        newborn,
        target,
        time,
    };
    let link = mount.change(&alice, link).unwrap().attributes;
    assert_eq!((link.gid, link.mode, link.size), (500, 0o777, 5));
    mount.chmod(directory, 0o777);
    assert_eq!(make(&alice, "after", 0o644), (1, 10, 0o644));
}

#[test]
fn changes_by_others_than_root_take_the_bits_away() {
    let server = Server::new(2);
    let mount = server.mount();
    mount.chmod(server.root, 0o777);
    let alice = cred(1, 10, &[20]);
    let fid = mount.create(&alice, "f", 0o755).unwrap().fid;
    mount.write(&alice, fid, 0, &[1; 100]).unwrap();
    let none = SetAttributes::default();
    let size = SetAttributes { size: Some(50), ..none };
    let fallocate = |who: &Cred, fid: Fid| {
        let (offset, len, how, time) = (0, 10, Allocate::PunchHole, mount.time());
        let request = Request::Fallocate {
            fid,
            offset,
            len,
            how,
            time,
        };
        mount.change(who, request).unwrap().attributes.mode
    };
    let chown = |who: &Cred, gid: u32| {
        let set = SetAttributes { gid: Some(gid), ..none };
        mount.set(who, fid, set).unwrap().attributes.mode
    };
    let write = |who: &Cred| mount.write(who, fid, 0, b"x").unwrap().attributes.mode;
    let truncate = |who: &Cred| mount.set(who, fid, size).unwrap().attributes.mode;
    type Change<'a> = (&'static str, &'a dyn Fn(&Cred) -> u32);
    let each: [Change<'_>; 4] = [
        ("write", &write),
        ("truncate", &truncate),
        ("fallocate", &|who| fallocate(who, fid)),
        ("chown", &|who| chown(who, 20)),
    ];
    for (what, change) in each {
        mount.chmod(fid, 0o6755);
        assert_eq!(change(&alice), 0o755, "{what}");
        mount.chmod(fid, 0o6745);
        // Without execution by the group it is no set-group-id.
        assert_eq!(change(&alice), 0o2745, "{what}");
    }
    for (what, change) in &each[..3] {
        mount.chmod(fid, 0o6755);
        assert_eq!(change(&root()), 0o6755, "{what} by root");
    }
    mount.chmod(fid, 0o6755);
    assert_eq!(
        chown(&root(), 10),
        0o755,
        "a new group under the old bit is a loan, by root too"
    );
}

#[test]
fn who_is_not_in_the_group_does_not_set_its_bit() {
    let server = Server::new(3);
    let mount = server.mount();
    mount.chmod(server.root, 0o777);
    let alice = cred(1, 10, &[]);
    let fid = mount.create(&alice, "f", 0o755).unwrap().fid;
    let set = SetAttributes {
        mode: Some(0o6755),
        ..SetAttributes::default()
    };
    assert_eq!(mount.set(&alice, fid, set).unwrap().attributes.mode, 0o6755);
    mount.chown(fid, 1, 30);
    assert_eq!(mount.set(&alice, fid, set).unwrap().attributes.mode, 0o4755);
}
