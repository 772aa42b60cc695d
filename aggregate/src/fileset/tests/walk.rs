//! A walk through everything there is, in the store and in the model.

use std::collections::{BTreeMap, BTreeSet};

use baton_types::Kind;

use super::model::{Id, Inode};
use super::pair::{Pair, fid, plain};
use crate::fileset::{
    Cookie, PageMax, get_xattr, getattr, list_xattrs, orphans, read_mount_point, readdirplus, readlink,
};
use crate::format::{FileKind, Orphan};

impl Pair {
    /// Finds every difference.
    pub fn check(&self) {
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
        assert_eq!(self.as_plain(id.0, &object.attributes).1, plain(inode));
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
        let max = PageMax {
            names: 3,
            bytes: usize::MAX,
        };
        loop {
            let page = self.store.read(|view| readdirplus(view, fid(id), from, max)).unwrap();
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
