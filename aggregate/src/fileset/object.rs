//! What an operation answers: a file for ever, and its attributes after it.

use baton_types::{Error, Fid, FilesetId, Kind, Result, Vnode};
use bytes::{BufMut, Bytes};

use crate::format::Attributes;
use crate::transaction::Reply;

/// A file, directory, link or mount point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Which.
    pub fid: Fid,
    /// As they are now.
    pub attributes: Attributes,
}

const FID_BYTES: usize = 24;

impl Object {
    /// As the reply to an operation, for its record.
    pub fn reply(&self) -> Reply {
        let mut bytes = Vec::with_capacity(FID_BYTES + Attributes::BYTES);
        bytes.put_u64_le(self.fid.fileset.0);
        bytes.put_u64_le(self.fid.vnode.number());
        bytes.put_u64_le(self.fid.unique);
        bytes.put_slice(&self.attributes.encode());
        Reply::Done(bytes.into())
    }

    /// The object in the answer of an operation that was done.
    ///
    /// # Errors
    /// `Damaged` for what is no object.
    pub fn decode(answer: &Bytes) -> Result<Object> {
        let damaged = |why: String| Error::new(Kind::Damaged, "answer of an operation").because(why);
        let Some((fid, attributes)) = answer.split_first_chunk::<FID_BYTES>() else {
            return Err(damaged(format!("{} bytes", answer.len())));
        };
        let [fileset, vnode, unique] = fid.as_chunks().0 else {
            unreachable!("24 bytes are three times 8");
        };
        Ok(Object {
            fid: Fid {
                fileset: FilesetId(u64::from_le_bytes(*fileset)),
                vnode: Vnode::new(u64::from_le_bytes(*vnode)).map_err(|error| damaged(error.to_string()))?,
                unique: u64::from_le_bytes(*unique),
            },
            attributes: Attributes::decode(attributes)?,
        })
    }
}
