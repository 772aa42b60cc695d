//! A node: sorted items in up to 64 KiB, verified when it is read and searched where it lies.
//!
//! ```text
//! 0                64                                                   blocks × 4 KiB
//! | header, prefix | slot 0 | slot 1 | … | zeroes | item 0 | item 1 | … |
//!                    8 bytes: offset, value length, head
//! ```
//! All keys of a node begin with its *prefix*. The *head* of a slot is the four key bytes after the prefix
//! (zeroes where the key ends), so that most steps of a search read nothing but slots; the rest of the key
//! stands before the value in the item. Items lie in the order of their keys and end where the node ends.
//! At level 0 a value is an item's; above, it is the pointer to the child whose first key this is.

use std::cmp::Ordering;
use std::fmt;

use baton_types::{Epoch, Error, Kind, Result};
use bytes::Bytes;
use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::buffer::Buffer;
use crate::format::{BLOCK_BYTES, Checksum, KEY_BYTES, Key, Lsn, POINTER_BYTES, Pointer, VALUE_BYTES_MAX};
use crate::tree::TreeId;
use crate::tree::raw::{HEAD_BYTES, RawKey, lowest, rest_len};
use crate::tree::run::Run;

/// Bytes before the slots.
pub(crate) const HEADER_BYTES: usize = size_of::<Header>();
/// Bytes of a slot.
pub(crate) const SLOT_BYTES: usize = size_of::<Slot>();
/// Slots that lie in one line of the processor's cache.
const LINE_SLOTS: usize = 8;
/// A node at most.
const NODE_BYTES_MAX: usize = 64 << 10;
const MAGIC: [u8; 4] = *b"BtNd";
const VERSION: u8 = 1;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 4],
    version: u8,
    level: u8,
    prefix_len: u8,
    flags: u8,
    tree: U64,
    epoch: U64,
    generation: U64,
    birth: U64,
    count: U16,
    used: U16,
    prefix: [u8; KEY_BYTES],
    zero: [u8; 3],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Slot {
    offset: U16,
    value_len: U16,
    head: [u8; HEAD_BYTES],
}

impl Slot {
    fn head(&self) -> u32 {
        u32::from_be_bytes(self.head)
    }

    /// The rest of its key, `rest_len` bytes of the node's `bytes`. Slots alone are longer than the window read.
    fn rest(&self, bytes: &[u8], rest_len: usize) -> u128 {
        let end = usize::from(self.offset.get()) + rest_len;
        let window = bytes[..end].last_chunk().expect("header and slots are longer");
        lowest(u128::from_be_bytes(*window), rest_len)
    }
}

/// A verified node; cloning it copies no bytes.
#[derive(Clone)]
pub struct Node {
    bytes: Bytes,
    /// What a search needs of the header.
    prefix: RawKey,
    prefix_len: u8,
    level: u8,
    count: u16,
}

/// Where an item is said to be that begins at `start`. Only an empty one can begin past the field's reach,
/// at the very end of a node of 64 KiB, and no byte of it is ever read.
fn offset_field(start: usize) -> u16 {
    u16::try_from(start).unwrap_or(u16::MAX)
}

fn damaged(reason: impl Into<String>) -> Error {
    Error::new(Kind::Damaged, "node").op("read node").because(reason)
}

impl Node {
    /// What a node holds at most, header included: its used length must fit its field.
    pub(crate) fn capacity(node_bytes: u32) -> usize {
        (node_bytes as usize).min(usize::from(u16::MAX))
    }

    /// The node in `bytes`, every part of it checked, so that no search need doubt it.
    ///
    /// # Errors
    /// `Damaged` if anything contradicts anything; `Version` if a newer Baton wrote it.
    pub fn decode(bytes: Bytes) -> Result<Node> {
        let (header, slots) = Header::ref_from_prefix(&bytes).map_err(|_| damaged("shorter than its header"))?;
        check_header(header, bytes.len())?;
        let count = header.count.get();
        let (slots, _) = <[Slot]>::ref_from_prefix_with_elems(slots, usize::from(count))
            .map_err(|_| damaged("its slots end beyond it"))?;
        check_items(header, slots, &bytes)?;
        Ok(Node {
            prefix: RawKey::from_bytes(&header.prefix),
            prefix_len: header.prefix_len,
            level: header.level,
            count,
            bytes,
        })
    }

