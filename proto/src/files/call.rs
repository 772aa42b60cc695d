//! Calls: what a client asks.

use baton_types::call::{At, Coming, Keep, Newborn, Onto, Patience, Request, Sought};
use baton_types::file::Place;
use baton_types::{AggregateId, Epoch, Error, Fid, FilesetId, Kind, Result, Timestamp};
use prost::Message;

use super::choices::{allocate, allocate_number, set_xattr, set_xattr_number};
use super::message;
use super::op::op_of;
use super::shapes::{bad, fid, kind, lock, mount_point, newborn, place, set_attributes};
use crate::v1;
use crate::v1::file_call::Call as Wire;
use crate::wire::{FromWire, missing};

/// The longest name of a mechanism.
const MECH_BYTES_MAX: usize = 32;

/// A request as metadata; `seen` acknowledges replies of stream 0.
#[expect(clippy::too_many_lines, reason = "a table: one entry for each operation")]
pub fn encode_call(request: &Request, seen: u32) -> Vec<u8> {
    let call = match request {
        Request::Login { mech, conversation } => Wire::Login(v1::LoginCall {
            mech: mech.clone(),
            conversation: *conversation,
        }),
        Request::Logout => Wire::Logout(v1::Empty {}),
        Request::Bind {
            aggregate,
            epoch,
            round,
        } => Wire::Bind(v1::BindCall {
            aggregate: aggregate.0.as_bytes().to_vec(),
            epoch: epoch.0,
            round: *round,
        }),
        Request::Renew => Wire::Renew(v1::Empty {}),
        Request::Unbind => Wire::Unbind(v1::Empty {}),
        Request::Join { fileset, coming } => Wire::Join(v1::JoinCall {
            fileset: fileset.0,
            back: *coming == Coming::Back,
        }),
        Request::Reclaimed { fileset } => Wire::Reclaimed(fileset_call(*fileset)),
        Request::Leave { fileset } => Wire::Leave(fileset_call(*fileset)),
        Request::Vnodes { fileset } => Wire::Vnodes(fileset_call(*fileset)),
        Request::Statfs { fileset } => Wire::Statfs(fileset_call(*fileset)),
        Request::Return { fileset, serial } => Wire::Return(v1::ReturnCall {
            fileset: fileset.0,
            serial: *serial,
        }),
        Request::Sync { lsn } => Wire::Sync(v1::SyncCall { lsn: *lsn }),
        Request::Getattr { fid } => Wire::Getattr(fid_call(*fid)),
        Request::LookupParent { fid } => Wire::LookupParent(fid_call(*fid)),
        Request::Readlink { fid } => Wire::Readlink(fid_call(*fid)),
        Request::ReadMountPoint { fid } => Wire::ReadMountPoint(fid_call(*fid)),
        Request::ListXattrs { fid } => Wire::ListXattrs(fid_call(*fid)),
        Request::Open { fid } => Wire::Open(fid_call(*fid)),
        Request::Close { fid } => Wire::Close(fid_call(*fid)),
        Request::Lookup { place } => Wire::Lookup(v1::PlaceCall {
            place: Some(place.into()),
        }),
        Request::Readdir {
            fid,
            cookie,
            bytes,
            plus,
        } => Wire::Readdir(v1::ReaddirCall {
            fid: Some((*fid).into()),
            cookie: *cookie,
            bytes: *bytes,
            plus: *plus,
        }),
        Request::Read { fid, offset, len } => Wire::Read(v1::ReadCall {
            fid: Some((*fid).into()),
            offset: *offset,
            len: *len,
        }),
        Request::Seek { fid, offset, sought } => Wire::Seek(v1::SeekCall {
            fid: Some((*fid).into()),
            offset: *offset,
            hole: *sought == Sought::Hole,
        }),
        Request::GetXattr { fid, name } => Wire::GetXattr(v1::XattrCall {
            fid: Some((*fid).into()),
            name: name.clone(),
            ..v1::XattrCall::default()
        }),
        Request::Create { place, newborn, time } => Wire::Create(v1::MakeCall {
            ..make(place, newborn, time)
        }),
        Request::Mkdir { place, newborn, time } => Wire::Mkdir(v1::MakeCall {
            ..make(place, newborn, time)
        }),
        Request::Symlink {
            place,
            newborn,
            target,
            time,
        } => Wire::Symlink(v1::MakeCall {
            target: target.clone(),
            ..make(place, newborn, time)
        }),
        Request::Mknod {
            place,
            newborn,
            kind,
            device,
            time,
        } => Wire::Mknod(v1::MakeCall {
            kind: *kind as u32,
            device: *device,
            ..make(place, newborn, time)
        }),
        Request::CreateMountPoint {
            place,
            newborn,
            leads_to,
            time,
        } => Wire::CreateMountPoint(v1::MakeCall {
            leads_to: Some((*leads_to).into()),
            ..make(place, newborn, time)
        }),
        Request::Link { fid, place, time } => Wire::Link(v1::LinkCall {
            fid: Some((*fid).into()),
            place: Some(place.into()),
            time: time.0,
        }),
        Request::Unlink { place, keep, time } => Wire::Unlink(v1::UnlinkCall {
            place: Some(place.into()),
            open: *keep == Keep::Open,
            time: time.0,
        }),
        Request::Rmdir { place, keep, time } => Wire::Rmdir(v1::UnlinkCall {
            place: Some(place.into()),
            open: *keep == Keep::Open,
            time: time.0,
        }),
        Request::RemoveMountPoint { place, time } => Wire::RemoveMountPoint(v1::UnlinkCall {
            place: Some(place.into()),
            open: false,
            time: time.0,
        }),
        Request::Rename {
            source,
            target,
            onto,
            time,
        } => Wire::Rename(rename(source, target, *onto, *time)),
        Request::Setattr { fid, set, time } => Wire::Setattr(v1::SetattrCall {
            fid: Some((*fid).into()),
            set: Some((*set).into()),
            time: time.0,
        }),
        Request::Write { fid, at, time } => Wire::Write(write(*fid, *at, *time)),
        Request::Copy {
            source,
            from,
            fid,
            to,
            len,
            time,
        } => Wire::Copy(v1::CopyCall {
            source: Some((*source).into()),
            from: *from,
            fid: Some((*fid).into()),
            to: *to,
            len: *len,
            time: time.0,
        }),
        Request::Fallocate {
            fid,
            offset,
            len,
            how,
            time,
        } => Wire::Fallocate(v1::FallocateCall {
            fid: Some((*fid).into()),
            offset: *offset,
            len: *len,
            how: allocate_number(*how),
            time: time.0,
        }),
        Request::SetXattr { fid, name, how, time } => Wire::SetXattr(v1::XattrCall {
            fid: Some((*fid).into()),
            name: name.clone(),
            time: time.0,
            how: set_xattr_number(*how),
        }),
        Request::RemoveXattr { fid, name, time } => Wire::RemoveXattr(v1::XattrCall {
            fid: Some((*fid).into()),
            name: name.clone(),
            time: time.0,
            how: 0,
        }),
        Request::Lock { fid, lock, patience } => Wire::Lock(v1::LockCall {
            fid: Some((*fid).into()),
            lock: Some((*lock).into()),
            wait: *patience == Patience::Wait,
        }),
        Request::TestLock { fid, lock } => Wire::TestLock(v1::LockCall {
            fid: Some((*fid).into()),
            lock: Some((*lock).into()),
            wait: false,
        }),
        Request::CancelLock { fid, lock } => Wire::CancelLock(v1::LockCall {
            fid: Some((*fid).into()),
            lock: Some((*lock).into()),
            wait: false,
        }),
    };
    v1::FileCall { seen, call: Some(call) }.encode_to_vec()
}

