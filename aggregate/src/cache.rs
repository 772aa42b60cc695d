//! The one cache of a server: verified blocks of all its aggregates, within one budget of bytes.
//!
//! An entry is found by aggregate and block, and is a hit only for a caller whose pointer has the checksum that it was
//! verified against: blocks are reused under other owners. It is sharded, so that threads seldom meet, and each shard
//! turns out what was not used since the hand of its clock last passed. What is in use when it is turned out lives on
//! with its users.
//!
//! What it keeps it copies. A device reads into whole pages, and each of those takes another one of the allocator: nodes
//! of a block, kept as they were read, would take twice what the budget says.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::format::{BLOCK_BYTES, Block, Checksum, Pointer};
use crate::tree::Node;

/// What an entry costs beside its bytes: its place in the map and on the clock, and the owner of its memory.
const ENTRY_BYTES: usize = 192;
/// Threads of one server that are in the cache at once: more shards than that meet no less.
const SHARDS_MAX: usize = 16;
/// A shard holds some of the largest nodes at least, or what is large would never be kept.
const SHARD_BYTES_MIN: usize = 256 << 10;

/// One opening of one aggregate: what an earlier one left in the cache is never found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Member(u32);

/// Verified bytes, and what they are to their users.
#[derive(Clone)]
pub(crate) enum Held {
    /// A node of a tree.
    Node(Node),
    /// A unit of a file's data.
    Data(Bytes),
}

impl Held {
    fn len(&self) -> usize {
        match self {
            Held::Node(node) => node.bytes().len(),
            Held::Data(bytes) => bytes.len(),
        }
    }
}

/// Verified blocks, not more than its budget.
pub struct Cache {
    shards: Vec<Mutex<Shard>>,
    members: AtomicU32,
}