    /// The node that `pointer` leads to, in the bytes that were read there (I11).
    ///
    /// # Errors
    /// `Damaged` if these are not the bytes meant; else as [`Node::decode`].
    pub fn verify(bytes: Bytes, pointer: &Pointer) -> Result<Node> {
        let on = |error: Error| Error {
            on: format!("node at block {}", pointer.block),
            ..error
        };
        if pointer.is_lost() {
            return Err(on(damaged("it was damaged when it was to be changed, and is given up")));
        }
        if bytes.len() != usize::from(pointer.blocks) * BLOCK_BYTES || Checksum::of(&bytes) != pointer.checksum {
            return Err(on(damaged("its checksum does not match the pointer to it")));
        }
        let node = Node::decode(bytes).map_err(on)?;
        if node.birth() != pointer.birth {
            return Err(on(damaged(format!(
                "born at {}, not at {} as its pointer says",
                node.birth(),
                pointer.birth
            ))));
        }
        Ok(node)
    }

    /// The first `count` items of `run` as a node. The caller saw to it that they fit.
    pub(crate) fn encode(id: &TreeId, level: u8, run: &Run, count: usize) -> Node {
        let (used, prefix_len) = (run.node_len(0..count), run.prefix_len(0..count));
        assert!(
            count > 0 && used <= Node::capacity(id.node_bytes),
            "{count} items of {used} bytes are no node"
        );
        let len = used.next_multiple_of(BLOCK_BYTES);
        let mut bytes = Buffer::zeroed(len);
        let prefix = run.key(0).prefix(prefix_len);
        let header = Header {
            magic: MAGIC,
            version: VERSION,
            level,
            prefix_len: prefix_len as u8,
            flags: 0,
            tree: id.tree.into(),
            epoch: id.epoch.0.into(),
            generation: id.generation.into(),
            birth: id.birth.0.into(),
            count: (count as u16).into(),
            used: (used as u16).into(),
            prefix: prefix.to_bytes(),
            zero: [0; 3],
        };
        bytes[..HEADER_BYTES].copy_from_slice(header.as_bytes());

        let rest_len = rest_len(prefix_len);
        let (slots, items) = bytes[HEADER_BYTES..].split_at_mut(count * SLOT_BYTES);
        let (base, mut at) = (HEADER_BYTES + slots.len(), len - used);
        for (index, slot) in slots.chunks_exact_mut(SLOT_BYTES).enumerate() {
            let (key, value) = (run.key(index), run.value(index));
            let fields = Slot {
                offset: offset_field(base + at).into(),
                value_len: (value.len() as u16).into(),
                head: key.head(prefix_len).to_be_bytes(),
            };
            slot.copy_from_slice(fields.as_bytes());
            let (rest, after) = items[at..].split_at_mut(rest_len);
            rest.copy_from_slice(&key.rest(prefix_len).to_be_bytes()[16 - rest_len..]);
            after[..value.len()].copy_from_slice(value);
            at += rest_len + value.len();
        }
        Node {
            bytes: bytes.into(),
            prefix,
            prefix_len: prefix_len as u8,
            level,
            count: count as u16,
        }
    }

    /// The same in memory of its own, just as large as it is.
    pub(crate) fn copied(&self) -> Node {
        Node {
            bytes: Bytes::copy_from_slice(&self.bytes),
            ..self.clone()
        }
    }

    /// Its bytes, whole blocks.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Levels below it: 0 for one that holds items.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// How many items, or children; 1 at least.
    #[expect(clippy::len_without_is_empty, reason = "no node is empty")]
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Whose tree it was written for. A clone shares nodes with the fileset it was made of.
    pub fn tree(&self) -> u64 {
        self.header().tree.get()
    }