/// A request out of metadata, and what of stream 0 was seen. It must be the one that the frame's `op` says.
///
/// # Errors
/// `Unsupported` for one that this build does not know; `Invalid`, `NameTooLong` for values that cannot be.
#[expect(clippy::too_many_lines, reason = "a table: one entry for each operation")]
pub fn decode_call(op: u16, meta: &[u8]) -> Result<(Request, u32)> {
    let v1::FileCall { seen, call } = message(meta)?;
    let unknown = || Error::new(Kind::Unsupported, format!("operation {op}")).because("this server does not know it");
    let request = match call.ok_or_else(unknown)? {
        Wire::Login(w) => Request::Login {
            mech: short_text(w.mech)?,
            conversation: w.conversation,
        },
        Wire::Logout(_) => Request::Logout,
        Wire::Bind(w) => Request::Bind {
            aggregate: AggregateId::from_wire(&w.aggregate)?,
            epoch: Epoch(w.epoch),
            round: w.round,
        },
        Wire::Renew(_) => Request::Renew,
        Wire::Unbind(_) => Request::Unbind,
        Wire::Join(w) => Request::Join {
            fileset: FilesetId(w.fileset),
            coming: if w.back { Coming::Back } else { Coming::Fresh },
        },
        Wire::Reclaimed(w) => Request::Reclaimed {
            fileset: FilesetId(w.fileset),
        },
        Wire::Leave(w) => Request::Leave {
            fileset: FilesetId(w.fileset),
        },
        Wire::Vnodes(w) => Request::Vnodes {
            fileset: FilesetId(w.fileset),
        },
        Wire::Statfs(w) => Request::Statfs {
            fileset: FilesetId(w.fileset),
        },
        Wire::Return(w) => Request::Return {
            fileset: FilesetId(w.fileset),
            serial: w.serial,
        },
        Wire::Sync(w) => Request::Sync { lsn: w.lsn },
        Wire::Getattr(w) => Request::Getattr { fid: fid(w.fid)? },
        Wire::LookupParent(w) => Request::LookupParent { fid: fid(w.fid)? },
        Wire::Readlink(w) => Request::Readlink { fid: fid(w.fid)? },
        Wire::ReadMountPoint(w) => Request::ReadMountPoint { fid: fid(w.fid)? },
        Wire::ListXattrs(w) => Request::ListXattrs { fid: fid(w.fid)? },
        Wire::Open(w) => Request::Open { fid: fid(w.fid)? },
        Wire::Close(w) => Request::Close { fid: fid(w.fid)? },
        Wire::Lookup(w) => Request::Lookup { place: place(w.place)? },
        Wire::Readdir(w) => Request::Readdir {
            fid: fid(w.fid)?,
            cookie: w.cookie,
            bytes: w.bytes,
            plus: w.plus,
        },
        Wire::Read(w) => Request::Read {
            fid: fid(w.fid)?,
            offset: w.offset,
            len: w.len,
        },
        Wire::Seek(w) => Request::Seek {
            fid: fid(w.fid)?,
            offset: w.offset,
            sought: if w.hole { Sought::Hole } else { Sought::Data },
        },
        Wire::GetXattr(w) => Request::GetXattr {
            fid: fid(w.fid)?,
            name: w.name,
        },
        Wire::Create(w) => Request::Create {
            place: place(w.place)?,
            newborn: newborn(w.newborn)?,
            time: Timestamp(w.time),
        },
        Wire::Mkdir(w) => Request::Mkdir {
            place: place(w.place)?,
            newborn: newborn(w.newborn)?,
            time: Timestamp(w.time),
        },
        Wire::Symlink(w) => Request::Symlink {
            place: place(w.place)?,
            newborn: newborn(w.newborn)?,
            target: w.target,
            time: Timestamp(w.time),
        },
        Wire::Mknod(w) => Request::Mknod {
            place: place(w.place)?,
            newborn: newborn(w.newborn)?,
            kind: kind(w.kind)?,
            device: w.device,
            time: Timestamp(w.time),
        },
        Wire::CreateMountPoint(w) => Request::CreateMountPoint {
            place: place(w.place)?,
            newborn: newborn(w.newborn)?,
            leads_to: mount_point(w.leads_to.ok_or_else(|| missing("leads_to"))?),
            time: Timestamp(w.time),
        },
        Wire::Link(w) => Request::Link {
            fid: fid(w.fid)?,
            place: place(w.place)?,
            time: Timestamp(w.time),
        },
        Wire::Unlink(w) => Request::Unlink {
            place: place(w.place)?,
            keep: keep(w.open),
            time: Timestamp(w.time),
        },
        Wire::Rmdir(w) => Request::Rmdir {
            place: place(w.place)?,
            keep: keep(w.open),
            time: Timestamp(w.time),
        },
        Wire::RemoveMountPoint(w) => Request::RemoveMountPoint {
            place: place(w.place)?,
            time: Timestamp(w.time),
        },
        Wire::Rename(w) => Request::Rename {
            source: place(w.source)?,
            target: place(w.target)?,
            onto: onto(w.onto, w.open)?,
            time: Timestamp(w.time),
        },
        Wire::Setattr(w) => Request::Setattr {
            fid: fid(w.fid)?,
            set: set_attributes(w.set)?,
            time: Timestamp(w.time),
        },
        Wire::Write(w) => Request::Write {
            fid: fid(w.fid)?,
            at: if w.at_end { At::End } else { At::Offset(w.offset) },
            time: Timestamp(w.time),
        },
        Wire::Copy(w) => Request::Copy {
            source: fid(w.source)?,
            from: w.from,
            fid: fid(w.fid)?,
            to: w.to,
            len: w.len,
            time: Timestamp(w.time),
        },
        Wire::Fallocate(w) => Request::Fallocate {
            fid: fid(w.fid)?,
            offset: w.offset,
            len: w.len,
            how: allocate(w.how)?,
            time: Timestamp(w.time),
        },
        Wire::SetXattr(w) => Request::SetXattr {
            fid: fid(w.fid)?,
            name: w.name,
            how: set_xattr(w.how)?,
            time: Timestamp(w.time),
        },
        Wire::RemoveXattr(w) => Request::RemoveXattr {
            fid: fid(w.fid)?,
            name: w.name,
            time: Timestamp(w.time),
        },
        Wire::Lock(w) => Request::Lock {
            fid: fid(w.fid)?,
            lock: lock(w.lock)?,
            patience: if w.wait { Patience::Wait } else { Patience::None },
        },
        Wire::TestLock(w) => Request::TestLock {
            fid: fid(w.fid)?,
            lock: lock(w.lock)?,
        },
        Wire::CancelLock(w) => Request::CancelLock {
            fid: fid(w.fid)?,
            lock: lock(w.lock)?,
        },
    };
    match op_of(&request) == op {
        true => Ok((request, seen)),
        false => Err(bad("call of its kind", format!("operation {op}"))),
    }
}

