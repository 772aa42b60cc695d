//! Verified blocks of one device: nodes of trees, units of data, by their pointers.
//!
//! They come from the server's [`Cache`], or from the device and are then checked against the pointer (I11). Data that
//! is on its way to the device is *pinned* here: whoever looks for it finds it in memory until it is written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use baton_types::{Error, Kind, Result};
use bytes::Bytes;
use parking_lot::RwLock;

use crate::buffer::Buffer;
use crate::cache::{Cache, Held, Member};
use crate::device::Device;
use crate::format::{BLOCK_BYTES, Block, Checksum, Extent, Lsn, Pointer};
use crate::tree::Node;

/// The cache of one who opens a device alone, as tools do.
const OWN_CACHE_BYTES: usize = 64 << 20;

/// The blocks of a device: those in memory, and a way to the others.
pub struct Nodes {
    device: Arc<dyn Device>,
    cache: Arc<Cache>,
    member: Member,
    /// What is on its way to the device, by its first block.
    pinned: RwLock<BTreeMap<Block, Bytes>>,
    /// How often the device was read for somebody who waits for it.
    reads: AtomicU64,
}

/// Units of data that lie side by side on the device, as an extent has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    /// The first block.
    pub block: Block,
    /// Blocks of each unit; the last may have fewer.
    pub unit_blocks: u8,
    /// How many blocks all have.
    pub count: u32,
    /// One for each unit.
    pub checksums: Vec<Checksum>,
}

impl From<&Extent> for Units {
    fn from(extent: &Extent) -> Units {
        Units {
            block: extent.block,
            unit_blocks: extent.unit_blocks(),
            count: extent.count.into(),
            checksums: extent.checksums.clone(),
        }
    }
}

impl Units {
    /// Each unit by itself.
    pub fn pointers(&self) -> impl Iterator<Item = Pointer> {
        let firsts = (0..self.count).step_by(self.unit_blocks.into());
        firsts.zip(&self.checksums).map(|(first, checksum)| Pointer {
            block: Block(self.block.0 + u64::from(first)),
            blocks: u32::from(self.unit_blocks).min(self.count - first) as u8,
            flags: 0,
            birth: Lsn(0),
            checksum: *checksum,
        })
    }

    /// True if `next` lies right behind them, so that both can be one.
    pub fn are_before(&self, next: &Units) -> bool {
        self.block.0 + u64::from(self.count) == next.block.0
            && self.unit_blocks == next.unit_blocks
            && self.count.is_multiple_of(self.unit_blocks.into())
    }

    fn len(&self) -> usize {
        self.count as usize * BLOCK_BYTES
    }
}

/// Whether data that is read is likely to be asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Keep it.
    Likely,
    /// A stream: it would only push out what is used.
    Unlikely,
}

impl Nodes {
    /// The blocks of a device, with a cache of their own.
    pub fn new(device: Arc<dyn Device>) -> Nodes {
        Nodes::over(device, Arc::new(Cache::new(OWN_CACHE_BYTES)))
    }

    /// The blocks of a device, in the cache of a server.
    pub fn over(device: Arc<dyn Device>, cache: Arc<Cache>) -> Nodes {
        let member = cache.join();
        Nodes {
            device,
            cache,
            member,
            pinned: RwLock::default(),
            reads: AtomicU64::new(0),
        }
    }

    /// How often the device was read so far, but for those who look whether it can be.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// The node, if it is in memory.
    pub fn cached(&self, pointer: &Pointer) -> Option<Node> {
        if pointer.is_lost() {
            return None;
        }
        match self.cache.get(self.member, pointer)? {
            Held::Node(node) => Some(node),
            Held::Data(_) => None,
        }
    }

    /// The node, from memory or from the device.
    ///
    /// # Errors
    /// What the device says; `Damaged`.
    pub fn read(&self, pointer: &Pointer) -> Result<Node> {
        if let Some(node) = self.cached(pointer) {
            return Ok(node);
        }
        self.reads.fetch_add(1, Ordering::Relaxed);
        let node = self.read_anew(pointer)?;
        self.insert(pointer, &node);
        Ok(node)
    }

    /// The node as it lies on the device, whatever is in memory.
    ///
    /// # Errors
    /// What the device says; `Damaged`.
    pub fn read_anew(&self, pointer: &Pointer) -> Result<Node> {
        let mut bytes = Buffer::scratch(pointer.len());
        self.device.read(pointer.block.offset(), &mut bytes)?;
        Node::verify(bytes.into(), pointer)
    }

