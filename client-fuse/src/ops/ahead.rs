//! `create` ahead of its answer: in a directory that was made here, alone, it is certain what comes of it. It is told as
//! soon as it is queued to the server, and what the program does with the file follows it there.

use std::sync::{Arc, OnceLock};

use baton_rpc::sessions::Who;
use baton_types::call::{Newborn, Request};
use baton_types::file::{Object, Place};
use baton_types::{FileName, Result};
use bytes::Bytes;

use super::create::Created;
use super::{Keeps, New, Opened, place};
use crate::filesets::{Belief, Pass};
use crate::inodes::Inode;
use crate::mount::{Change, Mount};
use crate::opens::{Next, Tell};
use crate::waiting::Ask;
use crate::whole::Birth;

/// A file whose making can be foreseen.
pub(super) struct Ahead {
    who: Arc<Who>,
    directory: Arc<Inode>,
    pass: Pass,
    place: Place,
    birth: Birth,
}

/// A file that was made, and under which name.
#[derive(Clone)]
struct Made {
    who: Arc<Who>,
    directory: Arc<Inode>,
    name: FileName,
    object: Object,
}

impl Mount {
    /// What comes of a `create`, if that is certain.
    pub(super) fn foresee_create(&self, who: &Arc<Who>, new: &New) -> Option<Ahead> {
        let directory = self.inodes.get(new.directory).ok()?;
        let place = place(&directory, &new.name).ok()?;
        let pass = self.filesets.get(directory.fid.fileset).pass()?;
        let born = |belief: Belief| self.whole.birth(&place, belief.stay()?, who, new.mode);
        let birth = pass.believe(born)?;
        Some(Ahead {
            who: who.clone(),
            directory,
            pass,
            place,
            birth,
        })
    }

    /// Queues it, and tells what will come of it.
    pub(super) fn create_ahead(&self, ahead: Ahead, ask: Ask<Created>) {
        let (mount, fileset, mode) = (self.this(), ahead.place.directory.fileset, ahead.birth.mode);
        let named = move |newborn: Result<Newborn>| match newborn {
            Ok(newborn) => mount.queue_create(ahead, newborn, ask),
            Err(error) => ask.answer(Err(error)),
        };
        self.sessions().newborn(fileset, mode, Box::new(named));
    }

    fn queue_create(&self, ahead: Ahead, newborn: Newborn, ask: Ask<Created>) {
        let time = self.sessions().date(ahead.place.directory.fileset);
        let made = Made {
            who: ahead.who.clone(),
            directory: ahead.directory.clone(),
            name: ahead.place.name.clone(),
            object: ahead.birth.object(&ahead.place, newborn, time),
        };
        let place = ahead.place;
        let change = Change {
            who: ahead.who,
            pass: ahead.pass.clone(),
            about: None,
            others: vec![ahead.directory],
            request: Request::Create { place, newborn, time },
            payload: Bytes::new(),
        };
        let told = Arc::new(OnceLock::new());
        let taken = {
            let (mount, pass, made) = (self.this(), ahead.pass, made.clone());
            let (told, ask) = (told.clone(), ask.clone());
            move || mount.tell_ahead(&pass, &made, &told, &ask)
        };
        self.queue(change, taken, move |mount, pass, object| match (told.get(), object) {
            (None, Ok(object)) => mount.tell_late(pass, Made { object, ..made }, ask),
            (None, Err(error)) => ask.answer(Err(error)),
            (Some(_), Ok(object)) if object.attributes == made.object.attributes => {}
            (Some(inode), Ok(object)) => {
                tracing::warn!(foretold = ?made.object.attributes, is = ?object.attributes, "a file is not as foretold");
                mount.forget_told(&[inode]);
            }
            (Some(inode), Err(error)) => {
                tracing::warn!(%error, name = %made.name, "a file that a program made is lost");
                made.directory.fail(error.clone());
                inode.fail(error);
                mount.inodes.unname(made.directory.number, &made.name);
                mount.forget_told(&[inode, &made.directory]);
            }
        });
    }

    /// Tells of the file that is being made, while the client is alone, and notes that it did.
    fn tell_ahead(&self, pass: &Pass, made: &Made, told: &OnceLock<Arc<Inode>>, ask: &Ask<Created>) {
        pass.believe(|belief| {
            let Some(stay) = belief.stay() else { return };
            ask.answer_with(|| {
                let (created, inode) = self.open_made(belief, made)?;
                self.opens.made(made.object.fid, Tell::IfAsked);
                inode.begin_draft(stay, made.who.clone(), made.object.attributes);
                let is_first = told.set(inode).is_ok();
                assert!(is_first, "an answer is given once");
                Ok(created)
            });
        });
    }

    /// The file, open for whoever made it.
    fn open_made(&self, belief: Belief, made: &Made) -> Result<(Created, Arc<Inode>)> {
        let found = self.found(belief, &made.directory, Some(&made.name), &made.object)?;
        let inode = self.inodes.get(found.number)?;
        let opened = Opened {
            handle: self.handles.insert(inode.clone(), made.who.clone(), Keeps::of(belief)),
            keeps: Keeps::of(belief),
        };
        Ok((Created { found, opened }, inode))
    }

    /// Somebody else came before it could be told: the server hears that it is open, and then the kernel.
    fn tell_late(&self, pass: Pass, made: Made, ask: Ask<Created>) {
        let (mount, fid) = (self.this(), made.object.fid);
        let finish = move || {
            let mut is_told = false;
            pass.answer(&ask, |belief| {
                let (created, _) = mount.open_made(belief, &made)?;
                is_told = true;
                Ok(created)
            });
            if !is_told {
                mount.closed(fid);
            }
        };
        match self.opens.made(fid, Tell::AtOnce) {
            Next::Tell => {
                let mount = self.this();
                self.call(&self.own, Request::Open { fid }, Bytes::new(), move |answer| {
                    mount.opened_at_server(fid, answer.map(|_| ()));
                    finish();
                });
            }
            Next::Done | Next::Later => finish(),
        }
    }

    /// What the kernel was told of files is not so: it asks again. On a thread of its own, which may wait.
    fn forget_told(&self, inodes: &[&Arc<Inode>]) {
        let numbers: Vec<u64> = inodes.iter().map(|inode| inode.number).collect();
        let mount = self.this();
        let thread = std::thread::Builder::new().name("forget".to_owned()).spawn(move || {
            let Some(kernel) = mount.kernel() else { return };
            let forget = |number: &u64| kernel.forget_inode(*number).map(|_| ());
            if let Err(error) = kernel.forget_names().and_then(|()| numbers.iter().try_for_each(forget)) {
                tracing::error!(%error, ?numbers, "the kernel does not forget files");
            }
        });
        if let Err(error) = thread {
            tracing::error!(%error, "no thread to make the kernel forget");
        }
    }
}
