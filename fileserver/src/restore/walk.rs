//! The walk: the steps from what is to what was, carried out as they come.
//!
//! | now | then | what is done |
//! |---|---|---|
//! | a directory | a directory | it stays, and what is in it is compared |
//! | any file | the same file | its bytes and attributes are put back, where they differ |
//! | something else, or nothing | anything | that goes with all that is in it; it is made anew |
//! | anything | nothing | it goes |
//!
//! What the store knows to be the same in both does not come by, however large it is.
//!
//! A directory gets its date when all that is in it is done. Names of one file are names of one file again.

use std::collections::{BTreeMap, HashMap};

use baton_aggregate::aggregate::{Comparison, Found, Pair, Step};
use baton_types::call::{Answer, Keep, Request};
use baton_types::control::{Carry, Fate, Restored};
use baton_types::file::{Attributes, FileKind, Object, Place, SetAttributes, SetTime};
use baton_types::{Error, Fid, FileName, FilesetId, Kind, Result, Vnode};
use bytes::Bytes;

use crate::inside::{Inside, unexpected};
use crate::shape;

/// A walk that goes on.
pub struct Walk<'a> {
    pub(super) inside: &'a Inside<'a>,
    carry: Carry,
    /// By which the service knows the moment that is brought back.
    past: FilesetId,
    /// Where the walk begins; `None`: at the root.
    place: Option<Place>,
    /// The directories that it is in, the outermost first.
    entered: Vec<Entered>,
    /// Files with several names, by their vnodes of then.
    made: HashMap<Vnode, Fid>,
    /// All that differed.
    pub steps: Vec<Restored>,
}

/// A directory that the walk is in.
struct Entered {
    /// `None`: there is none, and it is only said what there was.
    now: Option<Fid>,
    end: End,
}

/// What becomes of a directory when all in it is done.
enum End {
    /// It gets what it had.
    Finish(Attributes),
    /// It goes.
    Rmdir(Place),
    /// Nothing.
    Nothing,
}

