//! One fileset's tree of names, walked from its root directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

use baton_types::{Error, Kind, Result, Vnode};
use bytes::{Bytes, BytesMut};
use rustix::fs::XattrFlags;

use super::super::Patient;
use super::super::items;
use super::target::{IsLink, Target, Way};
use super::{Extracted, Skipped};
use crate::buffer::Buffer;
use crate::format::{
    Attributes, BLOCK_BYTES, Checksum, Extent, FileKind, Key, KeyKind, MountPoint, NameEntry, PIECES_MAX, XattrEntry,
};
use crate::live::LiveTree;

/// A fileset on its way back.
pub(super) struct Walk<'a> {
    patient: &'a Patient,
    tree: &'a LiveTree,
    target: &'a Target,
    extracted: &'a mut Extracted,
    /// Directories that were made, or are to be: one that comes again would never end.
    seen: BTreeSet<Vnode>,
    /// Files of several names, by the first that was made.
    linked: BTreeMap<Vnode, (Way, Vec<u8>)>,
    /// Directories, to be given their modes and times when all is in them.
    made: Vec<(Way, Vec<u8>, Attributes)>,
}

fn damaged(reason: impl Into<String>) -> Error {
    Error::new(Kind::Damaged, "file").because(reason)
}

impl<'a> Walk<'a> {
    pub fn new(patient: &'a Patient, tree: &'a LiveTree, target: &'a Target, extracted: &'a mut Extracted) -> Walk<'a> {
        Walk {
            patient,
            tree,
            target,
            extracted,
            seen: BTreeSet::new(),
            linked: BTreeMap::new(),
            made: Vec::new(),
        }
    }

    /// Gives the fileset back into a directory called `name`.
    pub fn fileset(&mut self, name: &str) -> Result<()> {
        let name = name.as_bytes();
        self.target.make_directory(&self.target.directory(&[])?, name)?;
        let mut waiting = vec![(vec![name.to_vec()], Vnode::ROOT)];
        self.seen.insert(Vnode::ROOT);
        match self.attributes(Vnode::ROOT) {
            Ok(attributes) => self.made.push((Vec::new(), name.to_vec(), attributes)),
            Err(error) => self.skip(&[], name, error.reason),
        }
        while let Some((way, directory)) = waiting.pop() {
            self.extracted.files += 1;
            if let Err(error) = self.directory(&way, directory, &mut waiting) {
                self.skip(&way, b"", error.reason);
            }
        }
        for (way, name, attributes) in std::mem::take(&mut self.made).into_iter().rev() {
            let within = self.target.directory(&way);
            let dressed = within.and_then(|within| self.target.dress(&within, &name, &attributes, IsLink::No));
            if let Err(error) = dressed {
                self.skip(&way, &name, error.reason);
            }
        }
        Ok(())
    }

    fn skip(&mut self, way: &[Vec<u8>], name: &[u8], reason: impl Into<String>) {
        let names = way
            .iter()
            .map(Vec::as_slice)
            .chain([name].into_iter().filter(|name| !name.is_empty()));
        let names: Vec<_> = names.map(|name| name.escape_ascii().to_string()).collect();
        self.extracted.skipped.push(Skipped {
            path: names.join("/"),
            reason: reason.into(),
        });
    }

    fn get(&self, key: Key) -> Result<Option<Bytes>> {
        items::get(self.tree, &self.patient.nodes, key)
    }

    fn attributes(&self, vnode: Vnode) -> Result<Attributes> {
        let bytes = self.get(Key::attributes(vnode))?;
        Attributes::decode(&bytes.ok_or_else(|| damaged("it does not exist"))?)
    }

    /// A directory's entries, as far as they can be read.
    fn directory(&mut self, way: &Way, directory: Vnode, waiting: &mut Vec<(Way, Vnode)>) -> Result<()> {
        let within = self.target.directory(way)?;
        let mut entries = Vec::new();
        let range = (Key::name(directory, 0), Key::name(directory, u64::MAX));
        let read = items::each(self.tree, &self.patient.nodes, range, |_, value| {
            entries.push(NameEntry::decode_all(&value));
            Ok(())
        });
        for entries in entries {
            match entries {
                Ok(entries) => {
                    for entry in entries {
                        if let Err(error) = self.entry(&within, way, &entry, waiting) {
                            self.skip(way, &entry.name, error.reason);
                        }
                    }
                }
                Err(error) => self.skip(way, b"", format!("some names: {}", error.reason)),
            }
        }
        read
    }

    /// What one name leads to.
    fn entry(&mut self, within: &File, way: &Way, entry: &NameEntry, waiting: &mut Vec<(Way, Vnode)>) -> Result<()> {
        if let Some((old_way, old_name)) = self.linked.get(&entry.vnode) {
            let old = self.target.directory(old_way)?;
            return self.target.make_link((&old, old_name), (within, &entry.name));
        }
        let attributes = self.attributes(entry.vnode)?;
        if attributes.unique != entry.unique {
            return Err(damaged("the name leads to another file"));
        }
        let is_link = match FileKind::from_mode(attributes.mode) {
            Some(FileKind::Directory) => return self.subdirectory(within, way, entry, (attributes, waiting)),
            Some(FileKind::Regular) => {
                self.regular(within, way, entry, &attributes)?;
                IsLink::No
            }
            Some(FileKind::Symlink) => {
                let to = self.pieces(Key::inline(entry.vnode))?;
                self.target.make_symlink(within, &entry.name, &to)?;
                IsLink::Yes
            }
            Some(FileKind::Fifo) => {
                self.target.make_fifo(within, &entry.name)?;
                IsLink::No
            }
            Some(FileKind::MountPoint) => return Err(self.mount_point(entry.vnode)),
            Some(FileKind::Socket | FileKind::Character | FileKind::BlockDevice) => {
                return Err(
                    Error::new(Kind::Unsupported, "file").because("sockets and device nodes are not given back")
                );
            }
            None => return Err(damaged(format!("its mode {:o} is of no kind of file", attributes.mode))),
        };
        self.extracted.files += 1;
        if attributes.links > 1 {
            self.linked.insert(entry.vnode, (way.clone(), entry.name.clone()));
        }
        self.target.dress(within, &entry.name, &attributes, is_link)
    }

    fn subdirectory(
        &mut self,
        within: &File,
        way: &Way,
        entry: &NameEntry,
        (attributes, waiting): (Attributes, &mut Vec<(Way, Vnode)>),
    ) -> Result<()> {
        if !self.seen.insert(entry.vnode) {
            return Err(damaged("the directory is in two places, or in itself"));
        }
        self.target.make_directory(within, &entry.name)?;
        self.made.push((way.clone(), entry.name.clone(), attributes));
        let way = way.iter().cloned().chain([entry.name.clone()]).collect();
        waiting.push((way, entry.vnode));
        Ok(())
    }

    fn mount_point(&self, vnode: Vnode) -> Error {
        let leads_to = self
            .get(Key::mount_point(vnode))
            .map(|value| value.map(|value| MountPoint::decode(&value)));
        let reason = match leads_to {
            Ok(Some(Ok(MountPoint::Regular(fileset) | MountPoint::ReadWrite(fileset)))) => {
                format!("a mount point of fileset {fileset}")
            }
            _ => "a mount point".to_owned(),
        };
        Error::new(Kind::Unsupported, "file").because(reason)
    }

    /// A value in pieces, put together.
    fn pieces(&self, first: Key) -> Result<Bytes> {
        let last = Key {
            sub: first.sub | (PIECES_MAX - 1),
            ..first
        };
        let mut whole = BytesMut::new();
        items::each(self.tree, &self.patient.nodes, (first, last), |_, piece| {
            whole.extend_from_slice(&piece);
            Ok(())
        })?;
        Ok(whole.freeze())
    }

    /// A file's bytes and extended attributes. What of it cannot be read stays a hole, and is named.
    fn regular(&mut self, within: &File, way: &Way, entry: &NameEntry, attributes: &Attributes) -> Result<()> {
        let file = self.target.make_file(within, &entry.name)?;
        let io = |error| Error::io("target", error);
        if let Some(inline) = self.get(Key::inline(entry.vnode))? {
            file.write_all_at(&inline, 0).map_err(io)?;
        }
        let (tree, patient) = (self.tree, self.patient);
        let range = (Key::extent(entry.vnode, 0), Key::extent(entry.vnode, u64::MAX));
        let mut holes = 0;
        items::each(tree, &patient.nodes, range, |key, value| {
            let Ok(extent) = Extent::decode(&value) else {
                holes += 1;
                return Ok(());
            };
            holes += give(patient, &file, key.sub, &extent)?;
            Ok(())
        })?;
        file.set_len(attributes.size).map_err(io)?;
        self.extracted.bytes = self.extracted.bytes.saturating_add(attributes.size);
        if holes > 0 {
            self.skip(
                way,
                &entry.name,
                format!("{holes} parts of it are damaged, and are zeros now"),
            );
        }
        self.xattrs(&file, way, entry)
    }

    fn xattrs(&mut self, file: &File, way: &Way, entry: &NameEntry) -> Result<()> {
        let of = entry.vnode.number();
        let range = (Key::new(of, KeyKind::Xattr, 0), Key::new(of, KeyKind::Xattr, u64::MAX));
        let mut firsts = BTreeSet::new();
        items::each(self.tree, &self.patient.nodes, range, |key, _| {
            firsts.insert(key.sub - key.sub % PIECES_MAX);
            Ok(())
        })?;
        for sub in firsts {
            let attributes = self.pieces(Key::new(of, KeyKind::Xattr, sub))?;
            for XattrEntry { name, value } in XattrEntry::decode_all(&attributes)? {
                let set = rustix::fs::fsetxattr(file, &name[..], &value, XattrFlags::empty());
                if let Err(errno) = set {
                    let reason = format!("extended attribute {}: {errno}", name.escape_ascii());
                    self.skip(way, &entry.name, reason);
                }
            }
        }
        Ok(())
    }
}

/// Writes an extent's units to their place in the file; says how many do not verify.
fn give(patient: &Patient, file: &File, first: u64, extent: &Extent) -> Result<u64> {
    if !patient.geometry().has_blocks(extent.block, extent.count.into()) {
        return Ok(extent.checksums.len() as u64);
    }
    let mut bytes = Buffer::scratch(usize::from(extent.count) * BLOCK_BYTES);
    if patient.device.read(extent.block.offset(), &mut bytes).is_err() {
        return Ok(extent.checksums.len() as u64);
    }
    let mut holes = 0;
    let unit = 1_u64 << extent.unit_shift;
    for (index, (bytes, checksum)) in (0..).zip(bytes.chunks(unit as usize).zip(&extent.checksums)) {
        let at = first
            .checked_mul(BLOCK_BYTES as u64)
            .and_then(|at| at.checked_add(index * unit));
        match at {
            Some(at) if Checksum::of(bytes) == *checksum => {
                file.write_all_at(bytes, at)
                    .map_err(|error| Error::io("target", error))?;
            }
            Some(_) | None => holes += 1,
        }
    }
    Ok(holes)
}