impl Cache {
    /// A cache of at most `bytes`, its own bookkeeping included.
    pub fn new(bytes: usize) -> Cache {
        let count = (bytes / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        let shard = || Mutex::new(Shard::new(bytes / count));
        Cache {
            shards: (0..count).map(|_| shard()).collect(),
            members: AtomicU32::new(0),
        }
    }

    /// What it holds now, in bytes.
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().bytes).sum()
    }

    /// A name for an aggregate that is being opened.
    pub(crate) fn join(&self) -> Member {
        Member(self.members.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn get(&self, member: Member, pointer: &Pointer) -> Option<Held> {
        self.shard(member, pointer.block)
            .lock()
            .get(&(member, pointer.block), &pointer.checksum)
    }

    pub(crate) fn insert_node(&self, member: Member, pointer: &Pointer, node: &Node) {
        self.insert(member, pointer, Held::Node(node.copied()));
    }

    /// A unit of data.
    pub(crate) fn insert_data(&self, member: Member, pointer: &Pointer, unit: &[u8]) {
        debug_assert!(unit.len().is_multiple_of(BLOCK_BYTES), "a unit is whole blocks");
        self.insert(member, pointer, Held::Data(Bytes::copy_from_slice(unit)));
    }

    fn insert(&self, member: Member, pointer: &Pointer, held: Held) {
        let entry = Entry {
            id: (member, pointer.block),
            checksum: pointer.checksum,
            held,
            is_used: false,
        };
        self.shard(member, pointer.block).lock().insert(entry);
    }

    /// Neighbours lie in different shards.
    fn shard(&self, Member(member): Member, Block(block): Block) -> &Mutex<Shard> {
        // Knuth's multiplier: it spreads multiples of two, which nodes of two blocks are, over all shards.
        let mixed = (block ^ u64::from(member) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        &self.shards[mixed as usize % self.shards.len()]
    }
}

type Id = (Member, Block);

struct Entry {
    id: Id,
    checksum: Checksum,
    held: Held,
    /// Since the hand passed.
    is_used: bool,
}

impl Entry {
    fn cost(&self) -> usize {
        self.held.len() + ENTRY_BYTES
    }
}

/// A part of the cache under one lock.
struct Shard {
    /// By a hash that costs next to nothing: no stranger chooses block numbers.
    places: HashMap<Id, usize, RandomState>,
    clock: Vec<Option<Entry>>,
    free: Vec<usize>,
    hand: usize,
    bytes: usize,
    budget: usize,
}

impl Shard {
    fn new(budget: usize) -> Shard {
        Shard {
            places: HashMap::default(),
            clock: Vec::new(),
            free: Vec::new(),
            hand: 0,
            bytes: 0,
            budget,
        }
    }

    fn get(&mut self, id: &Id, checksum: &Checksum) -> Option<Held> {
        let entry = self.clock[*self.places.get(id)?].as_mut()?;
        if entry.checksum != *checksum {
            return None;
        }
        entry.is_used = true;
        Some(entry.held.clone())
    }

    fn insert(&mut self, entry: Entry) {
        if let Some(place) = self.places.get(&entry.id) {
            self.remove(*place);
        }
        if entry.cost() > self.budget {
            return;
        }
        while self.bytes + entry.cost() > self.budget {
            self.turn_out_one();
        }
        self.bytes += entry.cost();
        let place = self.free.pop().unwrap_or_else(|| {
            self.clock.push(None);
            self.clock.len() - 1
        });
        self.places.insert(entry.id, place);
        self.clock[place] = Some(entry);
    }

    /// Moves the hand to the next entry not used since it last came by: at most twice around.
    fn turn_out_one(&mut self) {
        loop {
            let place = self.hand;
            self.hand = (place + 1) % self.clock.len();
            match &mut self.clock[place] {
                Some(entry) if entry.is_used => entry.is_used = false,
                Some(_) => return self.remove(place),
                None => {}
            }
        }
    }

    fn remove(&mut self, place: usize) {
        if let Some(entry) = self.clock[place].take() {
            self.bytes -= entry.cost();
            self.places.remove(&entry.id);
            self.free.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use baton_types::Epoch;

    use super::*;
    use crate::buffer::Buffer;
    use crate::format::{Key, KeyKind, Lsn};
    use crate::tree::double::Recorder;
    use crate::tree::{TreeId, build};

    /// A node of one item, as it is read.
    fn some_node() -> (Node, Pointer) {
        let (mut recorder, node_bytes) = (Recorder::new(), 8 << 10);
        let id = TreeId {
            tree: 1,
            epoch: Epoch(1),
            generation: 1,
            birth: Lsn(1),
            node_bytes,
        };
        let items = [(Key::new(1, KeyKind::Inline, 0), b"item")];
        let pointer = build(items, id, &mut recorder).unwrap().unwrap();
        (recorder.cold().read_anew(&pointer).unwrap(), pointer)
    }

    fn pointer(block: u64, content: u8) -> Pointer {
        Pointer {
            block: Block(block),
            blocks: 1,
            flags: 0,
            birth: Lsn(1),
            checksum: Checksum::of(&[content; BLOCK_BYTES]),
        }
    }

    fn insert(cache: &Cache, member: Member, block: u64, content: u8) {
        cache.insert_data(member, &pointer(block, content), &[content; BLOCK_BYTES]);
    }

    fn content(cache: &Cache, member: Member, block: u64, expected: u8) -> Option<u8> {
        match cache.get(member, &pointer(block, expected))? {
            Held::Data(bytes) => Some(bytes[0]),
            Held::Node(_) => panic!("no node was put in"),
        }
    }

    #[test]
    fn hit_needs_the_checksum_of_the_pointer() {
        let cache = Cache::new(1 << 20);
        let member = cache.join();
        insert(&cache, member, 7, 1);
        assert_eq!(content(&cache, member, 7, 1), Some(1));
        assert_eq!(content(&cache, member, 7, 2), None, "the block was reused");
        insert(&cache, member, 7, 2);
        assert_eq!(
            (content(&cache, member, 7, 1), content(&cache, member, 7, 2)),
            (None, Some(2))
        );
    }

    #[test]
    fn nothing_is_kept_in_the_pages_it_was_read_into() {
        let cache = Cache::new(1 << 20);
        let member = cache.join();
        let (node, node_pointer) = some_node();
        cache.insert_node(member, &node_pointer, &node);
        let unit = Bytes::from(Buffer::padded(&[1; 2 * BLOCK_BYTES]));
        cache.insert_data(member, &pointer(7, 1), &unit[BLOCK_BYTES..]);
        for (pointer, read) in [(node_pointer, node.bytes().clone()), (pointer(7, 1), unit)] {
            let kept = match cache.get(member, &pointer).unwrap() {
                Held::Node(node) => node.bytes().clone(),
                Held::Data(bytes) => bytes,
            };
            assert!(read.ends_with(&kept), "it is the same");
            assert!(
                !read.as_ptr_range().contains(&kept.as_ptr()),
                "the pages are kept with it"
            );
            assert_eq!(kept.len(), BLOCK_BYTES);
        }
    }

    #[test]
    fn aggregates_and_openings_do_not_see_each_other() {
        let cache = Cache::new(1 << 20);
        let (one, other) = (cache.join(), cache.join());
        insert(&cache, one, 7, 1);
        assert_eq!(content(&cache, other, 7, 1), None);
    }

    #[test]
    fn what_is_used_outlives_what_is_not() {
        let cache = Cache::new(SHARD_BYTES_MIN);
        let member = cache.join();
        insert(&cache, member, 0, 0);
        for block in 1..1_000 {
            insert(&cache, member, block, 1);
            assert_eq!(content(&cache, member, 0, 0), Some(0), "turned out at {block}");
        }
        assert_eq!(content(&cache, member, 1, 1), None);
        assert_eq!(content(&cache, member, 999, 1), Some(1));
    }

    #[test]
    fn budget_holds_whatever_threads_do() {
        const BUDGET: usize = 1 << 20;
        let cache = Cache::new(BUDGET);
        let work = &|thread: u64| {
            let member = cache.join();
            for step in 0..5_000 {
                insert(&cache, member, (step * 31 + thread * 17) % 1_000, thread as u8);
                let found = content(&cache, member, (step * 7) % 1_000, thread as u8);
                assert!(found.is_none_or(|found| found == thread as u8));
                assert!(cache.bytes() <= BUDGET);
            }
        };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || work(thread));
            }
        });
        assert!(cache.bytes() > BUDGET / 2, "it holds only {} bytes", cache.bytes());
    }

    #[test]
    fn what_is_larger_than_a_shard_is_not_kept() {
        let cache = Cache::new(2_000);
        let member = cache.join();
        insert(&cache, member, 1, 1);
        assert_eq!((content(&cache, member, 1, 1), cache.bytes()), (None, 0));
    }
}
