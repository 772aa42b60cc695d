//! `create`: an empty file, and open.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::call::{Newborn, Request};
use baton_types::file::{FileKind, Object, Place, SetAttributes};
use baton_types::{Error, Fid, FileName, Kind, Result, Timestamp};
use bytes::Bytes;

use super::ahead::{Made, Making};
use super::lookup::{no_names, object};
use super::open::tell;
use super::{Found, Keeps, New, Opened};
use crate::filesets::{Belief, Pass};
use crate::gone::TRIES_MAX;
use crate::inodes::Inode;
use crate::mount::{Change, Mount};
use crate::opens::{Next, Tell};
use crate::waiting::Ask;

/// A file that was made and opened.
#[derive(Clone, Copy, Debug)]
pub struct Created {
    /// The file.
    pub found: Found,
    /// The handle.
    pub opened: Opened,
}

/// What becomes of the bytes of a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// They stay.
    AsIs,
    /// They go (`O_TRUNC`).
    Empty,
}

/// Whether something may stand there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum There {
    /// It may, and is opened then, and begins so.
    Maybe(Start),
    /// It may not (`O_EXCL`).
    No,
}

/// A file that is to be made, or opened if it is there.
#[derive(Clone)]
struct Creating {
    who: Arc<Who>,
    new: New,
    there: There,
    ask: Ask<Created>,
    /// How often a file that was there was gone again.
    tries: u32,
}

/// A file that is there and held open, and who waits for it.
#[derive(Clone)]
struct Held {
    made: Made,
    pass: Pass,
    ask: Ask<Created>,
}

impl Creating {
    fn held(&self, pass: Pass, directory: Arc<Inode>, name: FileName, object: Object) -> Held {
        let (who, ask) = (self.who.clone(), self.ask.clone());
        let made = Made {
            who,
            directory,
            name,
            object,
        };
        Held { made, pass, ask }
    }
}

/// A file that is open for whoever makes it.
struct NewFile;

impl Making for NewFile {
    type Told = Created;
    const KIND: FileKind = FileKind::Regular;

    fn request(place: Place, newborn: Newborn, time: Timestamp) -> Request {
        Request::Create { place, newborn, time }
    }

    fn tell(mount: &Mount, belief: Belief, made: &Made) -> Result<(Created, Arc<Inode>)> {
        let found = mount.found(belief, &made.directory, Some(&made.name), &made.object)?;
        let (inode, keeps) = (mount.inodes.get(found.number)?, Keeps::of(belief));
        let handle = mount.handles.insert(inode.clone(), made.who.clone(), keeps);
        let opened = Opened { handle, keeps };
        Ok((Created { found, opened }, inode))
    }

    fn begin(mount: &Mount, stay: u64, made: &Made, inode: &Inode) {
        mount.opens.made(made.object.fid, Tell::IfAsked);
        inode.begin_draft(stay, made.who.clone(), made.object.attributes);
    }

    /// The server hears that it is open, and then the kernel.
    fn tell_late(mount: &Arc<Mount>, pass: Pass, made: Made, ask: Ask<Created>) {
        let fid = made.object.fid;
        let next = mount.opens.made(fid, Tell::AtOnce);
        mount.tell_made(next, Held { made, pass, ask });
    }
}

impl Mount {
    /// Makes a file and opens it.
    pub fn create(&self, who: &Arc<Who>, new: New, there: There, ask: &Ask<Created>) {
        if let Some(ahead) = self.foresee(who, &new, NewFile::KIND) {
            return self.make_ahead::<NewFile>(ahead, ask.clone());
        }
        self.create_or_open(Creating {
            who: who.clone(),
            new,
            there,
            ask: ask.clone(),
            tries: 0,
        });
    }

    fn create_or_open(&self, creating: Creating) {
        let Creating { who, new, ask, .. } = creating.clone();
        let request = |place, newborn, time| Request::Create { place, newborn, time };
        self.make(&who, new, &ask, request, move |mount, pass, directory, name, object| {
            let object = match (object, creating.there) {
                (Ok(object), _) => object,
                (Err(error), There::Maybe(start)) if error.kind == Kind::Exists => {
                    return mount.open_there(creating, pass, directory, name, start);
                }
                (Err(error), _) => return creating.ask.answer(Err(error)),
            };
            let next = pass.believe(|belief| mount.opens.made(object.fid, tell(belief)));
            mount.tell_made(next, creating.held(pass, directory, name, object));
        });
    }

