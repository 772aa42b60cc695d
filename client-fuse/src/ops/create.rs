//! `create`: an empty file, and open.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::call::Request;
use baton_types::{Error, Kind, Result};
use bytes::Bytes;

use super::open::tell;
use super::{Found, Keeps, New, Opened};
use crate::filesets::{Belief, Pass};
use crate::inodes::Inode;
use crate::mount::Mount;
use crate::opens::Next;
use crate::waiting::Ask;

/// A file that was made and opened.
#[derive(Clone, Copy, Debug)]
pub struct Created {
    /// The file.
    pub found: Found,
    /// The handle.
    pub opened: Opened,
}

/// Whether something may stand there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum There {
    /// It may, and is opened then.
    Maybe,
    /// It may not (`O_EXCL`).
    No,
}

impl Mount {
    /// Makes a file and opens it.
    pub fn create(&self, who: &Arc<Who>, new: New, there: There, ask: &Ask<Created>) {
        let (opener, asked) = (who.clone(), ask.clone());
        let request = |place, newborn, time| Request::Create { place, newborn, time };
        self.make(who, new, ask, request, move |mount, pass, directory, name, object| {
            let object = match object {
                Ok(object) => object,
                Err(error) => return asked.answer(Err(not_made(error, there))),
            };
            let fid = object.fid;
            let next = pass.believe(|belief| mount.opens.made(fid, tell(belief)));
            let finish = {
                let (mount, pass, asked) = (mount.clone(), pass.clone(), asked.clone());
                move || {
                    let make = |belief| mount.created(belief, &opener, &directory, &name, &object);
                    let mut is_told = false;
                    pass.answer(&asked, |belief| {
                        let created = make(belief);
                        is_told = created.is_ok();
                        created
                    });
                    if !is_told {
                        mount.closed(fid);
                    }
                }
            };
            match next {
                Next::Tell => mount.tell_made(pass, fid, finish),
                Next::Done | Next::Later => finish(),
            }
        });
    }

    /// Others may take the file's name away at once: then its handle is stale, as if it had been opened before that.
    fn tell_made(&self, _: Pass, fid: baton_types::Fid, finish: impl FnOnce() + Send + 'static) {
        let mount = self.this();
        self.call(&self.own, Request::Open { fid }, Bytes::new(), move |answer| {
            mount.opened_at_server(fid, answer.map(|_| ()));
            finish();
        });
    }

    fn created(
        &self,
        belief: Belief,
        who: &Arc<Who>,
        directory: &Arc<Inode>,
        name: &baton_types::FileName,
        object: &baton_types::file::Object,
    ) -> Result<Created> {
        let found = self.found(belief, directory, Some(name), object)?;
        let inode = self.inodes.get(found.number)?;
        let opened = Opened {
            handle: self.handles.insert(inode, who.clone()),
            keeps: Keeps::of(belief),
        };
        Ok(Created { found, opened })
    }
}

/// Somebody else made it since the kernel looked. `Stale` makes the kernel look again, and open that one by the rules.
fn not_made(error: Error, there: There) -> Error {
    match (error.kind, there) {
        (Kind::Exists, There::Maybe) => Error::new(Kind::Stale, error.on),
        _ => error,
    }
}
