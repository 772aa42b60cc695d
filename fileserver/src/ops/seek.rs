//! `seek`: where data or a hole begins.

use baton_aggregate::file;
use baton_aggregate::fileset as store;
use baton_types::call::{Answer, Sought};
use baton_types::{Fid, Result};

use super::Cx;
use crate::right;

pub(super) fn seek(cx: &Cx<'_>, fid: Fid, offset: u64, sought: Sought) -> Result<Answer> {
    cx.fileset
        .read(|view| right::read(cx.who, fid, &store::getattr(view, fid)?.attributes))?;
    let sought = match sought {
        Sought::Data => file::Sought::Data,
        Sought::Hole => file::Sought::Hole,
    };
    Ok(Answer::Sought(file::seek(cx.fileset, fid, offset, sought)?))
}
