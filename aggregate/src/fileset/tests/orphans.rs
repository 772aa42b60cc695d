//! Files without a name: kept, then taken apart step by step.

use std::collections::BTreeSet;

use baton_types::{Fid, Kind};

use super::sandbox::{BIRTH, Sandbox, name};
use crate::fileset::attributes::{load, save};
use crate::fileset::{
    Holders, Nameless, Object, Place, Progress, STEP_ITEMS_MAX, SetXattr, get_xattr, orphans, remove_step, set_xattr,
    symlink,
};
use crate::format::{BLOCK_BYTES, Checksum, Extent, Key, Lsn, Orphan};

/// Gives a file `count` more extents of two blocks each, as a writer would.
pub fn grow(s: &mut Sandbox, fid: Fid, count: u64) -> Object {
    let grown = s.act(|t, _| {
        let mut attributes = load(t, fid)?;
        for index in 0..count {
            let run = t.allocate(2)?[0];
            let extent = Extent {
                flags: 0,
                unit_shift: 12,
                block: run.block,
                count: 2,
                birth: Lsn(0),
                checksums: vec![Checksum([7; 16]); 2],
            };
            t.put(Key::extent(fid.vnode, attributes.blocks + 2 * index), extent.encode());
        }
        attributes.blocks += 2 * count;
        t.usage().bytes += 2 * count * BLOCK_BYTES as u64;
        save(t, fid.vnode, &attributes);
        Ok(Object { fid, attributes })
    });
    grown.unwrap()
}

fn list(s: &Sandbox) -> Vec<Nameless> {
    s.scratch.read(|view| orphans(view, None, usize::MAX)).unwrap()
}

fn step(s: &mut Sandbox, fid: Fid) -> Progress {
    let operation = s.operation();
    s.scratch.change(&operation, |t| remove_step(t, fid.vnode)).unwrap()
}

/// Every block that was given up, each once.
fn freed(s: &Sandbox) -> BTreeSet<u64> {
    let mut blocks = BTreeSet::new();
    for free in s.scratch.history.iter().flat_map(|change| &change.frees) {
        for block in free.block.0..free.block.0 + u64::from(free.count) {
            assert!(blocks.insert(block), "block {block} is freed twice");
        }
    }
    blocks
}

#[test]
fn small_file_goes_with_its_last_name() {
    let mut s = Sandbox::new();
    let f = s.create(s.root, "f").unwrap().fid;
    grow(&mut s, f, 10);
    s.act(|t, names| set_xattr(t, names, f, (b"user.a", &[1; 5_000]), SetXattr::Always))
        .unwrap();
    s.unlink(s.root, "f", Holders::Nobody).unwrap();
    assert_eq!(freed(&s).len(), 20);
    assert!(s.last().frees.iter().all(|free| free.birth != Lsn(0)));
    assert_eq!((s.scratch.usage.bytes, s.scratch.usage.files), (0, 1));
    assert_eq!(list(&s), []);
    let object = f.vnode.number();
    let left = s
        .scratch
        .layer
        .range(Key::FIRST, Key::LAST)
        .filter(|(key, value)| key.object == object && value.is_some());
    assert_eq!(left.count(), 0);
}

#[test]
fn held_file_stays_whole_until_it_is_let_go() {
    let mut s = Sandbox::new();
    let f = s.create(s.root, "f").unwrap().fid;
    grow(&mut s, f, 3);
    let object = s.unlink(s.root, "f", Holders::Somebody).unwrap();
    assert_eq!(s.getattr(f), Ok(object));
    assert_eq!(
        list(&s),
        [Nameless {
            vnode: f.vnode,
            unique: f.unique,
            orphan: Orphan::Held
        }]
    );
    assert_eq!(s.scratch.usage.files, 2);
    // It can still be used.
    s.act(|t, names| set_xattr(t, names, f, (b"user.a", b"1"), SetXattr::Always))
        .unwrap();
    assert_eq!(
        s.scratch.read(|view| get_xattr(view, &s.names, f, b"user.a")).unwrap(),
        &b"1"[..]
    );
    assert_eq!(step(&mut s, f), Progress::Done);
    assert_eq!(s.getattr(f), Err(Kind::Stale));
    assert_eq!(
        (freed(&s).len(), s.scratch.usage.bytes, s.scratch.usage.files),
        (6, 0, 1)
    );
    assert_eq!(step(&mut s, f), Progress::Done, "asked again it does nothing");
    assert_eq!(list(&s), []);
}

#[test]
fn large_file_goes_in_bounded_steps_and_is_gone_at_once() {
    let mut s = Sandbox::new();
    let f = s.create(s.root, "f").unwrap().fid;
    for _ in 0..35 {
        grow(&mut s, f, 100);
    }
    s.act(|t, names| set_xattr(t, names, f, (b"user.a", &[1; 5_000]), SetXattr::Always))
        .unwrap();
    s.unlink(s.root, "f", Holders::Nobody).unwrap();
    assert_eq!(s.getattr(f), Err(Kind::Stale));
    let mut steps = 1;
    loop {
        let progress = step(&mut s, f);
        assert!(s.last().frees.len() <= STEP_ITEMS_MAX);
        assert!(s.last().items.len() <= STEP_ITEMS_MAX + 8);
        steps += 1;
        if progress == Progress::Done {
            break;
        }
        let left = 7_000 - freed(&s).len() as u64;
        assert_eq!(s.scratch.usage.bytes, left * BLOCK_BYTES as u64);
        assert_eq!(s.getattr(f), Err(Kind::Stale));
        assert_eq!(
            s.act(|t, _| Ok(Object {
                fid: f,
                attributes: load(t, f)?
            })),
            Err(Kind::Stale)
        );
        let [orphan] = list(&s)[..] else { panic!("one orphan") };
        assert!(matches!(orphan.orphan, Orphan::Removing(from) if from > 0));
    }
    assert_eq!(steps, 5);
    assert_eq!(
        (freed(&s).len(), s.scratch.usage.bytes, s.scratch.usage.files),
        (7_000, 0, 1)
    );
    assert_eq!(list(&s), []);
}

#[test]
fn orphans_are_listed_by_vnode_a_few_at_a_time() {
    let mut s = Sandbox::new();
    let mut expected = Vec::new();
    for index in 0..10 {
        let text = format!("f{index}");
        expected.push(s.create(s.root, &text).unwrap().fid.vnode);
        s.unlink(s.root, &text, Holders::Somebody).unwrap();
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let some = s.scratch.read(|view| orphans(view, after, 3)).unwrap();
        let Some(last) = some.last() else { break };
        assert!(some.len() <= 3);
        after = Some(last.vnode);
        found.extend(some.iter().map(|nameless| nameless.vnode));
    }
    assert_eq!(found, expected);
}

#[test]
fn symlink_leaves_nothing() {
    let mut s = Sandbox::new();
    let place = Place {
        directory: s.root,
        name: &name("l"),
    };
    s.act(|t, names| symlink(t, names, place, BIRTH, &[b'x'; 4_000]))
        .unwrap();
    s.unlink(s.root, "l", Holders::Nobody).unwrap();
    assert_eq!((s.scratch.usage.bytes, s.scratch.usage.files), (0, 1));
}

#[test]
fn files_that_lost_names_only_are_no_orphans() {
    let mut s = Sandbox::new();
    let f = s.create(s.root, "f").unwrap().fid;
    assert_eq!(step(&mut s, f), Progress::Done);
    assert!(s.getattr(f).is_ok(), "a file with a name is not taken apart");
}
