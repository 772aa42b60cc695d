//! A fileset goes back under its clients.

use baton_aggregate::aggregate::Namesake;
use baton_aggregate::fileset as store;
use baton_aggregate::format::Lsn;
use baton_aggregate::transaction::Operation;
use baton_types::call::{Answer, Keep, Request};
use baton_types::{Fid, FileName, Kind};

use super::rig::{HOME, Mount, Server, kind, root};

fn named(name: &str) -> FileName {
    FileName::parse(name.as_bytes()).unwrap()
}

fn take(server: &Server, name: &str) -> Lsn {
    let fileset = server.export.aggregate().fileset(HOME).unwrap();
    let done = fileset.take_snapshot(&Operation::default(), &named(name), Namesake::Refuse);
    done.unwrap().answer.unwrap()
}

fn back(server: &Server, mount: &Mount<'_>, to: Lsn, present: &str) {
    let fileset = server.export.aggregate().fileset(HOME).unwrap();
    let changed = server
        .service
        .change_whole(&server.export, (HOME, mount.client.id), || {
            let done = fileset.roll_back(&Operation::default(), to, &named(present))?;
            done.answer.map(|_| done.lsn)
        });
    changed.unwrap();
}

fn looked_up(mount: &Mount<'_>, name: &str) -> u64 {
    let place = mount.place(mount.server.root, name);
    match mount.ask(&root(), Request::Lookup { place }).unwrap().0 {
        Answer::Object(object) => object.attributes.data_version,
        other => panic!("{other:?}"),
    }
}

fn listed(mount: &Mount<'_>, wanted: &str) -> u64 {
    let (fid, cookie, bytes, plus) = (mount.server.root, 0, 4_096, true);
    let request = Request::Readdir {
        fid,
        cookie,
        bytes,
        plus,
    };
    let Answer::Listing { names, .. } = mount.ask(&root(), request).unwrap().0 else {
        panic!("no listing")
    };
    let mut found = names.into_iter().filter(|listed| listed.name == wanted.as_bytes());
    found.next().unwrap().attributes.unwrap().data_version
}

#[test]
fn version_of_data_never_comes_again_when_a_fileset_goes_back() {
    let server = Server::new(71);
    let mount = server.mount();
    let file = mount.create(&root(), "f", 0o600).unwrap().fid;
    let version = |mount: &Mount<'_>| mount.attributes(file).data_version;
    mount.write(&root(), file, 0, b"one").unwrap();
    let then = take(&server, "then");
    let mut seen = vec![version(&mount)];
    for round in 0..3 {
        for text in [b"two", b"six"] {
            let told = mount.write(&root(), file, 0, text).unwrap().attributes.data_version;
            assert_eq!(told, version(&mount));
            assert!(seen.iter().all(|before| *before < told), "{told} after {seen:?}");
            seen.push(told);
        }
        back(&server, &mount, then, &format!("before{round}"));
        let told = version(&mount);
        assert_eq!((looked_up(&mount, "f"), listed(&mount, "f")), (told, told));
        assert!(seen.iter().all(|before| *before < told), "{told} after {seen:?}");
        seen.push(told);
        assert_eq!(&mount.read(&root(), file).unwrap()[..], b"one");
    }
    server.close();
}

#[test]
fn directory_that_went_back_has_the_next_version_after_its_next_name() {
    let server = Server::new(72);
    let mount = server.mount();
    mount.create(&root(), "a", 0o600).unwrap();
    let then = take(&server, "then");
    mount.create(&root(), "b", 0o600).unwrap();
    back(&server, &mount, then, "before");
    // By this a client that is alone tells what the directory will be.
    let mut before = mount.attributes(server.root).data_version;
    for name in ["b", "c"] {
        mount.create(&root(), name, 0o600).unwrap();
        let after = mount.attributes(server.root).data_version;
        assert_eq!(after, before + 1, "{name}");
        before = after;
    }
    server.close();
}

#[test]
fn file_that_is_not_there_any_more_is_stale_and_what_had_no_name_then_goes() {
    let server = Server::new(73);
    let mount = server.mount();
    let lost = mount.create(&root(), "lost", 0o600).unwrap().fid;
    let (place, time) = (mount.place(server.root, "lost"), mount.time());
    let keep = Keep::Open;
    mount.change(&root(), Request::Unlink { place, keep, time }).unwrap();
    let then = take(&server, "then");
    mount.ask(&root(), Request::Close { fid: lost }).unwrap();
    let new = mount.create(&root(), "new", 0o600).unwrap().fid;
    mount.ask(&root(), Request::Open { fid: new }).unwrap();
    mount.write(&root(), new, 0, b"later").unwrap();
    back(&server, &mount, then, "before");

    let stale = |fid: Fid| kind(mount.read(&root(), fid));
    assert_eq!(stale(new), Kind::Stale);
    assert_eq!(kind(mount.write(&root(), new, 0, b"x")), Kind::Stale);
    let left = || {
        let fileset = server.export.aggregate().fileset(HOME).unwrap();
        fileset.read(|view| store::orphans(view, None, 9)).unwrap().len()
    };
    while left() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(stale(lost), Kind::Stale);
    mount.ask(&root(), Request::Close { fid: new }).unwrap();
    server.close();
}
