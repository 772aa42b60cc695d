//! What the operations are made of besides files: choices, shares, locks.

use crate::Vnode;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The client asks.
    Call,
    /// The server tells.
    Push,
}
