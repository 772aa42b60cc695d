//! Snapshots and backups by the service: what they show, to whom, and that nothing changes them.

use baton_aggregate::aggregate::Namesake;
use baton_aggregate::format::Lsn;
use baton_aggregate::transaction::Operation;
use baton_types::call::{Answer, Coming, Hold, Keep, Request};
use baton_types::file::{Object, SetAttributes};
use baton_types::{Fid, FileName, FilesetId, Kind, Timestamp, Vnode};

use super::rig::{HOME, Mount, Server, cred, kind, root};

pub fn take(server: &Server, name: &str, namesake: Namesake) -> FilesetId {
    let (id, lsn) = take_at_once(server, name, namesake);
    server.export.aggregate().wait(lsn).unwrap();
    id
}

/// The same, and when that is durable nobody has waited for.
pub fn take_at_once(server: &Server, name: &str, namesake: Namesake) -> (FilesetId, Lsn) {
    let fileset = server.export.aggregate().fileset(HOME).unwrap();
    let operation = Operation {
        time: Timestamp(77),
        ..Operation::default()
    };
    let name = FileName::parse(name.as_bytes()).unwrap();
    let done = fileset.take_snapshot(&operation, &name, namesake).unwrap();
    done.answer.unwrap();
    let taken = fileset.snapshot_named(name.as_bytes()).unwrap();
    (HOME.snapshot(taken.number), done.lsn)
}

pub fn delete(server: &Server, name: &str) {
    let fileset = server.export.aggregate().fileset(HOME).unwrap();
    let id = fileset.snapshot_named(name.as_bytes()).unwrap().id;
    let done = fileset.delete_snapshot(&Operation::default(), id).unwrap();
    done.answer.unwrap();
}

fn lookup(mount: &Mount<'_>, directory: Fid, name: &str) -> Result<Object, Kind> {
    let place = mount.place(directory, name);
    match mount.ask(&root(), Request::Lookup { place }) {
        Ok((Answer::Object(object), _)) => Ok(object),
        Ok(other) => panic!("{other:?}"),
        Err(refused) => Err(refused.error.kind),
    }
}

fn listed(mount: &Mount<'_>, fid: Fid) -> Vec<(String, Fid)> {
    let (cookie, bytes, plus) = (0, 4_096, true);
    let request = Request::Readdir {
        fid,
        cookie,
        bytes,
        plus,
    };
    match mount.ask(&root(), request).unwrap().0 {
        Answer::Listing { names, is_end: true } => {
            let name = |name: Vec<u8>| String::from_utf8(name).unwrap();
            names
                .into_iter()
                .map(|listed| (name(listed.name), listed.fid))
                .collect()
        }
        other => panic!("{other:?}"),
    }
}

fn join(mount: &Mount<'_>, fileset: FilesetId, coming: Coming) -> (Hold, Object) {
    match mount.ask(&root(), Request::Join { fileset, coming }).unwrap().0 {
        Answer::Joined { hold, root, .. } => (hold, root),
        other => panic!("{other:?}"),
    }
}

#[test]
fn snapshot_is_found_by_its_name_and_shows_what_was() {
    let server = Server::new(61);
    let mount = server.mount();
    let file = mount.create(&root(), "f", 0o600).unwrap().fid;
    mount.write(&root(), file, 0, b"then").unwrap();
    let id = take(&server, "monday", Namesake::Refuse);
    mount.write(&root(), file, 0, b"now!").unwrap();
    mount.create(&root(), "new", 0o600).unwrap();

    let directory = lookup(&mount, server.root, ".snapshots").unwrap();
    assert_eq!((directory.fid.fileset, directory.fid.vnode), (HOME, Vnode::SNAPSHOTS));
    assert!(listed(&mount, server.root).iter().all(|(name, _)| name != ".snapshots"));
    let monday = lookup(&mount, directory.fid, "monday").unwrap();
    assert_eq!((monday.fid.fileset, monday.attributes.created), (id, Timestamp(77)));
    assert_eq!(listed(&mount, directory.fid), [("monday".to_owned(), monday.fid)]);
    assert_eq!(lookup(&mount, directory.fid, "tuesday"), Err(Kind::NotFound));
    assert_eq!(lookup(&mount, monday.fid, ".snapshots"), Err(Kind::NotFound));
    let above = mount.ask(&root(), Request::LookupParent { fid: monday.fid }).unwrap();
    assert!(matches!(above.0, Answer::Object(object) if object.fid == directory.fid));
    let above = mount
        .ask(&root(), Request::LookupParent { fid: directory.fid })
        .unwrap();
    assert!(matches!(above.0, Answer::Object(object) if object.fid == server.root));

    // Alone, whoever else is there.
    let second = server.stranger();
    second.bind(0);
    for other in [&mount, &second] {
        let (hold, joined) = join(other, id, Coming::Fresh);
        assert_eq!((hold, joined.fid), (Hold::Alone, monday.fid));
        let then = lookup(other, monday.fid, "f").unwrap().fid;
        assert_eq!(&other.read(&root(), then).unwrap()[..], b"then");
        assert_eq!(lookup(other, monday.fid, "new"), Err(Kind::NotFound));
    }
    assert_eq!(&mount.read(&root(), file).unwrap()[..], b"now!");
    delete(&server, "monday");
    assert_eq!(lookup(&mount, monday.fid, "f"), Err(Kind::Stale));
    server.close();
}

/// Looks at a snapshot of this name, at this file in it.
type Look<'a> = &'a dyn Fn(&str, Fid);