    /// Who wrote it.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.header().epoch.get())
    }

    /// The checkpoint it was written for.
    pub fn generation(&self) -> u64 {
        self.header().generation.get()
    }

    /// The newest record in the layers whose merge wrote it.
    pub fn birth(&self) -> Lsn {
        Lsn(self.header().birth.get())
    }

    /// Header, slots and items, without what fills the last block.
    pub fn used(&self) -> usize {
        usize::from(self.header().used.get())
    }

    /// The key at `index`.
    pub fn key(&self, index: usize) -> Key {
        // Decoding tried every key.
        self.raw_key(index).to_key().expect("a key of a verified node")
    }

    /// The value at `index`: shares the node's memory.
    pub fn value(&self, index: usize) -> Bytes {
        self.bytes.slice(self.value_range(index))
    }

    /// The value at `index`.
    pub fn value_ref(&self, index: usize) -> &[u8] {
        &self.bytes[self.value_range(index)]
    }

    /// The child at `index`.
    ///
    /// # Panics
    /// If this is a node of level 0.
    pub fn pointer(&self, index: usize) -> Pointer {
        assert!(self.level > 0, "a node of level 0 has no children");
        // Decoding tried every pointer.
        Pointer::decode(self.value_ref(index)).expect("a pointer of a verified node")
    }

    /// Where `key` is, or where it would be.
    pub fn search(&self, key: Key) -> Result<usize, usize> {
        let (key, prefix_len) = (RawKey::from(key), usize::from(self.prefix_len));
        match key.prefix(prefix_len).cmp(&self.prefix) {
            Ordering::Less => return Err(0),
            Ordering::Greater => return Err(self.len()),
            Ordering::Equal => {}
        }
        let (slots, head) = (self.slots(), key.head(prefix_len));
        let first = first_of_head(slots, head);
        let is_same = |slot: &Slot| slot.head() == head;
        let same = match slots.get(first + 1) {
            Some(second) if is_same(second) => slots[first..].partition_point(is_same),
            Some(_) | None => usize::from(slots.get(first).is_some_and(is_same)),
        };
        let (rest, rest_len) = (key.rest(prefix_len), rest_len(prefix_len));
        let found = slots[first..first + same].binary_search_by(|slot| slot.rest(&self.bytes, rest_len).cmp(&rest));
        found.map(|index| first + index).map_err(|index| first + index)
    }

    /// The child in which `key` must be if it is in any: the last that begins at or before it, else the first.
    pub fn child(&self, key: Key) -> usize {
        self.search(key).unwrap_or_else(|after| after.saturating_sub(1))
    }

    pub(crate) fn raw_key(&self, index: usize) -> RawKey {
        join_key(self.prefix, self.prefix_len, &self.slots()[index], &self.bytes)
    }

    fn value_range(&self, index: usize) -> std::ops::Range<usize> {
        let slot = &self.slots()[index];
        let len = usize::from(slot.value_len.get());
        if len == 0 {
            return 0..0;
        }
        let start = usize::from(slot.offset.get()) + rest_len(usize::from(self.prefix_len));
        start..start + len
    }

    fn header(&self) -> &Header {
        // Decoding saw that it is there.
        Header::ref_from_prefix(&self.bytes)
            .expect("a header in a verified node")
            .0
    }

    fn slots(&self) -> &[Slot] {
        let bytes = &self.bytes[HEADER_BYTES..HEADER_BYTES + self.len() * SLOT_BYTES];
        <[Slot]>::ref_from_bytes(bytes).expect("slots in a verified node")
    }
}

/// The first of `slots` with `head` or a greater one.
///
/// Looks at one slot of each cache line, then at the slots of one: where halving waits for memory at every step,
/// here all lines come at once.
fn first_of_head(slots: &[Slot], head: u32) -> usize {
    let lines = slots
        .iter()
        .step_by(LINE_SLOTS)
        .filter(|slot| slot.head() < head)
        .count();
    let start = lines.saturating_sub(1) * LINE_SLOTS;
    let line = &slots[start..slots.len().min(start + LINE_SLOTS)];
    start + line.iter().filter(|slot| slot.head() < head).count()
}

