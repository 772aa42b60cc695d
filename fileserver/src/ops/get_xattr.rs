//! `get_xattr`, `list_xattrs`: extended attributes.

use baton_aggregate::fileset as store;
use baton_types::{Fid, Result};
use bytes::Bytes;

use super::Cx;
use super::xattr::Namespace;

pub(super) fn get_xattr(cx: &Cx<'_>, fid: Fid, name: &[u8]) -> Result<Bytes> {
    let namespace = Namespace::of(name)?;
    let names = cx.fileset.names();
    cx.fileset.read(|view| {
        namespace.read(cx.who, fid, &store::getattr(view, fid)?.attributes)?;
        store::get_xattr(view, &names, fid, name)
    })
}

/// The names that the caller sees, each with a NUL after it.
pub(super) fn list_xattrs(cx: &Cx<'_>, fid: Fid) -> Result<Bytes> {
    let mut names = cx.fileset.read(|view| store::list_xattrs(view, fid))?;
    if !cx.who.is_root() {
        names.retain(|name| Namespace::of(name).is_ok_and(|namespace| namespace != Namespace::Trusted));
    }
    let mut list = Vec::new();
    for name in names {
        list.extend(name);
        list.push(0);
    }
    Ok(list.into())
}
