//! The one checksum: the first 16 bytes of blake3 (I11).

use std::fmt;

/// The checksum of some bytes. Sixteen bytes are enough: nothing is deduplicated by it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Checksum(pub [u8; 16]);

impl Checksum {
    /// The checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> Checksum {
        Checksum::cut(blake3::hash(bytes))
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
        Checksum::cut(hasher.finalize())
    }

    fn cut(hash: blake3::Hash) -> Checksum {
        let [first, _] = zerocopy::transmute!(*hash.as_bytes());
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
