//! Room that is promised to a file: so many blocks, without addresses. `fallocate` counts them, and whoever writes into
//! the holes of the file uses them up, even when nobody else may write any more.
//!
//! | who knows | what |
//! |---|---|
//! | a file's attributes | its own, and the branch of the fileset in which it was promised them |
//! | a fileset's usage | the sum over its files, in this branch |
//! | the space | the sum over filesets, which nobody else may fill |
//!
//! A fileset that goes on from a snapshot begins without promises: those that its files remember are of another branch,
//! and count for nothing.

use std::ops::Range;

use crate::format::{Attributes, BLOCK_BYTES};
use crate::space::no_space;
use crate::transaction::Transaction;
use crate::tree::Stop;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Blocks promised to a file.
fn promised(transaction: &Transaction<'_>, attributes: &Attributes) -> u64 {
    match attributes.promised_in == transaction.branch() {
        true => attributes.promised.into(),
        false => 0,
    }
}

fn set(transaction: &mut Transaction<'_>, attributes: &mut Attributes, blocks: u64) {
    let before = promised(transaction, attributes);
    attributes.promised = u32::try_from(blocks).unwrap_or(u32::MAX);
    attributes.promised_in = transaction.branch();
    let after = u64::from(attributes.promised);
    let usage = transaction.usage();
    usage.promised = (usage.promised + after).saturating_sub(before);
}

/// Blocks without an extent in a file of `size` bytes, at most.
fn holes(attributes: &Attributes, size: u64) -> u64 {
    size.div_ceil(BLOCK).saturating_sub(attributes.blocks)
}

/// Promises a file room for what is a hole in `range`: for `blocks` blocks, but never for more than it has holes.
pub(crate) fn promise(
    transaction: &mut Transaction<'_>,
    attributes: &mut Attributes,
    (range, blocks): (&Range<u64>, u64),
) {
    let most = holes(attributes, attributes.size.max(range.end));
    let blocks = promised(transaction, attributes).saturating_add(blocks).min(most);
    set(transaction, attributes, blocks);
}

/// Whether the file may take `blocks` blocks, as far as it was promised them if nobody may take others. To be asked
/// when those that they replace were given up.
///
/// # Errors
/// `NoSpace`.
pub(crate) fn may_take(transaction: &Transaction<'_>, attributes: &Attributes, blocks: u64) -> Result<(), Stop> {
    match blocks <= transaction.may_take(promised(transaction, attributes)) {
        true => Ok(()),
        false => Err(no_space().into()),
    }
}

/// The file took `blocks` blocks more than it gave back.
pub(crate) fn spend(transaction: &mut Transaction<'_>, attributes: &mut Attributes, blocks: u64) {
    let left = promised(transaction, attributes);
    if left > 0 {
        set(transaction, attributes, left.saturating_sub(blocks));
    }
}

/// The file got shorter: what lay behind its end is not needed any more.
pub(crate) fn shrink(transaction: &mut Transaction<'_>, attributes: &mut Attributes) {
    let left = promised(transaction, attributes);
    let most = holes(attributes, attributes.size);
    if left > most {
        set(transaction, attributes, most);
    }
}

/// The file goes.
pub(super) fn forget(transaction: &mut Transaction<'_>, attributes: &mut Attributes) {
    if promised(transaction, attributes) > 0 {
        set(transaction, attributes, 0);
    }
}