#[test]
fn snapshot_is_shown_when_no_owner_can_be_without_it() {
    let server = Server::new(75);
    let mount = server.mount();
    let file = mount.create(&root(), "f", 0o600).unwrap().fid;
    let directory = lookup(&mount, server.root, ".snapshots").unwrap();
    let looks: [Look<'_>; 4] = [
        &|name, _| assert!(lookup(&mount, directory.fid, name).is_ok()),
        &|name, _| assert!(listed(&mount, directory.fid).iter().any(|(listed, _)| listed == name)),
        &|_, then| assert!(mount.read(&root(), then).is_ok()),
        &|_, then| assert_eq!(join(&mount, then.fileset, Coming::Fresh).0, Hold::Alone),
    ];
    for (name, look) in ["a", "b", "c", "d"].into_iter().zip(looks) {
        let (fileset, taken) = take_at_once(&server, name, Namesake::Refuse);
        look(name, Fid { fileset, ..file });
        assert!(server.durable() >= taken.0, "{name}");
    }
    server.close();
}

#[test]
fn snapshot_is_judged_by_the_rights_of_its_day() {
    let server = Server::new(62);
    let mount = server.mount();
    let file = mount.create(&root(), "f", 0o600).unwrap().fid;
    mount.write(&root(), file, 0, b"then").unwrap();
    mount.chown(file, 5, 5);
    let id = take(&server, "then", Namesake::Refuse);
    mount.chown(file, 6, 6);
    let then = Fid { fileset: id, ..file };
    let [owner, other] = [5, 6].map(|uid| cred(uid, uid, &[]));
    assert!(mount.read(&owner, then).is_ok() && mount.read(&other, file).is_ok());
    assert_eq!(kind(mount.read(&other, then)), Kind::Denied);
    assert_eq!(kind(mount.read(&owner, file)), Kind::Denied);
}

#[test]
fn nothing_changes_a_snapshot_and_what_it_takes_is_granted() {
    let server = Server::new(63);
    let mount = server.mount();
    let file = mount.create(&root(), "f", 0o600).unwrap().fid;
    let id = take(&server, "then", Namesake::Refuse);
    let [then, top] = [file, server.root].map(|fid| Fid { fileset: id, ..fid });
    assert_eq!(kind(mount.write(&root(), then, 0, b"x")), Kind::ReadOnly);
    assert_eq!(kind(mount.set(&root(), then, SetAttributes::default())), Kind::ReadOnly);
    assert_eq!(kind(mount.create_in(&root(), top, "g", 0o600)), Kind::ReadOnly);
    let (place, keep, time) = (mount.place(top, "f"), Keep::Closed, mount.time());
    assert_eq!(
        kind(mount.change(&root(), Request::Unlink { place, keep, time })),
        Kind::ReadOnly
    );
    assert_eq!(
        kind(mount.ask(&root(), Request::Vnodes { fileset: id })),
        Kind::ReadOnly
    );
    for request in [
        Request::Open { fid: then },
        Request::Close { fid: then },
        Request::Return { fileset: id, serial: 9 },
        Request::Reclaimed { fileset: id },
        Request::Leave { fileset: id },
    ] {
        assert_eq!(mount.ask(&root(), request).unwrap().0, Answer::Done);
    }
    let unique = then.unique + 1;
    assert_eq!(
        kind(mount.ask(
            &root(),
            Request::Open {
                fid: Fid { unique, ..then }
            }
        )),
        Kind::Stale
    );
    let directory = lookup(&mount, server.root, ".snapshots").unwrap().fid;
    let forged = Fid {
        unique: directory.unique + 1,
        ..directory
    };
    assert_eq!(kind(mount.ask(&root(), Request::Getattr { fid: forged })), Kind::Stale);
    assert!(mount.create_in(&root(), directory, "g", 0o600).is_err());
}

#[test]
fn backup_is_shared_and_shows_the_newest() {
    let server = Server::new(64);
    let mount = server.mount();
    let backup = HOME.backup();
    let coming = Coming::Fresh;
    let fileset = backup;
    assert_eq!(kind(mount.ask(&root(), Request::Join { fileset, coming })), Kind::Stale);
    let file = mount.create(&root(), "f", 0o600).unwrap().fid;
    for text in ["one", "two"] {
        mount.write(&root(), file, 0, text.as_bytes()).unwrap();
        take(&server, "backup", Namesake::Replace);
        mount.write(&root(), file, 0, b"now").unwrap();
        let (hold, top) = join(&mount, backup, Coming::Fresh);
        assert_eq!((hold, top.fid.fileset), (Hold::Shared, backup));
        let then = lookup(&mount, top.fid, "f").unwrap().fid;
        assert_eq!(&mount.read(&root(), then).unwrap()[..], text.as_bytes());
    }
    let fid = lookup(&mount, server.root, ".snapshots").unwrap().fid;
    assert_eq!(listed(&mount, fid).len(), 1);
}

#[test]
fn snapshots_are_there_at_the_next_owner_at_once() {
    let server = Server::new(65);
    let mount = server.mount();
    let file = mount.create(&root(), "f", 0o600).unwrap().fid;
    mount.write(&root(), file, 0, b"then").unwrap();
    let id = take(&server, "then", Namesake::Refuse);
    let then = Fid { fileset: id, ..file };
    join(&mount, id, Coming::Fresh);
    let client = mount.client;
    let server = server.restart();
    let mount = client.at(&server);
    mount.bind(mount.session.get());
    // Nothing was said again yet of the fileset itself: it is in grace, and what was is not.
    assert_eq!(join(&mount, id, Coming::Back).0, Hold::Alone);
    assert_eq!(&mount.read(&root(), then).unwrap()[..], b"then");
}
