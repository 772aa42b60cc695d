//! `readdir`: names of a directory, with the attributes of what they lead to if the kernel wants them.
//!
//! The server lists more than one answer to the kernel holds; the rest is kept with the handle, for as long as it is
//! true. What the kernel was told once it does not ask again while it may keep it.
//!
//! Attributes are asked for when all that programs were told is done is done. A change that begins after that ends after
//! the kernel asked, and then it takes no attributes from this answer.
//!
//! With attributes the kernel learns what each name leads to, wanted or not. If that is another inode than it knows,
//! the path of whoever is in it is lost until the name is looked up again; if it is the same number with another
//! generation, that inode gives nothing but errors ever after.

use std::sync::Arc;

use baton_types::call::{Answer, Request};
use baton_types::file::{FileKind, Listed, Object};
use baton_types::{FileName, Kind, Result, Vnode};
use bytes::Bytes;

use super::{Found, Keeps};
use crate::filesets::{Belief, Pass};
use crate::handles::{Handle, Page};
use crate::mount::{Mount, unexpected};
use crate::queued::Which;
use crate::waiting::Ask;

/// What a server is asked for at once: as much as fits beside a frame's header, in round numbers.
const PAGE_BYTES: u32 = 48 << 10;
/// Where a listing goes on after `.` and after `..`; a server's own cookies begin at 16.
const AFTER_SELF: u64 = 1;
const AFTER_PARENT: u64 = 2;
/// What programs are shown for a number that is known when the name is looked up: a snapshot's.
const UNKNOWN: u64 = 0xffff_ffff;

/// Whether attributes are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// Names alone.
    Names,
    /// Attributes, too; each of them counts as a lookup.
    Attributes,
}

/// One name, as the kernel is told it.
#[derive(Clone, Debug)]
pub struct Row {
    /// The number that is shown.
    pub number: u64,
    /// What it leads to.
    pub kind: FileKind,
    /// Itself.
    pub name: Vec<u8>,
    /// The listing goes on after it from here.
    pub cookie: u64,
    /// What it leads to, when attributes are wanted; `.` and `..` are not told of.
    pub object: Option<Object>,
}

/// What can be told; as much of it as there is room for is.
pub struct Listing {
    mount: Arc<Mount>,
    handle: Arc<Handle>,
    belief: Belief,
    /// In order.
    pub rows: Vec<Row>,
}

/// One request for names.
struct Reading {
    handle: Arc<Handle>,
    pass: Pass,
    ask: Ask<Listing>,
}

impl Row {
    /// A number that no inode has that the kernel knows, or will know.
    pub fn unknown(&self) -> u64 {
        match &self.object {
            // It has this number for another file still.
            Some(object) if !leads_elsewhere(object) => UNKNOWN,
            _ => self.number,
        }
    }
}

impl Mount {
    /// Names from `cookie` on.
    pub fn readdir(&self, handle: u64, cookie: u64, with: With, ask: &Ask<Listing>) {
        let handle = match self.handles.get(handle) {
            Ok(handle) => handle,
            Err(error) => return ask.answer(Err(error)),
        };
        let ask = ask.clone();
        self.enter(handle.inode.fid.fileset, move |mount, pass| match pass {
            Ok(pass) => mount.list(Reading { handle, pass, ask }, cookie, with),
            Err(error) => ask.answer(Err(error)),
        });
    }

    fn list(&self, reading: Reading, cookie: u64, with: With) {
        let dots = self.dots(&reading.handle, cookie);
        // A listing of the server begins at 0; ours has two names before that.
        let from = if cookie <= AFTER_PARENT { 0 } else { cookie };
        if let Some(page) = reading.handle.kept(&reading.pass, from, with) {
            return self.tell_listing(&reading, (from, dots), &page);
        }
        let (mount, fileset) = (self.this(), reading.pass.fileset.clone());
        let ask = move || mount.ask_names(reading, (from, dots), with);
        match with {
            With::Names => ask(),
            With::Attributes => self.after(&fileset, Which::All, ask),
        }
    }

    fn ask_names(&self, reading: Reading, (from, dots): (u64, Vec<Row>), with: With) {
        let (look, begun) = (reading.handle.inode.look(), reading.pass.fileset.begun());
        let request = Request::Readdir {
            fid: reading.handle.inode.fid,
            cookie: from,
            bytes: PAGE_BYTES,
            plus: with == With::Attributes,
        };
        let mount = self.this();
        self.call(&reading.handle.who.clone(), request, Bytes::new(), move |answer| {
            let (names, is_end) = match listing(answer) {
                Ok(listing) => listing,
                Err(error) => return reading.ask.answer(Err(error)),
            };
            let page = Arc::new(Page {
                names,
                is_end,
                with,
                look,
                begun,
                stay: reading
                    .pass
                    .believe(|belief| belief.of(reading.handle.inode.fid).stay()),
            });
            *reading.handle.listed.lock() = Some(page.clone());
            mount.tell_listing(&reading, (from, dots), &page);
        });
    }

