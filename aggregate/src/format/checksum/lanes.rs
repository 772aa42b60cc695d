//! Checksums of many blocks at once.
//!
//! blake3 is fast because it hashes chunks of 1 KiB side by side, each in a lane of the processor's vectors. A block of
//! 4 KiB has four of them where there are up to sixteen lanes. Here chunks of sixteen blocks share the lanes: half as much
//! time for each. The tree above them is the one of a message of four chunks (BLAKE3, section 2.1), so the checksum is the
//! same, and a test says so.
//!
//! The crate has no published way to this: what it calls its platform is for its own use and may change. If it does, a
//! block at a time is as right.

use blake3::IncrementCounter;
use blake3::platform::Platform;

use super::Checksum;
use crate::format::BLOCK_BYTES;

/// Blocks at once: as many as the widest vectors have lanes.
const BLOCKS: usize = 16;
/// So few fill no more lanes than the chunks of one.
const BLOCKS_FEW: usize = CHUNKS;
const CHUNKS: usize = BLOCK_BYTES / blake3::CHUNK_LEN;
const HASH: usize = blake3::OUT_LEN;

// BLAKE3, table 3.
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 1 << 1;
const PARENT: u8 = 1 << 2;
const ROOT: u8 = 1 << 3;
// BLAKE3, table 1.
const IV: [u32; 8] = [
    0x6A09_E667,
    0xBB67_AE85,
    0x3C6E_F372,
    0xA54F_F53A,
    0x510E_527F,
    0x9B05_688C,
    0x1F83_D9AB,
    0x5BE0_CD19,
];

/// Hashes whole blocks.
pub(super) struct Lanes(Platform);

impl Lanes {
    pub fn new() -> Lanes {
        Lanes(Platform::detect())
    }

    /// Adds the checksum of each of `blocks`.
    pub fn hash(&self, blocks: &[[u8; BLOCK_BYTES]], checksums: &mut Vec<Checksum>) {
        for blocks in blocks.chunks(BLOCKS) {
            match blocks.len() <= BLOCKS_FEW {
                true => checksums.extend(blocks.iter().map(|block| Checksum::of(block))),
                false => self.hash_some(blocks, checksums),
            }
        }
    }

    /// The same of at most [`BLOCKS`].
    fn hash_some(&self, blocks: &[[u8; BLOCK_BYTES]], checksums: &mut Vec<Checksum>) {
        // Of each block its chunks, then their parents, then its root, side by side.
        let mut chunks = [[[0; HASH]; CHUNKS]; BLOCKS];
        let mut lane = [[0; HASH]; BLOCKS];
        for chunk in 0..CHUNKS {
            let inputs = inputs(blocks, |block| &block.as_chunks::<{ blake3::CHUNK_LEN }>().0[chunk]);
            let (start, end) = (CHUNK_START, CHUNK_END);
            let out = lane.as_flattened_mut();
            self.0.hash_many(
                &inputs[..blocks.len()],
                &IV,
                chunk as u64,
                IncrementCounter::No,
                0,
                start,
                end,
                out,
            );
            for (chunks, hash) in chunks.iter_mut().zip(&lane) {
                chunks[chunk] = *hash;
            }
        }
        let mut parents = [[0; HASH]; BLOCKS * CHUNKS / 2];
        let pairs = chunks[..blocks.len()].as_flattened();
        self.parents(pairs, 0, &mut parents);
        self.parents(&parents[..blocks.len() * CHUNKS / 2], ROOT, &mut lane);
        checksums.extend(lane[..blocks.len()].iter().map(Checksum::cut));
    }

    /// The parents of neighbours.
    fn parents(&self, children: &[[u8; HASH]], flags: u8, out: &mut [[u8; HASH]]) {
        let (pairs, _) = children.as_flattened().as_chunks::<{ 2 * HASH }>();
        for (pairs, out) in pairs.chunks(BLOCKS).zip(out.chunks_mut(BLOCKS)) {
            let inputs = inputs(pairs, |pair| pair);
            let flags = PARENT | flags;
            let out = out.as_flattened_mut();
            self.0
                .hash_many(&inputs[..pairs.len()], &IV, 0, IncrementCounter::No, flags, 0, 0, out);
        }
    }
}

/// What goes into each lane; the first is in those that are left, too.
fn inputs<'a, T, const N: usize>(all: &'a [T], of: impl Fn(&'a T) -> &'a [u8; N]) -> [&'a [u8; N]; BLOCKS] {
    std::array::from_fn(|lane| of(all.get(lane).unwrap_or(&all[0])))
}
