//! The operations on files, one by one: the right, asked of the same state that is changed; then the store.
//!
//! Here nothing waits by itself: an impatient [`Fileset`] ends an operation with `Wait`, a patient one gets it done.
//! Tokens, grace and the order of calls were seen to before (`driver`).
//!
//! | looks | changes |
//! |---|---|
//! | [`statfs`], [`getattr`], [`lookup`], [`readdir`], [`readlink`], [`read`], [`seek`], [`get_xattr`] | [`newborn`], [`link`], [`unlink`], [`rename`], [`setattr`], [`write`], [`copy`], [`fallocate`], [`set_xattr`] |

mod copy;
mod fallocate;
mod get_xattr;
mod getattr;
mod link;
mod lookup;
mod newborn;
mod read;
mod readdir;
mod readlink;
mod rename;
mod seek;
mod set_xattr;
mod setattr;
mod snapshots;
mod statfs;
mod unlink;
mod write;
mod xattr;

use std::cell::Cell;

use baton_aggregate::aggregate::{Aggregate, Done, Fileset};
use baton_aggregate::file::Copy;
use baton_aggregate::fileset::{Holders, Object};
use baton_aggregate::transaction::{Operation, SessionId};
use baton_aggregate::tree::Stop;
use baton_types::call::{Answer, Keep, Newborn, Request};
use baton_types::{Error, Fid, Kind, Result};
use bytes::Bytes;

use crate::shape;
use crate::who::Cred;

/// What an operation is done with.
pub struct Cx<'a> {
    /// Where the fileset lies.
    pub aggregate: &'a Aggregate,
    /// Of all that is named.
    pub fileset: &'a Fileset,
    /// For whom.
    pub who: &'a Cred,
    /// Whose request, and what its replay must repeat.
    pub operation: Operation,
    /// Whether a file that loses its last name must stay.
    pub keeps: &'a dyn Fn(Fid, Keep) -> Result<Keep>,
    /// A file that lost its last name, and whether it stayed.
    pub lost: &'a Cell<Option<(Fid, Keep)>>,
}

/// Who asks, in which place of which stream.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Of which session.
    pub session: u64,
    /// In which stream.
    pub stream: u16,
    /// As which call of it.
    pub sequence: u32,
    /// Replies of stream 0 that the client has.
    pub seen: u32,
}

/// The store's view of who asks for what.
pub fn operation(turn: Turn, who: &Cred, request: &Request) -> Operation {
    let newborn = newborn_of(request);
    Operation {
        session: SessionId(turn.session),
        stream: turn.stream,
        sequence: turn.sequence,
        seen: turn.seen,
        vnode: newborn.map(|newborn| newborn.vnode),
        unique: newborn.map_or(0, |newborn| newborn.unique),
        time: request.time().unwrap_or_default(),
        uid: who.uid,
        gid: who.gid,
    }
}

/// What only shows something.
///
/// # Errors
/// The operation's own; `Wait`; `Invalid` for what is none of these.
pub fn look(cx: &Cx<'_>, request: &Request) -> Result<(Answer, Bytes)> {
    if let Some(shown) = snapshots::look(cx, request) {
        return shown;
    }
    let answer = match request {
        Request::Statfs { .. } => statfs::statfs(cx),
        Request::Getattr { fid } => getattr::getattr(cx, *fid)?,
        Request::Lookup { place } => lookup::lookup(cx, place)?,
        Request::LookupParent { fid } => lookup::lookup_parent(cx, *fid)?,
        Request::Readdir {
            fid,
            cookie,
            bytes,
            plus,
        } => readdir::readdir(cx, *fid, (*cookie, *bytes), *plus)?,
        Request::ReadMountPoint { fid } => readlink::read_mount_point(cx, *fid)?,
        Request::Seek { fid, offset, sought } => seek::seek(cx, *fid, *offset, *sought)?,
        Request::Readlink { fid } => return Ok((Answer::Bytes, readlink::readlink(cx, *fid)?)),
        Request::Read { fid, offset, len } => return Ok((Answer::Bytes, read::read(cx, *fid, *offset, *len)?)),
        Request::GetXattr { fid, name } => return Ok((Answer::Bytes, get_xattr::get_xattr(cx, *fid, name)?)),
        Request::ListXattrs { fid } => return Ok((Answer::Bytes, get_xattr::list_xattrs(cx, *fid)?)),
        other => return Err(misplaced(other)),
    };
    // The branch of now: if the fileset went back since it was looked at, that costs a client pages that were good.
    Ok((shape::in_branch(answer, cx.fileset.began()), Bytes::new()))
}

