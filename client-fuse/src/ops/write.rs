//! `write`: bytes to a file, as whoever opened it. Done when the server has taken them; durable by `fsync`.

use baton_types::call::{At, Request};
use bytes::Bytes;

use super::Keeps;
use super::fsync::When;
use crate::mount::{Change, Mount};
use crate::waiting::Ask;

impl Mount {
    /// Writes `bytes`; the answer says how many.
    pub fn write(&self, handle: u64, at: At, bytes: Bytes, when: When, ask: &Ask<u32>) {
        let handle = match self
            .handles
            .get(handle)
            .and_then(|handle| handle.usable().map(|()| handle))
        {
            Ok(handle) => handle,
            Err(error) => return ask.answer(Err(error)),
        };
        let when = match (when, handle.keeps) {
            (When::DurablePastPages, Keeps::On) => When::Accepted,
            (when, _) => when,
        };
        let (asked, len) = (ask.clone(), bytes.len() as u32);
        let fileset = handle.inode.fid.fileset;
        self.enter(fileset, move |mount, pass| {
            let pass = match pass {
                Ok(pass) => pass,
                Err(error) => return asked.answer(Err(error)),
            };
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
            mount.change(change, move |mount, pass, object| match (object, when) {
                (Err(error), _) => asked.answer(Err(error)),
                (Ok(_), When::Accepted) => asked.answer(Ok(len)),
                (Ok(_), When::Durable | When::DurablePastPages) => {
                    mount.make_durable(&pass, move |durable| asked.answer(durable.map(|()| len)));
                }
            });
        });
    }
}
