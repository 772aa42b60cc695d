//! Files of bytes in a history: written, copied within their fileset, promised room, punched and cut short.
//!
//! The store does them as a file server would. What they must hold is counted here, block by block, by rules of three
//! lines each, and not by the store's code: the bytes of a copy are those of its source, whatever becomes of that one;
//! what a file was promised nobody else fills, and a write that fills it never fails for want of room.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use baton_aggregate::aggregate::{Done, Fileset};
use baton_aggregate::file::{self, Copy, truncate};
use baton_aggregate::fileset::{Object, getattr};
use baton_aggregate::format::{Attributes, BLOCK_BYTES, Checksum, Extent, Key, KeyKind, Lsn};
use baton_aggregate::transaction::{Operation, Reply};
use baton_aggregate::tree::Stop;
use baton_types::call::{Allocate, At};
use baton_types::{Fid, FilesetId, Kind, Result, Vnode};
use bytes::Bytes;

use super::model::Answer;
use crate::sim::Seed;

/// Files of each fileset.
pub const FILES: u8 = 3;
/// Their vnodes begin here: no session was given them.
const FILES_FROM: u64 = 1 << 29;
/// Most happens in as many blocks of a file.
pub const LENGTH: u64 = 60;
/// Blocks that are read as a program would.
const READ_BLOCKS: u64 = 16;
const BLOCK: u64 = BLOCK_BYTES as u64;

/// Something done to bytes, in whole blocks.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Writes blocks.
    Write { file: u8, first: u64, count: u64, byte: u8 },
    /// Copies blocks, from and to a block of a file; perhaps as the first one was in a snapshot.
    Share {
        source: (u8, u64),
        past: Option<Lsn>,
        target: (u8, u64),
        count: u64,
    },
    /// Promises room for blocks.
    Promise {
        file: u8,
        first: u64,
        count: u64,
        how: Allocate,
    },
    /// Makes a hole.
    Punch { file: u8, first: u64, count: u64 },
    /// Makes the file as long as this.
    Truncate { file: u8, blocks: u64 },
}

/// What a block holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    /// By which record it was written, to which block of which file.
    origin: (Lsn, u8, u64),
    byte: u8,
    checksum: Checksum,
}

/// What a file must be.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// In blocks.
    pub size: u64,
    blocks: BTreeMap<u64, Content>,
    /// Blocks that it may take yet.
    pub promised: u64,
}

/// A file with bytes in it, in a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Old {
    /// Which.
    pub snapshot: Lsn,
    file: u8,
    size: u64,
}

/// Those of `files`, in a snapshot.
pub fn olds(snapshot: Lsn, files: &Files) -> impl Iterator<Item = Old> {
    let old = move |(file, was): (u8, &File)| Old {
        snapshot,
        file,
        size: was.size,
    };
    (0..).zip(files).map(old).filter(|old| old.size > 0)
}

/// The same, by what the store says.
///
/// # Errors
/// The store's own.
pub fn olds_in(fileset: &Fileset) -> Result<Vec<Old>> {
    let mut olds = Vec::new();
    for snapshot in fileset.snapshots() {
        let then = fileset.at(snapshot.id)?;
        for file in 0..FILES {
            let object = then.read(|view| getattr(view, fid(fileset.id(), file)))?;
            let (snapshot, size) = (snapshot.id, object.attributes.size / BLOCK);
            olds.extend((size > 0).then_some(Old { snapshot, file, size }));
        }
    }
    Ok(olds)
}

/// The files of a fileset.
pub type Files = Vec<File>;

/// Whose number it has.
pub fn vnode(file: u8) -> Vnode {
    Vnode::new(FILES_FROM + u64::from(file)).expect("a vnode")
}

/// What it is drawn by.
pub fn unique(file: u8) -> u64 {
    u64::from(file) + 1
}

fn fid(fileset: FilesetId, file: u8) -> Fid {
    Fid {
        fileset,
        vnode: vnode(file),
        unique: unique(file),
    }
}

