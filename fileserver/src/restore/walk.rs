//! The walk: what was and what is, side by side, name by name; and where they differ, what was is made to be.
//!
//! | then | now | what is done |
//! |---|---|---|
//! | a directory | a directory | it stays, and what is in it is compared |
//! | any file | the same file | its bytes and attributes are put back, where they differ |
//! | anything | something else, or nothing | that goes with all that is in it; it is made anew |
//! | nothing | anything | it goes |
//!
//! What the store knows to be the same in both is not looked into, however large it is.
//!
//! A directory gets its date when all that is in it is done. Names of one file are names of one file again.

use std::collections::{BTreeMap, HashMap};

use baton_aggregate::aggregate::Touched;
use baton_types::call::{Answer, At, Keep, Request};
use baton_types::control::{Carry, Fate, Restored};
use baton_types::file::{Attributes, FileKind, Object, Place, SetAttributes, SetTime};
use baton_types::{Error, Fid, FileName, Kind, Result, Vnode};
use bytes::Bytes;

use super::inside::{Inside, unexpected};

/// Bytes copied at once: a frame's payload.
const COPY_BYTES: u64 = 1 << 20;

/// A walk that goes on.
pub struct Walk<'a> {
    inside: &'a Inside<'a>,
    carry: Carry,
    /// What may differ: nothing else is looked into.
    touched: Touched,
    /// What is still to be done, the last first: a path may be deeper than a stack.
    stack: Vec<Task>,
    /// Files with several names, by their vnodes of then.
    made: HashMap<Vnode, Fid>,
    /// All that differed.
    pub steps: Vec<Restored>,
}

enum Task {
    /// Compares two directories; `None`: there is none now, and it is only said what there was.
    Compare { path: Vec<u8>, then: Fid, now: Option<Fid> },
    /// Gives a directory what it had, when all in it is done.
    Finish { now: Fid, then: Attributes },
    /// Takes something away, with all that is in it.
    Remove { path: Vec<u8>, place: Place, now: Object },
    /// Takes an emptied directory away.
    Rmdir(Place),
    /// Puts something at a place where nothing is any more.
    Make { path: Vec<u8>, place: Place, then: Object },
}

