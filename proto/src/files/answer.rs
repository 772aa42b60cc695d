//! Answers: what a client is told.

use baton_types::call::{Answer, Hold, Request};
use baton_types::file::{Listed, Usage};
use baton_types::{Epoch, Error, Fid, FilesetId, Kind, Result, Timestamp, Vnode};
use prost::Message;

use super::message;
use super::shapes::{attributes, kind, lock, mount_point, object};
use crate::v1;
use crate::v1::file_answer::Answer as Wire;
use crate::wire::missing;

/// An answer as metadata.
pub fn encode_answer(answer: &Answer) -> Vec<u8> {
    v1::FileAnswer {
        answer: Some(wire(answer)),
        lsn: 0,
    }
    .encode_to_vec()
}

/// A refusal as metadata; `lsn` is its place in history if it has one.
pub fn encode_failure(error: &Error, lsn: u64) -> Vec<u8> {
    v1::FileAnswer {
        answer: Some(Wire::Failure(error.into())),
        lsn,
    }
    .encode_to_vec()
}

/// As [`decode_answer`], and the place in history that a refusal has, if it has one; else 0.
pub fn decode_outcome(meta: &[u8], asked: &Request) -> (Result<Answer>, u64) {
    match message::<v1::FileAnswer>(meta) {
        Err(error) => (Err(error), 0),
        Ok(v1::FileAnswer { answer: None, .. }) => (Err(missing("answer")), 0),
        Ok(v1::FileAnswer {
            answer: Some(answer),
            lsn,
        }) => (typed(answer, asked), lsn),
    }
}

/// An answer out of metadata. `asked` is what it answers: a listing's FIDs are of that fileset.
///
/// # Errors
/// What the server refused with; `Invalid` for what is no answer.
pub fn decode_answer(meta: &[u8], asked: &Request) -> Result<Answer> {
    decode_outcome(meta, asked).0
}

fn wire(answer: &Answer) -> Wire {
    match answer {
        Answer::Done => Wire::Done(v1::Empty {}),
        Answer::Login {
            conversation,
            caller,
            expires,
        } => Wire::Login(v1::LoginAnswer {
            conversation: *conversation,
            caller: caller.unwrap_or(0),
            expires: expires.0,
        }),
        Answer::Bound {
            session,
            epoch,
            streams,
            date,
            durable,
        } => Wire::Bound(v1::BoundAnswer {
            session: *session,
            epoch: epoch.0,
            streams: streams.iter().map(named).collect(),
            date: date.0,
            durable: *durable,
        }),
        Answer::Renewed { date, durable } => Wire::Renewed(v1::RenewedAnswer {
            date: date.0,
            durable: *durable,
        }),
        Answer::Joined { hold, serial, root } => Wire::Joined(v1::JoinedAnswer {
            alone: *hold == Hold::Alone,
            serial: *serial,
            root: Some((*root).into()),
        }),
        Answer::Vnodes { first, count } => Wire::Vnodes(v1::VnodesAnswer {
            first: first.number(),
            count: *count,
        }),
        Answer::Synced { durable } => Wire::Synced(v1::SyncCall { lsn: *durable }),
        Answer::Usage(usage) => Wire::Usage(v1::UsageAnswer {
            bytes: usage.bytes,
            files: usage.files,
            quota_bytes: usage.quota_bytes,
            quota_files: usage.quota_files,
            free_bytes: usage.free_bytes,
            aggregate_bytes: usage.aggregate_bytes,
        }),
        Answer::Object(object) => Wire::Object((*object).into()),
        Answer::Changed {
            object,
            lsn,
            durable,
            after,
        } => Wire::Changed(v1::ChangedAnswer {
            object: Some((*object).into()),
            lsn: *lsn,
            durable: *durable,
            after: after.iter().map(named).collect(),
        }),
        Answer::Listing { names, is_end } => Wire::Listing(v1::ListingAnswer {
            names: names.iter().map(listed).collect(),
            is_end: *is_end,
        }),
        Answer::MountPoint(mount_point) => Wire::MountPoint((*mount_point).into()),
        Answer::Bytes => Wire::Bytes(v1::Empty {}),
        Answer::Sought(at) => Wire::Sought(v1::SoughtAnswer { at: *at }),
        Answer::InTheWay(lock) => Wire::InTheWay(v1::LockAnswer {
            lock: lock.map(Into::into),
        }),
    }
}

