//! The one checksum: the first 16 bytes of blake3 (I11).

mod lanes;

use std::fmt;

use super::BLOCK_BYTES;
use lanes::Lanes;

/// The checksum of some bytes. Sixteen bytes are enough: nothing is deduplicated by it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Checksum(pub [u8; 16]);

impl Checksum {
    /// The checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> Checksum {
        Checksum::cut(blake3::hash(bytes).as_bytes())
    }

    /// Adds the checksums of whole blocks, one for each: faster than one after the other.
    ///
    /// # Panics
    /// If there is a part of a block.
    pub fn of_blocks(bytes: &[u8], checksums: &mut Vec<Checksum>) {
        let (blocks, part) = bytes.as_chunks::<BLOCK_BYTES>();
        assert!(part.is_empty(), "{} bytes are no whole blocks", bytes.len());
        Lanes::new().hash(blocks, checksums);
    }

    /// The checksum of `bytes`, in which the 16 bytes at `at`, where it will itself stand, count as zero.
    ///
    /// # Panics
    /// If there are not 16 bytes at `at`.
    pub fn around(bytes: &[u8], at: usize) -> Checksum {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes[..at]);
        hasher.update(&[0; 16]);
        hasher.update(&bytes[at + 16..]);
        Checksum::cut(hasher.finalize().as_bytes())
    }

    fn cut(hash: &[u8; blake3::OUT_LEN]) -> Checksum {
        let [first, _] = zerocopy::transmute!(*hash);
        Checksum(first)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_blocks_have_the_checksums_that_each_has() {
        let byte = |index: usize| (index.wrapping_mul(0x9e37_79b9) >> 13) as u8;
        for count in (0..40).chain([255, 256, 257]) {
            let bytes: Vec<u8> = (0..count * BLOCK_BYTES).map(byte).collect();
            let each: Vec<Checksum> = bytes.chunks(BLOCK_BYTES).map(Checksum::of).collect();
            let mut all = Vec::new();
            Checksum::of_blocks(&bytes, &mut all);
            assert_eq!(all, each, "{count} blocks");
        }
    }
}
