//! Sorts of requests: what changes something, and in which fileset.

use super::Request;
use crate::{Fid, FilesetId, Timestamp};

impl Request {
    /// Whether it changes something that lasts: then it has a sequence, and its answer is kept.
    pub fn is_change(&self) -> bool {
        self.time().is_some()
    }

    /// When a change was first done.
    pub fn time(&self) -> Option<Timestamp> {
        match self {
            Request::Create { time, .. }
            | Request::Mkdir { time, .. }
            | Request::Symlink { time, .. }
            | Request::Mknod { time, .. }
            | Request::CreateMountPoint { time, .. }
            | Request::Link { time, .. }
            | Request::Unlink { time, .. }
            | Request::Rmdir { time, .. }
            | Request::RemoveMountPoint { time, .. }
            | Request::Rename { time, .. }
            | Request::Setattr { time, .. }
            | Request::Write { time, .. }
            | Request::Copy { time, .. }
            | Request::Fallocate { time, .. }
            | Request::SetXattr { time, .. }
            | Request::RemoveXattr { time, .. } => Some(*time),
            Request::Login { .. }
            | Request::Logout
            | Request::Bind { .. }
            | Request::Renew
            | Request::Unbind
            | Request::Join { .. }
            | Request::Reclaimed { .. }
            | Request::Return { .. }
            | Request::Leave { .. }
            | Request::Vnodes { .. }
            | Request::Sync { .. }
            | Request::Statfs { .. }
            | Request::Getattr { .. }
            | Request::Lookup { .. }
            | Request::LookupParent { .. }
            | Request::Readdir { .. }
            | Request::Readlink { .. }
            | Request::ReadMountPoint { .. }
            | Request::Read { .. }
            | Request::Seek { .. }
            | Request::GetXattr { .. }
            | Request::ListXattrs { .. }
            | Request::Open { .. }
            | Request::Close { .. }
            | Request::Lock { .. }
            | Request::CancelLock { .. }
            | Request::TestLock { .. } => None,
        }
    }

    /// The fileset it is about; `None` for what is about the connection or the session.
    pub fn fileset(&self) -> Option<FilesetId> {
        match self {
            Request::Login { .. }
            | Request::Logout
            | Request::Bind { .. }
            | Request::Renew
            | Request::Unbind
            | Request::Sync { .. } => None,
            Request::Join { fileset, .. }
            | Request::Reclaimed { fileset }
            | Request::Return { fileset, .. }
            | Request::Leave { fileset }
            | Request::Vnodes { fileset }
            | Request::Statfs { fileset } => Some(*fileset),
            Request::Lookup { place }
            | Request::Create { place, .. }
            | Request::Mkdir { place, .. }
            | Request::Symlink { place, .. }
            | Request::Mknod { place, .. }
            | Request::CreateMountPoint { place, .. }
            | Request::Unlink { place, .. }
            | Request::Rmdir { place, .. }
            | Request::RemoveMountPoint { place, .. }
            | Request::Rename { source: place, .. } => Some(place.directory.fileset),
            Request::Getattr { fid }
            | Request::LookupParent { fid }
            | Request::Readdir { fid, .. }
            | Request::Readlink { fid }
            | Request::ReadMountPoint { fid }
            | Request::Read { fid, .. }
            | Request::Seek { fid, .. }
            | Request::GetXattr { fid, .. }
            | Request::ListXattrs { fid }
            | Request::Link { fid, .. }
            | Request::Setattr { fid, .. }
            | Request::Write { fid, .. }
            | Request::Copy { fid, .. }
            | Request::Fallocate { fid, .. }
            | Request::SetXattr { fid, .. }
            | Request::RemoveXattr { fid, .. }
            | Request::Open { fid }
            | Request::Close { fid }
            | Request::Lock { fid, .. }
            | Request::CancelLock { fid, .. }
            | Request::TestLock { fid, .. } => Some(fid.fileset),
        }
    }

    /// Whether it is about what a client holds: done late, it would undo what the client asked for after it.
    pub fn is_about_holds(&self) -> bool {
        matches!(
            self,
            Request::Unbind
                | Request::Join { .. }
                | Request::Reclaimed { .. }
                | Request::Return { .. }
                | Request::Leave { .. }
                | Request::Open { .. }
                | Request::Close { .. }
                | Request::Lock { .. }
                | Request::CancelLock { .. }
        )
    }

    /// The files that it names, and the one that it makes; `None` for the places that are left.
    pub fn files(&self) -> [Option<Fid>; 2] {
        match self {
            Request::Create { place, newborn, .. }
            | Request::Mkdir { place, newborn, .. }
            | Request::Symlink { place, newborn, .. }
            | Request::Mknod { place, newborn, .. }
            | Request::CreateMountPoint { place, newborn, .. } => {
                let made = Fid {
                    fileset: place.directory.fileset,
                    vnode: newborn.vnode,
                    unique: newborn.unique,
                };
                [Some(place.directory), Some(made)]
            }
            Request::Lookup { place }
            | Request::Unlink { place, .. }
            | Request::Rmdir { place, .. }
            | Request::RemoveMountPoint { place, .. } => [Some(place.directory), None],
            Request::Rename { source, target, .. } => [Some(source.directory), Some(target.directory)],
            Request::Link { fid, place, .. } => [Some(*fid), Some(place.directory)],
            Request::Copy { source, fid, .. } => [Some(*source), Some(*fid)],
            Request::Getattr { fid }
            | Request::LookupParent { fid }
            | Request::Readdir { fid, .. }
            | Request::Readlink { fid }
            | Request::ReadMountPoint { fid }
            | Request::Read { fid, .. }
            | Request::Seek { fid, .. }
            | Request::GetXattr { fid, .. }
            | Request::ListXattrs { fid }
            | Request::Setattr { fid, .. }
            | Request::Write { fid, .. }
            | Request::Fallocate { fid, .. }
            | Request::SetXattr { fid, .. }
            | Request::RemoveXattr { fid, .. }
            | Request::Open { fid }
            | Request::Close { fid }
            | Request::Lock { fid, .. }
            | Request::CancelLock { fid, .. }
            | Request::TestLock { fid, .. } => [Some(*fid), None],
            Request::Login { .. }
            | Request::Logout
            | Request::Bind { .. }
            | Request::Renew
            | Request::Unbind
            | Request::Sync { .. }
            | Request::Join { .. }
            | Request::Reclaimed { .. }
            | Request::Return { .. }
            | Request::Leave { .. }
            | Request::Vnodes { .. }
            | Request::Statfs { .. } => [None, None],
        }
    }
}
