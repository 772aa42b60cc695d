//! Two clients in one fileset; what is durable when it is shown; grace after a takeover.

use baton_aggregate::transaction::Operation;
use baton_types::call::{Answer, Coming, Hold, Lock, LockKind, Patience, Push, Request};
use baton_types::control::Force;
use baton_types::{Fid, Kind, Timestamp};

use super::rig::{HOME, Mount, Server, kind, root};
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
    let again = mount.ask(
        &root(),
        Request::Bind {
            aggregate,
            epoch,
            round: 0,
        },
    );
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

/// A lock on all of a file, of one program.
fn whole(owner: u64, kind: LockKind) -> Lock {
    Lock {
        owner,
        first: 0,
        last: u64::MAX,
        kind,
        pid: 1,
    }
}

/// Two mounts that share the fileset, and a file in it.
fn shared(server: &Server) -> (Mount<'_>, Mount<'_>, Fid) {
    let first = server.mount();
    let fid = first.create(&root(), "f", 0o666).unwrap().fid;
    let second = server.stranger();
    second.bind(0);
    let (fileset, coming) = (HOME, Coming::Fresh);
    let joining = second.send(second.call(&root(), Request::Join { fileset, coming }, &[]));
    let mut told = server.listen(first.id);
    let serial = match told.blocking_recv() {
        Some(Outgoing::Push(Push::Revoke { serial, .. })) => serial,
        other => panic!("{other:?}"),
    };
    first.ask(&root(), Request::Return { fileset, serial }).unwrap();
    joining.recv().unwrap().unwrap();
    (first, second, fid)
}

#[test]
fn a_program_that_waits_for_a_lock_no_more_never_gets_it() {
    let server = Server::new(6);
    let (first, second, fid) = shared(&server);
    let ask = |mount: &Mount<'_>, lock, patience| mount.ask(&root(), Request::Lock { fid, lock, patience });
    let held = whole(1, LockKind::Write);
    assert_eq!(ask(&first, held, Patience::None).unwrap().0, Answer::InTheWay(None));
    let (lock, patience) = (whole(2, LockKind::Write), Patience::Wait);
    // Twice: the first may have come on a connection that is lost.
    let waiting = [(); 2].map(|()| second.send(second.call(&root(), Request::Lock { fid, lock, patience }, &[])));
    assert_eq!(
        kind(second.ask(&root(), Request::CancelLock { fid, lock })),
        Kind::TimedOut
    );
    for waiting in waiting {
        assert_eq!(kind(waiting.recv().unwrap()), Kind::TimedOut);
    }
    ask(&first, whole(1, LockKind::Unlock), Patience::None).unwrap();
    assert_eq!(
        ask(&first, whole(3, LockKind::Write), Patience::None).unwrap().0,
        Answer::InTheWay(None)
    );
    // One that had its lock before it gave up keeps it.
    ask(&first, whole(3, LockKind::Unlock), Patience::None).unwrap();
    assert_eq!(ask(&second, lock, Patience::Wait).unwrap().0, Answer::InTheWay(None));
    let kept = second.ask(&root(), Request::CancelLock { fid, lock }).unwrap().0;
    assert_eq!(kept, Answer::InTheWay(None));
    server.close();
}

#[test]
fn what_was_asked_on_a_connection_that_was_given_up_is_not_done_late() {
    let server = Server::new(7);
    let (first, second, fid) = shared(&server);
    let (lock, patience) = (whole(1, LockKind::Write), Patience::None);
    let unlock = Request::Lock {
        fid,
        lock: whole(1, LockKind::Unlock),
        patience,
    };
    let (aggregate, epoch) = (server.bound().aggregate, server.bound().epoch);
    // Each of these is still on its way on the old connection when the client has gone on with a new one.
    let fileset = HOME;
    let late = [unlock, Request::Close { fid }, Request::Leave { fileset }];
    let late = late.map(|request| first.call(&root(), request, &[]));
    first
        .ask(
            &root(),
            Request::Bind {
                aggregate,
                epoch,
                round: 1,
            },
        )
        .unwrap();
    let on_new = |request| {
        let mut call = first.call(&root(), request, &[]);
        call.round = 1;
        first.send(call).recv().unwrap()
    };
    on_new(Request::Open { fid }).unwrap();
    on_new(Request::Lock { fid, lock, patience }).unwrap();
    for call in late {
        assert_eq!(kind(first.send(call).recv().unwrap()), Kind::WrongEpoch);
    }
    let test = Request::TestLock {
        fid,
        lock: whole(2, LockKind::Write),
    };
    let in_the_way = second.ask(&root(), test).unwrap().0;
    assert!(matches!(in_the_way, Answer::InTheWay(Some(_))), "{in_the_way:?}");
    // The file lost its last name and stays, because it is open still.
    on_new(Request::Getattr { fid }).unwrap();
    let late_bind = first.ask(
        &root(),
        Request::Bind {
            aggregate,
            epoch,
            round: 0,
        },
    );
    assert_eq!(kind(late_bind), Kind::WrongEpoch);
    server.close();
}

#[test]
fn a_fileset_that_is_deleted_takes_its_holds_along() {
    let server = Server::new(8);
    let (first, second, fid) = shared(&server);
    first.write(&root(), fid, 0, b"gone soon").unwrap();
    let aggregate = server.export.aggregate();
    let hide = |transaction: &mut baton_aggregate::transaction::Transaction<'_>| {
        baton_aggregate::fileset::catalog::hide(transaction, HOME)
    };
    aggregate.change_fileset(HOME, &Operation::default(), hide).unwrap();
    assert_eq!(aggregate.holders(HOME).unwrap(), []);
    server.service.exports().remove_fileset(HOME);
    assert_eq!(kind(second.read(&root(), server.root)), Kind::Moved);
    // One that was about to be let in stays out, and those who were in end as ever.
    assert_eq!(aggregate.record_hold(HOME, second.id).unwrap_err().kind, Kind::NotFound);
    for mount in [first, second] {
        mount.ask(&root(), Request::Unbind).unwrap();
    }
    server.close();
}

#[test]
fn an_aggregate_is_given_up_when_its_clients_have_given_back_what_they_hold() {
    let server = Server::new(9);
    let mount = server.mount();
    let mut told = server.listen(mount.id);
    let fileset = HOME;
    let forced = server.service.recall(&server.export, Force::Yes).unwrap();
    assert_eq!((forced.holds, forced.unreachable), (1, 0));
    let recalled = std::thread::scope(|scope| {
        let recalling = scope.spawn(|| server.service.recall(&server.export, Force::No));
        let Some(Outgoing::Push(Push::Revoke { serial, .. })) = told.blocking_recv() else {
            panic!("not revoked");
        };
        // What it had to say is taken still.
        mount.create(&root(), "said", 0o600).unwrap();
        assert!(!recalling.is_finished());
        mount.ask(&root(), Request::Return { fileset, serial }).unwrap();
        recalling.join().unwrap().unwrap()
    });
    assert_eq!((recalled.holds, recalled.unreachable), (1, 0));
    assert!(server.durable() >= server.export.aggregate().last().0);
    assert_eq!(mount.join(Coming::Fresh), Hold::Shared, "nobody is alone from then on");
    drop(told);
    assert_eq!(
        server.service.recall(&server.export, Force::Yes).unwrap().unreachable,
        1
    );
    server.close();
}
