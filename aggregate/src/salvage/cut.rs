//! What is cut out of the tree of a fileset, and what goes with it.
//!
//! A node that does not verify is left out of its parent, and all below it is gone. Items are in the order of their
//! files, so of most files that lose something everything goes, or all but their names: the rounds that follow see to
//! that. Of those at the ends of the range only some goes, and what is left would pass for the whole: a file would have
//! zeroes where its bytes were, an ACL fewer entries. That is seen to before, by records, so that a repair which is cut
//! short never leaves it so:
//!
//! | what loses a part | what becomes of it |
//! |---|---|
//! | a file that has, or may have, bytes there | its names go: it comes to `lost+found`, with the bytes that are left |
//! | a symbolic link, a mount point | it goes, with its names |
//! | a directory | stays; files below it that have no other name come to `lost+found` |
//! | an ACL, an extended attribute of several pieces | the other pieces go |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use baton_types::{Result, Vnode};

use super::items;
use super::mend::Change;
use super::walk::Broken;
use crate::format::{Attributes, Extent, FileKind, Key, KeyKind, NameEntry, PIECES_MAX};
use crate::live::LiveTree;
use crate::nodes::Nodes;
use crate::tree::Cut;

/// Paths that are told of one node at most.
const PATHS_MAX: usize = 20;

/// A node that is cut out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CutOut {
    pub cut: Cut,
    /// What is done before that.
    pub before: Vec<Change>,
    lost: Lost,
}

/// What is below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lost {
    /// The first object, and the last one, if one comes after it.
    first: u64,
    last: Option<u64>,
    /// Files that are lost, or a part of which is, as far as they have names.
    paths: Vec<String>,
    more: usize,
}

/// What becomes of each of `broken`, the nodes of `tree` that do not verify, in the order of their keys. A hidden fileset
/// is being taken apart: in it nothing has to fit together.
///
/// # Errors
/// What keeps the rest of the tree from being read.
pub(super) fn plan(tree: &LiveTree, nodes: &Nodes, broken: &[Broken], is_hidden: bool) -> Result<Vec<CutOut>> {
    let mut rest = Rest::default();
    for broken in broken {
        let ends = [Some(broken.cut.key), broken.until].into_iter().flatten();
        let pieces = ends.filter(|end| is_of_pieces(*end) && end.sub % PIECES_MAX > 0);
        rest.torn_values.extend(pieces.map(whole));
        rest.at_ends.insert(broken.cut.key.object);
    }
    let mut from = Some(Key::FIRST);
    for broken in broken {
        if let (Some(from), Some(to)) = (from, broken.from.before())
            && from <= to
        {
            items::each(tree, nodes, (from, to), |key, value| rest.item(key, &value))?;
        }
        from = broken.until;
    }
    if let Some(from) = from {
        items::each(tree, nodes, (from, Key::LAST), |key, value| rest.item(key, &value))?;
    }
    let mut outs = Vec::new();
    for broken in broken {
        let (mut lost, mut before) = (Lost::of(broken), Vec::new());
        if !is_hidden {
            rest.tear(broken.cut.key, &mut lost, &mut before);
        }
        rest.lose(broken, &mut lost);
        outs.push(CutOut {
            cut: broken.cut,
            before,
            lost,
        });
    }
    if let Some(first) = outs.first_mut().filter(|_| !is_hidden) {
        first.before.extend(rest.pieces.into_iter().map(Change::Item));
    }
    Ok(outs)
}

fn is_of_pieces(key: Key) -> bool {
    matches!(key.kind, KeyKind::Xattr | KeyKind::Acl)
}

/// The first piece of the value that `key` is one of.
fn whole(key: Key) -> Key {
    Key {
        sub: key.sub - key.sub % PIECES_MAX,
        ..key
    }
}

/// What can be read of a file some of which may be below.
#[derive(Default)]
struct Part {
    blocks: u64,
    inline: u64,
    leads_somewhere: bool,
}

/// What can be read of the fileset.
#[derive(Default)]
struct Rest {
    /// Of each file whose attributes can be: its mode, size and blocks.
    files: BTreeMap<u64, (u32, u64, u64)>,
    names: Vec<(Key, NameEntry)>,
    /// Files that lie over the beginning of something lost.
    at_ends: BTreeSet<u64>,
    parts: BTreeMap<u64, Part>,
    /// Values of which some pieces are lost, by their first one; the others.
    torn_values: BTreeSet<Key>,
    pieces: Vec<Key>,
}

