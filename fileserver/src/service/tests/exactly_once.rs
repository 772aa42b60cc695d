//! Each change once, and each second asking answered as the first was, under the next owner too.

use baton_types::call::{Allocate, At, Coming, Keep, Onto, Request, SetXattr};
use baton_types::file::{FileKind, MountPoint, SetAttributes};
use baton_types::{Fid, FilesetId, Kind};

use super::rig::{HOME, Mount, Server, cred, root};
use crate::service::Outcome;

/// One of each changing operation, some of them refused; with what travels beside them.
#[expect(clippy::too_many_lines, reason = "a table: one entry for each operation")]
fn script(mount: &Mount<'_>) -> Vec<(Request, &'static [u8])> {
    let at = |directory: Fid, name: &str| mount.place(directory, name);
    let top = |name: &str| at(mount.server.root, name);
    let [file, directory, link, pipe, point] = [(); 5].map(|()| mount.newborn(0o755));
    let [fid, inner] = [file, directory].map(|newborn| Fid {
        fileset: HOME,
        vnode: newborn.vnode,
        unique: newborn.unique,
    });
    let time = mount.time();
    let (keep, how) = (Keep::Closed, SetXattr::Create);
    let name = b"user.x".to_vec();
    let set = SetAttributes {
        size: Some(7),
        mode: Some(0o640),
        ..SetAttributes::default()
    };
    let create = |place, newborn| Request::Create { place, newborn, time };
    let rename = |source, target, onto| Request::Rename {
        source,
        target,
        onto,
        time,
    };
    let plain = |request| (request, &b""[..]);
    let target = b"f".to_vec();
    let mknod = Request::Mknod {
        place: top("p"),
        newborn: pipe,
        kind: FileKind::Fifo,
        device: 0,
        time,
    };
    let mount_point = Request::CreateMountPoint {
        place: top("m"),
        newborn: point,
        leads_to: MountPoint::Regular(FilesetId(9)),
        time,
    };
    let (newborn, place) = (link, top("l"));
    let symlink = Request::Symlink {
        place,
        newborn,
        target,
        time,
    };
    let punch = Request::Fallocate {
        fid,
        offset: 1,
        len: 2,
        how: Allocate::PunchHole,
        time,
    };
    let set_xattr = Request::SetXattr {
        fid,
        name: name.clone(),
        how,
        time,
    };
    let mkdir = Request::Mkdir {
        place: top("d"),
        newborn: directory,
        time,
    };
    let onto = Onto::Anything(keep);
    vec![
        plain(create(top("f"), file)),
        plain(mkdir.clone()),
        plain(mkdir),
        plain(symlink),
        plain(mknod),
        plain(mount_point),
        (Request::Write { fid, at: At::End, time }, b"some"),
        (Request::Write { fid, at: At::End, time }, b" bytes"),
        plain(punch),
        plain(Request::Setattr { fid, set, time }),
        (set_xattr.clone(), b"v"),
        (set_xattr, b"v"),
        plain(Request::RemoveXattr { fid, name, time }),
        plain(Request::Link {
            fid,
            place: at(inner, "h"),
            time,
        }),
        plain(rename(top("f"), at(inner, "moved"), Onto::Nothing)),
        plain(rename(at(inner, "h"), at(inner, "moved"), onto)),
        plain(rename(top("p"), top("l"), onto)),
        plain(Request::Rmdir {
            place: top("d"),
            keep,
            time,
        }),
        plain(Request::Unlink {
            place: at(inner, "h"),
            keep,
            time,
        }),
        plain(Request::Unlink {
            place: at(inner, "moved"),
            keep,
            time,
        }),
        plain(Request::Rmdir {
            place: top("d"),
            keep,
            time,
        }),
        plain(Request::RemoveMountPoint { place: top("m"), time }),
    ]
}

/// What was answered, but for how much was durable then.
fn answer(outcome: Outcome) -> String {
    match outcome {
        Ok((baton_types::call::Answer::Changed { object, .. }, _)) => format!("{object:?}"),
        Ok(other) => panic!("{other:?}"),
        Err(refused) => format!("{:?}", refused.error.kind),
    }
}

