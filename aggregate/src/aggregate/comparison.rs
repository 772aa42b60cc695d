//! Two moments of a fileset side by side, name by name: the steps that lead from one to the other (I13).
//!
//! | from | to | steps |
//! |---|---|---|
//! | a directory | a directory | it is entered, and what is in it is compared |
//! | a file | it, or another one of its kind | one, if they differ |
//! | anything | nothing, or another kind | it goes with all that is in it; it comes so |
//! | nothing | anything | it comes with all that is in it |
//!
//! What is known to be the same in both is not looked into, however large it is. Of a directory that is, the names are
//! read a page at a time, and only what may differ is kept.
//!
//! Something that goes from one place and comes to another, and has no name besides, was renamed. The first of the two
//! that comes by is parked until the other one does; what is parked to the end was outside of what is compared.

use std::collections::BTreeMap;
use std::vec;

use baton_types::{Error, Fid, FileName, Kind, Result, Vnode};
use bytes::Bytes;

use super::difference::{Touched, attributes_of};
use super::fileset::Fileset;
use crate::fileset::{Object, Place, lookup, root};
use crate::format::{Attributes, FileKind, Key, KeyKind};
use crate::tree::Stop;

mod names;

use names::{Entry, Names};

/// What becomes of what has another name now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renames {
    /// It is one step.
    Told,
    /// It goes from one place and comes to another.
    Apart,
}

/// Something at its place in one of the moments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// From the fileset's root, without a slash before it.
    pub path: Vec<u8>,
    /// As it is there. FIDs are those of the live fileset.
    pub object: Object,
}

/// In what two moments of one thing differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Differing {
    /// It has its name in another directory, or has another one.
    pub is_renamed: bool,
    /// Its bytes; or it is another file of its kind.
    pub is_content: bool,
    /// Owner, mode, ACL, extended attributes, or of a file the date of its last change.
    pub is_attributes: bool,
}

/// One thing in both moments, or in one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// `None`: it comes.
    pub from: Option<Found>,
    /// `None`: it goes.
    pub to: Option<Found>,
    /// Nothing, where it comes or goes.
    pub differing: Differing,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// No directory; it differs.
    File(Pair),
    /// A directory, differing or not: what differs in it comes next, until its [`Step::Leave`].
    Enter(Pair),
    /// The directory entered last is done.
    Leave,
}

/// A comparison that goes on: its steps, by names within each directory. After an error nothing more comes.
pub struct Comparison {
    from: Fileset,
    to: Fileset,
    touched: Touched,
    renames: Renames,
    /// The directories entered, the root first.
    frames: Vec<Frame>,
    /// What is to be looked at before the next entry, the last first.
    waiting: Vec<Two>,
    parked: BTreeMap<(Vnode, u64), Two>,
}

type Two = (Option<Found>, Option<Found>);

struct Frame {
    /// Its paths, where it is.
    paths: (Option<Vec<u8>>, Option<Vec<u8>>),
    entries: vec::IntoIter<Entry>,
}

impl Comparison {
    /// Of two moments of one fileset; finds out what they share. [`begin`](Comparison::begin) says where.
    ///
    /// # Errors
    /// As [`Fileset::touched`].
    pub fn new(from: &Fileset, to: &Fileset, renames: Renames) -> Result<Comparison> {
        Ok(Comparison {
            touched: to.touched(from)?,
            from: from.clone(),
            to: to.clone(),
            renames,
            frames: Vec::new(),
            waiting: Vec::new(),
            parked: BTreeMap::new(),
        })
    }

    /// Compares what is at `path` in either moment, and all below; an empty one is the root.
    ///
    /// # Errors
    /// `NotFound` if nothing is there in either; `Invalid` for what is no path; damage.
    pub fn begin(&mut self, path: &[u8]) -> Result<()> {
        let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        let names = names.map(FileName::parse).collect::<Result<Vec<_>>>()?;
        let path = names.iter().fold(Vec::new(), |path, name| join(&path, name.as_bytes()));
        let two = (at_path(&self.from, &names)?, at_path(&self.to, &names)?);
        if let (None, None) = two {
            let error = Error::new(Kind::NotFound, format!("'{}'", path.escape_ascii()));
            return Err(error.because("there is no such file in either"));
        }
        let found = |object: Object| Found {
            path: path.clone(),
            object,
        };
        self.waiting.push((two.0.map(found), two.1.map(found)));
        Ok(())
    }

