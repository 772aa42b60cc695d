//! What the kernel asks, one file each. None of it waits; each answers its [`Ask`](crate::waiting::Ask) once.

mod ahead;
mod copy_file_range;
mod create;
mod fallocate;
mod fsync;
mod getattr;
mod link;
mod lock;
mod lookup;
mod lseek;
mod mkdir;
mod mknod;
mod open;
mod read;
mod readdir;
mod readlink;
mod release;
mod rename;
mod setattr;
mod statfs;
mod symlink;
mod unlink;
mod write;
mod xattr;

use std::sync::Arc;

use baton_types::call::Newborn;
use baton_types::file::{Attributes, Object, Place};
use baton_types::{Error, FileName, Kind, Result};

pub use copy_file_range::Piece;
pub use create::{Created, Start, There};
pub use fsync::When;
pub use lock::Range;
pub(crate) use lookup::object;
pub use open::Purpose;
pub use readdir::{Listing, Row, With};
pub use rename::Meets;
pub use symlink::MODE as SYMLINK_MODE;
pub use xattr::Sized;

use crate::filesets::{Belief, Pass};
use crate::inodes::Inode;
use crate::kernel::Names;
use crate::mount::{Change, Mount, read_only};
use crate::waiting::Ask;

/// How long the kernel may keep what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Until it is told to forget it.
    On,
    /// For this one use.
    Not,
}

/// A file that the kernel is told of.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Its number.
    pub number: u64,
    /// Tells it from others that had or will have this number.
    pub generation: u64,
    /// As they are.
    pub attributes: Attributes,
    /// The name.
    pub name: Keeps,
    /// The attributes.
    pub keeps: Keeps,
}

/// What a name leads to.
#[derive(Clone, Copy, Debug)]
pub enum Entry {
    /// A file.
    Found(Found),
    /// Nothing; the kernel may keep that.
    Nothing,
}

/// The attributes of a file.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// Its number.
    pub number: u64,
    /// As they are.
    pub attributes: Attributes,
    /// Whether the kernel may keep them.
    pub keeps: Keeps,
}

/// What the kernel does with the pages of a file that was opened.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// The handle.
    pub handle: u64,
    /// Whether pages of before are good.
    pub keeps: Keeps,
}

/// A new name as the kernel asks for it.
#[derive(Clone, Debug)]
pub struct New {
    /// In which directory.
    pub directory: u64,
    /// Any bytes.
    pub name: Vec<u8>,
    /// Permission bits; the umask is taken off.
    pub mode: u32,
}

impl Keeps {
    pub(crate) fn of(belief: Belief) -> Keeps {
        match belief {
            Belief::Keep(_) => Keeps::On,
            Belief::Once => Keeps::Not,
        }
    }
}

/// A name in a directory.
pub(crate) fn place(directory: &Inode, name: &[u8]) -> Result<Place> {
    Ok(Place {
        directory: directory.fid,
        name: FileName::parse(name)?,
    })
}

impl Mount {
    /// Whether the kernel may keep names that are believed.
    pub(crate) fn keeps_names(&self, belief: Belief) -> Keeps {
        match self.kernel().map(|kernel| kernel.names()) {
            Some(Names::Kept) => Keeps::of(belief),
            Some(Names::Asked) | None => Keeps::Not,
        }
    }

    /// Tells the kernel of a file under a name, and counts that. Under the belief of the name's fileset.
    pub(crate) fn found(
        &self,
        belief: Belief,
        directory: &Inode,
        name: Option<&FileName>,
        object: &Object,
    ) -> Result<Found> {
        let name = name.map(|name| (directory.number, name));
        let inode = self.inodes.tell(directory.instance, object, name)?;
        Ok(Found {
            number: inode.number,
            generation: object.fid.unique,
            attributes: object.attributes,
            name: self.keeps_names(belief.of(directory.fid)),
            keeps: Keeps::of(belief.of(object.fid)),
        })
    }

    /// Makes something in a directory: `request` is told its place and how it is named for ever.
    pub(crate) fn make<T: Send + 'static>(
        &self,
        who: &Arc<baton_rpc::sessions::Who>,
        new: New,
        ask: &Ask<T>,
        request: impl FnOnce(Place, Newborn, baton_types::Timestamp) -> baton_types::call::Request + Send + 'static,
        made: impl FnOnce(&Arc<Mount>, Pass, Arc<Inode>, FileName, Result<Object>) + Send + 'static,
    ) {
        let (who, asked) = (who.clone(), ask.clone());
        self.with(new.directory, ask, move |mount, directory, pass| {
            if mount.never_changes(&directory) {
                return asked.answer(Err(read_only(&directory)));
            }
            let place = match place(&directory, &new.name) {
                Ok(place) => place,
                Err(error) => return asked.answer(Err(error)),
            };
            let fileset = directory.fid.fileset;
            let mount = mount.clone();
            let sessions = mount.sessions().clone();
            sessions.newborn(
                fileset,
                new.mode,
                Box::new(move |newborn| {
                    let newborn = match newborn {
                        Ok(newborn) => newborn,
                        Err(error) => return asked.answer(Err(error)),
                    };
                    let name = place.name.clone();
                    let time = mount.sessions().date(fileset);
                    let change = Change {
                        who,
                        pass,
                        about: None,
                        others: vec![directory.clone()],
                        request: request(place, newborn, time),
                        payload: bytes::Bytes::new(),
                    };
                    mount.change(change, move |mount, pass, object| {
                        made(mount, pass, directory, name, object.map_err(lookup::no_names));
                    });
                }),
            );
        });
    }

    /// The same, answered with what was made.
    pub(crate) fn make_entry(
        &self,
        who: &Arc<baton_rpc::sessions::Who>,
        new: New,
        ask: &Ask<Entry>,
        request: impl FnOnce(Place, Newborn, baton_types::Timestamp) -> baton_types::call::Request + Send + 'static,
    ) {
        let asked = ask.clone();
        self.make(who, new, ask, request, move |mount, pass, directory, name, object| {
            pass.answer(&asked, |belief| {
                let found = mount.found(belief, &directory, Some(&name), &object?)?;
                Ok(Entry::Found(found))
            });
        });
    }
}

/// Two places in different filesets.
pub(crate) fn apart() -> Error {
    Error::new(Kind::CrossFileset, "name")
}
