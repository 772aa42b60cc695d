//! Keys: what an item belongs to, what it is, and which one.
//!
//! One shape for every tree: object, kind, sub, big-endian, so that keys compare as their bytes do.

use baton_types::{ClientId, Epoch, FilesetId, Result, Vnode};

use crate::format::reader::{Reader, newer};
use crate::format::{Block, Lsn, Segment};

/// A key as it is encoded.
pub const KEY_BYTES: usize = 17;

/// Pieces that a value longer than an item is cut into, at most: their number is the low bits of `sub`.
/// So all extended attributes of one vnode (1 MiB) fit, even if their names had one hash.
pub const PIECES_MAX: u64 = 1 << 10;

/// The place of an item in its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The thing the item belongs to: a vnode, a fileset, a session, a segment ….
    pub object: u64,
    /// What the item says about it.
    pub kind: KeyKind,
    /// Which of several.
    pub sub: u64,
}

macro_rules! key_kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        /// What an item is. Numbers are on the disk: added, never changed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum KeyKind { $($(#[$doc])* $name = $number,)* }

        impl KeyKind {
            /// Every kind, in the order of their numbers.
            pub const ALL: &'static [KeyKind] = &[$(KeyKind::$name,)*];

            /// The kind with this number.
            pub fn from_number(number: u8) -> Option<KeyKind> {
                match number { $($number => Some(KeyKind::$name),)* _ => None }
            }
        }
    };
}

key_kinds! {
    /// File tree: a vnode's attributes; sub 0.
    Attributes = 1;
    /// File tree: the entries of a directory whose names have the hash sub.
    Name = 2;
    /// File tree: a piece (low bits of sub) of the extended attributes of a vnode whose names have the hash above them.
    Xattr = 3;
    /// File tree: object 0, a piece (low bits of sub) of the ACL whose id is above them.
    Acl = 4;
    /// File tree: up to 64 blocks of a file from block sub on.
    Extent = 5;
    /// File tree: a small file's bytes (sub 0), or a piece of a symbolic link's target.
    Inline = 6;
    /// File tree: object 0, sub = a vnode without a name that is still open.
    Orphan = 7;
    /// File tree: the fileset a mount point leads to; sub 0.
    MountPoint = 8;
    /// File tree: object 0, blocks from block sub on that are in several places.
    Shared = 9;

    /// System tree: a fileset; sub 0.
    FilesetHeader = 32;
    /// System tree: object 0, the filesets whose names have the hash sub.
    FilesetName = 33;
    /// System tree: the tree of a fileset (sub 0), or of its snapshot at lsn sub. Merges alone write it.
    FilesetTree = 34;
    /// System tree: what a fileset uses; sub 0. Merges alone write it.
    FilesetUsage = 35;
    /// System tree: a session; sub 0.
    SessionHeader = 40;
    /// System tree: the last sequence number of a session's stream sub.
    Stream = 41;
    /// System tree: a session's answer to stream (upper half of sub) and sequence (lower half).
    Reply = 42;
    /// System tree: the vnode numbers a session may give to what it makes in fileset sub.
    VnodeRange = 43;
    /// System tree: a client, object and sub being the halves of its id.
    Client = 44;
    /// System tree: a fileset, and the clients whose ids have the hash sub that hold something in it.
    Hold = 45;
    /// System tree: a fileset's snapshot at lsn sub.
    Snapshot = 46;
    /// System tree: blocks that the snapshot at lsn object was the last to have. Sub: the number of the first that had
    /// them (upper half), and a number of its own. Merges alone write it.
    DeadChunk = 48;
    /// System tree: object 0, a fileset that has space to give back.
    Cursor = 49;
    /// System tree: object 0, piece sub of what an owner that detached left to the next one.
    Parting = 50;
    /// System tree: from record sub on, the fileset goes on from a snapshot, its own or another's.
    Base = 51;
    /// System tree: from record sub on, a fileset goes on from a snapshot of this one: that one's blocks stay.
    Held = 52;
    /// System tree: object the lsn of a deleted snapshot that no later one follows, how far its tree was taken apart;
    /// sub 0.
    Walk = 53;
    /// System tree: object 0, the sum of the blocks promised to files. Merges alone write it.
    Promised = 54;

    /// Space tree: what a segment is and which of its blocks are used; sub 0.
    SegmentState = 64;
    /// Space tree: closed segments with room, found by class and fullness; under the first key of all, their sum.
    Room = 65;
    /// Space tree: object epoch, sub segment: not to be reused before that epoch is proven gone.
    Quarantine = 66;
    /// Space tree: blocks from block sub on that have further owners, and how many; under the last object of all.
    Further = 67;

    /// List of pending frees: object is the first block; sub 0.
    Pending = 80;
}

