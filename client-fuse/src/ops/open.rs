//! `open` and `opendir`. Whether the caller may was judged by the kernel, from the mode bits it was told; the server
//! judges each read and write.
//!
//! Alone in the fileset, nobody else hears of an open file. Among others its server does: somebody may take its last
//! name away.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::call::Request;
use baton_types::{Fid, Result};
use bytes::Bytes;

use super::{Keeps, Opened};
use crate::filesets::{Belief, Pass};
use crate::inodes::Inode;
use crate::mount::{Mount, read_only};
use crate::opens::{Next, Tell};
use crate::waiting::Ask;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Its bytes are read, or run.
    Read,
    /// They may be written, too.
    Write,
}

impl Mount {
    /// Opens the file with this number. With `O_TRUNC` the kernel asks for the truncation by itself, afterwards: it
    /// refuses first what only it can know, that a program runs from the file.
    pub fn open(&self, who: &Arc<Who>, number: u64, purpose: Purpose, ask: &Ask<Opened>) {
        let (who, asked) = (who.clone(), ask.clone());
        self.with(number, ask, move |mount, inode, pass| match purpose {
            Purpose::Write if mount.never_changes(&inode) => asked.answer(Err(read_only(&inode))),
            Purpose::Read | Purpose::Write => mount.open_known(who, inode, pass, asked),
        });
    }

    fn open_known(&self, who: Arc<Who>, inode: Arc<Inode>, pass: Pass, ask: Ask<Opened>) {
        let entered = pass.clone();
        self.hold(inode.fid, &entered, move |mount, held| match held {
            Ok(()) => mount.opened(&who, &inode, &pass, &ask),
            Err(error) => ask.answer(Err(error)),
        });
    }

    /// Counts an open of a file, and has its server know if others are there. [`Mount::closed`] takes it back.
    pub(super) fn hold<T>(&self, fid: Fid, pass: &Pass, then: T)
    where
        T: FnOnce(&Arc<Mount>, Result<()>) + Clone + Send + 'static,
    {
        let mount = self.this();
        let again = {
            let (mount, pass, then) = (mount.clone(), pass.clone(), then.clone());
            move || mount.hold(fid, &pass, then)
        };
        match pass.believe(|belief| self.opens.open(fid, tell(belief), again)) {
            Next::Done => then(&mount, Ok(())),
            Next::Later => {}
            Next::Tell => self.call(&self.own, Request::Open { fid }, Bytes::new(), move |answer| {
                let told = answer.map(|_| ());
                if told.is_err() {
                    mount.opens.close(fid);
                }
                mount.opened_at_server(fid, told.clone());
                then(&mount, told);
            }),
        }
    }

    /// Tells the kernel, or closes it again if nobody waits any more.
    fn opened(&self, who: &Arc<Who>, inode: &Arc<Inode>, pass: &Pass, ask: &Ask<Opened>) {
        let mut is_told = false;
        pass.answer(ask, |belief| {
            is_told = true;
            Ok(Opened {
                handle: self.handles.insert(inode.clone(), who.clone(), Keeps::of(belief)),
                keeps: Keeps::of(belief),
            })
        });
        if !is_told {
            self.closed(inode.fid);
        }
    }

    /// A program closed a file.
    pub(super) fn closed(&self, fid: Fid) {
        if self.opens.close(fid) == Next::Tell {
            self.close_at_server(fid);
        }
    }

    /// Opens the directory with this number. Its server does not hear of it: it may be removed when it is empty.
    pub fn opendir(&self, who: &Arc<Who>, number: u64, ask: &Ask<Opened>) {
        let (who, asked) = (who.clone(), ask.clone());
        self.with(number, ask, move |mount, inode, pass| {
            pass.answer(&asked, |belief| {
                let keeps = Keeps::of(belief.of(inode.fid));
                Ok(Opened {
                    handle: mount.handles.insert(inode, who, keeps),
                    keeps,
                })
            });
        });
    }
}

/// Alone, the server is told when it asks.
pub(super) fn tell(belief: Belief) -> Tell {
    match belief {
        Belief::Keep(_) => Tell::IfAsked,
        Belief::Once => Tell::AtOnce,
    }
}
