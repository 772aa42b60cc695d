//! What the kernel knows of files: names, attributes, and which change was the later one.

use baton_rpc::sessions::Who;
use baton_types::call::{At, Request};
use baton_types::file::SetAttributes;
use baton_types::{Timestamp, Vnode};

use super::*;
use crate::mount::Heard;
use crate::ops::Keeps;

fn object(vnode: u64, kind: FileKind) -> Object {
    Object {
        fid: Fid {
            fileset: FilesetId(12),
            vnode: Vnode::new(vnode).unwrap(),
            unique: 7,
        },
        attributes: attributes(kind, 1),
    }
}

fn attributes(kind: FileKind, data_version: u64) -> Attributes {
    Attributes {
        kind,
        mode: 0o644,
        uid: 1,
        gid: 1,
        links: 1,
        size: 10,
        blocks: 1,
        data_version,
        accessed: Timestamp(1),
        modified: Timestamp(1),
        changed: Timestamp(1),
        created: Timestamp(1),
        parent: None,
        device: 0,
        acl: 0,
    }
}

fn inodes() -> Inodes {
    Inodes::new(Arc::new(Proof::new().unwrap()))
}

fn name(text: &str) -> FileName {
    FileName::parse(text.as_bytes()).unwrap()
}

#[test]
fn an_inode_lives_until_the_kernel_has_given_all_back() {
    let inodes = inodes();
    let file = object(5, FileKind::Regular);
    let number = inodes
        .tell(Instance::ROOT, &file, Some((1, &name("a"))))
        .unwrap()
        .number;
    inodes.tell(Instance::ROOT, &file, Some((1, &name("b")))).unwrap();
    assert_eq!(inodes.forget(number, 1), None);
    assert_eq!(inodes.get(number).unwrap().fid, file.fid);
    assert_eq!(inodes.named(1, &name("b")), Some(file.fid));
    assert_eq!(inodes.forget(number, 1), Some(Instance::ROOT));
    assert_eq!(inodes.get(number).unwrap_err().kind, Kind::Stale);
    assert_eq!((inodes.named(1, &name("a")), inodes.named(1, &name("b"))), (None, None));
    assert_eq!(inodes.remember(number).unwrap(), (file.fid, Instance::ROOT));
    assert_eq!(inodes.remember(number + 1).unwrap_err().kind, Kind::Stale);
}

#[test]
fn names_move_with_what_they_lead_to() {
    let inodes = inodes();
    let (one, two) = (object(5, FileKind::Regular), object(6, FileKind::Regular));
    inodes.tell(Instance::ROOT, &one, Some((1, &name("a")))).unwrap();
    inodes.tell(Instance::ROOT, &two, Some((1, &name("b")))).unwrap();
    inodes.rename((1, &name("a")), (1, &name("b")), Exchange::Yes);
    assert_eq!(inodes.named(1, &name("a")), Some(two.fid));
    assert_eq!(inodes.named(1, &name("b")), Some(one.fid));
    inodes.rename((1, &name("a")), (1, &name("b")), Exchange::No);
    assert_eq!(inodes.named(1, &name("a")), None);
    assert_eq!(inodes.named(1, &name("b")), Some(two.fid));
    inodes.unname(1, &name("b"));
    assert_eq!(inodes.named(1, &name("b")), None);
    inodes.forget(Instance::ROOT.node(one.fid.vnode), 1);
    assert_eq!(
        inodes.forget(Instance::ROOT.node(two.fid.vnode), 1),
        Some(Instance::ROOT)
    );
}

#[test]
fn attributes_that_a_change_crossed_are_not_believed() {
    let inodes = inodes();
    let inode = inodes
        .tell(Instance::ROOT, &object(5, FileKind::Regular), None)
        .unwrap();
    let old = attributes(FileKind::Regular, 1);
    let look = inode.look();
    inode.learn(look, 3, &old);
    assert_eq!(inode.believed(3), Some(old));
    assert_eq!(inode.believed(4), None, "another stay");

    let look = inode.look();
    inode.begin();
    assert_eq!(inode.believed(3), None, "it is changing");
    inode.learn(look, 3, &old);
    assert_eq!(inode.believed(3), None);
    let new = attributes(FileKind::Regular, 2);
    inode.end(Some((20, new)), Some(3));
    inode.learn(look, 3, &old);
    assert_eq!(inode.believed(3), Some(new));
}