    fn tell_listing(&self, reading: &Reading, (from, mut rows): (u64, Vec<Row>), page: &Page) {
        let Reading { handle, pass, ask } = reading;
        let instance = handle.inode.instance;
        let after = page
            .names
            .iter()
            .skip_while(|listed| from != 0 && listed.cookie <= from);
        rows.extend(after.map(|listed| Row {
            number: match handle.inode.fid.vnode {
                Vnode::SNAPSHOTS => UNKNOWN,
                _ => instance.node(listed.fid.vnode),
            },
            kind: listed.kind,
            name: listed.name.clone(),
            cookie: listed.cookie,
            object: listed.attributes.map(|attributes| Object {
                fid: listed.fid,
                attributes,
            }),
        }));
        pass.answer(ask, |belief| {
            Ok(Listing {
                mount: self.this(),
                handle: handle.clone(),
                belief: belief.of(handle.inode.fid),
                rows,
            })
        });
    }

    /// `.` and `..`, as far as they come after `cookie`.
    fn dots(&self, handle: &Handle, cookie: u64) -> Vec<Row> {
        let inode = &handle.inode;
        let above = match (inode.fid.vnode, self.through(inode.instance)) {
            (Vnode::ROOT, Some((above, point))) => above.node(point.vnode),
            // Programs know the root by this, and look up no more about a directory in between.
            _ => inode.number,
        };
        let row = |number, name: &[u8], cookie| Row {
            number,
            kind: FileKind::Directory,
            name: name.to_vec(),
            cookie,
            object: None,
        };
        let all = [row(inode.number, b".", AFTER_SELF), row(above, b"..", AFTER_PARENT)];
        all.into_iter().filter(|row| row.cookie > cookie).collect()
    }
}

/// What is behind a mount point has another number, which a lookup tells.
fn leads_elsewhere(object: &Object) -> bool {
    object.attributes.kind == FileKind::MountPoint
}

fn listing(answer: Result<(Answer, Bytes)>) -> Result<(Vec<Listed>, bool)> {
    match answer {
        Ok((Answer::Listing { names, is_end }, _)) => Ok((names, is_end)),
        Ok((other, _)) => Err(unexpected(&other)),
        // A directory that was removed has no names.
        Err(error) if matches!(error.kind, Kind::NotFound | Kind::Stale) => Ok((Vec::new(), true)),
        Err(error) => Err(error),
    }
}

impl Handle {
    /// What was listed before and is still true, if something of it comes after `from`.
    fn kept(&self, pass: &Pass, from: u64, with: With) -> Option<Arc<Page>> {
        let page = self.listed.lock().clone()?;
        let stay = pass.believe(Belief::stay)?;
        let is_true = page.stay == Some(stay) && self.inode.is_as_at(page.look);
        let has_what = match with {
            With::Names => true,
            With::Attributes => page.with == with && page.begun == pass.fileset.begun(),
        };
        let is_there = from != 0 && page.names.iter().any(|listed| listed.cookie == from);
        let is_left = page.is_end || page.names.last().is_some_and(|last| last.cookie != from);
        (is_true && has_what && is_there && is_left).then_some(page)
    }
}

impl Listing {
    /// The kernel is about to be told of a row, with what it leads to. `None`: it knows nothing of that, and is told the
    /// number and the kind alone.
    pub fn tell(&self, row: &Row) -> Option<Found> {
        let (inodes, directory) = (&self.mount.inodes, &self.handle.inode);
        let name = FileName::parse(&row.name).ok()?;
        match row.object.as_ref().filter(|object| !leads_elsewhere(object)) {
            Some(object) => self.mount.found(self.belief, directory, Some(&name), object).ok(),
            None => {
                let (inode, attributes) = inodes.tell_again(directory.number, &name)?;
                Some(Found {
                    number: inode.number,
                    generation: inode.fid.unique,
                    attributes,
                    name: Keeps::Not,
                    keeps: Keeps::Not,
                })
            }
        }
    }

    /// There was no room for it. Its instance stays known by the directory that it is in.
    pub fn untell(&self, found: &Found) {
        self.mount.inodes.forget(found.number, 1);
    }
}
