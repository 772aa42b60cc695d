//! `read`: bytes of a file.

use baton_aggregate::file;
use baton_types::{Fid, Result};
use bytes::Bytes;

use super::Cx;
use crate::right;

pub(super) fn read(cx: &Cx<'_>, fid: Fid, offset: u64, len: u32) -> Result<Bytes> {
    file::read_as(cx.fileset, fid, (offset, len as usize), &|attributes| {
        right::read(cx.who, fid, attributes)
    })
}