/// True for items whose form depends on where room was found.
pub fn has(key: Key) -> bool {
    let files = FILES_FROM..FILES_FROM + u64::from(FILES);
    key.kind == KeyKind::Shared || files.contains(&key.object)
}

fn block(file: u8, number: u64, byte: u8) -> Vec<u8> {
    let mut bytes = vec![byte; BLOCK_BYTES];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8] = file;
    bytes
}

impl Act {
    /// One of them, in a fileset with these files in snapshots.
    pub fn draw(seed: &mut Seed, olds: &[Old]) -> Act {
        let (file, first) = (seed.below(FILES.into()) as u8, seed.below(LENGTH));
        let few = 1 + seed.below(12);
        match seed.below(20) {
            0..7 => Act::Write {
                file,
                first,
                count: if seed.chance(150) { few * 16 } else { few },
                byte: seed.draw() as u8,
            },
            7..10 if !olds.is_empty() => Act::from_snapshot(seed, olds),
            7..13 => Act::Share {
                source: (file, seed.below(LENGTH / 2)),
                past: None,
                target: (seed.below(FILES.into()) as u8, first),
                count: few * 2,
            },
            13..16 => Act::Promise {
                file,
                first,
                count: if seed.chance(250) { few * 120 } else { few * 4 },
                how: *seed.pick(&[Allocate::Extend, Allocate::KeepSize]),
            },
            16..18 => Act::Punch {
                file,
                first,
                count: few * 2,
            },
            _ => Act::Truncate { file, blocks: first },
        }
    }

