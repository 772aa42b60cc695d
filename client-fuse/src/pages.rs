//! Pages of files that were opened while this client was alone, made good before they are shown when it is not.
//!
//! A file that is opened among others is read past the kernel's pages. One that was opened before is read through
//! them for as long as it is open; but before each such read the kernel asks for attributes, which it may not keep.
//! Before that is answered, unless all pages are known to be good:
//!
//! 1. the server is asked for attributes: whatever was written before the read began is in them;
//! 2. the kernel forgets the file's pages;
//! 3. it is given the last page, as the server has it now. The kernel reads up to the size that it believes in, and
//!    after a notice, or when a write of ours ended meanwhile, it does not believe the answer to its question. Bytes
//!    that it is given it believes in.
//!
//! One round after the other for each file: what is given in the third step is never older than a read that may see
//! it. Reads that come while a round goes on are the next one's.
//!
//! A file that became shorter has its size from the first read that ends before it should, if no round or write of
//! ours crosses that one.
//!
//! Rounds have threads of their own: a notice may wait for a page that a request of ours fills.

use std::collections::HashMap;
use std::sync::Arc;

use baton_types::call::Request;
use baton_types::file::Attributes;
use baton_types::{Error, Fid, Kind, Result};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::filesets::Pass;
use crate::handles::Handle;
use crate::inodes::Inode;
use crate::mount::Mount;
use crate::ops::{Keeps, Stat, object};
use crate::queued::Which;
use crate::waiting::Ask;

/// Bytes of a page. Where pages are larger, the kernel asks for the rest of the last one itself.
const PAGE_BYTES: u64 = 4_096;

/// A read that is to come, by a handle that the kernel keeps pages for.
pub struct Reading {
    /// The handle.
    pub handle: Arc<Handle>,
    /// Under what it came.
    pub pass: Pass,
    /// The question that the kernel asks before it.
    pub ask: Ask<Stat>,
}

/// Rounds that go on, by inode, with the reads that came meanwhile.
#[derive(Default)]
pub struct Rounds(Mutex<HashMap<u64, Vec<Reading>>>);

impl Rounds {
    /// Says whether a round has to begin.
    fn come(&self, reading: Reading) -> bool {
        let mut rounds = self.0.lock();
        let number = reading.handle.inode.number;
        let is_first = !rounds.contains_key(&number);
        rounds.entry(number).or_default().push(reading);
        is_first
    }

    /// The reads of the next round; `None`, and an end to the rounds, when there are none.
    fn next(&self, number: u64) -> Option<Vec<Reading>> {
        let mut rounds = self.0.lock();
        let readings = rounds.get_mut(&number).map(std::mem::take).unwrap_or_default();
        if readings.is_empty() {
            rounds.remove(&number);
            return None;
        }
        Some(readings)
    }
}

impl Mount {
    /// Makes good what the kernel is about to show, and then answers.
    pub(crate) fn make_good(&self, reading: Reading) {
        let (mount, inode) = (self.this(), reading.handle.inode.clone());
        if !self.rounds.come(reading) {
            return;
        }
        let own = inode.clone();
        let thread = std::thread::Builder::new().name("pages".to_owned());
        let thread = thread.spawn(move || {
            while let Some(readings) = mount.rounds.next(own.number) {
                let outcome = mount.one_round(&own, &readings);
                readings.into_iter().for_each(|reading| reading.answer(&outcome));
            }
        });
        if let Err(error) = thread {
            let outcome = Err(Error::io("thread to make the kernel forget pages", error));
            while let Some(readings) = self.rounds.next(inode.number) {
                readings.into_iter().for_each(|reading| reading.answer(&outcome));
            }
        }
    }

    fn one_round(&self, inode: &Inode, readings: &[Reading]) -> Result<Attributes> {
        // What programs were told is written comes first.
        self.wait_for(&self.filesets.get(inode.fid.fileset), Which::File(inode.fid));
        let look = inode.look();
        // Whoever has it open may be told.
        let who = readings.first().map_or(&self.own, |reading| &reading.handle.who);
        let request = Request::Getattr { fid: inode.fid };
        let attributes = object(self.sessions().ask(who, request, Bytes::new()))?.attributes;
        let version = attributes.data_version;
        if inode.holds_good(look, version) {
            return Ok(attributes);
        }
        let unattached = || Error::new(Kind::Io, "mount").because("its kernel is not known yet");
        let kernel = self.kernel().ok_or_else(unattached)?;
        kernel.forget_inode(inode.number)?;
        if let Some((offset, bytes)) = self.last_page(inode.fid, attributes.size, readings)? {
            kernel.store(inode.number, offset, &bytes)?;
        }
        inode.dropped(look, version);
        Ok(attributes)
    }

    /// The page that a file of `size` bytes ends with, as the server has it now, if anybody who waits may read it.
    fn last_page(&self, fid: Fid, size: u64, readings: &[Reading]) -> Result<Option<(u64, Bytes)>> {
        let Some(last) = size.checked_sub(1) else {
            return Ok(None);
        };
        let offset = last - last % PAGE_BYTES;
        for reading in readings {
            let request = Request::Read {
                fid,
                offset,
                len: (size - offset) as u32,
            };
            match self.sessions().ask(&reading.handle.who, request, Bytes::new()) {
                Ok((_, bytes)) if bytes.is_empty() => return Ok(None), // it became shorter meanwhile
                Ok((_, bytes)) => return Ok(Some((offset, bytes))),
                // Who may write alone may look for the end, too.
                Err(error) if error.kind == Kind::Denied => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

impl Reading {
    fn answer(self, outcome: &Result<Attributes>) {
        let Reading { handle, pass, ask } = self;
        pass.answer(&ask, |_| {
            Ok(Stat {
                number: handle.inode.number,
                attributes: outcome.clone()?,
                keeps: Keeps::Not,
            })
        });
    }
}
