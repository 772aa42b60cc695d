//! The operations of the file service: what a client asks, what it is told, what it is told unasked.
//!
//! An operation has one name everywhere: here, on the wire, in client, server and store. Bulk bytes travel beside
//! these values, as a frame's payload: what [`Request::Write`] writes, what [`Answer::Bytes`] brings.

mod answer;
mod parts;
mod sorts;

pub use answer::{Answer, Push};
pub use parts::{Allocate, At, Coming, Hold, Keep, Lock, LockKind, Newborn, Onto, Patience, Role, SetXattr, Sought};

use crate::file::{FileKind, MountPoint, Place, SetAttributes};
use crate::{AggregateId, Epoch, Fid, FilesetId, Timestamp};

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    // The session.
    /// One step of a login on this connection; the token is the payload. Conversation 0 begins one.
    Login {
        /// By which mechanism.
        mech: String,
        /// Which login.
        conversation: u32,
    },
    /// The caller in the header is no more.
    Logout,
    /// Takes up a session at an aggregate; 0 in the header's session asks for a new one.
    Bind {
        /// Which.
        aggregate: AggregateId,
        /// The owner's epoch, as far as the client knows.
        epoch: Epoch,
        /// Which of the client's rounds of connections this one is of: it begins a new one when it gives up a
        /// connection on which something was asked that must not be done late. Nothing that is asked on connections of
        /// earlier rounds is done from then on.
        round: u32,
    },
    /// The client lives, and goes on to use what it was told.
    Renew,
    /// Ends the session: everything it held is given back.
    Unbind,
    /// Takes part in a fileset.
    Join {
        /// Which.
        fileset: FilesetId,
        /// Fresh, or back after a takeover.
        coming: Coming,
    },
    /// Everything of before the takeover was said again: holds, opens, locks, changes.
    Reclaimed {
        /// Where.
        fileset: FilesetId,
    },
    /// Gives a hold back, as it was asked to.
    Return {
        /// Where.
        fileset: FilesetId,
        /// Of the revocation.
        serial: u64,
    },
    /// Takes part in a fileset no more.
    Leave {
        /// Which.
        fileset: FilesetId,
    },
    /// More vnodes to name what it makes.
    Vnodes {
        /// In which fileset.
        fileset: FilesetId,
    },
    /// Answers when all up to here is durable.
    Sync {
        /// What an answer said.
        lsn: u64,
    },

    // Looking.
    /// What a fileset takes.
    Statfs {
        /// Which.
        fileset: FilesetId,
    },
    /// The attributes of a file.
    Getattr {
        /// Which.
        fid: Fid,
    },
    /// What a name leads to.
    Lookup {
        /// Which name.
        place: Place,
    },
    /// The directory that a directory is in.
    LookupParent {
        /// Which directory.
        fid: Fid,
    },
    /// Names of a directory.
    Readdir {
        /// Which directory.
        fid: Fid,
        /// From here on; 0 is the start.
        cookie: u64,
        /// So many bytes of answer at most.
        bytes: u32,
        /// With the attributes of what they lead to.
        plus: bool,
    },
    /// Where a symbolic link leads.
    Readlink {
        /// Which.
        fid: Fid,
    },
    /// Where a mount point leads.
    ReadMountPoint {
        /// Which.
        fid: Fid,
    },
    /// Bytes of a file.
    Read {
        /// Which.
        fid: Fid,
        /// From here.
        offset: u64,
        /// So many at most.
        len: u32,
    },
    /// Where data or a hole begins.
    Seek {
        /// In which file.
        fid: Fid,
        /// From here on.
        offset: u64,
        /// What.
        sought: Sought,
    },
    /// An extended attribute.
    GetXattr {
        /// Of which file.
        fid: Fid,
        /// Its name.
        name: Vec<u8>,
    },
    /// The names of all extended attributes, each with a NUL after it.
    ListXattrs {
        /// Of which file.
        fid: Fid,
    },

    // Changing. The time is when the client first did it, by the server's clock as it estimates that.
    /// Makes an empty file.
    Create {
        /// Where.
        place: Place,
        /// As what.
        newborn: Newborn,
        /// Of the operation.
        time: Timestamp,
    },
    /// Makes a directory.
    Mkdir {
        /// Where.
        place: Place,
        /// As what.
        newborn: Newborn,
        /// Of the operation.
        time: Timestamp,
    },
    /// Makes a symbolic link.
    Symlink {
        /// Where.
        place: Place,
        /// As what.
        newborn: Newborn,
        /// Where it leads.
        target: Vec<u8>,
        /// Of the operation.
        time: Timestamp,
    },
    /// Makes a pipe, a socket's address or a device node.
    Mknod {
        /// Where.
        place: Place,
        /// As what.
        newborn: Newborn,
        /// Which of them.
        kind: FileKind,
        /// A device node's number.
        device: u64,
        /// Of the operation.
        time: Timestamp,
    },
    /// Makes a mount point.
    CreateMountPoint {
        /// Where.
        place: Place,
        /// As what.
        newborn: Newborn,
        /// Where it leads.
        leads_to: MountPoint,
        /// Of the operation.
        time: Timestamp,
    },
    /// Another name for a file.
    Link {
        /// Which file.
        fid: Fid,
        /// The new name.
        place: Place,
        /// Of the operation.
        time: Timestamp,
    },
    /// Takes a name away.
    Unlink {
        /// Which.
        place: Place,
        /// Whether the client holds the file open.
        keep: Keep,
        /// Of the operation.
        time: Timestamp,
    },
    /// Removes an empty directory.
    Rmdir {
        /// Which.
        place: Place,
        /// Whether the client holds it open.
        keep: Keep,
        /// Of the operation.
        time: Timestamp,
    },
    /// Removes a mount point, not what it leads to.
    RemoveMountPoint {
        /// Which.
        place: Place,
        /// Of the operation.
        time: Timestamp,
    },
    /// Moves a name.
    Rename {
        /// From here.
        source: Place,
        /// To there.
        target: Place,
        /// What may be there.
        onto: Onto,
        /// Of the operation.
        time: Timestamp,
    },
    /// Sets attributes.
    Setattr {
        /// Of which file.
        fid: Fid,
        /// Which, to what.
        set: SetAttributes,
        /// Of the operation.
        time: Timestamp,
    },
    /// Writes the payload.
    Write {
        /// To which file.
        fid: Fid,
        /// Where.
        at: At,
        /// Of the operation.
        time: Timestamp,
    },
    /// Copies whole blocks from file to file of one fileset, or from one of its snapshots; they share them from then on.
    /// Refused as `Unsupported` where bytes have to be copied.
    Copy {
        /// From which file, of the fileset or of a snapshot.
        source: Fid,
        /// From here.
        from: u64,
        /// Into which file.
        fid: Fid,
        /// To here.
        to: u64,
        /// So many bytes, all of which the source has.
        len: u64,
        /// Of the operation.
        time: Timestamp,
    },
    /// Makes room, or takes it away.
    Fallocate {
        /// In which file.
        fid: Fid,
        /// From here.
        offset: u64,
        /// So many bytes.
        len: u64,
        /// What.
        how: Allocate,
        /// Of the operation.
        time: Timestamp,
    },
    /// Sets an extended attribute to the payload.
    SetXattr {
        /// Of which file.
        fid: Fid,
        /// Its name.
        name: Vec<u8>,
        /// What must be there.
        how: SetXattr,
        /// Of the operation.
        time: Timestamp,
    },
    /// Removes an extended attribute.
    RemoveXattr {
        /// Of which file.
        fid: Fid,
        /// Its name.
        name: Vec<u8>,
        /// Of the operation.
        time: Timestamp,
    },

    // What programs hold.
    /// The client holds a file open.
    Open {
        /// Which.
        fid: Fid,
    },
    /// The client holds a file open no more.
    Close {
        /// Which.
        fid: Fid,
    },
    /// Sets or takes away a lock.
    Lock {
        /// On which file.
        fid: Fid,
        /// Which.
        lock: Lock,
        /// Whether to wait.
        patience: Patience,
    },
    /// A program waits for a lock no more. Answered like [`Request::Lock`] if it holds the lock by now, else refused.
    CancelLock {
        /// On which file.
        fid: Fid,
        /// Which.
        lock: Lock,
    },
    /// Whether a lock could be set.
    TestLock {
        /// On which file.
        fid: Fid,
        /// Which.
        lock: Lock,
    },
}
