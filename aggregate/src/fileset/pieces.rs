//! Values longer than an item: cut into pieces that follow one another.

use bytes::{Bytes, BytesMut};

use super::items::Items;
use crate::format::{Key, PIECES_MAX, VALUE_BYTES_MAX};
use crate::transaction::Transaction;
use crate::tree::Stop;

/// The value whose first piece is at `first`; empty if there is none.
pub(super) fn read(items: &impl Items, first: Key) -> Result<Bytes, Stop> {
    let last = Key {
        sub: first.sub | (PIECES_MAX - 1),
        ..first
    };
    let mut whole = Bytes::new();
    let mut rest = BytesMut::new();
    for (index, item) in items.scan(first, last).enumerate() {
        let (_, piece) = item?;
        // Nearly every value is one piece, and then it is not copied.
        match index {
            0 => whole = piece,
            1 => rest = [&whole[..], &piece].concat().as_slice().into(),
            _ => rest.extend_from_slice(&piece),
        }
    }
    Ok(if rest.is_empty() { whole } else { rest.freeze() })
}

/// Puts `value` where one of `old_len` bytes is; an empty one leaves nothing. The usage follows.
pub(super) fn write(transaction: &mut Transaction<'_>, first: Key, old_len: usize, value: &[u8]) {
    let pieces = value.chunks(VALUE_BYTES_MAX);
    let (count, old_count) = (pieces.len() as u64, old_len.div_ceil(VALUE_BYTES_MAX) as u64);
    assert!(count <= PIECES_MAX, "a value of {} bytes", value.len());
    for (sub, piece) in (first.sub..).zip(pieces) {
        transaction.put(Key { sub, ..first }, piece.to_vec());
    }
    for index in count..old_count {
        transaction.delete(Key {
            sub: first.sub + index,
            ..first
        });
    }
    let bytes = &mut transaction.usage().bytes;
    *bytes = (*bytes + value.len() as u64).saturating_sub(old_len as u64);
}
