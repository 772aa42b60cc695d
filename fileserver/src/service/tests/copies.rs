//! Files that get the blocks of others: who may, what a snapshot gives, and what of it is said again after a takeover.

use std::sync::mpsc::{TryRecvError, channel};
use std::thread;

use baton_aggregate::aggregate::{Comparison, Namesake, Renames};
use baton_types::call::{Coming, Request};
use baton_types::control::{Carry, Fate};
use baton_types::{BootClock, Fid, FilesetId, Kind};

use super::past::{delete, take, take_at_once};
use super::rig::{HOME, Mount, Server, cred, kind, root};
use crate::inside::Inside;
use crate::restore::walk::Walk;
use crate::snapshots::after_grace;

/// What is copied: enough to lie in blocks, and to be restored by them.
const LEN: usize = 256 << 10;

fn copied(mount: &Mount<'_>, source: Fid, fid: Fid) -> Request {
    Request::Copy {
        source,
        from: 0,
        fid,
        to: 0,
        len: LEN as u64,
        time: mount.time(),
    }
}

fn is_all(mount: &Mount<'_>, fid: Fid, byte: u8) -> bool {
    mount.read(&root(), fid).unwrap()[..] == [byte; LEN]
}

fn then(file: Fid, snapshot: FilesetId) -> Fid {
    Fid {
        fileset: snapshot,
        ..file
    }
}

#[test]
fn who_copies_may_read_the_one_and_write_to_the_other() {
    let server = Server::new(71);
    let mount = server.mount();
    let [source, target] = ["source", "target"].map(|name| mount.create(&root(), name, 0o600).unwrap().fid);
    mount.write(&root(), source, 0, &[1; LEN]).unwrap();
    mount.chown(source, 5, 5);
    mount.chown(target, 6, 6);
    let [reader, writer] = [5, 6].map(|uid| cred(uid, uid, &[]));
    for who in [&reader, &writer] {
        assert_eq!(
            kind(mount.change(who, copied(&mount, source, target))),
            Kind::Denied,
            "{who:?}"
        );
    }
    assert_eq!(mount.attributes(target).size, 0);
    mount.chmod(source, 0o644);
    mount.chmod(target, 0o6755);
    mount.change(&writer, copied(&mount, source, target)).unwrap();
    assert!(is_all(&mount, target, 1));
    assert_eq!(
        mount.attributes(target).mode & 0o7777,
        0o755,
        "who writes takes the set-id bits"
    );
    // Each is itself.
    mount.write(&root(), source, 0, &[2; LEN]).unwrap();
    assert!(is_all(&mount, target, 1) && is_all(&mount, source, 2));
    server.close();
}

#[test]
fn snapshot_gives_what_it_has_to_who_could_read_it_then() {
    let server = Server::new(72);
    let mount = server.mount();
    let [file, other] = ["file", "other"].map(|name| mount.create(&root(), name, 0o600).unwrap().fid);
    mount.write(&root(), file, 0, &[1; LEN]).unwrap();
    mount.chown(file, 5, 5);
    mount.chown(other, 6, 6);
    let monday = take(&server, "monday", Namesake::Refuse);
    mount.chown(file, 6, 6);
    mount.write(&root(), file, 0, &[2; LEN]).unwrap();
    let writer = cred(6, 6, &[]);
    let from_monday = || copied(&mount, then(file, monday), other);
    assert_eq!(kind(mount.change(&writer, from_monday())), Kind::Denied);
    mount.change(&root(), from_monday()).unwrap();
    assert!(is_all(&mount, other, 1) && is_all(&mount, file, 2));
    delete(&server, "monday");
    assert_eq!(kind(mount.change(&root(), from_monday())), Kind::Stale);
    assert!(is_all(&mount, other, 1));
    server.close();
}

