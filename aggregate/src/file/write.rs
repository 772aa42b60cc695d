//! `write`: bytes into a file.

use baton_types::{Error, Fid, Kind, Result, Vnode, limits};
use bytes::Bytes;

use super::data::Data;
use super::{BLOCK, GROUPED_BYTES_MAX, INLINE_BYTES_MAX, SIZE_END, believing, extents, load};
use crate::aggregate::{Done, Fileset, Need};
use crate::buffer::Buffer;
use crate::fileset::{Object, save};
use crate::format::{Attributes, Checksum, Key};
use crate::transaction::{Operation, Transaction};
use crate::tree::Stop;

/// Most bytes of one write: what a frame carries.
pub const WRITE_BYTES_MAX: usize = limits::FRAME_PAYLOAD_BYTES_MAX as usize;

/// Writes `bytes` at `offset` of a file.
///
/// # Errors
/// `Limit` past [`WRITE_BYTES_MAX`]; `Damaged` if what a block held before is needed and cannot be read; as
/// [`Fileset::operate`]. The operation itself may be refused as `Stale`, `IsDirectory`, `Invalid`, `TooBig`, `NoSpace`.
pub fn write(fileset: &Fileset, operation: &Operation, fid: Fid, offset: u64, bytes: &[u8]) -> Result<Done<Object>> {
    if bytes.len() > WRITE_BYTES_MAX {
        let reason = format!("a write of {} bytes; {WRITE_BYTES_MAX} at most", bytes.len());
        return Err(Error::new(Kind::Limit, format!("file {fid}")).because(reason));
    }
    if bytes.is_empty() || offset.checked_add(bytes.len() as u64).is_none_or(|end| end >= SIZE_END) {
        return fileset.operate(operation, Need::GROWTH, |transaction, _| {
            let attributes = load(transaction, fid)?;
            match bytes {
                [] => Ok(Object { fid, attributes }),
                _ => Err(Error::new(Kind::TooBig, format!("file {fid}")).into()),
            }
        });
    }
    let engine = fileset.engine();
    let mut data = Data::new(offset, bytes);
    if bytes.len() > GROUPED_BYTES_MAX {
        match data.write_ahead(engine) {
            // Whether the aggregate is full is decided where the refusal is recorded.
            Err(error) if error.kind == Kind::NoSpace => data.hash(),
            Err(error) => {
                data.give_back(engine);
                return Err(error);
            }
            Ok(()) => {}
        }
    } else {
        data.hash();
    }
    let blocks = data.block_range();
    // One more, for inline bytes that become a block.
    let need = Need::data(blocks.end - blocks.start + 1);
    let done = believing(fileset, fid, || {
        fileset.operate(operation, need, |transaction, _| put(transaction, fid, &mut data))
    });
    data.give_back(engine);
    done
}

/// The change itself.
pub(super) fn put(transaction: &mut Transaction<'_>, fid: Fid, data: &mut Data) -> Result<Object, Stop> {
    let mut attributes = load(transaction, fid)?;
    let size = attributes.size.max(data.range().end);
    let inline = transaction.get(Key::inline(fid.vnode))?;
    if size <= INLINE_BYTES_MAX && attributes.blocks == 0 {
        put_inline(transaction, fid.vnode, inline, data);
    } else {
        put_blocks(transaction, (fid.vnode, &mut attributes), inline, data)?;
    }
    attributes.size = size;
    changed(transaction, &mut attributes);
    save(transaction, fid.vnode, &attributes);
    Ok(Object { fid, attributes })
}

/// The file's bytes changed, or their number.
pub(super) fn changed(transaction: &Transaction<'_>, attributes: &mut Attributes) {
    attributes.data_version += 1;
    (attributes.modified, attributes.changed) = (transaction.time(), transaction.time());
}

/// Sets the inline item to `bytes`, or deletes it.
pub(super) fn set_inline(transaction: &mut Transaction<'_>, vnode: Vnode, old: Option<&Bytes>, new: Option<Vec<u8>>) {
    let lens = [old.map_or(0, Bytes::len), new.as_ref().map_or(0, Vec::len)].map(|len| len as u64);
    let usage = transaction.usage();
    usage.bytes = usage.bytes.saturating_sub(lens[0]) + lens[1];
    match new {
        Some(new) => transaction.put(Key::inline(vnode), new),
        None => transaction.delete(Key::inline(vnode)),
    }
}

/// The file has `taken` blocks more and `given` fewer.
pub(super) fn count_blocks(transaction: &mut Transaction<'_>, attributes: &mut Attributes, taken: u64, given: u64) {
    attributes.blocks = (attributes.blocks + taken).saturating_sub(given);
    let usage = transaction.usage();
    usage.bytes = (usage.bytes + taken * BLOCK).saturating_sub(given * BLOCK);
}

fn put_inline(transaction: &mut Transaction<'_>, vnode: Vnode, inline: Option<Bytes>, data: &Data) {
    let mut bytes = inline.as_ref().map_or(Vec::new(), |inline| inline.to_vec());
    let range = data.range().start as usize..data.range().end as usize;
    bytes.resize(bytes.len().max(range.end), 0);
    bytes[range].copy_from_slice(data.bytes());
    set_inline(transaction, vnode, inline.as_ref(), Some(bytes));
}

fn put_blocks(
    transaction: &mut Transaction<'_>,
    (vnode, attributes): (Vnode, &mut Attributes),
    inline: Option<Bytes>,
    data: &mut Data,
) -> Result<(), Stop> {
    for edge in data.edges() {
        let old = match &inline {
            Some(bytes) => Some(bytes.clone()).filter(|_| edge == 0),
            None => extents::block_of(transaction, vnode, edge)?,
        };
        data.complete(edge, old.as_ref());
    }
    let blocks = data.block_range();
    let given = extents::cut(transaction, vnode, &blocks)?;
    let mut taken = blocks.end - blocks.start;
    if let Some(inline) = &inline {
        if blocks.start > 0 {
            put_block(transaction, (vnode, 0), Buffer::padded(inline))?;
            taken += 1;
        }
        set_inline(transaction, vnode, Some(inline), None);
    }
    for place in data.settle(transaction)? {
        extents::put(
            transaction,
            (vnode, blocks.start + place.0 as u64),
            place.1.block,
            data.checksums(&place),
        );
    }
    count_blocks(transaction, attributes, taken, given);
    Ok(())
}

/// Puts one block into the file, where it has none.
pub(super) fn put_block(transaction: &mut Transaction<'_>, place: (Vnode, u64), bytes: Buffer) -> Result<(), Stop> {
    let [run] = transaction.allocate(1)?[..] else {
        unreachable!("one block was asked for");
    };
    extents::put(transaction, place, run.block, &[Checksum::of(&bytes)]);
    transaction.write(run.block, bytes);
    Ok(())
}
