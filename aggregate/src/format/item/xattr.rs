//! Extended attributes: all of a vnode whose names have one hash make one value, cut into pieces where it is long.

use baton_types::Result;
use bytes::Bytes;

use super::name::{all, name_len};

/// One extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XattrEntry {
    /// 1 to 255 bytes.
    pub name: Vec<u8>,
    /// Its value: 64 KiB at most.
    pub value: Bytes,
}

impl XattrEntry {
    /// The value of these entries, to be cut into pieces.
    ///
    /// # Panics
    /// If a name is longer than 255 bytes: names are checked before they come here.
    pub fn encode_all(entries: &[XattrEntry]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in entries {
            bytes.push(name_len(&entry.name));
            bytes.extend((entry.value.len() as u32).to_le_bytes());
            bytes.extend(&entry.name);
            bytes.extend(&entry.value);
        }
        bytes
    }

    /// The entries in this value, of which all pieces were put together: one or more. Values are slices of it.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn decode_all(bytes: &Bytes) -> Result<Vec<XattrEntry>> {
        all("extended attribute", bytes, |reader| {
            let (name_len, value_len) = (reader.u8()?, reader.u32()?);
            let name = reader.take(usize::from(name_len))?.to_vec();
            if name.is_empty() || name.contains(&0) {
                return Err(reader.damaged("its name is none"));
            }
            let value = bytes.slice_ref(reader.take(value_len as usize)?);
            Ok(XattrEntry { name, value })
        })
    }
}