    fn step(&mut self) -> Result<Option<Step>> {
        loop {
            if let Some(two) = self.waiting.pop() {
                if let Some(step) = self.look(two)? {
                    return Ok(Some(step));
                }
                continue;
            }
            let Some(frame) = self.frames.last_mut() else {
                let Some((_, two)) = self.parked.pop_first() else {
                    return Ok(None);
                };
                return self.pair(two, Differing::default());
            };
            match frame.entries.next() {
                None => {
                    self.frames.pop();
                    return Ok(Some(Step::Leave));
                }
                Some(entry) => {
                    let path = |above: &Option<Vec<u8>>| join(above.as_deref().unwrap_or_default(), &entry.name);
                    let (from, to) = (path(&frame.paths.0), path(&frame.paths.1));
                    let from = entry.from.map(|fid| found(&self.from, fid, from)).transpose()?;
                    let to = entry.to.map(|fid| found(&self.to, fid, to)).transpose()?;
                    self.waiting.push((from.flatten(), to.flatten()));
                }
            }
        }
    }

    fn look(&mut self, (from, to): Two) -> Result<Option<Step>> {
        match (from, to) {
            (None, None) => Ok(None),
            (Some(from), Some(to)) if kind_of(&from)? == kind_of(&to)? => self.both(from, to),
            (Some(from), Some(to)) => {
                self.waiting.push((None, Some(to)));
                self.waiting.push((Some(from), None));
                Ok(None)
            }
            one => {
                let Some(file) = self.elsewhere(&one)? else {
                    return self.pair(one, Differing::default());
                };
                let Some(other) = self.parked.remove(&file) else {
                    self.parked.insert(file, one);
                    return Ok(None);
                };
                match (one.0.or(other.0), one.1.or(other.1)) {
                    (Some(from), Some(to)) => {
                        let differing = Differing {
                            is_renamed: true,
                            ..self.differing(&from, &to)?
                        };
                        self.pair((Some(from), Some(to)), differing)
                    }
                    one => self.pair(one, Differing::default()), // moved while it was looked at
                }
            }
        }
    }

    /// What is under one name in both.
    fn both(&mut self, from: Found, to: Found) -> Result<Option<Step>> {
        let differing = self.differing(&from, &to)?;
        let is_entered = kind_of(&to)? == FileKind::Directory;
        match is_entered || differing != Differing::default() {
            true => self.pair((Some(from), Some(to)), differing),
            false => Ok(None),
        }
    }

    fn pair(&mut self, (from, to): Two, differing: Differing) -> Result<Option<Step>> {
        let Some(one) = from.as_ref().or(to.as_ref()) else {
            return Ok(None);
        };
        if kind_of(one)? != FileKind::Directory {
            return Ok(Some(Step::File(Pair { from, to, differing })));
        }
        let entries = self.entries(from.as_ref(), to.as_ref())?;
        let path = |found: &Option<Found>| found.as_ref().map(|found| found.path.clone());
        self.frames.push(Frame {
            paths: (path(&from), path(&to)),
            entries: entries.into_iter(),
        });
        Ok(Some(Step::Enter(Pair { from, to, differing })))
    }

    /// Which file this is, if its one name is elsewhere in the other moment.
    fn elsewhere(&self, one: &Two) -> Result<Option<(Vnode, u64)>> {
        let (found, other) = match one {
            (Some(found), None) => (found, &self.to),
            (None, Some(found)) => (found, &self.from),
            (None, None) | (Some(_), Some(_)) => return Ok(None),
        };
        if self.renames == Renames::Apart {
            return Ok(None);
        }
        let file = (found.object.fid.vnode, found.object.fid.unique);
        let there = other.read(|view| attributes_of(view, file.0))?;
        let is_directory = matches!(kind_of(found)?, FileKind::Directory | FileKind::MountPoint);
        let has_one_name = |attributes: &Attributes| match is_directory {
            true => attributes.links > 0,
            false => attributes.links == 1,
        };
        let is_it = |there: &Attributes| {
            there.unique == file.1 && has_one_name(there) && has_one_name(&found.object.attributes)
        };
        Ok(there.filter(is_it).map(|_| file))
    }

