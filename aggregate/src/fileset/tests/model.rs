//! A file system that fits on a page: maps, and the rules in plain words. What the store answers is held against it.

use std::collections::{BTreeMap, BTreeSet};

use baton_types::Kind;
use baton_types::limits::XATTRS_BYTES_MAX;

use crate::fileset::{Holders, Names, Onto, SetAttributes, SetXattr};
use crate::format::{FileKind, MountPoint};

/// A file as the model has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    pub kind: FileKind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u32,
    pub version: u64,
    pub unique: u64,
    pub accessed: i64,
    pub modified: i64,
    pub changed: i64,
    pub created: i64,
    pub parent: Option<u64>,
    pub device: u64,
    pub acl: Vec<u8>,
    pub target: Vec<u8>,
    pub mount: Option<MountPoint>,
    pub names: BTreeMap<Vec<u8>, u64>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of two blocks each.
    pub extents: u64,
    /// It has no name and nobody holds it: what is left of the pieces of its extended attributes.
    pub removing: Option<Vec<usize>>,
}

/// A file, as operations name it.
pub type Id = (u64, u64);
/// A directory, and a name in it.
pub type At<'a> = (Id, &'a [u8]);
/// What was done it to, and what that is now.
pub type Answer = Result<(u64, Inode), Kind>;

/// What a new file is to be.
#[derive(Clone, Debug)]
pub struct New {
    pub kind: FileKind,
    pub target: Vec<u8>,
    pub device: u64,
    pub mount: MountPoint,
    pub mode: u32,
    pub acl: Vec<u8>,
}

pub struct Model {
    pub inodes: BTreeMap<u64, Inode>,
    pub acls: BTreeSet<Vec<u8>>,
    /// For what lies together in pieces.
    names: Names,
    /// Of the operation that is being done.
    pub now: i64,
}

fn is_directory(kind: FileKind) -> bool {
    kind == FileKind::Directory || kind == FileKind::MountPoint
}

impl Model {
    pub fn new(names: Names) -> Model {
        Model {
            inodes: BTreeMap::new(),
            acls: BTreeSet::new(),
            names,
            now: 0,
        }
    }

    pub fn load(&self, (vnode, unique): Id) -> Result<&Inode, Kind> {
        self.inodes
            .get(&vnode)
            .filter(|inode| inode.unique == unique && inode.removing.is_none())
            .ok_or(Kind::Stale)
    }

    fn directory(&self, id: Id) -> Result<&Inode, Kind> {
        let inode = self.load(id)?;
        if inode.kind == FileKind::Directory {
            Ok(inode)
        } else {
            Err(Kind::NotDirectory)
        }
    }

    fn open_directory(&self, id: Id) -> Result<&Inode, Kind> {
        let inode = self.directory(id)?;
        if inode.links > 0 {
            Ok(inode)
        } else {
            Err(Kind::NotFound)
        }
    }

    pub fn lookup(&self, (directory, name): At<'_>) -> Result<u64, Kind> {
        self.directory(directory)?
            .names
            .get(name)
            .copied()
            .ok_or(Kind::NotFound)
    }

    fn of(&self, vnode: u64) -> Answer {
        Ok((vnode, self.inodes[&vnode].clone()))
    }

    fn inode(&mut self, vnode: u64) -> &mut Inode {
        self.inodes.get_mut(&vnode).unwrap()
    }

    /// Makes a name lead to `new`, or nowhere.
    fn enter(&mut self, (directory, name): At<'_>, new: Option<u64>) {
        let now = self.now;
        let of = &mut self.inode(directory.0).names;
        match new {
            Some(vnode) => of.insert(name.to_vec(), vnode),
            None => of.remove(name),
        };
        let directories = self.inodes[&directory.0]
            .names
            .values()
            .filter(|&v| is_directory(self.inodes[v].kind))
            .count();
        let inode = self.inode(directory.0);
        inode.links = 2 + directories as u32;
        inode.version += 1;
        (inode.modified, inode.changed) = (now, now);
    }

    pub fn make(&mut self, at: At<'_>, (vnode, unique): (Option<u64>, u64), new: &New) -> Answer {
        self.open_directory(at.0)?;
        if self.lookup(at).is_ok() {
            return Err(Kind::Exists);
        }
        let vnode = vnode
            .filter(|vnode| !self.inodes.contains_key(vnode))
            .ok_or(Kind::Invalid)?;
        let has = |kind: FileKind| new.kind == kind;
        let inode = Inode {
            mode: new.mode & 0o7777,
            parent: Some(at.0.0),
            device: if has(FileKind::Character) || has(FileKind::BlockDevice) {
                new.device
            } else {
                0
            },
            acl: new.acl.clone(),
            target: if has(FileKind::Symlink) {
                new.target.clone()
            } else {
                Vec::new()
            },
            mount: has(FileKind::MountPoint).then_some(new.mount),
            ..self.fresh(new.kind, unique)
        };
        self.inodes.insert(vnode, inode);
        self.acls.insert(new.acl.clone());
        self.enter(at, Some(vnode));
        self.of(vnode)
    }

