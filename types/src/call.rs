//! The operations of the file service: what a client asks, what it is told, what it is told unasked.
//!
//! An operation has one name everywhere: here, on the wire, in client, server and store. Bulk bytes travel beside
//! these values, as a frame's payload: what [`Request::Write`] writes, what [`Answer::Bytes`] brings.

use crate::file::{Attributes, FileKind, Listed, MountPoint, Object, Place, SetAttributes, Usage};
use crate::{AggregateId, Epoch, Fid, FilesetId, Timestamp, Vnode};

/// What a new file is named by for ever, chosen by the client, so that a replay makes the same one (I6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newborn {
    /// From a range that the session owns.
    pub vnode: Vnode,
    /// Drawn at random.
    pub unique: u64,
    /// Permission bits, umask applied by the client.
    pub mode: u32,
}

/// Whether the client holds what may lose its last name open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It does: the file stays, without a name, until the client closes it.
    Open,
    /// It does not.
    Closed,
}

/// What may stand at the new place of a rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onto {
    /// Anything that may be replaced; and whether the client holds that open.
    Anything(Keep),
    /// Nothing (`RENAME_NOREPLACE`).
    Nothing,
    /// Something, which gets the old place (`RENAME_EXCHANGE`).
    Exchange,
}

/// Where a write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// From this byte on.
    Offset(u64),
    /// At the end, wherever that is when its turn comes (`O_APPEND`).
    End,
}

/// What `lseek` looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// Bytes that were written.
    Data,
    /// Bytes that were not.
    Hole,
}

/// What becomes of a range of bytes by `fallocate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// The file is at least this long.
    Extend,
    /// As it is, whatever the size (`FALLOC_FL_KEEP_SIZE`).
    KeepSize,
    /// Zeros, and no room taken, size as it is (`FALLOC_FL_PUNCH_HOLE`).
    PunchHole,
    /// Zeros (`FALLOC_FL_ZERO_RANGE`); the file is at least this long.
    Zero,
}

/// What must be there before an extended attribute is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetXattr {
    /// It does not matter.
    Always,
    /// Nothing (`XATTR_CREATE`).
    Create,
    /// It itself (`XATTR_REPLACE`).
    Replace,
}

/// What a range of a file is locked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockKind {
    /// Others may read too.
    Read,
    /// Nobody else.
    Write,
    /// No more.
    Unlock,
}

/// A byte-range lock of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The kernel's number for the lock's owner; it means something on its client only.
    pub owner: u64,
    /// First byte.
    pub first: u64,
    /// Last byte; `u64::MAX` is the end of the file, wherever that is.
    pub last: u64,
    /// For what.
    pub kind: LockKind,
    /// For `F_GETLK` of somebody else.
    pub pid: u32,
}

/// Whether a lock that somebody has is worth waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Refused at once.
    None,
    /// Until it is free (`F_SETLKW`).
    Wait,
}

/// Why a client comes to a fileset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coming {
    /// It wants to work there.
    Fresh,
    /// It was there before the owner changed.
    Back,
}

/// A client's share of a fileset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Nobody else is there: what it knows stays true until it is asked to give the hold back.
    Alone,
    /// Others are there: what it was told was true when it was told.
    Shared,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The client asks.
    Call,
    /// The server tells.
    Push,
}

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
    /// Whether a lock could be set.
    TestLock {
        /// On which file.
        fid: Fid,
        /// Which.
        lock: Lock,
    },
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done, and there is no more to say.
    Done,
    /// A login goes on, or is over; the token is the payload.
    Login {
        /// Which.
        conversation: u32,
        /// The handle, when it is over.
        caller: Option<u32>,
        /// Until when, by the server's date.
        expires: Timestamp,
    },
    /// The session is taken up.
    Bound {
        /// Which.
        session: u64,
        /// Under which epoch.
        epoch: Epoch,
        /// Per stream, the last sequence that is in the log.
        streams: Vec<(u16, u32)>,
        /// The server's date.
        date: Timestamp,
        /// All up to here is durable.
        durable: u64,
    },
    /// The lifetime goes on.
    Renewed {
        /// The server's date.
        date: Timestamp,
        /// All up to here is durable.
        durable: u64,
    },
    /// The client's share of a fileset.
    Joined {
        /// What it may rely on.
        hold: Hold,
        /// Of this grant.
        serial: u64,
        /// The fileset's root directory.
        root: Object,
    },
    /// A range of vnodes.
    Vnodes {
        /// The first.
        first: Vnode,
        /// So many.
        count: u32,
    },
    /// All that was asked for is durable up to here.
    Synced {
        /// The mark.
        durable: u64,
    },
    /// What a fileset takes.
    Usage(Usage),
    /// A file.
    Object(Object),
    /// A change was accepted.
    Changed {
        /// The file after it.
        object: Object,
        /// Its place in history.
        lsn: u64,
        /// All up to here is durable.
        durable: u64,
    },
    /// Names of a directory.
    Listing {
        /// In the order of their cookies.
        names: Vec<Listed>,
        /// There are no more.
        is_end: bool,
    },
    /// Where a mount point leads.
    MountPoint(MountPoint),
    /// The payload: of a file, a symbolic link, an extended attribute, a list of names.
    Bytes,
    /// Where it is; `None`: nowhere.
    Sought(Option<u64>),
    /// The lock that is in the way; `None`: none.
    InTheWay(Option<Lock>),
}

/// What a client is told unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// Give the hold on a fileset back.
    Revoke {
        /// Where.
        fileset: FilesetId,
        /// Higher than that of every grant before it.
        serial: u64,
    },
    /// All up to here is durable.
    Durable {
        /// Of which aggregate.
        aggregate: AggregateId,
        /// The mark.
        durable: u64,
    },
    /// The server gave an aggregate up: ask the location database.
    Moved {
        /// Which.
        aggregate: AggregateId,
    },
}

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
            | Request::Fallocate { fid, .. }
            | Request::SetXattr { fid, .. }
            | Request::RemoveXattr { fid, .. }
            | Request::Open { fid }
            | Request::Close { fid }
            | Request::Lock { fid, .. }
            | Request::TestLock { fid, .. } => Some(fid.fileset),
        }
    }
}

impl Answer {
    /// The attributes in it, if it is about one file.
    pub fn attributes(&self) -> Option<&Attributes> {
        match self {
            Answer::Object(object) | Answer::Changed { object, .. } | Answer::Joined { root: object, .. } => {
                Some(&object.attributes)
            }
            Answer::Done
            | Answer::Login { .. }
            | Answer::Bound { .. }
            | Answer::Renewed { .. }
            | Answer::Vnodes { .. }
            | Answer::Synced { .. }
            | Answer::Usage(_)
            | Answer::Listing { .. }
            | Answer::MountPoint(_)
            | Answer::Bytes
            | Answer::Sought(_)
            | Answer::InTheWay(_) => None,
        }
    }
}