#[test]
fn of_two_changes_the_later_one_is_believed_in_whichever_order_they_are_told() {
    let inodes = inodes();
    let inode = inodes
        .tell(Instance::ROOT, &object(5, FileKind::Regular), None)
        .unwrap();
    let (first, second) = (attributes(FileKind::Regular, 1), attributes(FileKind::Regular, 2));
    inode.begin();
    inode.begin();
    inode.end(Some((21, second)), Some(3));
    assert_eq!(inode.believed(3), None, "one is under way");
    inode.end(Some((20, first)), Some(3));
    assert_eq!(inode.believed(3), Some(second));
    inode.begin();
    inode.end(None, Some(3));
    assert_eq!(inode.believed(3), None, "it failed, and nobody knows how far");
}

#[test]
fn pages_are_good_only_while_they_are_known_to_be_of_the_version_that_is_told() {
    let inodes = inodes();
    let inode = inodes
        .tell(Instance::ROOT, &object(5, FileKind::Regular), None)
        .unwrap();
    let look = inode.look();
    assert!(inode.holds_good(look, 1), "there are none");
    inode.opened();
    assert!(!inode.holds_good(look, 1), "they may be of any version");
    inode.dropped(look, 1);
    assert!(inode.holds_good(look, 1));
    assert!(!inode.holds_good(look, 2), "somebody else wrote");
    inode.dropped(look, 2);
    inode.begin();
    assert!(!inode.holds_good(inode.look(), 2), "it is being written to");
    inode.end(None, None);
    assert!(!inode.holds_good(inode.look(), 2), "it was written to");
    inode.dropped(look, 2);
    assert!(!inode.holds_good(inode.look(), 2), "they were dropped before that");
    let later = inode.look();
    inode.dropped(later, 2);
    assert!(inode.holds_good(later, 2));
}

#[test]
fn pages_outlive_the_last_close_until_they_are_forgotten() {
    let inodes = inodes();
    let inode = inodes
        .tell(Instance::ROOT, &object(5, FileKind::Regular), None)
        .unwrap();
    assert!(!inode.forgetting(), "nobody opened it");
    inode.opened();
    assert!(inode.forgetting());
    assert!(inode.forgetting(), "it is open: more may have come");
    inode.closed();
    assert!(inode.forgetting());
    assert!(!inode.forgetting(), "nothing can have come");
}

fn maker(uid: u32) -> Arc<Who> {
    Arc::new(Who {
        uid,
        gid: 1,
        ..Who::default()
    })
}

fn set(mode: Option<u32>, uid: Option<u32>) -> SetAttributes {
    SetAttributes {
        mode,
        uid,
        ..SetAttributes::default()
    }
}

fn drafted() -> Arc<Inode> {
    let file = object(5, FileKind::Regular);
    let inode = inodes().tell(Instance::ROOT, &file, None).unwrap();
    inode.begin_draft(3, maker(1), file.attributes);
    inode
}

#[test]
fn what_a_file_will_be_is_certain_until_something_else_than_its_maker_comes() {
    let inode = drafted();
    let fid = inode.fid;
    let (at, time) = (At::Offset(4_096), Timestamp(9));
    inode.foresee(&Request::Write { fid, at, time }, 4_096, Heard::Ahead);
    let at = At::End;
    inode.foresee(&Request::Write { fid, at, time }, 8, Heard::Ahead);
    let set = set(Some(0o600), Some(1));
    assert!(inode.may_surely_set(3, &maker(1), &set));
    inode.foresee(&Request::Setattr { fid, set, time }, 0, Heard::Ahead);
    let foreseen = inode.foreseen().unwrap();
    assert_eq!((foreseen.size, foreseen.mode, foreseen.modified), (8_200, 0o600, time));
    let (offset, len, how) = (0, 1 << 20, baton_types::call::Allocate::Extend);
    inode.foresee(
        &Request::Fallocate {
            fid,
            offset,
            len,
            how,
            time,
        },
        0,
        Heard::Ahead,
    );
    assert_eq!(inode.foreseen(), None);
}