    /// The root directory is vnode 1.
    pub fn make_root(&mut self, unique: u64) {
        let root = self.fresh(FileKind::Directory, unique);
        self.inodes.insert(1, root);
    }

    fn fresh(&self, kind: FileKind, unique: u64) -> Inode {
        Inode {
            kind,
            mode: 0o755,
            uid: 11,
            gid: 12,
            links: if kind == FileKind::Directory { 2 } else { 1 },
            version: 1,
            unique,
            accessed: self.now,
            modified: self.now,
            changed: self.now,
            created: self.now,
            parent: None,
            device: 0,
            acl: Vec::new(),
            target: Vec::new(),
            mount: None,
            names: BTreeMap::new(),
            xattrs: BTreeMap::new(),
            extents: 0,
            removing: None,
        }
    }

    pub fn link(&mut self, at: At<'_>, file: Id) -> Answer {
        self.open_directory(at.0)?;
        let inode = self.load(file)?;
        if is_directory(inode.kind) {
            return Err(Kind::NotOwner);
        }
        if inode.links == 0 {
            return Err(Kind::NotFound);
        }
        if self.lookup(at).is_ok() {
            return Err(Kind::Exists);
        }
        let now = self.now;
        let inode = self.inode(file.0);
        inode.links += 1;
        inode.changed = now;
        self.enter(at, Some(file.0));
        self.of(file.0)
    }

    pub fn unlink(&mut self, at: At<'_>, holders: Holders) -> Answer {
        let vnode = self.lookup(at)?;
        if is_directory(self.inodes[&vnode].kind) {
            return Err(Kind::IsDirectory);
        }
        self.enter(at, None);
        self.lose(vnode, holders)
    }

    pub fn rmdir(&mut self, at: At<'_>, holders: Holders) -> Answer {
        let vnode = self.lookup(at)?;
        self.removable(vnode)?;
        self.enter(at, None);
        self.lose(vnode, holders)
    }

    pub fn remove_mount_point(&mut self, at: At<'_>) -> Answer {
        let vnode = self.lookup(at)?;
        if self.inodes[&vnode].kind != FileKind::MountPoint {
            return Err(Kind::Invalid);
        }
        self.enter(at, None);
        self.lose(vnode, Holders::Nobody)
    }

    fn removable(&self, vnode: u64) -> Result<(), Kind> {
        let inode = &self.inodes[&vnode];
        match inode.kind {
            FileKind::MountPoint => Err(Kind::Busy),
            FileKind::Directory if inode.names.is_empty() => Ok(()),
            FileKind::Directory => Err(Kind::NotEmpty),
            _ => Err(Kind::NotDirectory),
        }
    }

    /// A name of it is gone.
    fn lose(&mut self, vnode: u64, holders: Holders) -> Answer {
        let now = self.now;
        let inode = self.inode(vnode);
        inode.changed = now;
        inode.links = if is_directory(inode.kind) { 0 } else { inode.links - 1 };
        inode.parent = None;
        let answer = self.of(vnode);
        if self.inodes[&vnode].links == 0 && holders == Holders::Nobody {
            self.take_apart(vnode, 64);
        }
        answer
    }

    /// Bytes of extended attributes that lie together, in the order they lie in.
    fn groups(&self, inode: &Inode) -> BTreeMap<u64, usize> {
        let mut groups = BTreeMap::new();
        for (name, value) in &inode.xattrs {
            *groups.entry(self.names.hash(name) << 10).or_default() += 5 + name.len() + value.len();
        }
        groups
    }

    /// The lengths of the items that hold extended attributes.
    fn pieces(&self, inode: &Inode) -> Vec<usize> {
        let groups = self.groups(inode).into_values();
        groups
            .flat_map(|bytes| (0..bytes).step_by(1_983).map(move |at| (bytes - at).min(1_983)))
            .collect()
    }

    fn take_apart(&mut self, vnode: u64, count_max: usize) {
        let inode = &self.inodes[&vnode];
        let mut pieces = inode.removing.clone().unwrap_or_else(|| self.pieces(inode));
        if pieces.len() + (inode.extents as usize) < count_max {
            self.inodes.remove(&vnode);
            return;
        }
        let count = pieces.len().min(count_max);
        pieces.drain(..count);
        let inode = self.inode(vnode);
        inode.removing = Some(pieces);
        inode.extents -= (count_max - count) as u64;
    }