fn typed(answer: Wire, asked: &Request) -> Result<Answer> {
    Ok(match answer {
        Wire::Failure(failure) => return Err(failure.into()),
        Wire::Done(_) => Answer::Done,
        Wire::Login(w) => Answer::Login {
            conversation: w.conversation,
            caller: (w.caller != 0).then_some(w.caller),
            expires: Timestamp(w.expires),
        },
        Wire::Bound(w) => Answer::Bound {
            session: w.session,
            epoch: Epoch(w.epoch),
            streams: w.streams.into_iter().map(stream).collect::<Result<_>>()?,
            date: Timestamp(w.date),
            durable: w.durable,
        },
        Wire::Renewed(w) => Answer::Renewed {
            date: Timestamp(w.date),
            durable: w.durable,
        },
        Wire::Joined(w) => Answer::Joined {
            hold: if w.alone { Hold::Alone } else { Hold::Shared },
            serial: w.serial,
            root: object(w.root)?,
        },
        Wire::Vnodes(w) => Answer::Vnodes {
            first: Vnode::new(w.first)?,
            count: w.count,
        },
        Wire::Synced(w) => Answer::Synced { durable: w.lsn },
        Wire::Usage(w) => Answer::Usage(Usage {
            bytes: w.bytes,
            files: w.files,
            quota_bytes: w.quota_bytes,
            quota_files: w.quota_files,
            free_bytes: w.free_bytes,
            aggregate_bytes: w.aggregate_bytes,
        }),
        Wire::Object(w) => Answer::Object(object(Some(w))?),
        Wire::Changed(w) => Answer::Changed {
            object: object(w.object)?,
            lsn: w.lsn,
            durable: w.durable,
            after: w.after.into_iter().map(stream).collect::<Result<_>>()?,
        },
        Wire::Listing(w) => {
            let fileset = asked.fileset().ok_or_else(|| missing("fileset"))?;
            let names = w.names.into_iter().map(|name| unlisted(name, fileset));
            Answer::Listing {
                names: names.collect::<Result<_>>()?,
                is_end: w.is_end,
            }
        }
        Wire::MountPoint(w) => Answer::MountPoint(mount_point(w)),
        Wire::Bytes(_) => Answer::Bytes,
        Wire::Sought(w) => Answer::Sought(w.at),
        Wire::InTheWay(w) => Answer::InTheWay(w.lock.map(|w| lock(Some(w))).transpose()?),
    })
}

fn named((stream, last): &(u16, u32)) -> v1::StreamLast {
    v1::StreamLast {
        stream: u32::from(*stream),
        last: *last,
    }
}

fn listed(listed: &Listed) -> v1::ListedName {
    v1::ListedName {
        name: listed.name.clone(),
        vnode: listed.fid.vnode.number(),
        unique: listed.fid.unique,
        kind: listed.kind as u32,
        cookie: listed.cookie,
        attributes: listed.attributes.map(Into::into),
    }
}

fn unlisted(wire: v1::ListedName, fileset: FilesetId) -> Result<Listed> {
    Ok(Listed {
        name: wire.name,
        fid: Fid {
            fileset,
            vnode: Vnode::new(wire.vnode)?,
            unique: wire.unique,
        },
        kind: kind(wire.kind)?,
        cookie: wire.cookie,
        attributes: wire.attributes.map(attributes).transpose()?,
    })
}

fn stream(wire: v1::StreamLast) -> Result<(u16, u32)> {
    let stream = u16::try_from(wire.stream);
    let stream = stream.map_err(|_| Error::new(Kind::Invalid, "frame").because("a stream over 65535"))?;
    Ok((stream, wire.last))
}
