//! Where symbolic links and mount points lead.

use baton_types::{Error, Fid, Kind};
use bytes::Bytes;

use super::attributes::{kind, load};
use super::items::Items;
use super::pieces;
use crate::format::{FileKind, Key, MountPoint};
use crate::tree::Stop;

/// The target of a symbolic link.
///
/// # Errors
/// `Invalid` for anything else; `Stale`.
pub fn readlink(items: &impl Items, fid: Fid) -> Result<Bytes, Stop> {
    expect(items, fid, FileKind::Symlink, "not a symbolic link")?;
    pieces::read(items, Key::inline(fid.vnode))
}

/// The fileset that a mount point leads to.
///
/// # Errors
/// `Invalid` for anything else; `Stale`.
pub fn read_mount_point(items: &impl Items, fid: Fid) -> Result<MountPoint, Stop> {
    expect(items, fid, FileKind::MountPoint, "not a mount point")?;
    let lost = || Error::new(Kind::Damaged, format!("mount point {fid}")).because("it leads nowhere");
    Ok(MountPoint::decode(
        &items.get(Key::mount_point(fid.vnode))?.ok_or_else(lost)?,
    )?)
}

fn expect(items: &impl Items, fid: Fid, expected: FileKind, why: &str) -> Result<(), Stop> {
    if kind(&load(items, fid)?)? != expected {
        return Err(Error::new(Kind::Invalid, format!("file {fid}")).because(why).into());
    }
    Ok(())
}