impl Rest {
    fn item(&mut self, key: Key, value: &bytes::Bytes) -> Result<()> {
        // A value that cannot be told is found as such when all else can be read.
        match key.kind {
            KeyKind::Attributes => {
                if let Ok(of) = Attributes::decode(value) {
                    self.files.insert(key.object, (of.mode, of.size, of.blocks));
                }
            }
            KeyKind::Name => {
                let entries = NameEntry::decode_all(value).unwrap_or_default();
                self.names.extend(entries.into_iter().map(|entry| (key, entry)));
            }
            _ if is_of_pieces(key) && self.torn_values.contains(&whole(key)) => self.pieces.push(key),
            _ => {}
        }
        if self.at_ends.contains(&key.object) {
            let part = self.parts.entry(key.object).or_default();
            match key.kind {
                KeyKind::Extent => part.blocks += Extent::decode(value).map_or(0, |extent| u64::from(extent.count)),
                KeyKind::Inline => part.inline += value.len() as u64,
                KeyKind::MountPoint => part.leads_somewhere = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// What becomes of the file that lies over the beginning of what is lost from `from` on.
    fn tear(&self, from: Key, lost: &mut Lost, before: &mut Vec<Change>) {
        let Some((mode, size, blocks)) = self.files.get(&from.object).copied() else {
            return;
        };
        let nothing = Part::default();
        let part = self.parts.get(&from.object).unwrap_or(&nothing);
        match FileKind::from_mode(mode) {
            Some(FileKind::Regular) => {
                // A file that is nothing but a hole looks as one whose few bytes are lost.
                let has_all = from.kind < KeyKind::Extent && part.blocks >= blocks && part.blocks + part.inline > 0;
                if size == 0 || has_all {
                    return;
                }
                let names = self
                    .names
                    .iter()
                    .filter(|(_, entry)| entry.vnode.number() == from.object);
                before.extend(names.map(|(key, entry)| Change::Unname(*key, entry.name.clone())));
            }
            Some(FileKind::Symlink) if part.inline != size => {
                before.extend(Vnode::new(from.object).ok().map(Key::attributes).map(Change::Item));
            }
            Some(FileKind::MountPoint) if !part.leads_somewhere => {
                before.extend(Vnode::new(from.object).ok().map(Key::attributes).map(Change::Item));
            }
            _ => {}
        }
        lost.add(format!("a part of {}", self.path(from.object)));
    }

    /// Names the files that are below.
    fn lose(&self, broken: &Broken, lost: &mut Lost) {
        let is_below = |vnode: Vnode| {
            let key = Key::attributes(vnode);
            key >= broken.from && broken.until.is_none_or(|until| key < until)
        };
        let is_lost = |entry: &&NameEntry| is_below(entry.vnode) && !self.files.contains_key(&entry.vnode.number());
        let names = self.names.iter().map(|(_, entry)| entry).filter(is_lost);
        let vnodes: BTreeSet<u64> = names.map(|entry| entry.vnode.number()).collect();
        for vnode in vnodes {
            match lost.paths.len() < PATHS_MAX {
                true => lost.add(self.path(vnode)),
                false => lost.more += 1,
            }
        }
    }

    /// The path of a file, as far up as there are names.
    fn path(&self, vnode: u64) -> String {
        let (mut path, mut at) = (String::new(), vnode);
        let mut steps = 0..self.names.len();
        while at != Vnode::ROOT.number() {
            let above = self.names.iter().find(|(_, entry)| entry.vnode.number() == at);
            let (Some((key, entry)), Some(_)) = (above, steps.next()) else {
                return format!("vnode {at}{path}");
            };
            path = format!("/{}{path}", entry.name.escape_ascii());
            at = key.object;
        }
        match path.is_empty() {
            true => "/".to_owned(),
            false => path,
        }
    }
}

impl Lost {
    fn of(broken: &Broken) -> Lost {
        Lost {
            first: broken.from.object,
            // What is below ends before the first key that is not.
            last: broken.until.and_then(Key::before).map(|last| last.object),
            ..Lost::default()
        }
    }

    fn add(&mut self, path: String) {
        self.paths.push(path);
    }
}

impl fmt::Display for CutOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lost {
            first,
            last,
            paths,
            more,
        } = &self.lost;
        f.write_str("cut out, with all below it: ")?;
        if *first == 0 {
            f.write_str("ACLs, ")?;
        }
        match (first.max(&1), last) {
            (first, None) => write!(f, "vnodes from {first} on")?,
            (_, Some(0)) => f.write_str("no vnodes")?,
            (first, Some(last)) if last <= first => write!(f, "of vnode {first}")?,
            (first, Some(last)) => write!(f, "vnodes {first} to {last}")?,
        }
        if !paths.is_empty() {
            write!(f, " ({}", paths.join(", "))?;
            if *more > 0 {
                write!(f, " and {more} more")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}
