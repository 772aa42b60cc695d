//! Data on its way into a file: what is ready before any lock is taken.

use std::ops::Range;

use bytes::Bytes;

use super::BLOCK;
use crate::buffer::Buffer;
use crate::format::{BLOCK_BYTES, Checksum};
use crate::transaction::{Run, Transaction};
use crate::tree::Stop;

/// What is copied before it is hashed.
const AT_HAND_BYTES: usize = 16 * BLOCK_BYTES;

/// Bytes to be written to a file, in whole blocks of aligned memory, and their checksums.
pub(super) struct Data {
    /// Where in the file, in bytes.
    offset: u64,
    len: usize,
    /// All blocks that have bytes of it; what is not of it is zero, or what was there before.
    blocks: Buffer,
    count: usize,
    checksums: Vec<Checksum>,
}

impl Data {
    /// A copy of `bytes`, which go to `offset`. There is at least one.
    pub fn new(offset: u64, bytes: &[u8]) -> Data {
        let before = (offset % BLOCK) as usize;
        let mut blocks = Buffer::scratch((before + bytes.len()).next_multiple_of(BLOCK_BYTES));
        let end = before + bytes.len();
        blocks[..before].fill(0);
        blocks[end..].fill(0);
        let (mut filled, mut checksums) = (0, Vec::with_capacity(blocks.len() / BLOCK_BYTES));
        // Some are hashed while the processor still has them at hand.
        for some in blocks.chunks_mut(AT_HAND_BYTES) {
            let own = before.max(filled)..end.min(filled + some.len());
            some[own.start - filled..own.end - filled].copy_from_slice(&bytes[own.start - before..own.end - before]);
            filled += some.len();
            Checksum::of_blocks(some, &mut checksums);
        }
        Data {
            offset,
            len: bytes.len(),
            count: checksums.len(),
            blocks,
            checksums,
        }
    }

    /// The bytes themselves.
    pub fn bytes(&self) -> &[u8] {
        let before = (self.offset % BLOCK) as usize;
        &self.blocks[before..before + self.len]
    }

    /// Where it goes, in bytes.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.len as u64
    }

    /// Where it goes, in blocks.
    pub fn block_range(&self) -> Range<u64> {
        let first = self.offset / BLOCK;
        first..first + self.count as u64
    }

    /// The blocks of the file of which it has some bytes and not all.
    pub fn edges(&self) -> impl Iterator<Item = u64> + use<> {
        let (bytes, blocks) = (self.range(), self.block_range());
        let head = (!bytes.start.is_multiple_of(BLOCK)).then_some(blocks.start);
        let tail = (!bytes.end.is_multiple_of(BLOCK)).then_some(blocks.end - 1);
        head.into_iter().chain(tail.filter(|tail| head != Some(*tail)))
    }

    /// Completes an edge with what the file had there; nothing means zeroes.
    pub fn complete(&mut self, edge: u64, old: Option<&Bytes>) {
        let index = (edge - self.block_range().start) as usize;
        let own = self.range();
        let start = edge * BLOCK;
        let [from, to] = [own.start, own.end].map(|at| at.clamp(start, start + BLOCK) - start);
        let block = &mut self.blocks[index * BLOCK_BYTES..][..BLOCK_BYTES];
        for not_own in [0..from as usize, to as usize..BLOCK_BYTES] {
            match old.and_then(|old| old.get(not_own.start..)) {
                Some(old) => {
                    let count = old.len().min(not_own.len());
                    block[not_own.clone()][..count].copy_from_slice(&old[..count]);
                    block[not_own][count..].fill(0);
                }
                None => block[not_own].fill(0),
            }
        }
        self.checksums[index] = Checksum::of(block);
    }

    /// Gives the blocks their places on the device, to which they go with the record: runs, each with the index of the
    /// first block that it is for. It is the last step that may stop, and then nothing was done.
    ///
    /// # Errors
    /// `NoSpace`, or that more room must be reserved first.
    pub fn settle(&mut self, transaction: &mut Transaction<'_>) -> Result<Vec<(usize, Run)>, Stop> {
        let runs = transaction.allocate(self.count as u32)?;
        let blocks = Bytes::from(std::mem::replace(&mut self.blocks, Buffer::zeroed(0)));
        let mut index = 0;
        let place = |run: Run| {
            let (first, count) = (index, usize::from(run.count));
            index += count;
            transaction.write(run.block, blocks.slice(first * BLOCK_BYTES..index * BLOCK_BYTES));
            (first, run)
        };
        Ok(runs.into_iter().map(place).collect())
    }

    /// The checksums of the blocks that a run is for.
    pub fn checksums(&self, (index, run): &(usize, Run)) -> &[Checksum] {
        &self.checksums[*index..index + usize::from(run.count)]
    }
}
