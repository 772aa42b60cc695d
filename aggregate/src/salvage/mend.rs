//! What a repair makes of what a check finds.
//!
//! A check says it of each finding, where it knows what is there instead. What it leaves to nobody ([`Mend::Refuse`])
//! contradicts what a repair would have to rest on: then nothing is written at all.

use std::fmt;

use baton_types::{FilesetId, Vnode};

use super::cut::CutOut;
use crate::format::{Attributes, FileKind, Key, Lsn};
use crate::transaction::Run;

/// What a repair makes of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mend {
    /// Nothing, and of the others nothing either: what is right cannot be told from here.
    Refuse,
    /// Nothing: it is named, and stays as it is.
    Leave,
    /// Nothing, unless the repair is told to cut it out.
    Uncut,
    /// A node that does not verify is left out of the tree of a fileset, with all below it.
    Cut(FilesetId, Box<CutOut>),
    /// The label is written anew from its other copy.
    Label,
    /// The slot and the roots of a new epoch go before it.
    Epoch,
    /// The record of space is made anew from what is reached, before anything is taken.
    Space,
    /// Blocks that nobody has are given back.
    Leak(Vec<Run>),
    /// A fileset is changed.
    Fileset(FilesetId, Change),
    /// Bytes and files that a snapshot is said to have are set.
    Snapshot(FilesetId, Lsn, (u64, u64)),
}

/// One change to a fileset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Attributes of a file are set.
    Set(Vnode, Field),
    /// A name of the item is of this kind of file; without one it goes.
    Entry(Key, Vec<u8>, Option<FileKind>),
    /// A name of the item goes, of a directory of which nothing else is known.
    Unname(Key, Vec<u8>),
    /// An item of a file that is not there goes, with the blocks it refers to.
    Item(Key),
    /// A file that no name leads to gets one in `lost+found`.
    Stray(Vnode),
    /// What is said to have no name is no orphan.
    NoOrphan(Vnode),
    /// An orphan that nobody can hold goes.
    Orphan(Vnode),
    /// Bytes and files that the fileset is said to have.
    Usage(u64, u64),
    /// Blocks that are said to be promised to its files.
    Promised(u64),
    /// Vnodes before this one are not given out any more.
    NextVnode(u64),
    /// A root directory is made.
    Root,
    /// Shared blocks, born then, are in so many places; in none, they are given back.
    Places(Run, Lsn, u32),
    /// Blocks that only snapshots have are theirs; each with its birth, or the first snapshot that has it.
    Dead(Vec<(Run, Lsn)>),
}

/// What is set of a file's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Links(u32),
    Size(u64),
    Blocks(u64),
    Parent(Vnode),
    /// No ACL: what that said is not known, so the owner alone may do what the mode lets him.
    OwnerOnly,
}

impl Field {
    /// Sets it.
    pub fn set(self, attributes: &mut Attributes) {
        match self {
            Field::Links(links) => attributes.links = links,
            Field::Size(size) => attributes.size = size,
            Field::Blocks(blocks) => attributes.blocks = blocks,
            Field::Parent(parent) => attributes.parent = Some(parent),
            Field::OwnerOnly => {
                attributes.acl = 0;
                // Neither set-id bits: whom they serve is not known any more.
                attributes.mode &= !0o6077;
            }
        }
    }
}

impl Mend {
    /// True if a repair does something about it.
    pub fn is_done(&self) -> bool {
        !matches!(self, Mend::Refuse | Mend::Leave | Mend::Uncut)
    }
}

impl fmt::Display for Mend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mend::Refuse => f.write_str("beyond what can be repaired"),
            Mend::Leave | Mend::Uncut => f.write_str("left as it is"),
            Mend::Cut(_, cut) => cut.fmt(f),
            Mend::Label => f.write_str("written anew from the other copy"),
            Mend::Epoch => f.write_str("a new epoch's slot and roots go before it"),
            Mend::Space => f.write_str("the record of space made anew"),
            Mend::Leak(_) => f.write_str("given back"),
            Mend::Fileset(_, change) => change.fmt(f),
            Mend::Snapshot(..) => f.write_str("set to what it has"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Set(_, Field::OwnerOnly) => f.write_str("the owner's alone from now on"),
            Change::Set(..) | Change::Places(..) | Change::Usage(..) | Change::Promised(_) | Change::NextVnode(_) => {
                f.write_str("set to what is there")
            }
            Change::Entry(.., None) | Change::Unname(..) => f.write_str("the name taken away"),
            Change::Entry(.., Some(_)) => f.write_str("the name says what the file is"),
            Change::Item(_) => f.write_str("taken away"),
            Change::Stray(vnode) => write!(f, "in lost+found as '#{}'", vnode.number()),
            Change::NoOrphan(_) => f.write_str("no orphan any more"),
            Change::Orphan(_) => f.write_str("given back"),
            Change::Root => f.write_str("a new one, of root's"),
            Change::Dead(_) => f.write_str("left to the snapshots that have them"),
        }
    }
}
