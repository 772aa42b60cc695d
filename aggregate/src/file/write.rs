//! `write`: bytes into a file.

use baton_types::call::At;
use baton_types::{Error, Fid, Kind, Result, Vnode, limits};
use bytes::Bytes;

use super::data::Data;
use super::{BLOCK, INLINE_BYTES_MAX, SIZE_END, Settle, believing, extents, load};
use crate::aggregate::{Done, Fileset, Need};
use crate::buffer::Buffer;
use crate::engine::{Patience, would_wait};
use crate::fileset::{Object, promises, save};
use crate::format::{Attributes, Checksum, Key};
use crate::transaction::{Operation, Transaction};
use crate::tree::Stop;

/// Most bytes of one write: what a frame carries.
pub const WRITE_BYTES_MAX: usize = limits::FRAME_PAYLOAD_BYTES_MAX as usize;
/// Most bytes for a caller who may not wait: hashing more takes as long as a disk does.
pub(super) const HASTY_BYTES_MAX: usize = 64 << 10;

/// Writes `bytes` at `offset` of a file.
///
/// # Errors
/// As [`write_as`].
pub fn write(fileset: &Fileset, operation: &Operation, fid: Fid, offset: u64, bytes: &[u8]) -> Result<Done<Object>> {
    write_as(
        fileset,
        operation,
        (fid, At::Offset(offset)),
        bytes,
        &mut super::as_it_is,
    )
}

/// Writes `bytes` to a file, as `settle` allows it.
///
/// # Errors
/// `Limit` past [`WRITE_BYTES_MAX`]; `Damaged` if what a block held before is needed and cannot be read; as
/// [`Fileset::operate`]. The operation itself may be refused as `Stale`, `IsDirectory`, `Invalid`, `TooBig`, `NoSpace`,
/// or as `settle` says.
pub fn write_as(
    fileset: &Fileset,
    operation: &Operation,
    (fid, at): (Fid, At),
    bytes: &[u8],
    settle: &mut Settle<'_>,
) -> Result<Done<Object>> {
    if bytes.len() > WRITE_BYTES_MAX {
        let reason = format!("a write of {} bytes; {WRITE_BYTES_MAX} at most", bytes.len());
        return Err(Error::new(Kind::Limit, format!("file {fid}")).because(reason));
    }
    if bytes.len() > HASTY_BYTES_MAX && fileset.patience() == Patience::None {
        return Err(would_wait("large write"));
    }
    loop {
        let offset = match at {
            At::Offset(offset) => offset,
            At::End => end_of(fileset, fid)?,
        };
        let is_too_long = offset.checked_add(bytes.len() as u64).is_none_or(|end| end >= SIZE_END);
        if bytes.is_empty() || is_too_long {
            return fileset.operate(operation, Need::GROWTH, |transaction, _| {
                let attributes = load(transaction, fid)?;
                settle(&attributes, &mut { attributes })?;
                match bytes {
                    [] => Ok(Object { fid, attributes }),
                    _ => Err(Error::new(Kind::TooBig, format!("file {fid}")).into()),
                }
            });
        }
        let data = Data::new(offset, bytes);
        if let Some(done) = write_data(fileset, operation, (fid, at), data, settle)? {
            return Ok(done);
        }
    }
}

/// Where a file ends just now; what is no file is refused where that is recorded.
fn end_of(fileset: &Fileset, fid: Fid) -> Result<u64> {
    match fileset.read(|view| load(view, fid)) {
        Ok(attributes) => Ok(attributes.size),
        Err(error) if matches!(error.kind, Kind::Stale | Kind::IsDirectory | Kind::Invalid) => Ok(0),
        Err(error) => Err(error),
    }
}

/// Writes what is ready but for its place on the disk; `None` if it was to go to the end, and that is elsewhere now.
fn write_data(
    fileset: &Fileset,
    operation: &Operation,
    (fid, at): (Fid, At),
    mut data: Data,
    settle: &mut Settle<'_>,
) -> Result<Option<Done<Object>>> {
    let blocks = data.block_range();
    // One more, for inline bytes that become a block.
    let need = Need::data(blocks.end - blocks.start + 1);
    let mut is_elsewhere = false;
    let done = believing(fileset, fid, || {
        fileset.operate(operation, need, |transaction, _| {
            is_elsewhere = at == At::End && load(transaction, fid)?.size != data.range().start;
            if is_elsewhere {
                return Err(would_wait("end of a file").into());
            }
            put(transaction, fid, &mut data, settle)
        })
    });
    match is_elsewhere {
        true => Ok(None),
        false => done.map(Some),
    }
}

/// The change itself.
pub(super) fn put(
    transaction: &mut Transaction<'_>,
    fid: Fid,
    data: &mut Data,
    settle: &mut Settle<'_>,
) -> Result<Object, Stop> {
    let old = load(transaction, fid)?;
    let mut attributes = old;
    let size = attributes.size.max(data.range().end);
    let inline = match attributes.blocks == 0 && attributes.size > 0 {
        true => transaction.get(Key::inline(fid.vnode))?,
        // An inline item is beside no extents, and not longer than the file: it is never empty.
        false => None,
    };
    if size <= INLINE_BYTES_MAX && attributes.blocks == 0 {
        put_inline(transaction, fid.vnode, inline, data);
    } else {
        put_blocks(transaction, (fid.vnode, &mut attributes), inline, data)?;
    }
    attributes.size = size;
    changed(transaction, &mut attributes);
    settle(&old, &mut attributes)?;
    save(transaction, fid.vnode, &attributes);
    Ok(Object { fid, attributes })
}

/// The file's bytes changed, or their number.
pub(super) fn changed(transaction: &Transaction<'_>, attributes: &mut Attributes) {
    attributes.data_version = transaction.next_version(attributes.data_version);
    attributes.modify(transaction.time());
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
    let given = match attributes.blocks {
        0 => 0,
        _ => extents::cut(transaction, vnode, &blocks)?,
    };
    let mut taken = blocks.end - blocks.start;
    if let Some(inline) = &inline {
        if blocks.start > 0 {
            put_block(transaction, (vnode, 0), Buffer::padded(inline))?;
            taken += 1;
        }
        set_inline(transaction, vnode, Some(inline), None);
    }
    promises::may_take(transaction, attributes, taken)?;
    for place in data.settle(transaction)? {
        extents::put(
            transaction,
            (vnode, blocks.start + place.0 as u64),
            place.1.block,
            data.checksums(&place),
        );
    }
    count_blocks(transaction, attributes, taken, given);
    promises::spend(transaction, attributes, taken.saturating_sub(given));
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
