//! `setattr`: mode, owner, group, length and dates, in one change.

use baton_aggregate::aggregate::{Done, Need};
use baton_aggregate::file;
use baton_aggregate::fileset::{self as store, Object};
use baton_aggregate::format::{Attributes, FileKind};
use baton_aggregate::tree::Stop;
use baton_types::file::{SetAttributes, SetTime};
use baton_types::{Error, Fid, Kind, Result, Timestamp};

use super::Cx;
use crate::right::{self, GROUP_EXECUTE, SET_GID};
use crate::shape::kind_of;
use crate::who::Cred;

/// The uid and gid that stand for "leave it" in every system call.
const NONE: u32 = u32::MAX;

pub(super) fn setattr(cx: &Cx<'_>, fid: Fid, set: &SetAttributes) -> Result<Done<Object>> {
    let time = cx.operation.time;
    if let Some(size) = set.size {
        return file::truncate_as(cx.fileset, &cx.operation, (fid, size), &mut |old, new| {
            right::write(cx.who, fid, old)?;
            may(cx.who, fid, old, set)?;
            if !cx.who.is_root() {
                new.mode = right::without_set_ids(new.mode);
            }
            apply(cx.who, new, set, time)
        });
    }
    cx.fileset.operate(&cx.operation, Need::GROWTH, |transaction, _| {
        let old = store::getattr(transaction, fid)?.attributes;
        may(cx.who, fid, &old, set)?;
        let mut new = old;
        apply(cx.who, &mut new, set, time)?;
        let all = store::SetAttributes {
            mode: Some(new.mode),
            uid: Some(new.uid),
            gid: Some(new.gid),
            accessed: Some(new.accessed),
            modified: Some(new.modified),
        };
        store::setattr(transaction, fid, &all)
    })
}

/// Refuses what the caller may not set.
fn may(who: &Cred, fid: Fid, old: &Attributes, set: &SetAttributes) -> Result<(), Stop> {
    let refused = |why: &str| Err(Error::new(Kind::NotOwner, format!("file {fid}")).because(why).into());
    if set.uid == Some(NONE) || set.gid == Some(NONE) {
        let error = Error::new(Kind::Invalid, format!("file {fid}"));
        return Err(error.because("4294967295 is no uid and no gid").into());
    }
    if set.mode.is_some() {
        right::own(who, fid, old)?;
    }
    if let Some(uid) = set.uid {
        right::own(who, fid, old)?;
        if uid != old.uid && !who.is_root() {
            return refused("only root gives files away");
        }
    }
    if let Some(gid) = set.gid {
        right::own(who, fid, old)?;
        if gid != old.gid && !who.is_root() && !who.is_in(gid) {
            return refused("its owner is not in that group");
        }
    }
    for time in [set.accessed, set.modified].into_iter().flatten() {
        match time {
            SetTime::To(_) => right::own(who, fid, old)?,
            SetTime::Now => right::write(who, fid, old)?,
        }
    }
    Ok(())
}

/// Sets what was asked for, and takes away the set-id bits that must not outlive it.
fn apply(who: &Cred, new: &mut Attributes, set: &SetAttributes, time: Timestamp) -> Result<(), Stop> {
    new.uid = set.uid.unwrap_or(new.uid);
    new.gid = set.gid.unwrap_or(new.gid);
    let is_directory = kind_of(new)? == FileKind::Directory;
    if let Some(mode) = set.mode {
        let is_lent = mode & SET_GID != 0 && !who.is_root() && !who.is_in(new.gid);
        let mode = if is_lent { mode & !SET_GID } else { mode };
        new.mode = new.mode & !0o7777 | mode & 0o7777;
    }
    if (set.uid.is_some() || set.gid.is_some()) && !is_directory {
        new.mode = right::without_set_ids(new.mode);
        if new.mode & (SET_GID | GROUP_EXECUTE) == SET_GID && !who.is_root() && !who.is_in(new.gid) {
            new.mode &= !SET_GID;
        }
    }
    let moment = |to: SetTime| match to {
        SetTime::Now => time,
        SetTime::To(moment) => moment,
    };
    new.accessed = set.accessed.map_or(new.accessed, moment);
    new.modified = set.modified.map_or(new.modified, moment);
    Ok(())
}
