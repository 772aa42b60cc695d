//! `write`: bytes to a file, as whoever opened it. Durable by `fsync`.
//!
//! Among others it is done when the server has taken the bytes. Alone it is done when they are in the queue to the
//! server: nobody else sees the file before they are there. A failure then comes with the next write, fsync or close.

use std::sync::Arc;

use baton_types::call::{At, Request};
use bytes::Bytes;

use super::Keeps;
use super::fsync::When;
use crate::filesets::Pass;
use crate::mount::{Change, Mount};
use crate::waiting::Ask;

impl Mount {
    /// Writes `bytes`; the answer says how many.
    pub fn write(&self, handle: u64, at: At, bytes: Bytes, when: When, ask: &Ask<u32>) {
        let handle = match self
            .handles
            .get(handle)
            .and_then(|handle| handle.usable().and_then(|()| handle.failed()).map(|()| handle))
        {
            Ok(handle) => handle,
            Err(error) => return ask.answer(Err(error)),
        };
        let when = match (when, handle.keeps) {
            (When::DurablePastPages, Keeps::On) => When::Accepted,
            (when, _) => when,
        };
        handle.writers.add(ask.thread());
        let (asked, len) = (ask.clone(), bytes.len() as u32);
        let fileset = handle.inode.fid.fileset;
        self.enter(fileset, move |mount, pass| {
            let pass = match pass {
                Ok(pass) => pass,
                Err(error) => return asked.answer(Err(error)),
            };
            let early = (asked.clone(), pass.clone());
            let is_queued = when == When::Accepted && pass.is_alone();
            let change = Change {
                who: handle.who.clone(),
                pass,
                about: Some(handle.inode.clone()),
                others: Vec::new(),
                request: Request::Write {
                    fid: handle.inode.fid,
                    at,
                    time: mount.sessions().date(fileset),
                },
                payload: bytes,
            };
            let taken = move || {
                let (asked, pass) = early;
                pass.believe(|belief| belief.stay().map(|_| asked.answer(Ok(len))));
            };
            let done = move |mount: &Arc<Mount>, pass: Pass, object| match (object, when) {
                (Err(error), _) if asked.is_over() => {
                    tracing::warn!(%error, fid = %handle.inode.fid, "bytes that a program wrote are lost");
                    handle.inode.fail(error);
                }
                (Err(error), _) => asked.answer(Err(error)),
                (Ok(_), When::Accepted) => asked.answer(Ok(len)),
                (Ok(_), When::Durable | When::DurablePastPages) => {
                    mount.make_durable(&pass, move |durable| asked.answer(durable.map(|()| len)));
                }
            };
            match is_queued {
                true => mount.queue(change, taken, done),
                false => mount.change(change, done),
            }
        });
    }
}
