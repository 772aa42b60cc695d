//! Random operations, each held against the model; then a walk through all there is.

use std::collections::{BTreeMap, BTreeSet};

use baton_types::{Fid, FileName, FilesetId, Kind, Timestamp, Vnode};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::model::{Answer, At, Id, Inode, Model, New};
use super::sandbox::{FILESET, name};
use super::stack::Stack;
use crate::fileset::attributes::{load, save};
use crate::fileset::{
    Birth, Cookie, Holders, Names, Object, Onto, Place, Progress, Room, SetAttributes, SetXattr, create,
    create_mount_point, get_xattr, getattr, link, list_xattrs, lookup, make_root, mkdir, mknod, orphans, read_acl,
    read_mount_point, readdirplus, readlink, remove_mount_point, remove_step, remove_xattr, rename, rmdir, set_acl,
    set_xattr, setattr, symlink, unlink,
};
use crate::format::{Attributes, Checksum, Extent, FileKind, HashKey, Key, Lsn, MountPoint, Orphan};
use crate::transaction::{Operation, Transaction};
use crate::tree::Stop;

/// Which of the files made so far.
type Slot = u16;
/// Which of a few names.
type Text = u8;

#[derive(Clone, Debug)]
enum Act {
    Make(Slot, Text, New, Reuse),
    Link(Slot, Text, Slot),
    Unlink(Slot, Text, Holders),
    Rmdir(Slot, Text, Holders),
    RemoveMountPoint(Slot, Text),
    Rename((Slot, Text), (Slot, Text), Onto),
    Set(Slot, SetAttributes, Option<Vec<u8>>),
    SetXattr(Slot, Text, Vec<u8>, SetXattr),
    RemoveXattr(Slot, Text),
    Grow(Slot, u64),
    Step(Slot),
    Lookup(Slot, Text),
    Freeze,
    Merge,
}

/// Whether a new file comes with a vnode that was used before.
#[derive(Clone, Copy, Debug)]
enum Reuse {
    No,
    Of(Slot),
}

fn new() -> impl Strategy<Value = New> {
    let kind = prop_oneof![
        6 => Just(FileKind::Directory),
        4 => Just(FileKind::Regular),
        2 => proptest::sample::select(FileKind::ALL.to_vec()),
    ];
    let target = prop_oneof![4 => 1_usize..20, 1 => 1_usize..4_096];
    (kind, target, any::<u64>(), any::<u32>(), acl()).prop_map(|(kind, target, device, mode, acl)| New {
        kind,
        target: vec![b't'; target],
        device,
        mount: MountPoint::Regular(FilesetId(device | 1)),
        mode,
        acl,
    })
}

fn acl() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => Just(0), 1 => 0_u16..4].prop_map(|index| vec![index as u8; usize::from(index) * 1_500])
}

fn set() -> impl Strategy<Value = SetAttributes> {
    let time = || proptest::option::of(any::<i64>().prop_map(Timestamp));
    let number = || proptest::option::of(any::<u32>());
    (number(), number(), number(), time(), time()).prop_map(|(mode, uid, gid, accessed, modified)| SetAttributes {
        mode,
        uid,
        gid,
        accessed,
        modified,
    })
}

fn holders() -> impl Strategy<Value = Holders> {
    proptest::sample::select(vec![Holders::Nobody, Holders::Somebody])
}

fn onto() -> impl Strategy<Value = Onto> {
    prop_oneof![4 => holders().prop_map(Onto::Anything), 1 => Just(Onto::Nothing), 2 => Just(Onto::Exchange)]
}

