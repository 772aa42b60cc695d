//! What differs between two moments, against a comparison of all that is in both.

use std::collections::{BTreeMap, BTreeSet};

use baton_types::{Fid, FileName, FilesetId, Timestamp, Vnode};
use proptest::prelude::*;

use super::rig::{Rig, header, op};
use crate::aggregate::{Fileset, Namesake, Need, Touched};
use crate::fileset::{
    Birth, Holders, Names, Object, Onto, Place, SetAttributes, create, link, lookup, mkdir, rename, rmdir, setattr,
    unlink,
};
use crate::format::{FileKind, Key, KeyKind, Lsn, NameEntry};
use crate::transaction::{Operation, Transaction};
use crate::tree::Stop;

const BIRTH: Birth<'static> = Birth { mode: 0o755, acl: &[] };
const ID: FilesetId = FilesetId(8);

/// Directories and names that steps choose from.
const DIRECTORIES: usize = 4;
const NAMES: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    Create(usize, usize),
    Mkdir(usize, usize),
    Unlink(usize, usize),
    Rmdir(usize, usize),
    Rename((usize, usize), (usize, usize)),
    Link((usize, usize), (usize, usize)),
    Set(usize, usize),
    Snapshot,
    Checkpoint,
    TakeOver,
}

fn at() -> impl Strategy<Value = (usize, usize)> {
    (0..DIRECTORIES, 0..NAMES)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => at().prop_map(|(directory, name)| Step::Create(directory, name)),
        4 => at().prop_map(|(directory, name)| Step::Mkdir(directory, name)),
        3 => at().prop_map(|(directory, name)| Step::Unlink(directory, name)),
        1 => at().prop_map(|(directory, name)| Step::Rmdir(directory, name)),
        4 => (at(), at()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => (at(), at()).prop_map(|(from, to)| Step::Link(from, to)),
        4 => at().prop_map(|(directory, name)| Step::Set(directory, name)),
        2 => Just(Step::Snapshot),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::TakeOver),
    ]
}

/// A fileset with a root directory, and what was made in it.
struct Home {
    rig: Rig,
    fileset: Fileset,
    directories: Vec<Fid>,
    next: u64,
    snapshots: Vec<Lsn>,
}

impl Home {
    fn new() -> Home {
        let rig = Rig::with_segments(300, 80);
        let operation = Operation { unique: 77, ..op(0, 0) };
        let root = rig.aggregate.create_fileset(ID, &header(), &operation, BIRTH);
        let root = root.unwrap().answer.unwrap();
        Home {
            fileset: rig.aggregate.fileset(ID).unwrap(),
            rig,
            directories: vec![root.fid],
            next: 2,
            snapshots: Vec::new(),
        }
    }

