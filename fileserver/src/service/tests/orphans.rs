//! Files without a name: there while they are held open, gone after.

use baton_types::Kind;
use baton_types::call::{Coming, Keep, Onto, Request};

use super::rig::{HOME, Mount, Server, kind, root};

fn unlink(mount: &Mount<'_>, name: &str, keep: Keep) {
    let (place, time) = (mount.place(mount.server.root, name), mount.time());
    mount.change(&root(), Request::Unlink { place, keep, time }).unwrap();
}

/// Until the fileset holds so many files, the root counted.
fn until(server: &Server, files: u64) {
    while server.export.aggregate().fileset(HOME).unwrap().usage().files != files {
        std::thread::yield_now();
    }
}

#[test]
fn a_file_that_is_held_open_stays_until_it_is_closed() {
    let server = Server::new(1);
    let mount = server.mount();
    let fid = mount.create(&root(), "f", 0o600).unwrap().fid;
    mount.write(&root(), fid, 0, b"still here").unwrap();
    unlink(&mount, "f", Keep::Open);
    assert_eq!(mount.read(&root(), fid).unwrap(), &b"still here"[..]);
    mount.write(&root(), fid, 0, b"STILL").unwrap();
    mount.ask(&root(), Request::Close { fid }).unwrap();
    until(&server, 1);
    assert_eq!(kind(mount.read(&root(), fid)), Kind::Stale);
}

#[test]
fn what_a_rename_replaces_stays_for_who_has_said_that_he_holds_it() {
    let server = Server::new(2);
    let mount = server.mount();
    let old = mount.create(&root(), "old", 0o600).unwrap().fid;
    mount.create(&root(), "new", 0o600).unwrap();
    mount.ask(&root(), Request::Open { fid: old }).unwrap();
    let [source, target] = ["new", "old"].map(|name| mount.place(server.root, name));
    let (onto, time) = (Onto::Anything(Keep::Closed), mount.time());
    let rename = Request::Rename {
        source,
        target,
        onto,
        time,
    };
    mount.change(&root(), rename).unwrap();
    assert_eq!(mount.attributes(old).links, 0);
    mount.ask(&root(), Request::Close { fid: old }).unwrap();
    until(&server, 2);
    assert_eq!(kind(mount.ask(&root(), Request::Open { fid: old })), Kind::Stale);
}

#[test]
fn a_file_of_many_pieces_goes_in_steps() {
    let server = Server::new(3);
    let mount = server.mount();
    let fid = mount.create(&root(), "f", 0o600).unwrap().fid;
    for piece in 0..200 {
        mount.write(&root(), fid, piece * 8_192, b"x").unwrap();
    }
    unlink(&mount, "f", Keep::Closed);
    until(&server, 1);
    assert_eq!(server.export.aggregate().fileset(HOME).unwrap().usage().bytes, 0);
}

#[test]
fn after_a_takeover_they_stay_for_those_who_come_back_and_say_so() {
    let server = Server::new(4);
    let mount = server.mount();
    let kept = mount.create(&root(), "kept", 0o600).unwrap().fid;
    mount.create(&root(), "left", 0o600).unwrap();
    unlink(&mount, "kept", Keep::Open);
    unlink(&mount, "left", Keep::Open);
    let last = server.export.aggregate().last().0;
    mount.ask(&root(), Request::Sync { lsn: last }).unwrap();
    let (session, client) = (mount.session.get(), mount.client);
    let server = server.restart();
    let mount = client.at(&server);
    mount.bind(session);
    mount.join(Coming::Back);
    mount.ask(&root(), Request::Open { fid: kept }).unwrap();
    mount.ask(&root(), Request::Reclaimed { fileset: HOME }).unwrap();
    until(&server, 2);
    assert_eq!(mount.attributes(kept).links, 0);
    mount.ask(&root(), Request::Leave { fileset: HOME }).unwrap();
    until(&server, 1);
    server.close();
}
