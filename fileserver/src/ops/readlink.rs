//! `readlink`, `read_mount_point`: where what is no file of its own leads.

use baton_aggregate::fileset as store;
use baton_types::call::Answer;
use baton_types::{Fid, Result};
use bytes::Bytes;

use super::Cx;
use crate::shape;

pub(super) fn readlink(cx: &Cx<'_>, fid: Fid) -> Result<Bytes> {
    cx.fileset.read(|view| store::readlink(view, fid))
}

pub(super) fn read_mount_point(cx: &Cx<'_>, fid: Fid) -> Result<Answer> {
    let leads_to = cx.fileset.read(|view| store::read_mount_point(view, fid))?;
    Ok(Answer::MountPoint(shape::mount_point(leads_to)))
}
