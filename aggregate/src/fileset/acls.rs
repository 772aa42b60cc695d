//! ACLs: each different one is kept once in a fileset, and files name it by its id.
//!
//! The id is the ACL's own hash, or the next free one after it. ACLs stay: there are few, they count as used bytes,
//! and an id that once meant something never means anything else.

use baton_types::limits;
use baton_types::{Error, Fid, Kind};
use bytes::Bytes;

use super::attributes::{SetAttributes, load, save};
use super::items::Items;
use super::names::Names;
use super::object::Object;
use super::pieces;
use crate::format::Key;
use crate::transaction::Transaction;
use crate::tree::Stop;

/// Sets the ACL of a file, and the attributes that go with it: the mode that it comes to.
/// An empty ACL says that the mode bits alone count.
///
/// # Errors
/// `Stale`; `TooBig`.
pub fn set_acl(
    transaction: &mut Transaction<'_>,
    names: &Names,
    fid: Fid,
    acl: &[u8],
    set: &SetAttributes,
) -> Result<Object, Stop> {
    let mut attributes = load(transaction, fid)?;
    attributes.acl = intern(transaction, names, acl)?;
    set.apply(&mut attributes);
    attributes.changed = transaction.time();
    save(transaction, fid.vnode, &attributes);
    Ok(Object { fid, attributes })
}

/// The ACL with this id, as it was set; that of id 0 is empty.
///
/// # Errors
/// `Damaged` if there is none.
pub fn read_acl(items: &impl Items, id: u32) -> Result<Bytes, Stop> {
    if id == 0 {
        return Ok(Bytes::new());
    }
    let acl = pieces::read(items, Key::acl(id))?;
    if acl.is_empty() {
        let error = Error::new(Kind::Damaged, format!("ACL {id}")).because("files name it, and it is not there");
        return Err(error.remedy("run salvage -check").into());
    }
    Ok(acl)
}

/// The id of an ACL, which is kept from here on.
pub(super) fn intern(transaction: &mut Transaction<'_>, names: &Names, acl: &[u8]) -> Result<u32, Stop> {
    if acl.is_empty() {
        return Ok(0);
    }
    if acl.len() > limits::ACL_BYTES_MAX {
        let why = format!("{} bytes, {} at most", acl.len(), limits::ACL_BYTES_MAX);
        return Err(Error::new(Kind::TooBig, "ACL").because(why).into());
    }
    // The upper half: the lower bits of a hash are cut first in tests.
    let mut id = (names.hash(acl) >> 31) as u32;
    loop {
        id = id.wrapping_add(1).max(1);
        let known = pieces::read(transaction, Key::acl(id))?;
        if known.is_empty() {
            pieces::write(transaction, Key::acl(id), 0, acl);
            return Ok(id);
        }
        if known == acl {
            return Ok(id);
        }
    }
}