    /// Reads units of data that lie side by side as they lie on the device, whatever is in memory: gives the index of
    /// each that is not what its checksum says, and why. A read may be wrong once: then it is read again, by itself.
    pub fn harmed(&self, units: &[Pointer]) -> Vec<(usize, Error)> {
        let Some(first) = units.first() else { return Vec::new() };
        let len = units.iter().map(Pointer::len).sum();
        let mut bytes = Buffer::scratch(len);
        let is_read = self.device.read(first.block.offset(), &mut bytes).is_ok();
        let (checksums, mut harmed) = (checksums(&bytes, units), Vec::new());
        for (index, (pointer, checksum)) in units.iter().zip(checksums).enumerate() {
            if is_read && checksum == pointer.checksum {
                continue;
            }
            let mut again = Buffer::scratch(pointer.len());
            let read = self.device.read(pointer.block.offset(), &mut again);
            if let Err(error) = read.and_then(|()| compare(Checksum::of(&again), pointer)) {
                harmed.push((index, error));
            }
        }
        harmed
    }

    /// Several nodes at once.
    pub fn read_all(&self, pointers: &[Pointer]) -> Vec<Result<Node>> {
        pointers.iter().map(|pointer| self.read(pointer)).collect()
    }

    /// Keeps a node that was just written.
    pub fn insert(&self, pointer: &Pointer, node: &Node) {
        self.cache.insert_node(self.member, pointer, node);
    }

    /// Holds data until it is [let go](Nodes::unpin): each is on its way to its block and those behind it.
    pub fn pin(&self, data: &[(Block, Bytes)]) {
        if !data.is_empty() {
            self.pinned.write().extend(data.iter().cloned());
        }
    }

    /// The data that was pinned at `blocks` is on the device, or will never be there.
    pub fn unpin(&self, blocks: impl IntoIterator<Item = Block>) {
        let mut pinned = self.pinned.write();
        blocks.into_iter().for_each(|block| drop(pinned.remove(&block)));
    }

    /// A unit of data, if it is in memory.
    pub fn cached_data(&self, pointer: &Pointer) -> Option<Bytes> {
        if let Some(bytes) = self.pinned(pointer) {
            return Some(bytes);
        }
        match self.cache.get(self.member, pointer)? {
            Held::Data(bytes) => Some(bytes),
            Held::Node(_) => None,
        }
    }

    /// Whether a unit of data is in memory just now.
    pub fn has_data(&self, pointer: &Pointer) -> bool {
        self.cached_data(pointer).is_some()
    }

    fn pinned(&self, pointer: &Pointer) -> Option<Bytes> {
        let pinned = self.pinned.read();
        let (first, bytes) = pinned.range(..=pointer.block).next_back()?;
        let at = (pointer.block.0 - first.0) as usize * BLOCK_BYTES;
        let unit = at..at.checked_add(pointer.len())?;
        if unit.end > bytes.len() {
            return None;
        }
        let bytes = bytes.slice(unit);
        drop(pinned);
        // It may be on its way to a block that the asker's old pointer still names.
        (Checksum::of(&bytes) == pointer.checksum).then_some(bytes)
    }

    /// A unit of data, from memory or from the device, and kept.
    ///
    /// # Errors
    /// What the device says; `Damaged`.
    pub fn read_data(&self, pointer: &Pointer) -> Result<Bytes> {
        if let Some(bytes) = self.cached_data(pointer) {
            return Ok(bytes);
        }
        let mut bytes = Buffer::scratch(pointer.len());
        self.read_run(&[*pointer], &mut bytes, Reuse::Unlikely)?;
        let bytes = Bytes::from(bytes);
        self.cache.insert_data(self.member, pointer, &bytes);
        Ok(bytes)
    }

    /// Fills `into`, which is as long as they are, with units of data: from memory, or side by side from the device.
    ///
    /// # Errors
    /// What the device says; `Damaged`.
    ///
    /// # Panics
    /// If `into` has another length.
    pub fn read_units(&self, units: &Units, into: &mut [u8], reuse: Reuse) -> Result<()> {
        assert_eq!(into.len(), units.len(), "a place for all units");
        let pointers: Vec<Pointer> = units.pointers().collect();
        let unit_bytes = usize::from(units.unit_blocks) * BLOCK_BYTES;
        let end = |index: usize| (index * unit_bytes).min(units.len());
        // Those from `first` on are not in memory, and are read at once when one comes that is, or the end.
        let mut first = 0;
        for index in 0..=pointers.len() {
            let pointer = pointers.get(index);
            let found = pointer.and_then(|pointer| self.in_memory(pointer, reuse));
            if found.is_some() || pointer.is_none() {
                self.read_run(&pointers[first..index], &mut into[end(first)..end(index)], reuse)?;
                first = index + 1;
            }
            if let Some(bytes) = found {
                into[end(index)..end(index + 1)].copy_from_slice(&bytes);
            }
        }
        Ok(())
    }

    fn in_memory(&self, pointer: &Pointer, reuse: Reuse) -> Option<Bytes> {
        match reuse {
            Reuse::Likely => self.cached_data(pointer),
            Reuse::Unlikely => self.pinned(pointer),
        }
    }