    /// A copy of what one of these files had.
    pub fn from_snapshot(seed: &mut Seed, olds: &[Old]) -> Act {
        let old = *seed.pick(olds);
        let first = seed.below(old.size.min(LENGTH));
        let back = seed.chance(300).then_some((old.file, first));
        let elsewhere = (seed.below(FILES.into()) as u8, seed.below(LENGTH));
        Act::Share {
            source: (old.file, first),
            past: Some(old.snapshot),
            target: back.unwrap_or(elsewhere),
            count: 1 + seed.below(16.min(old.size - first)),
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// What the store says.
    pub fn perform(&self, fileset: &Fileset, operation: &Operation) -> Result<Done<Bytes>> {
        let id = fileset.id();
        let range = |first: u64, count: u64| first * BLOCK..(first + count) * BLOCK;
        let as_it_is = &mut |_: &Attributes, _: &mut Attributes| -> Result<(), Stop> { Ok(()) };
        let done = match *self {
            Act::Write {
                file,
                first,
                count,
                byte,
            } => {
                let bytes: Vec<u8> = (first..first + count).flat_map(|at| block(file, at, byte)).collect();
                let at = (fid(id, file), At::Offset(first * BLOCK));
                file::write_as(fileset, operation, at, &bytes, as_it_is)
            }
            Act::Share {
                source,
                past,
                target,
                count,
            } => {
                let copy = Copy {
                    source: (fid(id, source.0), source.1 * BLOCK),
                    target: (fid(id, target.0), target.1 * BLOCK),
                    len: count * BLOCK,
                    past,
                };
                file::copy_as(fileset, operation, copy, &mut |_, _| Ok(()))
            }
            Act::Promise {
                file,
                first,
                count,
                how,
            } => file::fallocate(fileset, operation, (fid(id, file), range(first, count)), how, as_it_is),
            Act::Punch { file, first, count } => {
                let at = (fid(id, file), range(first, count));
                file::fallocate(fileset, operation, at, Allocate::PunchHole, as_it_is)
            }
            Act::Truncate { file, blocks } => truncate(fileset, operation, fid(id, file), blocks * BLOCK),
        }?;
        let answer = done.answer.map(|object| match object.reply() {
            Reply::Done(bytes) => bytes,
            Reply::Refused(_) => unreachable!("an object is no refusal"),
        });
        Ok(Done {
            lsn: done.lsn,
            after: done.after,
            answer,
        })
    }

    /// The snapshot that it copies from.
    pub fn past(&self) -> Option<Lsn> {
        match *self {
            Act::Share { past, .. } => past,
            _ => None,
        }
    }

    /// Does it to what there must be; the snapshot that it copies from had `kept`, or is gone.
    fn apply(&self, files: &mut Files, kept: Option<&Files>, lsn: Lsn) -> Result<u8, Kind> {
        match *self {
            Act::Write {
                file,
                first,
                count,
                byte,
            } => {
                let blocks = first..first + count;
                let contents = blocks.clone().map(|at| Content {
                    origin: (lsn, file, at),
                    byte,
                    checksum: Checksum::of(&block(file, at, byte)),
                });
                let own = &mut files[usize::from(file)];
                let before = own.blocks.len() as u64;
                own.blocks.extend(blocks.clone().zip(contents));
                own.size = own.size.max(blocks.end);
                let more = own.blocks.len() as u64 - before;
                own.promised = own.promised.saturating_sub(more);
                Ok(file)
            }
            Act::Share {
                source,
                past,
                target,
                count,
            } => {
                let of = past.map(|_| kept.ok_or(Kind::Stale)).transpose()?;
                copy(files, of, (source, target, count))
            }
            Act::Promise {
                file,
                first,
                count,
                how,
            } => {
                let own = &mut files[usize::from(file)];
                let holes = count - own.blocks.range(first..first + count).count() as u64;
                let most = own.holes(own.size.max(first + count));
                own.promised = (own.promised + holes).min(most);
                if how == Allocate::Extend {
                    own.size = own.size.max(first + count);
                }
                Ok(file)
            }
            Act::Punch { file, first, count } => {
                files[usize::from(file)].cut(first..first + count);
                Ok(file)
            }
            Act::Truncate { file, blocks } => {
                let own = &mut files[usize::from(file)];
                if blocks < own.size {
                    own.cut(blocks..u64::MAX);
                    own.promised = own.promised.min(own.holes(blocks));
                }
                own.size = blocks;
                Ok(file)
            }
        }
    }

    /// True if it is a write for which its file was promised the room.
    pub fn is_promised(&self, files: &Files) -> bool {
        let Act::Write { file, first, count, .. } = *self else {
            return false;
        };
        let own = &files[usize::from(file)];
        let replaced = own.blocks.range(first..first + count).count() as u64;
        own.promised > 0 && count - replaced <= own.promised
    }
}

/// Copies so many blocks from what a file is, or was in `of`, to a file: which one.
fn copy(files: &mut Files, of: Option<&Files>, (source, target, count): Copied) -> Result<u8, Kind> {
    let (from, to) = (source.1..source.1 + count, target.1..target.1 + count);
    let overlap = source.0 == target.0 && from.start < to.end && to.start < from.end;
    let whole = &of.unwrap_or(files)[usize::from(source.0)];
    if from.end > whole.size || of.is_none() && overlap {
        return Err(Kind::Invalid);
    }
    let found = whole.blocks.range(from.clone());
    let copied: Vec<_> = found
        .map(|(at, content)| (to.start + (at - from.start), content.clone()))
        .collect();
    let own = &mut files[usize::from(target.0)];
    own.cut(to.clone());
    own.blocks.extend(copied);
    own.size = own.size.max(to.end);
    own.promised = own.promised.min(own.holes(own.size));
    Ok(target.0)
}

impl File {
    fn holes(&self, size: u64) -> u64 {
        size.saturating_sub(self.blocks.len() as u64)
    }

    fn cut(&mut self, blocks: Range<u64>) {
        self.blocks.retain(|at, _| !blocks.contains(at));
    }

    /// The first hole, and where it ends.
    pub fn hole(&self) -> Range<u64> {
        let first = (0..).find(|at| !self.blocks.contains_key(at)).unwrap_or(u64::MAX);
        let end = self.blocks.range(first..).next().map_or(u64::MAX, |(at, _)| *at);
        first..end
    }

    fn bytes(&self, count: u64) -> Vec<u8> {
        let blocks = 0..count.min(self.size);
        blocks
            .flat_map(|at| match self.blocks.get(&at) {
                Some(content) => block(content.origin.1, content.origin.2, content.byte),
                None => vec![0; BLOCK_BYTES],
            })
            .collect()
    }
}

/// From and to which block of which file, and how many.
type Copied = ((u8, u64), (u8, u64), u64);

/// Files with nothing in them.
pub fn none() -> Files {
    vec![File::default(); usize::from(FILES)]
}

/// Who goes on from them was promised nothing.
pub fn go_on(files: &Files) -> Files {
    let mut files = files.clone();
    files.iter_mut().for_each(|file| file.promised = 0);
    files
}

/// What they take of their fileset: bytes, and blocks promised.
pub fn usage(files: &Files) -> (u64, u64) {
    let blocks: u64 = files.iter().map(|file| file.blocks.len() as u64).sum();
    (blocks * BLOCK, files.iter().map(|file| file.promised).sum())
}

/// Blocks that they take, if what was copied takes none.
pub fn blocks(files: &Files) -> usize {
    let contents = files.iter().flat_map(|file| file.blocks.values());
    contents.map(|content| content.origin).collect::<BTreeSet<_>>().len()
}

/// An operation found its place: what it was answered must be what comes of it. The snapshot that it copies from had
/// `kept`, or is gone.
///
/// # Errors
/// What differs.
pub fn apply(files: &mut Files, kept: Option<&Files>, (act, lsn): (Act, Lsn), answer: &Answer) -> Result<(), String> {
    match (act.apply(files, kept, lsn), answer) {
        (Ok(file), Ok(bytes)) => {
            let attributes = Object::decode(bytes).map_err(|error| error.to_string())?.attributes;
            same(&files[usize::from(file)], file, &attributes)
        }
        (Err(expected), Err(kind)) if expected == *kind => Ok(()),
        (expected, _) => Err(format!("{act:?}: answered {answer:?}, and must be {expected:?}")),
    }
}

fn same(file: &File, number: u8, attributes: &Attributes) -> Result<(), String> {
    let (found, expected) = (
        (attributes.size, attributes.blocks),
        (file.size * BLOCK, file.blocks.len() as u64),
    );
    match found == expected {
        true => Ok(()),
        false => Err(format!(
            "file {number} has {found:?} bytes and blocks, and must have {expected:?}"
        )),
    }
}

/// Compares the `items` of a fileset with what its files must be.
///
/// # Errors
/// What differs first.
pub fn compare(items: &[(Key, Bytes)], files: &Files) -> Result<(), String> {
    for (number, file) in (0..).zip(files) {
        let mut found = BTreeMap::new();
        for (key, value) in items.iter().filter(|(key, _)| key.object == vnode(number).number()) {
            match key.kind {
                KeyKind::Attributes => {
                    let attributes = Attributes::decode(value).map_err(|error| error.to_string())?;
                    same(file, number, &attributes)?;
                }
                KeyKind::Extent => {
                    let extent = Extent::decode(value).map_err(|error| error.to_string())?;
                    found.extend((key.sub..).zip(extent.checksums));
                }
                kind => return Err(format!("file {number} has an item of {kind:?}")),
            }
        }
        let expected = file.blocks.iter().map(|(at, content)| (*at, content.checksum));
        if let Some(at) = first_difference(&found, &expected.collect()) {
            return Err(format!("file {number} holds other bytes in its block {at}"));
        }
    }
    Ok(())
}

fn first_difference(found: &BTreeMap<u64, Checksum>, expected: &BTreeMap<u64, Checksum>) -> Option<u64> {
    let keys = found.keys().chain(expected.keys());
    keys.filter(|at| found.get(at) != expected.get(at)).min().copied()
}

/// Reads the first bytes of each as programs do; gives one that reads others than it must.
///
/// # Errors
/// What the store says.
pub fn read(fileset: &Fileset, files: &[File]) -> Result<Option<u8>> {
    for (number, file) in (0..).zip(files) {
        let read = file::read(
            fileset,
            fid(fileset.id(), number),
            0,
            READ_BLOCKS as usize * BLOCK_BYTES,
        )?;
        if read[..] != file.bytes(READ_BLOCKS)[..] {
            return Ok(Some(number));
        }
    }
    Ok(None)
}
