//! A vnode's attributes: 112 bytes, in every tree the most frequent value.

use baton_types::{Result, Timestamp, Vnode};
use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::reader::Reader;

/// What `stat` tells, and a little more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Type ([`FileKind::mode`](crate::format::FileKind::mode)) and permission bits, as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names it has.
    pub links: u32,
    /// In bytes.
    pub size: u64,
    /// Blocks of 4 KiB that its extents take.
    pub blocks: u64,
    /// Rises with every change of its bytes or entries.
    pub data_version: u64,
    /// Drawn by the creator: without it nobody opens anything.
    pub unique: u64,
    /// Last access, as far as somebody set it.
    pub accessed: Timestamp,
    /// Last change of its bytes or entries.
    pub modified: Timestamp,
    /// Last change of anything.
    pub changed: Timestamp,
    /// When it was made.
    pub created: Timestamp,
    /// The directory it is in; of a file with several names one of theirs, or `None` where none is known any more. The
    /// root and what has no name are in none.
    pub parent: Option<Vnode>,
    /// Of a device node its number.
    pub device: u64,
    /// Its ACL; 0 means the mode bits.
    pub acl: u32,
    /// None is known yet, so 0.
    pub flags: u32,
    /// Blocks promised to it that it has not taken yet, in one branch of its fileset.
    pub promised: u32,
    /// Which branch: the low half of the record that began it.
    pub promised_in: u32,
}

/// By how much the dates of two clients may differ and still be of one history: ten seconds. A file dated further
/// into the future was dated so on purpose.
const CLOCKS_DIFFER_NANOS: i64 = 10_000_000_000;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    mode: U32,
    uid: U32,
    gid: U32,
    links: U32,
    size: U64,
    blocks: U64,
    data_version: U64,
    unique: U64,
    accessed: I64,
    modified: I64,
    changed: I64,
    created: I64,
    parent: U64,
    device: U64,
    acl: U32,
    flags: U32,
    promised: U32,
    promised_in: U32,
}

impl Attributes {
    /// As they lie on the disk.
    pub const BYTES: usize = size_of::<Layout>();

    /// Its bytes or entries changed at `time`. The new date is never the old one, for a kernel that compares the two
    /// keeps its pages; and while clocks differ by a little, it is later.
    pub fn modify(&mut self, time: Timestamp) {
        let is_close = (time.0..=time.0.saturating_add(CLOCKS_DIFFER_NANOS)).contains(&self.modified.0);
        self.modified = match is_close {
            true => Timestamp(self.modified.0.saturating_add(1)),
            false => time,
        };
        self.changed = time;
    }

    /// As they lie on the disk.
    pub fn encode(&self) -> Vec<u8> {
        let layout = Layout {
            mode: U32::new(self.mode),
            uid: U32::new(self.uid),
            gid: U32::new(self.gid),
            links: U32::new(self.links),
            size: U64::new(self.size),
            blocks: U64::new(self.blocks),
            data_version: U64::new(self.data_version),
            unique: U64::new(self.unique),
            accessed: I64::new(self.accessed.0),
            modified: I64::new(self.modified.0),
            changed: I64::new(self.changed.0),
            created: I64::new(self.created.0),
            parent: U64::new(self.parent.map_or(0, Vnode::number)),
            device: U64::new(self.device),
            acl: U32::new(self.acl),
            flags: U32::new(self.flags),
            promised: U32::new(self.promised),
            promised_in: U32::new(self.promised_in),
        };
        layout.as_bytes().to_vec()
    }

    /// The attributes in these bytes.
    ///
    /// # Errors
    /// `Damaged`, or `Version` if there are flags.
    pub fn decode(bytes: &[u8]) -> Result<Attributes> {
        let mut reader = Reader::new("attributes", bytes);
        let layout: &Layout = reader.layout()?;
        if layout.flags.get() != 0 {
            return Err(reader.newer(format!("their flags are {:#x}", layout.flags)));
        }
        let parent = match layout.parent.get() {
            0 => None,
            number => Some(Vnode::new(number).map_err(|_| reader.damaged(format!("the parent is vnode {number}")))?),
        };
        reader.end()?;
        Ok(Attributes {
            mode: layout.mode.get(),
            uid: layout.uid.get(),
            gid: layout.gid.get(),
            links: layout.links.get(),
            size: layout.size.get(),
            blocks: layout.blocks.get(),
            data_version: layout.data_version.get(),
            unique: layout.unique.get(),
            accessed: Timestamp(layout.accessed.get()),
            modified: Timestamp(layout.modified.get()),
            changed: Timestamp(layout.changed.get()),
            created: Timestamp(layout.created.get()),
            parent,
            device: layout.device.get(),
            acl: layout.acl.get(),
            flags: layout.flags.get(),
            promised: layout.promised.get(),
            promised_in: layout.promised_in.get(),
        })
    }
}