impl KeyKind {
    /// True for what merges alone write. No record says it: if one did, its replay would bring back what the root that
    /// it is replayed over has replaced.
    pub fn is_of_merges(self) -> bool {
        matches!(
            self,
            KeyKind::FilesetTree
                | KeyKind::FilesetUsage
                | KeyKind::DeadChunk
                | KeyKind::Promised
                | KeyKind::SegmentState
                | KeyKind::Room
                | KeyKind::Quarantine
                | KeyKind::Further
                | KeyKind::Pending
        )
    }

    /// True for what merges write and records may delete: what a merge puts under the same key again it puts over the
    /// record, and a root that has it has the record too.
    pub fn is_deleted_by_records(self) -> bool {
        matches!(self, KeyKind::FilesetTree | KeyKind::FilesetUsage | KeyKind::DeadChunk)
    }
}

impl Key {
    /// Before every key that an item has.
    pub const FIRST: Key = Key::new(0, KeyKind::Attributes, 0);
    /// After every key that an item has.
    pub const LAST: Key = Key::new(u64::MAX, KeyKind::Pending, u64::MAX);

    /// The greatest key that comes before this one; `None` before the first.
    pub fn before(self) -> Option<Key> {
        let Key { object, kind, sub } = self;
        if sub > 0 {
            return Some(Key::new(object, kind, sub - 1));
        }
        let kinds = KeyKind::ALL;
        match kinds.iter().rev().find(|other| **other < kind) {
            Some(kind) => Some(Key::new(object, *kind, u64::MAX)),
            None => Some(Key::new(object.checked_sub(1)?, *kinds.last()?, u64::MAX)),
        }
    }

    /// The key of these three.
    pub const fn new(object: u64, kind: KeyKind, sub: u64) -> Key {
        Key { object, kind, sub }
    }

    /// As it lies on the disk.
    pub fn encode(self) -> [u8; KEY_BYTES] {
        let mut bytes = [0; KEY_BYTES];
        bytes[..8].copy_from_slice(&self.object.to_be_bytes());
        bytes[8] = self.kind as u8;
        bytes[9..].copy_from_slice(&self.sub.to_be_bytes());
        bytes
    }

    /// The key in these 17 bytes.
    ///
    /// # Errors
    /// `Damaged` if there are not 17, `Version` if the kind is unknown.
    pub fn decode(bytes: &[u8]) -> Result<Key> {
        let mut reader = Reader::new("key", bytes);
        let (object, kind, sub) = (reader.array()?, reader.u8()?, reader.array()?);
        reader.end()?;
        let kind = KeyKind::from_number(kind).ok_or_else(|| newer("key", format!("its kind is {kind}")))?;
        Ok(Key::new(u64::from_be_bytes(object), kind, u64::from_be_bytes(sub)))
    }

    /// A vnode's attributes.
    pub fn attributes(vnode: Vnode) -> Key {
        Key::new(vnode.number(), KeyKind::Attributes, 0)
    }

    /// The names of a directory with this hash.
    pub fn name(directory: Vnode, hash: u64) -> Key {
        Key::new(directory.number(), KeyKind::Name, hash)
    }

    /// The first piece of the extended attributes of a vnode with this hash, of which the upper bits go.
    pub fn xattr(vnode: Vnode, hash: u64) -> Key {
        Key::new(vnode.number(), KeyKind::Xattr, hash.wrapping_mul(PIECES_MAX))
    }

    /// The first piece of an ACL.
    pub fn acl(id: u32) -> Key {
        Key::new(0, KeyKind::Acl, u64::from(id) * PIECES_MAX)
    }

    /// The extent of a file that begins at its block number `first`.
    pub fn extent(vnode: Vnode, first: u64) -> Key {
        Key::new(vnode.number(), KeyKind::Extent, first)
    }

    /// A small file's bytes, or the first piece of a symbolic link's target.
    pub fn inline(vnode: Vnode) -> Key {
        Key::new(vnode.number(), KeyKind::Inline, 0)
    }

    /// A vnode without a name that is still open.
    pub fn orphan(vnode: Vnode) -> Key {
        Key::new(0, KeyKind::Orphan, vnode.number())
    }

    /// Blocks that several places have, from `block` on.
    pub fn shared(block: Block) -> Key {
        Key::new(0, KeyKind::Shared, block.0)
    }