fn act() -> impl Strategy<Value = Act> {
    let slot = any::<Slot>;
    let text = || 0..8_u8;
    let place = move || (slot(), text());
    let reuse = prop_oneof![20 => Just(Reuse::No), 1 => slot().prop_map(Reuse::Of)];
    let how = proptest::sample::select(vec![SetXattr::Always, SetXattr::Create, SetXattr::Replace]);
    let value = prop_oneof![8 => 0..40_usize, 1 => 1_900..6_000_usize, 1 => Just(65_536)].prop_map(|len| vec![7; len]);
    prop_oneof![
        12 => (slot(), text(), new(), reuse).prop_map(|(d, n, new, reuse)| Act::Make(d, n, new, reuse)),
        3 => (slot(), text(), slot()).prop_map(|(d, n, f)| Act::Link(d, n, f)),
        4 => (slot(), text(), holders()).prop_map(|(d, n, h)| Act::Unlink(d, n, h)),
        3 => (slot(), text(), holders()).prop_map(|(d, n, h)| Act::Rmdir(d, n, h)),
        1 => (slot(), text()).prop_map(|(d, n)| Act::RemoveMountPoint(d, n)),
        12 => (place(), place(), onto()).prop_map(|(s, t, o)| Act::Rename(s, t, o)),
        2 => (slot(), set(), proptest::option::of(acl())).prop_map(|(f, s, a)| Act::Set(f, s, a)),
        4 => (slot(), text(), value, how).prop_map(|(f, n, v, h)| Act::SetXattr(f, n, v, h)),
        1 => (slot(), text()).prop_map(|(f, n)| Act::RemoveXattr(f, n)),
        2 => (slot(), 1_u64..80).prop_map(|(f, n)| Act::Grow(f, n)),
        2 => slot().prop_map(Act::Step),
        3 => (slot(), text()).prop_map(|(d, n)| Act::Lookup(d, n)),
        1 => Just(Act::Freeze),
        1 => Just(Act::Merge),
    ]
}

struct Pair {
    store: Stack,
    model: Model,
    names: Names,
    /// Every file that was ever made.
    made: Vec<Id>,
    /// Those that are directories.
    directories: Vec<Id>,
}

fn fid((vnode, unique): Id) -> Fid {
    Fid {
        fileset: FILESET,
        vnode: Vnode::new(vnode).unwrap(),
        unique,
    }
}

fn text(index: Text) -> FileName {
    name(format!("name-{index}"))
}

impl Pair {
    fn new(names: Names) -> Pair {
        let (store, model) = (Stack::new(), Model::new(names));
        let mut pair = Pair {
            store,
            model,
            names,
            made: Vec::new(),
            directories: Vec::new(),
        };
        let birth = Birth { mode: 0o755, acl: &[] };
        let operation = pair.operation(1);
        let root = pair
            .store
            .change(&operation, |t| make_root(t, &names, FILESET, birth))
            .unwrap();
        let id = (1, root.fid.unique);
        let root = root.attributes;
        let time = root.created.0;
        pair.model.inodes.insert(
            1,
            Inode {
                kind: FileKind::Directory,
                mode: 0o755,
                uid: 11,
                gid: 12,
                links: 2,
                version: 1,
                unique: id.1,
                accessed: time,
                modified: time,
                changed: time,
                created: time,
                parent: None,
                device: 0,
                acl: Vec::new(),
                target: Vec::new(),
                mount: None,
                names: BTreeMap::new(),
                xattrs: BTreeMap::new(),
                extents: 0,
                removing: None,
            },
        );
        pair.made.push(id);
        pair.directories.push(id);
        pair
    }

