//! `lookup`: what a name leads to. A mount point leads to the root of another fileset, seen in an instance of its own.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::call::{Answer, Request};
use baton_types::file::{FileKind, MountPoint, Object, Place};
use baton_types::{Error, Fid, FileName, FilesetId, Kind, Result, Vnode};
use bytes::Bytes;

use super::{Entry, Found, Keeps};
use crate::filesets::{Belief, Pass};
use crate::gone::{KEPT, TRIES_MAX};
use crate::inodes::Inode;
use crate::mount::{FoundSnapshot, Mount, unexpected};
use crate::resolve::Instance;
use crate::waiting::Ask;

impl Mount {
    /// What `name` leads to in the directory with this number.
    pub fn lookup(&self, who: &Arc<Who>, directory: u64, name: &[u8], ask: &Ask<Entry>) {
        match name {
            b"." => return self.lookup_again(who, directory, ask),
            b".." => return self.lookup_above(who, directory, ask),
            _ => {}
        }
        let (who, asked, name) = (who.clone(), ask.clone(), name.to_vec());
        self.with(directory, ask, move |mount, directory, pass| {
            match FileName::parse(&name) {
                Ok(name) => mount.lookup_name(Looking {
                    who,
                    directory,
                    name,
                    pass,
                    ask: asked,
                    tries: 0,
                }),
                Err(error) => asked.answer(Err(error)),
            }
        });
    }

    fn lookup_name(&self, looking: Looking) {
        let (mount, who) = (self.this(), looking.who.clone());
        let place = Place {
            directory: looking.directory.fid,
            name: looking.name.clone(),
        };
        let nowhere = |belief: Belief| belief.stay().is_some_and(|stay| self.whole.lacks(&place, stay));
        if looking.pass.believe(nowhere) {
            let error = Error::new(Kind::NotFound, place.name.to_string());
            return self.found_nothing(&looking, error);
        }
        let changing = looking.pass.fileset.queued.files();
        self.call(&who, Request::Lookup { place }, Bytes::new(), move |answer| {
            let object = match object(answer).map_err(no_names) {
                Ok(object) => object,
                Err(error) if error.kind == Kind::NotFound => return mount.found_nothing(&looking, error),
                Err(error) => return looking.ask.answer(Err(error)),
            };
            match object.attributes.kind {
                _ if object.fid.fileset != looking.directory.fid.fileset => mount.lookup_snapshot(looking, &object),
                FileKind::MountPoint => mount.lookup_beyond(looking, object.fid),
                _ if changing.contains(&object.fid) || looking.pass.fileset.queued.touches(&[object.fid]) => {
                    mount.tell_changing(looking, object.fid);
                }
                FileKind::Directory => mount.tell_entry(&looking, &object),
                _ if mount.looks_again(&looking.who) => mount.keep_found(looking, object),
                _ => mount.tell_entry(&looking, &object),
            }
        });
    }

    fn tell_entry(&self, looking: &Looking, object: &Object) {
        looking.pass.answer(&looking.ask, |belief| {
            let name = Some(&looking.name);
            Ok(Entry::Found(self.found(belief, &looking.directory, name, object)?))
        });
    }

    /// It was seen as it was, perhaps, before a change that a program was told of: it is looked at after that.
    fn tell_changing(&self, looking: Looking, fid: Fid) {
        let (mount, who) = (self.this(), looking.who.clone());
        self.call(
            &who,
            Request::Getattr { fid },
            Bytes::new(),
            move |answer| match object(answer) {
                Ok(object) => mount.tell_entry(&looking, &object),
                Err(error) => looking.ask.answer(Err(error)),
            },
        );
    }

    /// Keeps what was found from going away before it can be used, as it did the last time.
    fn keep_found(&self, mut looking: Looking, object: Object) {
        let (fid, pass) = (object.fid, looking.pass.clone());
        self.hold(fid, &pass, move |mount, held| match held {
            Ok(()) => {
                mount.tell_entry(&looking, &object);
                let holder = mount.clone();
                mount.waiting.later(KEPT, move || holder.closed(fid));
            }
            Err(error) if error.kind == Kind::Stale && looking.tries < TRIES_MAX => {
                looking.tries += 1;
                mount.lookup_name(looking);
            }
            Err(error) => looking.ask.answer(Err(error)),
        });
    }