    fn differing(&self, from: &Found, to: &Found) -> Result<Differing> {
        let is_same = from.object.fid == to.object.fid;
        let (one, other) = (&from.object.attributes, &to.object.attributes);
        let kind = kind_of(to)?;
        let of = |attributes: &Attributes| {
            let modified = (kind != FileKind::Directory).then_some(attributes.modified);
            (
                attributes.mode,
                attributes.uid,
                attributes.gid,
                attributes.acl,
                modified,
            )
        };
        // Whatever changes them dates the file.
        let may_have_others = !is_same || one.changed != other.changed;
        let has_others = || Ok::<_, Error>(xattrs(&self.from, from)? != xattrs(&self.to, to)?);
        Ok(Differing {
            is_renamed: false,
            is_content: match kind {
                FileKind::Directory => false,
                FileKind::Regular => !is_same || one.data_version != other.data_version,
                FileKind::Symlink
                | FileKind::Fifo
                | FileKind::Socket
                | FileKind::Character
                | FileKind::BlockDevice
                | FileKind::MountPoint => !is_same,
            },
            is_attributes: of(one) != of(other) || may_have_others && has_others()?,
        })
    }

    /// What may differ in a directory, by names.
    fn entries(&self, from: Option<&Found>, to: Option<&Found>) -> Result<Vec<Entry>> {
        let mut entries = match (from, to) {
            // Whatever has come or gone shows in the version.
            (Some(from), Some(to))
                if from.object.fid == to.object.fid
                    && from.object.attributes.data_version == to.object.attributes.data_version =>
            {
                match self.touched.may_be_below(to.object.fid.vnode) {
                    true => names::of_both(Names::new(&self.to, to), &self.touched)?,
                    false => Vec::new(),
                }
            }
            (from, to) => {
                let from = from.map(|from| Names::new(&self.from, from));
                let to = to.map(|to| Names::new(&self.to, to));
                names::of_each(from, to, &self.touched)?
            }
        };
        entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }
}

impl Iterator for Comparison {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            (self.frames, self.waiting, self.parked) = (Vec::new(), Vec::new(), BTreeMap::new());
        }
        step.transpose()
    }
}

/// What is at the end of a path, if it leads anywhere.
fn at_path(moment: &Fileset, path: &[FileName]) -> Result<Option<Object>> {
    let names = moment.names();
    let found = moment.read(|view| {
        let mut at = root(view, moment.id())?;
        for name in path {
            let directory = at.fid;
            at = lookup(view, &names, Place { directory, name })?;
        }
        Ok(at)
    });
    match found {
        Ok(object) => Ok(Some(object)),
        Err(error) if matches!(error.kind, Kind::NotFound | Kind::NotDirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a name led to; `None` if it went from the live fileset meanwhile.
fn found(moment: &Fileset, fid: Fid, path: Vec<u8>) -> Result<Option<Found>> {
    let attributes = moment.read(|view| attributes_of(view, fid.vnode))?;
    let attributes = attributes.filter(|attributes| attributes.unique == fid.unique && attributes.links > 0);
    match (attributes, moment.snapshot()) {
        (Some(attributes), _) => Ok(Some(Found {
            path,
            object: Object { fid, attributes },
        })),
        (None, None) => Ok(None),
        (None, Some(_)) => {
            let error = Error::new(Kind::Damaged, format!("'{}' in a snapshot", path.escape_ascii()));
            Err(error.because("it leads to no file").remedy("run salvage -check"))
        }
    }
}

fn kind_of(found: &Found) -> Result<FileKind> {
    let mode = found.object.attributes.mode;
    let damaged = || Error::new(Kind::Damaged, format!("'{}'", found.path.escape_ascii()));
    FileKind::from_mode(mode).ok_or_else(|| damaged().because(format!("its mode is {mode:#o}")))
}

/// All extended attributes, as they lie there.
fn xattrs(moment: &Fileset, found: &Found) -> Result<Vec<(u64, Bytes)>> {
    let vnode = found.object.fid.vnode.number();
    let [first, last] = [0, u64::MAX].map(|sub| Key::new(vnode, KeyKind::Xattr, sub));
    moment.read(|view| {
        let items = view
            .scan(first, last)
            .map(|item| item.map(|(key, value)| (key.sub, value)));
        items.collect::<Result<_, Stop>>()
    })
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path {
        [] => name.to_vec(),
        _ => [path, b"/", name].concat(),
    }
}
