//! `set_xattr`, `remove_xattr`: extended attributes are set and removed.

use baton_aggregate::aggregate::{Done, Need};
use baton_aggregate::fileset::{self as store, Object};
use baton_types::call::SetXattr;
use baton_types::{Fid, Result};
use bytes::Bytes;

use super::Cx;
use super::xattr::Namespace;

pub(super) fn set_xattr(cx: &Cx<'_>, fid: Fid, (name, value): (&[u8], &Bytes), how: SetXattr) -> Result<Done<Object>> {
    let how = match how {
        SetXattr::Always => store::SetXattr::Always,
        SetXattr::Create => store::SetXattr::Create,
        SetXattr::Replace => store::SetXattr::Replace,
    };
    cx.fileset.operate(&cx.operation, Need::GROWTH, |transaction, names| {
        let attributes = store::getattr(transaction, fid)?.attributes;
        Namespace::of(name)?.write(cx.who, fid, &attributes)?;
        store::set_xattr(transaction, names, fid, (name, value), how)
    })
}

pub(super) fn remove_xattr(cx: &Cx<'_>, fid: Fid, name: &[u8]) -> Result<Done<Object>> {
    cx.fileset.operate(&cx.operation, Need::UPKEEP, |transaction, names| {
        let attributes = store::getattr(transaction, fid)?.attributes;
        Namespace::of(name)?.write(cx.who, fid, &attributes)?;
        store::remove_xattr(transaction, names, fid, name)
    })
}
