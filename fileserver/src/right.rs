//! Who may: owners, groups and mode bits, as POSIX has them. Asked inside the store's transaction, of the same state
//! that is changed.
//!
//! | for | needed |
//! |---|---|
//! | a name looked up | x on the directory |
//! | names listed | r |
//! | a name made or taken away | w and x; in a sticky directory owner of it or of the file to take a name away |
//! | bytes read | owner of the file, or r or x |
//! | bytes written, length | owner of the file, or w: what was opened is not shut again by `chmod` |
//! | mode, dates to a given time | owner |
//! | owner | root; the group: owner, to one that he is in |
//!
//! Root may all that; nobody is root by his uid alone (`who`).

use baton_aggregate::fileset::{self as store, Items};
use baton_aggregate::format::{Attributes, FileKind};
use baton_aggregate::tree::Stop;
use baton_types::file::Place;
use baton_types::{Error, Fid, Kind, Vnode};

use crate::shape::kind_of;
use crate::who::Cred;

/// To read.
pub const READ: u32 = 4;
/// To write.
pub const WRITE: u32 = 2;
/// To search, or to execute.
pub const EXECUTE: u32 = 1;

/// Set-user-id.
pub const SET_UID: u32 = 0o4000;
/// Set-group-id.
pub const SET_GID: u32 = 0o2000;
/// Sticky.
pub const STICKY: u32 = 0o1000;
/// The group may execute.
pub const GROUP_EXECUTE: u32 = 0o010;

/// The name that every fileset's root keeps for itself.
const SNAPSHOTS: &[u8] = b".snapshots";

/// Whether the mode bits give `who` all of `bits`.
pub fn allows(who: &Cred, attributes: &Attributes, bits: u32) -> bool {
    if who.is_root() {
        return true;
    }
    let mode = match who.uid == attributes.uid {
        true => attributes.mode >> 6,
        false if who.is_in(attributes.gid) => attributes.mode >> 3,
        false => attributes.mode,
    };
    mode & bits == bits
}

/// Whether `who` is the owner, or above owners.
pub fn owns(who: &Cred, attributes: &Attributes) -> bool {
    who.is_root() || who.uid == attributes.uid
}

/// Refuses who is not given all of `bits`.
///
/// # Errors
/// `Denied`.
pub fn must(who: &Cred, fid: Fid, attributes: &Attributes, bits: u32) -> Result<(), Stop> {
    match allows(who, attributes, bits) {
        true => Ok(()),
        false => Err(denied(Kind::Denied, who, fid, attributes)),
    }
}

/// Refuses who may not read a file's bytes.
///
/// # Errors
/// `Denied`.
pub fn read(who: &Cred, fid: Fid, attributes: &Attributes) -> Result<(), Stop> {
    let may = owns(who, attributes) || allows(who, attributes, READ) || allows(who, attributes, EXECUTE);
    match may {
        true => Ok(()),
        false => Err(denied(Kind::Denied, who, fid, attributes)),
    }
}

/// Refuses who may not write a file's bytes.
///
/// # Errors
/// `Denied`.
pub fn write(who: &Cred, fid: Fid, attributes: &Attributes) -> Result<(), Stop> {
    match owns(who, attributes) {
        true => Ok(()),
        false => must(who, fid, attributes, WRITE),
    }
}

/// Refuses who is not the owner.
///
/// # Errors
/// `NotOwner`.
pub fn own(who: &Cred, fid: Fid, attributes: &Attributes) -> Result<(), Stop> {
    match owns(who, attributes) {
        true => Ok(()),
        false => Err(denied(Kind::NotOwner, who, fid, attributes)),
    }
}

/// Refuses who is not root.
///
/// # Errors
/// `NotOwner`.
pub fn root(who: &Cred, what: &str) -> Result<(), Stop> {
    match who.is_root() {
        true => Ok(()),
        false => Err(Error::new(Kind::NotOwner, what).because("only root may").into()),
    }
}

/// The attributes of a directory that `who` may search.
///
/// # Errors
/// `Denied`; `NotDirectory`; `Stale`.
pub fn search(who: &Cred, items: &impl Items, fid: Fid) -> Result<Attributes, Stop> {
    directory(who, items, fid, EXECUTE)
}

/// Refuses who may not list the names of a directory.
///
/// # Errors
/// As [`search`].
pub fn list(who: &Cred, items: &impl Items, fid: Fid) -> Result<(), Stop> {
    directory(who, items, fid, READ).map(drop)
}

fn directory(who: &Cred, items: &impl Items, fid: Fid, bits: u32) -> Result<Attributes, Stop> {
    let attributes = store::getattr(items, fid)?.attributes;
    if kind_of(&attributes)? != FileKind::Directory {
        return Err(Error::new(Kind::NotDirectory, format!("file {fid}")).into());
    }
    must(who, fid, &attributes, bits)?;
    Ok(attributes)
}

/// Refuses who may not take the name of `file` away from `directory`, which he may search.
///
/// # Errors
/// `Denied`; `NotOwner` in a sticky directory.
pub fn take_away(who: &Cred, directory: (Fid, &Attributes), file: (Fid, &Attributes)) -> Result<(), Stop> {
    must(who, directory.0, directory.1, WRITE)?;
    let is_free = directory.1.mode & STICKY == 0 || owns(who, directory.1) || owns(who, file.1);
    match is_free {
        true => Ok(()),
        false => Err(denied(Kind::NotOwner, who, file.0, file.1)),
    }
}

/// Whether a place is kept by the fileset for itself.
pub fn is_reserved(place: &Place) -> bool {
    place.directory.vnode == Vnode::ROOT && place.name.as_bytes() == SNAPSHOTS
}

/// An error about a place.
pub fn refused(place: &Place, kind: Kind) -> Error {
    Error::new(kind, format!("'{}' in directory {}", place.name, place.directory))
}

/// The mode without the bits that a change by `who` takes away: set-user-id, and set-group-id where it is one.
pub fn without_set_ids(mode: u32) -> u32 {
    let set_gid = if mode & GROUP_EXECUTE == 0 { 0 } else { SET_GID };
    mode & !(SET_UID | set_gid)
}

/// Mode and group of what `who` makes in `directory` (the set-group-id rules).
pub fn inherited(who: &Cred, directory: &Attributes, kind: FileKind, mode: u32) -> (u32, u32) {
    let is_inherited = directory.mode & SET_GID != 0;
    let gid = if is_inherited { directory.gid } else { who.gid };
    let mode = mode & 0o7777;
    let mode = match kind == FileKind::Directory {
        true if is_inherited => mode | SET_GID,
        true => mode,
        // Nobody lends a group that he is not in.
        false if mode & GROUP_EXECUTE != 0 && !who.is_root() && !who.is_in(gid) => mode & !SET_GID,
        false => mode,
    };
    (mode, gid)
}

fn denied(kind: Kind, who: &Cred, fid: Fid, attributes: &Attributes) -> Stop {
    let why = format!(
        "uid {} may not: it belongs to {}:{}, mode {:o}",
        who.uid,
        attributes.uid,
        attributes.gid,
        attributes.mode & 0o7777
    );
    Error::new(kind, format!("file {fid}")).because(why).into()
}
