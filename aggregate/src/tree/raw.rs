//! Keys as numbers of 136 bits: what a search does with them is then a shift and a comparison, not a loop.

use baton_types::Result;

use crate::format::{KEY_BYTES, Key, KeyKind};

/// Key bytes in a slot.
pub(crate) const HEAD_BYTES: usize = 4;

/// A key's seventeen bytes, big-endian: the first, and the sixteen after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RawKey {
    first: u8,
    low: u128,
}

/// Bytes of a key that stand in its item when `prefix_len` stand in the header and four in the slot.
pub(crate) fn rest_len(prefix_len: usize) -> usize {
    KEY_BYTES.saturating_sub(prefix_len + HEAD_BYTES)
}

/// The number's lowest `len` bytes, up to 16.
pub(crate) fn lowest(number: u128, len: usize) -> u128 {
    if len < 16 {
        number & ((1 << (8 * len)) - 1)
    } else {
        number
    }
}

/// The number without its lowest `len` bytes, up to 17.
fn above(number: u128, len: usize) -> u128 {
    number.checked_shr(8 * len as u32).unwrap_or(0)
}

impl RawKey {
    pub(crate) fn from_bytes(bytes: &[u8; KEY_BYTES]) -> RawKey {
        let [first, low @ ..] = *bytes;
        let low = u128::from_be_bytes(low);
        RawKey { first, low }
    }

    pub(crate) fn to_bytes(self) -> [u8; KEY_BYTES] {
        let mut bytes = [self.first; KEY_BYTES];
        bytes[1..].copy_from_slice(&self.low.to_be_bytes());
        bytes
    }

    /// # Errors
    /// `Version` if its kind is unknown.
    pub(crate) fn to_key(self) -> Result<Key> {
        let object = u64::from(self.first) << 56 | (self.low >> 72) as u64;
        match KeyKind::from_number((self.low >> 64) as u8) {
            Some(kind) => Ok(Key::new(object, kind, self.low as u64)),
            None => Key::decode(&self.to_bytes()),
        }
    }

    /// How many bytes both begin with.
    pub(crate) fn common_len(self, other: RawKey) -> usize {
        if self.first == other.first {
            1 + (self.low ^ other.low).leading_zeros() as usize / 8
        } else {
            0
        }
    }

    /// Its first `len` bytes, zeroes after them.
    pub(crate) fn prefix(self, len: usize) -> RawKey {
        match len.checked_sub(1) {
            None => RawKey::default(),
            Some(len) => RawKey {
                first: self.first,
                low: self.low - lowest(self.low, 16 - len),
            },
        }
    }

    /// The four bytes after the prefix, zeroes where the key ends.
    pub(crate) fn head(self, prefix_len: usize) -> u32 {
        match prefix_len {
            0 => u32::from(self.first) << 24 | above(self.low, 13) as u32,
            1..=13 => above(self.low, 13 - prefix_len) as u32,
            _ => lowest(self.low, KEY_BYTES - prefix_len).unbounded_shl(8 * (prefix_len as u32 - 13)) as u32,
        }
    }

    /// The bytes after the head.
    pub(crate) fn rest(self, prefix_len: usize) -> u128 {
        lowest(self.low, rest_len(prefix_len))
    }

    /// The key of a prefix, a head and a rest.
    pub(crate) fn join(prefix: RawKey, prefix_len: usize, head: u32, rest: u128) -> RawKey {
        let (head, first) = (
            u128::from(head),
            if prefix_len == 0 {
                (head >> 24) as u8
            } else {
                prefix.first
            },
        );
        let head = match prefix_len {
            ..=13 => head << (8 * (13 - prefix_len)),
            _ => above(head, prefix_len - 13),
        };
        RawKey {
            first,
            low: prefix.low | head | rest,
        }
    }
}

impl From<Key> for RawKey {
    fn from(key: Key) -> RawKey {
        let low = u128::from(key.object) << 72 | u128::from(key.kind as u8) << 64 | u128::from(key.sub);
        RawKey {
            first: (key.object >> 56) as u8,
            low,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_those_of_the_bytes() {
        let bytes: [u8; KEY_BYTES] = std::array::from_fn(|index| index as u8 + 1);
        let key = RawKey::from_bytes(&bytes);
        assert_eq!(key.to_bytes(), bytes);
        for len in 0..=KEY_BYTES {
            let part = |from: usize, to: usize| bytes.get(from..to.min(KEY_BYTES)).unwrap_or_default().to_vec();
            let mut head = part(len, len + HEAD_BYTES);
            head.resize(HEAD_BYTES, 0);
            let mut prefix = part(0, len);
            prefix.resize(KEY_BYTES, 0);
            assert_eq!(key.prefix(len).to_bytes()[..], prefix);
            assert_eq!(key.head(len).to_be_bytes()[..], head);
            assert_eq!(
                key.rest(len).to_be_bytes()[16 - rest_len(len)..],
                part(len + HEAD_BYTES, KEY_BYTES)
            );
            assert_eq!(RawKey::join(key.prefix(len), len, key.head(len), key.rest(len)), key);
        }
    }

    proptest! {
        #[test]
        fn prop_numbers_compare_as_bytes_do(one: [u8; KEY_BYTES], mut other: [u8; KEY_BYTES], same in 0..=KEY_BYTES) {
            other[..same].copy_from_slice(&one[..same]);
            let (a, b) = (RawKey::from_bytes(&one), RawKey::from_bytes(&other));
            prop_assert_eq!(a.cmp(&b), one.cmp(&other));
            prop_assert_eq!(a.common_len(b), one.iter().zip(&other).take_while(|(a, b)| a == b).count());
        }

        #[test]
        fn prop_a_key_is_its_bytes(object: u64, kind in prop::sample::select(KeyKind::ALL), sub: u64) {
            let key = Key::new(object, kind, sub);
            prop_assert_eq!(RawKey::from(key).to_bytes(), key.encode());
            prop_assert_eq!(RawKey::from(key).to_key().unwrap(), key);
        }
    }
}
