//! A list of numbers on an aggregate: just enough of a store to need every rule of the fence.
//!
//! ```text
//! log segment of epoch e   one block a record: {reserve b} or {number n in block b}, in order, none after a bad one
//! data blocks              4 KiB of the number, written beside its record, under one flush
//! node                     the list as it was, in a reserved block, named by a root: a checkpoint
//! ```
//!
//! A number is told when its record and its block are flushed and a look passed. Blocks are taken from a reserve, one
//! at a time and the lowest first, so that two owners who know the same take the same.

use std::collections::BTreeMap;

use baton_aggregate::buffer::Buffer;
use baton_aggregate::device::Device;
use baton_aggregate::format::{BLOCK_BYTES, Block, Checksum, Geometry, Lsn, Piece, Pointer, Root, Segment};
use baton_types::{Epoch, Error, Kind, Result};

/// Segments that epochs may have their logs in; the blocks after them are for data.
const LOG_SEGMENTS: u32 = 64;
const MAGIC: u64 = u64::from_le_bytes(*b"numbers!");
/// Whose a block is that a node or a number lies in.
const USED: Epoch = Epoch(u64::MAX);

/// Where a number lies whose place is the store's own business.
pub(super) const NOWHERE: Block = Block(0);

/// A number, who wrote it, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub number: u32,
    pub author: Epoch,
    pub block: Block,
}

/// What a log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Reserve(Block),
    Number(u32, Block),
}

/// The list, and whose the blocks are.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    pub entries: Vec<Entry>,
    blocks: BTreeMap<Block, Epoch>,
}

/// What recovery found.
pub(super) struct Recovered {
    pub list: List,
    /// The log that is still needed, every piece with its cut.
    pub chain: Vec<Piece>,
    pub last: Lsn,
}

impl List {
    /// Takes in a record of `author`.
    pub fn apply(&mut self, author: Epoch, record: Record) {
        match record {
            Record::Reserve(block) => drop(self.blocks.insert(block, author)),
            Record::Number(number, block) => {
                self.blocks.insert(block, USED);
                self.entries.push(Entry { number, author, block });
            }
        }
    }

    /// A node lies there.
    pub fn occupy(&mut self, block: Block) {
        self.blocks.insert(block, USED);
    }

    /// The lowest block that is nobody's.
    pub fn lowest_free(&self, geometry: &Geometry) -> Block {
        let first = geometry.first_block(Segment(geometry.first_segment().0 + LOG_SEGMENTS));
        let taken = self
            .blocks
            .keys()
            .zip(first.0..)
            .take_while(|(block, expected)| block.0 == *expected);
        Block(first.0 + taken.count() as u64)
    }

    /// Gives back what those epochs had reserved and not used: nothing of theirs is in flight.
    pub fn release(&mut self, is_gone: impl Fn(Epoch) -> bool) {
        self.blocks.retain(|_, owner| *owner == USED || !is_gone(*owner));
    }

    /// As a node; the numbers of a history fit.
    pub fn to_node(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((self.entries.len() as u64).to_le_bytes());
        for Entry { number, author, block } in &self.entries {
            bytes.extend([u64::from(*number), author.0, block.0].map(u64::to_le_bytes).concat());
        }
        for (block, owner) in &self.blocks {
            bytes.extend([block.0, owner.0].map(u64::to_le_bytes).concat());
        }
        assert!(bytes.len() <= BLOCK_BYTES, "a history longer than a node");
        bytes.resize(BLOCK_BYTES, 0);
        bytes
    }

    fn from_node(bytes: &[u8]) -> List {
        let mut words = bytes.chunks_exact(8).map(|word| {
            let mut eight = [0; 8];
            eight.copy_from_slice(word);
            u64::from_le_bytes(eight)
        });
        let mut next = || words.next().unwrap_or_default();
        let count = next();
        let mut list = List::default();
        for _ in 0..count {
            let (number, author, block) = (next() as u32, Epoch(next()), Block(next()));
            list.entries.push(Entry { number, author, block });
        }
        loop {
            match (next(), next()) {
                (0, _) => return list,
                (block, owner) => drop(list.blocks.insert(Block(block), Epoch(owner))),
            }
        }
    }
}

impl Record {
    /// Its block in the log of `epoch`.
    pub fn encode(self, epoch: Epoch, lsn: Lsn) -> Buffer {
        let (kind, number, block) = match self {
            Record::Reserve(block) => (1, 0, block),
            Record::Number(number, block) => (2, u64::from(number), block),
        };
        let words = [MAGIC, epoch.0, lsn.0, kind, number, block.0]
            .map(u64::to_le_bytes)
            .concat();
        Buffer::padded(&[&words[..], &Checksum::of(&words).0].concat())
    }

