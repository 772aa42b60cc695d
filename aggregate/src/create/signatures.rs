//! What may lie on a device that somebody would miss.

use std::fmt;

use baton_types::Result;

use crate::buffer::Buffer;
use crate::device::Device;
use crate::format::{BLOCK_BYTES, Label};

/// What a device holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// An aggregate; its name where a label can be read.
    Aggregate(Option<String>),
    /// Something of another make.
    Other(&'static str),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Aggregate(Some(name)) => write!(f, "aggregate {name}"),
            Found::Aggregate(None) => f.write_str("an aggregate with a damaged label"),
            Found::Other(what) => f.write_str(what),
        }
    }
}

/// Bytes by which a thing is known, and where they stand.
struct Signature {
    offset: usize,
    bytes: &'static [u8],
    what: &'static str,
}

const fn signature(offset: usize, bytes: &'static [u8], what: &'static str) -> Signature {
    Signature { offset, bytes, what }
}

/// The surest first: a partition table's two bytes end the first sector of much else.
const SIGNATURES: &[Signature] = &[
    signature(0, b"XFSB", "an xfs file system"),
    signature(64 * 1024 + 64, b"_BHRfS_M", "a btrfs file system"),
    signature(1024, b"\x10\x20\xf5\xf2", "an f2fs file system"),
    signature(3, b"NTFS    ", "an NTFS file system"),
    signature(32 * 1024 + 1, b"CD001", "an ISO 9660 file system"),
    signature(0, b"LUKS\xba\xbe", "an encrypted volume (LUKS)"),
    signature(0, b"LABELONE", "an LVM physical volume"),
    signature(512, b"LABELONE", "an LVM physical volume"),
    signature(1024, b"LABELONE", "an LVM physical volume"),
    signature(1536, b"LABELONE", "an LVM physical volume"),
    signature(0, b"\xfc\x4e\x2b\xa9", "a part of a RAID array"),
    signature(4096, b"\xfc\x4e\x2b\xa9", "a part of a RAID array"),
    signature(4086, b"SWAPSPACE2", "swap space"),
    signature(4086, b"SWAP-SPACE", "swap space"),
    signature(512, b"EFI PART", "a partition table (GPT)"),
    signature(4096, b"EFI PART", "a partition table (GPT)"),
    signature(1024 + 56, b"\x53\xef", "an ext file system"),
    signature(510, b"\x55\xaa", "a partition table or a boot sector"),
];

/// The last byte that a signature looks at lies before.
const HEAD_BYTES: usize = 68 * 1024;

/// What the device holds, if it is something known.
///
/// # Errors
/// What the device says.
pub(super) fn find(device: &dyn Device) -> Result<Option<Found>> {
    let whole = device.len() / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
    let mut head = Buffer::zeroed(HEAD_BYTES.min(whole as usize));
    device.read(0, &mut head)?;
    let mut tail = Buffer::zeroed(BLOCK_BYTES);
    device.read(whole - BLOCK_BYTES as u64, &mut tail)?;

    let labels = [&head[..BLOCK_BYTES], &tail];
    if labels.iter().any(|label| Label::is_here(label)) {
        let name = labels.iter().find_map(|label| Label::decode(label).ok());
        return Ok(Some(Found::Aggregate(name.map(|label| label.name.to_string()))));
    }
    let is_here = |signature: &&Signature| {
        head.get(signature.offset..)
            .is_some_and(|rest| rest.starts_with(signature.bytes))
    };
    Ok(SIGNATURES
        .iter()
        .find(is_here)
        .map(|signature| Found::Other(signature.what)))
}