    fn act(&mut self, act: impl Fn(&mut Transaction<'_>, &Names) -> Result<Object, Stop>) -> Option<Object> {
        self.next += 1;
        let operation = Operation {
            vnode: Vnode::new(self.next).ok(),
            unique: self.next * 31,
            time: Timestamp(self.next as i64),
            ..op(0, 0)
        };
        let done = self.fileset.operate(&operation, Need::GROWTH, act).unwrap();
        done.answer.ok()
    }

    fn step(&mut self, step: &Step) {
        let names: Vec<FileName> = (0..NAMES)
            .map(|name| FileName::parse(&[b'a' + name as u8]).unwrap())
            .collect();
        let directories = self.directories.clone();
        let place = |(directory, name): (usize, usize)| Place {
            directory: directories[directory % directories.len()],
            name: &names[name],
        };
        match *step {
            Step::Create(directory, name) => {
                self.act(|t, n| create(t, n, place((directory, name)), BIRTH));
            }
            Step::Mkdir(directory, name) => {
                let made = self.act(|t, n| mkdir(t, n, place((directory, name)), BIRTH));
                if let Some(made) = made.filter(|_| self.directories.len() < DIRECTORIES) {
                    self.directories.push(made.fid);
                }
            }
            Step::Unlink(directory, name) => {
                self.act(|t, n| unlink(t, n, place((directory, name)), Holders::Nobody));
            }
            Step::Rmdir(directory, name) => {
                self.act(|t, n| rmdir(t, n, place((directory, name)), Holders::Nobody));
            }
            Step::Rename(from, to) => {
                let onto = Onto::Anything(Holders::Nobody);
                self.act(|t, n| rename(t, n, place(from), place(to), onto));
            }
            Step::Link(from, to) => {
                self.act(|t, n| {
                    let file = lookup(t, n, place(from))?;
                    link(t, n, place(to), file.fid)
                });
            }
            Step::Set(directory, name) => {
                self.act(|t, n| {
                    let file = lookup(t, n, place((directory, name)))?;
                    let set = SetAttributes {
                        mode: Some(0o700),
                        ..SetAttributes::default()
                    };
                    setattr(t, file.fid, &set)
                });
            }
            Step::Snapshot => {
                let name = FileName::parse(format!("s{}", self.next).as_bytes()).unwrap();
                self.next += 1;
                let taken = self.fileset.take_snapshot(&op(0, 0), &name, Namesake::Refuse);
                self.snapshots.push(taken.unwrap().answer.unwrap());
            }
            Step::Checkpoint => self.rig.checkpoint(),
            Step::TakeOver => {
                self.rig.commit();
                self.fileset = self.rig.next_owner(ID.0);
            }
        }
    }

    /// All moments: snapshots, and now.
    fn moments(&self) -> Vec<Fileset> {
        let snapshots = self.snapshots.iter().map(|at| self.fileset.at(*at).unwrap());
        snapshots.chain([self.fileset.clone()]).collect()
    }
}

/// What a moment holds: the items of each file, and the names in each directory.
#[derive(Default)]
struct Seen {
    items: BTreeMap<Vnode, BTreeMap<Key, Vec<u8>>>,
    names: BTreeMap<Vnode, BTreeMap<Vec<u8>, (Vnode, FileKind)>>,
}

impl Seen {
    fn of(rig: &Rig, moment: &Fileset) -> Seen {
        let mut seen = Seen::default();
        for (key, value) in rig.all(moment) {
            if matches!(key.kind, KeyKind::Acl | KeyKind::Orphan) {
                continue;
            }
            let vnode = Vnode::new(key.object).unwrap();
            if key.kind == KeyKind::Name {
                for entry in NameEntry::decode_all(&value).unwrap() {
                    let names = seen.names.entry(vnode).or_default();
                    names.insert(entry.name, (entry.vnode, entry.kind));
                }
            }
            seen.items.entry(vnode).or_default().insert(key, value);
        }
        seen
    }
}

/// Walks both from their roots, and says of what stands under one name in both and differs that it must be known, with
/// all directories on the way.
fn walk(one: &Seen, other: &Seen, touched: &Touched) {
    let mut waiting = vec![(Vnode::ROOT, Vec::new())];
    while let Some((at, way)) = waiting.pop() {
        let all: BTreeSet<&Vec<u8>> = [one, other]
            .iter()
            .filter_map(|seen| seen.names.get(&at))
            .flat_map(|names| names.keys())
            .collect();
        let way: Vec<Vnode> = way.into_iter().chain([at]).collect();
        for name in all {
            let there = [one, other].map(|seen| seen.names.get(&at).and_then(|names| names.get(name)).copied());
            let is_known = |vnode: &Vnode| assert!(touched.may_differ(*vnode), "{vnode:?}: {touched:?}");
            let [Some((then, kind)), Some((now, _))] = there else {
                way.iter().for_each(is_known);
                continue;
            };
            if then != now {
                way.iter().for_each(is_known);
            } else if one.items.get(&then) != other.items.get(&now) {
                way.iter().chain([&now]).for_each(is_known);
            }
            if then == now && kind == FileKind::Directory {
                waiting.push((now, way.clone()));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn prop_what_differs_is_known_with_the_way_to_it(steps in proptest::collection::vec(step(), 1..80)) {
        let mut home = Home::new();
        for step in &steps {
            home.step(step);
        }
        let moments = home.moments();
        let seen: Vec<Seen> = moments.iter().map(|moment| Seen::of(&home.rig, moment)).collect();
        for (one, then) in moments.iter().zip(&seen) {
            for (other, now) in moments.iter().zip(&seen) {
                let touched = other.touched(one).unwrap();
                let all: BTreeSet<Vnode> = then.items.keys().chain(now.items.keys()).copied().collect();
                let differing = all.into_iter().filter(|vnode| then.items.get(vnode) != now.items.get(vnode));
                let differing: BTreeSet<Vnode> = differing.collect();
                prop_assert!(differing.is_subset(&touched.changed), "{differing:?} {touched:?}");
                walk(then, now, &touched);
            }
        }
        // Where checkpoints have written all of it, nothing else is named.
        home.rig.checkpoint();
        for (one, then) in home.moments().iter().zip(&seen) {
            for (other, now) in home.moments().iter().zip(&seen) {
                let changed = other.touched(one).unwrap().changed;
                prop_assert!(changed.iter().all(|vnode| then.items.get(vnode) != now.items.get(vnode)));
            }
        }
    }
}

#[test]
fn difference_with_a_snapshot_that_was_deleted_is_stale() {
    let mut home = Home::new();
    for step in [Step::Create(0, 0), Step::Snapshot, Step::Create(0, 1)] {
        home.step(&step);
    }
    let then = home.fileset.at(home.snapshots[0]).unwrap();
    assert_eq!(home.fileset.touched(&then).unwrap().changed.len(), 2);
    home.fileset
        .delete_snapshot(&op(0, 0), home.snapshots[0])
        .unwrap()
        .answer
        .unwrap();
    assert_eq!(home.fileset.touched(&then).unwrap_err().kind, baton_types::Kind::Stale);
}
