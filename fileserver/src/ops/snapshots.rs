//! `.snapshots`: a directory beside the names of every fileset's root, and in it the roots of its snapshots.
//!
//! It is nowhere on the disk, and in no listing of the root. Who may search or list the root may do so here; what is
//! in a snapshot is judged by the owners and modes of its day.

use baton_aggregate::aggregate::SnapshotInfo;
use baton_aggregate::fileset as store;
use baton_types::call::{Answer, Request};
use baton_types::file::{Attributes, FileKind, Listed, Object, Place};
use baton_types::{Error, Fid, Kind, Result, Vnode};
use bytes::Bytes;

use super::Cx;
use crate::{right, shape};

/// Names in one answer: the longest fill its frame.
const NAMES_MAX: usize = 150;
/// Cookies begin here: what is below means nothing to clients, or `.` and `..`.
const COOKIES_FROM: u64 = 16;

/// The directory itself, by the root directory of its fileset, now or at a snapshot.
pub(super) fn directory(root: &store::Object) -> Result<Object> {
    let of_root = shape::attributes(&root.attributes)?;
    Ok(Object {
        fid: Fid {
            fileset: root.fid.fileset.live(),
            vnode: Vnode::SNAPSHOTS,
            unique: root.fid.unique,
        },
        attributes: Attributes {
            mode: of_root.mode & 0o555,
            links: 2,
            size: 0,
            blocks: 0,
            data_version: 0,
            accessed: of_root.created,
            modified: of_root.created,
            changed: of_root.created,
            parent: Some(Vnode::ROOT),
            acl: 0,
            ..of_root
        },
    })
}

/// What is asked of it; `None`: it is asked of something else.
pub(super) fn look(cx: &Cx<'_>, request: &Request) -> Option<Result<(Answer, Bytes)>> {
    let fid = match request {
        Request::Lookup { place } => place.directory,
        Request::Getattr { fid }
        | Request::LookupParent { fid }
        | Request::Readdir { fid, .. }
        | Request::Readlink { fid }
        | Request::ReadMountPoint { fid }
        | Request::Read { fid, .. }
        | Request::Seek { fid, .. }
        | Request::GetXattr { fid, .. }
        | Request::ListXattrs { fid } => *fid,
        _ => return None,
    };
    (fid.vnode == Vnode::SNAPSHOTS).then(|| show(cx, fid, request))
}

fn show(cx: &Cx<'_>, fid: Fid, request: &Request) -> Result<(Answer, Bytes)> {
    let on = |kind| Error::new(kind, format!("file {fid}"));
    let root = cx.fileset.read(|view| {
        let root = store::root(view, fid.fileset)?;
        match request {
            Request::Lookup { .. } => drop(right::search(cx.who, view, root.fid)?),
            Request::Readdir { .. } => right::list(cx.who, view, root.fid)?,
            _ => {}
        }
        Ok(root)
    })?;
    if root.fid.unique != fid.unique || cx.fileset.snapshot().is_some() {
        return Err(on(Kind::Stale));
    }
    let answer = match request {
        Request::Getattr { .. } => Answer::Object(directory(&root)?),
        Request::LookupParent { .. } => Answer::Object(shape::object(&root)?),
        Request::Lookup { place } => Answer::Object(lookup(cx, place)?),
        Request::Readdir { cookie, .. } => listing(cx, root.fid, *cookie)?,
        Request::ListXattrs { .. } => Answer::Bytes,
        Request::GetXattr { .. } => return Err(on(Kind::NoAttribute)),
        _ => return Err(on(Kind::IsDirectory)),
    };
    Ok((answer, Bytes::new()))
}

fn lookup(cx: &Cx<'_>, place: &Place) -> Result<Object> {
    let snapshot = cx.fileset.snapshot_named(place.name.as_bytes());
    cx.fileset
        .until_snapshots_last(snapshot.as_ref().map(|snapshot| snapshot.id))?;
    let snapshot = snapshot.ok_or_else(|| right::refused(place, Kind::NotFound))?;
    let id = place.directory.fileset.snapshot(snapshot.number);
    let root = cx.fileset.at(snapshot.id)?.read(|view| store::root(view, id))?;
    let mut object = shape::object(&root)?;
    // Made when the snapshot was taken: by this it is told from others that had its number, or will have it.
    object.attributes.created = snapshot.taken;
    Ok(object)
}

fn listing(cx: &Cx<'_>, root: Fid, cookie: u64) -> Result<Answer> {
    let all = cx.fileset.snapshots();
    cx.fileset.until_snapshots_last(None)?;
    let cookie_of = |snapshot: &SnapshotInfo| snapshot.id.0.saturating_add(COOKIES_FROM);
    let from = all.partition_point(|snapshot| cookie_of(snapshot) <= cookie);
    let names: Vec<Listed> = all[from..]
        .iter()
        .take(NAMES_MAX)
        .map(|snapshot| Listed {
            name: snapshot.name.as_bytes().to_vec(),
            fid: Fid {
                fileset: root.fileset.snapshot(snapshot.number),
                ..root
            },
            kind: FileKind::Directory,
            cookie: cookie_of(snapshot),
            attributes: None,
        })
        .collect();
    let is_end = from + names.len() == all.len();
    Ok(Answer::Listing { names, is_end })
}
