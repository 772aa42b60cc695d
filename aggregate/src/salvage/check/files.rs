//! One fileset: its names lead to its files, each once for every link, and its numbers are what is there.
//!
//! What always holds: `links` of a file are its names; of a directory 2 and its directories and mount points; 0 of
//! what has no name. `size` of a directory is its names, `parent` where its own name is, or one of them. What has no name is an
//! orphan, and nothing else is. Usage: files are attributes, bytes what extents take and the values of inline, xattr
//! and ACL items.

mod names;
mod places;

use std::collections::{BTreeMap, BTreeSet};

use baton_types::{Error, FilesetId, Kind, Result, Vnode};
use bytes::{Bytes, BytesMut};

use super::super::blocks::By;
use super::super::finding::Fault;
use super::super::items::{self, ALL};
use super::super::mend::{Change, Field, Mend};
use super::{Check, Data, Orphans, Unreadable};
use crate::format::{
    Attributes, BLOCK_BYTES, Block, Extent, FileKind, HashKey, Key, KeyKind, Lsn, MountPoint, NameEntry, Orphan,
    PIECES_MAX, Pointer, Shared, XattrEntry, name_hash,
};
use crate::live::LiveTree;
use crate::nodes::Units;
use crate::transaction::Run;
use places::Places;

const ROOT: u64 = 1;

/// Whose files they are: only those of the fileset itself can be changed.
#[derive(Clone, Copy)]
pub(super) enum Whose {
    Live(FilesetId),
    Snapshot(FilesetId, Lsn),
}

/// A fileset being checked.
pub(super) struct Files<'a, 'b> {
    check: &'a mut Check<'b>,
    name: &'a str,
    whose: Whose,
    /// Findings that were there before.
    found_before: usize,
    hash_key: Option<HashKey>,
    last: Lsn,
    files: BTreeMap<u64, File>,
    /// Vnodes whose attributes cannot be told.
    unknown: BTreeSet<u64>,
    /// Names, and the items they are in.
    entries: Vec<(Key, NameEntry)>,
    /// It is the fileset itself, and has no root directory.
    lacks_root: bool,
    orphans: BTreeSet<u64>,
    acls: BTreeSet<u64>,
    bytes: u64,
    places: Places,
    /// The end of the file's extent before.
    extents: (u64, u64),
    /// Pieces of a vnode's extended attributes: their first key, and what there is of them.
    xattrs: Option<(Key, BytesMut)>,
}

/// One file.
struct File {
    attributes: Attributes,
    kind: Option<FileKind>,
    /// Blocks of its extents.
    blocks: u64,
    /// Names that lead to it, and where one of them is.
    names: u32,
    directory: u64,
    /// One of these is where its attributes say.
    is_in_parent: bool,
    /// As a directory: its names, and those of directories and mount points.
    entries: u64,
    directories: u32,
}

fn damaged(reason: impl Into<String>) -> Error {
    Error::new(Kind::Damaged, "item").because(reason)
}

