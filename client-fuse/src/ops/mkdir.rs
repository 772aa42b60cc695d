//! `mkdir`: a directory, whose names are known from its beginning.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::call::{Newborn, Request};
use baton_types::file::{FileKind, Place};
use baton_types::{Result, Timestamp};

use super::ahead::{Made, Making};
use super::{Entry, New};
use crate::filesets::{Belief, Pass};
use crate::inodes::Inode;
use crate::mount::Mount;
use crate::waiting::Ask;

/// A directory that nobody has been in.
struct NewDirectory;

impl Making for NewDirectory {
    type Told = Entry;
    const KIND: FileKind = FileKind::Directory;

    fn request(place: Place, newborn: Newborn, time: Timestamp) -> Request {
        Request::Mkdir { place, newborn, time }
    }

    fn tell(mount: &Mount, belief: Belief, made: &Made) -> Result<(Entry, Arc<Inode>)> {
        let found = mount.found(belief, &made.directory, Some(&made.name), &made.object)?;
        Ok((Entry::Found(found), mount.inodes.get(found.number)?))
    }

    fn begin(mount: &Mount, stay: u64, made: &Made, inode: &Inode) {
        let attributes = made.object.attributes;
        mount.whole.made(made.object.fid, stay, &made.who, attributes);
        inode.begin_draft(stay, made.who.clone(), attributes);
    }

    fn tell_late(mount: &Arc<Mount>, pass: Pass, made: Made, ask: Ask<Entry>) {
        pass.answer(&ask, |belief| {
            let (entry, inode) = NewDirectory::tell(mount, belief, &made)?;
            if let Some(stay) = belief.stay() {
                NewDirectory::begin(mount, stay, &made, &inode);
            }
            Ok(entry)
        });
    }
}

impl Mount {
    /// Makes a directory.
    pub fn mkdir(&self, who: &Arc<Who>, new: New, ask: &Ask<Entry>) {
        if let Some(ahead) = self.foresee(who, &new, NewDirectory::KIND) {
            return self.make_ahead::<NewDirectory>(ahead, ask.clone());
        }
        let (who, asked) = (who.clone(), ask.clone());
        let maker = who.clone();
        self.make(
            &who,
            new,
            ask,
            NewDirectory::request,
            move |mount, pass, directory, name, object| {
                let object = match object {
                    Ok(object) => object,
                    Err(error) => return asked.answer(Err(error)),
                };
                let made = Made {
                    who: maker,
                    directory,
                    name,
                    object,
                };
                NewDirectory::tell_late(mount, pass, made, asked);
            },
        );
    }
}