#[test]
fn what_the_server_has_to_judge_is_not_certain() {
    let inode = drafted();
    let may = |who, mode, uid| inode.may_surely_set(3, &maker(who), &set(mode, uid));
    assert!(!may(2, Some(0o600), None), "another user");
    assert!(!may(1, Some(0o4755), None), "set-id bits");
    assert!(!may(1, None, Some(2)), "given away");
    assert!(may(1, Some(0o1644), Some(1)));
    assert!(!inode.may_surely_set(4, &maker(1), &set(None, None)), "another stay");
    inode.fail(Error::new(Kind::NoSpace, "file"));
    assert!(!may(1, Some(0o600), None), "it is not what it was to be");
}

/// A request that makes a `kind` in a directory.
fn making(kind: FileKind, directory: Fid, time: Timestamp) -> Request {
    let place = baton_types::file::Place {
        directory,
        name: FileName::parse(b"name").unwrap(),
    };
    let newborn = baton_types::call::Newborn {
        vnode: Vnode::new(9).unwrap(),
        unique: 1,
        mode: 0o644,
    };
    match kind {
        FileKind::Directory => Request::Mkdir { place, newborn, time },
        _ => Request::Create { place, newborn, time },
    }
}

#[test]
fn directory_is_foreseen_while_files_are_made_in_it_one_after_the_other_and_nothing_else_happens() {
    let inode = inodes()
        .tell(Instance::ROOT, &object(6, FileKind::Directory), None)
        .unwrap();
    let made = attributes(FileKind::Directory, 1);
    inode.begin_draft(3, maker(1), made);
    let ask_for = |time, kind| {
        let request = making(kind, inode.fid, time);
        inode.foresee_name(&request, Heard::Ahead, Some(3));
        inode.begin();
    };
    let ask = |time| ask_for(time, FileKind::Regular);
    let foreseen = || inode.foreseen_directory(3).map(|is| (is.size, is.links, is.modified));
    ask(Timestamp(20));
    inode.asked();
    assert_eq!(foreseen(), Some((made.size + 1, made.links, Timestamp(20))));
    ask_for(Timestamp(30), FileKind::Directory);
    inode.asked();
    inode.end(None, None);
    inode.end(None, None);
    assert_eq!(
        foreseen(),
        Some((made.size + 2, made.links + 1, Timestamp(30))),
        "all of it is done"
    );
    assert_eq!(inode.foreseen_directory(4), None, "another stay");
    ask(Timestamp(40));
    ask(Timestamp(50));
    assert_eq!(foreseen(), None, "of two at once nobody knows which is the last");
    inode.asked();
    inode.asked();
    inode.begin_draft(3, maker(1), made);
    let other = Request::Getattr { fid: inode.fid };
    inode.foresee_name(&other, Heard::Late, Some(3));
    assert_eq!(foreseen(), None, "something that may be refused");
}

#[test]
fn directory_that_was_made_here_stays_its_makers_whatever_is_made_in_it() {
    let inode = inodes()
        .tell(Instance::ROOT, &object(6, FileKind::Directory), None)
        .unwrap();
    inode.begin_draft(3, maker(1), attributes(FileKind::Directory, 1));
    let to = set(Some(0o700), None);
    let create = making(FileKind::Regular, inode.fid, Timestamp(20));
    inode.foresee_name(&create, Heard::Ahead, Some(3));
    inode.asked();
    assert!(inode.may_surely_set(3, &maker(1), &to) && !inode.may_surely_set(3, &maker(2), &to));
    let (fid, time) = (inode.fid, Timestamp(30));
    inode.foresee(&Request::Setattr { fid, set: to, time }, 0, Heard::Ahead);
    let is = inode.foreseen_directory(3).unwrap();
    let size = attributes(FileKind::Directory, 1).size + 1;
    assert_eq!(
        (is.mode, is.size, is.modified, is.changed),
        (0o700, size, Timestamp(20), time)
    );
}

#[test]
fn everybody_who_has_a_file_open_hears_once_of_what_failed_since() {
    let inode = drafted();
    let handles = crate::handles::Handles::default();
    let [first, second] = [(); 2].map(|()| {
        let number = handles.insert(inode.clone(), maker(1), Keeps::On);
        handles.get(number).unwrap()
    });
    assert!(first.failed().is_ok());
    inode.fail(Error::new(Kind::NoSpace, "file"));
    let later = handles.get(handles.insert(inode.clone(), maker(1), Keeps::On)).unwrap();
    for handle in [first, second] {
        assert_eq!(handle.failed().unwrap_err().kind, Kind::NoSpace);
        assert!(handle.failed().is_ok());
    }
    assert!(later.failed().is_ok(), "it was before it was opened");
}