impl<'a> Walk<'a> {
    /// Nothing is compared yet.
    pub fn new(inside: &'a Inside<'a>, carry: Carry, touched: Touched) -> Walk<'a> {
        Walk {
            inside,
            carry,
            touched,
            stack: Vec::new(),
            made: HashMap::new(),
            steps: Vec::new(),
        }
    }

    /// Brings back all of a directory that is there now.
    ///
    /// # Errors
    /// What the service says; what was done until then stays done.
    pub fn directory(&mut self, path: &[u8], then: Object, now: Object) -> Result<()> {
        self.pair(path, (then, now))?;
        self.go_on()
    }

    /// Brings back what was at a place.
    ///
    /// # Errors
    /// As [`Walk::directory`].
    pub fn place(&mut self, path: &[u8], place: Place, (then, now): (Option<Object>, Option<Object>)) -> Result<()> {
        self.entry(path.to_vec(), Some(place), (then, now))?;
        self.go_on()
    }

    fn go_on(&mut self) -> Result<()> {
        while let Some(task) = self.stack.pop() {
            match task {
                Task::Compare { path, then, now } => self.compare(&path, then, now)?,
                Task::Finish { now, then } => self.finish(now, &then)?,
                Task::Remove { path, place, now } => self.remove(path, place, now)?,
                Task::Rmdir(place) => self.rmdir(place)?,
                Task::Make { path, place, then } => self.make(path, place, then)?,
            }
        }
        Ok(())
    }

    fn compare(&mut self, path: &[u8], then: Fid, now: Option<Fid>) -> Result<()> {
        let mut names: BTreeMap<Vec<u8>, (Option<Object>, Option<Object>)> = BTreeMap::new();
        for listed in self.inside.list(then)? {
            let object = self.object(listed.fid, listed.attributes)?;
            names.entry(listed.name).or_default().0 = Some(object);
        }
        if let Some(now) = now {
            for listed in self.inside.list(now)? {
                let object = self.object(listed.fid, listed.attributes)?;
                names.entry(listed.name).or_default().1 = Some(object);
            }
        }
        for (name, pair) in names {
            let below = join(path, &name);
            let name = FileName::parse(&name)?;
            let place = now.map(|directory| Place { directory, name });
            self.entry(below, place, pair)?;
        }
        Ok(())
    }

    /// One name, then and now. Without a place nothing is carried out.
    fn entry(
        &mut self,
        path: Vec<u8>,
        place: Option<Place>,
        (then, now): (Option<Object>, Option<Object>),
    ) -> Result<()> {
        let Some(place) = place else {
            // Where there is no directory now, there is nothing in it.
            then.iter().for_each(|then| self.only_then(path.clone(), then));
            return Ok(());
        };
        if let (Some(then), Some(now)) = (then, now)
            && is_same(&then, &now)
        {
            return self.pair(&path, (then, now));
        }
        if let Some(then) = then {
            let (path, place) = (path.clone(), place.clone());
            self.stack.push(Task::Make { path, place, then });
        }
        if let Some(now) = now {
            self.stack.push(Task::Remove { path, place, now });
        }
        Ok(())
    }

    /// What is there now and was there then, as the same.
    fn pair(&mut self, path: &[u8], (then, now): (Object, Object)) -> Result<()> {
        if then.attributes.links > 1 && then.attributes.kind != FileKind::Directory {
            self.made.insert(then.fid.vnode, now.fid);
        }
        // Another directory in its place is another one, whatever became of either.
        if then.fid.vnode == now.fid.vnode && !self.touched.may_differ(now.fid.vnode) {
            return Ok(());
        }
        let has_bytes = then.attributes.kind == FileKind::Regular;
        let bytes_differ = has_bytes && then.attributes.data_version != now.attributes.data_version;
        let xattrs = self.xattrs(&then, &now)?;
        if bytes_differ || !xattrs.is_empty() || differs(&then.attributes, &now.attributes) {
            self.step(path.to_vec(), Fate::Changed);
        }
        if then.attributes.kind == FileKind::Directory {
            if self.carry == Carry::Out {
                self.put_xattrs(now.fid, xattrs)?;
                let finish = Task::Finish {
                    now: now.fid,
                    then: then.attributes,
                };
                self.stack.push(finish);
            }
            self.stack.push(Task::Compare {
                path: path.to_vec(),
                then: then.fid,
                now: Some(now.fid),
            });
            return Ok(());
        }
        if self.carry == Carry::Nothing {
            return Ok(());
        }
        if bytes_differ {
            self.copy(then, now.fid)?;
        }
        self.put_xattrs(now.fid, xattrs)?;
        match bytes_differ || differs(&then.attributes, &now.attributes) {
            true => self.set(now.fid, &then.attributes),
            false => Ok(()),
        }
    }

    /// Something that is not there now, and is not made either.
    fn only_then(&mut self, path: Vec<u8>, then: &Object) {
        self.step(path.clone(), Fate::Back);
        if then.attributes.kind == FileKind::Directory {
            let (then, now) = (then.fid, None);
            self.stack.push(Task::Compare { path, then, now });
        }
    }

    fn remove(&mut self, path: Vec<u8>, place: Place, now: Object) -> Result<()> {
        let (keep, time) = (Keep::Closed, self.inside.date());
        let is_dry = self.carry == Carry::Nothing;
        let request = match now.attributes.kind {
            FileKind::Directory => {
                if !is_dry {
                    self.stack.push(Task::Rmdir(place));
                }
                for listed in self.inside.list(now.fid)? {
                    let object = self.object(listed.fid, listed.attributes)?;
                    let below = Place {
                        directory: now.fid,
                        name: FileName::parse(&listed.name)?,
                    };
                    self.stack.push(Task::Remove {
                        path: join(&path, &listed.name),
                        place: below,
                        now: object,
                    });
                }
                self.step(path, Fate::Gone);
                return Ok(());
            }
            FileKind::MountPoint => Request::RemoveMountPoint { place, time },
            FileKind::Regular
            | FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::Character
            | FileKind::BlockDevice => Request::Unlink { place, keep, time },
        };
        self.step(path, Fate::Gone);
        match is_dry {
            true => Ok(()),
            false => self.inside.change(request, Bytes::new()).map(drop),
        }
    }

    fn rmdir(&mut self, place: Place) -> Result<()> {
        let (keep, time) = (Keep::Closed, self.inside.date());
        let request = Request::Rmdir { place, keep, time };
        self.inside.change(request, Bytes::new()).map(drop)
    }

    fn make(&mut self, path: Vec<u8>, place: Place, then: Object) -> Result<()> {
        if self.carry == Carry::Nothing {
            self.only_then(path, &then);
            return Ok(());
        }
        self.step(path.clone(), Fate::Back);
        if let Some(fid) = self.made.get(&then.fid.vnode).copied() {
            let time = self.inside.date();
            let link = Request::Link { fid, place, time };
            return self.inside.change(link, Bytes::new()).map(drop);
        }
        let now = self
            .inside
            .change(self.request_to_make(place, &then)?, Bytes::new())?
            .fid;
        let xattrs = self.all_xattrs(then.fid)?.into_iter();
        self.put_xattrs(now, xattrs.map(|(name, value)| (name, Some(value))).collect())?;
        if then.attributes.kind == FileKind::Directory {
            self.stack.push(Task::Finish {
                now,
                then: then.attributes,
            });
            self.stack.push(Task::Compare {
                path,
                then: then.fid,
                now: Some(now),
            });
            return Ok(());
        }
        if then.attributes.links > 1 {
            self.made.insert(then.fid.vnode, now);
        }
        if then.attributes.kind == FileKind::Regular {
            self.copy(then, now)?;
        }
        self.set(now, &then.attributes)
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

    /// All bytes of a file as they were; what was zero takes no room.
    fn copy(&self, then: Object, now: Fid) -> Result<()> {
        let size = then.attributes.size;
        for size in [0, size] {
            let set = SetAttributes {
                size: Some(size),
                ..SetAttributes::default()
            };
            self.setattr(now, set)?;
        }
        let mut offset = 0;
        while offset < size {
            let len = COPY_BYTES.min(size - offset) as u32;
            let (_, bytes) = self.inside.ask(Request::Read {
                fid: then.fid,
                offset,
                len,
            })?;
            if bytes.is_empty() {
                let short = Error::new(Kind::Damaged, format!("file {}", then.fid));
                return Err(short.because(format!("it ends at {offset}, and says {size}")));
            }
            let next = offset + bytes.len() as u64;
            if bytes.iter().any(|byte| *byte != 0) {
                let write = Request::Write {
                    fid: now,
                    at: At::Offset(offset),
                    time: self.inside.date(),
                };
                self.inside.change(write, bytes)?;
            }
            offset = next;
        }
        Ok(())
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

    fn setattr(&self, fid: Fid, set: SetAttributes) -> Result<()> {
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

    fn object(&self, fid: Fid, attributes: Option<Attributes>) -> Result<Object> {
        match attributes {
            Some(attributes) => Ok(Object { fid, attributes }),
            None => self.inside.attributes(fid),
        }
    }

    fn step(&mut self, path: Vec<u8>, fate: Fate) {
        self.steps.push(Restored { path, fate });
    }
}

/// Extended attributes, each with its value or without.
type Xattrs = BTreeMap<Vec<u8>, Option<Bytes>>;

/// Whether both are one file for ever, or both directories: then what is there is changed, and not replaced.
fn is_same(then: &Object, now: &Object) -> bool {
    let is_directory = |object: &Object| object.attributes.kind == FileKind::Directory;
    let is_file = (then.fid.vnode, then.fid.unique) == (now.fid.vnode, now.fid.unique);
    is_file || is_directory(then) && is_directory(now)
}

/// Whether what `set` would put back differs.
fn differs(then: &Attributes, now: &Attributes) -> bool {
    let of = |attributes: &Attributes| {
        let is_directory = attributes.kind == FileKind::Directory;
        let modified = (!is_directory).then_some(attributes.modified);
        (attributes.mode, attributes.uid, attributes.gid, modified)
    };
    of(then) != of(now)
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path {
        [] => name.to_vec(),
        _ => [path, b"/", name].concat(),
    }
}
