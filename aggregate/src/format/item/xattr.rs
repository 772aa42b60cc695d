//! Extended attributes: small values in the item, large ones in extents of the same vnode.

use bytes::Bytes;

/// One extended attribute. The item holds all whose names have one hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XattrEntry {
    /// 1 to 255 bytes.
    pub name: Vec<u8>,
    /// Its value.
    pub value: XattrValue,
}

/// Where a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XattrValue {
    /// Here.
    Inline(Bytes),
    /// In extents of this vnode, whose file blocks count from a number beyond any file's end.
    Stored {
        /// Its length.
        bytes: u32,
        /// The number of its first block: 2^63 or more.
        first: u64,
    },
}