    fn found_nothing(&self, looking: &Looking, error: Error) {
        looking.pass.answer(&looking.ask, |belief| {
            match self.keeps_names(belief.of(looking.directory.fid)) {
                Keeps::On => Ok(Entry::Nothing),
                Keeps::Not => Err(error),
            }
        });
    }

    /// The kernel has a number from a handle and wants to know the file again.
    fn lookup_again(&self, who: &Arc<Who>, number: u64, ask: &Ask<Entry>) {
        let (fid, instance) = match self.inodes.remember(number) {
            Ok(known) => known,
            Err(error) => return ask.answer(Err(error)),
        };
        self.look_at(who, instance, fid, ask);
    }

    /// Tells of a file that is known by its FID. Its attributes are not kept: its name has no belief to go with.
    fn look_at(&self, who: &Arc<Who>, instance: Instance, fid: Fid, ask: &Ask<Entry>) {
        let (who, ask) = (who.clone(), ask.clone());
        self.enter(fid.fileset, move |mount, pass| {
            if let Err(error) = pass {
                return ask.answer(Err(error));
            }
            let calling = mount.clone();
            let mount = mount.clone();
            calling.call(&who, Request::Getattr { fid }, Bytes::new(), move |answer| {
                ask.answer_with(|| Ok(Entry::Found(mount.unnamed(instance, &object(answer)?)?)));
            });
        });
    }

    fn unnamed(&self, instance: Instance, object: &Object) -> Result<Found> {
        let inode = self.inodes.tell(instance, object, None)?;
        Ok(Found {
            number: inode.number,
            generation: object.fid.unique,
            attributes: object.attributes,
            name: Keeps::Not,
            keeps: Keeps::Not,
        })
    }

    /// The directory above one that the kernel has from a handle.
    fn lookup_above(&self, who: &Arc<Who>, directory: u64, ask: &Ask<Entry>) {
        let (who, asked) = (who.clone(), ask.clone());
        self.with(directory, ask, move |mount, directory, _| {
            let through = mount.through(directory.instance);
            let (instance, below) = match (directory.fid.vnode, through) {
                (Vnode::ROOT, None) => return mount.look_at(&who, directory.instance, directory.fid, &asked),
                (Vnode::ROOT, Some((above, point))) if point.vnode == Vnode::SNAPSHOTS => (above, directory.fid),
                (Vnode::ROOT, Some((above, point))) => (above, point),
                _ => (directory.instance, directory.fid),
            };
            let calling = mount.clone();
            let mount = mount.clone();
            mount.clone().enter(below.fileset, move |_, pass| {
                if let Err(error) = pass {
                    return asked.answer(Err(error));
                }
                calling.call(
                    &who,
                    Request::LookupParent { fid: below },
                    Bytes::new(),
                    move |answer| {
                        asked.answer_with(|| Ok(Entry::Found(mount.unnamed(instance, &object(answer)?)?)));
                    },
                );
            });
        });
    }

    /// What is in a snapshot, whose root was found.
    fn lookup_snapshot(&self, looking: Looking, root: &Object) {
        let Looking {
            who,
            directory,
            name,
            pass,
            ask,
            ..
        } = looking;
        let (above, snapshot) = (directory.instance, root.fid.fileset);
        let point = Fid {
            unique: root.attributes.created.0.cast_unsigned(),
            ..directory.fid
        };
        let beyond = Beyond {
            directory,
            name,
            pass,
            point,
        };
        let found = FoundSnapshot { snapshot, point };
        self.enter_snapshot(above, found, move |mount, entered| match entered {
            Ok(instance) => mount.lookup_root(&who, beyond, instance, snapshot, &ask),
            Err(error) => ask.answer(Err(error)),
        });
    }