    /// Others may take the file's name away at once: then its handle is stale, as if it had been opened before that.
    fn tell_made(&self, next: Next, held: Held) {
        let (mount, fid) = (self.this(), held.made.object.fid);
        match next {
            Next::Done | Next::Later => self.tell_created(&held),
            Next::Tell => self.call(&self.own, Request::Open { fid }, Bytes::new(), move |answer| {
                mount.opened_at_server(fid, answer.map(|_| ()));
                mount.tell_created(&held);
            }),
        }
    }

    /// Somebody else made it since the kernel looked. The first time the kernel looks again, and opens that one by the
    /// rules; the second time it would look no more, and the server's rules have to do.
    fn open_there(&self, creating: Creating, pass: Pass, directory: Arc<Inode>, name: FileName, start: Start) {
        let again = || Error::new(Kind::Stale, "name").because("somebody else just made it");
        if !self.looks_again(&creating.who) || creating.tries == TRIES_MAX {
            return creating.ask.answer(Err(again()));
        }
        let (mount, who) = (self.this(), creating.who.clone());
        let place = Place {
            directory: directory.fid,
            name: name.clone(),
        };
        self.call(&who, Request::Lookup { place }, Bytes::new(), move |answer| {
            let object = match object(answer).map_err(no_names) {
                Ok(object) if object.attributes.kind == FileKind::Regular => object,
                Ok(_) => return creating.ask.answer(Err(again())),
                Err(error) if error.kind == Kind::NotFound => return mount.create_again(creating),
                Err(error) => return creating.ask.answer(Err(error)),
            };
            let held = creating.held(pass.clone(), directory, name, object);
            mount.hold(object.fid, &pass, move |mount, outcome| match outcome {
                Ok(()) => mount.begin_there(held, start),
                Err(error) if error.kind == Kind::Stale => mount.create_again(creating),
                Err(error) => held.ask.answer(Err(error)),
            });
        });
    }

    fn create_again(&self, creating: Creating) {
        let tries = creating.tries + 1;
        self.create_or_open(Creating { tries, ..creating });
    }

    fn begin_there(&self, held: Held, start: Start) {
        match start {
            Start::AsIs => self.tell_created(&held),
            Start::Empty => {
                let Made {
                    who, directory, object, ..
                } = &held.made;
                let fid = object.fid;
                let inode = self.inodes.get(directory.instance.node(fid.vnode)).ok();
                let change = self.emptying(who, &held.pass, fid, inode);
                self.change(change, move |mount, _, object| match object {
                    Ok(object) => {
                        let made = Made { object, ..held.made };
                        mount.tell_created(&Held { made, ..held });
                    }
                    Err(error) => {
                        mount.closed(fid);
                        held.ask.answer(Err(error));
                    }
                });
            }
        }
    }

    /// The change that takes all bytes away.
    fn emptying(&self, who: &Arc<Who>, pass: &Pass, fid: Fid, inode: Option<Arc<Inode>>) -> Change {
        Change {
            who: who.clone(),
            pass: pass.clone(),
            about: inode,
            others: Vec::new(),
            request: Request::Setattr {
                fid,
                set: SetAttributes {
                    size: Some(0),
                    ..SetAttributes::default()
                },
                time: self.sessions().date(fid.fileset),
            },
            payload: Bytes::new(),
        }
    }

    /// Tells the kernel, or closes it again if nobody waits any more.
    fn tell_created(&self, held: &Held) {
        let mut is_told = false;
        held.pass.answer(&held.ask, |belief| {
            let told = NewFile::tell(self, belief, &held.made);
            is_told = told.is_ok();
            told.map(|(created, _)| created)
        });
        if !is_told {
            self.closed(held.made.object.fid);
        }
    }
}