    /// The background's step.
    pub fn step(&mut self, vnode: u64) {
        if self.inodes.get(&vnode).is_some_and(|inode| inode.links == 0) {
            self.take_apart(vnode, 1_000);
        }
    }

    pub fn rename(&mut self, source: At<'_>, target: At<'_>, onto: Onto) -> Answer {
        self.open_directory(source.0)?;
        self.open_directory(target.0)?;
        let moved = self.lookup(source)?;
        let there = self.lookup(target).ok();
        match (onto, there) {
            (Onto::Nothing, Some(_)) => return Err(Kind::Exists),
            (Onto::Exchange, None) => return Err(Kind::NotFound),
            (_, Some(there)) if there == moved => return self.of(moved),
            _ => {}
        }
        if self.ancestors(target.0.0).contains(&moved) {
            return Err(Kind::Invalid);
        }
        if onto == Onto::Exchange && self.ancestors(source.0.0).contains(&there.unwrap()) {
            return Err(Kind::Invalid);
        }
        if let (Onto::Anything(_), Some(there)) = (onto, there) {
            if is_directory(self.inodes[&moved].kind) {
                self.removable(there)?;
            } else if is_directory(self.inodes[&there].kind) {
                return Err(Kind::IsDirectory);
            }
        }
        self.enter(source, there.filter(|_| onto == Onto::Exchange));
        self.enter(target, Some(moved));
        let now = self.now;
        let mut places = vec![(moved, target)];
        match (onto, there) {
            (Onto::Exchange, Some(there)) => places.push((there, source)),
            (Onto::Anything(holders), Some(there)) => {
                self.lose(there, holders)?;
            }
            _ => {}
        }
        for (vnode, at) in places {
            let inode = self.inode(vnode);
            inode.changed = now;
            inode.parent = Some(at.0.0);
        }
        self.of(moved)
    }

    /// A directory, and all above it.
    fn ancestors(&self, directory: u64) -> Vec<u64> {
        std::iter::successors(Some(directory), |vnode| self.inodes[vnode].parent).collect()
    }

    pub fn set(&mut self, file: Id, set: &SetAttributes, acl: Option<&[u8]>) -> Answer {
        self.load(file)?;
        let now = self.now;
        let inode = self.inode(file.0);
        inode.mode = set.mode.map_or(inode.mode, |mode| mode & 0o7777);
        inode.uid = set.uid.unwrap_or(inode.uid);
        inode.gid = set.gid.unwrap_or(inode.gid);
        inode.accessed = set.accessed.map_or(inode.accessed, |time| time.0);
        inode.modified = set.modified.map_or(inode.modified, |time| time.0);
        inode.changed = now;
        if let Some(acl) = acl {
            inode.acl = acl.to_vec();
            self.acls.insert(acl.to_vec());
        }
        self.of(file.0)
    }

    pub fn set_xattr(&mut self, file: Id, (name, value): (&[u8], &[u8]), how: SetXattr) -> Answer {
        let inode = self.load(file)?;
        let old = inode.xattrs.get(name).map(Vec::len);
        match (how, old) {
            (SetXattr::Create, Some(_)) => return Err(Kind::Exists),
            (SetXattr::Replace, None) => return Err(Kind::NoAttribute),
            _ => {}
        }
        let mut after = inode.clone();
        after.xattrs.insert(name.to_vec(), value.to_vec());
        let bytes: usize = self.groups(&after).values().sum();
        if bytes > XATTRS_BYTES_MAX && old.is_none_or(|old| value.len() > old) {
            return Err(Kind::NoSpace);
        }
        after.changed = self.now;
        self.inodes.insert(file.0, after);
        self.of(file.0)
    }

    pub fn remove_xattr(&mut self, file: Id, name: &[u8]) -> Answer {
        self.load(file)?;
        let now = self.now;
        let inode = self.inode(file.0);
        inode.xattrs.remove(name).ok_or(Kind::NoAttribute)?;
        inode.changed = now;
        self.of(file.0)
    }

    /// Two blocks more, as often as said.
    pub fn grow(&mut self, file: Id, count: u64) -> Answer {
        self.load(file)?;
        self.inode(file.0).extents += count;
        self.of(file.0)
    }

    /// What a file's attributes say its size is.
    pub fn size(inode: &Inode) -> u64 {
        (inode.names.len() + inode.target.len()) as u64
    }

    pub fn bytes(&self) -> u64 {
        let of = |inode: &Inode| {
            let xattrs: usize = inode
                .removing
                .clone()
                .unwrap_or_else(|| self.pieces(inode))
                .iter()
                .sum();
            (xattrs + inode.target.len()) as u64 + inode.extents * 2 * 4_096
        };
        let acls: usize = self.acls.iter().map(Vec::len).sum();
        self.inodes.values().map(of).sum::<u64>() + acls as u64
    }
}
