//! Two clients in one fileset; what is durable when it is shown; grace after a takeover.

use baton_types::call::{Answer, Coming, Hold, Lock, LockKind, Patience, Push, Request};
use baton_types::{Kind, Timestamp};

use super::rig::{HOME, Server, kind, root};
use crate::pushes::Outgoing;

#[test]
fn the_second_client_gets_in_when_the_first_has_given_back() {
    let server = Server::new(1);
    let first = server.stranger();
    let mut told = server.listen(first.id);
    first.bind(0);
    assert_eq!(first.join(Coming::Fresh), Hold::Alone);
    let second = server.stranger();
    second.bind(0);
    let (fileset, coming) = (HOME, Coming::Fresh);
    let joining = second.send(second.call(&root(), Request::Join { fileset, coming }, &[]));
    let Some(Outgoing::Push(Push::Revoke { fileset, serial })) = told.blocking_recv() else {
        panic!("not revoked");
    };
    assert!(joining.try_recv().is_err(), "it waits");
    assert!(matches!(
        first.ask(&root(), Request::Return { fileset, serial }).unwrap().0,
        Answer::Done
    ));
    let joined = joining.recv().unwrap().unwrap().0;
    assert!(
        matches!(joined, Answer::Joined { hold: Hold::Shared, .. }),
        "{joined:?}"
    );
    // Each sees what the other did, and it is durable when it is seen.
    for round in 0..5 {
        let (name, place) = (format!("{round}"), second.place(server.root, &format!("{round}")));
        let fid = first.create(&root(), &name, 0o600).unwrap().fid;
        let last = server.export.aggregate().last().0;
        let found = second.ask(&root(), Request::Lookup { place }).unwrap().0;
        assert!(matches!(found, Answer::Object(object) if object.fid == fid));
        assert!(server.durable() >= last, "shown before it was durable");
        second.write(&root(), fid, 0, b"hers").unwrap();
        let last = server.export.aggregate().last().0;
        assert_eq!(first.read(&root(), fid).unwrap(), &b"hers"[..]);
        assert!(server.durable() >= last, "shown before it was durable");
    }
    // The one who is left is alone when it asks again.
    second.ask(&root(), Request::Leave { fileset }).unwrap();
    assert_eq!(first.join(Coming::Fresh), Hold::Alone);
    assert_eq!(kind(second.read(&root(), server.root)), Kind::NotJoined);
}

#[test]
fn marks_and_syncs_say_what_is_durable() {
    let server = Server::new(2);
    let mount = server.stranger();
    let mut told = server.listen(mount.id);
    mount.bind(0);
    mount.join(Coming::Fresh);
    let (place, newborn, time) = (mount.place(server.root, "f"), mount.newborn(0o600), mount.time());
    let Answer::Changed { lsn, .. } = mount.ask(&root(), Request::Create { place, newborn, time }).unwrap().0 else {
        panic!("not changed");
    };
    let Some(Outgoing::Mark(line)) = told.blocking_recv() else {
        panic!("no mark");
    };
    let Some(Push::Durable { aggregate, durable }) = server.pushes.mark(line) else {
        panic!("no mark");
    };
    assert!(aggregate == server.export.id && durable >= lsn);
    let object = mount.create(&root(), "g", 0o600).unwrap();
    let last = server.export.aggregate().last().0;
    let synced = mount.ask(&root(), Request::Sync { lsn: last }).unwrap().0;
    assert!(
        matches!(synced, Answer::Synced { durable } if durable >= last),
        "{synced:?}"
    );
    let far = mount.ask(&root(), Request::Sync { lsn: last + 1_000 }).unwrap().0;
    assert!(
        matches!(far, Answer::Synced { durable } if durable >= last),
        "what never was is not waited for"
    );
    let renewed = mount.ask(&root(), Request::Renew).unwrap().0;
    assert!(matches!(renewed, Answer::Renewed { durable, date } if durable >= last && date > Timestamp(0)));
    assert_eq!(object.attributes.links, 1);
    mount.ask(&root(), Request::Unbind).unwrap();
    assert_eq!(kind(mount.ask(&root(), Request::Renew)), Kind::WrongEpoch);
    let bound = server.bound();
    let (aggregate, epoch) = (bound.aggregate, bound.epoch);
    let again = mount.ask(&root(), Request::Bind { aggregate, epoch });
    assert!(matches!(kind(again), Kind::SessionLost | Kind::Recovering));
    server.close();
}

#[test]
fn after_a_takeover_fresh_calls_wait_for_those_who_were_there() {
    let server = Server::new(3);
    let mount = server.mount();
    let fid = mount.create(&root(), "f", 0o600).unwrap().fid;
    let lock = Lock {
        owner: 7,
        first: 0,
        last: u64::MAX,
        kind: LockKind::Write,
        pid: 1,
    };
    let last = server.export.aggregate().last().0;
    mount.ask(&root(), Request::Sync { lsn: last }).unwrap();
    let (session, client) = (mount.session.get(), mount.client);
    let server = server.restart();
    let stranger = server.stranger();
    stranger.bind(0);
    let (fileset, coming) = (HOME, Coming::Fresh);
    let waiting = stranger.send(stranger.call(&root(), Request::Join { fileset, coming }, &[]));
    let mount = client.at(&server);
    assert!(mount.bind(session).contains(&(1, 1)));
    mount.join(Coming::Back);
    let patience = Patience::None;
    let locked = mount.ask(&root(), Request::Lock { fid, lock, patience }).unwrap().0;
    assert_eq!(locked, Answer::InTheWay(None));
    mount.write(&root(), fid, 0, b"said again").unwrap();
    let look = mount.send(mount.call(&root(), Request::Getattr { fid }, &[]));
    assert!(waiting.try_recv().is_err() && look.try_recv().is_err(), "both wait");
    mount.ask(&root(), Request::Reclaimed { fileset }).unwrap();
    assert!(matches!(look.recv().unwrap().unwrap().0, Answer::Object(object) if object.attributes.size == 10));
    // The stranger's turn: the one who is back gives its hold back.
    let serial = loop {
        let returned = mount.ask(&root(), Request::Renew);
        returned.unwrap();
        let mut told = server.listen(mount.id);
        if let Ok(Outgoing::Push(Push::Revoke { serial, .. })) = told.try_recv() {
            break serial;
        }
    };
    mount.ask(&root(), Request::Return { fileset, serial }).unwrap();
    waiting.recv().unwrap().unwrap();
    let other = stranger.ask(&root(), Request::TestLock { fid, lock }).unwrap().0;
    assert!(
        matches!(other, Answer::InTheWay(Some(held)) if held.kind == LockKind::Write),
        "{other:?}"
    );
    server.close();
}

#[test]
fn who_waits_when_the_aggregate_is_given_up_is_told_to_look_elsewhere() {
    let server = Server::new(4);
    let first = server.mount();
    let second = server.stranger();
    second.bind(0);
    let (fileset, coming) = (HOME, Coming::Fresh);
    let joining = second.send(second.call(&root(), Request::Join { fileset, coming }, &[]));
    server.service.withdraw(&server.export);
    assert_eq!(kind(joining.recv().unwrap()), Kind::Detached);
    assert_eq!(kind(first.read(&root(), server.root)), Kind::Moved);
}
