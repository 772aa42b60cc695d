//! Orphans: files without a name.

use baton_types::Result;

use crate::format::reader::Reader;

/// What becomes of a file without a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphan {
    /// Somebody still has it open: all of it stays.
    Held,
    /// It is being taken apart: its extents before this block of the file are gone.
    Removing(u64),
}

impl Orphan {
    /// As it lies on the disk.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Orphan::Held => vec![1],
            Orphan::Removing(from) => [&[2][..], &from.to_le_bytes()].concat(),
        }
    }

    /// What these bytes say.
    ///
    /// # Errors
    /// `Damaged`, or `Version` if it is of an unknown kind.
    pub fn decode(bytes: &[u8]) -> Result<Orphan> {
        let mut reader = Reader::new("orphan", bytes);
        let orphan = match reader.u8()? {
            1 => Orphan::Held,
            2 => Orphan::Removing(reader.u64()?),
            kind => return Err(reader.newer(format!("its kind is {kind}"))),
        };
        reader.end()?;
        Ok(orphan)
    }
}