fn fileset_call(fileset: FilesetId) -> v1::FilesetCall {
    v1::FilesetCall { fileset: fileset.0 }
}

fn fid_call(fid: Fid) -> v1::FidCall {
    v1::FidCall { fid: Some(fid.into()) }
}

fn make(place: &Place, newborn: &Newborn, time: &Timestamp) -> v1::MakeCall {
    v1::MakeCall {
        place: Some(place.into()),
        newborn: Some((*newborn).into()),
        time: time.0,
        ..v1::MakeCall::default()
    }
}

fn rename(source: &Place, target: &Place, onto: Onto, time: Timestamp) -> v1::RenameCall {
    let (onto, open) = match onto {
        Onto::Anything(keep) => (1, keep == Keep::Open),
        Onto::Nothing => (2, false),
        Onto::Exchange => (3, false),
    };
    v1::RenameCall {
        source: Some(source.into()),
        target: Some(target.into()),
        onto,
        open,
        time: time.0,
    }
}

fn onto(number: u32, open: bool) -> Result<Onto> {
    match number {
        1 => Ok(Onto::Anything(keep(open))),
        2 => Ok(Onto::Nothing),
        3 => Ok(Onto::Exchange),
        other => Err(bad("kind of rename", other)),
    }
}

fn keep(open: bool) -> Keep {
    match open {
        true => Keep::Open,
        false => Keep::Closed,
    }
}

fn write(fid: Fid, at: At, time: Timestamp) -> v1::WriteCall {
    let (offset, at_end) = match at {
        At::Offset(offset) => (offset, false),
        At::End => (0, true),
    };
    v1::WriteCall {
        fid: Some(fid.into()),
        offset,
        at_end,
        time: time.0,
    }
}

fn short_text(text: String) -> Result<String> {
    match text.len() {
        0..=MECH_BYTES_MAX => Ok(text),
        long => Err(bad("name of a mechanism", format!("one of {long} bytes"))),
    }
}
