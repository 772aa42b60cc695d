//! Files as the wire knows them: what they are, what `stat` tells, what may be set.

use crate::{Fid, FileName, FilesetId, Timestamp, Vnode};

/// What stands behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FileKind {
    /// Bytes.
    Regular = 1,
    /// Names.
    Directory = 2,
    /// A path to go on by.
    Symlink = 3,
    /// A named pipe.
    Fifo = 4,
    /// The address of a local socket.
    Socket = 5,
    /// A character device.
    Character = 6,
    /// A block device.
    BlockDevice = 7,
    /// The way into another fileset.
    MountPoint = 8,
}

impl FileKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [FileKind; 8] = [
        FileKind::Regular,
        FileKind::Directory,
        FileKind::Symlink,
        FileKind::Fifo,
        FileKind::Socket,
        FileKind::Character,
        FileKind::BlockDevice,
        FileKind::MountPoint,
    ];

    /// The kind with this number on the wire.
    pub fn from_number(number: u32) -> Option<FileKind> {
        FileKind::ALL.into_iter().find(|kind| *kind as u32 == number)
    }
}

/// Where a mount point leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountPoint {
    /// To the version that the path so far asks for.
    Regular(FilesetId),
    /// To the read-write version, always.
    ReadWrite(FilesetId),
}

/// What `stat` tells, and a little more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits, with set-id bits and the sticky one: 12 bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names it has.
    pub links: u32,
    /// In bytes.
    pub size: u64,
    /// Blocks of 4 KiB that it takes.
    pub blocks: u64,
    /// Rises with every change of its bytes or entries.
    pub data_version: u64,
    /// Last access, as far as somebody set it.
    pub accessed: Timestamp,
    /// Last change of its bytes or entries.
    pub modified: Timestamp,
    /// Last change of anything.
    pub changed: Timestamp,
    /// When it was made.
    pub created: Timestamp,
    /// Of a directory the one it is in.
    pub parent: Option<Vnode>,
    /// Of a device node its number, as Linux puts major and minor into 64 bits.
    pub device: u64,
    /// Its ACL; 0 means the mode bits.
    pub acl: u32,
}

/// A file for ever, and its attributes at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Which.
    pub fid: Fid,
    /// As they were.
    pub attributes: Attributes,
}

/// What to do with a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The time of the operation: who may write the file may do that.
    Now,
    /// This one: the owner alone may.
    To(Timestamp),
}

/// What `setattr` changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttributes {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Bytes: cut or extended with zeros.
    pub size: Option<u64>,
    /// Last access.
    pub accessed: Option<SetTime>,
    /// Last change of bytes.
    pub modified: Option<SetTime>,
}

/// A place that a name may stand at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// In which directory.
    pub directory: Fid,
    /// Which name.
    pub name: FileName,
}

/// One name of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Itself: any bytes.
    pub name: Vec<u8>,
    /// What it leads to.
    pub fid: Fid,
    /// What that is.
    pub kind: FileKind,
    /// A listing goes on after it from here.
    pub cookie: u64,
    /// When they were asked for.
    pub attributes: Option<Attributes>,
}

/// What a fileset takes and may take: what `df` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes it holds.
    pub bytes: u64,
    /// Files it holds.
    pub files: u64,
    /// Bytes it may hold; 0: as many as there is room for.
    pub quota_bytes: u64,
    /// Files it may hold; 0: as many as there is room for.
    pub quota_files: u64,
    /// Bytes free in its aggregate.
    pub free_bytes: u64,
    /// Bytes of its aggregate.
    pub aggregate_bytes: u64,
}