impl<'a, 'b> Files<'a, 'b> {
    pub fn new(
        check: &'a mut Check<'b>,
        (name, whose): (&'a str, Whose),
        hash_key: Option<HashKey>,
        last: Lsn,
    ) -> Files<'a, 'b> {
        Files {
            found_before: check.findings.kept.len(),
            check,
            name,
            whose,
            hash_key,
            last,
            files: BTreeMap::new(),
            unknown: BTreeSet::new(),
            entries: Vec::new(),
            lacks_root: false,
            orphans: BTreeSet::new(),
            acls: BTreeSet::new(),
            bytes: 0,
            places: Places::default(),
            extents: (0, 0),
            xattrs: None,
        }
    }

    /// What is wrong with a file, and stays so.
    fn fault(&mut self, fault: Fault, vnode: u64, reason: impl Into<String>) {
        self.mendable(fault, vnode, reason, Mend::Leave);
    }

    /// What is wrong with a file, and is put right by a change.
    fn change(&mut self, fault: Fault, vnode: u64, reason: impl Into<String>, change: Change) {
        let mend = self.mend(change);
        self.mendable(fault, vnode, reason, mend);
    }

    fn mendable(&mut self, fault: Fault, vnode: u64, reason: impl Into<String>, mend: Mend) {
        let on = format!("{}, vnode {vnode}", self.name);
        self.check.findings.mendable(fault, on, reason, mend);
    }

    fn mend(&self, change: Change) -> Mend {
        match (self.whose, change) {
            (Whose::Live(id) | Whose::Snapshot(id, _), change @ Change::NextVnode(_)) => Mend::Fileset(id, change),
            (Whose::Snapshot(id, at), Change::Usage(bytes, files)) => Mend::Snapshot(id, at, (bytes, files)),
            (Whose::Live(id), change) => Mend::Fileset(id, change),
            (Whose::Snapshot(..), _) => Mend::Leave,
        }
    }

    /// Reads all items.
    pub fn read(&mut self, tree: &LiveTree) -> Result<()> {
        let patient = self.check.patient;
        let root = items::get(tree, &patient.nodes, Key::attributes(Vnode::ROOT))?;
        self.lacks_root = root.is_none() && matches!(self.whose, Whose::Live(_));
        items::each(tree, &patient.nodes, ALL, |key, value| {
            if let Err(error) = self.item(key, value) {
                let kind = key.kind;
                self.fault(
                    Fault::Item,
                    key.object,
                    format!("{kind:?} {}: {}", key.sub, error.reason),
                );
            }
            Ok(())
        })?;
        self.end_xattrs();
        Ok(())
    }

    fn item(&mut self, key: Key, value: Bytes) -> Result<()> {
        match key.kind {
            KeyKind::Inline | KeyKind::Xattr | KeyKind::Acl => self.bytes += value.len() as u64,
            _ => {}
        }
        if !matches!(
            key.kind,
            KeyKind::Acl | KeyKind::Orphan | KeyKind::Shared | KeyKind::Attributes
        ) && !self.files.contains_key(&key.object)
        {
            if key.kind == KeyKind::Extent {
                let extent = Extent::decode(&value)?;
                self.refers(key.object, &extent);
            }
            if self.unknown.contains(&key.object) {
                return Ok(());
            }
            if key.object == ROOT && self.lacks_root {
                // What it had is that of the one that is made.
                return match key.kind {
                    KeyKind::Name => self.names(key, &value),
                    _ => Ok(()),
                };
            }
            let reason = format!("{:?} {}: it belongs to no file", key.kind, key.sub);
            self.change(Fault::Item, key.object, reason, Change::Item(key));
            return Ok(());
        }
        match key.kind {
            KeyKind::Acl => {
                self.acls.insert(key.sub / PIECES_MAX);
            }
            KeyKind::Orphan => {
                Orphan::decode(&value)?;
                self.orphans.insert(key.sub);
            }
            KeyKind::Attributes => match Attributes::decode(&value) {
                Ok(attributes) => self.attributes(key.object, &attributes),
                Err(error) => {
                    self.unknown.insert(key.object);
                    return Err(error);
                }
            },
            KeyKind::Name => self.names(key, &value)?,
            KeyKind::Xattr => self.xattr(key, &value),
            KeyKind::Extent => self.extent(key, &Extent::decode(&value)?)?,
            KeyKind::Inline => {}
            KeyKind::Shared => self.shared(key.sub, &Shared::decode(&value)?),
            KeyKind::MountPoint => {
                MountPoint::decode(&value)?;
                if self.files[&key.object].kind != Some(FileKind::MountPoint) {
                    return Err(damaged("it is of a file that is no mount point"));
                }
            }
            kind => return Err(damaged(format!("an item of kind {kind:?} has no place in a fileset"))),
        }
        Ok(())
    }

    fn attributes(&mut self, vnode: u64, attributes: &Attributes) {
        let kind = FileKind::from_mode(attributes.mode);
        if kind.is_none() {
            self.fault(
                Fault::Item,
                vnode,
                format!("its mode {:o} is of no kind of file", attributes.mode),
            );
        }
        let file = File {
            attributes: *attributes,
            kind,
            blocks: 0,
            names: 0,
            directory: 0,
            is_in_parent: false,
            entries: 0,
            directories: 0,
        };
        self.files.insert(vnode, file);
        self.extents = (vnode, 0);
    }

    fn names(&mut self, key: Key, value: &[u8]) -> Result<()> {
        for entry in NameEntry::decode_all(value)? {
            let hash = self.hash_key.map(|hash_key| name_hash(&hash_key, &entry.name));
            if hash.is_some_and(|hash| hash != key.sub) {
                let reason = format!("the name '{}' stands under another's hash", entry.name.escape_ascii());
                self.fault(Fault::Directory, key.object, reason);
            }
            self.entries.push((key, entry));
        }
        Ok(())
    }

    fn xattr(&mut self, key: Key, value: &[u8]) {
        let first = Key {
            sub: key.sub - key.sub % PIECES_MAX,
            ..key
        };
        match &mut self.xattrs {
            Some((of, pieces)) if *of == first => pieces.extend_from_slice(value),
            _ => {
                self.end_xattrs();
                self.xattrs = Some((first, value.into()));
            }
        }
    }

    fn end_xattrs(&mut self) {
        let Some((key, pieces)) = self.xattrs.take() else {
            return;
        };
        if let Err(error) = XattrEntry::decode_all(&pieces.freeze()) {
            self.fault(
                Fault::Item,
                key.object,
                format!("extended attributes: {}", error.reason),
            );
        }
    }

    fn shared(&mut self, first: u64, shared: &Shared) {
        let run = Run {
            block: Block(first),
            count: shared.count,
        };
        if let Err(wrong) = self.check.blocks.reach(run, shared.birth, By::Shared) {
            let reason = format!("shared blocks {first} and {} on: {wrong}", shared.count);
            self.check.findings.fault(Fault::Block, self.name, reason);
        }
        self.places.say(run, shared);
    }

    fn extent(&mut self, key: Key, extent: &Extent) -> Result<()> {
        let (vnode, first) = (key.object, key.sub);
        let count = u64::from(extent.count);
        if self.extents.0 == vnode && first < self.extents.1 {
            self.fault(Fault::Extent, vnode, format!("blocks {first} and on are there twice"));
        }
        self.extents = (vnode, first.saturating_add(count));
        if extent.birth == Lsn(0) || extent.birth > self.last {
            let reason = format!(
                "block {first} was born at {}, and the log ends at {}",
                extent.birth, self.last
            );
            self.mendable(Fault::Birth, vnode, reason, Mend::Refuse);
        }
        self.bytes += count * BLOCK_BYTES as u64;
        if let Some(file) = self.files.get_mut(&vnode) {
            file.blocks += count;
        }
        let reached = self.refers(vnode, extent);
        if !self.check.patient.geometry().has_blocks(extent.block, count) {
            return Ok(());
        }
        match self.check.data {
            // What an older snapshot has was read there.
            Data::Read if reached => self.data(vnode, first, extent),
            Data::Read | Data::Skip => {}
        }
        Ok(())
    }

    /// Counts the blocks of an extent as reached; false if an older snapshot has them.
    fn refers(&mut self, vnode: u64, extent: &Extent) -> bool {
        let run = Run {
            block: extent.block,
            count: extent.count.into(),
        };
        let reached = match extent.is_shared() {
            true => Ok(true),
            false => self.check.blocks.reach(run, extent.birth, By::Tree),
        };
        if extent.is_shared() {
            self.places.find(run, extent.birth);
        }
        if let Err(wrong) = reached {
            let reason = format!("blocks {} and {} on: {wrong}", extent.block, extent.count);
            self.mendable(Fault::Block, vnode, reason, Mend::Refuse);
        }
        reached != Ok(false)
    }

    fn data(&mut self, vnode: u64, first: u64, extent: &Extent) {
        let units: Vec<Pointer> = Units::from(extent).pointers().collect();
        for (index, error) in self.check.patient.nodes.harmed(&units) {
            let unit = u64::from(extent.unit_blocks()) * BLOCK_BYTES as u64;
            let at = first
                .saturating_mul(BLOCK_BYTES as u64)
                .saturating_add(index as u64 * unit);
            let reason = match error.kind {
                Kind::Damaged => "do not verify".to_owned(),
                _ => format!("cannot be read: {error}"),
            };
            let len = units[index].len();
            self.fault(Fault::Data, vnode, format!("its {len} bytes from {at} on {reason}"));
        }
    }

    /// Compares what was promised to files of a branch of the fileset.
    pub fn promises(&mut self, promised: u64, branch: u32) {
        let of_files = self.files.values().map(|file| &file.attributes);
        let of_files = of_files.filter(|attributes| attributes.promised_in == branch);
        let counted: u64 = of_files.map(|attributes| u64::from(attributes.promised)).sum();
        if promised != counted {
            let reason = format!("it says that {promised} blocks are promised to files, and these say {counted}");
            let mend = self.mend(Change::Promised(counted));
            self.check.findings.mendable(Fault::Usage, self.name, reason, mend);
        }
    }

    /// Compares what was read; gives how many files there are.
    pub fn finish(mut self, usage: (u64, u64), next_vnode: u64) -> u64 {
        let entries = std::mem::take(&mut self.entries);
        self.follow_names(&entries);
        self.compare_places();
        let files = std::mem::take(&mut self.files);
        for (vnode, file) in &files {
            self.file(*vnode, file);
            if *vnode != ROOT && *vnode >= next_vnode {
                let reason = format!("numbers from {next_vnode} on are still to be given out");
                self.change(Fault::Vnode, *vnode, reason, Change::NextVnode(*vnode + 1));
            }
        }
        for vnode in std::mem::take(&mut self.orphans) {
            self.orphan(vnode, files.get(&vnode));
        }
        if self.lacks_root && (!files.is_empty() || usage.1 > 0) {
            self.change(
                Fault::Directory,
                ROOT,
                "the fileset has no root directory",
                Change::Root,
            );
        }
        self.reach(&files, &entries);
        let counted = (self.bytes, files.len() as u64);
        if usage != counted {
            let reason = format!(
                "it says {} bytes and {} files, and has {} and {}",
                usage.0, usage.1, counted.0, counted.1
            );
            let (bytes, files) = counted;
            let mend = self.mend(Change::Usage(bytes, files));
            self.check.findings.mendable(Fault::Usage, self.name, reason, mend);
        }
        self.name_findings(&files, &entries);
        counted.1
    }

    fn orphan(&mut self, number: u64, file: Option<&File>) {
        let Ok(vnode) = Vnode::new(number) else {
            return self.fault(Fault::Orphan, number, "it is an orphan, and no file has this number");
        };
        let reason = match file {
            None if self.unknown.contains(&number) => return,
            None => "it is an orphan, and does not exist",
            Some(file) if file.names > 0 => "it is an orphan, and has a name",
            Some(_) => {
                if let Whose::Live(id) = self.whose
                    && self.check.orphans == Orphans::Name
                    && !self.check.held.contains(&id)
                {
                    let (on, mend) = (
                        format!("{}, vnode {number}", self.name),
                        self.mend(Change::Orphan(vnode)),
                    );
                    let reason = "an orphan, and no client can hold it any more";
                    self.check.findings.untidy(Fault::Orphan, on, reason, mend);
                }
                return;
            }
        };
        self.change(Fault::Orphan, number, reason, Change::NoOrphan(vnode));
    }

    fn file(&mut self, number: u64, file: &File) {
        let Ok(vnode) = Vnode::new(number) else {
            return self.fault(Fault::Item, number, "no file has this number");
        };
        let Attributes {
            links,
            size,
            blocks,
            parent,
            acl,
            ..
        } = file.attributes;
        let is_directory = file.kind == Some(FileKind::Directory);
        let expected = match (is_directory, file.names) {
            (true, 0) if number != ROOT => 0,
            (true, _) => 2 + file.directories,
            (false, names) => names,
        };
        if links != expected {
            let reason = format!("it says {links} links, and has {expected}");
            self.set(Fault::Links, vnode, reason, Field::Links(expected));
        }
        if file.names == 0 && number != ROOT && !self.orphans.contains(&number) {
            let reason = "no name leads to it, and it is no orphan";
            self.change(Fault::Directory, number, reason, Change::Stray(vnode));
        }
        if blocks != file.blocks {
            let reason = format!("it says {blocks} blocks, and has {}", file.blocks);
            self.set(Fault::Usage, vnode, reason, Field::Blocks(file.blocks));
        }
        if acl != 0 && !self.acls.contains(&u64::from(acl)) {
            let reason = format!("its ACL {acl} does not exist");
            match self.check.unreadable {
                Unreadable::Leave => self.fault(Fault::Item, number, reason),
                Unreadable::Cut => self.set(Fault::Item, vnode, reason, Field::OwnerOnly),
            }
        }
        if is_directory && size != file.entries {
            let reason = format!("it says {size} names, and has {}", file.entries);
            self.set(Fault::Directory, vnode, reason, Field::Size(file.entries));
        }
        if !is_directory && file.entries > 0 {
            self.fault(Fault::Directory, number, "it has names, and is no directory");
        }
        let has_parent = is_directory || file.kind == Some(FileKind::MountPoint);
        if has_parent && (file.names > 1 || file.names > 0 && number == ROOT) {
            self.fault(Fault::Directory, number, "a name too many leads to it");
        }
        // Who took a name of several away does not know where the others are.
        let must_be = has_parent || parent.is_some();
        if must_be && file.names > 0 && !file.is_in_parent && number != ROOT {
            let reason = format!("it is in vnode {}, and says otherwise", file.directory);
            match Vnode::new(file.directory) {
                Ok(parent) => self.set(Fault::Directory, vnode, reason, Field::Parent(parent)),
                Err(_) => self.fault(Fault::Directory, number, reason),
            }
        }
    }

    fn set(&mut self, fault: Fault, vnode: Vnode, reason: String, field: Field) {
        self.change(fault, vnode.number(), reason, Change::Set(vnode, field));
    }
}