/// What changes something. What it was refused with is in the answer.
///
/// # Errors
/// What keeps it from being decided; `Invalid` for what is none of these.
pub fn change(cx: &Cx<'_>, request: &Request, payload: &Bytes) -> Result<Done<Object>> {
    let mut done = changed(cx, request, payload)?;
    if let Ok(object) = &mut done.answer {
        let version = &mut object.attributes.data_version;
        *version = shape::version_in(cx.fileset.began(), *version);
    }
    Ok(done)
}

fn changed(cx: &Cx<'_>, request: &Request, payload: &Bytes) -> Result<Done<Object>> {
    match request {
        Request::Create { place, newborn, .. } => newborn::create(cx, place, newborn),
        Request::Mkdir { place, newborn, .. } => newborn::mkdir(cx, place, newborn),
        Request::Symlink {
            place, newborn, target, ..
        } => newborn::symlink(cx, place, newborn, target),
        Request::Mknod {
            place,
            newborn,
            kind,
            device,
            ..
        } => newborn::mknod(cx, place, newborn, (*kind, *device)),
        Request::CreateMountPoint {
            place,
            newborn,
            leads_to,
            ..
        } => newborn::create_mount_point(cx, place, newborn, *leads_to),
        Request::Link { fid, place, .. } => link::link(cx, *fid, place),
        Request::Unlink { place, keep, .. } => unlink::unlink(cx, place, *keep),
        Request::Rmdir { place, keep, .. } => unlink::rmdir(cx, place, *keep),
        Request::RemoveMountPoint { place, .. } => unlink::remove_mount_point(cx, place),
        Request::Rename {
            source, target, onto, ..
        } => rename::rename(cx, source, target, *onto),
        Request::Setattr { fid, set, .. } => setattr::setattr(cx, *fid, set),
        Request::Write { fid, at, .. } => write::write(cx, *fid, *at, payload),
        Request::Copy {
            source,
            from,
            fid,
            to,
            len,
            ..
        } => {
            let (source, target, len) = ((*source, *from), (*fid, *to), *len);
            let past = None;
            copy::copy(
                cx,
                Copy {
                    source,
                    past,
                    target,
                    len,
                },
            )
        }
        Request::Fallocate {
            fid, offset, len, how, ..
        } => fallocate::fallocate(cx, *fid, (*offset, *len), *how),
        Request::SetXattr { fid, name, how, .. } => set_xattr::set_xattr(cx, *fid, (name, payload), *how),
        Request::RemoveXattr { fid, name, .. } => set_xattr::remove_xattr(cx, *fid, name),
        other => Err(misplaced(other)),
    }
}

impl Cx<'_> {
    /// Whether a file stays that `object` is, which loses a name: asked last, when nothing can refuse it any more.
    fn holders(&self, object: &Object, keep: Keep) -> Result<Holders, Stop> {
        let is_last = object.attributes.links <= 1 || counts_as_directory(object)?;
        if !is_last {
            return Ok(Holders::Nobody);
        }
        let keep = (self.keeps)(object.fid, keep)?;
        self.lost.set(Some((object.fid, keep)));
        Ok(match keep {
            Keep::Open => Holders::Somebody,
            Keep::Closed => Holders::Nobody,
        })
    }
}

fn counts_as_directory(object: &Object) -> Result<bool> {
    use baton_aggregate::format::FileKind;
    let kind = shape::kind_of(&object.attributes)?;
    Ok(matches!(kind, FileKind::Directory | FileKind::MountPoint))
}

fn newborn_of(request: &Request) -> Option<&Newborn> {
    match request {
        Request::Create { newborn, .. }
        | Request::Mkdir { newborn, .. }
        | Request::Symlink { newborn, .. }
        | Request::Mknod { newborn, .. }
        | Request::CreateMountPoint { newborn, .. } => Some(newborn),
        _ => None,
    }
}

fn misplaced(request: &Request) -> Error {
    Error::new(Kind::Invalid, format!("{request:?}")).because("not an operation on files")
}
