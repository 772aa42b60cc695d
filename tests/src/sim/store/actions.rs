//! What clients ask for: operations whose effect depends on nothing but the fileset and the operation itself.

use std::fmt;

use baton_aggregate::aggregate::{Done, Fileset, Need};
use baton_aggregate::buffer::Buffer;
use baton_aggregate::fileset::{self, Birth, Holders, Names, Onto, Place, SetXattr};
use baton_aggregate::format::{BLOCK_BYTES, Checksum, Extent, HashKey, Key, KeyKind, Lsn};
use baton_aggregate::transaction::{Operation, Reply, Transaction};
use baton_aggregate::tree::Stop;
use baton_types::{Error, Fid, FileName, FilesetId, Kind, Result, Vnode};
use bytes::Bytes;

use super::files::{Act, Old};
use crate::sim::Seed;

/// The secret of all filesets.
pub const SECRET: HashKey = HashKey([7; 16]);
/// Items that no file operation touches lie from here on.
const BARE: u64 = 1 << 39;
/// Objects of bare items, and items of each.
const OBJECTS: u64 = 6;
const ITEMS: u64 = 12;

/// An operation.
#[derive(Clone, Debug)]
pub enum Action {
    /// Sets an item to as many bytes.
    Put {
        object: u64,
        sub: u64,
        len: usize,
        byte: u8,
    },
    /// Deletes items of an object.
    Delete { object: u64, first: u64, last: u64 },
    /// Writes blocks of an object.
    Write {
        object: u64,
        first: u64,
        count: u32,
        byte: u8,
    },
    /// Frees all blocks of an object.
    Truncate { object: u64 },
    /// Makes the root directory.
    Root,
    /// Makes a file.
    Create { name: u8 },
    /// Makes a directory.
    Mkdir { name: u8 },
    /// Makes a symbolic link.
    Symlink { name: u8, len: usize },
    /// Gives a file another name.
    Link { name: u8, new: u8 },
    /// Takes a name away.
    Unlink { name: u8 },
    /// Takes a directory away.
    Rmdir { name: u8 },
    /// Moves a name.
    Rename { name: u8, new: u8 },
    /// Sets an extended attribute.
    Xattr { name: u8, attribute: u8, len: usize },
    /// Makes a file of bytes.
    File { number: u8 },
    /// Does something to the bytes of such files.
    Bytes(Act),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Action {
    /// One of them.
    pub fn draw(seed: &mut Seed) -> Action {
        let object = BARE + seed.below(OBJECTS);
        let name = seed.below(9) as u8;
        let byte = seed.draw() as u8;
        match seed.below(20) {
            0..4 => Action::Put {
                object,
                sub: seed.below(ITEMS),
                len: 1 + seed.index(1_800),
                byte,
            },
            4..6 => {
                let first = seed.below(ITEMS);
                let last = first + seed.below(3);
                Action::Delete { object, first, last }
            }
            6..11 => Action::Write {
                object,
                first: seed.below(20),
                count: 1 + seed.below(12) as u32,
                byte,
            },
            11 => Action::Truncate { object },
            12..14 => Action::Create { name },
            14 => Action::Mkdir { name },
            15 => Action::Symlink {
                name,
                len: 1 + seed.index(3_000),
            },
            16 => Action::Link {
                name,
                new: seed.below(9) as u8,
            },
            17 => match seed.below(3) {
                0 => Action::Rmdir { name },
                _ => Action::Unlink { name },
            },
            18 => Action::Rename {
                name,
                new: seed.below(9) as u8,
            },
            _ => Action::Xattr {
                name,
                attribute: seed.below(4) as u8,
                len: seed.index(3_000),
            },
        }
    }

    /// One of them; in a fileset with files of bytes, and these in snapshots, if that is said.
    pub fn draw_with(seed: &mut Seed, olds: Option<&[Old]>) -> Action {
        match olds {
            Some(olds) if seed.chance(450) => Action::Bytes(Act::draw(seed, olds)),
            _ => Action::draw(seed),
        }
    }

    /// Does it in the store.
    ///
    /// # Errors
    /// What the store says.
    pub fn perform(&self, fileset: &Fileset, operation: &Operation) -> Result<Done<Bytes>> {
        match self {
            Action::Bytes(act) => act.perform(fileset, operation),
            _ => fileset.change(operation, self.need(), |transaction| {
                self.run(fileset.id(), transaction)
            }),
        }
    }

    /// What it needs to be let in; who does something to bytes says that himself.
    fn need(&self) -> Need {
        match self {
            Action::Write { count, .. } => Need::data(u64::from(*count)),
            Action::Delete { .. } | Action::Truncate { .. } | Action::Unlink { .. } | Action::Rmdir { .. } => {
                Need::UPKEEP
            }
            Action::Put { .. }
            | Action::Root
            | Action::Create { .. }
            | Action::Mkdir { .. }
            | Action::Symlink { .. }
            | Action::Link { .. }
            | Action::Rename { .. }
            | Action::File { .. }
            | Action::Bytes(_)
            | Action::Xattr { .. } => Need::GROWTH,
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// What it is refused with; what the store says.
    pub fn run(&self, fileset: FilesetId, transaction: &mut Transaction<'_>) -> Result<Reply, Stop> {
        let names = Names::new(SECRET);
        let birth = Birth { mode: 0o644, acl: &[] };
        let object = match *self {
            Action::Put { object, sub, len, byte } => {
                let key = Key::new(object, KeyKind::Inline, sub);
                transaction.put(key, vec![byte; len]);
                return Ok(Reply::Done(vec![byte; 4].into()));
            }
            Action::Delete { object, first, last } => return delete(transaction, object, first, last),
            Action::Write {
                object,
                first,
                count,
                byte,
            } => return write(transaction, object, first, count, byte),
            Action::Truncate { object } => return truncate(transaction, object),
            Action::Root => fileset::make_root(transaction, &names, fileset, birth)?,
            Action::Create { name } => fileset::create(transaction, &names, place(fileset, &file_name(name)), birth)?,
            Action::File { number } => {
                let name = FileName::parse(format!("bytes{number}").as_bytes()).expect("a name");
                fileset::create(transaction, &names, place(fileset, &name), birth)?
            }
            Action::Bytes(_) => unreachable!("what is done to bytes is no transaction of ours"),
            Action::Mkdir { name } => fileset::mkdir(transaction, &names, place(fileset, &file_name(name)), birth)?,
            Action::Symlink { name, len } => {
                let target = vec![b'a' + name; len];
                fileset::symlink(transaction, &names, place(fileset, &file_name(name)), birth, &target)?
            }
            Action::Link { name, new } => {
                let fid = fid(transaction, &names, fileset, name)?;
                fileset::link(transaction, &names, place(fileset, &file_name(new)), fid)?
            }
            Action::Unlink { name } => {
                fileset::unlink(transaction, &names, place(fileset, &file_name(name)), Holders::Nobody)?
            }
            Action::Rmdir { name } => {
                fileset::rmdir(transaction, &names, place(fileset, &file_name(name)), Holders::Nobody)?
            }
            Action::Rename { name, new } => {
                let (source, target) = (file_name(name), file_name(new));
                let onto = Onto::Anything(Holders::Nobody);
                fileset::rename(
                    transaction,
                    &names,
                    place(fileset, &source),
                    place(fileset, &target),
                    onto,
                )?
            }
            Action::Xattr { name, attribute, len } => {
                let fid = fid(transaction, &names, fileset, name)?;
                let (attribute, value) = (format!("user.{attribute}"), vec![name; len]);
                let set = (attribute.as_bytes(), &value[..]);
                fileset::set_xattr(transaction, &names, fid, set, SetXattr::Always)?
            }
        };
        Ok(object.reply())
    }
}

fn file_name(name: u8) -> FileName {
    FileName::parse(format!("file{name}").as_bytes()).expect("a name")
}

fn place(fileset: FilesetId, name: &FileName) -> Place<'_> {
    Place {
        directory: Fid {
            fileset,
            vnode: Vnode::ROOT,
            unique: 0,
        },
        name,
    }
}

fn fid(transaction: &Transaction<'_>, names: &Names, fileset: FilesetId, name: u8) -> Result<Fid, Stop> {
    Ok(fileset::lookup(transaction, names, place(fileset, &file_name(name)))?.fid)
}

fn delete(transaction: &mut Transaction<'_>, object: u64, first: u64, last: u64) -> Result<Reply, Stop> {
    let key = |sub| Key::new(object, KeyKind::Inline, sub);
    let items = transaction.scan(key(first), key(last));
    let keys = items.map(|item| Ok(item?.0)).collect::<Result<Vec<_>, Stop>>()?;
    if keys.is_empty() {
        return Err(Error::new(Kind::NotFound, format!("items of {object}")).into());
    }
    let count = keys.len() as u8;
    keys.into_iter().for_each(|key| transaction.delete(key));
    Ok(Reply::Done(vec![count].into()))
}

/// Every block is an extent of its own: how the room that was found is divided leaves no trace.
fn write(transaction: &mut Transaction<'_>, object: u64, first: u64, count: u32, byte: u8) -> Result<Reply, Stop> {
    let mut at = first;
    for run in transaction.allocate(count)? {
        for block in run.blocks() {
            let key = Key::new(object, KeyKind::Extent, at);
            if let Some(old) = transaction.get(key)? {
                let old = Extent::decode(&old)?;
                transaction.free(old.block, old.count.into(), old.birth);
            }
            let mut bytes = vec![byte; BLOCK_BYTES];
            bytes[..8].copy_from_slice(&at.to_le_bytes());
            let extent = Extent {
                flags: 0,
                unit_shift: 12,
                block,
                count: 1,
                birth: Lsn(0),
                checksums: vec![Checksum::of(&bytes)],
            };
            transaction.put(key, extent.encode());
            transaction.write(block, Buffer::padded(&bytes));
            at += 1;
        }
    }
    transaction.usage().bytes += u64::from(count);
    Ok(Reply::done())
}

fn truncate(transaction: &mut Transaction<'_>, object: u64) -> Result<Reply, Stop> {
    let key = |sub| Key::new(object, KeyKind::Extent, sub);
    let items = transaction
        .scan(key(0), key(u64::MAX))
        .collect::<Result<Vec<_>, Stop>>()?;
    for (key, value) in &items {
        let extent = Extent::decode(value)?;
        transaction.delete(*key);
        transaction.free(extent.block, extent.count.into(), extent.birth);
    }
    Ok(Reply::Done(vec![items.len() as u8].into()))
}