    /// The record in this block of a log, and where it belongs.
    pub fn decode(bytes: &[u8]) -> Option<(Epoch, Lsn, Record)> {
        let (words, rest) = bytes.split_at_checked(48)?;
        if !rest.starts_with(&Checksum::of(words).0) {
            return None;
        }
        let mut words = words
            .chunks_exact(8)
            .map(|word| word.try_into().map(u64::from_le_bytes).ok());
        let mut next = || words.next().flatten();
        let (magic, epoch, lsn, kind) = (next()?, Epoch(next()?), Lsn(next()?), next()?);
        let (number, block) = (u32::try_from(next()?).ok()?, Block(next()?));
        let record = match (magic, kind) {
            (MAGIC, 1) => Record::Reserve(block),
            (MAGIC, 2) => Record::Number(number, block),
            _ => return None,
        };
        Some((epoch, lsn, record))
    }
}

/// What the block of a number holds.
pub(super) fn data(number: u32) -> Buffer {
    Buffer::padded(&number.to_le_bytes().repeat(BLOCK_BYTES / 4))
}

/// Where the log of `epoch` lies: no two epochs of a history share a segment.
pub(super) fn log_segment(geometry: &Geometry, epoch: Epoch) -> Segment {
    let index = (u64::from(epoch.era()) * 32 + epoch.count()) % u64::from(LOG_SEGMENTS);
    Segment(geometry.first_segment().0 + index as u32)
}

/// Where a block lies.
pub(super) fn at(block: Block) -> u64 {
    block.0 * BLOCK_BYTES as u64
}

/// Reads what `root` leads to.
///
/// # Errors
/// `Damaged` if a node does not verify, or a piece ends before its cut; `Io`.
pub(super) fn recover(device: &dyn Device, geometry: &Geometry, root: &Root) -> Result<Recovered> {
    let mut list = match root.system {
        Some(pointer) => List::from_node(&read_node(device, &pointer)?),
        None => List::default(),
    };
    let (mut chain, mut last) = (Vec::new(), root.lsn);
    for piece in &root.chain {
        let records = read_piece(device, geometry, piece)?;
        let cut = Lsn(piece.first.0 + records.len() as u64 - 1);
        if piece.cut.is_some_and(|recorded| recorded != cut) {
            return Err(damaged(format!(
                "the log of epoch {} ends at {cut}, before its cut",
                piece.epoch
            )));
        }
        if records.is_empty() {
            continue;
        }
        records.into_iter().for_each(|record| list.apply(piece.epoch, record));
        last = cut;
        chain.push(Piece {
            cut: Some(cut),
            ..piece.clone()
        });
    }
    Ok(Recovered { list, chain, last })
}

fn read_node(device: &dyn Device, pointer: &Pointer) -> Result<Buffer> {
    let mut bytes = Buffer::scratch(pointer.len());
    device.read(at(pointer.block), &mut bytes)?;
    if Checksum::of(&bytes) == pointer.checksum {
        return Ok(bytes);
    }
    Err(damaged(format!("the node in block {} does not verify", pointer.block)))
}

/// The records of a piece up to its cut; of an open one up to the first that is not there, or whose data is not.
fn read_piece(device: &dyn Device, geometry: &Geometry, piece: &Piece) -> Result<Vec<Record>> {
    let mut bytes = Buffer::scratch(geometry.segment_bytes as usize);
    device.read(geometry.segment_offset(piece.segments[0]), &mut bytes)?;
    let mut records = Vec::new();
    for block in bytes.chunks(BLOCK_BYTES).skip(piece.offset as usize) {
        let lsn = Lsn(piece.first.0 + records.len() as u64);
        let expected = piece.cut.is_none_or(|cut| lsn <= cut);
        match Record::decode(block) {
            Some((epoch, at, record)) if expected && (epoch, at) == (piece.epoch, lsn) => records.push(record),
            Some(_) | None => break,
        }
    }
    // All but the last were told, or could have been: their data is there.
    if let (None, Some(Record::Number(number, block))) = (piece.cut, records.last()) {
        let mut bytes = Buffer::scratch(BLOCK_BYTES);
        device.read(at(*block), &mut bytes)?;
        if bytes[..] != data(*number)[..] {
            records.pop();
        }
    }
    Ok(records)
}

fn damaged(reason: String) -> Error {
    Error::new(Kind::Damaged, "ledger").because(reason)
}