    /// The next operation; it makes `vnode`.
    fn operation(&mut self, vnode: u64) -> Operation {
        self.model.now += 1;
        let now = self.model.now;
        Operation {
            vnode: Vnode::new(vnode).ok(),
            unique: now.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15),
            time: Timestamp(now),
            uid: 11,
            gid: 12,
            ..Operation::default()
        }
    }

    /// Any file; now and then a FID that is wrong.
    fn file(&self, slot: Slot) -> Id {
        let (vnode, unique) = self.made[usize::from(slot / 32) % self.made.len()];
        (vnode, if slot % 32 == 0 { unique ^ 1 } else { unique })
    }

    /// Most often a directory.
    fn directory(&self, slot: Slot) -> Id {
        match slot % 32 {
            0..2 => self.file(slot),
            _ => self.directories[usize::from(slot / 32) % self.directories.len()],
        }
    }

    /// A place that most often has something in it.
    fn taken(&self, slot: Slot, index: Text) -> (Id, FileName) {
        let directories = self
            .model
            .inodes
            .iter()
            .flat_map(|(vnode, inode)| inode.names.keys().map(move |name| ((*vnode, inode.unique), name)));
        let taken: Vec<_> = directories.collect();
        match taken.get(usize::from(slot / 8) % taken.len().max(1)) {
            Some((directory, name)) if slot % 8 < 6 => (*directory, FileName::parse(name).unwrap()),
            _ => (self.directory(slot), text(index)),
        }
    }

    fn done(
        &mut self,
        operation: &Operation,
        make: impl Fn(&mut Transaction<'_>, &Names) -> Result<Object, Stop>,
        expected: &Answer,
    ) -> bool {
        let names = self.names;
        let answer = self.store.change(operation, |t| make(t, &names));
        let answer = answer.map(|object| self.as_inode(object.fid.vnode.number(), &object.attributes));
        let expected = expected.as_ref().map(|(vnode, inode)| (*vnode, plain(inode)));
        assert_eq!(answer, expected.map_err(|kind| *kind));
        answer.is_ok()
    }

    /// Attributes as the model has them.
    fn as_inode(&self, vnode: u64, of: &Attributes) -> (u64, Plain) {
        let acl = self.store.read(|view| read_acl(view, of.acl)).unwrap();
        (
            vnode,
            Plain {
                numbers: [of.mode, of.uid, of.gid, of.links],
                size: of.size,
                blocks: of.blocks,
                version: of.data_version,
                times: [of.accessed, of.modified, of.changed, of.created].map(|time| time.0),
                parent: of.parent.map(Vnode::number),
                device: of.device,
                acl: acl.to_vec(),
            },
        )
    }

    fn make(&mut self, directory: Id, name: &FileName, new: &New, reuse: Reuse) {
        let vnode = match reuse {
            Reuse::No => 100 + self.made.len() as u64,
            Reuse::Of(slot) => self.file(slot).0,
        };
        let operation = self.operation(vnode);
        // A vnode is never given out twice; the store only sees that one is in use.
        if matches!(reuse, Reuse::Of(_)) && !self.model.inodes.contains_key(&vnode) {
            return;
        }
        let at = (directory, name.as_bytes());
        let expected = self.model.make(at, (Some(vnode), operation.unique), new);
        let place = Place {
            directory: fid(directory),
            name,
        };
        let birth = Birth {
            mode: new.mode,
            acl: &new.acl,
        };
        let made = self.done(
            &operation,
            |t, names| match new.kind {
                FileKind::Regular => create(t, names, place, birth),
                FileKind::Directory => mkdir(t, names, place, birth),
                FileKind::Symlink => symlink(t, names, place, birth, &new.target),
                FileKind::MountPoint => create_mount_point(t, names, place, birth, new.mount),
                kind => mknod(t, names, place, birth, (kind, new.device)),
            },
            &expected,
        );
        if made {
            self.made.push((vnode, operation.unique));
            if new.kind == FileKind::Directory {
                self.directories.push((vnode, operation.unique));
            }
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Make(directory, index, new, reuse) => {
                self.make(self.directory(*directory), &text(*index), new, *reuse);
            }
            Act::Link(directory, index, file) => {
                let (directory, name, file) = (self.directory(*directory), text(*index), self.file(*file));
                let operation = self.operation(0);
                let expected = self.model.link((directory, name.as_bytes()), file);
                let place = Place {
                    directory: fid(directory),
                    name: &name,
                };
                self.done(&operation, |t, names| link(t, names, place, fid(file)), &expected);
            }
            Act::Unlink(directory, index, holders) => self.removal(
                (*directory, *index),
                |model, at| model.unlink(at, *holders),
                |t, names, place| unlink(t, names, place, *holders),
            ),
            Act::Rmdir(directory, index, holders) => self.removal(
                (*directory, *index),
                |model, at| model.rmdir(at, *holders),
                |t, names, place| rmdir(t, names, place, *holders),
            ),
            Act::RemoveMountPoint(directory, index) => {
                self.removal((*directory, *index), Model::remove_mount_point, remove_mount_point);
            }
            Act::Rename(source, target, onto) => self.rename(*source, *target, *onto),
            Act::Set(file, set, acl) => {
                let (file, operation) = (self.file(*file), self.operation(0));
                let expected = self.model.set(file, set, acl.as_deref());
                let make = |t: &mut Transaction<'_>, names: &Names| match acl {
                    Some(acl) => set_acl(t, names, fid(file), acl, set),
                    None => setattr(t, fid(file), set),
                };
                self.done(&operation, make, &expected);
            }
            Act::SetXattr(file, index, value, how) => {
                let (file, name, operation) = (self.file(*file), text(*index), self.operation(0));
                let pair = (name.as_bytes(), &value[..]);
                let expected = self.model.set_xattr(file, pair, *how);
                self.done(
                    &operation,
                    |t, names| set_xattr(t, names, fid(file), pair, *how),
                    &expected,
                );
            }
            Act::RemoveXattr(file, index) => {
                let (file, name, operation) = (self.file(*file), text(*index), self.operation(0));
                let expected = self.model.remove_xattr(file, name.as_bytes());
                self.done(
                    &operation,
                    |t, names| remove_xattr(t, names, fid(file), name.as_bytes()),
                    &expected,
                );
            }
            Act::Grow(file, count) => {
                let (file, operation) = (self.file(*file), self.operation(0));
                let expected = self.model.grow(file, *count);
                self.done(&operation, |t, _| grow(t, fid(file), *count), &expected);
            }
            Act::Step(file) => self.step(self.file(*file).0),
            Act::Lookup(directory, index) => {
                let (directory, name) = (self.directory(*directory), text(*index));
                let place = Place {
                    directory: fid(directory),
                    name: &name,
                };
                let found = self.store.read(|view| lookup(view, &self.names, place));
                let expected = self.model.lookup((directory, name.as_bytes()));
                assert_eq!(found.map(|object| object.fid.vnode.number()), expected);
            }
            Act::Freeze => self.store.freeze(),
            Act::Merge => self.store.merge(),
        }
    }

    fn removal(
        &mut self,
        (directory, index): (Slot, Text),
        model: impl Fn(&mut Model, At<'_>) -> Answer,
        store: impl Fn(&mut Transaction<'_>, &Names, Place<'_>) -> Result<Object, Stop>,
    ) {
        let operation = self.operation(0);
        let (directory, name) = self.taken(directory, index);
        let expected = model(&mut self.model, (directory, name.as_bytes()));
        let place = Place {
            directory: fid(directory),
            name: &name,
        };
        self.done(&operation, |t, names| store(t, names, place), &expected);
    }

    fn rename(&mut self, source: (Slot, Text), target: (Slot, Text), onto: Onto) {
        let operation = self.operation(0);
        let source = self.taken(source.0, source.1);
        let target = match target.0 % 2 {
            0 => self.taken(target.0, target.1),
            _ => (self.directory(target.0), text(target.1)),
        };
        let places = [&source, &target].map(|(directory, name)| Place {
            directory: fid(*directory),
            name,
        });
        let expected = self
            .model
            .rename((source.0, source.1.as_bytes()), (target.0, target.1.as_bytes()), onto);
        self.done(
            &operation,
            |t, names| rename(t, names, places[0], places[1], onto),
            &expected,
        );
    }

    /// A step of the background's: never for a file with a name, which then does nothing.
    fn step(&mut self, vnode: u64) {
        let operation = self.operation(0);
        self.model.step(vnode);
        let progress = self
            .store
            .change(&operation, |t| remove_step(t, Vnode::new(vnode).unwrap()))
            .unwrap();
        let left = self
            .model
            .inodes
            .get(&vnode)
            .is_some_and(|inode| inode.removing.is_some());
        assert_eq!(progress == Progress::More, left);
    }

    fn check(&self) {
        for &id in &self.made {
            match self.model.load(id) {
                Ok(inode) => self.check_file(id, inode),
                Err(kind) => assert_eq!(self.store.read(|view| getattr(view, fid(id))), Err(kind)),
            }
        }
        self.check_links();
        self.check_usage();
    }

    /// One file, and all that can be asked of it.
    fn check_file(&self, id: Id, inode: &Inode) {
        let object = self.store.read(|view| getattr(view, fid(id))).unwrap();
        assert_eq!(self.as_inode(id.0, &object.attributes).1, plain(inode));
        let names = self.store.read(|view| list_xattrs(view, fid(id))).unwrap();
        assert_eq!(names.iter().collect::<BTreeSet<_>>(), inode.xattrs.keys().collect());
        assert_eq!(names.len(), inode.xattrs.len());
        for (name, value) in &inode.xattrs {
            assert_eq!(
                &self
                    .store
                    .read(|view| get_xattr(view, &self.names, fid(id), name))
                    .unwrap(),
                value
            );
        }
        let target = self.store.read(|view| readlink(view, fid(id)));
        let is_link = inode.kind == FileKind::Symlink;
        assert_eq!(
            target.map(Vec::from),
            if is_link {
                Ok(inode.target.clone())
            } else {
                Err(Kind::Invalid)
            }
        );
        assert_eq!(
            self.store.read(|view| read_mount_point(view, fid(id))),
            inode.mount.ok_or(Kind::Invalid)
        );
        if inode.kind == FileKind::Directory {
            assert_eq!(self.entries(id), inode.names);
        }
    }

    /// A directory's names, a few at a time; each with what it leads to.
    fn entries(&self, id: Id) -> BTreeMap<Vec<u8>, u64> {
        let (mut entries, mut from) = (BTreeMap::new(), Cookie::START);
        let room = Room {
            names: 3,
            bytes: usize::MAX,
        };
        loop {
            let page = self.store.read(|view| readdirplus(view, fid(id), from, room)).unwrap();
            for listed in page.names {
                let object = self.store.read(|view| getattr(view, listed.fid)).unwrap();
                assert_eq!(listed.attributes, Some(object.attributes));
                assert_eq!(FileKind::from_mode(object.attributes.mode), Some(listed.kind));
                assert_eq!(
                    entries.insert(listed.name, listed.fid.vnode.number()),
                    None,
                    "a name listed twice"
                );
            }
            match page.next {
                Some(next) => from = next,
                None => return entries,
            }
        }
    }

    /// From the root downwards: every file with a name is met as often as it has links, and no other is.
    fn check_links(&self) {
        let mut met: BTreeMap<u64, u32> = BTreeMap::new();
        let mut waiting = vec![self.made[0]];
        while let Some(id) = waiting.pop() {
            for vnode in self.entries(id).into_values() {
                *met.entry(vnode).or_default() += 1;
                let inode = &self.model.inodes[&vnode];
                if inode.kind == FileKind::Directory {
                    assert_eq!(met[&vnode], 1, "a directory with two names");
                    waiting.push((vnode, inode.unique));
                }
                if matches!(inode.kind, FileKind::Directory | FileKind::MountPoint) {
                    assert_eq!(inode.parent, Some(id.0));
                }
            }
        }
        let mut nameless = Vec::new();
        for (vnode, inode) in &self.model.inodes {
            match (inode.links, inode.kind) {
                (0, _) => nameless.push((*vnode, inode.removing.is_some())),
                (_, FileKind::Directory) => assert_eq!(met.contains_key(vnode), *vnode != 1),
                (links, _) => assert_eq!(met.get(vnode), Some(&links)),
            }
        }
        let found = self.store.read(|view| orphans(view, None, usize::MAX)).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|o| (o.vnode.number(), o.orphan != Orphan::Held))
            .collect();
        assert_eq!(found, nameless);
    }

    fn check_usage(&self) {
        let usage = self.store.usage;
        assert_eq!(usage, self.store.recount());
        assert_eq!(usage.files, self.model.inodes.len() as u64);
        assert_eq!(usage.bytes, self.model.bytes());
        let held: u64 = self.model.inodes.values().map(|inode| inode.extents * 2).sum();
        assert_eq!(
            self.store.taken() - self.store.freed.len() as u64,
            held,
            "blocks lost, or freed while in use"
        );
    }
}