fn again(mount: &Mount<'_>, sequence: u32, (request, payload): &(Request, &[u8])) -> Outcome {
    let mut call = mount.call(&root(), request.clone(), payload);
    call.stream = 0;
    call.sequence = sequence;
    mount.send(call).recv().unwrap()
}

#[test]
fn every_change_sent_again_is_answered_as_at_first_and_done_once() {
    let server = Server::new(1);
    let mount = server.mount();
    let script = script(&mount);
    let mut answers = Vec::new();
    for (sequence, change) in (1..).zip(&script) {
        let first = answer(again(&mount, sequence, change));
        assert_eq!(answer(again(&mount, sequence, change)), first, "{change:?}");
        answers.push(first);
    }
    let refused = answers.iter().filter(|answer| !answer.starts_with("Object"));
    assert_eq!(
        refused.collect::<Vec<_>>(),
        ["Exists", "Exists", "NotEmpty"],
        "{answers:#?}"
    );
    let last = server.export.aggregate().last().0;
    mount.ask(&root(), Request::Sync { lsn: last }).unwrap();
    let (session, client) = (mount.session.get(), mount.client);

    let server = server.restart();
    let mount = client.at(&server);
    let streams = mount.bind(session);
    assert_eq!(streams, [(0, script.len() as u32)]);
    mount.join(Coming::Back);
    for ((sequence, change), first) in (1..).zip(&script).zip(&answers) {
        assert_eq!(answer(again(&mount, sequence, change)), *first, "{change:?}");
    }
    mount.ask(&root(), Request::Reclaimed { fileset: HOME }).unwrap();
    assert_eq!(
        server.export.aggregate().fileset(HOME).unwrap().usage().files,
        2,
        "the root and what was 'p'"
    );
    server.close();
}

#[test]
fn what_was_not_durable_is_said_again_under_the_same_name_and_makes_the_same_file() {
    let server = Server::new(2);
    let mount = server.mount();
    let alice = cred(1, 10, &[]);
    mount.chmod(server.root, 0o777);
    let last = server.export.aggregate().last().0;
    mount.ask(&root(), Request::Sync { lsn: last }).unwrap();
    let (place, newborn, time) = (mount.place(server.root, "f"), mount.newborn(0o600), mount.time());
    let request = Request::Create { place, newborn, time };
    let first = mount.change(&alice, request.clone()).unwrap();
    let sequence = mount.sequence.get();
    let session = mount.session.get();
    let client = mount.client;
    let server = server.restart();
    let mount = client.at(&server);
    let ran = mount.bind(session).contains(&(1, sequence));
    mount.join(Coming::Back);
    mount.sequence.set(sequence - 1);
    // Whether the crash took it or not, saying it again makes it be there once, as it was at first.
    assert_eq!(
        mount.change(&alice, request).unwrap(),
        first,
        "it was in the log: {ran}"
    );
    assert_eq!(first.fid.vnode, newborn.vnode);
    assert_eq!(server.export.aggregate().fileset(HOME).unwrap().usage().files, 2);
}

#[test]
fn vnodes_of_others_and_places_in_streams_that_are_none_are_refused() {
    let server = Server::new(3);
    let (mount, other) = (server.mount(), server.stranger());
    other.bind(0);
    let place = mount.place(server.root, "f");
    let mut newborn = mount.newborn(0o600);
    newborn.vnode = baton_types::Vnode::new(newborn.vnode.number() + 5_000).unwrap();
    let time = mount.time();
    let request = Request::Create { place, newborn, time };
    assert_eq!(super::rig::kind(mount.change(&root(), request.clone())), Kind::Invalid);
    for (stream, sequence) in [(64, 1), (1, 0)] {
        let mut call = mount.call(&root(), request.clone(), &[]);
        (call.stream, call.sequence) = (stream, sequence);
        let refused = mount.send(call).recv().unwrap();
        assert_eq!(
            super::rig::kind(refused),
            Kind::Invalid,
            "stream {stream}, sequence {sequence}"
        );
    }
}
