//! Calls that the store has to wait for, and answers of every size.

use std::collections::BTreeSet;

use baton_proto::files::encode_answer;
use baton_types::call::{Allocate, Answer, At, Coming, Request, Sought};
use baton_types::limits::FRAME_META_BYTES_MAX;

use super::rig::{HOME, Server, root};

#[test]
fn what_is_not_in_memory_is_read_by_the_stores_threads() {
    let server = Server::new(1);
    let mount = server.mount();
    let fid = mount.create(&root(), "f", 0o600).unwrap().fid;
    let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at / 100) as u8).collect();
    mount.write(&root(), fid, 0, &bytes[..200_000]).unwrap();
    let time = mount.time();
    let append = Request::Write { fid, at: At::End, time };
    mount.change_with(&root(), append, &bytes[200_000..]).unwrap();
    let last = server.export.aggregate().last().0;
    mount.ask(&root(), Request::Sync { lsn: last }).unwrap();
    server.export.aggregate().checkpoint().unwrap();
    let (session, client) = (mount.session.get(), mount.client);
    let server = server.restart();
    let mount = client.at(&server);
    mount.bind(session);
    mount.join(Coming::Back);
    mount.ask(&root(), Request::Reclaimed { fileset: HOME }).unwrap();
    assert!(mount.read(&root(), fid).unwrap() == bytes);
    // Into the middle of a block that is not in memory.
    mount.write(&root(), fid, 100_001, b"!").unwrap();
    let place = mount.place(server.root, "f");
    let Answer::Object(found) = mount.ask(&root(), Request::Lookup { place }).unwrap().0 else {
        panic!("no file")
    };
    assert_eq!(found.attributes.size, 300_000);
    let (offset, len) = (100_000, 3);
    let read = mount.ask(&root(), Request::Read { fid, offset, len }).unwrap().1;
    assert_eq!(read[..], [bytes[100_000], b'!', bytes[100_002]]);
}

#[test]
fn a_directory_comes_in_answers_that_fit_a_frame() {
    let server = Server::new(2);
    let mount = server.mount();
    let names: BTreeSet<Vec<u8>> = (0..1_200)
        .map(|number| match number % 3 {
            0 => format!("{number}"),
            1 => format!("{number:0>40}"),
            _ => format!("{number:0>255}"),
        })
        .map(String::into_bytes)
        .collect();
    for name in &names {
        mount
            .create(&root(), std::str::from_utf8(name).unwrap(), 0o600)
            .unwrap();
    }
    for plus in [false, true] {
        let (mut found, mut cookie) = (BTreeSet::new(), 0);
        loop {
            let (fid, bytes) = (server.root, u32::MAX);
            let listing = mount.ask(
                &root(),
                Request::Readdir {
                    fid,
                    cookie,
                    bytes,
                    plus,
                },
            );
            let answer = listing.unwrap().0;
            assert!(encode_answer(&answer).len() <= FRAME_META_BYTES_MAX as usize);
            let Answer::Listing { names, is_end } = answer else {
                panic!("no listing");
            };
            for listed in names {
                assert_eq!(listed.attributes.is_some(), plus);
                cookie = listed.cookie;
                assert!(found.insert(listed.name), "twice");
            }
            if is_end {
                break;
            }
        }
        assert_eq!(found, names, "plus: {plus}");
    }
}

#[test]
fn holes_are_made_and_found() {
    let server = Server::new(3);
    let mount = server.mount();
    let fid = mount.create(&root(), "f", 0o600).unwrap().fid;
    mount.write(&root(), fid, 0, &[7; 40_000]).unwrap();
    let fallocate = |offset, len, how| {
        let time = mount.time();
        let request = Request::Fallocate {
            fid,
            offset,
            len,
            how,
            time,
        };
        mount.change(&root(), request).unwrap().attributes
    };
    let (full, punched) = (mount.attributes(fid), fallocate(8_192, 8_192, Allocate::PunchHole));
    assert_eq!((punched.size, punched.blocks), (40_000, full.blocks - 2));
    assert!(punched.modified > full.modified && punched.data_version > full.data_version);
    let seek = |offset, sought| match mount.ask(&root(), Request::Seek { fid, offset, sought }).unwrap().0 {
        Answer::Sought(at) => at,
        other => panic!("{other:?}"),
    };
    assert_eq!(seek(0, Sought::Hole), Some(8_192));
    assert_eq!(seek(8_192, Sought::Data), Some(16_384));
    assert_eq!(seek(40_000, Sought::Data), None);
    assert_eq!(fallocate(39_000, 5_000, Allocate::Zero).size, 44_000);
    assert_eq!(fallocate(0, 50_000, Allocate::KeepSize).size, 44_000);
    assert_eq!(fallocate(0, 50_000, Allocate::Extend).size, 50_000);
    let mut expected = vec![7; 39_000];
    expected[8_192..16_384].fill(0);
    expected.resize(50_000, 0);
    assert!(mount.read(&root(), fid).unwrap() == expected);
}
