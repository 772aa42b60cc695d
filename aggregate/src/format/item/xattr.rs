//! Extended attributes: all of a vnode whose names have one hash make one value, cut into pieces where it is long.

use bytes::Bytes;

/// One extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XattrEntry {
    /// 1 to 255 bytes.
    pub name: Vec<u8>,
    /// Its value: 64 KiB at most.
    pub value: Bytes,
}