/// Attributes, for comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plain {
    numbers: [u32; 4],
    size: u64,
    blocks: u64,
    version: u64,
    times: [i64; 4],
    parent: Option<u64>,
    device: u64,
    acl: Vec<u8>,
}

fn plain(inode: &Inode) -> Plain {
    Plain {
        numbers: [inode.mode | inode.kind.mode(), inode.uid, inode.gid, inode.links],
        size: Model::size(inode),
        blocks: inode.extents * 2,
        version: inode.version,
        times: [inode.accessed, inode.modified, inode.changed, inode.created],
        parent: inode.parent,
        device: inode.device,
        acl: inode.acl.clone(),
    }
}

/// Gives a file `count` more extents of two blocks each, as a writer would.
pub fn grow(transaction: &mut Transaction<'_>, fid: Fid, count: u64) -> Result<Object, Stop> {
    let mut attributes = load(transaction, fid)?;
    for _ in 0..count {
        let run = transaction.allocate(2)?[0];
        let extent = Extent {
            flags: 0,
            unit_shift: 12,
            block: run.block,
            count: 2,
            birth: Lsn(0),
            checksums: vec![Checksum([7; 16]); 2],
        };
        transaction.put(Key::extent(fid.vnode, attributes.blocks), extent.encode());
        attributes.blocks += 2;
        transaction.usage().bytes += 2 * 4_096;
    }
    save(transaction, fid.vnode, &attributes);
    Ok(Object { fid, attributes })
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn prop_operations_equal_a_model_file_system(
        acts in proptest::collection::vec(act(), 1..300),
        mask in proptest::sample::select(vec![u64::MAX, 0x30]),
    ) {
        let mut pair = Pair::new(Names::cut(HashKey([9; 16]), mask));
        for (index, act) in acts.iter().enumerate() {
            pair.act(act);
            if index % 64 == 63 {
                pair.check();
            }
        }
        pair.check();
        prop_assert!(pair.model.inodes.contains_key(&1));
        prop_assert_eq!(pair.store.usage.files, pair.model.inodes.len() as u64);
    }
}
