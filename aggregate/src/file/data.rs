//! Data on its way into a file: what is ready before any lock is taken.

use std::ops::Range;

use baton_types::Result;
use bytes::Bytes;

use super::BLOCK;
use crate::aggregate::Reserve;
use crate::buffer::Buffer;
use crate::device::Write;
use crate::engine::Engine;
use crate::format::{BLOCK_BYTES, Checksum};
use crate::transaction::{Room, Run, Transaction};
use crate::tree::Stop;

/// Bytes to be written to a file, in whole blocks of aligned memory, and their checksums.
pub(super) struct Data {
    /// Where in the file, in bytes.
    offset: u64,
    len: usize,
    /// All blocks that have bytes of it; what is not of it is zero, or what was there before.
    blocks: Buffer,
    count: usize,
    checksums: Vec<Checksum>,
    /// Those that are on the device already, by their index here.
    written: Vec<(usize, Run)>,
}

impl Data {
    /// A copy of `bytes`, which go to `offset`. There is at least one.
    pub fn new(offset: u64, bytes: &[u8]) -> Data {
        let before = (offset % BLOCK) as usize;
        let mut blocks = Buffer::scratch((before + bytes.len()).next_multiple_of(BLOCK_BYTES));
        blocks[..before].fill(0);
        blocks[before..before + bytes.len()].copy_from_slice(bytes);
        blocks[before + bytes.len()..].fill(0);
        Data {
            offset,
            len: bytes.len(),
            count: blocks.len() / BLOCK_BYTES,
            blocks,
            checksums: Vec::new(),
            written: Vec::new(),
        }
    }

    /// Makes the checksums.
    pub fn hash(&mut self) {
        self.checksums = checksums_of(&self.blocks);
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

    /// Writes what needs nothing of the old file to blocks of the reserve, and makes the checksums meanwhile.
    ///
    /// # Errors
    /// `NoSpace`, and then there are no checksums yet; what the device says.
    pub fn write_ahead(&mut self, engine: &Engine) -> Result<()> {
        let mut whole = 0..self.count;
        for edge in self.edges() {
            match edge == self.block_range().start {
                true => whole.start += 1,
                false => whole.end -= 1,
            }
        }
        let runs = engine.retrying(|_| Reserve(engine).take(whole.len() as u32))?;
        self.written = places(whole, &runs);
        let blocks = &self.blocks;
        let write = |(index, run): &(usize, Run)| Write {
            offset: run.block.offset(),
            bytes: &blocks[index * BLOCK_BYTES..][..usize::from(run.count) * BLOCK_BYTES],
        };
        let writes: Vec<_> = self.written.iter().map(write).collect();
        // Hashing 1 MiB takes nearly as long as writing it.
        let (written, checksums) = std::thread::scope(|scope| {
            let hashing = std::thread::Builder::new().name("hash".to_owned());
            let hashing = hashing.spawn_scoped(scope, || checksums_of(blocks));
            let written = engine.device.submit(&writes);
            let checksums = match hashing {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(_) => checksums_of(blocks),
            };
            (written, checksums)
        });
        self.checksums = checksums;
        written
    }

    /// Gives back the blocks that were written and not recorded.
    pub fn give_back(&mut self, engine: &Engine) {
        self.written
            .drain(..)
            .for_each(|(_, run)| Reserve(engine).give_back(run));
    }

    /// Gives each block its place on the device: runs, each with the index of the first block that it is for. What is
    /// not written yet goes with the record. It is the last step that may stop, and then nothing was done.
    ///
    /// # Errors
    /// `NoSpace`, or that more room must be reserved first.
    pub fn settle(&mut self, transaction: &mut Transaction<'_>) -> Result<Vec<(usize, Run)>, Stop> {
        let count = self.count;
        let (start, end) = match (self.written.first(), self.written.last()) {
            (Some((first, _)), Some((last, run))) => (*first, last + usize::from(run.count)),
            _ => (count, count),
        };
        let mut fresh = Vec::new();
        for range in [0..start, end..count] {
            if !range.is_empty() {
                let runs = transaction.allocate(range.len() as u32)?;
                fresh.extend(places(range, &runs));
            }
        }
        self.written.iter().for_each(|(_, run)| transaction.adopt(*run));
        match fresh[..] {
            [(0, run)] if usize::from(run.count) == count => {
                transaction.write(run.block, std::mem::replace(&mut self.blocks, Buffer::zeroed(0)));
            }
            _ => {
                for (index, run) in &fresh {
                    let bytes = &self.blocks[index * BLOCK_BYTES..][..usize::from(run.count) * BLOCK_BYTES];
                    transaction.write(run.block, Buffer::padded(bytes));
                }
            }
        }
        fresh.append(&mut self.written);
        Ok(fresh)
    }

    /// The checksums of the blocks that a run is for.
    pub fn checksums(&self, (index, run): &(usize, Run)) -> &[Checksum] {
        &self.checksums[*index..index + usize::from(run.count)]
    }
}

fn checksums_of(blocks: &[u8]) -> Vec<Checksum> {
    blocks.chunks(BLOCK_BYTES).map(Checksum::of).collect()
}

/// Runs for the blocks of `range`, each with the first block that it is for.
fn places(range: Range<usize>, runs: &[Run]) -> Vec<(usize, Run)> {
    let mut index = range.start;
    let place = |run: &Run| {
        let first = index;
        index += usize::from(run.count);
        (first, *run)
    };
    runs.iter().map(place).collect()
}