    /// Reads neighbours at once, and checks each.
    fn read_run(&self, run: &[Pointer], into: &mut [u8], reuse: Reuse) -> Result<()> {
        let Some(first) = run.first() else { return Ok(()) };
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.device.read(first.block.offset(), into)?;
        let mut rest = &*into;
        for (pointer, checksum) in run.iter().zip(checksums(into, run)) {
            let (unit, after) = rest.split_at(pointer.len());
            rest = after;
            compare(checksum, pointer)?;
            if reuse == Reuse::Likely {
                self.cache.insert_data(self.member, pointer, unit);
            }
        }
        Ok(())
    }
}

/// The checksums of units that lie side by side.
fn checksums(bytes: &[u8], units: &[Pointer]) -> Vec<Checksum> {
    if units.iter().all(|unit| unit.blocks == 1) {
        let mut checksums = Vec::with_capacity(units.len());
        Checksum::of_blocks(bytes, &mut checksums);
        return checksums;
    }
    let mut rest = bytes;
    let mut next = |unit: &Pointer| {
        let (unit, after) = rest.split_at(unit.len());
        rest = after;
        Checksum::of(unit)
    };
    units.iter().map(&mut next).collect()
}

/// Whether the pointer is to bytes that have this checksum.
fn compare(checksum: Checksum, pointer: &Pointer) -> Result<()> {
    if checksum == pointer.checksum {
        return Ok(());
    }
    let reason = "its checksum does not match the pointer to it";
    Err(Error::new(Kind::Damaged, format!("data at block {}", pointer.block)).because(reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::double::Disk;
    use crate::device::{Device, Write};

    const LEN: u64 = 1 << 20;

    /// Blocks of which each is filled with its own number, on a disk from block 8 on.
    fn written(count: u32, unit_blocks: u8) -> (Disk, Nodes, Units) {
        let disk = Disk::new(LEN, 1);
        let port = disk.port();
        let mut buffer = Buffer::zeroed(count as usize * BLOCK_BYTES);
        for (block, number) in buffer.chunks_mut(BLOCK_BYTES).zip(1..) {
            block.fill(number);
        }
        port.submit(&[Write {
            offset: Block(8).offset(),
            bytes: &buffer,
        }])
        .unwrap();
        let units = Units {
            block: Block(8),
            unit_blocks,
            count,
            checksums: buffer
                .chunks(usize::from(unit_blocks) * BLOCK_BYTES)
                .map(Checksum::of)
                .collect(),
        };
        (disk.clone(), Nodes::new(Arc::new(port)), units)
    }

    fn read(nodes: &Nodes, units: &Units, reuse: Reuse) -> Result<Vec<u8>> {
        let mut buffer = Buffer::scratch(units.len());
        nodes.read_units(units, &mut buffer, reuse)?;
        Ok(buffer.chunks(BLOCK_BYTES).map(|block| block[0]).collect())
    }

    #[test]
    fn units_of_any_size_are_read_and_checked() {
        for unit_blocks in [1, 2, 4, 16] {
            let (disk, nodes, units) = written(10, unit_blocks);
            assert_eq!(
                read(&nodes, &units, Reuse::Unlikely).unwrap(),
                (1..=10).collect::<Vec<u8>>()
            );
            disk.flip(Block(17).offset() + 5, 0);
            let error = read(&nodes, &units, Reuse::Unlikely).unwrap_err();
            assert!(
                error.kind == Kind::Damaged && error.on.starts_with("data at block "),
                "{error}"
            );
        }
    }

    #[test]
    fn only_what_is_not_in_memory_is_read() {
        let (disk, nodes, units) = written(6, 1);
        let middle = Units {
            block: Block(10),
            unit_blocks: 1,
            count: 2,
            checksums: units.checksums[2..4].to_vec(),
        };
        read(&nodes, &middle, Reuse::Likely).unwrap();
        disk.poke(Block(10).offset(), &[0xee; 2 * BLOCK_BYTES]);
        assert_eq!(read(&nodes, &units, Reuse::Likely).unwrap(), [1, 2, 3, 4, 5, 6]);
        assert!(
            read(&nodes, &units, Reuse::Unlikely).is_err(),
            "a stream reads the device"
        );
    }

    #[test]
    fn pinned_data_is_found_until_it_is_let_go_and_only_by_its_checksum() {
        let (_, nodes, units) = written(4, 1);
        let fresh = Bytes::from(vec![9; 2 * BLOCK_BYTES]);
        nodes.pin(&[(Block(9), fresh)]);
        let pointer = |block, content: u8| Pointer {
            block: Block(block),
            blocks: 1,
            flags: 0,
            birth: Lsn(0),
            checksum: Checksum::of(&[content; BLOCK_BYTES]),
        };
        assert_eq!(nodes.cached_data(&pointer(10, 9)).unwrap()[0], 9);
        assert_eq!(nodes.cached_data(&pointer(11, 9)), None);
        assert_eq!(
            read(&nodes, &units, Reuse::Unlikely).unwrap(),
            [1, 2, 3, 4],
            "of an older owner of the blocks"
        );
        nodes.unpin([Block(9)]);
        assert_eq!(nodes.cached_data(&pointer(10, 9)), None);
        assert!(nodes.read_data(&pointer(10, 9)).is_err());
    }
}
