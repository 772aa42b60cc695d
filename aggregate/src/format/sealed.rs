//! What label, slot and root have in common: their first 32 bytes, in which the checksum of them all stands.

use baton_types::Result;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::Checksum;
use crate::format::reader::{Reader, damaged, newer, zeros};

/// The version of all three.
const VERSION: u16 = 1;
const CHECKSUM_AT: usize = 16;

/// The first bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Prelude {
    magic: [u8; 4],
    version: U16,
    kind: u8,
    zero: u8,
    bytes: U32,
    zero_: [u8; 4],
    checksum: [u8; 16],
}

/// Room for the prelude, to begin a structure with.
pub(crate) const PRELUDE: [u8; 32] = [0; 32];
const _: () = assert!(PRELUDE.len() == size_of::<Prelude>());

/// A structure as it is told from others.
pub(crate) struct Shape {
    /// What it is called.
    pub what: &'static str,
    /// Its first bytes.
    pub magic: [u8; 4],
    /// Its length is a multiple of this.
    pub unit: usize,
    /// Its length at most.
    pub bytes_max: usize,
}

impl Shape {
    /// Pads `bytes`, which begin with room for the prelude, to its unit, and fills the prelude in.
    pub fn seal(&self, mut bytes: Vec<u8>, kind: u8) -> Vec<u8> {
        bytes.resize(bytes.len().next_multiple_of(self.unit), 0);
        let prelude = Prelude {
            magic: self.magic,
            version: U16::new(VERSION),
            kind,
            zero: 0,
            bytes: U32::new(bytes.len() as u32),
            zero_: [0; 4],
            checksum: [0; 16],
        };
        bytes[..PRELUDE.len()].copy_from_slice(prelude.as_bytes());
        let checksum = Checksum::around(&bytes, CHECKSUM_AT);
        bytes[CHECKSUM_AT..][..16].copy_from_slice(&checksum.0);
        bytes
    }

    /// The kind, and what follows the prelude. The version counts only where the checksum is right: else a flipped
    /// bit would pass for a newer Baton.
    pub fn open<'a>(&self, bytes: &'a [u8]) -> Result<(u8, Reader<'a>)> {
        let prelude: &Prelude = Reader::new(self.what, bytes).layout()?;
        if prelude.magic != self.magic {
            return Err(damaged(self.what, "there is none"));
        }
        let len = prelude.bytes.get() as usize;
        if len == 0 || !len.is_multiple_of(self.unit) || len > self.bytes_max.min(bytes.len()) {
            return Err(damaged(self.what, format!("it cannot be {len} bytes long")));
        }
        let whole = &bytes[..len];
        if Checksum::around(whole, CHECKSUM_AT).0 != prelude.checksum {
            return Err(damaged(self.what, "its checksum is wrong"));
        }
        if prelude.version.get() != VERSION {
            return Err(newer(self.what, format!("its version is {}", prelude.version)));
        }
        zeros(self.what, &[prelude.zero])?;
        zeros(self.what, &prelude.zero_)?;
        Ok((prelude.kind, Reader::new(self.what, &whole[PRELUDE.len()..])))
    }

    /// True if the bytes begin as this structure does.
    pub fn is_here(&self, bytes: &[u8]) -> bool {
        bytes.starts_with(&self.magic)
    }
}
