//! What differs between two moments, against a comparison of all that is in both.

use std::collections::{BTreeMap, BTreeSet};

use baton_types::{Fid, FileName, FilesetId, Timestamp, Vnode};
use proptest::prelude::*;

use super::rig::{Rig, header, op};
use crate::aggregate::{Comparison, Differing, Fileset, Namesake, Need, Pair, Renames, Step as Compared, Touched};
use crate::file;
use crate::fileset::{
    Birth, Holders, Names, Object, Onto, Place, SetAttributes, SetXattr, create, link, lookup, mkdir, rename, rmdir,
    set_xattr, setattr, unlink,
};
use crate::format::{Attributes, FileKind, Key, KeyKind, Lsn, NameEntry};
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
    Write(usize, usize),
    Hang(usize, usize),
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
        3 => at().prop_map(|(directory, name)| Step::Write(directory, name)),
        2 => at().prop_map(|(directory, name)| Step::Hang(directory, name)),
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

    fn write(&mut self, place: Place<'_>) {
        let names = self.fileset.names();
        if let Ok(there) = self.fileset.read(|view| lookup(view, &names, place)) {
            self.next += 1;
            let written = file::write(&self.fileset, &op(0, 0), there.fid, 0, &self.next.to_le_bytes());
            drop(written.unwrap().answer); // refused by what is no file
        }
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
            Step::Write(directory, name) => self.write(place((directory, name))),
            Step::Hang(directory, name) => {
                let value = self.next.to_le_bytes();
                self.act(|t, n| {
                    let file = lookup(t, n, place((directory, name)))?;
                    set_xattr(t, n, file.fid, (b"user.x", &value), SetXattr::Always)
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
            let is_known = |vnode: &Vnode| {
                let is_known = touched.changed.contains(vnode) || touched.may_be_below(*vnode);
                assert!(is_known, "{vnode:?}: {touched:?}");
            };
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

impl Seen {
    /// All paths, each with its vnode; the root's is empty.
    fn paths(&self) -> BTreeMap<Vec<u8>, Vnode> {
        let mut found = BTreeMap::from([(Vec::new(), Vnode::ROOT)]);
        let mut waiting = vec![(Vec::new(), Vnode::ROOT)];
        while let Some((path, directory)) = waiting.pop() {
            for (name, (vnode, kind)) in self.names.get(&directory).into_iter().flatten() {
                let path = below(&path, name);
                found.insert(path.clone(), *vnode);
                if *kind == FileKind::Directory {
                    waiting.push((path, *vnode));
                }
            }
        }
        found
    }

    fn attributes(&self, vnode: Vnode) -> Attributes {
        Attributes::decode(&self.items[&vnode][&Key::attributes(vnode)]).unwrap()
    }

    fn kind(&self, vnode: Vnode) -> FileKind {
        FileKind::from_mode(self.attributes(vnode).mode).unwrap()
    }

    fn xattrs(&self, vnode: Vnode) -> Vec<(&Key, &Vec<u8>)> {
        let items = self.items[&vnode].iter();
        items.filter(|(key, _)| key.kind == KeyKind::Xattr).collect()
    }
}

/// In what one thing differs between two moments, by all that is known of it.
fn differing(one: (&Seen, Vnode), other: (&Seen, Vnode)) -> Differing {
    let [then, now] = [one, other].map(|(seen, vnode)| seen.attributes(vnode));
    let is_directory = one.0.kind(one.1) == FileKind::Directory;
    let of = |attributes: &Attributes| {
        let modified = (!is_directory).then_some(attributes.modified);
        (
            attributes.mode,
            attributes.uid,
            attributes.gid,
            attributes.acl,
            modified,
        )
    };
    let data = |(seen, vnode): (&Seen, Vnode)| {
        let items = seen.items[&vnode].iter();
        let data = items.filter(|(key, _)| matches!(key.kind, KeyKind::Inline | KeyKind::Extent));
        data.map(|(key, value)| (key.kind, key.sub, value.clone()))
            .collect::<Vec<_>>()
    };
    let xattrs = |(seen, vnode): (&Seen, Vnode)| {
        let xattrs = seen.xattrs(vnode).into_iter();
        xattrs.map(|(key, value)| (key.sub, value.clone())).collect::<Vec<_>>()
    };
    Differing {
        is_renamed: false,
        is_content: !is_directory && (one.1 != other.1 || data(one) != data(other)),
        is_attributes: of(&then) != of(&now) || xattrs(one) != xattrs(other),
    }
}

/// What a comparison told, by paths.
#[derive(Debug, Default)]
struct Told {
    gone: BTreeSet<Vec<u8>>,
    come: BTreeSet<Vec<u8>>,
    renamed: BTreeMap<Vec<u8>, Vec<u8>>,
    /// By the later path.
    differing: BTreeMap<Vec<u8>, Differing>,
}

impl Told {
    fn of(one: &Fileset, other: &Fileset, renames: Renames) -> Told {
        let mut comparison = Comparison::new(one, other, renames).unwrap();
        comparison.begin(b"").unwrap();
        let (mut told, mut depth) = (Told::default(), 0);
        for step in comparison {
            let pair = match step.unwrap() {
                Compared::Leave => {
                    depth -= 1;
                    continue;
                }
                Compared::Enter(pair) => {
                    depth += 1;
                    pair
                }
                Compared::File(pair) => pair,
            };
            assert!(told.note(pair), "a path was told twice");
        }
        assert_eq!(depth, 0, "a directory that was entered is left");
        told
    }

    fn note(&mut self, pair: Pair) -> bool {
        let paths = (pair.from.map(|found| found.path), pair.to.map(|found| found.path));
        let (from, to) = match paths {
            (Some(from), Some(to)) => (from, to),
            (Some(from), None) => return self.gone.insert(from),
            (None, to) => return self.come.insert(to.unwrap()),
        };
        let differing = Differing {
            is_renamed: false,
            ..pair.differing
        };
        if differing != Differing::default() {
            self.differing.insert(to.clone(), differing);
        }
        !pair.differing.is_renamed || self.renamed.insert(from, to).is_none()
    }

    /// Where something is that was at `path`.
    fn now(&self, path: &[u8]) -> Vec<u8> {
        if let Some(now) = self.renamed.get(path) {
            return now.clone();
        }
        match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => below(&self.now(&path[..at]), &path[at + 1..]),
            None => path.to_vec(),
        }
    }

    /// Holds it against all that is in both: what did not go is where it was told, what did not come was there, and
    /// what differs is what was told so.
    fn check(&self, one: &Seen, other: &Seen) {
        let (then, now) = (one.paths(), other.paths());
        let kept = then.iter().filter(|(path, _)| !self.gone.contains(*path));
        let kept: BTreeMap<Vec<u8>, Vnode> = kept.map(|(path, vnode)| (self.now(path), *vnode)).collect();
        assert_eq!(kept.len() + self.gone.len(), then.len(), "{self:?}");
        let there = now.iter().filter(|(path, _)| !self.come.contains(*path));
        let there: BTreeMap<Vec<u8>, Vnode> = there.map(|(path, vnode)| (path.clone(), *vnode)).collect();
        assert_eq!(there.len() + self.come.len(), now.len(), "{self:?}");
        assert!(kept.keys().eq(there.keys()), "{self:?}");
        for (path, vnode) in &there {
            let old = kept[path];
            assert_eq!(one.kind(old), other.kind(*vnode));
            let told = self.differing.get(path).copied().unwrap_or_default();
            assert_eq!(told, differing((one, old), (other, *vnode)), "{path:?} {self:?}");
        }
        for (old, new) in &self.renamed {
            assert_eq!(then[old], now[new], "{self:?}");
            assert!(now.get(old) != Some(&then[old]), "{self:?}");
        }
    }
}

fn below(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path {
        [] => name.to_vec(),
        _ => [path, b"/", name].concat(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn prop_comparison_tells_what_brute_force_finds(steps in proptest::collection::vec(step(), 1..80)) {
        let mut home = Home::new();
        for step in &steps {
            home.step(step);
        }
        let moments = home.moments();
        let seen: Vec<Seen> = moments.iter().map(|moment| Seen::of(&home.rig, moment)).collect();
        for (one, then) in moments.iter().zip(&seen) {
            for (other, now) in moments.iter().zip(&seen) {
                Told::of(one, other, Renames::Told).check(then, now);
                let apart = Told::of(one, other, Renames::Apart);
                prop_assert!(apart.renamed.is_empty());
                apart.check(then, now);
            }
        }
    }

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

#[test]
fn what_was_renamed_is_told_as_one_wherever_it_came_from() {
    let mut home = Home::new();
    // Two directories, a and b; in a a file c and a directory d with a file in it.
    for step in [
        Step::Mkdir(0, 0),
        Step::Mkdir(0, 1),
        Step::Create(1, 2),
        Step::Mkdir(1, 3),
        Step::Create(3, 4),
        Step::Create(0, 5),
        Step::Snapshot,
        // The file from a to b, its directory d within a; what is in d changes, and is not renamed.
        Step::Rename((1, 2), (2, 0)),
        Step::Rename((1, 3), (1, 0)),
        Step::Write(3, 4),
        // Another file in the place of one is that place's.
        Step::Unlink(0, 5),
        Step::Create(0, 5),
    ] {
        home.step(&step);
    }
    let then = home.fileset.at(home.snapshots[0]).unwrap();
    let told = Told::of(&then, &home.fileset, Renames::Told);
    let path = |text: &str| text.as_bytes().to_vec();
    let renamed = BTreeMap::from([(path("a/c"), path("b/a")), (path("a/d"), path("a/a"))]);
    assert_eq!((&told.renamed, told.gone.len(), told.come.len()), (&renamed, 0, 0));
    let content = told.differing.iter().filter(|(_, differing)| differing.is_content);
    assert!(
        content.map(|(path, _)| path.clone()).eq([path("a/a/e"), path("f")]),
        "{told:?}"
    );
    let apart = Told::of(&then, &home.fileset, Renames::Apart);
    assert!(
        apart.gone.contains(&path("a/d/e")) && apart.come.contains(&path("a/a/e")),
        "{apart:?}"
    );
}

#[test]
fn comparison_ends_with_an_error_when_its_snapshot_is_deleted() {
    let mut home = Home::new();
    for step in [
        Step::Mkdir(0, 0),
        Step::Create(1, 0),
        Step::Snapshot,
        Step::Create(1, 1),
    ] {
        home.step(&step);
    }
    let then = home.fileset.at(home.snapshots[0]).unwrap();
    let mut comparison = Comparison::new(&then, &home.fileset, Renames::Told).unwrap();
    assert_eq!(comparison.begin(b"x/y").unwrap_err().kind, baton_types::Kind::NotFound);
    comparison.begin(b"").unwrap();
    assert!(matches!(comparison.next(), Some(Ok(Compared::Enter(_)))));
    let deleted = home.fileset.delete_snapshot(&op(0, 0), home.snapshots[0]);
    deleted.unwrap().answer.unwrap();
    let error = comparison.next().unwrap().unwrap_err();
    assert_eq!(error.kind, baton_types::Kind::Stale);
    assert!(comparison.next().is_none());
}
