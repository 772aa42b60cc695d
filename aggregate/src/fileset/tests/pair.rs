//! An operation done twice: by the store, and by the model.

use baton_types::{Fid, FileName, Timestamp, Vnode};

use super::acts::{Act, Reuse, Slot, Text};
use super::model::{Answer, At, Id, Inode, Model, New};
use super::sandbox::{FILESET, name};
use super::stack::Stack;
use crate::fileset::attributes::{load, save};
use crate::fileset::{
    Birth, Names, Object, Onto, Place, Progress, SetAttributes, create, create_mount_point, link, lookup, make_root,
    mkdir, mknod, read_acl, remove_mount_point, remove_step, remove_xattr, rename, rmdir, set_acl, set_xattr, setattr,
    symlink, unlink,
};
use crate::format::{Attributes, Checksum, Extent, FileKind, Key, Lsn};
use crate::transaction::{Operation, Transaction};
use crate::tree::Stop;

/// The store and the model, side by side.
pub struct Pair {
    pub store: Stack,
    pub model: Model,
    pub names: Names,
    /// Every file that was ever made.
    pub made: Vec<Id>,
    /// Those that are directories.
    directories: Vec<Id>,
}

pub fn fid((vnode, unique): Id) -> Fid {
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
    pub fn new(names: Names) -> Pair {
        let (store, model) = (Stack::new(), Model::new(names));
        let mut pair = Pair {
            store,
            model,
            names,
            made: Vec::new(),
            directories: Vec::new(),
        };
        let operation = pair.operation(1);
        let birth = Birth { mode: 0o755, acl: &[] };
        let root = pair
            .store
            .change(&operation, |t| make_root(t, &names, FILESET, birth))
            .unwrap();
        pair.model.make_root(root.fid.unique);
        let id = (1, root.fid.unique);
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
        (vnode, if slot.is_multiple_of(32) { unique ^ 1 } else { unique })
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
        let answer = answer.map(|object| self.as_plain(object.fid.vnode.number(), &object.attributes));
        let expected = expected.as_ref().map(|(vnode, inode)| (*vnode, plain(inode)));
        assert_eq!(answer, expected.map_err(|kind| *kind));
        answer.is_ok()
    }

    /// Attributes as the model has them.
    pub fn as_plain(&self, vnode: u64, of: &Attributes) -> (u64, Plain) {
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

    pub fn act(&mut self, act: &Act) {
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
            Act::Set(file, set, acl) => self.set(*file, set, acl.as_deref()),
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
            Act::Lookup(directory, index) => self.lookup(*directory, *index),
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

    fn set(&mut self, file: Slot, set: &SetAttributes, acl: Option<&[u8]>) {
        let (file, operation) = (self.file(file), self.operation(0));
        let expected = self.model.set(file, set, acl);
        let make = |t: &mut Transaction<'_>, names: &Names| match acl {
            Some(acl) => set_acl(t, names, fid(file), acl, set),
            None => setattr(t, fid(file), set),
        };
        self.done(&operation, make, &expected);
    }

    fn lookup(&self, directory: Slot, index: Text) {
        let (directory, name) = self.taken(directory, index);
        let place = Place {
            directory: fid(directory),
            name: &name,
        };
        let found = self.store.read(|view| lookup(view, &self.names, place));
        let expected = self.model.lookup((directory, name.as_bytes()));
        assert_eq!(found.map(|object| object.fid.vnode.number()), expected);
    }
}

/// Attributes, for comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    numbers: [u32; 4],
    size: u64,
    blocks: u64,
    version: u64,
    times: [i64; 4],
    parent: Option<u64>,
    device: u64,
    acl: Vec<u8>,
}

pub fn plain(inode: &Inode) -> Plain {
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
fn grow(transaction: &mut Transaction<'_>, fid: Fid, count: u64) -> Result<Object, Stop> {
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