impl<'a> Walk<'a> {
    /// Nothing is done yet.
    pub fn new(inside: &'a Inside<'a>, carry: Carry, past: FilesetId, place: Option<Place>) -> Walk<'a> {
        Walk {
            inside,
            carry,
            past,
            place,
            entered: Vec::new(),
            made: HashMap::new(),
            steps: Vec::new(),
        }
    }

    /// Carries out what leads from now to then.
    ///
    /// # Errors
    /// What the service says; what was done until then stays done.
    pub fn along(&mut self, comparison: Comparison) -> Result<()> {
        for step in comparison {
            match step? {
                Step::Enter(pair) => self.enter(&pair)?,
                Step::Leave => self.leave()?,
                Step::File(pair) => self.file(&pair)?,
            }
        }
        Ok(())
    }

    fn enter(&mut self, pair: &Pair) -> Result<()> {
        let (now, then, path) = self.sides(pair)?;
        let entered = match (now, then) {
            (Some(now), Some(then)) => {
                let other = self.other(&then, &now)?;
                if other.is_any() {
                    self.step(path, Fate::Changed);
                }
                let end = match self.carry {
                    Carry::Nothing => End::Nothing,
                    Carry::Out => {
                        self.put_xattrs(now.fid, other.xattrs)?;
                        End::Finish(then.attributes)
                    }
                };
                (Some(now.fid), end)
            }
            (Some(now), None) => {
                self.step(path, Fate::Gone);
                let end = match self.carry {
                    Carry::Nothing => End::Nothing,
                    Carry::Out => End::Rmdir(self.place_of(path)?),
                };
                (Some(now.fid), end)
            }
            (None, Some(then)) => {
                self.step(path, Fate::Back);
                match self.carry {
                    Carry::Nothing => (None, End::Nothing),
                    Carry::Out => (Some(self.make(path, &then)?), End::Finish(then.attributes)),
                }
            }
            (None, None) => (None, End::Nothing),
        };
        let (now, end) = entered;
        self.entered.push(Entered { now, end });
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        let Some(Entered { now, end }) = self.entered.pop() else {
            return Ok(());
        };
        match (now, end) {
            (Some(now), End::Finish(then)) => self.finish(now, &then),
            (_, End::Rmdir(place)) => self.rmdir(place),
            (None, End::Finish(_)) | (_, End::Nothing) => Ok(()),
        }
    }

    fn file(&mut self, pair: &Pair) -> Result<()> {
        let (now, then, path) = self.sides(pair)?;
        if let (Some(now), Some(then)) = (now, then)
            && (now.fid.vnode, now.fid.unique) == (then.fid.vnode, then.fid.unique)
        {
            return self.put_back(path, (then, now));
        }
        if let Some(now) = now {
            self.step(path, Fate::Gone);
            if self.carry == Carry::Out {
                self.remove(path, &now)?;
            }
        }
        if let Some(then) = then {
            self.step(path, Fate::Back);
            if self.carry == Carry::Out {
                self.make(path, &then)?;
            }
        }
        Ok(())
    }

    /// What is now, what was then, and where.
    fn sides<'b>(&self, pair: &'b Pair) -> Result<(Option<Object>, Option<Object>, &'b [u8])> {
        let object = |found: &Found| shape::object(&found.object);
        let now = pair.from.as_ref().map(object).transpose()?;
        let then = pair.to.as_ref().map(object).transpose()?;
        let then = then.map(|then| Object {
            fid: Fid {
                fileset: self.past,
                ..then.fid
            },
            ..then
        });
        let found = pair.from.as_ref().or(pair.to.as_ref());
        Ok((now, then, found.map_or(b"", |found| &found.path)))
    }

    /// Where a path is now, in the directory that the walk is in.
    fn place_of(&self, path: &[u8]) -> Result<Place> {
        let begin = || self.place.clone();
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let place = match self.entered.last() {
            None => begin(),
            Some(Entered { now: None, .. }) => None,
            Some(Entered {
                now: Some(directory), ..
            }) => Some(Place {
                directory: *directory,
                name: FileName::parse(name)?,
            }),
        };
        let nowhere = || Error::new(Kind::Invalid, format!("'{}'", path.escape_ascii()));
        place.ok_or_else(|| nowhere().because("there is no directory for it"))
    }

    /// The same file, as it was.
    fn put_back(&mut self, path: &[u8], (then, now): (Object, Object)) -> Result<()> {
        if then.attributes.links > 1 {
            self.made.insert(then.fid.vnode, now.fid);
        }
        let other = self.other(&then, &now)?;
        if other.is_any() {
            self.step(path, Fate::Changed);
        }
        match self.carry {
            Carry::Nothing => Ok(()),
            Carry::Out => self.undo(other, (then, now.fid)),
        }
    }

    /// What is other now in a file than then.
    fn other(&self, then: &Object, now: &Object) -> Result<Other> {
        let has_bytes = then.attributes.kind == FileKind::Regular;
        Ok(Other {
            bytes: has_bytes && then.attributes.data_version != now.attributes.data_version,
            attributes: differs(&then.attributes, &now.attributes),
            xattrs: self.xattrs(then, now)?,
        })
    }

    fn undo(&self, other: Other, (then, now): (Object, Fid)) -> Result<()> {
        let is_set = other.bytes || other.attributes;
        if other.bytes {
            self.copy(then, now)?;
        }
        self.put_xattrs(now, other.xattrs)?;
        match is_set {
            true => self.set(now, &then.attributes),
            false => Ok(()),
        }
    }

    /// A file that had several names and has one still, or again: its bytes are those of then.
    fn named_elsewhere(&mut self, then: &Object) -> Result<Option<Fid>> {
        if then.attributes.kind == FileKind::Directory || then.attributes.links < 2 {
            return Ok(None);
        }
        if let Some(fid) = self.made.get(&then.fid.vnode) {
            return Ok(Some(*fid));
        }
        let fileset = self.past.live();
        let now = match self.inside.attributes(Fid { fileset, ..then.fid }) {
            Ok(now) if now.attributes.links > 0 => now,
            Ok(_) => return Ok(None),
            Err(error) if matches!(error.kind, Kind::Stale | Kind::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let other = self.other(then, &now)?;
        self.undo(other, (*then, now.fid))?;
        self.made.insert(then.fid.vnode, now.fid);
        Ok(Some(now.fid))
    }

    fn remove(&self, path: &[u8], now: &Object) -> Result<()> {
        let (place, keep, time) = (self.place_of(path)?, Keep::Closed, self.inside.date());
        let request = match now.attributes.kind {
            FileKind::MountPoint => Request::RemoveMountPoint { place, time },
            FileKind::Directory => Request::Rmdir { place, keep, time },
            FileKind::Regular
            | FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::Character
            | FileKind::BlockDevice => Request::Unlink { place, keep, time },
        };
        self.inside.change(request, Bytes::new()).map(drop)
    }

    fn rmdir(&self, place: Place) -> Result<()> {
        let (keep, time) = (Keep::Closed, self.inside.date());
        let request = Request::Rmdir { place, keep, time };
        self.inside.change(request, Bytes::new()).map(drop)
    }

    /// Makes something where nothing is any more; a directory is empty, and not finished.
    fn make(&mut self, path: &[u8], then: &Object) -> Result<Fid> {
        let place = self.place_of(path)?;
        if let Some(fid) = self.named_elsewhere(then)? {
            let time = self.inside.date();
            let link = Request::Link { fid, place, time };
            return self.inside.change(link, Bytes::new()).map(|_| fid);
        }
        let now = self
            .inside
            .change(self.request_to_make(place, then)?, Bytes::new())?
            .fid;
        let xattrs = self.all_xattrs(then.fid)?.into_iter();
        self.put_xattrs(now, xattrs.map(|(name, value)| (name, Some(value))).collect())?;
        if then.attributes.kind == FileKind::Directory {
            return Ok(now);
        }
        if then.attributes.links > 1 {
            self.made.insert(then.fid.vnode, now);
        }
        if then.attributes.kind == FileKind::Regular {
            self.copy(*then, now)?;
        }
        self.set(now, &then.attributes)?;
        Ok(now)
    }

    fn request_to_make(&self, place: Place, then: &Object) -> Result<Request> {
        let (newborn, time) = (self.inside.newborn(then.attributes.mode)?, self.inside.date());
        Ok(match then.attributes.kind {
            FileKind::Regular => Request::Create { place, newborn, time },
            FileKind::Directory => Request::Mkdir { place, newborn, time },
            FileKind::Symlink => Request::Symlink {
                place,
                newborn,
                target: self.inside.ask(Request::Readlink { fid: then.fid })?.1.to_vec(),
                time,
            },
            FileKind::MountPoint => match self.inside.ask(Request::ReadMountPoint { fid: then.fid })? {
                (Answer::MountPoint(leads_to), _) => Request::CreateMountPoint {
                    place,
                    newborn,
                    leads_to,
                    time,
                },
                (other, _) => return Err(unexpected(&other)),
            },
            kind @ (FileKind::Fifo | FileKind::Socket | FileKind::Character | FileKind::BlockDevice) => {
                Request::Mknod {
                    place,
                    newborn,
                    kind,
                    device: then.attributes.device,
                    time,
                }
            }
        })
    }

    /// A directory, in which all is done.
    fn finish(&self, now: Fid, then: &Attributes) -> Result<()> {
        let attributes = self.inside.attributes(now)?.attributes;
        match differs(then, &attributes) || then.modified != attributes.modified {
            true => self.set(now, then),
            false => Ok(()),
        }
    }

    /// Owner, mode and dates.
    fn set(&self, now: Fid, then: &Attributes) -> Result<()> {
        // A file that is given away loses its set-id bits: the mode comes after that.
        let owner = SetAttributes {
            uid: Some(then.uid),
            gid: Some(then.gid),
            ..SetAttributes::default()
        };
        self.setattr(now, owner)?;
        let set = SetAttributes {
            mode: (then.kind != FileKind::Symlink).then_some(then.mode),
            accessed: Some(SetTime::To(then.accessed)),
            modified: Some(SetTime::To(then.modified)),
            ..SetAttributes::default()
        };
        self.setattr(now, set)
    }

    pub(super) fn setattr(&self, fid: Fid, set: SetAttributes) -> Result<()> {
        let time = self.inside.date();
        let request = Request::Setattr { fid, set, time };
        self.inside.change(request, Bytes::new()).map(drop)
    }

    /// The extended attributes that are to be set, or to be removed, so that a file has those of then.
    fn xattrs(&self, then: &Object, now: &Object) -> Result<Xattrs> {
        if then.attributes.changed == now.attributes.changed {
            return Ok(Xattrs::new());
        }
        let (then, now) = (self.all_xattrs(then.fid)?, self.all_xattrs(now.fid)?);
        let gone = now.keys().filter(|name| !then.contains_key(*name));
        let mut all: Xattrs = gone.map(|name| (name.clone(), None)).collect();
        let is_other = |(name, value): &(Vec<u8>, Bytes)| now.get(name) != Some(value);
        let other = then.clone().into_iter().filter(is_other);
        all.extend(other.map(|(name, value)| (name, Some(value))));
        Ok(all)
    }

    fn all_xattrs(&self, fid: Fid) -> Result<BTreeMap<Vec<u8>, Bytes>> {
        let (_, names) = self.inside.ask(Request::ListXattrs { fid })?;
        let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let value = |name: &[u8]| {
            let name = name.to_vec();
            let (_, value) = self.inside.ask(Request::GetXattr {
                fid,
                name: name.clone(),
            })?;
            Ok((name, value))
        };
        names.map(value).collect()
    }

    fn put_xattrs(&self, fid: Fid, xattrs: Xattrs) -> Result<()> {
        for (name, value) in xattrs {
            let time = self.inside.date();
            let (request, payload) = match value {
                Some(value) => {
                    let how = baton_types::call::SetXattr::Always;
                    (Request::SetXattr { fid, name, how, time }, value)
                }
                None => (Request::RemoveXattr { fid, name, time }, Bytes::new()),
            };
            self.inside.change(request, payload)?;
        }
        Ok(())
    }

    fn step(&mut self, path: &[u8], fate: Fate) {
        let path = path.to_vec();
        self.steps.push(Restored { path, fate });
    }
}

/// What is other in a file.
struct Other {
    bytes: bool,
    attributes: bool,
    xattrs: Xattrs,
}

impl Other {
    fn is_any(&self) -> bool {
        self.bytes || self.attributes || !self.xattrs.is_empty()
    }
}

/// Extended attributes, each with its value or without.
type Xattrs = BTreeMap<Vec<u8>, Option<Bytes>>;

/// Whether what `set` would put back differs.
fn differs(then: &Attributes, now: &Attributes) -> bool {
    let of = |attributes: &Attributes| {
        let is_directory = attributes.kind == FileKind::Directory;
        let modified = (!is_directory).then_some(attributes.modified);
        (attributes.mode, attributes.uid, attributes.gid, modified)
    };
    of(then) != of(now)
}
