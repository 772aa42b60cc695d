//! Extended attributes. Those of ACLs and of file capabilities are not: rights are mode bits, and no file gives one.

use std::sync::Arc;

use baton_rpc::sessions::Who;
use baton_types::call::{Request, SetXattr};
use baton_types::{Error, Kind};
use bytes::Bytes;

use crate::mount::{Change, Mount};
use crate::waiting::Ask;

/// Asked for with each write, whatever we say to it.
const CAPABILITY: &[u8] = b"security.capability";
const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

/// What is asked for: a value, or how long it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sized {
    /// The value.
    Value(Bytes),
    /// So many bytes.
    Bytes(u32),
}

impl Sized {
    /// `room` is how much the program has; 0: it asks how much it needs.
    fn of(value: Bytes, room: u32) -> baton_types::Result<Sized> {
        match room as usize {
            0 => Ok(Sized::Bytes(value.len() as u32)),
            room if room < value.len() => Err(Error::new(Kind::Range, "extended attribute")),
            _ => Ok(Sized::Value(value)),
        }
    }
}

fn unsupported() -> Error {
    Error::new(Kind::Unsupported, "extended attribute")
}

impl Mount {
    /// One of them.
    pub fn getxattr(&self, who: &Arc<Who>, number: u64, name: &[u8], room: u32, ask: &Ask<Sized>) {
        if name == CAPABILITY {
            return ask.answer(Err(Error::new(Kind::NoAttribute, "extended attribute")));
        }
        if ACLS.contains(&name) {
            return ask.answer(Err(unsupported()));
        }
        let (who, asked, name) = (who.clone(), ask.clone(), name.to_vec());
        self.with(number, ask, move |mount, inode, _| {
            let request = Request::GetXattr { fid: inode.fid, name };
            mount.call(&who, request, Bytes::new(), move |answer| {
                asked.answer(answer.and_then(|(_, value)| Sized::of(value, room)));
            });
        });
    }

    /// The names of all, each with a NUL after it.
    pub fn listxattr(&self, who: &Arc<Who>, number: u64, room: u32, ask: &Ask<Sized>) {
        let (who, asked) = (who.clone(), ask.clone());
        self.with(number, ask, move |mount, inode, _| {
            let request = Request::ListXattrs { fid: inode.fid };
            mount.call(&who, request, Bytes::new(), move |answer| {
                asked.answer(answer.and_then(|(_, names)| Sized::of(names, room)));
            });
        });
    }

    /// Sets one.
    pub fn setxattr(&self, who: &Arc<Who>, number: u64, (name, how): (&[u8], SetXattr), value: Bytes, ask: &Ask<()>) {
        if name == CAPABILITY || ACLS.contains(&name) {
            return ask.answer(Err(unsupported()));
        }
        let name = name.to_vec();
        self.change_xattr(who, number, value, ask, move |fid, time| Request::SetXattr {
            fid,
            name,
            how,
            time,
        });
    }

    /// Removes one.
    pub fn removexattr(&self, who: &Arc<Who>, number: u64, name: &[u8], ask: &Ask<()>) {
        if ACLS.contains(&name) {
            return ask.answer(Err(unsupported()));
        }
        let name = name.to_vec();
        self.change_xattr(who, number, Bytes::new(), ask, move |fid, time| Request::RemoveXattr {
            fid,
            name,
            time,
        });
    }

    fn change_xattr(
        &self,
        who: &Arc<Who>,
        number: u64,
        payload: Bytes,
        ask: &Ask<()>,
        request: impl FnOnce(baton_types::Fid, baton_types::Timestamp) -> Request + Send + 'static,
    ) {
        let (who, asked) = (who.clone(), ask.clone());
        self.with(number, ask, move |mount, inode, pass| {
            let change = Change {
                who,
                pass,
                request: request(inode.fid, mount.sessions().date(inode.fid.fileset)),
                about: Some(inode),
                others: Vec::new(),
                payload,
            };
            mount.change(change, move |_, _, object| asked.answer(object.map(|_| ())));
        });
    }
}