/// The key of a slot: the node's prefix, the slot's head, the item's beginning.
fn join_key(prefix: RawKey, prefix_len: u8, slot: &Slot, bytes: &[u8]) -> RawKey {
    let prefix_len = usize::from(prefix_len);
    RawKey::join(prefix, prefix_len, slot.head(), slot.rest(bytes, rest_len(prefix_len)))
}

fn check_header(header: &Header, len: usize) -> Result<()> {
    if header.magic != MAGIC {
        return Err(damaged("no node begins here"));
    }
    if header.version != VERSION || header.flags != 0 {
        let (version, flags) = (header.version, header.flags);
        let reason = format!("written in version {version} with flags {flags}; known is version {VERSION} without");
        return Err(Error::new(Kind::Version, "node")
            .op("read node")
            .because(reason)
            .remedy("use a newer Baton"));
    }
    let (count, used, prefix_len) = (header.count.get(), header.used.get(), usize::from(header.prefix_len));
    let slots_end = HEADER_BYTES + usize::from(count) * SLOT_BYTES;
    if count == 0 {
        return Err(damaged("it has no item"));
    }
    if len > NODE_BYTES_MAX || usize::from(used).next_multiple_of(BLOCK_BYTES) != len || usize::from(used) < slots_end {
        return Err(damaged(format!(
            "{used} bytes of {len} used by {count} items cannot be"
        )));
    }
    if prefix_len > KEY_BYTES {
        return Err(damaged(format!("a prefix of {prefix_len} bytes is longer than a key")));
    }
    if header.prefix[prefix_len..]
        .iter()
        .chain(&header.zero)
        .any(|&byte| byte != 0)
    {
        return Err(damaged("its header has bytes where zeroes belong"));
    }
    Ok(())
}

/// Checks that the items fill the node's end without gap or overlap, and that their keys rise.
fn check_items(header: &Header, slots: &[Slot], bytes: &[u8]) -> Result<()> {
    let slots_end = HEADER_BYTES + size_of_val(slots);
    let prefix_len = usize::from(header.prefix_len);
    let mut start = bytes.len() - (usize::from(header.used.get()) - slots_end);
    if bytes[slots_end..start].iter().any(|&byte| byte != 0) {
        return Err(damaged("bytes between its slots and its items"));
    }
    let prefix = RawKey::from_bytes(&header.prefix);
    let mut last: Option<RawKey> = None;
    for (index, slot) in slots.iter().enumerate() {
        let value_len = usize::from(slot.value_len.get());
        let end = start + rest_len(prefix_len) + value_len;
        if slot.offset.get() != offset_field(start) || end > bytes.len() {
            return Err(damaged(format!(
                "item {index} lies elsewhere than after the one before"
            )));
        }
        let key = join_key(prefix, header.prefix_len, slot, bytes);
        if last.is_some_and(|last| last >= key) || slot.head() != key.head(prefix_len) {
            return Err(damaged(format!("key {index} is out of order")));
        }
        key.to_key()?;
        check_value(header.level, &bytes[end - value_len..end])?;
        (start, last) = (end, Some(key));
    }
    if start != bytes.len() {
        return Err(damaged("its items end before it"));
    }
    Ok(())
}

fn check_value(level: u8, value: &[u8]) -> Result<()> {
    match level {
        0 if value.len() > VALUE_BYTES_MAX => Err(damaged(format!("a value of {} bytes", value.len()))),
        0 => Ok(()),
        _ if value.len() != POINTER_BYTES => Err(damaged(format!("a pointer of {} bytes", value.len()))),
        _ => Pointer::decode(value).map(drop),
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Node(level {}, {} items from {:?})",
            self.level,
            self.count,
            self.key(0)
        )
    }
}

#[cfg(test)]
mod tests;