    /// What is behind a mount point.
    fn lookup_beyond(&self, looking: Looking, point: Fid) {
        let Looking {
            who,
            directory,
            name,
            pass,
            ask,
            ..
        } = looking;
        let beyond = Beyond {
            directory,
            name,
            pass,
            point,
        };
        self.cross_over(&who, beyond, &ask);
    }

    fn cross_over(&self, who: &Arc<Who>, beyond: Beyond, ask: &Ask<Entry>) {
        if let Some(leads_to) = self.points.get(beyond.point) {
            return self.lookup_there(who, beyond, leads_to, ask);
        }
        let (mount, calling, ask) = (self.this(), who.clone(), ask.clone());
        let request = Request::ReadMountPoint { fid: beyond.point };
        self.call(&calling.clone(), request, Bytes::new(), move |answer| match answer {
            Ok((Answer::MountPoint(leads_to), _)) => {
                mount.points.learn(beyond.point, leads_to);
                mount.lookup_there(&calling, beyond, leads_to, &ask);
            }
            Ok((other, _)) => ask.answer(Err(unexpected(&other))),
            Err(error) => ask.answer(Err(error)),
        });
    }

    fn lookup_there(&self, who: &Arc<Who>, beyond: Beyond, leads_to: MountPoint, ask: &Ask<Entry>) {
        let (who, ask) = (who.clone(), ask.clone());
        let above = beyond.directory.instance;
        self.cross(above, beyond.point, leads_to, move |mount, crossed| match crossed {
            Ok((instance, fileset)) => mount.lookup_root(&who, beyond, instance, fileset, &ask),
            Err(error) => ask.answer(Err(error)),
        });
    }

    /// The name is believed as its own fileset is; the root behind it has a fileset of its own.
    fn lookup_root(&self, who: &Arc<Who>, beyond: Beyond, instance: Instance, fileset: FilesetId, ask: &Ask<Entry>) {
        let (who, ask) = (who.clone(), ask.clone());
        self.enter(fileset, move |mount, there| {
            let refused = |mount: &Mount, error| {
                ask.answer(Err(error));
                mount.unpin(instance);
            };
            let fid = match there.and_then(|there| there.fileset.root()) {
                Ok(root) => root.fid,
                Err(error) => return refused(mount, error),
            };
            let calling = mount.clone();
            let mount = mount.clone();
            let asked = ask.clone();
            calling.call(&who, Request::Getattr { fid }, Bytes::new(), move |answer| {
                beyond.pass.answer(&asked, |belief| {
                    mount.root_entry(belief, &beyond, instance, &object(answer)?)
                });
                mount.unpin(instance);
            });
        });
    }

    fn root_entry(&self, belief: Belief, beyond: &Beyond, instance: Instance, root: &Object) -> Result<Entry> {
        let name = (beyond.directory.number, &beyond.name);
        let inode = self.inodes.tell(instance, root, Some(name))?;
        Ok(Entry::Found(Found {
            number: inode.number,
            generation: root.fid.unique,
            attributes: root.attributes,
            name: self.keeps_names(belief.of(beyond.directory.fid)),
            keeps: Keeps::Not,
        }))
    }
}

/// A name that is looked up.
#[derive(Clone)]
struct Looking {
    who: Arc<Who>,
    directory: Arc<Inode>,
    name: FileName,
    pass: Pass,
    ask: Ask<Entry>,
    /// How often what was found was gone.
    tries: u32,
}

/// A mount point that was found under a name.
struct Beyond {
    directory: Arc<Inode>,
    name: FileName,
    pass: Pass,
    point: Fid,
}

/// A directory that is gone was empty when it went: a name that was looked for in it was not there.
pub(super) fn no_names(error: Error) -> Error {
    match error.kind {
        Kind::Stale => Error::new(Kind::NotFound, "name").because("its directory was removed"),
        _ => error,
    }
}

/// The file that an answer is about.
pub(crate) fn object(answer: Result<(Answer, Bytes)>) -> Result<Object> {
    match answer? {
        (Answer::Object(object), _) => Ok(object),
        (other, _) => Err(unexpected(&other)),
    }
}