#[test]
fn what_was_copied_from_a_snapshot_can_be_said_again_to_the_next_owner() {
    let server = Server::new(76);
    let mount = server.mount();
    let [file, other] = ["file", "other"].map(|name| mount.create(&root(), name, 0o600).unwrap().fid);
    mount.write(&root(), file, 0, &[1; LEN]).unwrap();
    let (monday, taken) = take_at_once(&server, "monday", Namesake::Refuse);
    let copy = copied(&mount, then(file, monday), other);
    mount.change(&root(), copy.clone()).unwrap();
    assert!(server.durable() >= taken.0, "the copy was not told before");
    let (session, client) = (mount.session.get(), mount.client);
    let server = server.restart();
    let mount = client.at(&server);
    mount.bind(session);
    mount.join(Coming::Back);
    mount.change(&root(), copy).unwrap();
    let fileset = HOME;
    mount.ask(&root(), Request::Reclaimed { fileset }).unwrap();
    assert!(is_all(&mount, other, 1));
    server.close();
}

#[test]
fn who_deletes_a_snapshot_waits_for_those_who_may_have_copied_from_it() {
    let server = Server::new(73);
    let mount = server.mount();
    let file = mount.create(&root(), "file", 0o600).unwrap().fid;
    mount.write(&root(), file, 0, &[1; LEN]).unwrap();
    let monday = take(&server, "monday", Namesake::Refuse);
    mount.write(&root(), file, 0, &[2; LEN]).unwrap();
    let last = server.export.aggregate().last().0;
    mount.ask(&root(), Request::Sync { lsn: last }).unwrap();
    // The client was told that it copied, and the owner died before that was durable.
    let (session, client) = (mount.session.get(), mount.client);
    let server = server.restart();
    assert!(server.service.awaits(&server.export, HOME).unwrap());
    thread::scope(|scope| {
        let (begins, began) = channel();
        let (ends, ended) = channel();
        let on = &server;
        scope.spawn(move || {
            begins.send(()).unwrap();
            drop(after_grace((&on.service, &BootClock), &on.export, HOME).unwrap());
            delete(on, "monday");
            ends.send(()).unwrap();
        });
        began.recv().unwrap();
        let mount = client.at(&server);
        mount.bind(session);
        mount.join(Coming::Back);
        for _ in 0..20 {
            mount.ask(&root(), Request::Renew).unwrap();
        }
        assert_eq!(ended.try_recv(), Err(TryRecvError::Empty), "it waits");
        mount.change(&root(), copied(&mount, then(file, monday), file)).unwrap();
        let fileset = HOME;
        mount.ask(&root(), Request::Reclaimed { fileset }).unwrap();
        mount.ask(&root(), Request::Leave { fileset }).unwrap();
        ended.recv().unwrap();
        mount.join(Coming::Fresh);
        assert!(is_all(&mount, file, 1));
        assert_eq!(
            kind(mount.change(&root(), copied(&mount, then(file, monday), file))),
            Kind::Stale
        );
    });
    server.close();
}

#[test]
fn what_is_restored_takes_back_its_blocks_and_no_room() {
    let server = Server::new(74);
    let mount = server.mount();
    let file = mount.create(&root(), "file", 0o600).unwrap().fid;
    for at in 0..4 {
        mount.write(&root(), file, at * LEN as u64, &[1; LEN]).unwrap();
    }
    let monday = take(&server, "monday", Namesake::Refuse);
    for at in 0..4 {
        mount.write(&root(), file, at * LEN as u64, &[2; LEN]).unwrap();
    }
    mount.ask(&root(), Request::Leave { fileset: HOME }).unwrap();
    let free = || server.export.aggregate().space().free;
    let before = free();
    {
        let (inside, _) = Inside::join(&server.service, &BootClock, &server.export, HOME).unwrap();
        let fileset = server.export.aggregate().fileset(HOME).unwrap();
        let past = fileset.at(fileset.snapshot_named(b"monday").unwrap().id).unwrap();
        let mut comparison = Comparison::new(&fileset, &past, Renames::Apart).unwrap();
        comparison.begin(b"").unwrap();
        let mut walk = Walk::new(&inside, Carry::Out, monday, None);
        walk.along(comparison).unwrap();
        let steps: Vec<_> = walk.steps.iter().map(|step| (&step.path[..], step.fate)).collect();
        assert!(steps.contains(&(&b"file"[..], Fate::Changed)), "{steps:?}");
    }
    let taken = before.saturating_sub(free());
    assert!(taken < 4 * LEN as u64 / 4096, "it took {taken} blocks");
    mount.join(Coming::Fresh);
    assert_eq!(mount.read(&root(), file).unwrap()[..], [1; 4 * LEN]);
    server.close();
}
