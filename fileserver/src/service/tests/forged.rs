//! What no honest client asks: refused, and the server goes on.

use baton_types::call::{Answer, Keep, Onto, Request};
use baton_types::{ClientId, Epoch, Fid, FilesetId, Kind};

use super::rig::{HOME, Server, kind, root};
use crate::service::Bound;

#[test]
fn a_fid_without_its_unique_opens_nothing() {
    let server = Server::new(1);
    let mount = server.mount();
    let fid = mount.create(&root(), "f", 0o666).unwrap().fid;
    let forged = Fid {
        unique: fid.unique + 1,
        ..fid
    };
    assert_eq!(kind(mount.read(&root(), forged)), Kind::Stale);
    assert_eq!(kind(mount.write(&root(), forged, 0, b"x")), Kind::Stale);
    assert_eq!(kind(mount.ask(&root(), Request::Getattr { fid: forged })), Kind::Stale);
    let other = Fid {
        fileset: FilesetId(99),
        ..fid
    };
    assert_eq!(kind(mount.read(&root(), other)), Kind::Moved);
    assert_eq!(mount.read(&root(), fid).unwrap().len(), 0);
}

#[test]
fn another_clients_session_is_refused() {
    let server = Server::new(2);
    let (mount, thief) = (server.mount(), server.stranger());
    let request = Request::Getattr { fid: server.root };
    thief.session.set(mount.session.get());
    assert_eq!(kind(thief.ask(&root(), request.clone())), Kind::Denied);
    let Bound { aggregate, epoch } = server.bound();
    assert_eq!(
        kind(thief.ask(
            &root(),
            Request::Bind {
                aggregate,
                epoch,
                round: 0
            }
        )),
        Kind::Denied
    );
    // The same client's, from another machine.
    let mut call = mount.call(&root(), request.clone(), &[]);
    call.host = Some("hosts/other".parse().unwrap());
    assert_eq!(kind(mount.send(call).recv().unwrap()), Kind::Denied);
    // Nor does it end by somebody who says that he is its client.
    let mut call = mount.call(
        &root(),
        Request::Bind {
            aggregate,
            epoch,
            round: 0,
        },
        &[],
    );
    (call.session, call.host) = (0, Some("hosts/other".parse().unwrap()));
    assert_eq!(kind(mount.send(call).recv().unwrap()), Kind::Denied);
    thief.session.set(12_345);
    assert_eq!(
        kind(thief.ask(
            &root(),
            Request::Bind {
                aggregate,
                epoch,
                round: 0
            }
        )),
        Kind::SessionLost
    );
    assert_eq!(
        kind(thief.ask(&root(), request.clone())),
        Kind::WrongEpoch,
        "it binds first"
    );
    assert!(mount.ask(&root(), request).is_ok());
}

#[test]
fn who_has_not_joined_is_told_to() {
    let server = Server::new(3);
    let mount = server.stranger();
    mount.bind(0);
    for request in [
        Request::Getattr { fid: server.root },
        Request::Vnodes { fileset: HOME },
        Request::Open { fid: server.root },
    ] {
        assert_eq!(kind(mount.ask(&root(), request)), Kind::NotJoined);
    }
}

#[test]
fn another_epoch_or_aggregate_is_refused_with_where_to_look() {
    let server = Server::new(4);
    let mount = server.mount();
    let Bound { aggregate, epoch } = server.bound();
    let elsewhere = baton_types::AggregateId::random();
    for (bound, expected) in [
        (
            Some(Bound {
                aggregate,
                epoch: Epoch(epoch.0 + 1),
            }),
            Kind::WrongEpoch,
        ),
        (
            Some(Bound {
                aggregate: elsewhere,
                epoch,
            }),
            Kind::Moved,
        ),
        (None, Kind::Invalid),
    ] {
        let mut call = mount.call(&root(), Request::Renew, &[]);
        call.bound = bound;
        assert_eq!(kind(mount.send(call).recv().unwrap()), expected, "{bound:?}");
    }
    server.export.stop_accepting();
    assert_eq!(kind(mount.ask(&root(), Request::Renew)), Kind::Detached);
    server.service.withdraw(&server.export);
    assert_eq!(kind(mount.ask(&root(), Request::Renew)), Kind::Moved);
    server.service.gone(ClientId::random());
}

#[test]
fn nobody_makes_or_moves_the_reserved_name() {
    let server = Server::new(5);
    let mount = server.mount();
    let reserved = || mount.place(server.root, ".snapshots");
    let (time, keep) = (mount.time(), Keep::Closed);
    let fid = mount.create(&root(), "f", 0o600).unwrap().fid;
    let directory = mount.mkdir(&root(), "d", 0o700).unwrap().fid;
    assert_eq!(kind(mount.create(&root(), ".snapshots", 0o600)), Kind::Exists);
    assert_eq!(kind(mount.mkdir(&root(), ".snapshots", 0o600)), Kind::Exists);
    let place = reserved();
    assert_eq!(
        kind(mount.change(&root(), Request::Link { fid, place, time })),
        Kind::Exists
    );
    let (source, target) = (mount.place(server.root, "f"), reserved());
    let onto = Onto::Anything(keep);
    let rename = |source, target| Request::Rename {
        source,
        target,
        onto,
        time,
    };
    assert_eq!(kind(mount.change(&root(), rename(source, target))), Kind::Exists);
    let target = mount.place(server.root, "g");
    assert_eq!(kind(mount.change(&root(), rename(reserved(), target))), Kind::NotOwner);
    let place = reserved();
    assert_eq!(
        kind(mount.change(&root(), Request::Rmdir { place, keep, time })),
        Kind::NotOwner
    );
    mount.create_in(&root(), directory, ".snapshots", 0o600).unwrap();
}

#[test]
fn names_and_values_over_their_limits_are_refused() {
    let server = Server::new(6);
    let mount = server.mount();
    let fid = mount.create(&root(), "f", 0o600).unwrap().fid;
    let set = |name: Vec<u8>, value: &[u8]| {
        let (how, time) = (baton_types::call::SetXattr::Always, mount.time());
        mount.change_with(&root(), Request::SetXattr { fid, name, how, time }, value)
    };
    let long = [b"user.".to_vec(), vec![b'x'; 255]].concat();
    assert_eq!(kind(set(long, b"v")), Kind::NameTooLong);
    assert_eq!(kind(set(b"user.x".to_vec(), &[0; (64 << 10) + 1])), Kind::TooBig);
    let (place, newborn, time) = (mount.place(server.root, "l"), mount.newborn(0o777), mount.time());
    let target = vec![b'x'; 4_096];
    let symlink = Request::Symlink {
        place,
        newborn,
        target,
        time,
    };
    assert_eq!(kind(mount.change(&root(), symlink)), Kind::NameTooLong);
    let end = 1 << 62;
    assert_eq!(kind(mount.write(&root(), fid, end * 2 - 1, b"xx")), Kind::TooBig);
    let directory = server.root;
    assert_eq!(kind(mount.read(&root(), directory)), Kind::IsDirectory);
    let lookup = Request::Lookup {
        place: mount.place(fid, "x"),
    };
    assert_eq!(kind(mount.ask(&root(), lookup)), Kind::NotDirectory);
    assert!(matches!(
        mount.ask(&root(), Request::Statfs { fileset: HOME }).unwrap().0,
        Answer::Usage(usage) if usage.files == 2
    ));
}