    /// Where a mount point leads.
    pub fn mount_point(vnode: Vnode) -> Key {
        Key::new(vnode.number(), KeyKind::MountPoint, 0)
    }

    /// A fileset.
    pub fn fileset_header(fileset: FilesetId) -> Key {
        Key::new(fileset.0, KeyKind::FilesetHeader, 0)
    }

    /// The filesets whose names have this hash.
    pub fn fileset_name(hash: u64) -> Key {
        Key::new(0, KeyKind::FilesetName, hash)
    }

    /// The tree of a fileset.
    pub fn fileset_tree(fileset: FilesetId) -> Key {
        Key::new(fileset.0, KeyKind::FilesetTree, 0)
    }

    /// The tree of a fileset's snapshot.
    pub fn snapshot_tree(fileset: FilesetId, snapshot: Lsn) -> Key {
        Key::new(fileset.0, KeyKind::FilesetTree, snapshot.0)
    }

    /// A snapshot of a fileset.
    pub fn snapshot(fileset: FilesetId, snapshot: Lsn) -> Key {
        Key::new(fileset.0, KeyKind::Snapshot, snapshot.0)
    }

    /// The first piece of the blocks that snapshots from number `first` up to `last` had, and nobody else.
    pub fn dead_chunk(last: Lsn, first: u32) -> Key {
        Key::new(last.0, KeyKind::DeadChunk, u64::from(first) << 32)
    }

    /// A fileset that has space to give back.
    pub fn cursor(fileset: FilesetId) -> Key {
        Key::new(0, KeyKind::Cursor, fileset.0)
    }

    /// From `record` on, a fileset goes on from a snapshot.
    pub fn base(fileset: FilesetId, record: Lsn) -> Key {
        Key::new(fileset.0, KeyKind::Base, record.0)
    }

    /// From `record` on, a fileset goes on from a snapshot of `origin`.
    pub fn held(origin: FilesetId, record: Lsn) -> Key {
        Key::new(origin.0, KeyKind::Held, record.0)
    }

    /// How far the tree of a deleted snapshot was taken apart.
    pub fn walk(snapshot: Lsn) -> Key {
        Key::new(snapshot.0, KeyKind::Walk, 0)
    }

    /// The sum of the blocks promised to files.
    pub const PROMISED: Key = Key::new(0, KeyKind::Promised, 0);

    /// What a fileset uses.
    pub fn fileset_usage(fileset: FilesetId) -> Key {
        Key::new(fileset.0, KeyKind::FilesetUsage, 0)
    }

    /// A session.
    pub fn session(session: u64) -> Key {
        Key::new(session, KeyKind::SessionHeader, 0)
    }

    /// A stream of a session.
    pub fn stream(session: u64, stream: u16) -> Key {
        Key::new(session, KeyKind::Stream, u64::from(stream))
    }

    /// The answer to one operation of a session.
    pub fn reply(session: u64, stream: u16, sequence: u32) -> Key {
        Key::new(session, KeyKind::Reply, u64::from(stream) << 32 | u64::from(sequence))
    }

    /// The vnode numbers a session may give out in a fileset.
    pub fn vnode_range(session: u64, fileset: FilesetId) -> Key {
        Key::new(session, KeyKind::VnodeRange, fileset.0)
    }

    /// A client.
    pub fn client(client: ClientId) -> Key {
        let (high, low) = client.0.as_u64_pair();
        Key::new(high, KeyKind::Client, low)
    }

    /// The holders of something in a fileset among whom `client` is: all whose ids end alike.
    pub fn hold(fileset: FilesetId, client: ClientId) -> Key {
        let (_, low) = client.0.as_u64_pair();
        Key::new(fileset.0, KeyKind::Hold, low)
    }

    /// A piece of what an owner left to the next one.
    pub fn parting(number: u64) -> Key {
        Key::new(0, KeyKind::Parting, number)
    }

    /// What a segment is.
    pub fn segment(segment: Segment) -> Key {
        Key::new(u64::from(segment.0), KeyKind::SegmentState, 0)
    }

    /// A segment in the quarantine of an epoch.
    pub fn quarantine(epoch: Epoch, segment: Segment) -> Key {
        Key::new(epoch.0, KeyKind::Quarantine, u64::from(segment.0))
    }

    /// Blocks that have further owners, from `block` on.
    pub fn further(block: Block) -> Key {
        Key::new(u64::MAX, KeyKind::Further, block.0)
    }

    /// A pending free.
    pub fn pending(block: Block) -> Key {
        Key::new(block.0, KeyKind::Pending, 0)
    }
}
